package postgres

import (
	"context"
	"time"

	"grantd/storage"
)

// ClaimIdempotencyKey implements storage.IdempotencyKeyStore. The row that is
// there is written again as it is, because only a row that was written is
// returned: one statement cannot see what another committed while it waited.
func (s *Store) ClaimIdempotencyKey(ctx context.Context, k *storage.IdempotencyKey, now time.Time) error {
	const sql = `
INSERT INTO idempotency_keys AS old (id, request, target, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET
	request = CASE WHEN old.expires_at > $5 THEN old.request ELSE EXCLUDED.request END,
	target = CASE WHEN old.expires_at > $5 THEN old.target ELSE EXCLUDED.target END,
	expires_at = CASE WHEN old.expires_at > $5 THEN old.expires_at ELSE EXCLUDED.expires_at END
RETURNING request, target, expires_at`
	return s.row(ctx, "claim an idempotency key", sql, []any{k.ID, k.Request, k.Target, k.ExpiresAt, now},
		&k.Request, &k.Target, &k.ExpiresAt)
}
