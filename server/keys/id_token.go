package keys

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// idTokenType is the typ of ID tokens, so that none is taken for an access token.
const idTokenType = "JWT"

// SignIDToken returns claims as a compact JWS with typ JWT. claims is told the hash
// of the access token that the ID token comes with (OpenID Connect Core §3.1.3.6).
func (s *Signing) SignIDToken(accessToken string, claims func(accessTokenHash string) any) (string, error) {
	signer := s.set.Load().signer
	payload, err := json.Marshal(claims(halfHash(signer.algorithm, accessToken)))
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	token, err := signer.sign(signer.idHeader, payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return token, nil
}

// halfHash is the left half of the hash that the algorithm uses: Ed25519 uses
// SHA-512, the others are of SHA-256.
func halfHash(algorithm jose.SignatureAlgorithm, value string) string {
	if algorithm == jose.EdDSA {
		sum := sha512.Sum512([]byte(value))
		return base64.RawURLEncoding.EncodeToString(sum[:sha512.Size/2])
	}
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:sha256.Size/2])
}

// VerifyIDToken is Verify for an ID token. Nothing is remembered of it: what Verify
// has seen before is an access token. ErrToken.
func (s *Signing) VerifyIDToken(token string, v any) error {
	if len(token) > maxTokenSize {
		return ErrToken
	}
	payload, err := s.set.Load().check(token, idTokenType)
	if err != nil || json.Unmarshal(payload, v) != nil {
		return ErrToken
	}
	return nil
}
