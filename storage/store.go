package storage

import (
	"context"
	"time"
)

// Page selects part of a list that is ordered by id, oldest first.
type Page struct {
	After string // only rows whose id is greater; empty: from the start
	Limit int    // at most this many rows, 1 or more
}

// Store is what a database must do for grantd. Rooms that need less ask for the
// interface of their noun.
type Store interface {
	ClientStore
	ResourceStore
	UserStore
	SessionStore
	GrantStore
	AuthorizationCodeStore
	FamilyStore
	AccessTokenStore
	ClientAssertionStore
	SigningKeyStore
	AuditEventStore
	RegistrationPolicyStore
	RegistrationRequestStore

	// Heartbeat reads the version row and the database's clock (on SQLite the
	// local one). Every change to a Client, Resource, SigningKey or
	// RegistrationPolicy, and every decision on a RegistrationRequest, moves the
	// version on, in the same transaction. Creating a Client does not: nobody
	// caches that a client is absent.
	Heartbeat(ctx context.Context) (version int64, databaseTime time.Time, err error)
	// Sweep deletes up to limit rows of each kind that nothing needs any more:
	// codes past CodeRetention, expired Families, Sessions and revoked access
	// tokens, and dynamic Clients older than unusedClientLifetime that have no
	// Grant and for which no RegistrationRequest waits or was allowed within
	// RequestLifetime; then RegistrationRequests that have waited for
	// RequestLifetime or whose dynamic Client is gone. It returns how many rows it
	// deleted.
	Sweep(ctx context.Context, now time.Time, unusedClientLifetime time.Duration, limit int) (int, error)
	// Close releases the database.
	Close() error
}
