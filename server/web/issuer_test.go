package web_test

import (
	"testing"

	"grantd/server/web"
)

func TestParseIssuer(t *testing.T) {
	for _, c := range []struct {
		name   string
		issuer string
		root   string
		origin string // empty: refused
		host   string
		secure bool
	}{
		{"https", "https://auth.example.com", "", "https://auth.example.com", "auth.example.com", true},
		{"with a port", "https://auth.example.com:8443", "", "https://auth.example.com:8443", "auth.example.com", true},
		{"with a path", "https://auth.example.com/tenant/a", "/tenant/a", "https://auth.example.com", "auth.example.com", true},
		{"http on loopback", "http://127.0.0.1:8080", "", "http://127.0.0.1:8080", "127.0.0.1", false},
		{"http on IPv6 loopback", "http://[::1]:8080", "", "http://[::1]:8080", "::1", false},
		{"http on localhost", "http://localhost", "", "http://localhost", "localhost", false},

		{name: "SS-03 http beyond loopback", issuer: "http://auth.example.com"},
		{name: "SS-03 http below localhost", issuer: "http://auth.localhost"},
		{name: "empty", issuer: ""},
		{name: "only a host", issuer: "auth.example.com"},
		{name: "no host", issuer: "https:///tenant"},
		{name: "opaque", issuer: "https:auth.example.com"},
		{name: "other scheme", issuer: "ftp://auth.example.com"},
		{name: "trailing slash", issuer: "https://auth.example.com/"},
		{name: "trailing slash of a path", issuer: "https://auth.example.com/tenant/"},
		{name: "query", issuer: "https://auth.example.com?a=1"},
		{name: "empty query", issuer: "https://auth.example.com?"},
		{name: "fragment", issuer: "https://auth.example.com#a"},
		{name: "empty fragment", issuer: "https://auth.example.com#"},
		{name: "user information", issuer: "https://user@auth.example.com"},
		{name: "host in upper case", issuer: "https://Auth.example.com"},
		{name: "scheme in upper case", issuer: "HTTPS://auth.example.com"},
		{name: "dot segments", issuer: "https://auth.example.com/../tenant"},
		{name: "double slash", issuer: "https://auth.example.com//tenant"},
		{name: "escape in the path", issuer: "https://auth.example.com/%61"},
		{name: "space", issuer: "https://auth.example.com/a b"},
		{name: "quote", issuer: `https://auth.example.com/"x`},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := web.ParseIssuer(c.issuer)
			if (err == nil) != (c.origin != "") {
				t.Fatalf("ParseIssuer(%q): %v", c.issuer, err)
			}
			if err != nil {
				return
			}
			if i.String() != c.issuer || i.Root() != c.root || i.Origin() != c.origin || i.Hostname() != c.host || i.Secure() != c.secure {
				t.Errorf("%q: String %q, Root %q, Origin %q, Hostname %q, Secure %v", c.issuer, i, i.Root(), i.Origin(), i.Hostname(), i.Secure())
			}
			if got := i.URL("/token"); got != c.issuer+"/token" {
				t.Errorf("URL is %q", got)
			}
		})
	}
}
