package postgres

import (
	"context"
	"time"
)

// UseClientAssertion implements storage.ClientAssertionStore. The insert is plain:
// a jti that was used before is in its way.
func (s *Store) UseClientAssertion(ctx context.Context, clientID, jti string, expiresAt, now time.Time) error {
	const sql = `
WITH lapsed AS (
	DELETE FROM used_client_assertions WHERE client_id = $1 AND expires_at <= $4
)
INSERT INTO used_client_assertions (client_id, jti, expires_at) VALUES ($1, $2, $3)`
	_, err := s.exec(ctx, "use a client assertion", sql, clientID, jti, expiresAt, now)
	return err
}
