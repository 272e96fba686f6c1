package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"grantd/server/web"
)

func TestAddressOf(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, c := range []struct {
		name      string
		proxies   []netip.Prefix
		peer      string
		forwarded []string
		want, key string
	}{
		{"peer", nil, "192.0.2.1:1234", nil, "192.0.2.1", "192.0.2.1"},
		{"IPv6 peer", nil, "[2001:db8::1]:1234", nil, "2001:db8::1", "2001:db8::/64"},
		{"zone is dropped", nil, "[fe80::1%eth0]:1234", nil, "fe80::1", "fe80::/64"},
		{"mapped IPv4 is IPv4", nil, "[::ffff:192.0.2.1]:1234", nil, "192.0.2.1", "192.0.2.1"},
		{"HT-03 nobody is trusted", nil, "192.0.2.1:1234", []string{"198.51.100.7"}, "192.0.2.1", "192.0.2.1"},
		{"HT-03 an untrusted peer", proxies, "192.0.2.1:1234", []string{"198.51.100.7"}, "192.0.2.1", "192.0.2.1"},
		{"a trusted peer", proxies, "10.1.2.3:1234", []string{"198.51.100.7"}, "198.51.100.7", "198.51.100.7"},
		{"a trusted IPv6 peer", proxies, "[2001:db8:1::9]:1234", []string{"2001:db8:2::7"}, "2001:db8:2::7", "2001:db8:2::/64"},
		{"a trusted mapped peer", proxies, "[::ffff:10.1.2.3]:1234", []string{"198.51.100.7"}, "198.51.100.7", "198.51.100.7"},
		{"the caller claims more hops", proxies, "10.1.2.3:1234", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7", "198.51.100.7"},
		{"through two proxies", proxies, "10.1.2.3:1234", []string{"198.51.100.7, 10.9.9.9"}, "198.51.100.7", "198.51.100.7"},
		{"two header lines", proxies, "10.1.2.3:1234", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7", "198.51.100.7"},
		{"only proxies", proxies, "10.1.2.3:1234", []string{"10.4.4.4"}, "10.4.4.4", "10.4.4.4"},
		{"no header from a proxy", proxies, "10.1.2.3:1234", nil, "10.1.2.3", "10.1.2.3"},
		{"garbage ends the search", proxies, "10.1.2.3:1234", []string{"198.51.100.7, unknown"}, "10.1.2.3", "10.1.2.3"},
		{"garbage before a good hop", proxies, "10.1.2.3:1234", []string{"garbage, 198.51.100.7"}, "198.51.100.7", "198.51.100.7"},
		{"forwarded zone", proxies, "10.1.2.3:1234", []string{"fe80::1%25"}, "fe80::1", "fe80::/64"},
		{"unix socket", nil, "@", nil, "invalid IP", "invalid IP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			a := web.Addresses{TrustedProxies: c.proxies}
			if got := a.Of(r).String(); got != c.want {
				t.Errorf("Of is %s, want %s", got, c.want)
			}
			if got := a.Key(r); got != c.key {
				t.Errorf("Key is %s, want %s", got, c.key)
			}
		})
	}
}

func TestAddressIgnoresOtherHeaders(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.RemoteAddr = "10.1.2.3:1234"
	for _, name := range []string{"Forwarded", "X-Real-Ip", "X-Client-Ip", "Cf-Connecting-Ip", "True-Client-Ip"} {
		r.Header.Set(name, "198.51.100.7")
	}
	a := web.Addresses{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	if got := a.Of(r).String(); got != "10.1.2.3" {
		t.Errorf("Of is %s", got)
	}
}

// FuzzAddress: from an untrusted peer no header changes anything, and a key never
// says more than the network.
func FuzzAddress(f *testing.F) {
	for _, pair := range [][2]string{{"192.0.2.1:1", "10.0.0.1"}, {"10.0.0.1:1", "192.0.2.1, ::1%x"}, {"", ","}, {"[::1]:2", "x"}} {
		f.Add(pair[0], pair[1])
	}
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		with := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		without := &http.Request{RemoteAddr: peer, Header: http.Header{}}
		a := web.Addresses{TrustedProxies: []netip.Prefix{trusted}}
		if got := a.Of(without); !trusted.Contains(got) && a.Of(with) != got {
			t.Errorf("peer %q, header %q: %s", peer, forwarded, a.Of(with))
		}
		if key := a.Key(with); len(key) > len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/64") {
			t.Errorf("key %q", key)
		}
	})
}
