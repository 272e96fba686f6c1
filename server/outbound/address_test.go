package outbound_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"grantd/server/outbound"
)

var errStop = errors.New("no packet leaves a test")

// CM-04: names that resolve to addresses which are not of the public internet.
func TestCM04SpecialUseAddresses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		// Both ends of each range.
		"0.0.0.0", "0.1.2.3", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.64.0.1", "100.127.255.255",
		"127.0.0.0", "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255",
		"172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.8", "192.0.0.255", "192.0.2.0", "192.0.2.1", "192.0.2.255",
		"192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "192.175.48.1",
		"198.18.0.0", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.0", "224.0.0.1", "239.255.255.255", "240.0.0.0", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::2", "::127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8",
		"64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
		"100::", "100::1", "100:0:0:1::1", "2001::", "2001:0:7f00:1::", "2001:2::1", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
		"2001:10::1", "2001:20::1", "2001:db8::", "2001:db8::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
		"2002::", "2002:7f00:1::", "2002:808:808::1", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8000::1",
		"3fff::1", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "5f00::1", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"fc00::", "fd00:ec2::254", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1", "fe80::1%eth0", "febf::1",
		"fec0::1", "feff::1", "ff00::", "ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"1::1", "1fff::1", "4000::1", "8000::1", // no part of IPv6 that is in use
		// The same in disguise: mapped and ISATAP.
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
		"2a00:1::5efe:127.0.0.1", "2a00:1::200:5efe:10.0.0.1", "2a00:1::100:5efe:10.0.0.1", "2a00:1::300:5efe:a9fe:a9fe",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var seen knocks
			f := outbound.New(outbound.Config{Resolver: always(text), Connecting: func(at netip.AddrPort) error {
				return errors.Join(seen.connecting(at), errStop)
			}})
			wantError(t, f, "https://client.test/", outbound.MetadataDocument, outbound.ErrRefused)
			seen.want(t)
		})
	}
}

func TestPublicAddressesAreAsked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		// The neighbours of the ranges, and some that everybody knows.
		"1.0.0.0": "", "9.255.255.255": "", "11.0.0.0": "", "8.8.8.8": "", "100.63.255.255": "", "100.128.0.0": "",
		"126.255.255.255": "", "128.0.0.0": "", "169.253.255.255": "", "169.255.0.0": "", "172.15.255.255": "", "172.32.0.0": "",
		"191.255.255.255": "", "192.0.1.0": "", "192.0.3.0": "", "192.167.255.255": "", "192.169.0.0": "",
		"198.17.255.255": "", "198.20.0.0": "", "223.255.255.255": "",
		"2000::1": "", "2001:200::1": "", "2001:4860:4860::8888": "", "2001:db7:ffff::1": "", "2001:db9::1": "",
		"2003::1": "", "2606:4700::1111": "", "2a00::1": "", "3ffe::1": "", "3fff:1000::1": "",
		"::ffff:8.8.8.8": "8.8.8.8", "2a00:1::5efe:8.8.8.8": "",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if want == "" {
				want = text
			}
			var seen knocks
			f := outbound.New(outbound.Config{Resolver: always(text), Connecting: func(at netip.AddrPort) error {
				return errors.Join(seen.connecting(at), errStop)
			}})
			wantError(t, f, "https://client.test/", outbound.MetadataDocument, outbound.ErrFetch)
			seen.want(t, netip.AddrPortFrom(netip.MustParseAddr(want), 443))
		})
	}
}

// CM-04, on the wire: a listener inside is not connected to.
func TestCM04NoConnectionInward(t *testing.T) {
	t.Parallel()
	door := closedDoor{listenAt(t, "127.0.0.1:0")}
	port := netip.MustParseAddrPort(door.Addr().String()).Port()
	f := outbound.New(outbound.Config{Resolver: always("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0")})
	url := (&world{at: netip.AddrPortFrom(netip.Addr{}, port)}).url("a", "/")
	wantError(t, f, url, outbound.MetadataDocument, outbound.ErrRefused)
	door.wantUntouched(t)
}

// CM-05: of mixed answers only the permitted addresses are asked.
func TestCM05MixedAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serveDocument)
	door := closedDoor{listenAt(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), w.at.Port()).String())}
	w.config.Resolver = always("127.0.0.2", "10.0.0.1", "127.0.0.1", "fd00::1")
	get(t, outbound.New(w.config), w.url("a", "/"))
	w.knocks.want(t, w.at)
	door.wantUntouched(t)
}

