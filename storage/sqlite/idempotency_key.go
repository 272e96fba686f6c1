package sqlite

import (
	"context"
	"time"

	"grantd/storage"
)

const claimIdempotencyKey = `INSERT INTO idempotency_keys AS old (id, request, target, expires_at) VALUES (?1, ?2, ?3, ?4)
	ON CONFLICT (id) DO UPDATE SET
		request = CASE WHEN old.expires_at > ?5 THEN old.request ELSE excluded.request END,
		target = CASE WHEN old.expires_at > ?5 THEN old.target ELSE excluded.target END,
		expires_at = CASE WHEN old.expires_at > ?5 THEN old.expires_at ELSE excluded.expires_at END
	RETURNING request, target, expires_at`

// ClaimIdempotencyKey implements storage.IdempotencyKeyStore.
func (s *Store) ClaimIdempotencyKey(ctx context.Context, k *storage.IdempotencyKey, now time.Time) error {
	stands := *k
	err := s.write(ctx, func(tx *tx) error {
		return tx.row(claimIdempotencyKey, []any{k.ID, k.Request, k.Target, micros(k.ExpiresAt), micros(now)},
			&stands.Request, &stands.Target, intoTime{&stands.ExpiresAt})
	})
	if err == nil {
		*k = stands
	}
	return err
}
