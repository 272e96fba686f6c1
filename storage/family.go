package storage

import (
	"context"
	"time"
)

// A Family ends FamilyIdle after its last refresh and FamilyLifetime after the
// code was redeemed. A spent refresh token may be presented again within
// RefreshGrace.
const (
	FamilyIdle     = 30 * 24 * time.Hour
	FamilyLifetime = 90 * 24 * time.Hour
	RefreshGrace   = 30 * time.Second

	// FirstGeneration is of the refresh token that a new Family comes with.
	FirstGeneration = 1
)

// Family is one installation of a Client that redeemed a code. Its refresh token
// names it and a generation; nothing usable is stored.
type Family struct {
	ID         string // PrefixFamily
	GrantID    string
	UserID     string
	ClientID   string // the Client's opaque id
	ResourceID string
	Scopes     []string
	Generation int64 // of the refresh token that is current, from 1
	// RotationRequest is a digest of what the last rotation asked for, so that
	// only the same request is answered again.
	RotationRequest []byte
	RotatedAt       time.Time // when Generation became current
	CreatedAt       time.Time
	ExpiresAt       time.Time // CreatedAt + FamilyLifetime
	// AMR and AuthenticatedAt say how the person had signed in who approved it. Zero:
	// approved in the version before.
	AMR             []string
	AuthenticatedAt time.Time
	// SessionID is of the Session that its code was approved in, which may have ended.
	// Empty: of a device, or of the version before.
	SessionID string
	// UserAgent and Address are what redeemed the code called itself, and where it came
	// from. Only UserFamilies reads them.
	UserAgent string
	Address   string
	// VerifiedUntil is the User's; it is not the family's to write.
	VerifiedUntil time.Time
}

// Expired reports whether the family has ended by age or by idleness, or its User's
// Provider was to vouch for them again.
func (f *Family) Expired(now time.Time) bool {
	return !now.Before(f.ExpiresAt) || !now.Before(f.RotatedAt.Add(FamilyIdle)) || f.Unverified(now)
}

// Unverified reports whether the User must sign in with their Provider again.
func (f *Family) Unverified(now time.Time) bool {
	return !f.VerifiedUntil.IsZero() && !now.Before(f.VerifiedUntil)
}

// Rotation asks to move a Family on from the generation presented.
type Rotation struct {
	FamilyID  string
	Presented int64
	Request   []byte
	Now       time.Time
	// Behind is the event for a row that stood behind Presented; one without an ID
	// is not written.
	Behind AuditEvent
}

// Renewal is a Rotation of which all that depends on the Family is foretold, so
// that judging it and moving it on is one act.
type Renewal struct {
	Rotation
	ClientID, ResourceID string
	Guessed              bool     // ResourceID is: the Family may be for another
	Asked                []string // scopes that the Family must all have
	// The Family and its Grant must both have one of the scopes that are allowed, to
	// everybody or to a Group that its User is in.
	Allowed   []string
	AllowedTo []GroupScope
}

// FamilyStore keeps Families.
type FamilyStore interface {
	// Family returns the family with what stands behind it now, if its User is
	// enabled; expired or not. ErrNotFound.
	Family(ctx context.Context, id string) (family *Family, standing Standing, err error)
	// UserFamilies lists the User's live families by ID.
	UserFamilies(ctx context.Context, userID string, now time.Time, page Page) ([]*Family, error)
	// RotateFamily makes Presented+1 the current generation, in place, if the row
	// stands at Presented or behind it (a restored database). If the row stands at
	// Presented+1 already, within RefreshGrace and for the same Request, it
	// changes nothing and succeeds: the same successor again. Otherwise
	// ErrConsumed; ErrNotFound: the family has ended.
	RotateFamily(ctx context.Context, r Rotation) error
	// RenewFamily is Family, and makes Presented+1 the current generation if the row
	// stands at Presented or behind it, has not expired and is as the Renewal says.
	// Otherwise it changes nothing. The family is returned as it then is. The standing of
	// one that was renewed may lack Groups where AllowedTo names none. ErrNotFound as
	// Family.
	RenewFamily(ctx context.Context, r Renewal) (family *Family, standing Standing, renewed bool, err error)
	// EndFamily deletes the family. ErrNotFound.
	EndFamily(ctx context.Context, id string, event AuditEvent) error
}