// CM-05: the first answer is good, the second leads inside.
func TestCM05Rebinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serveDocument)
	door := closedDoor{listenAt(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), w.at.Port()).String())}
	answers := make(chan []netip.Addr, 2)
	answers <- parseAddrs([]string{"127.0.0.1"})
	answers <- parseAddrs([]string{"127.0.0.2"})
	w.config.Resolver = resolver(func(context.Context, string) ([]netip.Addr, error) { return <-answers, nil })
	f := outbound.New(w.config)
	d := get(t, f, w.url("a", "/"))
	w.clock.wait(d.FreshUntil.Sub(d.FetchedAt))
	wantError(t, f, w.url("a", "/"), outbound.MetadataDocument, outbound.ErrRefused)
	w.knocks.want(t, w.at)
	w.wantRequests(t, 1) // and no connection was kept to send another
	door.wantUntouched(t)
}

func TestNextAddressIsTried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serveDocument)
	w.config.Allow = append(w.config.Allow, allow(t, "127.0.0.0/8"))
	w.config.Resolver = always("127.0.0.3", "127.0.0.1") // nobody listens on the first
	get(t, outbound.New(w.config), w.url("a", "/"))
	w.knocks.want(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), w.at.Port()), w.at)
}

func TestResolverFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		addrs []netip.Addr
		err   error
		want  error
	}{
		{"no address", nil, nil, outbound.ErrFetch},
		{"the zero address", []netip.Addr{{}}, nil, outbound.ErrRefused},
		{"an error", nil, &net.DNSError{Err: "server misbehaving"}, outbound.ErrFetch},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := outbound.New(outbound.Config{Resolver: resolver(func(context.Context, string) ([]netip.Addr, error) { return c.addrs, c.err })})
			wantError(t, f, "https://client.test/", outbound.MetadataDocument, c.want)
		})
	}
}

