package outbound

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Allowed is an internal destination that the operator opens: a network, one
// port of an address, or one port of a named host, whatever it resolves to.
type Allowed struct {
	prefix netip.Prefix // of a network or an address
	host   string       // of a name, lower case
	port   uint16       // 0: every port
}

// ParseAllow reads a network ("10.1.0.0/16"), an address ("10.1.2.3") or a
// host:port ("idp.corp.example:8443", "127.0.0.1:9000", "[::1]:9000"). Its errors
// say how to write it, without quoting s.
func ParseAllow(s string) (Allowed, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return allowAddress(addr, 0)
	}
	if prefix, err := netip.ParsePrefix(s); err == nil {
		switch {
		case prefix.Bits() == 0:
			return Allowed{}, errors.New("a network of all addresses opens every internal one; name only what grantd must reach")
		case prefix.Addr().Is4In6():
			return Allowed{}, errors.New("write a network of IPv4 addresses as 10.1.0.0/16")
		}
		return Allowed{prefix: prefix.Masked()}, nil
	}
	host, portText, err := net.SplitHostPort(s)
	port, ok := parsePort(portText)
	if err != nil || !ok {
		return Allowed{}, errors.New("write a network (10.1.0.0/16) or host:port (idp.internal:8443)")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return allowAddress(addr, port)
	}
	host = strings.ToLower(host)
	if !isName(host) {
		return Allowed{}, errors.New("the host is neither an address nor a name; write 127.0.0.1:9000 or idp.internal:8443")
	}
	return Allowed{host: host, port: port}, nil
}

func allowAddress(addr netip.Addr, port uint16) (Allowed, error) {
	if addr.Zone() != "" {
		return Allowed{}, errors.New("write the address without its zone")
	}
	addr = addr.Unmap()
	return Allowed{prefix: netip.PrefixFrom(addr, addr.BitLen()), port: port}, nil
}

// String returns what ParseAllow reads.
func (a Allowed) String() string {
	switch {
	case a.host != "":
		return net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
	case a.port != 0:
		return netip.AddrPortFrom(a.prefix.Addr(), a.port).String()
	}
	return a.prefix.String()
}

// policy decides which hosts and addresses are asked.
type policy struct {
	allow    []Allowed
	own      []ownHost
	networks bool // allow has networks or addresses, to which any name may lead
}

// ownHost is one of grantd's own.
type ownHost struct {
	host     string     // lower case
	addr     netip.Addr // if host is an address
	loopback bool       // every loopback address is meant
	port     uint16     // 0: every port
}

func newPolicy(allow []Allowed, ownHosts []string) policy {
	p := policy{allow: slices.Clone(allow)}
	p.networks = slices.ContainsFunc(allow, func(a Allowed) bool { return a.host == "" })
	for _, text := range ownHosts {
		own := ownHost{host: strings.ToLower(strings.Trim(text, "[]"))}
		if host, portText, err := net.SplitHostPort(text); err == nil {
			port, ok := parsePort(portText)
			if !ok {
				continue
			}
			own = ownHost{host: strings.ToLower(host), port: port}
		}
		if addr, err := netip.ParseAddr(own.host); err == nil {
			own.addr = addr.Unmap().WithZone("")
		}
		own.loopback = own.host == "" && own.port != 0 || isLocalhost(own.host) || own.addr.IsUnspecified()
		p.own = append(p.own, own)
	}
	return p
}

// target reads a URL and returns it if its host may be asked at all.
func (f *Fetcher) target(raw string) (target, *Error) {
	t, err := parseTarget(raw)
	if err == nil {
		err = f.policy.judgeHost(t)
	}
	if err != nil {
		return target{}, err
	}
	return t, nil
}

