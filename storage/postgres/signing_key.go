package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// SigningKeys implements storage.SigningKeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]*storage.SigningKey, error) {
	const sql = `
SELECT kid, algorithm, state, public_jwk, sealed_private_key, created_at,
	COALESCE(activated_at, CASE WHEN state <> 'next' THEN created_at END), retired_at
FROM signing_keys ORDER BY created_at, kid`
	return rows(ctx, s, "list signing keys", each(scanSigningKey), sql)
}

// MoveSigningKeys implements storage.SigningKeyStore. Of replicas that move the
// same key, the first locks it and the others then find it moved; of replicas
// that insert, the unique index on the state lets one in.
func (s *Store) MoveSigningKeys(ctx context.Context, m storage.KeyMove, event storage.AuditEvent) error {
	const (
		doing  = "move the signing keys"
		retire = `
UPDATE signing_keys SET state = 'retired', retired_at = $2, sealed_private_key = ''
WHERE kid = $1 AND state = 'active'`
		withdraw = `DELETE FROM signing_keys WHERE kid = $1 AND state = $2`
		activate = `UPDATE signing_keys SET state = 'active', activated_at = $2 WHERE kid = $1 AND state = 'next'`
		insert   = `
INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private_key, created_at, activated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)`
	)
	err := s.tx(ctx, doing, func(ctx context.Context, tx pgx.Tx) error {
		// Each step is one row or the end of the move.
		step := func(sql string, args ...any) error {
			tag, err := tx.Exec(ctx, sql, args...)
			if err == nil && tag.RowsAffected() == 0 {
				err = storage.ErrConflict
			}
			return err
		}
		if m.Retire != "" {
			if err := step(retire, m.Retire, m.At); err != nil {
				return err
			}
		}
		if m.Withdraw != nil {
			if err := step(withdraw, m.Withdraw.KID, m.Withdraw.State); err != nil {
				return err
			}
		}
		if m.Activate != "" {
			if err := step(activate, m.Activate, m.At); err != nil {
				return err
			}
		}
		if k := m.Insert; k != nil {
			err := step(insert, k.KID, k.Algorithm, k.State, octets(k.PublicJWK), octets(k.SealedPrivateKey), k.CreatedAt, nullTime(k.ActivatedAt))
			if err != nil {
				return err
			}
		}
		return catalogChanged(ctx, tx, event)
	})
	if errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("%s: %w", doing, storage.ErrConflict)
	}
	return err
}

// ResealSigningKey implements storage.SigningKeyStore.
func (s *Store) ResealSigningKey(ctx context.Context, kid string, was, sealed []byte, event storage.AuditEvent) error {
	const sql = `
WITH resealed AS (
	UPDATE signing_keys SET sealed_private_key = $9 WHERE kid = $7 AND sealed_private_key = $8 RETURNING kid
), recorded AS (` + recordEvent + `resealed
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM resealed))
SELECT kid FROM resealed`
	return s.act(ctx, "reseal a signing key", storage.ErrConflict, sql, withEvent(event, kid, octets(was), octets(sealed))...)
}

func scanSigningKey(row pgx.CollectableRow) (*storage.SigningKey, error) {
	var k storage.SigningKey
	err := row.Scan(&k.KID, &k.Algorithm, &k.State, &k.PublicJWK, &k.SealedPrivateKey, &k.CreatedAt,
		(*zeronull.Timestamptz)(&k.ActivatedAt), (*zeronull.Timestamptz)(&k.RetiredAt))
	return &k, err
}
