package storage_test

import (
	"slices"
	"strings"
	"testing"

	"grantd/storage"
)

func TestValidateRedirectURI(t *testing.T) {
	long := "https://app.example/" + strings.Repeat("a", storage.MaxURILength)
	for _, c := range []struct {
		name string
		uri  string
		good bool
	}{
		{"https", "https://app.example/cb", true},
		{"https with a port and a query", "https://app.example:8443/cb?a=1&b=%20", true},
		{"https with an IDN in punycode", "https://xn--pple-43d.example/cb", true},
		{"loopback IPv4", "http://127.0.0.1/cb", true},
		{"loopback IPv6", "http://[::1]:4711/cb", true},
		{"localhost", "http://localhost:1/cb", true},
		{"longest", long[:storage.MaxURILength], true},

		{"empty", "", false},
		{"relative", "/cb", false},
		{"no scheme", "app.example/cb", false},
		{"scheme-relative", "//app.example/cb", false},
		{"no host", "https:///cb", false},
		{"opaque", "https:app.example/cb", false},
		{"http beyond loopback", "http://app.example/cb", false},
		{"AZ-15 loopback as a label", "http://127.0.0.1.evil.example/cb", false},
		{"AZ-15 localhost as a label", "http://localhost.evil.example/cb", false},
		{"AZ-15 below localhost", "http://foo.localhost:1/cb", false},
		{"AZ-15 localhost as user information", "http://localhost@evil.example/cb", false},
		{"AZ-14 mapped IPv6", "http://[::ffff:127.0.0.1]/cb", false},
		{"AZ-14 short IPv4", "http://127.1/cb", false},
		{"AZ-14 one number", "http://2130706433/cb", false},
		{"AZ-14 hexadecimal", "http://0x7f.1/cb", false},
		{"AZ-05 user information", "https://app.example@evil.example/cb", false},
		{"AZ-05 user and port", "https://app.example:443@evil.example/cb", false},
		{"AZ-05 two at signs", "https://a@b@evil.example/cb", false},
		{"AZ-05 empty user information", "https://@app.example/cb", false},
		{"AZ-09 fragment", "https://app.example/cb#x", false},
		{"AZ-09 empty fragment", "https://app.example/cb#", false},
		{"AZ-16 port 0", "http://127.0.0.1:0/cb", false},
		{"AZ-16 port 65536", "http://127.0.0.1:65536/cb", false},
		{"AZ-16 port 99999", "http://127.0.0.1:99999/cb", false},
		{"AZ-16 empty port", "http://127.0.0.1:/cb", false},
		{"AZ-16 no number", "https://app.example:x/cb", false},
		{"AZ-18 Cyrillic host", "https://аpp.example/cb", false},
		{"AZ-18 full-width dot", "https://app。example/cb", false},
		{"AZ-18 encoded full-width dot", "https://app.example%E3%80%82evil.example/cb", false},
		{"AZ-18 encoded dot of an address", "https://127%E3%80%820.0.1/cb", false},
		{"AZ-18 underscore and other marks", "https://app_.example!/cb", false},
		{"AZ-18 zone of an address", "http://[fe80::1%25eth0]/cb", false},
		{"AZ-18 backslash", `https://app.example\@evil.example/cb`, false},
		{"AZ-18 tab", "https://app.example/c\tb", false},
		{"AZ-18 newline", "https://app.example/cb\n", false},
		{"AZ-18 leading space", " https://app.example/cb", false},
		{"AZ-18 NUL", "https://app.example/\x00", false},
		{"AZ-18 encoded NUL", "https://app.example/%00", false},
		{"AZ-18 DEL", "https://app.example/\x7f", false},
		{"AZ-18 bad escape", "https://app.example/%zz", false},
		{"AZ-18 cut escape", "https://app.example/cb%4", false},
		{"AZ-18 quote", `https://app.example/"`, false},
		{"wildcard host", "https://*.app.example/cb", false},
		{"wildcard path", "https://app.example/*", false},
		{"malformed query", "https://app.example/cb?a;b", false},
		{"too long", long, false},

		{"AZ-11 code", "https://app.example/cb?code=x", false},
		{"AZ-11 state", "https://app.example/cb?a=1&state=", false},
		{"AZ-11 iss", "https://app.example/cb?iss=https://evil.example", false},
		{"AZ-11 error", "https://app.example/cb?error=x", false},
		{"AZ-11 error_description", "https://app.example/cb?error_description=x", false},
		{"AZ-11 error_uri", "https://app.example/cb?error_uri=x", false},
		{"AZ-11 response", "https://app.example/cb?response=x", false},
		{"AZ-11 encoded", "https://app.example/cb?%63ode=x", false},
		{"a parameter that only begins so", "https://app.example/cb?codec=x", true},

		{"AZ-19 javascript", "javascript:alert(1)", false},
		{"AZ-19 javascript with a host", "javascript://app.example/%0aalert(1)", false},
		{"AZ-19 data", "data:text/html,x", false},
		{"AZ-19 file", "file:///etc/passwd", false},
		{"AZ-19 blob", "blob:https://app.example/x", false},
		{"AZ-19 about", "about:blank", false},
		{"AZ-19 intent", "intent://x#Intent;end", false},
		{"AZ-20 private-use scheme", "com.example.app:/cb", false},
		{"AZ-20 scheme without a dot", "myapp://cb", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := storage.ValidateRedirectURI(c.uri); (err == nil) != c.good {
				t.Errorf("ValidateRedirectURI(%q) = %v", c.uri, err)
			}
		})
	}
}

