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
SELECT kid, algorithm, state, public_jwk, sealed_private_key, created_at, retired_at
FROM signing_keys ORDER BY created_at, kid`
	return rows(ctx, s, "list signing keys", each(scanSigningKey), sql)
}

// ActivateSigningKey implements storage.SigningKeyStore. Of replicas that replace
// the same key, the first retires it and the others find it retired; of replicas
// that make the very first key, the unique index on the active one lets one in.
func (s *Store) ActivateSigningKey(ctx context.Context, k *storage.SigningKey, replaces string, event storage.AuditEvent) error {
	const (
		doing = "activate a signing key"
		sql   = `
WITH retired AS (
	UPDATE signing_keys SET state = 'retired', retired_at = $11
	WHERE kid = $12 AND state = 'active'
	RETURNING kid
), activated AS (
	INSERT INTO signing_keys (kid, algorithm, state, public_jwk, sealed_private_key, created_at)
	SELECT $7::text, $8::text, 'active', $9::bytea, $10::bytea, $11::timestamptz
	WHERE $12 = '' OR EXISTS (SELECT 1 FROM retired)
	RETURNING kid
), recorded AS (` + recordEvent + `activated
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM activated))
SELECT kid FROM activated`
	)
	err := s.act(ctx, doing, storage.ErrConflict, sql,
		withEvent(event, k.KID, k.Algorithm, octets(k.PublicJWK), octets(k.SealedPrivateKey), k.CreatedAt, replaces)...)
	if errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("%s: %w", doing, storage.ErrConflict)
	}
	return err
}

func scanSigningKey(row pgx.CollectableRow) (*storage.SigningKey, error) {
	var k storage.SigningKey
	err := row.Scan(&k.KID, &k.Algorithm, &k.State, &k.PublicJWK, &k.SealedPrivateKey, &k.CreatedAt,
		(*zeronull.Timestamptz)(&k.RetiredAt))
	return &k, err
}
