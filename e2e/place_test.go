package e2e

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// place is a grantd with an MCP server that it protects and a user.
type place struct {
	issuer, endpoint   string
	username, password string
	admin              *grantd
}

// startPlace runs a grantd with these flags, a user and the example MCP server.
func startPlace(t *testing.T, flags ...string) *place {
	t.Helper()
	g := startGrantd(t, flags...)
	g.create("users", map[string]any{"username": "alice", "email": "alice@example.com", "name": "Alice", "password": userPassword})
	return &place{issuer: g.issuer, endpoint: startNotes(t, g), username: "alice", password: userPassword, admin: g}
}

// accessTokenClaims are those that tell what a token is good for.
type accessTokenClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// claimsOf reads an access token. Whether it is genuine the MCP server has found
// out.
func claimsOf(t *testing.T, token string) (c accessTokenClaims) {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err == nil {
		err = parsed.UnsafeClaimsWithoutVerification(&c)
	}
	if err != nil {
		t.Fatalf("the access token is no JWT: %v", err)
	}
	return c
}
