package storage

import (
	"context"
	"slices"
	"time"
)

// A Session ends SessionIdle after it was last seen and SessionLifetime after it
// began, whichever is first. Being seen is written at most once in SessionTouch.
const (
	SessionIdle     = 8 * time.Hour
	SessionLifetime = 24 * time.Hour
	SessionTouch    = 5 * time.Minute
)

// AuthenticatedUnknown is long before any max_age: whoever wants to know when the
// person proved who they are has them do it again.
var AuthenticatedUnknown = time.Unix(0, 0).UTC()

// Session is a browser sign-in. The browser holds a random token; the row only
// its hash.
type Session struct {
	ID              string // PrefixSession
	TokenHash       []byte // SHA-256 of the cookie's value
	UserID          string
	AuthenticatedAt time.Time // auth_time; AuthenticatedUnknown: a Provider did not say
	AMR             []string  // by what methods (RFC 8176), in the order in which they were proved
	CreatedAt       time.Time
	LastSeenAt      time.Time
	// UserAgent and Address are what the browser said and where it came from at
	// sign-in, so that a person recognises the session.
	UserAgent string
	Address   string
	// PasswordHash, if not empty, is what the User's must be for CreateSession: the
	// one that a password was compared with. It is not kept.
	PasswordHash string
}

// ACR is the level of the sign-in.
func (s *Session) ACR() string { return ACROf(s.AMR) }

// ACROf is the level of a sign-in by these methods.
func ACROf(amr []string) string {
	if slices.Contains(amr, AMRMultiFactor) {
		return ACRMultiFactor
	}
	return ACRSingleFactor
}

// Look says what to find out beside who is signed in. All of it costs.
type Look struct {
	// ClientID and ResourceID (opaque ids) name the Grant to look for; empty: none.
	ClientID, ResourceID string
	Groups               bool // the User's
	ClientKnown          bool // whether anybody has approved the client
}

// SignIn is a live Session with its User and what a Look asked for.
type SignIn struct {
	Look    Look
	Session Session
	User    User   // without PasswordHash
	Grant   *Grant // nil: nothing approved
	// ClientKnown: somebody has approved the client, for whatever Resource.
	ClientKnown bool
}

// SessionStore keeps Sessions.
type SessionStore interface {
	// CreateSession inserts s if its User is enabled and verified at that moment and
	// has the password that s names, else ErrNotFound.
	CreateSession(ctx context.Context, s *Session, event AuditEvent) error
	// SignIn returns the live session of an enabled and verified user by the hash
	// of its token, as of now, in one statement; when SessionTouch has passed, another
	// moves LastSeenAt forward; an approval does not. ErrNotFound.
	SignIn(ctx context.Context, tokenHash []byte, look Look, now time.Time) (*SignIn, error)
	// UserSessions lists the User's live sessions by ID, without TokenHash.
	UserSessions(ctx context.Context, userID string, now time.Time, page Page) ([]*Session, error)
	// DeleteSession ends the session. ErrNotFound.
	DeleteSession(ctx context.Context, id string, event AuditEvent) error
}
