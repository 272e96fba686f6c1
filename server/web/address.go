package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Addresses finds out where a request comes from.
type Addresses struct {
	// TrustedProxies are the networks whose X-Forwarded-For is believed, for
	// limits and audit only.
	TrustedProxies []netip.Prefix
}

// Of returns the caller's address: the peer's, or behind trusted proxies the
// last address in X-Forwarded-For that is not a trusted proxy's. The zero Addr
// means that there is none (a unix socket).
func (a Addresses) Of(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	if !a.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		forwarded, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return addr
		}
		addr = forwarded.Unmap().WithZone("")
		if !a.trusted(addr) {
			return addr
		}
	}
	return addr
}

// Key is the caller's address as a key for limits: the IPv4 address, or the /64
// that one IPv6 subscriber has.
func (a Addresses) Key(r *http.Request) string {
	addr := a.Of(r)
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

type callerKey struct{}

// Remember puts the caller's key into the request's context, for limits of rooms
// that see no request.
func (a Addresses) Remember(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, a.Key(r))))
	})
}

// Caller is the key that Remember has put there, or "".
func Caller(ctx context.Context) string {
	key, _ := ctx.Value(callerKey{}).(string)
	return key
}

func (a Addresses) trusted(addr netip.Addr) bool {
	return slices.ContainsFunc(a.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}
