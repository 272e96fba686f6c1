package storage

import (
	"context"
	"slices"
	"time"
)

// User is a person. The sub of a User's tokens is ID.
type User struct {
	ID           string // PrefixUser
	Username     string // unique without regard to case, as typed at sign-in
	Version      int64  // moves with all that pages and policies are made of, Groups among it
	Email        string
	Name         string
	PasswordHash string   // Argon2id in PHC form; empty: no password sign-in
	Groups       []string // names of the Groups the user is in, sorted
	Disabled     bool
	// VerifiedUntil is when somebody who signs in with a Provider must have done so
	// again; zero: they do not. Only a UserIdentityStore and a ProviderStore write it.
	VerifiedUntil time.Time
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// UserFilter narrows a list of Users. Zero fields narrow nothing.
type UserFilter struct {
	Group    string // its members
	Disabled *bool
}

// Leaves reports whether u is one of those that the filter leaves.
func (f UserFilter) Leaves(u *User) bool {
	return (f.Group == "" || slices.Contains(u.Groups, f.Group)) && is(f.Disabled, u.Disabled)
}

// UserStore keeps Users and their membership of Groups.
type UserStore interface {
	// CreateUser inserts u and the Groups it names that do not exist yet.
	// ErrExists: the username is taken.
	CreateUser(ctx context.Context, u *User, event AuditEvent) error
	// User returns the user with this id. ErrNotFound.
	User(ctx context.Context, id string) (*User, error)
	// UserByUsername ignores case. ErrNotFound.
	UserByUsername(ctx context.Context, username string) (*User, error)
	// Users lists by ID those that the filter leaves.
	Users(ctx context.Context, filter UserFilter, page Page) ([]*User, error)
	// UpdateUser writes every field except ID, CreatedAt and VerifiedUntil, and sets
	// u.Version. A Group that the user is in already stays as it came about.
	// A password makes a user without UserIdentity a local one: VerifiedUntil goes.
	// A user who becomes disabled loses Sessions and Grants (and with them
	// Families and unredeemed codes); one whose PasswordHash changes loses
	// Sessions, Families and unredeemed codes. ErrNotFound; ErrExists: the
	// username is taken; ErrConflict when u.Version is not the row's.
	UpdateUser(ctx context.Context, u *User, event AuditEvent) error
	// DeleteUser deletes the user with Sessions, Grants and Families. ErrNotFound;
	// ErrConflict when version is neither AnyVersion nor the row's.
	DeleteUser(ctx context.Context, id string, version int64, event AuditEvent) error
}