// judgeHost judges what is known before resolution. It returns nil if the host may be asked.
func (p policy) judgeHost(t target) *Error {
	opened := p.opensPort(t)
	switch {
	case p.isOwnHost(t):
		return refused("the host is grantd's own")
	case t.scheme == "http" && !opened && !p.opensLoopback(t):
		return refused("http, to a host that is not allowed as host:port")
	case opened:
		return nil
	case !usualPort(t):
		return refused("the port belongs to another protocol")
	case t.addr.IsValid() && !p.opensAddress(netip.AddrPortFrom(t.addr, t.port)):
		return refused("the host is an address that is not allowed")
	case isInternalName(t.host) && !p.networks:
		return refused("the host is an internal name that is not allowed")
	}
	return nil
}

// judgeAddress judges the address that is about to be connected to, for t. It
// returns nil if that may be.
func (p policy) judgeAddress(t target, at netip.AddrPort) *Error {
	addr := at.Addr().Unmap().WithZone("")
	at = netip.AddrPortFrom(addr, at.Port())
	if p.isOwnAddress(at) {
		return refused("the address is grantd's own: " + at.String())
	}
	if p.opensName(t) {
		return nil
	}
	if t.scheme == "http" && !p.opensAddress(at) {
		return refused("http, to an address that is not allowed: " + addr.String())
	}
	// An allowed network of tunnels and translators does not open what is behind them.
	for _, a := range append([]netip.Addr{addr}, embedded(addr)...) {
		if use := special(a); use != "" && !p.opensAddress(netip.AddrPortFrom(a, at.Port())) {
			return refused("the address " + addr.String() + " is of special use: " + use)
		}
	}
	return nil
}

// opensName: t's host and port are allowed by name, whatever the address.
func (p policy) opensName(t target) bool {
	return slices.ContainsFunc(p.allow, func(a Allowed) bool { return a.host != "" && a.host == t.host && a.port == t.port })
}

// opensPort: t is exactly one of the allowed host:port.
func (p policy) opensPort(t target) bool {
	return p.opensName(t) || slices.ContainsFunc(p.allow, func(a Allowed) bool {
		return a.host == "" && a.port == t.port && t.addr.IsValid() && a.prefix.Contains(t.addr)
	})
}

// opensAddress: at is within what is allowed by address.
func (p policy) opensAddress(at netip.AddrPort) bool {
	return slices.ContainsFunc(p.allow, func(a Allowed) bool {
		return a.host == "" && a.prefix.Contains(at.Addr()) && (a.port == 0 || a.port == at.Port())
	})
}

// opensLoopback: t is this machine by its name or address, and allowed by address.
func (p policy) opensLoopback(t target) bool {
	addrs := []netip.Addr{t.addr}
	if isLocalhost(t.host) {
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return slices.ContainsFunc(addrs, func(addr netip.Addr) bool {
		return addr.IsLoopback() && p.opensAddress(netip.AddrPortFrom(addr, t.port))
	})
}

func (p policy) isOwnHost(t target) bool {
	if t.addr.IsValid() {
		return p.isOwnAddress(netip.AddrPortFrom(t.addr, t.port))
	}
	return slices.ContainsFunc(p.own, func(own ownHost) bool {
		same := own.host == t.host || own.loopback && isLocalhost(t.host)
		return same && (own.port == 0 || own.port == t.port)
	})
}

func (p policy) isOwnAddress(at netip.AddrPort) bool {
	return slices.ContainsFunc(p.own, func(own ownHost) bool {
		same := own.addr == at.Addr() || own.loopback && at.Addr().IsLoopback()
		return same && (own.port == 0 || own.port == at.Port())
	})
}

// usualPort: 443, or one that belongs to no old protocol. grantd's greeting is
// not for strangers' mail servers.
func usualPort(t target) bool { return t.port == 443 || t.port >= 1024 }

func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isInternalName: the name means something only inside of a network (RFC 6761,
// RFC 6762, RFC 8375 and the like), so there is no need to ask the DNS.
func isInternalName(host string) bool {
	if !strings.Contains(host, ".") {
		return true
	}
	return slices.ContainsFunc(
		[]string{".localhost", ".local", ".internal", ".home.arpa", ".invalid", ".onion"},
		func(suffix string) bool { return strings.HasSuffix(host, suffix) },
	)
}
