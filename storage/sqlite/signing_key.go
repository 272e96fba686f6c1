package sqlite

import (
	"context"

	"grantd/storage"
)

const selectSigningKeys = `SELECT kid, algorithm, state, public_jwk, sealed_private_key, created_at, retired_at
	FROM signing_keys ORDER BY created_at, kid`

// SigningKeys implements storage.SigningKeyStore.
func (s *Store) SigningKeys(ctx context.Context) ([]*storage.SigningKey, error) {
	return readRows(ctx, s, selectSigningKeys, nil, scanSigningKey)
}

const (
	retireSigningKey = `UPDATE signing_keys SET state = 'retired', retired_at = ? WHERE kid = ? AND state = 'active'`
	insertSigningKey = `INSERT INTO signing_keys
		(kid, algorithm, state, public_jwk, sealed_private_key, created_at) VALUES (?, ?, 'active', ?, ?, ?)`
)

// ActivateSigningKey implements storage.SigningKeyStore. That there is one active
// key is an index's doing.
func (s *Store) ActivateSigningKey(ctx context.Context, k *storage.SigningKey, replaces string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if replaces != "" {
			n, err := tx.exec(retireSigningKey, micros(k.CreatedAt), replaces)
			if err != nil {
				return err
			}
			if n == 0 {
				return storage.ErrConflict
			}
		}
		_, err := tx.exec(insertSigningKey, k.KID, k.Algorithm, k.PublicJWK, k.SealedPrivateKey, micros(k.CreatedAt))
		if isTaken(err) {
			return storage.ErrConflict
		}
		if err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

func scanSigningKey(row scanner) (*storage.SigningKey, error) {
	var k storage.SigningKey
	err := row.Scan(&k.KID, &k.Algorithm, &k.State, intoBlob{&k.PublicJWK}, intoBlob{&k.SealedPrivateKey},
		intoTime{&k.CreatedAt}, intoTime{&k.RetiredAt})
	return &k, err
}
