package sqlite

import (
	"context"

	"grantd/storage"
)

const selectSigningKeys = `SELECT kid, algorithm, state, public_jwk, sealed_private_key, created_at,
	COALESCE(activated_at, CASE WHEN state <> 'next' THEN created_at END), retired_at
	FROM signing_keys ORDER BY created_at, kid`

// SigningKeys implements storage.SigningKeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]*storage.SigningKey, error) {
	return readRows(ctx, s, selectSigningKeys, nil, scanSigningKey)
}

const (
	retireSigningKey = `UPDATE signing_keys SET state = 'retired', retired_at = ?, sealed_private_key = x''
		WHERE kid = ? AND state = 'active'`
	withdrawSigningKey = `DELETE FROM signing_keys WHERE kid = ? AND state = ?`
	activateSigningKey = `UPDATE signing_keys SET state = 'active', activated_at = ? WHERE kid = ? AND state = 'next'`
	insertSigningKey   = `INSERT INTO signing_keys
		(kid, algorithm, state, public_jwk, sealed_private_key, created_at, activated_at) VALUES (?, ?, ?, ?, ?, ?, ?)`
)

// MoveSigningKeys implements storage.SigningKeyStore. That no two keys are active
// or next is an index's doing.
func (s *Store) MoveSigningKeys(ctx context.Context, m storage.KeyMove, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		// Each step is one row or the end of the move.
		step := func(query string, args ...any) error {
			n, err := tx.exec(query, args...)
			if isTaken(err) || err == nil && n == 0 {
				return storage.ErrConflict
			}
			return err
		}
		if m.Retire != "" {
			if err := step(retireSigningKey, micros(m.At), m.Retire); err != nil {
				return err
			}
		}
		if m.Withdraw != nil {
			if err := step(withdrawSigningKey, m.Withdraw.KID, m.Withdraw.State); err != nil {
				return err
			}
		}
		if m.Activate != "" {
			if err := step(activateSigningKey, micros(m.At), m.Activate); err != nil {
				return err
			}
		}
		if k := m.Insert; k != nil {
			err := step(insertSigningKey, k.KID, k.Algorithm, k.State, k.PublicJWK, blob(k.SealedPrivateKey), micros(k.CreatedAt), microsOrNull(k.ActivatedAt))
			if err != nil {
				return err
			}
		}
		return tx.changedCatalog(event)
	})
}

const resealSigningKey = `UPDATE signing_keys SET sealed_private_key = ? WHERE kid = ? AND sealed_private_key = ?`

// ResealSigningKey implements storage.SigningKeyStore.
func (s *Store) ResealSigningKey(ctx context.Context, kid string, was, sealed []byte, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(resealSigningKey, blob(sealed), kid, blob(was))
		if err != nil {
			return err
		}
		if n == 0 {
			return storage.ErrConflict
		}
		return tx.changedCatalog(event)
	})
}

func scanSigningKey(row scanner) (*storage.SigningKey, error) {
	var k storage.SigningKey
	err := row.Scan(&k.KID, &k.Algorithm, &k.State, intoBlob{&k.PublicJWK}, intoBlob{&k.SealedPrivateKey},
		intoTime{&k.CreatedAt}, intoTime{&k.ActivatedAt}, intoTime{&k.RetiredAt})
	return &k, err
}
