package sqlite

import (
	"context"
	"database/sql"
	"time"

	"grantd/storage"
)

const insertRevokedAccessToken = `INSERT INTO revoked_access_tokens (jti, expires_at) VALUES (?, ?)
	ON CONFLICT (jti) DO NOTHING`

// RevokeAccessToken implements storage.AccessTokenStore. Repeating it records
// nothing: whoever holds the token could fill the audit log.
func (s *Store) RevokeAccessToken(ctx context.Context, jti string, expiresAt time.Time, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(insertRevokedAccessToken, jti, micros(expiresAt))
		if err != nil || n == 0 {
			return err
		}
		return tx.record(event)
	})
}

const selectAccessTokenLive = tokenLive + ` AND ` + liveFamily + `) AS held`

const selectAdminTokenLive = tokenLive + ` AND g.resource_id = '` + storage.AdminResourceID + `'
			AND EXISTS (SELECT 1 FROM user_groups ug WHERE ug.user_id = u.id AND ug.group_name = '` + storage.AdminGroup + `')
			AND EXISTS (SELECT 1 FROM clients c WHERE c.id = g.client_id AND c.admin_access AND NOT c.disabled)
			AND ` + liveFamily + `) AS held`

// tokenLive is the beginning of both, up to what the family must be.
const tokenLive = `SELECT
	NOT EXISTS (SELECT 1 FROM revoked_access_tokens WHERE jti = @jti)
	AND (@family = '' OR held.scopes IS NOT NULL), held.scopes, held.groups, coalesce(held.username, ''), coalesce(held.name, ''), coalesce(held.email, ''),
	coalesce(held.email_verified, 0)
	FROM (VALUES (1))
	LEFT JOIN (
		SELECT g.scopes, (SELECT json_group_array(group_name ORDER BY group_name) FROM user_groups WHERE user_id = f.user_id) AS groups,
			u.username, u.name, u.email, u.email_verified
		FROM families f
		JOIN grants g ON g.id = f.grant_id
		JOIN users u ON u.id = g.user_id
		WHERE f.id = @family AND NOT u.disabled AND (u.verified_until IS NULL OR u.verified_until > @now)`

// AccessTokenLive implements storage.AccessTokenStore.
func (s *Store) AccessTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	return s.tokenLive(ctx, selectAccessTokenLive, jti, familyID, now)
}

// AccessTokenScopes implements storage.AccessTokenStore.
func (s *Store) AccessTokenScopes(ctx context.Context, jti, familyID string, now time.Time) (live bool, scopes []string, err error) {
	live, standing, err := s.AccessTokenLive(ctx, jti, familyID, now)
	return live, standing.Scopes, err
}

// AdminTokenLive implements storage.AccessTokenStore.
func (s *Store) AdminTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	return s.tokenLive(ctx, selectAdminTokenLive, jti, familyID, now)
}

func (s *Store) tokenLive(ctx context.Context, query, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	err = s.readRow(ctx, query, []any{
		sql.Named("jti", jti),
		sql.Named("family", familyID),
		sql.Named("now", micros(now)),
		sql.Named("family_idle", storage.FamilyIdle.Microseconds()),
	}, append([]any{&live}, intoStanding(&standing)...)...)
	return live, standing, err
}
