package storage

import (
	"context"
	"time"
)

// KeyState is the place of a SigningKey in its life.
type KeyState string

// A key is published as next before it signs, signs as active, and stays
// published as retired until the tokens it signed have expired.
const (
	KeyNext    KeyState = "next"
	KeyActive  KeyState = "active"
	KeyRetired KeyState = "retired"
)

// SigningKey signs access tokens. Its private part is sealed by the root key.
type SigningKey struct {
	KID              string
	Algorithm        string // JWS alg
	State            KeyState
	PublicJWK        []byte // RFC 7517
	SealedPrivateKey []byte
	CreatedAt        time.Time
	RetiredAt        time.Time // zero unless retired
}

// SigningKeyStore keeps SigningKeys.
type SigningKeyStore interface {
	// SigningKeys returns all of them, oldest first.
	SigningKeys(ctx context.Context) ([]*SigningKey, error)
	// ActivateSigningKey inserts k as active, retiring the active key whose KID is
	// replaces (empty: there must be none). ErrConflict: another replica was first.
	ActivateSigningKey(ctx context.Context, k *SigningKey, replaces string, event AuditEvent) error
}
