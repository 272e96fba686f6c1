package storage

import (
	"context"
	"time"
)

// ClientAssertionStore remembers which client assertions were used, so that each
// authenticates once, whichever replica sees it (RFC 7523 §3).
type ClientAssertionStore interface {
	// UseClientAssertion marks the jti of an assertion of the client (its opaque
	// id) as used until expiresAt, and forgets the client's marks that have lapsed
	// by now. ErrConsumed: it was used before; ErrNotFound: the client is gone.
	UseClientAssertion(ctx context.Context, clientID, jti string, expiresAt, now time.Time) error
}
