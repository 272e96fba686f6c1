package oauth

import (
	"context"
	"strings"
	"time"

	"github.com/ory/fosite"

	"grantd/server/keys"
	"grantd/storage"
)

// claims are the claims of an access token (RFC 9068 §2.2). A machine's token
// has its client_id as sub and no family, so it is never taken for a person's.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expiry   int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	TokenID  string `json:"jti"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	FamilyID string `json:"family,omitempty"`
	// How and when the person had signed in who approved (RFC 9068 §2.2.1).
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
}

func (c *claims) expiresAt() time.Time { return time.Unix(c.Expiry, 0) }

// accessTokens signs access tokens; they have no row.
type accessTokens struct{ *OAuth }

// sign returns the access token that a token request has earned.
func (t accessTokens) sign(client *storage.Client, s *tokenSession) (string, error) {
	s.tokenID = newTokenID(s.now, client.ID, s.familyID)
	c := claims{
		Issuer: t.Issuer.String(), Subject: s.subject, Audience: s.resource.URI, ClientID: client.ClientID,
		IssuedAt: s.now.Unix(), Expiry: s.now.Add(s.resource.AccessTokenLifetime).Unix(),
		TokenID: s.tokenID, Scope: strings.Join(s.scopes, " "), FamilyID: s.familyID,
	}
	if !s.authenticatedAt.IsZero() {
		c.ACR, c.AMR, c.AuthTime = storage.ACROf(s.amr), s.amr, s.authenticatedAt.Unix()
	}
	return t.Signing.Sign(c)
}

// GenerateAccessToken is fosite's door to sign, for its own handlers.
func (t accessTokens) GenerateAccessToken(_ context.Context, r fosite.Requester) (token, signature string, err error) {
	token, err = t.sign(clientOf(r), sessionOf(r))
	return token, "", err
}

// AccessTokenSignature has nothing to name: there is no row.
func (accessTokens) AccessTokenSignature(context.Context, string) string { return "" }

// ValidateAccessToken is for fosite's introspection, which is not used.
func (accessTokens) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return fosite.ErrServerError
}

// noRow is where fosite would store access tokens.
type noRow struct{}

func (noRow) CreateAccessTokenSession(context.Context, string, fosite.Requester) error { return nil }

func (noRow) DeleteAccessTokenSession(context.Context, string) error { return nil }

func (noRow) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrNotFound
}

// readAccessToken verifies a token of this issuer and returns its claims,
// expired or not; they must not be changed. keys.ErrToken.
func (o *OAuth) readAccessToken(token string) (*claims, error) {
	c, err := keys.Verify[claims](o.Signing, token)
	if err != nil {
		return nil, err
	}
	if c.Issuer != o.Issuer.String() || c.TokenID == "" || c.Expiry <= 0 {
		return nil, keys.ErrToken
	}
	return c, nil
}
