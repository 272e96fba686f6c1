package sqlite

import (
	"context"

	"grantd/storage"
)

const (
	insertInitialAccessToken = `INSERT INTO initial_access_tokens
	(id, hash, name, max_uses, uses, created_at, expires_at, last_used_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

	selectInitialAccessToken = `SELECT id, hash, name, max_uses, uses, created_at, expires_at, last_used_at
	FROM initial_access_tokens `

	selectInitialAccessTokenByID = selectInitialAccessToken + `WHERE id = ?`
	selectInitialAccessTokens    = selectInitialAccessToken + `WHERE id > ? ORDER BY id LIMIT ?`

	deleteInitialAccessToken = `DELETE FROM initial_access_tokens WHERE id = ?`
)

// CreateInitialAccessToken implements storage.InitialAccessTokenStore.
func (s *Store) CreateInitialAccessToken(ctx context.Context, t *storage.InitialAccessToken, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(insertInitialAccessToken, t.ID, blob(t.Hash), t.Name, t.MaxUses, t.Uses,
			micros(t.CreatedAt), micros(t.ExpiresAt), microsOrNull(t.LastUsedAt))
		if err != nil {
			return err
		}
		return tx.record(event)
	})
}

// InitialAccessToken implements storage.InitialAccessTokenStore.
func (s *Store) InitialAccessToken(ctx context.Context, id string) (*storage.InitialAccessToken, error) {
	return readOne(ctx, s, selectInitialAccessTokenByID, []any{id}, scanInitialAccessToken)
}

// InitialAccessTokens implements storage.InitialAccessTokenStore.
func (s *Store) InitialAccessTokens(ctx context.Context, page storage.Page) ([]*storage.InitialAccessToken, error) {
	return readRows(ctx, s, selectInitialAccessTokens, []any{page.After, page.Limit}, scanInitialAccessToken)
}

// DeleteInitialAccessToken implements storage.InitialAccessTokenStore.
func (s *Store) DeleteInitialAccessToken(ctx context.Context, id string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(deleteInitialAccessToken, id); err != nil {
			return err
		}
		return tx.record(event)
	})
}

func scanInitialAccessToken(row scanner) (*storage.InitialAccessToken, error) {
	var t storage.InitialAccessToken
	err := row.Scan(&t.ID, intoBlob{&t.Hash}, &t.Name, &t.MaxUses, &t.Uses,
		intoTime{&t.CreatedAt}, intoTime{&t.ExpiresAt}, intoTime{&t.LastUsedAt})
	return &t, err
}
