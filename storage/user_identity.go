package storage

import (
	"context"
	"encoding/json"
	"time"
)

// UserIdentity is who a User is at a Provider. Issuer and Subject are unique together.
type UserIdentity struct {
	Issuer     string // of the ID token
	Subject    string
	UserID     string
	ProviderID string // through which they came last
	CreatedAt  time.Time
	VerifiedAt time.Time // of the last sign-in there
}

// Verification is what a Provider has just said of a person.
type Verification struct {
	Issuer, Subject string
	ProviderID      string
	Name, Email     string   // empty: it did not say
	EmailVerified   bool     // by the Provider
	Groups          []string // all that it says they are in
	At              time.Time
	Until           time.Time // becomes User.VerifiedUntil
}

// Recorded returns the event with the names of all the groups that the person is in
// now, and of those whose membership is the Provider's: when it goes, they go.
func (v Verification) Recorded(event AuditEvent, all, given []string) AuditEvent {
	inJSON := func(names []string) string {
		text, _ := json.Marshal(names) // strings always can be
		return string(text)
	}
	return event.With("groups", inJSON(all)).With("provider_groups", inJSON(given))
}

// UserIdentityStore keeps UserIdentities. A User who has one is a Provider's: without a
// password, and only for as long as VerifiedUntil.
type UserIdentityStore interface {
	// UserByIdentity returns the user, disabled or not. ErrNotFound.
	UserByIdentity(ctx context.Context, issuer, subject string) (*User, error)
	// UserToLink returns the enabled user with this e-mail address, compared without
	// regard to the case of ASCII letters, who has no UserIdentity yet. ErrNotFound:
	// nobody has the address; ErrConflict: more than one has it, or whoever has it is
	// disabled or a Provider's.
	UserToLink(ctx context.Context, email string) (*User, error)
	// ProvisionUser inserts u, who is in v.Groups and in no other, and the UserIdentity.
	// ErrExists: the username is taken; ErrConsumed: the UserIdentity has a user already;
	// ErrNotFound: the Provider is disabled or gone.
	ProvisionUser(ctx context.Context, u *User, v Verification, event AuditEvent) error
	// LinkUser makes a user without UserIdentity the Provider's and does what VerifyUser
	// does. The password goes, with all that its change ends. ErrNotFound: the user or
	// the Provider is gone or disabled; ErrConflict: version is not the row's, or the user has a UserIdentity;
	// ErrConsumed: the UserIdentity has a user already.
	LinkUser(ctx context.Context, userID string, version int64, v Verification, event AuditEvent) error
	// VerifyUser writes what the Provider says now: name and e-mail address, unless
	// they are empty, VerifiedUntil, and the groups, of which only those that came
	// from the same Provider are taken away. The event of each of the three is Recorded.
	// ErrNotFound: nobody has the UserIdentity, or
	// they or the Provider are disabled.
	VerifyUser(ctx context.Context, v Verification, event AuditEvent) error
	// UserIdentities returns those of a user, by issuer and subject.
	UserIdentities(ctx context.Context, userID string) ([]*UserIdentity, error)
}
