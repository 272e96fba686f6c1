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

// AnyVersion, given as the version of a row, is whatever the row has.
const AnyVersion int64 = -1

// Store is what a database must do for grantd. Rooms that need less ask for the
// interface of their noun.
type Store interface {
	ClientStore
	ClientDocumentStore
	ResourceStore
	UserStore
	SessionStore
	UserLinkStore
	FactorStore
	PasskeyStore
	SignInPolicyStore
	GrantStore
	AuthorizationCodeStore
	PushedRequestStore
	FamilyStore
	DeviceAuthorizationStore
	AccessTokenStore
	ClientAssertionStore
	SigningKeyStore
	GroupStore
	IdempotencyKeyStore
	UserIdentityStore
	ProviderStore
	AuditEventStore
	AuditSealStore
	RestoreStore
	AdminKeyStore
	InitialAccessTokenStore
	RegistrationPolicyStore
	PolicyStore
	RegistrationRequestStore

	// Heartbeat reads the version row and the database's clock (on SQLite the
	// local one). Every change to a Client, Resource, SigningKey, Provider,
	// Policy, RegistrationPolicy or SignInPolicy, every decision on a RegistrationRequest,
	// and deleting an AdminKey, moves the version on, in the same transaction. Creating a
	// Client or an AdminKey does not: nobody caches that one is absent.
	Heartbeat(ctx context.Context) (version int64, databaseTime time.Time, err error)
	// Sweep deletes up to limit rows of each kind that nothing needs any more:
	// codes past CodeRetention, pushed requests past PushedRequestGrace, expired
	// DeviceAuthorizations (redeemed ones past DeviceRetention), Families, Sessions,
	// UserLinks, revoked access tokens and IdempotencyKeys, and enabled Clients without a Grant
	// that described themselves: dynamic ones that never had one once they are older
	// than unusedClientLifetime, counted from their last registration, those that
	// had one also not before ClientIdle, none for which a RegistrationRequest waits
	// or was allowed within RequestLifetime and none that a Policy names, and metadata_document ones whose
	// document was fetched UnusedDocument ago; then RegistrationRequests that have
	// waited for RequestLifetime or whose dynamic Client is gone. It returns how many
	// rows it deleted.
	Sweep(ctx context.Context, now time.Time, unusedClientLifetime time.Duration, limit int) (int, error)
	// Pool tells how busy the Store is. It asks the database nothing.
	Pool() Pool
	// Close releases the database.
	Close() error
}