func TestValidateRedirectURIWithPrivateSchemes(t *testing.T) {
	for uri, good := range map[string]bool{
		"com.example.app:/cb":         true,
		"com.example.app://cb":        true,
		"com.example.app:/cb?a=1":     true,
		"com.example.app:/cb#x":       false,
		"com.example.app:/cb?code=1":  false,
		"com.example.apps:/cb":        false,
		"javascript:alert(1)":         false,
		"com.example.app://user@h/cb": false,
	} {
		if err := storage.ValidateRedirectURI(uri, "com.example.app"); (err == nil) != good {
			t.Errorf("ValidateRedirectURI(%q) = %v", uri, err)
		}
	}
}

func TestMatchRedirectURI(t *testing.T) {
	for _, c := range []struct {
		name       string
		registered string
		requested  string
		matches    bool
	}{
		{"equal", "https://app.example/cb?a=1", "https://app.example/cb?a=1", true},
		{"other path", "https://app.example/cb", "https://app.example/cbx", false},
		{"AZ-08 scheme in upper case", "https://app.example/cb", "HTTPS://app.example/cb", false},
		{"AZ-08 host in upper case", "https://app.example/cb", "https://APP.example/cb", false},
		{"AZ-08 default port", "https://app.example/cb", "https://app.example:443/cb", false},
		{"AZ-08 trailing slash", "https://app.example/cb", "https://app.example/cb/", false},
		{"AZ-08 needless escape", "https://app.example/cb", "https://app.example/%63b", false},
		{"AZ-10 query added", "https://app.example/cb", "https://app.example/cb?x=1", false},
		{"AZ-10 query dropped", "https://app.example/cb?x=1", "https://app.example/cb", false},
		{"https ports are not free", "https://app.example:1/cb", "https://app.example:2/cb", false},
		{"AZ-12 IPv4 port", "http://127.0.0.1:3000/cb", "http://127.0.0.1:51004/cb", true},
		{"AZ-12 IPv6 port", "http://[::1]:3000/cb", "http://[::1]:51004/cb", true},
		{"AZ-12 port dropped", "http://127.0.0.1:3000/cb", "http://127.0.0.1/cb", true},
		{"AZ-13 port-less localhost", "http://localhost/callback", "http://localhost:57470/callback", true},
		{"AZ-13 without a path", "http://localhost", "http://localhost:57470", true},
		{"AZ-13 path added", "http://localhost", "http://localhost:57470/", false},
		{"AZ-13 query differs", "http://localhost/cb?a=1", "http://localhost:57470/cb?a=2", false},
		{"AZ-14 other literal", "http://127.0.0.1/cb", "http://localhost/cb", false},
		{"AZ-14 other family", "http://127.0.0.1/cb", "http://[::1]/cb", false},
		{"AZ-14 other address of the net", "http://127.0.0.1/cb", "http://127.0.0.2/cb", false},
		{"the port of another loopback address is not free", "http://127.0.0.2:1/cb", "http://127.0.0.2:2/cb", false},
		{"AZ-14 longer spelling", "http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]/cb", false},
		{"AZ-16 user information", "http://127.0.0.1/cb", "http://user@127.0.0.1:9/cb", false},
		{"AZ-16 needless escape", "http://127.0.0.1/cb", "http://127.0.0.1:9/c%62", false},
		{"AZ-16 scheme in upper case", "http://127.0.0.1/cb", "HTTP://127.0.0.1:9/cb", false},
		{"AZ-16 port 99999", "http://127.0.0.1/cb", "http://127.0.0.1:99999/cb", false},
		{"AZ-16 port 0", "http://127.0.0.1/cb", "http://127.0.0.1:0/cb", false},
		{"AZ-16 empty port", "http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
		{"AZ-16 port with a sign", "http://127.0.0.1/cb", "http://127.0.0.1:+1/cb", false},
		{"AZ-17 scheme downgrade", "https://127.0.0.1:8443/cb", "http://127.0.0.1:9999/cb", false},
		{"AZ-17 https on loopback keeps its port", "https://127.0.0.1:8443/cb", "https://127.0.0.1:9999/cb", false},
		{"AZ-09 empty fragment", "http://127.0.0.1/cb", "http://127.0.0.1/cb#", false},
		{"AZ-11 stored response parameter", "https://app.example/cb?iss=x", "https://app.example/cb?iss=x", false},
		{"AZ-19 stored javascript", "javascript:alert(1)", "javascript:alert(1)", false},
		{"AZ-19 stored JavaScript in mixed case", "JavaScript:alert(1)", "JavaScript:alert(1)", false},
		{"AZ-20 stored private-use scheme", "com.example.app:/cb", "com.example.app:/cb", true},
		{"AZ-20 stored private-use scheme, other path", "com.example.app:/cb", "com.example.app:/cb2", false},
		{"empty", "https://app.example/cb", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := &storage.Client{RedirectURIs: []string{"https://other.example/", c.registered}}
			if got := client.MatchRedirectURI(c.requested); got != c.matches {
				t.Errorf("registered %q, requested %q: %v", c.registered, c.requested, got)
			}
		})
	}
}

