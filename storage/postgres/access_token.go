package postgres

import (
	"context"
	"errors"
	"time"

	"grantd/storage"
)

// RevokeAccessToken implements storage.AccessTokenStore.
func (s *Store) RevokeAccessToken(ctx context.Context, jti string, expiresAt time.Time, event storage.AuditEvent) error {
	const sql = `
WITH revoked AS (
	INSERT INTO revoked_access_tokens (jti, expires_at) VALUES ($7, $8)
	ON CONFLICT (jti) DO NOTHING
	RETURNING jti
)` + recordEvent + `revoked`
	_, err := s.exec(ctx, "revoke an access token", sql, withEvent(event, jti, expiresAt)...)
	return err
}

// AccessTokenLive implements storage.AccessTokenStore. A family's user is its
// Grant's.
func (s *Store) AccessTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	if familyID == "" {
		const sql = `SELECT NOT EXISTS (SELECT 1 FROM revoked_access_tokens WHERE jti = $1)`
		err = s.row(ctx, lookUpToken, sql, []any{jti}, &live)
		return live, standing, err
	}
	return s.tokenLive(ctx, tokenLive, jti, familyID, now)
}

// AdminTokenLive implements storage.AccessTokenStore.
func (s *Store) AdminTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	return s.tokenLive(ctx, tokenLive+`
	AND g.resource_id = '`+storage.AdminResourceID+`'
	AND EXISTS (SELECT 1 FROM user_groups ug WHERE ug.user_id = u.id AND ug.group_name = '`+storage.AdminGroup+`')
	AND EXISTS (SELECT 1 FROM clients c WHERE c.id = g.client_id AND c.admin_access AND NOT c.disabled)`, jti, familyID, now)
}

const (
	lookUpToken = "look up an access token"

	// tokenLive has no row where the family is gone or has ended.
	tokenLive = `
SELECT NOT EXISTS (SELECT 1 FROM revoked_access_tokens WHERE jti = $1), g.scopes,
	ARRAY(SELECT group_name FROM user_groups WHERE user_id = f.user_id ORDER BY group_name), u.username, u.name, u.email, u.email_verified
FROM families f
JOIN grants g ON g.id = f.grant_id
JOIN users u ON u.id = f.user_id
WHERE f.id = $2 AND f.expires_at > $3 AND f.rotated_at > $4 AND NOT u.disabled
	AND (u.verified_until IS NULL OR u.verified_until > $3)`
)

func (s *Store) tokenLive(ctx context.Context, sql, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	err = s.row(ctx, lookUpToken, sql, []any{jti, familyID, now, now.Add(-storage.FamilyIdle)},
		&live, &standing.Scopes, &standing.Groups, &standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified)
	if errors.Is(err, storage.ErrNotFound) {
		return false, storage.Standing{}, nil
	}
	return live, standing, err
}
