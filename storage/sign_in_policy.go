package storage

import (
	"context"
	"time"
)

// SecondFactorRule says what people must prove besides a password.
type SecondFactorRule string

// The rules. Whoever has a second factor is asked for it under each of them.
const (
	SecondFactorNone         SecondFactorRule = "none"          // each person decides
	SecondFactorRequired     SecondFactorRule = "required"      // who has none must set one up to sign in
	SecondFactorPasskeysOnly SecondFactorRule = "passkeys_only" // a Passkey alone signs in; a password proves nothing
)

// DestructiveScopesRule says how somebody must have signed in to allow destructive
// Scopes.
type DestructiveScopesRule string

// The rules for destructive Scopes.
const (
	DestructiveScopesNone         DestructiveScopesRule = "none"
	DestructiveScopesSecondFactor DestructiveScopesRule = "second_factor"
)

// SignInPolicy says how people must sign in. There is one.
type SignInPolicy struct {
	Version           int64 // grows with every change; see ErrConflict
	SecondFactor      SecondFactorRule
	DestructiveScopes DestructiveScopesRule
	UpdatedAt         time.Time // zero: never changed
}

// SignInPolicyStore keeps the SignInPolicy.
type SignInPolicyStore interface {
	// SignInPolicy returns the policy. A migrated database has one: none for all.
	SignInPolicy(ctx context.Context) (*SignInPolicy, error)
	// UpdateSignInPolicy writes every field and sets p.Version to the new version.
	// ErrConflict when p.Version is not the row's.
	UpdateSignInPolicy(ctx context.Context, p *SignInPolicy, event AuditEvent) error
}
