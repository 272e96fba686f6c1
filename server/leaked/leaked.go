// Package leaked says what is known of a value that turned up where it should not
// be: a token in a log, a secret in a repository. Package oauth finds it out, the
// admin API tells it.
package leaked

import "time"

// Kind is what a value is.
type Kind string

// TokenID is an access token of which only the jti is known. It proves nothing of
// whoever has it, and names its installation all the same.
const (
	AccessToken       Kind = "access_token"
	TokenID           Kind = "token_id"
	RefreshToken      Kind = "refresh_token"
	AuthorizationCode Kind = "authorization_code"
	ClientSecret      Kind = "client_secret"
	AdminKey          Kind = "admin_key"
)

// Reason is why a value is worth nothing any more.
type Reason string

// Spent is a refresh token with a successor, Redeemed a code that was exchanged:
// the installation may live on. Ended is an installation that was revoked, or
// whose Grant or User is gone or disabled; Revoked the value alone. NotAllowed is what a
// policy, the client's limits, or having left the administrators stops for now.
const (
	Expired        Reason = "expired"
	Revoked        Reason = "revoked"
	Ended          Reason = "ended"
	Spent          Reason = "spent"
	Redeemed       Reason = "redeemed"
	ClientGone     Reason = "client_gone"
	ClientDisabled Reason = "client_disabled"
	ResourceGone   Reason = "resource_gone"
	NotAllowed     Reason = "not_allowed"
	NotAccepted    Reason = "not_accepted" // a secret of a client that proves itself in another way
)

// Value is what is known of one. What does not apply is zero.
type Value struct {
	Kind   Kind
	Reason Reason // empty: it is live
	// TokenID is the jti of an access token.
	TokenID string
	// ClientID is the Client's opaque id, or its client_id when it is gone.
	ClientID string
	UserID   string
	// Resource is the Resource's URI.
	Resource string
	Scopes   []string
	// FamilyID is the installation, FamilyLive whether it can still get tokens.
	FamilyID   string
	FamilyLive bool
	// LastUsedAt is when the installation last refreshed, the client of a secret last
	// got a token, or an admin key was used.
	LastUsedAt time.Time
	SecretID   string
	AdminKeyID string
	IssuedAt   time.Time
	ExpiresAt  time.Time // of a TokenID: at the latest
}

// Live reports whether whoever has it can use it.
func (v *Value) Live() bool { return v.Reason == "" }
