package admin

import (
	"regexp"
	"slices"
	"strings"

	"grantd/api"
	"grantd/server/clientauth"
	"grantd/storage"
)

// The bounds of a client's fields.
const (
	maxClientScopes = 64
	maxResources    = 100
	maxTypes        = 10
)

// setClient sets every field of c that an admin may, applying the defaults, and
// returns all that is wrong with them.
func (h *handlers) setClient(c *storage.Client, fields api.ClientFields) faults {
	var f faults

	f.text("/client_name", fields.ClientName, storage.MaxText)
	f.text("/software_id", fields.SoftwareID, storage.MaxText)
	f.text("/software_version", fields.SoftwareVersion, storage.MaxText)
	f.texts("/contacts", fields.Contacts, storage.MaxClientContacts, storage.MaxText)
	f.httpsURI("/client_uri", fields.ClientURI)
	f.httpsURI("/logo_uri", fields.LogoURI)
	f.httpsURI("/tos_uri", fields.TosURI)
	f.httpsURI("/policy_uri", fields.PolicyURI)
	c.ClientName, c.SoftwareID, c.SoftwareVersion, c.Contacts = fields.ClientName, fields.SoftwareID, fields.SoftwareVersion, fields.Contacts
	c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI = fields.ClientURI, fields.LogoURI, fields.TosURI, fields.PolicyURI
	f.text("/managed_by", fields.ManagedBy, storage.MaxText)
	c.Disabled, c.RequirePushedAuthorizationRequests, c.ManagedBy = fields.Disabled, fields.RequirePushedAuthorizationRequests, fields.ManagedBy
	c.AdminAccess = fields.AdminAccess

	c.TokenEndpointAuthMethod = fields.TokenEndpointAuthMethod
	if c.TokenEndpointAuthMethod == "" {
		c.TokenEndpointAuthMethod = storage.AuthMethodClientSecretBasic
	}
	f.oneOf("/token_endpoint_auth_method", c.TokenEndpointAuthMethod, storage.AuthMethodNone, storage.AuthMethodClientSecretBasic, storage.AuthMethodClientSecretPost, storage.AuthMethodPrivateKeyJWT)
	h.setKeys(&f, c, fields)

	c.ApplicationType = fields.ApplicationType
	if c.ApplicationType == "" {
		c.ApplicationType = "web"
		if slices.ContainsFunc(fields.RedirectUris, storage.LoopbackRedirect) || slices.ContainsFunc(fields.RedirectUris, storage.PrivateUseRedirect) {
			c.ApplicationType = "native"
		}
	}
	f.oneOf("/application_type", c.ApplicationType, "web", "native")

	f.setGrantTypes(c, fields)
	if c.AdminAccess && !c.MayUse(storage.GrantTypeAuthorizationCode) && !c.MayUse(storage.GrantTypeDeviceCode) {
		f.add("/admin_access", "is for clients that people sign in to: give it authorization_code or the device_code grant")
	}
	f.setRedirectURIs(c, fields.RedirectUris)
	c.PostLogoutRedirectURIs = fields.PostLogoutRedirectUris
	f.redirects("/post_logout_redirect_uris", c.PostLogoutRedirectURIs)

	c.Scope = nil
	for name := range strings.SplitSeq(fields.Scope, " ") {
		if name != "" && !slices.Contains(c.Scope, name) {
			c.Scope = append(c.Scope, name)
		}
		if len(c.Scope) > maxClientScopes {
			break
		}
	}
	if len(c.Scope) > maxClientScopes || slices.ContainsFunc(c.Scope, func(s string) bool { return len(s) > maxScopeName || !storage.IsScopeName(s) }) {
		f.add("/scope", "must be at most 64 names of at most 128 printable ASCII characters, without quotes and backslashes, separated by single spaces")
	}

	c.Resources = nil
	if f.count("/resources", len(fields.Resources), maxResources) {
		for i, uri := range fields.Resources {
			canonical, err := storage.CanonicalResourceURI(uri)
			if err != nil {
				f.add(at("/resources", i), err.Error())
			} else if !slices.Contains(c.Resources, canonical) {
				c.Resources = append(c.Resources, canonical)
			}
		}
	}
	return f
}

// clientID wants a client_id that an admin may choose, or none. It cannot be taken
// for a URL, for an id that grantd gives, or for two values in HTTP Basic.
func (f *faults) clientID(value string) {
	const pointer = "/client_id"
	switch {
	case value == "":
	case !chosenClientID.MatchString(value):
		f.add(pointer, "must have 1 to 64 letters, digits, dots, hyphens, underscores or tildes, the first one a letter or digit")
	case storage.HasOwnPrefix(value):
		f.add(pointer, "must not begin with one to four letters and an underscore, as the ids that grantd gives do")
	}
}

