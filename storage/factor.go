package storage

import (
	"context"
	"slices"
	"time"
)

// The levels of a sign-in (acr), the lower first: one factor, or two. Those of
// REFEDS are known to other programs too.
const (
	ACRSingleFactor = "https://refeds.org/profile/sfa"
	ACRMultiFactor  = "https://refeds.org/profile/mfa"
)

// The methods of a sign-in (amr, RFC 8176 §2).
const (
	AMRPassword    = "pwd"
	AMROneTimeCode = "otp"  // of an authenticator app, or a recovery code
	AMRKey         = "pop"  // a Passkey's key signed
	AMRUser        = "user" // and its device found the person there
	AMRMultiFactor = "mfa"  // together they are two factors or more
)

// WithAMR is amr and, once each, what was proved beside it.
func WithAMR(amr []string, proved ...string) []string {
	all := slices.Clone(amr)
	for _, method := range proved {
		if !slices.Contains(all, method) {
			all = append(all, method)
		}
	}
	return all
}

// AMRPasskey are the methods of a sign-in with a Passkey, which by itself is two
// factors: who has the device, and knows or is what opens it.
var AMRPasskey = []string{AMRKey, AMRUser, AMRMultiFactor}

// RecoveryCodes is how many RecoveryCodes a User gets at once.
const RecoveryCodes = 10

// Factors are what a User can prove besides a password.
type Factors struct {
	TOTP          *TOTP      // nil: none
	Passkeys      []*Passkey // by ID
	RecoveryCodes int        // how many are left
}

// Any reports whether there is a second factor. Recovery codes stand in for one and
// are none by themselves.
func (f *Factors) Any() bool { return f.TOTP != nil || len(f.Passkeys) > 0 }

// TOTP is a User's authenticator app (RFC 6238).
type TOTP struct {
	UserID       string
	SealedSecret []byte
	LastStep     int64 // the time step whose code was accepted last
	CreatedAt    time.Time
	LastUsedAt   time.Time
}

// TOTPUse is a right code of a time step.
type TOTPUse struct {
	UserID string
	Step   int64
	// SealedSecret is written in place of the one that is there: the same, or the
	// same secret sealed anew.
	SealedSecret []byte
	At           time.Time
}

// FactorStore keeps what people prove besides a password.
type FactorStore interface {
	// Factors returns what the User has; nothing, also for no such User.
	Factors(ctx context.Context, userID string) (*Factors, error)
	// CreateTOTP inserts t for an enabled User. ErrExists: the User has one;
	// ErrNotFound: the User is gone or disabled.
	CreateTOTP(ctx context.Context, t *TOTP, event AuditEvent) error
	// UseTOTP accepts the code of a time step, of each and of those before it once.
	// ErrConsumed: it was accepted before, or there is no TOTP any more.
	UseTOTP(ctx context.Context, use TOTPUse) error
	// DeleteTOTP takes it. ErrNotFound.
	DeleteTOTP(ctx context.Context, userID string, event AuditEvent) error
	// ReplaceRecoveryCodes writes the hashes of new codes in place of all that are
	// left. ErrNotFound: the User is gone or disabled.
	ReplaceRecoveryCodes(ctx context.Context, userID string, hashes [][]byte, event AuditEvent) error
	// UseRecoveryCode spends the code with this hash. ErrConsumed: there is none, or
	// not any more.
	UseRecoveryCode(ctx context.Context, userID string, hash []byte, event AuditEvent) error
	// ResetFactors takes all that the User has, recovery codes too, and ends the
	// User's Sessions. ErrNotFound: there is no such User.
	ResetFactors(ctx context.Context, userID string, event AuditEvent) error
}