func TestLoopbackRedirect(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://127.0.0.1:1/cb": true, "http://[::1]/cb": true, "http://localhost/cb": true,
		"https://127.0.0.1/cb": false, "https://app.example/cb": false, "com.example.app:/cb": false, "http://foo.localhost/": false,
	} {
		if got := storage.LoopbackRedirect(uri); got != want {
			t.Errorf("LoopbackRedirect(%q) = %v", uri, got)
		}
	}
}

// FuzzMatchRedirectURI holds the matcher to what people rely on: what it accepts
// is what was registered, byte for byte, except for the digits of a port behind
// an http loopback literal.
func FuzzMatchRedirectURI(f *testing.F) {
	for _, pair := range [][2]string{
		{"https://app.example/cb", "https://app.example/cb"},
		{"https://app.example/cb", "https://app.example@evil.example/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"},
		{"http://127.0.0.1:3000", "http://127.0.0.1:1?"},
		{"http://localhost/cb?a=1", "http://localhost:1/cb?a=1"},
		{"http://[::1]:8/cb", "http://[::1]:9/cb"},
		{"http://localhost/", "http://localhost:1@evil.example/"},
		{"http://127.0.0.1:80:90/", "http://127.0.0.1:1/"},
		{"com.example.app:/cb", "com.example.app:/cb"},
		{"JavaScript:x", "JavaScript:x"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, registered, requested string) {
		client := &storage.Client{RedirectURIs: []string{registered}}
		if !client.MatchRedirectURI(requested) {
			return
		}
		if requested != registered {
			if got, want := withoutPort(requested), withoutPort(registered); got != want || got == "" {
				t.Errorf("registered %q, accepted %q", registered, requested)
			}
		}
		if strings.ContainsAny(requested, "#\\\r\n\t \x00") || strings.HasPrefix(strings.ToLower(requested), "javascript:") {
			t.Errorf("accepted %q", requested)
		}
	})
}

// withoutPort cuts ":digits" from behind an http loopback literal; "" if uri does
// not begin with one.
func withoutPort(uri string) string {
	for _, literal := range []string{"http://127.0.0.1", "http://[::1]", "http://localhost"} {
		rest, ok := strings.CutPrefix(uri, literal)
		if !ok {
			continue
		}
		if port, ok := strings.CutPrefix(rest, ":"); ok {
			rest = strings.TrimLeft(port, "0123456789")
		}
		if rest == "" || slices.Contains([]byte("/?"), rest[0]) {
			return literal + rest
		}
	}
	return ""
}

func FuzzValidateRedirectURI(f *testing.F) {
	for _, uri := range []string{"https://app.example/cb", "http://127.0.0.1:1/", "javascript:x", "https://a\\@b/", "https://[::1%25eth0]/cb", "https://app.example/cb?code=1", "http://localhost:00080/"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if storage.ValidateRedirectURI(uri) != nil {
			return
		}
		scheme, _, _ := strings.Cut(strings.ToLower(uri), "://")
		host := strings.ToLower(authority(uri))
		switch {
		case scheme != "https" && scheme != "http":
			t.Errorf("accepted the scheme of %q", uri)
		case strings.ContainsAny(uri, "# \\\"<>^`{|}*") || strings.Contains(host, "@"):
			t.Errorf("accepted %q", uri)
		case scheme == "http" && !strings.HasPrefix(host, "127.") && !strings.HasPrefix(host, "[") && !strings.HasPrefix(host, "localhost"):
			t.Errorf("accepted http beyond loopback: %q", uri)
		}
	})
}

// authority is what stands between the two slashes and the path.
func authority(uri string) string {
	_, rest, _ := strings.Cut(uri, "//")
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}
