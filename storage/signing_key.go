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

const (
	// KeyPublication is how long a key is published before it signs: whoever
	// verifies tokens may keep the JWK set for five minutes, and replicas and
	// clocks get one more.
	KeyPublication = 6 * time.Minute
	// KeyRetention is how long a retired key stays published: the longest life of
	// a token it may have signed, with room for clocks.
	KeyRetention = MaxAccessTokenLifetime + 5*time.Minute
)

// SigningKey signs access tokens. Its private part is sealed by the root key.
type SigningKey struct {
	KID              string
	Algorithm        string // JWS alg
	State            KeyState
	PublicJWK        []byte // RFC 7517
	SealedPrivateKey []byte // empty once retired: it will never sign again
	CreatedAt        time.Time
	ActivatedAt      time.Time // zero while next
	RetiredAt        time.Time // zero unless retired
}

// ReadyAt is when a next key has been published for long enough to sign.
func (k *SigningKey) ReadyAt() time.Time { return k.CreatedAt.Add(KeyPublication) }

// PublishedUntil is when a retired key leaves the JWK set.
func (k *SigningKey) PublishedUntil() time.Time { return k.RetiredAt.Add(KeyRetention) }

// Published reports whether the key belongs in the JWK set.
func (k *SigningKey) Published(now time.Time) bool {
	return k.State != KeyRetired || !now.After(k.PublishedUntil())
}

// KeyMove moves SigningKeys on. What is empty in it does not happen; what is not
// must find its key in the state it names.
type KeyMove struct {
	// Retire is the KID of the active key that retires. Its private part is
	// erased.
	Retire string
	// Withdraw is deleted, if its state is still the one it has here.
	Withdraw *SigningKey
	// Activate is the KID of the next key that becomes active.
	Activate string
	// Insert is a new key; its State is active or next, and no other key may have
	// it afterwards.
	Insert *SigningKey
	At     time.Time
}

// SigningKeyStore keeps SigningKeys.
type SigningKeyStore interface {
	// SigningKeys returns all of them, oldest first.
	SigningKeys(ctx context.Context) ([]*SigningKey, error)
	// MoveSigningKeys makes the whole move or none of it. ErrConflict: the keys
	// are no longer what the move takes them for, as when another replica was
	// first.
	MoveSigningKeys(ctx context.Context, m KeyMove, event AuditEvent) error
	// ResealSigningKey replaces the sealed private part was by sealed. ErrConflict:
	// it is not, or no longer, that of the key.
	ResealSigningKey(ctx context.Context, kid string, was, sealed []byte, event AuditEvent) error
}
