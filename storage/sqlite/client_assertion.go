package sqlite

import (
	"context"
	"time"
)

const (
	deleteLapsedAssertions = `DELETE FROM used_client_assertions WHERE client_id = ? AND expires_at <= ?`
	insertUsedAssertion    = `INSERT INTO used_client_assertions (client_id, jti, expires_at)
	SELECT id, ?, ? FROM clients WHERE id = ?`
)

// UseClientAssertion implements storage.ClientAssertionStore. The insert is plain:
// a jti that was used before is in its way.
func (s *Store) UseClientAssertion(ctx context.Context, clientID, jti string, expiresAt, now time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(deleteLapsedAssertions, clientID, micros(now)); err != nil {
			return err
		}
		return consumedIfTaken(tx.mustExec(insertUsedAssertion, jti, micros(expiresAt), clientID))
	})
}
