package notes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

var (
	// errInvalid: the token is not good here, now. What exactly is wrong with it
	// is nobody's business but the log's of the issuer.
	errInvalid = fmt.Errorf("%w: not an access token for this server", auth.ErrInvalidToken)
	// errUnavailable: whether the token is good could not be found out.
	errUnavailable = errors.New("authorization server unavailable")
)

// algorithms are the signatures this server takes: asymmetric ones only. A list
// of one's own is what keeps "none" and HS256-with-the-public-key out.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256}

const maxToken = 8 << 10 // bytes

// verifier checks JWT access tokens (RFC 9068 §4).
type verifier struct {
	resource string
	issuer   *issuer
	now      func() time.Time
}

// claims are those of RFC 9068 §2.2 that decide something here.
type claims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// verify returns who may do what with the token. errInvalid, errUnavailable.
func (v *verifier) verify(ctx context.Context, token string) (*auth.TokenInfo, error) {
	if token == "" || len(token) > maxToken {
		return nil, errInvalid
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return nil, errInvalid
	}
	header := parsed.Headers[0]
	// An ID token or any other JWT of the issuer is no access token.
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); !isAccessTokenType(typ) {
		return nil, errInvalid
	}
	key, err := v.issuer.key(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return nil, err
	}
	var c claims
	if parsed.Claims(key, &c) != nil || !v.acceptable(&c) {
		return nil, errInvalid
	}
	if err := v.issuer.introspect(ctx, token); err != nil {
		return nil, err
	}
	return &auth.TokenInfo{
		UserID:     c.Subject,
		Scopes:     strings.Fields(c.Scope),
		Expiration: c.Expiry.Time(),
		Extra:      map[string]any{"client_id": c.ClientID},
	}, nil
}

func (v *verifier) acceptable(c *claims) bool {
	now := v.now()
	switch {
	case c.Issuer != v.issuer.name:
	// Exactly one audience: a token for several servers could be replayed by
	// each of them at the others.
	case len(c.Audience) != 1 || c.Audience[0] != v.resource:
	case c.Expiry == nil || !now.Before(c.Expiry.Time().Add(clockLeeway)):
	case c.IssuedAt == nil || c.IssuedAt.Time().After(now.Add(clockLeeway)):
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(clockLeeway)):
	case c.Subject == "" || c.ClientID == "" || c.ID == "":
	default:
		return true
	}
	return false
}

// isAccessTokenType compares as media types do (RFC 7515 §4.1.9).
func isAccessTokenType(typ string) bool {
	typ = strings.ToLower(typ)
	return typ == "at+jwt" || typ == "application/at+jwt"
}

type tokenInfoKey struct{}

// withTokenInfo hands what verify found to verified.
func withTokenInfo(ctx context.Context, info *auth.TokenInfo) context.Context {
	return context.WithValue(ctx, tokenInfoKey{}, info)
}

// verified is the SDK's view of the verifier: the token was checked by the
// handler, and from here its meaning travels to the tools.
func verified(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	if info, ok := ctx.Value(tokenInfoKey{}).(*auth.TokenInfo); ok {
		return info, nil
	}
	return nil, errInvalid
}
