package postgres

import (
	"context"

	"grantd/storage"
)

// CreatePushedRequest implements storage.PushedRequestStore. Those who count at
// one moment do not see each other: to keep them apart would take a lock that all
// of a client's requests wait for.
func (s *Store) CreatePushedRequest(ctx context.Context, p *storage.PushedRequest, maxKept int) error {
	const sql = `
INSERT INTO pushed_requests (id, client_id, query, created_at, expires_at)
SELECT $1::text, $2::text, $3::text, $4::timestamptz, $5::timestamptz
WHERE (
	SELECT count(*) FROM (SELECT 1 FROM pushed_requests WHERE client_id = $2 AND expires_at > $6 LIMIT $7) AS kept
) < $7`
	return s.act(ctx, "create a pushed request", storage.ErrFull, sql, p.ID, p.ClientID, p.Query, p.CreatedAt, p.ExpiresAt,
		p.CreatedAt.Add(-storage.PushedRequestGrace), maxKept)
}

// PushedRequest implements storage.PushedRequestStore.
func (s *Store) PushedRequest(ctx context.Context, id string) (*storage.PushedRequest, error) {
	const sql = `
SELECT id, client_id, query, created_at, expires_at, EXISTS (SELECT 1 FROM authorization_codes WHERE id = $2)
FROM pushed_requests WHERE id = $1`
	p := storage.PushedRequest{ID: id}
	err := s.row(ctx, "read a pushed request", sql, []any{id, p.CodeID()},
		&p.ID, &p.ClientID, &p.Query, &p.CreatedAt, &p.ExpiresAt, &p.Decided)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// DenyPushedRequest implements storage.PushedRequestStore.
func (s *Store) DenyPushedRequest(ctx context.Context, denied *storage.AuthorizationCode) error {
	const sql = `
INSERT INTO authorization_codes (id, user_id, client_id, resource_id, scopes, redirect_uri, code_challenge,
	created_at, expires_at, failed_proofs)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)`
	_, err := s.exec(ctx, "deny a pushed request", sql, denied.ID, denied.UserID, denied.ClientID, denied.ResourceID,
		list(denied.Scopes), denied.RedirectURI, denied.CodeChallenge, denied.CreatedAt, denied.ExpiresAt)
	return err
}
