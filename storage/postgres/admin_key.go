package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

const selectAdminKey = `SELECT id, hash, name, scope, created_at, expires_at, last_used_at FROM admin_keys `

// CreateAdminKey implements storage.AdminKeyStore.
func (s *Store) CreateAdminKey(ctx context.Context, k *storage.AdminKey, event storage.AuditEvent) error {
	const sql = `
WITH created AS (
	INSERT INTO admin_keys (id, hash, name, scope, created_at, expires_at, last_used_at)
	VALUES ($7, $8, $9, $10, $11, $12, $13)
	RETURNING id
)` + recordEvent + `created`
	_, err := s.exec(ctx, "create an admin key", sql, withEvent(event,
		k.ID, octets(k.Hash), k.Name, k.Scope, k.CreatedAt, k.ExpiresAt, nullTime(k.LastUsedAt))...)
	return err
}

// AdminKey implements storage.AdminKeyStore.
func (s *Store) AdminKey(ctx context.Context, id string) (*storage.AdminKey, error) {
	const sql = selectAdminKey + `WHERE id = $1`
	return only(rows(ctx, s, "read an admin key", each(scanAdminKey), sql, id))
}

// AdminKeyByHash implements storage.AdminKeyStore.
func (s *Store) AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error) {
	const sql = selectAdminKey + `WHERE hash = $1`
	return only(rows(ctx, s, "read an admin key", each(scanAdminKey), sql, octets(hash)))
}

// AdminKeys implements storage.AdminKeyStore.
func (s *Store) AdminKeys(ctx context.Context, page storage.Page) ([]*storage.AdminKey, error) {
	const sql = selectAdminKey + `WHERE id > $1 ORDER BY id LIMIT $2`
	return rows(ctx, s, "list admin keys", each(scanAdminKey), sql, page.After, page.Limit)
}

// TouchAdminKey implements storage.AdminKeyStore.
func (s *Store) TouchAdminKey(ctx context.Context, id string, now time.Time) error {
	const sql = `
UPDATE admin_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)`
	_, err := s.exec(ctx, "note the use of an admin key", sql, id, now, now.Add(-storage.AdminKeyTouch))
	return err
}

// DeleteAdminKey implements storage.AdminKeyStore.
func (s *Store) DeleteAdminKey(ctx context.Context, id string, event storage.AuditEvent) error {
	const sql = `DELETE FROM admin_keys WHERE id = $1 RETURNING '', '', 0`
	return s.deleteFromCatalog(ctx, "delete an admin key", sql, id, storage.AnyVersion, event)
}

func scanAdminKey(row pgx.CollectableRow) (*storage.AdminKey, error) {
	var k storage.AdminKey
	err := row.Scan(&k.ID, &k.Hash, &k.Name, &k.Scope, &k.CreatedAt, &k.ExpiresAt, (*zeronull.Timestamptz)(&k.LastUsedAt))
	return &k, err
}
