package sqlite

import (
	"context"
	"time"

	"grantd/storage"
)

const (
	insertAdminKey = `INSERT INTO admin_keys (id, hash, name, scope, created_at, expires_at, last_used_at)
	VALUES (?, ?, ?, ?, ?, ?, ?)`

	selectAdminKey = `SELECT id, hash, name, scope, created_at, expires_at, last_used_at FROM admin_keys `

	selectAdminKeyByID   = selectAdminKey + `WHERE id = ?`
	selectAdminKeyByHash = selectAdminKey + `WHERE hash = ?`
	selectAdminKeys      = selectAdminKey + `WHERE id > ? ORDER BY id LIMIT ?`

	touchAdminKey = `UPDATE admin_keys SET last_used_at = ?2
	WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at <= ?3)`

	deleteAdminKey = `DELETE FROM admin_keys WHERE id = ?`
)

// CreateAdminKey implements storage.AdminKeyStore.
func (s *Store) CreateAdminKey(ctx context.Context, k *storage.AdminKey, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(insertAdminKey, k.ID, blob(k.Hash), k.Name, k.Scope, micros(k.CreatedAt), micros(k.ExpiresAt), microsOrNull(k.LastUsedAt))
		if err != nil {
			return err
		}
		return tx.record(event)
	})
}

// AdminKey implements storage.AdminKeyStore.
func (s *Store) AdminKey(ctx context.Context, id string) (*storage.AdminKey, error) {
	return readOne(ctx, s, selectAdminKeyByID, []any{id}, scanAdminKey)
}

// AdminKeyByHash implements storage.AdminKeyStore.
func (s *Store) AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error) {
	return readOne(ctx, s, selectAdminKeyByHash, []any{blob(hash)}, scanAdminKey)
}

// AdminKeys implements storage.AdminKeyStore.
func (s *Store) AdminKeys(ctx context.Context, page storage.Page) ([]*storage.AdminKey, error) {
	return readRows(ctx, s, selectAdminKeys, []any{page.After, page.Limit}, scanAdminKey)
}

// TouchAdminKey implements storage.AdminKeyStore.
func (s *Store) TouchAdminKey(ctx context.Context, id string, now time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(touchAdminKey, id, micros(now), micros(now.Add(-storage.AdminKeyTouch)))
		return err
	})
}

// DeleteAdminKey implements storage.AdminKeyStore.
func (s *Store) DeleteAdminKey(ctx context.Context, id string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(deleteAdminKey, id); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

func scanAdminKey(row scanner) (*storage.AdminKey, error) {
	var k storage.AdminKey
	err := row.Scan(&k.ID, intoBlob{&k.Hash}, &k.Name, &k.Scope, intoTime{&k.CreatedAt}, intoTime{&k.ExpiresAt}, intoTime{&k.LastUsedAt})
	return &k, err
}
