package storage

import (
	"context"
	"time"
)

// MaxPasskeys is how many Passkeys a User has at most.
const MaxPasskeys = 20

// Passkey is a User's WebAuthn credential: a key pair of which the person keeps one
// half, in a device or with whoever keeps their passwords.
type Passkey struct {
	ID           string // PrefixPasskey
	UserID       string
	CredentialID []byte // unique: by it a browser finds the passkey, and we its row
	PublicKey    []byte // a COSE_Key
	SignCount    int64  // of its last use; 0: it does not count
	// BackupEligible never changes: copies of the key may be kept elsewhere. BackedUp
	// says that there are, as of its last use.
	BackupEligible, BackedUp bool
	Transports               []string // how a browser may reach it, in its own words
	Name                     string   // what the person calls it
	CreatedAt                time.Time
	LastUsedAt               time.Time // zero: never
	// ChallengedAt is when the challenge was made that it signed last. It signs none
	// that was made before.
	ChallengedAt time.Time
}

// PasskeyUse is a challenge that a Passkey has signed.
type PasskeyUse struct {
	ID           string
	UserID       string
	ChallengedAt time.Time // when the challenge was made
	SignCount    int64
	BackedUp     bool
	At           time.Time
}

// PasskeyStore keeps Passkeys.
type PasskeyStore interface {
	// CreatePasskey inserts p for an enabled User. ErrExists: somebody has this
	// credential; ErrFull: the User has MaxPasskeys; ErrNotFound: the User is gone or
	// disabled.
	CreatePasskey(ctx context.Context, p *Passkey, event AuditEvent) error
	// PasskeyByCredential returns the Passkey with this credential id. ErrNotFound.
	PasskeyByCredential(ctx context.Context, credentialID []byte) (*Passkey, error)
	// UsePasskey accepts a signed challenge of an enabled User's Passkey, one made
	// after the last that was accepted. ErrConsumed: it was not, or the Passkey is gone.
	// ErrConflict: the count is not above the last although one of them is not 0, so
	// there may be a copy of the key: the challenge is spent, cloned recorded, and
	// nothing else changed.
	UsePasskey(ctx context.Context, use PasskeyUse, cloned AuditEvent) error
	// RenamePasskey gives a Passkey of the User another name. ErrNotFound.
	RenamePasskey(ctx context.Context, userID, id, name string, event AuditEvent) error
	// DeletePasskey takes a Passkey of the User. ErrNotFound.
	DeletePasskey(ctx context.Context, userID, id string, event AuditEvent) error
}
