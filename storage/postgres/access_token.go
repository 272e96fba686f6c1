package postgres

import (
	"context"
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
	return s.tokenLive(ctx, tokenLive+`
) AS held ON true`, jti, familyID, now)
}

// AdminTokenLive implements storage.AccessTokenStore.
func (s *Store) AdminTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	return s.tokenLive(ctx, tokenLive+`
		AND g.resource_id = '`+storage.AdminResourceID+`'
		AND EXISTS (SELECT 1 FROM user_groups ug WHERE ug.user_id = u.id AND ug.group_name = '`+storage.AdminGroup+`')
		AND EXISTS (SELECT 1 FROM clients c WHERE c.id = g.client_id AND c.admin_access AND NOT c.disabled)
) AS held ON true`, jti, familyID, now)
}

// tokenLive is the beginning of both, up to what the family must be.
const tokenLive = `
SELECT NOT EXISTS (SELECT 1 FROM revoked_access_tokens WHERE jti = $1)
	AND ($2::text = '' OR held.scopes IS NOT NULL), held.scopes, held.groups, coalesce(held.username, ''), coalesce(held.name, ''), coalesce(held.email, ''), coalesce(held.email_verified, false)
FROM (VALUES (1)) AS one (n)
LEFT JOIN (
	SELECT g.scopes, ARRAY(SELECT group_name FROM user_groups WHERE user_id = f.user_id ORDER BY group_name) AS groups,
		u.username, u.name, u.email, u.email_verified
	FROM families f
	JOIN grants g ON g.id = f.grant_id
	JOIN users u ON u.id = f.user_id
	WHERE f.id = $2 AND f.expires_at > $3 AND f.rotated_at > $4 AND NOT u.disabled
		AND (u.verified_until IS NULL OR u.verified_until > $3)`

func (s *Store) tokenLive(ctx context.Context, sql, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	err = s.row(ctx, "look up an access token", sql, []any{jti, familyID, now, now.Add(-storage.FamilyIdle)},
		&live, &standing.Scopes, &standing.Groups, &standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified)
	return live, standing, err
}
