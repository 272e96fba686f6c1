package sqlite

import (
	"context"
	"database/sql"

	"grantd/storage"
)

const insertPushedRequest = `INSERT INTO pushed_requests (id, client_id, query, created_at, expires_at)
	SELECT @id, c.id, @query, @now, @expires_at
	FROM clients c
	WHERE c.id = @client AND (
		SELECT count(*) FROM (
			SELECT 1 FROM pushed_requests WHERE client_id = @client AND expires_at > @now - @grace LIMIT @max)
	) < @max`

// CreatePushedRequest implements storage.PushedRequestStore.
func (s *Store) CreatePushedRequest(ctx context.Context, p *storage.PushedRequest, maxKept int) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(insertPushedRequest,
			sql.Named("id", p.ID),
			sql.Named("client", p.ClientID),
			sql.Named("query", p.Query),
			sql.Named("now", micros(p.CreatedAt)),
			sql.Named("expires_at", micros(p.ExpiresAt)),
			sql.Named("grace", storage.PushedRequestGrace.Microseconds()),
			sql.Named("max", maxKept))
		if err != nil || n > 0 {
			return err
		}
		var found int
		if err := tx.row(existsClient, []any{p.ClientID}, &found); err != nil {
			return err
		}
		return storage.ErrFull
	})
}

const selectPushedRequest = `SELECT id, client_id, query, created_at, expires_at,
	EXISTS (SELECT 1 FROM authorization_codes WHERE id = ?)
	FROM pushed_requests WHERE id = ?`

// PushedRequest implements storage.PushedRequestStore.
func (s *Store) PushedRequest(ctx context.Context, id string) (*storage.PushedRequest, error) {
	p := storage.PushedRequest{ID: id}
	err := s.readRow(ctx, selectPushedRequest, []any{p.CodeID(), id},
		&p.ID, &p.ClientID, &p.Query, intoTime{&p.CreatedAt}, intoTime{&p.ExpiresAt}, &p.Decided)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

const insertDeniedCode = `INSERT INTO authorization_codes (` + codeColumns + `)
	SELECT @id, NULL, u.id, c.id, r.id, @scopes, @redirect_uri, @code_challenge, @now, @expires_at, NULL, 0, '', '', NULL
	FROM users u, clients c, resources r
	WHERE u.id = @user AND c.id = @client AND r.id = @resource`

// DenyPushedRequest implements storage.PushedRequestStore.
func (s *Store) DenyPushedRequest(ctx context.Context, denied *storage.AuthorizationCode) error {
	return s.write(ctx, func(tx *tx) error {
		return consumedIfTaken(tx.mustExec(insertDeniedCode, codeArgs(denied)...))
	})
}
