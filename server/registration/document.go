package registration

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"grantd/server/web"
	"grantd/storage"
)

// DocumentRules judge client ID metadata documents
// (draft-ietf-oauth-client-id-metadata-document §4.1).
type DocumentRules struct {
	// CheckKeys judges an inline JWK set that assertions are to be verified with.
	CheckKeys func(jwks []byte) error
	// HasPrivateKeys reports whether a JWK set has keys that nobody may publish.
	HasPrivateKeys func(jwks []byte) bool
	// CheckURL says, without any use of the network, whether a URL leads to where
	// a stranger may point.
	CheckURL func(url string) error
}

// Client reads the document at clientID. The Client has the opaque id of the URL,
// and is not stored. What grantd does not know is narrowed away; the error, an
// *web.OAuthError, says what cannot be, and quotes nothing.
func (d DocumentRules) Client(clientID string, body []byte) (*storage.Client, error) {
	m, err := ParseMetadata(body)
	if err != nil {
		return nil, err
	}
	switch {
	case m.ClientID != clientID: // simple string comparison, §4.1
		return nil, invalidMetadata("client_id is not the URL of the document.")
	case hasSecret(body) || strings.HasPrefix(m.TokenEndpointAuthMethod, "client_secret_"):
		return nil, invalidMetadata("A public document cannot hold a secret, so its client cannot authenticate with one.")
	case len(m.JWKS) > 0 && d.HasPrivateKeys(m.JWKS):
		return nil, invalidMetadata("jwks has private or symmetric keys, which are public now; replace them.")
	}
	for _, uri := range []string{m.ClientURI, m.LogoURI, m.TosURI, m.PolicyURI} {
		if !d.publicHost(uri) {
			return nil, invalidMetadata("client_uri, logo_uri, tos_uri and policy_uri must have a public host.")
		}
	}
	client, err := Rules{
		AuthMethods: []string{storage.AuthMethodNone, storage.AuthMethodPrivateKeyJWT}, DefaultAuthMethod: storage.AuthMethodNone,
		CheckKeys: d.checkKeys,
	}.Client(m)
	if err != nil {
		return nil, err
	}
	if client.ClientName == "" { // MCP requires it
		return nil, invalidMetadata("client_name is missing.")
	}
	client.ID, client.ClientID, client.Source = storage.DocumentClientID(clientID), clientID, storage.SourceMetadataDocument
	return client, nil
}

// checkKeys judges the keys of a client that signs assertions with them.
func (d DocumentRules) checkKeys(m *Metadata) error {
	if m.JWKSURI != "" {
		if d.CheckURL(m.JWKSURI) != nil {
			return invalidMetadata("jwks_uri must be an https URL of a public host.")
		}
		return nil
	}
	if err := d.CheckKeys(m.JWKS); err != nil {
		return invalidMetadata("jwks cannot be used.")
	}
	return nil
}

// publicHost reports whether a page's URI, which is never fetched, has a host that
// could be. No URI is fine, and what is not https is for others to refuse.
func (d DocumentRules) publicHost(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return true
	}
	return d.CheckURL("https://"+u.Host+"/") == nil
}

// hasSecret reports whether a document names a secret, whatever its value.
func hasSecret(body []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return false
	}
	for name := range members {
		if name = strings.ToLower(name); name == "client_secret" || name == "client_secret_expires_at" {
			return true
		}
	}
	return false
}

// changes names the fields in which two Clients of one document differ.
func changes(a, b *storage.Client) []string {
	var names []string
	for _, field := range []struct {
		name string
		same bool
	}{
		{"client_name", a.ClientName == b.ClientName},
		{"redirect_uris", slices.Equal(a.RedirectURIs, b.RedirectURIs)},
		{"grant_types", slices.Equal(a.GrantTypes, b.GrantTypes)},
		{"response_types", slices.Equal(a.ResponseTypes, b.ResponseTypes)},
		{"token_endpoint_auth_method", a.TokenEndpointAuthMethod == b.TokenEndpointAuthMethod},
		{"token_endpoint_auth_signing_alg", a.TokenEndpointAuthSigningAlg == b.TokenEndpointAuthSigningAlg},
		{"jwks", a.JWKS == b.JWKS},
		{"jwks_uri", a.JWKSURI == b.JWKSURI},
		{"application_type", a.ApplicationType == b.ApplicationType},
		{"scope", slices.Equal(a.Scope, b.Scope)},
		{"client_uri", a.ClientURI == b.ClientURI},
		{"logo_uri", a.LogoURI == b.LogoURI},
		{"tos_uri", a.TosURI == b.TosURI},
		{"policy_uri", a.PolicyURI == b.PolicyURI},
		{"contacts", slices.Equal(a.Contacts, b.Contacts)},
		{"software_id", a.SoftwareID == b.SoftwareID},
		{"software_version", a.SoftwareVersion == b.SoftwareVersion},
	} {
		if !field.same {
			names = append(names, field.name)
		}
	}
	return names
}

// IsDocument reports whether a client_id is the URL of a document. No other client
// has such an id (§6.9).
func IsDocument(clientID string) bool { return strings.HasPrefix(clientID, "https://") }

// unreadable is the one page for every reason why a document cannot be had: a
// difference would tell a stranger what the network looks like from inside.
func unreadable(clientID string, err error) error {
	message, values := "This application describes itself at the address in its client_id, and this server could not read a valid description there. Nothing was done.", map[string]string(nil)
	if u, parseErr := url.Parse(clientID); parseErr == nil && isPlainHost(u.Host) && u.User == nil {
		message = "This application describes itself at {host}, and this server could not read a valid description there. Nothing was done."
		values = map[string]string{"host": u.Host}
	}
	return &web.Error{
		Status: 400, Code: "client-document", Title: "The application cannot be looked up",
		Message: message, Values: values,
		Help: "Try again in a minute. If it keeps happening, tell your administrator: the server's log says why, and an application whose host blocks servers can be registered by hand.",
		Err:  err,
	}
}

// isPlainHost reports whether a host can be shown in a sentence: in punycode, if it
// needs that, and of a name's length.
func isPlainHost(host string) bool {
	return host != "" && len(host) <= 260 && !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' })
}
