package storage

import "slices"

// The identity of people is what clients ask for with OpenID Connect. It is a
// Resource of grantd's own, which is in no list: a Grant may be for it alone, and its
// Scopes may stand in a Grant for any other Resource. No Resource has a Scope of
// these names.
const (
	IdentityResourceID = PrefixResource + "00000000000000000000000004"

	ScopeOpenID  = "openid"
	ScopeProfile = "profile"
	ScopeEmail   = "email"
)

// IdentityScopes are the names of its Scopes, in the order people see them.
var IdentityScopes = []string{ScopeOpenID, ScopeProfile, ScopeEmail}

// NewIdentityResource returns the Resource. Its URI is for who serves it to set.
func NewIdentityResource() *Resource {
	return &Resource{
		ID: IdentityResourceID, Version: 1, Name: "Your identity", AccessTokenLifetime: DefaultAccessTokenLifetime,
		Scopes: []Scope{
			{Name: ScopeOpenID, Description: "Know that it is you who signs in", Tools: []string{}, Risk: RiskRead},
			{Name: ScopeProfile, Description: "See your name and user name", Tools: []string{}, Risk: RiskRead},
			{Name: ScopeEmail, Description: "See your e-mail address", Tools: []string{}, Risk: RiskRead},
		},
		IntrospectionClients: []string{},
	}
}

// Identity reports whether the Resource is the identity of people.
func (r *Resource) Identity() bool { return r.ID == IdentityResourceID }

// WithoutIdentity returns those of scopes that are of a Resource which is in the
// lists, in order.
func WithoutIdentity(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(IdentityScopes, s) })
}

// MatchPostLogoutRedirectURI reports whether the client registered this address for
// people who have signed out (OpenID Connect RP-Initiated Logout §3). It must be
// the same to the byte.
func (c *Client) MatchPostLogoutRedirectURI(uri string) bool {
	return slices.Contains(c.PostLogoutRedirectURIs, uri)
}
