package outbound_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"grantd/server/outbound"
)

var goodURLs = []string{
	"https://h.example/",
	"https://h.example:443/c", "https://h.example:8443/c", "https://h.example:65535/c",
	"https://H.Example/c", "https://xn--bcher-kva.example/c", "https://a_b.example/c", "https://1.2.3.example/c",
	"https://h.example/c?", "https://h.example/c?a=b&c=/?:@", "https://h.example/c?x=..&y=/../",
	"https://h.example/.well-known/client.json", "https://h.example/a..b/...", "https://h.example/%7Ealice/%2fc",
	"https://h.example//c//", "https://h.example/c;v=1,2/!$&'()*+=:@-._~",
	"https://0x7f000001.example/c", "https://127.0.0.1.example/c",
	"https://h.example/" + strings.Repeat("a", 2048-len("https://h.example/")),
}

var badURLs = []string{
	"", "/", "h.example/c", "//h.example/c", "https:", "https:/h.example/c", "https:h.example/c", "https:///h.example/c", "https://",
	"http://h.example/c", "HTTPS://h.example/c", "ftp://h.example/c", "file:///etc/passwd", "javascript:alert(1)", "https+unix://h.example/c",
	" https://h.example/c", "https://h.example/c ", "https://h.example/c\n", "\thttps://h.example/c",
	// No path.
	"https://h.example", "https://h.example?c", "https://h.example:443",
	// A fragment, the empty one too.
	"https://h.example/c#", "https://h.example/c#f", "https://h.example#/c", "https://h.example/c?q#f",
	// A user.
	"https://u@h.example/c", "https://u:p@h.example/c", "https://@h.example/c", "https://:@h.example/c", "https://h.example@127.0.0.1/c",
	"https://127.0.0.1:80\\@h.example/c", "https://u%40h.example/c",
	// Dot segments.
	"https://h.example/.", "https://h.example/..", "https://h.example/./c", "https://h.example/a/../c", "https://h.example/a/..",
	"https://h.example/%2e/c", "https://h.example/%2E%2e/c", "https://h.example/.%2e", "https://h.example/a/%2e%2E", "https://h.example/../c?q",
	// Backslashes, control characters, spaces, bytes beyond ASCII, broken escapes.
	"https://h.example\\c", "https://h.example/a\\b", "https:\\\\h.example/c", "https://h.example/a b", "https://h.example/a\tb",
	"https://h.example/a\x00b", "https://h.example/a\x7fb", "https://h.example/\r\nHost: x", "https://h.example/c?a b", "https://h.example/c?\x01",
	"https://h.example/b\u00fccher", "https://b\u00fccher.example/c", "https://\u212aa.example/c", "https://h\u3002example/c", "https://h.example/\xff",
	"https://h.example/%", "https://h.example/%2", "https://h.example/%zz", "https://h.example/c?%zz", "https://h.example/<c>", "https://h.example/\"", "https://h.example/[c]", "https://h.example/c?{}", "https://h.example/a|b", "https://h.example/a^b`",
	// Hosts that are none.
	"https://:443/c", "https://.example/c", "https://h..example/c", "https://h.example./c", "https://./c", "https://*.example/c", "https://h%2eexample/c",
	"https://h,example/c", "https://" + strings.Repeat("a", 64) + ".example/c", "https://" + strings.Repeat("a.", 130) + "example/c",
	// Ports.
	"https://h.example:/c", "https://h.example:0/c", "https://h.example:65536/c", "https://h.example:-1/c", "https://h.example:+443/c", "https://h.example:0443/c",
	"https://h.example:https/c", "https://h.example:443:443/c", "https://h.example:22/c", "https://h.example:25/c", "https://h.example:80/c",
	// CM-03: an address, in any spelling.
	"https://127.0.0.1/c", "https://8.8.8.8/c", "https://[::1]/c", "https://[::1]:8443/c", "https://2130706433/c", "https://0x7f000001/c", "https://127.1/c",
	"https://0177.0.0.1/c", "https://0x7f.0.0.1/c", "https://1.2.3.0x4/c", "https://1.2.3.0X4/c", "https://0x/c", "https://a.0x/c", "https://256.256.256.256/c", "https://1.2.3.4.5/c",
	"https://127.0.0.1./c", "https://[::ffff:7f00:1]/c", "https://[::ffff:127.0.0.1]/c", "https://[fe80::1%25eth0]/c", "https://[fe80::1%eth0]/c", "https://[127.0.0.1]/c",
	"https://::1/c", "https://[::1/c", "https://::1]/c", "https://[::1]x/c", "https://[::1]x:443/c", "https://x[::1]/c", "https://[]/c", "https://[h.example]/c", "https://[v1.x]/c", "https://[[::1]]/c",
	// Names that mean something inside only.
	"https://localhost/c", "https://LOCALHOST:8443/c", "https://a.localhost/c", "https://intranet/c", "https://db.internal/c", "https://printer.local/c", "https://nas.home.arpa/c",
	// Too long.
	"https://h.example/" + strings.Repeat("a", 2049-len("https://h.example/")),
}

// CM-01, CM-02, CM-03.
func TestCM01URLShapes(t *testing.T) {
	t.Parallel()
	strict := outbound.New(outbound.Config{Resolver: always()})
	for _, raw := range goodURLs {
		if err := outbound.ValidateURL(raw); err != nil {
			t.Errorf("%q: %s", raw, reason(err))
		}
		if err := strict.Check(raw); err != nil {
			t.Errorf("Check(%q): %s", raw, reason(err))
		}
	}
	for _, raw := range badURLs {
		err := outbound.ValidateURL(raw)
		if err == nil {
			t.Errorf("%q is accepted", raw)
			continue
		}
		wantKind(t, err, outbound.ErrRefused)
		if strict.Check(raw) == nil {
			t.Errorf("Check(%q) accepts", raw)
		}
		wantError(t, strict, raw, outbound.MetadataDocument, outbound.ErrRefused)
	}
}

// FuzzValidateURL: whatever is accepted, the standard library reads it as we do,
// and it has nothing that another reader could stumble over.
func FuzzValidateURL(f *testing.F) {
	for _, raw := range append(goodURLs, badURLs...) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if outbound.ValidateURL(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("url.Parse: %v", err)
		}
		if u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(raw, "#") || len(raw) > 2048 {
			t.Fatalf("read as %#v", u)
		}
		// Byte for byte what was judged, is asked.
		if u.String() != raw || "https://"+u.Host+u.RequestURI() != raw {
			t.Errorf("read as %s, asked as %s", u, u.RequestURI())
		}
		if _, err := netip.ParseAddr(u.Hostname()); err == nil || u.Hostname() == "" {
			t.Errorf("host %q", u.Hostname())
		}
		if clean := u.JoinPath(); !strings.HasPrefix(u.Path, "/") || strings.Count(clean.Path, ".") != strings.Count(u.Path, ".") {
			t.Errorf("path %q is cleaned to %q", u.Path, clean.Path)
		}
		// Another reading of the same host: resolved against any base it stays itself.
		base := &url.URL{Scheme: "https", Host: "base.example", Path: "/x/y"}
		if got := base.ResolveReference(u); got.Host != u.Host || got.EscapedPath() != u.EscapedPath() {
			t.Errorf("resolved to %s", got)
		}
		for _, c := range []byte(raw) {
			if c <= ' ' || c >= 0x7f || c == '\\' {
				t.Errorf("byte %#x", c)
			}
		}
	})
}
