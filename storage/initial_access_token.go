package storage

import (
	"context"
	"time"
)

// InitialAccessToken lets whoever holds it register clients (RFC 7591 §1.2), a
// number of times and until it expires. The token itself is shown once and never
// stored.
type InitialAccessToken struct {
	ID         string // PrefixInitialAccessToken
	Hash       []byte // SHA-256 of the whole token, 32 bytes
	Name       string // whom it was made for
	MaxUses    int
	Uses       int // registrations so far
	CreatedAt  time.Time
	ExpiresAt  time.Time
	LastUsedAt time.Time // zero: not yet
}

// InitialAccessTokenStore keeps InitialAccessTokens. CreateDynamicClient uses them.
type InitialAccessTokenStore interface {
	// CreateInitialAccessToken inserts t. ErrExists: ID or Hash is taken.
	CreateInitialAccessToken(ctx context.Context, t *InitialAccessToken, event AuditEvent) error
	// InitialAccessToken returns the token with this id, expired or used up or not.
	// ErrNotFound.
	InitialAccessToken(ctx context.Context, id string) (*InitialAccessToken, error)
	// InitialAccessTokens lists by ID, expired and used up ones included.
	InitialAccessTokens(ctx context.Context, page Page) ([]*InitialAccessToken, error)
	// DeleteInitialAccessToken deletes it; clients that came with it stay.
	// ErrNotFound.
	DeleteInitialAccessToken(ctx context.Context, id string, event AuditEvent) error
}
