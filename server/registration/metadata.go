package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"grantd/server/web"
	"grantd/storage"
)

const (
	maxScopeLength = 2048
	maxJSONDepth   = 16
)

// Metadata is what a client says of itself: the members of RFC 7591 §2 that are
// understood. Everything else is ignored, as the RFC asks.
type Metadata struct {
	ClientID     string   `json:"client_id"`     // of a metadata document or an update; ignored in a registration
	ClientSecret string   `json:"client_secret"` // of an update; ignored otherwise
	RedirectURIs []string `json:"redirect_uris"`
	// PostLogoutRedirectURIs are of OpenID Connect RP-Initiated Logout §3.1.
	PostLogoutRedirectURIs  []string `json:"post_logout_redirect_uris"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	// AuthMethodsSupported are further methods that the client could live with
	// (OpenID Connect Relying Party Metadata Choices).
	AuthMethodsSupported []string        `json:"token_endpoint_auth_methods_supported"`
	AuthSigningAlg       string          `json:"token_endpoint_auth_signing_alg"`
	GrantTypes           []string        `json:"grant_types"`
	ResponseTypes        []string        `json:"response_types"`
	ClientName           string          `json:"client_name"`
	ClientURI            string          `json:"client_uri"`
	LogoURI              string          `json:"logo_uri"`
	TosURI               string          `json:"tos_uri"`
	PolicyURI            string          `json:"policy_uri"`
	Scope                string          `json:"scope"`
	Contacts             []string        `json:"contacts"`
	ApplicationType      string          `json:"application_type"`
	SoftwareID           string          `json:"software_id"`
	SoftwareVersion      string          `json:"software_version"`
	JWKS                 json.RawMessage `json:"jwks"`
	JWKSURI              string          `json:"jwks_uri"`
}

// ParseMetadata reads a JSON object of client metadata. Its error is an
// *web.OAuthError, invalid_client_metadata: it is not UTF-8, not one JSON object,
// nested too deeply, or names a member twice.
func ParseMetadata(body []byte) (*Metadata, error) {
	if !utf8.Valid(body) {
		return nil, invalidMetadata("The metadata is not UTF-8.")
	}
	if err := noDuplicateMembers(body); err != nil {
		return nil, err
	}
	if loneSurrogate(body) {
		return nil, invalidMetadata("The metadata has half of a surrogate pair.")
	}
	var m Metadata
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, invalidMetadata("The metadata is not a JSON object whose members have the types of RFC 7591.")
	}
	if string(m.JWKS) == "null" {
		m.JWKS = nil
	}
	return &m, nil
}

// loneSurrogate reports whether a well-formed JSON text has a \u escape that is no
// character: one reader would drop it, another replace it.
func loneSurrogate(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if i++; i >= len(body) || body[i] != 'u' {
			continue // also past the second of two backslashes
		}
		first := escaped(body[i-1:])
		i += 4
		if !utf16.IsSurrogate(first) {
			continue
		}
		if utf16.DecodeRune(first, escaped(body[min(i+1, len(body)):])) == unicode.ReplacementChar {
			return true
		}
		i += 6
	}
	return false
}

// escaped is the UTF-16 unit of the \u escape that text begins with, or -1.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}

// noDuplicateMembers refuses a JSON text whose object names a member twice: two
// readers could then see two clients.
func noDuplicateMembers(body []byte) error {
	malformed := invalidMetadata("The metadata is not a JSON object.")
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return malformed
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	type level struct {
		object  bool
		wantKey bool
		seen    map[string]bool
	}
	var stack []level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || len(stack) > maxJSONDepth {
			return malformed
		}
		if delimiter, ok := token.(json.Delim); ok && (delimiter == '}' || delimiter == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if len(stack) > 0 {
			if top := &stack[len(stack)-1]; top.object {
				if top.wantKey {
					name, _ := token.(string)
					name = strings.ToLower(strings.ToUpper(name)) // json takes any case
					if top.seen[name] {
						return invalidMetadata("A member is given twice.")
					}
					top.seen[name] = true
					top.wantKey = false
					continue
				}
				top.wantKey = true
			}
		}
		if delimiter, ok := token.(json.Delim); ok {
			stack = append(stack, level{object: delimiter == '{', wantKey: true, seen: map[string]bool{}})
		}
	}
}

// Rules are what one way of introducing oneself allows.
type Rules struct {
	// AuthMethods are the token endpoint authentication methods that may be
	// asked for.
	AuthMethods []string
	// DefaultAuthMethod is that of a client which names none (RFC 7591 §2).
	DefaultAuthMethod string
	// CheckKeys judges the keys of a client that authenticates by private_key_jwt
	// and has jwks or jwks_uri, not both. Its error is told to the client.
	CheckKeys func(m *Metadata) error
	// PrivateUse reports whether a redirect URI of a private-use scheme may be
	// registered. Nil: none may.
	PrivateUse func(uri string) bool
}

// Client turns metadata into a Client without identity (ID, ClientID, Source,
// times): what grantd does not know is narrowed away, what is harmful is refused
// with invalid_redirect_uri or invalid_client_metadata (RFC 7591 §3.2.2).
func (r Rules) Client(m *Metadata) (*storage.Client, error) {
	redirectURIs, err := r.redirectURIs(m)
	if err != nil {
		return nil, err
	}
	if err := checkTexts(m); err != nil {
		return nil, err
	}
	if len(m.PostLogoutRedirectURIs) > storage.MaxRedirectURIs || slices.ContainsFunc(m.PostLogoutRedirectURIs, func(uri string) bool {
		return storage.ValidateRedirectURI(uri) != nil
	}) {
		return nil, invalidMetadata("There are at most 10 post_logout_redirect_uris, and each " + storage.ErrRedirectURI.Error() + ".")
	}
	if len(m.ResponseTypes) > 0 && !slices.Contains(m.ResponseTypes, "code") {
		return nil, invalidMetadata("This server supports response_type code.")
	}
	if len(m.GrantTypes) > 0 && !slices.Contains(m.GrantTypes, storage.GrantTypeAuthorizationCode) {
		return nil, invalidMetadata("A client that introduces itself needs grant type authorization_code.")
	}
	client := &storage.Client{
		ClientName: visible(m.ClientName), RedirectURIs: redirectURIs, ResponseTypes: []string{"code"},
		PostLogoutRedirectURIs: m.PostLogoutRedirectURIs,
		GrantTypes:             []string{storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken},
		ApplicationType:        applicationType(m), Scope: strings.Fields(m.Scope), Resources: []string{},
		ClientURI: m.ClientURI, LogoURI: m.LogoURI, TosURI: m.TosURI, PolicyURI: m.PolicyURI,
		Contacts: m.Contacts, SoftwareID: visible(m.SoftwareID), SoftwareVersion: visible(m.SoftwareVersion),
	}
	if len(m.GrantTypes) > 0 {
		client.GrantTypes = storage.Intersect(client.GrantTypes, m.GrantTypes)
	}
	return client, r.setAuthMethod(client, m)
}

// redirectURIs returns those that may be registered. One that only lacks
// permission for its private-use scheme is left out if others remain: real
// clients register one beside those for a browser, and can live without it.
func (r Rules) redirectURIs(m *Metadata) ([]string, error) {
	if len(m.RedirectURIs) == 0 || len(m.RedirectURIs) > storage.MaxRedirectURIs {
		return nil, web.NewOAuthError("invalid_redirect_uri", "Register between 1 and 10 redirect_uris.")
	}
	var kept []string
	for _, uri := range m.RedirectURIs {
		switch {
		case storage.PrivateUseRedirect(uri):
			if r.PrivateUse == nil || !r.PrivateUse(uri) {
				continue
			}
		case storage.ValidateRedirectURI(uri) != nil:
			return nil, web.NewOAuthError("invalid_redirect_uri", "A redirect URI "+storage.ErrRedirectURI.Error()+".")
		case m.ApplicationType == "web" && storage.LoopbackRedirect(uri):
			return nil, web.NewOAuthError("invalid_redirect_uri", "A loopback redirect URI belongs to application_type native, not web.")
		}
		if !slices.Contains(kept, uri) {
			kept = append(kept, uri)
		}
	}
	if len(kept) == 0 {
		return nil, web.NewOAuthError("invalid_redirect_uri", "Redirect URIs of private-use schemes are not open to this client; register an https or loopback one.")
	}
	return kept, nil
}

// setAuthMethod chooses the first method that the client can live with and grantd
// allows.
func (r Rules) setAuthMethod(client *storage.Client, m *Metadata) error {
	asked := m.AuthMethodsSupported
	if m.TokenEndpointAuthMethod != "" || len(asked) == 0 {
		first := m.TokenEndpointAuthMethod
		if first == "" {
			first = r.DefaultAuthMethod
		}
		asked = append([]string{first}, asked...)
	}
	hasKeys := len(m.JWKS) > 0 || m.JWKSURI != ""
	for _, method := range asked {
		if !slices.Contains(r.AuthMethods, method) || (method == storage.AuthMethodPrivateKeyJWT && !hasKeys) {
			continue
		}
		client.TokenEndpointAuthMethod = method
		break
	}
	switch client.TokenEndpointAuthMethod {
	case "":
		return invalidMetadata("This server supports none of the client's token endpoint authentication methods here; it takes " + strings.Join(r.AuthMethods, ", ") + ".")
	case storage.AuthMethodPrivateKeyJWT:
		if len(m.JWKS) > 0 && m.JWKSURI != "" {
			return invalidMetadata("Send jwks or jwks_uri, not both.")
		}
		if err := r.CheckKeys(m); err != nil {
			return err
		}
		client.JWKS, client.JWKSURI, client.TokenEndpointAuthSigningAlg = string(m.JWKS), m.JWKSURI, m.AuthSigningAlg
	}
	return nil
}

func checkTexts(m *Metadata) error {
	for _, uri := range []string{m.ClientURI, m.LogoURI, m.TosURI, m.PolicyURI} {
		if storage.ValidateWebPage(uri) != nil {
			return invalidMetadata("client_uri, logo_uri, tos_uri and policy_uri must be https URLs.")
		}
	}
	if len(m.Scope) > maxScopeLength || hasControls(m.Scope) {
		return invalidMetadata("scope is too long or has control characters.")
	}
	if len(m.Contacts) > storage.MaxClientContacts {
		return invalidMetadata("contacts has more than 10 entries.")
	}
	for _, text := range append([]string{m.ClientName, m.SoftwareID, m.SoftwareVersion}, m.Contacts...) {
		if hasControls(text) || utf8.RuneCountInString(text) > storage.MaxText {
			return invalidMetadata("client_name, contacts, software_id or software_version is too long or has control characters.")
		}
	}
	return nil
}

// visible drops what cannot be seen of a name: a client's own word is shown, but
// not in disguise.
func visible(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if storage.Invisible(c) {
			return -1
		}
		return c
	}, s))
}

func applicationType(m *Metadata) string {
	if m.ApplicationType == "native" || slices.ContainsFunc(m.RedirectURIs, storage.LoopbackRedirect) {
		return "native"
	}
	return "web"
}

func hasControls(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

func invalidMetadata(description string) error {
	return web.NewOAuthError("invalid_client_metadata", description)
}
