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
	ClientDocumentStore
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

	// Heartbeat reads the version row and the database's clock (on SQLite the
	// local one). Every change to a Client, Resource or SigningKey moves the
	// version on, in the same transaction. Creating a Client does not: nobody
	// caches that a client is absent.
	Heartbeat(ctx context.Context) (version int64, databaseTime time.Time, err error)
	// Sweep deletes up to limit rows of each kind that nothing needs any more:
	// codes past CodeRetention, expired Families, Sessions and revoked access
	// tokens, dynamic Clients older than unusedClientLifetime that have no Grant, and
	// metadata_document Clients without a Grant that are not disabled and whose
	// document was fetched UnusedDocument ago. It returns how many rows it deleted.
	Sweep(ctx context.Context, now time.Time, unusedClientLifetime time.Duration, limit int) (int, error)
	// Close releases the database.
	Close() error
}
