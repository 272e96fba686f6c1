package storage

import (
	"context"
	"time"
)

// UserLinkPurpose says what a UserLink is for.
type UserLinkPurpose string

// The purposes of links.
const (
	LinkFirstAdmin    UserLinkPurpose = "first_admin"
	LinkInvitation    UserLinkPurpose = "invitation"
	LinkPasswordReset UserLinkPurpose = "password_reset"
)

// UserLink lets whoever has it set a User's password, or make them a Passkey, once. A
// User has at most one: a new one ends the one before, and so does a new password or
// being disabled.
// The token itself is shown or mailed and never stored.
type UserLink struct {
	ID        string // PrefixUserLink
	TokenHash []byte // SHA-256 of the whole token, 32 bytes
	Purpose   UserLinkPurpose
	UserID    string // empty with LinkFirstAdmin: who uses it makes that User
	CreatedAt time.Time
	ExpiresAt time.Time
}

// UserLinkUse is the use of a User's link.
type UserLinkUse struct {
	TokenHash    []byte
	UserID       string
	PasswordHash string
	// Passkey, if not nil, is what the User gets; the PasswordHash is empty then.
	Passkey *Passkey
	Now     time.Time
}

// UserLinkStore keeps UserLinks.
type UserLinkStore interface {
	// CreateUserLink inserts l in place of the link that its User has; of those for
	// the first administrator there is one, too. ErrNotFound: the User is gone or
	// disabled, or the first administrator is there already, as any User is;
	// ErrConflict: the User has a UserIdentity, and so no password.
	CreateUserLink(ctx context.Context, l *UserLink, event AuditEvent) error
	// UserLink returns the link that can still be used at now, with its User or nil
	// for the first administrator. ErrNotFound.
	UserLink(ctx context.Context, tokenHash []byte, now time.Time) (*UserLink, *User, error)
	// UseUserLink spends the link and sets the User's password, or takes it and
	// creates the Passkey; both end the same as when UpdateUser sets one, and no
	// Provider has to vouch for the User any more. ErrConsumed: the link cannot be used
	// (any more). ErrExists and ErrFull as of CreatePasskey: then nothing is changed.
	UseUserLink(ctx context.Context, use UserLinkUse, event AuditEvent) error
	// UseFirstAdminLink spends the link and creates u, the first User, as of
	// u.CreatedAt, with the Passkey p unless it is nil. ErrConsumed: the link cannot be
	// used, or there is a User.
	UseFirstAdminLink(ctx context.Context, tokenHash []byte, u *User, p *Passkey, event AuditEvent) error
	// DeleteUserLink ends the User's link. ErrNotFound: there is none.
	DeleteUserLink(ctx context.Context, userID string, event AuditEvent) error
}