// The operator opens addresses; what is opened, and what is not.
func TestAllow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		allow    []string
		own      []string
		url      string
		resolved string
		want     string // the address asked; "" if refused
	}{
		{"network", []string{"10.1.0.0/16"}, nil, "https://idp.corp.internal/", "10.1.2.3", "10.1.2.3:443"},
		{"network, not masked", []string{"10.1.2.3/16"}, nil, "https://idp.corp.internal/", "10.1.9.9", "10.1.9.9:443"},
		{"outside of the network", []string{"10.1.0.0/16"}, nil, "https://idp.corp.internal/", "10.2.0.1", ""},
		{"mapped, in the network", []string{"10.1.0.0/16"}, nil, "https://idp.corp.internal/", "::ffff:10.1.2.3", "10.1.2.3:443"},
		{"one address", []string{"fd00::5"}, nil, "https://idp/", "fd00::5", "[fd00::5]:443"},
		{"its neighbour", []string{"fd00::5"}, nil, "https://idp/", "fd00::6", ""},
		{"an address as host", []string{"10.1.0.0/16"}, nil, "https://10.1.2.3/", "", "10.1.2.3:443"},
		{"an address as host, high port", []string{"10.1.0.0/16"}, nil, "https://10.1.2.3:8443/", "", "10.1.2.3:8443"},
		{"an address as host, another protocol's port", []string{"10.1.0.0/16"}, nil, "https://10.1.2.3:22/", "", ""},
		{"mapped address as host", []string{"10.1.0.0/16"}, nil, "https://[::ffff:10.1.2.3]/", "", "10.1.2.3:443"},
		{"a public address as host", []string{"10.1.0.0/16"}, nil, "https://8.8.8.8/", "", ""},
		{"name and port", []string{"IdP.corp.example:8443"}, nil, "https://idp.corp.example:8443/", "10.0.0.1", "10.0.0.1:8443"},
		{"name and port, upper case", []string{"idp.corp.example:8443"}, nil, "https://IDP.corp.example:8443/", "10.0.0.1", "10.0.0.1:8443"},
		{"another name", []string{"idp.corp.example:8443"}, nil, "https://evil.example:8443/", "10.0.0.1", ""},
		{"another port", []string{"idp.corp.example:8443"}, nil, "https://idp.corp.example/", "10.0.0.1", ""},
		{"a name inside, not allowed", []string{"idp.internal:8443"}, nil, "https://db.internal:8443/", "8.8.8.8", ""},
		{"an old port by name", []string{"idp.internal:636"}, nil, "https://idp.internal:636/", "10.0.0.1", "10.0.0.1:636"},
		{"address and port", []string{"10.0.0.1:8443"}, nil, "https://idp.example:8443/", "10.0.0.1", "10.0.0.1:8443"},
		{"address, another port", []string{"10.0.0.1:8443"}, nil, "https://idp.example:8444/", "10.0.0.1", ""},
		{"IPv6 address and port", []string{"[::1]:9000"}, nil, "https://[::1]:9000/", "", "[::1]:9000"},

		// An opened tunnel or translator opens nothing behind it.
		{"NAT64 of a public address", []string{"64:ff9b::/96"}, nil, "https://client.test/", "64:ff9b::808:808", "[64:ff9b::808:808]:443"},
		{"NAT64 of the clouds' metadata", []string{"64:ff9b::/96"}, nil, "https://client.test/", "64:ff9b::a9fe:a9fe", ""},
		{"NAT64 of an allowed address", []string{"64:ff9b::/96", "10.1.0.0/16"}, nil, "https://client.test/", "64:ff9b::a01:203", "[64:ff9b::a01:203]:443"},
		{"NAT64 is not opened by what is behind", []string{"10.1.0.0/16"}, nil, "https://client.test/", "64:ff9b::a01:203", ""},
		{"6to4 of loopback", []string{"2002::/16"}, nil, "https://client.test/", "2002:7f00:1::1", ""},
		{"6to4 of a public address", []string{"2002::/16"}, nil, "https://client.test/", "2002:808:808::1", "[2002:808:808::1]:443"},
		{"Teredo with a server inside", []string{"2001::/32"}, nil, "https://client.test/", "2001:0:a00:1::f7f7:f7f7", ""},
		{"Teredo with a client inside", []string{"2001::/32"}, nil, "https://client.test/", "2001:0:808:808::80ff:fffe", ""},
		{"Teredo", []string{"2001::/32"}, nil, "https://client.test/", "2001:0:808:808::f7f7:f7f7", "[2001:0:808:808::f7f7:f7f7]:443"},
		{"ISATAP inside of an allowed network", []string{"fd00::/8"}, nil, "https://client.test/", "fd00::5efe:127.0.0.1", ""},

		// CM-20: http is for what is allowed as host:port, and for loopback.
		{"http by name", []string{"idp.internal:8080"}, nil, "http://idp.internal:8080/", "10.0.0.1", "10.0.0.1:8080"},
		{"http by address", []string{"127.0.0.1:9000"}, nil, "http://127.0.0.1:9000/", "", "127.0.0.1:9000"},
		{"http to port 80", []string{"127.0.0.1:80"}, nil, "http://127.0.0.1/", "", "127.0.0.1:80"},
		{"http to localhost", []string{"127.0.0.1:9000"}, nil, "http://localhost:9000/", "127.0.0.1", "127.0.0.1:9000"},
		{"http to a localhost elsewhere", []string{"127.0.0.1:9000"}, nil, "http://localhost:9000/", "8.8.8.8", ""},
		{"http to loopback by network", []string{"127.0.0.0/8"}, nil, "http://127.0.0.1:9000/", "", "127.0.0.1:9000"},
		{"http into a network", []string{"10.1.0.0/16"}, nil, "http://10.1.2.3:9000/", "", ""},
		{"http by a name into a network", []string{"127.0.0.0/8"}, nil, "http://client.test:9000/", "127.0.0.1", ""},
		{"http to the internet", []string{"127.0.0.0/8"}, nil, "http://client.test/", "8.8.8.8", ""},

		// CM-19: never grantd itself.
		{"own host", nil, []string{"auth.example.com"}, "https://auth.example.com/", "8.8.8.8", ""},
		{"own host, upper case", nil, []string{"auth.example.com"}, "https://AUTH.example.com/", "8.8.8.8", ""},
		{"own host, any port", nil, []string{"auth.example.com"}, "https://auth.example.com:8443/", "8.8.8.8", ""},
		{"own host and port", nil, []string{"Auth.example.com:8443"}, "https://auth.example.com:8443/", "8.8.8.8", ""},
		{"another port of own host", nil, []string{"auth.example.com:8443"}, "https://auth.example.com/", "8.8.8.8", "8.8.8.8:443"},
		{"below own host", nil, []string{"example.com"}, "https://auth.example.com/", "8.8.8.8", "8.8.8.8:443"},
		{"own host, allowed by name", []string{"auth.internal:8443"}, []string{"auth.internal:8443"}, "https://auth.internal:8443/", "10.0.0.1", ""},
		{"own listener", []string{"127.0.0.0/8"}, []string{"127.0.0.1:8081"}, "http://127.0.0.1:8081/admin", "", ""},
		{"own listener, mapped", []string{"127.0.0.0/8"}, []string{"127.0.0.1:8081"}, "https://[::ffff:127.0.0.1]:8081/admin", "", ""},
		{"own listener by another name", []string{"127.0.0.0/8"}, []string{"127.0.0.1:8081"}, "https://client.test:8081/admin", "127.0.0.1", ""},
		{"own listener by an allowed name", []string{"client.test:8081"}, []string{"127.0.0.1:8081"}, "http://client.test:8081/", "127.0.0.1", ""},
		{"own listener on every address", []string{"127.0.0.0/8"}, []string{":8081"}, "http://127.0.0.1:8081/", "", ""},
		{"own listener on 0.0.0.0", []string{"127.0.0.0/8"}, []string{"0.0.0.0:8081"}, "http://localhost:8081/", "127.0.0.1", ""},
		{"own localhost", []string{"127.0.0.0/8"}, []string{"localhost:8081"}, "http://127.0.0.1:8081/", "", ""},
		{"own address, any port", []string{"::1"}, []string{"[::1]"}, "https://[::1]:8443/", "", ""},
		{"beside own listener", []string{"127.0.0.0/8"}, []string{"127.0.0.1:8081", "unix:/run/grantd.sock"}, "http://127.0.0.1:9000/", "", "127.0.0.1:9000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var seen knocks
			config := outbound.Config{OwnHosts: c.own, Connecting: func(at netip.AddrPort) error {
				return errors.Join(seen.connecting(at), errStop)
			}}
			config.Resolver = resolver(func(context.Context, string) ([]netip.Addr, error) {
				if c.resolved == "" {
					t.Error("an address was resolved")
					return nil, errStop
				}
				return parseAddrs([]string{c.resolved}), nil
			})
			for _, text := range c.allow {
				config.Allow = append(config.Allow, allow(t, text))
			}
			f := outbound.New(config)
			if c.want == "" {
				wantError(t, f, c.url, outbound.MetadataDocument, outbound.ErrRefused)
				seen.want(t)
				return
			}
			if err := f.Check(c.url); err != nil {
				t.Errorf("Check: %s", reason(err))
			}
			wantError(t, f, c.url, outbound.MetadataDocument, outbound.ErrFetch)
			seen.want(t, netip.MustParseAddrPort(c.want))
		})
	}
}