var chosenClientID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,63}$`)

// chosenSecret wants a client secret as grantd makes them, or none: only its plain
// hash is kept, which is enough for what nobody can guess.
func (f *faults) chosenSecret(pointer, value string) {
	if value != "" && !storage.IsSecret(storage.SecretPrefixClient, value) {
		f.add(pointer, "must be cs_ and 32 random bytes as base64url without padding, 43 characters; \"grantd client secret generate\" makes one")
	}
}

// setKeys sets the keys of a private_key_jwt client (RFC 7591 §2). The document at
// a jwks_uri is read when the client first authenticates.
func (h *handlers) setKeys(f *faults, c *storage.Client, fields api.ClientFields) {
	c.JWKS, c.JWKSURI, c.TokenEndpointAuthSigningAlg = string(fields.JWKS), fields.JWKSURI, fields.TokenEndpointAuthSigningAlg
	if c.TokenEndpointAuthMethod != storage.AuthMethodPrivateKeyJWT {
		if c.JWKS != "" || c.JWKSURI != "" || c.TokenEndpointAuthSigningAlg != "" {
			f.add("/token_endpoint_auth_method", "must be private_key_jwt for a client with jwks, jwks_uri or token_endpoint_auth_signing_alg")
		}
		return
	}
	if c.TokenEndpointAuthSigningAlg != "" {
		f.oneOf("/token_endpoint_auth_signing_alg", c.TokenEndpointAuthSigningAlg, clientauth.AssertionAlgorithms()...)
	}
	switch {
	case (c.JWKS == "") == (c.JWKSURI == ""):
		f.add("/jwks", "a private_key_jwt client needs its public keys, either here or behind jwks_uri")
	case c.JWKS != "":
		if _, err := clientauth.ParseJWKS([]byte(c.JWKS)); err != nil {
			f.add("/jwks", err.Error())
		}
	default:
		if h.checkURL(c.JWKSURI) != nil {
			f.add("/jwks_uri", "must be an https URL of a public host, without user information, fragment or dot segments; an internal one must be in --outbound-allow")
		}
	}
}

// setGrantTypes sets the grant types and, since only one response type exists,
// the response types that follow from them.
func (f *faults) setGrantTypes(c *storage.Client, fields api.ClientFields) {
	c.GrantTypes = nil
	if !f.count("/grant_types", len(fields.GrantTypes), maxTypes) || !f.count("/response_types", len(fields.ResponseTypes), maxTypes) {
		return
	}
	for i, grantType := range fields.GrantTypes {
		f.oneOf(at("/grant_types", i), grantType, storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken, storage.GrantTypeClientCredentials, storage.GrantTypeDeviceCode)
		if !slices.Contains(c.GrantTypes, grantType) {
			c.GrantTypes = append(c.GrantTypes, grantType)
		}
	}
	if len(c.GrantTypes) == 0 {
		c.GrantTypes = []string{storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken}
	}
	if c.Public() && c.MayUse(storage.GrantTypeClientCredentials) {
		f.add("/grant_types", "must not have client_credentials when token_endpoint_auth_method is none: such a client could not prove who it is")
	}
	if !c.MayUse(storage.GrantTypeAuthorizationCode) && !c.MayUse(storage.GrantTypeClientCredentials) && !c.MayUse(storage.GrantTypeDeviceCode) {
		f.add("/grant_types", "must have authorization_code, client_credentials or the device_code grant: refresh_token alone has nothing to refresh")
	}

	for i, responseType := range fields.ResponseTypes {
		f.oneOf(at("/response_types", i), responseType, "code")
	}
	c.ResponseTypes = nil
	if c.MayUse(storage.GrantTypeAuthorizationCode) {
		c.ResponseTypes = []string{"code"}
	}
}

func (f *faults) setRedirectURIs(c *storage.Client, uris []string) {
	const pointer = "/redirect_uris"
	c.RedirectURIs = uris
	if len(uris) == 0 && c.MayUse(storage.GrantTypeAuthorizationCode) {
		f.add(pointer, "must have at least one URI, since the client may use authorization_code")
	}
	f.redirects(pointer, uris)
}

// redirects wants addresses that people may be sent to.
func (f *faults) redirects(pointer string, uris []string) {
	if !f.count(pointer, len(uris), storage.MaxRedirectURIs) {
		return
	}
	f.unique(pointer, uris)
	for i, uri := range uris {
		// A private-use scheme is for who registers the client to judge; whoever
		// returns there is asked every time (RFC 8252 §7.1, OAuth 2.1 §7.3.1).
		if err := storage.ValidateRedirectURI(uri); err != nil && !storage.PrivateUseRedirect(uri) {
			f.add(at(pointer, i), err.Error())
		}
	}
}
