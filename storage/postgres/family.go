package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// Family implements storage.FamilyStore.
func (s *Store) Family(ctx context.Context, id string) (*storage.Family, storage.Standing, error) {
	const sql = `
SELECT f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
	f.rotated_at, f.created_at, f.expires_at, u.verified_until, f.session_id, f.amr, f.authenticated_at, g.scopes,
	ARRAY(SELECT group_name FROM user_groups WHERE user_id = f.user_id ORDER BY group_name), u.username, u.name, u.email, u.email_verified
FROM families f
JOIN grants g ON g.id = f.grant_id
JOIN users u ON u.id = f.user_id
WHERE f.id = $1 AND NOT u.disabled`
	var (
		f        storage.Family
		standing storage.Standing
	)
	err := s.row(ctx, "read a family", sql, []any{id},
		&f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.ResourceID, &f.Scopes, &f.Generation, &f.RotationRequest,
		&f.RotatedAt, &f.CreatedAt, &f.ExpiresAt, (*zeronull.Timestamptz)(&f.VerifiedUntil), &f.SessionID, &f.AMR, (*zeronull.Timestamptz)(&f.AuthenticatedAt),
		&standing.Scopes, &standing.Groups, &standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified)
	if err != nil {
		return nil, storage.Standing{}, err
	}
	return &f, standing, nil
}

// UserFamilies implements storage.FamilyStore.
func (s *Store) UserFamilies(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Family, error) {
	const sql = `
SELECT f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
	f.rotated_at, f.created_at, f.expires_at, f.session_id, f.amr, f.authenticated_at, f.user_agent, f.address
FROM grants g
JOIN families f ON f.grant_id = g.id
WHERE g.user_id = $1 AND f.id > $2 AND f.expires_at > $4 AND f.rotated_at > $5 ORDER BY f.id LIMIT $3`
	return rows(ctx, s, "list a user's families", each(scanFamily), sql, userID, page.After, page.Limit, now, now.Add(-storage.FamilyIdle))
}

func scanFamily(row pgx.CollectableRow) (*storage.Family, error) {
	var f storage.Family
	err := row.Scan(&f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.ResourceID, &f.Scopes, &f.Generation, &f.RotationRequest,
		&f.RotatedAt, &f.CreatedAt, &f.ExpiresAt, &f.SessionID, &f.AMR, (*zeronull.Timestamptz)(&f.AuthenticatedAt), &f.UserAgent, &f.Address)
	return &f, err
}

// RotateFamily implements storage.FamilyStore. The row is locked whatever it
// holds, so each of many racing calls judges it as the one before left it; one
// that may not rotate rewrites it as it was. What comes back is whether the row
// now answers the call: it stands at the successor, for this request, recently.
func (s *Store) RotateFamily(ctx context.Context, r storage.Rotation) error {
	const (
		doing = "rotate a family"
		sql   = `
WITH seen AS (
	SELECT id, generation, rotation_request, rotated_at FROM families
	WHERE id = $7 AND expires_at > $10 AND rotated_at > $11
	FOR NO KEY UPDATE
), rotated AS (
	UPDATE families f SET
		generation       = CASE WHEN seen.generation <= $8 THEN $8 + 1 ELSE seen.generation END,
		rotation_request = CASE WHEN seen.generation <= $8 THEN $9 ELSE seen.rotation_request END,
		rotated_at       = CASE WHEN seen.generation <= $8 THEN $10 ELSE seen.rotated_at END
	FROM seen
	WHERE f.id = seen.id
	RETURNING f.generation = $8 + 1 AND f.rotation_request = $9 AND f.rotated_at > $12 AS answers, seen.generation < $8 AS was_behind
), recorded AS (` + recordEvent + `rotated WHERE was_behind AND $1 <> '')
SELECT answers FROM rotated`
	)
	var answers bool
	err := s.row(ctx, doing, sql, withEvent(r.Behind,
		r.FamilyID, r.Presented, octets(r.Request), r.Now,
		r.Now.Add(-storage.FamilyIdle), r.Now.Add(-storage.RefreshGrace),
	), &answers)
	if err == nil && !answers {
		return fmt.Errorf("%s: %w", doing, storage.ErrConsumed)
	}
	return err
}

// mayRenew is the condition on a family f, with what stands behind it in seen, that the
// refresh of parameters 4 to 8 may renew it, but for the scopes that are allowed.
const mayRenew = `f.id = $1 AND f.expires_at > $4 AND f.rotated_at > $5 AND f.client_id = $6 AND f.resource_id = $7
		AND f.scopes @> $8 AND (seen.verified_until IS NULL OR seen.verified_until > $4)`

