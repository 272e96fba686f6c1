package storage

import (
	"context"
	"time"
)

// IdempotencyLifetime is how long an IdempotencyKey is remembered.
const IdempotencyLifetime = 24 * time.Hour

// IdempotencyKey remembers what a request that creates something was for, so that
// it can be repeated. It is written before the create and says under which id
// that happens; so a create that was interrupted between the two is finished by
// its repetition, and of requests that race all create the same row.
type IdempotencyKey struct {
	ID        string // digest of who sent it and of the key itself
	Request   string // the sealed digest of the request: a body may hold a password
	Target    string // the id of what is created
	ExpiresAt time.Time
}

// IdempotencyKeyStore keeps IdempotencyKeys.
type IdempotencyKeyStore interface {
	// ClaimIdempotencyKey inserts k, or sets k to the row of the same ID that is
	// there already and has not expired by now. One row wins every race.
	ClaimIdempotencyKey(ctx context.Context, k *IdempotencyKey, now time.Time) error
}
