package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// Family implements storage.FamilyStore.
func (s *Store) Family(ctx context.Context, id string) (*storage.Family, []string, error) {
	const sql = `
SELECT f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
	f.rotated_at, f.created_at, f.expires_at, u.verified_until, g.scopes
FROM families f
JOIN grants g ON g.id = f.grant_id
JOIN users u ON u.id = f.user_id
WHERE f.id = $1 AND NOT u.disabled`
	var (
		f           storage.Family
		grantScopes []string
	)
	err := s.row(ctx, "read a family", sql, []any{id},
		&f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.ResourceID, &f.Scopes, &f.Generation, &f.RotationRequest,
		&f.RotatedAt, &f.CreatedAt, &f.ExpiresAt, (*zeronull.Timestamptz)(&f.VerifiedUntil), &grantScopes)
	if err != nil {
		return nil, nil, err
	}
	return &f, grantScopes, nil
}

// RotateFamily implements storage.FamilyStore. The row is locked whatever it
// holds, so each of many racing calls judges it as the one before left it; one
// that may not rotate rewrites it as it was. What comes back is whether the row
// now answers the call: it stands at the successor, for this request, recently.
func (s *Store) RotateFamily(ctx context.Context, r storage.Rotation) error {
	const (
		doing = "rotate a family"
		sql   = `
UPDATE families SET
	generation       = CASE WHEN generation <= $2 THEN $2 + 1 ELSE generation END,
	rotation_request = CASE WHEN generation <= $2 THEN $3 ELSE rotation_request END,
	rotated_at       = CASE WHEN generation <= $2 THEN $4 ELSE rotated_at END
WHERE id = $1 AND expires_at > $4 AND rotated_at > $5
RETURNING generation = $2 + 1 AND rotation_request = $3 AND rotated_at > $6`
	)
	var answers bool
	err := s.row(ctx, doing, sql,
		[]any{
			r.FamilyID, r.Presented, octets(r.Request), r.Now,
			r.Now.Add(-storage.FamilyIdle), r.Now.Add(-storage.RefreshGrace),
		}, &answers)
	if err == nil && !answers {
		return fmt.Errorf("%s: %w", doing, storage.ErrConsumed)
	}
	return err
}

// RenewFamily implements storage.FamilyStore. The UPDATE judges the row as it is
// when it has locked it, so of several racing calls one renews; the others may
// return the row as it was before.
func (s *Store) RenewFamily(ctx context.Context, r storage.Renewal) (*storage.Family, []string, bool, error) {
	const sql = `
WITH seen AS (
	SELECT f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
		f.rotated_at, f.created_at, f.expires_at, u.verified_until, g.scopes AS grant_scopes
	FROM families f
	JOIN grants g ON g.id = f.grant_id
	JOIN users u ON u.id = f.user_id
	WHERE f.id = $1 AND NOT u.disabled
), renewed AS (
	UPDATE families f SET generation = $2 + 1, rotation_request = $3, rotated_at = $4
	FROM seen
	WHERE f.id = $1 AND f.generation = $2 AND f.expires_at > $4 AND f.rotated_at > $5
		AND f.client_id = $6 AND f.resource_id = $7 AND f.scopes @> $8 AND f.scopes && $9 AND seen.grant_scopes @> f.scopes
		AND (seen.verified_until IS NULL OR seen.verified_until > $4)
	RETURNING f.scopes
)
SELECT id, grant_id, user_id, client_id, resource_id, coalesce(renewed.scopes, seen.scopes), generation, rotation_request,
	rotated_at, created_at, expires_at, verified_until, grant_scopes, renewed.scopes IS NOT NULL
FROM seen LEFT JOIN renewed ON true`
	var (
		f           storage.Family
		grantScopes []string
		renewed     bool
	)
	err := s.row(ctx, "renew a family", sql,
		[]any{
			r.FamilyID, r.Presented, octets(r.Request), r.Now, r.Now.Add(-storage.FamilyIdle),
			r.ClientID, r.ResourceID, list(r.Asked), list(r.Allowed),
		},
		&f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.ResourceID, &f.Scopes, &f.Generation, &f.RotationRequest,
		&f.RotatedAt, &f.CreatedAt, &f.ExpiresAt, (*zeronull.Timestamptz)(&f.VerifiedUntil), &grantScopes, &renewed)
	if err != nil {
		return nil, nil, false, err
	}
	if renewed {
		f.Generation, f.RotationRequest, f.RotatedAt = r.Presented+1, octets(r.Request), r.Now
	}
	return &f, grantScopes, renewed, nil
}

// EndFamily implements storage.FamilyStore.
func (s *Store) EndFamily(ctx context.Context, id string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM families WHERE id = $7 RETURNING id
), recorded AS (` + recordEvent + `gone)
SELECT id FROM gone`
	return s.act(ctx, "end a family", storage.ErrNotFound, sql, withEvent(event, id)...)
}
