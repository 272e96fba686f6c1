package web

import (
	"net/url"
	"strings"

	"grantd/storage"
)

// Issuer is the server's identity (RFC 8414 §2), the only source of every URL
// that grantd emits. The zero value is not usable.
type Issuer struct {
	raw string
	url *url.URL
}

// ParseIssuer checks an issuer: https, or http on a loopback host; a path is
// allowed, a trailing slash, query, fragment and user information are not. The
// error says what to mend.
func ParseIssuer(raw string) (Issuer, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return Issuer{}, issuerError("must be an absolute URL like https://auth.example.com")
	case u.Scheme != "https" && u.Scheme != "http":
		return Issuer{}, issuerError("must begin with https://")
	case u.Scheme == "http" && !storage.IsLoopbackHost(u.Hostname()):
		return Issuer{}, issuerError("must be https unless its host is 127.0.0.1, [::1] or localhost")
	case u.User != nil || strings.ContainsAny(raw, "?#"):
		return Issuer{}, issuerError("must have no user information, query or fragment")
	case strings.HasSuffix(u.Path, "/"):
		return Issuer{}, issuerError("must not end in a slash: clients compare it byte for byte")
	case u.Path != "" && (u.EscapedPath() != u.Path || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/.")):
		return Issuer{}, issuerError("has a path that is not plain")
	case u.Host != strings.ToLower(u.Host) || !strings.HasPrefix(raw, u.Scheme):
		return Issuer{}, issuerError("must have its scheme and host in lower case: clients compare it byte for byte")
	}
	return Issuer{raw: raw, url: u}, nil
}

type issuerError string

func (e issuerError) Error() string { return "the issuer " + string(e) }

// String is the issuer exactly as configured.
func (i Issuer) String() string { return i.raw }

// URL is the absolute URL of a path below the issuer, as "/token".
func (i Issuer) URL(path string) string { return i.raw + path }

// Root is the issuer's path, "" or "/path": the prefix of links in pages.
func (i Issuer) Root() string { return i.url.Path }

// Origin is scheme://host[:port], as browsers send it.
func (i Issuer) Origin() string { return i.url.Scheme + "://" + i.url.Host }

// Host is host[:port].
func (i Issuer) Host() string { return i.url.Host }

// Hostname is the host without port.
func (i Issuer) Hostname() string { return i.url.Hostname() }

// Secure reports whether the issuer is https.
func (i Issuer) Secure() bool { return i.url.Scheme == "https" }
