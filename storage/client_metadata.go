package storage

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
)

// The bounds of what a Client may say of itself, whoever registered it.
const (
	MaxRedirectURIs   = 10
	MaxText           = 200 // characters of a name, a contact, a software id
	MaxClientContacts = 10
)

// ErrWebPage says why a URI cannot be a link on a page.
var ErrWebPage = errors.New("must be an absolute https URI of at most 2048 bytes, without user information")

// Invisible reports what could make one name look like another: controls, and
// format characters except the two joiners that scripts and emoji need.
func Invisible(c rune) bool {
	return unicode.IsControl(c) || unicode.Is(unicode.Zl, c) || unicode.Is(unicode.Zp, c) ||
		unicode.Is(unicode.Cf, c) && c != '\u200c' && c != '\u200d'
}

// ValidateWebPage refuses with ErrWebPage what cannot be one of a client's pages
// (client_uri, logo_uri, tos_uri, policy_uri). Empty is fine.
func ValidateWebPage(uri string) error {
	if uri == "" {
		return nil
	}
	u, err := url.Parse(uri)
	if len(uri) > MaxURILength || !plainURI(uri) || err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return ErrWebPage
	}
	return nil
}

// PrivateUseRedirect reports whether uri is a redirect URI that only lacks
// permission for its private-use scheme (RFC 8252 §7.1): nothing else is wrong
// with it, and the scheme does not run code.
func PrivateUseRedirect(uri string) bool {
	scheme, _, ok := strings.Cut(uri, ":")
	return ok && scheme != "http" && scheme != "https" && !dangerousScheme(scheme) && ValidateRedirectURI(uri, scheme) == nil
}
