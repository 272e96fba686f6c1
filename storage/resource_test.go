package storage_test

import (
	"strings"
	"testing"

	"grantd/storage"
)

func TestCanonicalResourceURI(t *testing.T) {
	for _, c := range []struct {
		name string
		uri  string
		want string // empty: refused
	}{
		{"https", "https://mcp.example.com/mcp", "https://mcp.example.com/mcp"},
		{"without a path", "https://mcp.example.com", "https://mcp.example.com"},
		{"slash stays", "https://mcp.example.com/", "https://mcp.example.com/"},
		{"scheme and host in lower case", "HTTPS://MCP.Example.COM:8443/Path?Q=A", "https://mcp.example.com:8443/Path?Q=A"},
		{"query without a path", "https://MCP.example.com?Q=A", "https://mcp.example.com?Q=A"},
		{"http on loopback", "http://127.0.0.1:3000/mcp", "http://127.0.0.1:3000/mcp"},
		{"http on IPv6 loopback", "http://[::1]/mcp", "http://[::1]/mcp"},
		{"http on localhost", "http://LOCALHOST/mcp", "http://localhost/mcp"},
		{"AZ-38 dot segments are not resolved", "https://h.example/a/../admin", "https://h.example/a/../admin"},
		{"AZ-38 escapes are not decoded", "https://h.example/%61", "https://h.example/%61"},

		{"AZ-36 empty", "", ""},
		{"AZ-36 relative", "/mcp", ""},
		{"AZ-36 without scheme", "mcp.example.com/mcp", ""},
		{"AZ-36 opaque", "https:mcp.example.com", ""},
		{"AZ-36 no host", "https:///mcp", ""},
		{"AZ-36 only a port", "https://:8080/mcp", ""},
		{"AZ-36 fragment", "https://mcp.example.com/mcp#x", ""},
		{"AZ-36 empty fragment", "https://mcp.example.com/mcp#", ""},
		{"AZ-36 user information", "https://user@mcp.example.com/mcp", ""},
		{"AZ-36 http beyond loopback", "http://mcp.example.com/mcp", ""},
		{"AZ-36 http below localhost", "http://foo.localhost/mcp", ""},
		{"AZ-36 other scheme", "ftp://mcp.example.com/", ""},
		{"AZ-36 name instead of a URL", "urn:example:mcp", ""},
		{"not ASCII", "https://mcp.exämple.com/", ""},
		{"space", "https://mcp.example.com/a b", ""},
		{"backslash", `https://mcp.example.com\@evil.example/`, ""},
		{"encoded NUL", "https://mcp.example.com/%00", ""},
		{"too long", "https://mcp.example.com/" + strings.Repeat("a", storage.MaxURILength), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := storage.CanonicalResourceURI(c.uri)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("CanonicalResourceURI(%q) = %q, %v", c.uri, got, err)
			}
		})
	}
}

func TestResourceNames(t *testing.T) {
	for _, c := range []struct {
		name       string
		registered string
		sent       string
		want       bool
	}{
		{"equal", "https://h.example/a", "https://h.example/a", true},
		{"AZ-37 upper case", "https://h.example/a", "HTTPS://H.EXAMPLE/a", true},
		{"AZ-37 slash added", "https://h.example/a", "https://h.example/a/", true},
		{"AZ-37 slash dropped", "https://h.example/a/", "https://h.example/a", true},
		{"AZ-37 root", "https://h.example", "https://h.example/", true},
		{"two slashes are not one", "https://h.example/a", "https://h.example/a//", false},
		{"path in upper case", "https://h.example/a", "https://h.example/A", false},
		{"AZ-38 dot segments", "https://h.example/a", "https://h.example/a/../admin", false},
		{"AZ-38 dot segments leading back", "https://h.example/a", "https://h.example/b/../a", false},
		{"AZ-38 longer name", "https://h.example/a", "https://h.example/ab", false},
		{"AZ-38 below", "https://h.example/a", "https://h.example/a/b", false},
		{"AZ-38 above", "https://h.example/a", "https://h.example/", false},
		{"AZ-38 escape", "https://h.example/a", "https://h.example/%61", false},
		{"default port", "https://h.example/a", "https://h.example:443/a", false},
		{"other scheme", "https://127.0.0.1/a", "http://127.0.0.1/a", false},
		{"query", "https://h.example/a", "https://h.example/a?b", false},
		{"not a URI", "https://h.example/a", "a", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (&storage.Resource{URI: c.registered}).Names(c.sent); got != c.want {
				t.Errorf("%q names %q: %v", c.sent, c.registered, got)
			}
		})
	}
}

// FuzzCanonicalResourceURI: making canonical what is canonical changes nothing,
// and only the case of scheme and host ever changes.
func FuzzCanonicalResourceURI(f *testing.F) {
	for _, uri := range []string{"https://mcp.example.com/mcp", "HTTPS://H?x", "http://LocalHost:1/", "https://[::1]/", "https://h\\x/", "https:/h", "https://h%41/x", "hTtPs://h//"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		canonical, err := storage.CanonicalResourceURI(uri)
		if err != nil {
			return
		}
		if again, err := storage.CanonicalResourceURI(canonical); err != nil || again != canonical {
			t.Errorf("%q became %q became %q, %v", uri, canonical, again, err)
		}
		if !strings.EqualFold(canonical, uri) {
			t.Errorf("%q became %q", uri, canonical)
		}
		if got, want := path(canonical), path(uri); got != want {
			t.Errorf("the path of %q became %q", uri, got)
		}
		if !(&storage.Resource{URI: canonical}).Names(uri) {
			t.Errorf("%q does not name the resource registered by it", uri)
		}
	})
}

// path is everything behind the host.
func path(uri string) string {
	_, rest, _ := strings.Cut(uri, "//")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return rest[i:]
	}
	return ""
}
