package postgres

import (
	"context"
	"time"

	"grantd/storage"
)

// RevokeAccessToken implements storage.AccessTokenStore.
func (s *Store) RevokeAccessToken(ctx context.Context, jti string, expiresAt time.Time, event storage.AuditEvent) error {
	const sql = `
WITH revoked AS (
	INSERT INTO revoked_access_tokens (jti, expires_at) VALUES ($7, $8)
	ON CONFLICT (jti) DO NOTHING
	RETURNING jti
)` + recordEvent + `revoked`
	_, err := s.exec(ctx, "revoke an access token", sql, withEvent(event, jti, expiresAt)...)
	return err
}

// AccessTokenLive implements storage.AccessTokenStore. A family has a Grant as long
// as it exists, and its user is the Grant's.
func (s *Store) AccessTokenLive(ctx context.Context, jti, familyID string, now time.Time) (bool, error) {
	const sql = `
SELECT NOT EXISTS (SELECT 1 FROM revoked_access_tokens WHERE jti = $1)
	AND ($2::text = '' OR EXISTS (
		SELECT 1
		FROM families f
		JOIN users u ON u.id = f.user_id
		WHERE f.id = $2 AND f.expires_at > $3 AND f.rotated_at > $4 AND NOT u.disabled))`
	var live bool
	err := s.row(ctx, "look up an access token", sql, []any{jti, familyID, now, now.Add(-storage.FamilyIdle)}, &live)
	return live, err
}
