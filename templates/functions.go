package templates

import (
	"fmt"
	"html/template"
	"net/netip"
	"net/url"
	"strings"
)

// What the templates call, beside the functions of each language. A string that others chose goes through one of
// name, sentence, typed or address; only the values that a form returns as they
// are (the approval, the names of scopes) do not.
var functions = template.FuncMap{
	"name":     func(s string) string { return CleanText(s, 64) },
	"sentence": func(s string) string { return CleanText(s, 400) },
	"typed":    func(s string) string { return CleanText(s, 256) },
	"address":  address,
	"initial":  initial,
	"datetime": datetime,
	"link":     link,
	"linkable": func(s string) bool { _, err := link(s); return err == nil },
	"ours":     ours,
	"otpauth":  otpauth,
	"anyApproved": func(scopes []ConsentScope) bool {
		for _, scope := range scopes {
			if scope.Approved {
				return true
			}
		}
		return false
	},
	"tally":  tally,
	"scheme": func(s string) bool { return strings.HasSuffix(s, ":") },
}

// tally counts the scopes of a page that are new, and those that are not ticked
// because of what they can do.
func tally(scopes []ConsentScope) (counts struct{ New, Unticked int }) {
	for _, scope := range scopes {
		if !scope.Approved {
			counts.New++
		}
		if !scope.Checked && scope.Risk == "destructive" {
			counts.Unticked++
		}
	}
	return counts
}

// link lets a URL become an href. It returns ErrUnsafeURL for schemes that run
// code or open local files, and for plain http beyond loopback. Private-use
// schemes ("cursor://...") pass: the caller has matched them against what the
// client registered.
func link(raw string) (template.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || raw != strings.TrimSpace(raw) || strings.Contains(raw, `\`) {
		return "", ErrUnsafeURL
	}
	switch u.Scheme {
	case "":
		if !strings.HasPrefix(raw, "/") {
			return "", ErrUnsafeURL
		}
		return ours(raw)
	case "https":
		if u.Hostname() == "" {
			return "", ErrUnsafeURL
		}
	case "http":
		if !loopback(u.Hostname()) {
			return "", ErrUnsafeURL
		}
	case "javascript", "data", "vbscript", "blob", "filesystem", "file", "about", "view-source":
		return "", ErrUnsafeURL
	}
	return template.URL(raw), nil //nolint:gosec // checked above; the filter of html/template knows no private-use schemes
}

// ours lets a URL be a form's action or a link within this server: a path, a
// query, or nothing for the page itself. It returns ErrUnsafeURL for any other.
func ours(raw string) (template.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.IsAbs() || u.Host != "" || strings.HasPrefix(raw, "//") || strings.Contains(u.Path, `\`) {
		return "", ErrUnsafeURL
	}
	return template.URL(raw), nil //nolint:gosec // relative to this server; the filter misreads a colon in a query
}

// otpauth lets the URI of an authenticator app's secret become an href, and nothing
// else. It returns ErrUnsafeURL.
func otpauth(raw AppURI) (template.URL, error) {
	if !strings.HasPrefix(string(raw), appURIPrefix) {
		return "", ErrUnsafeURL
	}
	return template.URL(raw), nil //nolint:gosec // checked above; the filter of html/template knows no such scheme
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// address shows a host, a URI or a scope name byte for byte: what is not
// printable ASCII is percent-encoded, so that no look-alike letter passes for
// another and nothing is hidden. Hosts come in punycode already.
func address(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c > ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// initial is the letter in the account's round mark.
func initial(a Account) string {
	for _, s := range []string{a.Name, a.Username} {
		if s := firstCluster(s); s != "" {
			return strings.ToUpper(s)
		}
	}
	return "?"
}