const (
	// renewUsual is for a family that stands at the generation presented and whose Grant
	// still has all of its scopes, where no policy names a Group.
	renewUsual = `
UPDATE families f SET generation = $2 + 1, rotation_request = $3, rotated_at = $4
FROM (
	SELECT g.id, g.scopes AS grant_scopes, u.verified_until, u.username, u.name, u.email, u.email_verified
	FROM grants g
	JOIN users u ON u.id = g.user_id
	WHERE NOT u.disabled
) AS seen
WHERE seen.id = f.grant_id AND f.generation = $2 AND ` + mayRenew + `
	AND f.scopes && $9 AND seen.grant_scopes @> f.scopes
RETURNING f.grant_id, f.user_id, f.scopes, f.created_at, f.expires_at, seen.verified_until, f.session_id, f.amr, f.authenticated_at,
	seen.grant_scopes, seen.username, seen.name, seen.email, seen.email_verified`

	// renew is for every family, and returns it renewed or not. Parameters 12 to 17 are
	// the event of one that stood behind, when this was asked.
	renew = `
WITH seen AS (
	SELECT f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
		f.rotated_at, f.created_at, f.expires_at, u.verified_until, f.session_id, f.amr, f.authenticated_at, u.username, u.name, u.email, u.email_verified, g.scopes AS grant_scopes,
		ARRAY(SELECT group_name FROM user_groups WHERE user_id = f.user_id ORDER BY group_name) AS groups
	FROM families f
	JOIN grants g ON g.id = f.grant_id
	JOIN users u ON u.id = f.user_id
	WHERE f.id = $1 AND NOT u.disabled
), renewed AS (
	UPDATE families f SET generation = $2 + 1, rotation_request = $3, rotated_at = $4
	FROM seen
	WHERE f.generation <= $2 AND ` + mayRenew + `
		AND (EXISTS (
			SELECT FROM unnest(f.scopes) AS scope (name) WHERE name = ANY (seen.grant_scopes) AND name = ANY ($9)
		) OR EXISTS (
			SELECT FROM unnest($10::text[], $11::text[]) AS allowed (group_name, scope)
			WHERE group_name = ANY (seen.groups) AND scope = ANY (f.scopes) AND scope = ANY (seen.grant_scopes)
		))
	RETURNING f.scopes, seen.generation < $2 AS was_behind
), recorded AS (
	INSERT INTO audit_events (id, at, actor, action, target, detail)
	SELECT $12::text, $13::timestamptz, $14::text, $15::text, $16::text, $17::jsonb FROM renewed WHERE was_behind AND $12 <> ''
)
SELECT id, grant_id, user_id, client_id, resource_id, coalesce(renewed.scopes, seen.scopes), generation, rotation_request,
	rotated_at, created_at, expires_at, verified_until, session_id, amr, authenticated_at, grant_scopes, groups, username, name, email, email_verified,
	renewed.scopes IS NOT NULL
FROM seen LEFT JOIN renewed ON true`
)

// RenewFamily implements storage.FamilyStore. The UPDATE judges the row as it is
// when it has locked it, so of several racing calls one renews; the others may
// return the row as it was before. Nearly every refresh is the usual one, whose
// statement costs Postgres three quarters of the other's: what it does not renew is
// asked about again.
func (s *Store) RenewFamily(ctx context.Context, r storage.Renewal) (*storage.Family, storage.Standing, bool, error) {
	if len(r.AllowedTo) == 0 && !r.Guessed {
		f, standing, err := s.renewUsual(ctx, r)
		if !errors.Is(err, storage.ErrNotFound) {
			return f, standing, err == nil, err
		}
	}
	var (
		f        storage.Family
		standing storage.Standing
		renewed  bool
	)
	groups, scopes := memberships(r.AllowedTo)
	err := s.row(ctx, renewFamily, renew, append(append(renewalArgs(r), groups, scopes), withEvent(r.Behind)...),
		&f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.ResourceID, &f.Scopes, &f.Generation, &f.RotationRequest,
		&f.RotatedAt, &f.CreatedAt, &f.ExpiresAt, (*zeronull.Timestamptz)(&f.VerifiedUntil), &f.SessionID, &f.AMR, (*zeronull.Timestamptz)(&f.AuthenticatedAt),
		&standing.Scopes, &standing.Groups, &standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified, &renewed)
	if err != nil {
		return nil, storage.Standing{}, false, err
	}
	if renewed {
		f.Generation, f.RotationRequest, f.RotatedAt = r.Presented+1, octets(r.Request), r.Now
	}
	return &f, standing, renewed, nil
}

const renewFamily = "renew a family"

// renewUsual renews a family of whose User no Group matters. ErrNotFound: it did not,
// for whatever reason.
func (s *Store) renewUsual(ctx context.Context, r storage.Renewal) (*storage.Family, storage.Standing, error) {
	var (
		standing storage.Standing
		f        = storage.Family{
			ID: r.FamilyID, ClientID: r.ClientID, ResourceID: r.ResourceID,
			Generation: r.Presented + 1, RotationRequest: octets(r.Request), RotatedAt: r.Now,
		}
	)
	err := s.row(ctx, renewFamily, renewUsual, renewalArgs(r),
		&f.GrantID, &f.UserID, &f.Scopes, &f.CreatedAt, &f.ExpiresAt, (*zeronull.Timestamptz)(&f.VerifiedUntil), &f.SessionID, &f.AMR,
		(*zeronull.Timestamptz)(&f.AuthenticatedAt),
		&standing.Scopes, &standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified)
	if err != nil {
		return nil, storage.Standing{}, err
	}
	return &f, standing, nil
}

// renewalArgs returns the first nine parameters of either statement.
func renewalArgs(r storage.Renewal) []any {
	return []any{
		r.FamilyID, r.Presented, octets(r.Request), r.Now, r.Now.Add(-storage.FamilyIdle),
		r.ClientID, r.ResourceID, list(r.Asked), list(r.Allowed),
	}
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
