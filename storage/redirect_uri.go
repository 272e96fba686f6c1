package storage

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxURILength bounds every URI that a stranger may have stored, in bytes.
const MaxURILength = 2048

// ErrRedirectURI says why a redirect URI cannot be registered (RFC 7591 §3.2.2,
// OAuth 2.1 §2.3.1).
var ErrRedirectURI = errors.New("must be an absolute https URI, or http for 127.0.0.1, [::1] or localhost, without fragment, user information, wildcard or response parameters")

// responseParameters are the names grantd appends to a redirect. A registered
// query that has one already would put a second one before ours.
var responseParameters = []string{"code", "state", "iss", "error", "error_description", "error_uri", "response"}

// ValidateRedirectURI refuses with ErrRedirectURI what must not be registered.
// privateSchemes are the exact private-use schemes (RFC 8252 §7.1) allowed
// besides https and http on loopback.
func ValidateRedirectURI(uri string, privateSchemes ...string) error {
	if len(uri) > MaxURILength || !plainURI(uri) || strings.ContainsAny(uri, "#*") {
		return ErrRedirectURI
	}
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Scheme == "" {
		return ErrRedirectURI
	}
	switch {
	case slices.Contains(privateSchemes, u.Scheme):
	case u.Opaque != "" || !plainHost(u.Hostname()) || !validPort(u):
		return ErrRedirectURI
	case u.Scheme == "https":
	case u.Scheme == "http" && IsLoopbackHost(u.Hostname()):
	default:
		return ErrRedirectURI
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return ErrRedirectURI
	}
	for _, name := range responseParameters {
		if query.Has(name) {
			return ErrRedirectURI
		}
	}
	return nil
}

// MatchRedirectURI reports whether requested is one of the client's redirect
// URIs. The comparison is by byte (OAuth 2.1 §4.1.1), with one exception: the
// port of an http URI whose host is the literal 127.0.0.1, [::1] or localhost is
// free (RFC 8252 §7.3), everything else of it still equal by byte.
func (c *Client) MatchRedirectURI(requested string) bool {
	if ValidateRedirectURI(requested, schemesOf(c.RedirectURIs)...) != nil {
		return false
	}
	for _, registered := range c.RedirectURIs {
		if registered == requested {
			return true
		}
		if rest, ok := loopbackRest(registered); ok {
			if other, ok := loopbackRest(requested); ok && other == rest {
				return true
			}
		}
	}
	return false
}

// WithoutRedirectURIs returns those of uris that MatchRedirectURI refuses.
func (c *Client) WithoutRedirectURIs(uris []string) []string {
	var without []string
	for _, uri := range uris {
		if !c.MatchRedirectURI(uri) {
			without = append(without, uri)
		}
	}
	return without
}

// DefaultRedirectURI is where the answer to a request goes that names no redirect
// URI: the only registered one (OAuth 2.1 §4.1.1), or nowhere ("") if that leaves
// its port open, as FoldedRedirectURI does.
func (c *Client) DefaultRedirectURI() string {
	if len(c.RedirectURIs) != 1 || !c.MatchRedirectURI(c.RedirectURIs[0]) {
		return ""
	}
	only := c.RedirectURIs[0]
	if c.Source == SourceDynamic && FoldedRedirectURI(only) == only && LoopbackRedirect(only) {
		return ""
	}
	return only
}

// FoldedRedirectURI is uri without its port where that is free, so that clients
// which differ in nothing else are one.
func FoldedRedirectURI(uri string) string {
	if rest, ok := loopbackRest(uri); ok {
		return "http://" + rest
	}
	return uri
}

// LoopbackRedirect reports whether uri sends a person to a program on their own
// machine, which any other program there could imitate (RFC 8252 §8.3).
func LoopbackRedirect(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "http" && IsLoopbackHost(u.Hostname())
}

// loopbackRest splits "http://LITERAL[:port]/rest" into LITERAL and rest, joined
// without the port.
func loopbackRest(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "http://")
	if !ok {
		return "", false
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost"} {
		port, ok := strings.CutPrefix(authority, host)
		if ok && (port == "" || port[0] == ':' && strings.Trim(port[1:], "0123456789") == "") {
			return host + path, true
		}
	}
	return "", false
}

// plainHost reports whether host, as url.Parse has decoded it, is a name of
// letters, digits and hyphens or an IP address. In any other a browser could read
// another host than we do: it decodes percent signs and folds Unicode.
func plainHost(host string) bool {
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil && !strings.Contains(host, "%")
	}
	for i := range len(host) {
		if c := host[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return host != ""
}

func validPort(u *url.URL) bool {
	if strings.HasSuffix(u.Host, ":") {
		return false
	}
	if u.Port() == "" {
		return true
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n >= 1 && n <= 65535
}

// schemesOf returns the private-use schemes among already registered URIs, so
// that a stored one still matches exactly.
func schemesOf(uris []string) []string {
	var schemes []string
	for _, uri := range uris {
		if scheme, _, ok := strings.Cut(uri, ":"); ok && scheme != "http" && scheme != "https" && !dangerousScheme(scheme) {
			schemes = append(schemes, scheme)
		}
	}
	return schemes
}

func dangerousScheme(scheme string) bool {
	switch strings.ToLower(scheme) {
	case "javascript", "data", "vbscript", "file", "blob", "about", "intent", "filesystem", "view-source", "ws", "wss", "ftp":
		return true
	}
	return false
}

// plainURI reports whether s has only characters that RFC 3986 allows in a URI.
// Everything else (controls, spaces, backslash, non-ASCII) is refused before any
// parser may interpret it.
func plainURI(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
		if c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) || s[i+1:i+3] == "00") {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
