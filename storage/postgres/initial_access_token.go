package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// CreateInitialAccessToken implements storage.InitialAccessTokenStore.
func (s *Store) CreateInitialAccessToken(ctx context.Context, t *storage.InitialAccessToken, event storage.AuditEvent) error {
	const sql = `
WITH created AS (
	INSERT INTO initial_access_tokens (id, hash, name, max_uses, uses, created_at, expires_at, last_used_at)
	VALUES ($7, $8, $9, $10, $11, $12, $13, $14)
	RETURNING id
)` + recordEvent + `created`
	_, err := s.exec(ctx, "create an initial access token", sql, withEvent(event,
		t.ID, octets(t.Hash), t.Name, t.MaxUses, t.Uses, t.CreatedAt, t.ExpiresAt, nullTime(t.LastUsedAt))...)
	return err
}

const selectInitialAccessToken = `
SELECT id, hash, name, max_uses, uses, created_at, expires_at, last_used_at
FROM initial_access_tokens `

// InitialAccessToken implements storage.InitialAccessTokenStore.
func (s *Store) InitialAccessToken(ctx context.Context, id string) (*storage.InitialAccessToken, error) {
	const sql = selectInitialAccessToken + `WHERE id = $1`
	return only(rows(ctx, s, "read an initial access token", each(scanInitialAccessToken), sql, id))
}

// InitialAccessTokens implements storage.InitialAccessTokenStore.
func (s *Store) InitialAccessTokens(ctx context.Context, page storage.Page) ([]*storage.InitialAccessToken, error) {
	const sql = selectInitialAccessToken + `WHERE id > $1 ORDER BY id LIMIT $2`
	return rows(ctx, s, "list initial access tokens", each(scanInitialAccessToken), sql, page.After, page.Limit)
}

// DeleteInitialAccessToken implements storage.InitialAccessTokenStore.
func (s *Store) DeleteInitialAccessToken(ctx context.Context, id string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM initial_access_tokens WHERE id = $7 RETURNING id
), recorded AS (` + recordEvent + `gone)
SELECT id FROM gone`
	return s.act(ctx, "delete an initial access token", storage.ErrNotFound, sql, withEvent(event, id)...)
}

func scanInitialAccessToken(row pgx.CollectableRow) (*storage.InitialAccessToken, error) {
	var t storage.InitialAccessToken
	err := row.Scan(&t.ID, &t.Hash, &t.Name, &t.MaxUses, &t.Uses, &t.CreatedAt, &t.ExpiresAt, (*zeronull.Timestamptz)(&t.LastUsedAt))
	return &t, err
}
