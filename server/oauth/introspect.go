package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"grantd/server/clientauth"
	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
)

// introspection is the answer about an active token (RFC 7662 §2.2).
type introspection struct {
	Active    bool   `json:"active"`
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	ClientID  string `json:"client_id"`
	Scope     string `json:"scope"`
	Expiry    int64  `json:"exp"`
	IssuedAt  int64  `json:"iat"`
	TokenID   string `json:"jti"`
	TokenType string `json:"token_type"`
	// RFC 9470 §6.2.
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
}

// inactive is the whole answer about any other token.
var inactive = map[string]bool{"active": false}

// Introspect serves POST /introspect (RFC 7662). A Resource's introspection
// clients learn about its own access tokens; everything else is inactive to them,
// and everything is inactive to everybody else.
func (o *OAuth) Introspect(w http.ResponseWriter, r *http.Request) error {
	form, err := o.readForm(r)
	if err != nil {
		return err
	}
	if !clientauth.Present(r, form) {
		return web.InvalidClient("Introspection needs client authentication.", true)
	}
	caller, err := o.ClientAuth.Authenticate(r, form)
	if err != nil {
		return challenged(err)
	}
	if caller.Public() {
		return web.InvalidClient("Introspection needs a client with a secret.", true)
	}
	token := form.Get("token")
	if token == "" {
		return invalidRequest("The token parameter is missing.")
	}
	answer, err := o.introspect(r, caller, token)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (o *OAuth) introspect(r *http.Request, caller *storage.Client, token string) (any, error) {
	ctx, now := r.Context(), o.Now()
	c, err := o.readAccessToken(token)
	if errors.Is(err, keys.ErrToken) {
		return inactive, nil
	} else if err != nil {
		return nil, err
	}
	if !now.Before(c.expiresAt()) || now.Unix() < c.IssuedAt-clockLeeway {
		return inactive, nil
	}
	resource, err := o.resourceByURI(ctx, c.Audience)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return inactive, nil
	case err != nil:
		return nil, err
	case !slices.Contains(resource.IntrospectionClients, caller.ClientID):
		slog.InfoContext(ctx, "a client that is not among the resource's introspection_clients asked about its token",
			"client_id", caller.ClientID, "resource", resource.URI)
		return inactive, nil
	}
	client, err := o.Catalog.Client(ctx, c.ClientID)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled) {
		return inactive, nil
	} else if err != nil {
		return nil, err
	}
	var (
		rules  rules
		groups bool
	)
	if c.FamilyID != "" { // policies are for people
		if rules, err = o.rules(ctx, client, resource); err != nil {
			return nil, err
		}
		groups = rules.askGroups()
	}
	live, standing, err := o.standingOfToken(ctx, c, now, groups)
	if err != nil {
		return nil, err
	}
	// What was taken away since the token was signed counts no longer.
	scopes := client.Within(storage.Intersect(strings.Fields(c.Scope), resource.ScopeNames()))
	if c.FamilyID != "" {
		scopes = rules.allowed(scopes, standing)
	}
	if !live || len(scopes) == 0 || !client.MayReach(resource) {
		return inactive, nil
	}
	return introspection{
		Active: true, Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, ClientID: c.ClientID, Scope: strings.Join(scopes, " "),
		Expiry: c.Expiry, IssuedAt: c.IssuedAt, TokenID: c.TokenID, TokenType: "Bearer",
		ACR: c.ACR, AMR: c.AMR, AuthTime: c.AuthTime,
	}, nil
}

// standingOfToken reports whether the token is live, and what stands behind it: the
// groups of its person only if they are asked for.
func (o *OAuth) standingOfToken(ctx context.Context, c *claims, now time.Time, groups bool) (live bool, standing storage.Standing, err error) {
	if groups {
		return o.Store.AccessTokenLive(ctx, c.TokenID, c.FamilyID, now)
	}
	live, standing.Scopes, err = o.Store.AccessTokenScopes(ctx, c.TokenID, c.FamilyID, now)
	return live, standing, err
}

// clockLeeway is how far another replica's clock may be ahead, in seconds.
const clockLeeway = 60

// challenged makes a failed authentication carry a challenge, whatever method was
// tried (RFC 7662 §2.3).
func challenged(err error) error {
	var e *web.OAuthError
	if errors.As(err, &e) && e.Status == http.StatusUnauthorized {
		return web.InvalidClient(e.Description, true)
	}
	return err
}