// http works where it is allowed, and is not spoken where it is not.
func TestCM20PlainHTTP(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	served := make(chan struct{}, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		served <- struct{}{}
		serveDocument(rw, r)
	}), ReadHeaderTimeout: outbound.Timeout}
	listener := listenAt(t, "127.0.0.1:0")
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	w.open(t, listener)
	get(t, outbound.New(w.config), "http://"+w.at.String()+"/client")
	<-served
	w.config.Allow = nil
	wantError(t, outbound.New(w.config), "http://"+w.at.String()+"/client", outbound.MetadataDocument, outbound.ErrRefused)
	w.knocks.want(t, w.at)
}

func TestParseAllow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.1.0.0/16": "10.1.0.0/16", "10.1.2.3/16": "10.1.0.0/16", "10.1.2.3": "10.1.2.3/32", "fd00::/8": "fd00::/8", "::1": "::1/128",
		"127.0.0.1:9000": "127.0.0.1:9000", "[::1]:9000": "[::1]:9000", "idp.corp.example:8443": "idp.corp.example:8443",
		"IdP:80": "idp:80", "::ffff:10.1.2.3": "10.1.2.3/32", "[::ffff:10.1.2.3]:443": "10.1.2.3:443",
	} {
		if got := allow(t, text).String(); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{
		"", "0.0.0.0/0", "::/0", "idp.internal", "idp.internal:", "idp.internal:0", "idp.internal:65536", "idp.internal:https", ":8443",
		"10.1.0.0/33", "10.1/16", "127.1:80", "0x7f000001:80", "2130706433:80", "https://idp.internal:8443", "idp.internal:8443/", "idp .internal:1",
		"idp.internal.:8443", "fe80::1%eth0", "[fe80::1%eth0]:80", "::ffff:10.0.0.0/104", "*.internal:443",
	} {
		if got, err := outbound.ParseAllow(text); err == nil {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}
