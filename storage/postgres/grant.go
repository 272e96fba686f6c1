package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

// What every approval is made of, in parameters 7 to 19. live locks what it relies
// on and has no row when any of it is gone or disabled; held does the same for the
// Resource's scopes. Of the two and of what is approved an INSERT into grants
// selects its row; what stands there already is merged with it.
const (
	approving = `
WITH live AS (
	SELECT u.id AS user_id, c.id AS client_id, r.id AS resource_id, s.amr, s.authenticated_at
	FROM users u
	JOIN sessions s ON s.user_id = u.id
	CROSS JOIN clients c
	CROSS JOIN resources r
	WHERE ` + approver + ` AND c.id = $8 AND NOT c.disabled AND r.id = $9
	FOR SHARE OF u, c, r FOR KEY SHARE OF s
), held AS (
	SELECT scopes.name
	FROM live
	JOIN scopes ON scopes.resource_id IN (live.resource_id, '` + storage.IdentityResourceID + `')
	WHERE scopes.name = ANY ($13)
	FOR KEY SHARE OF scopes
)`
	approver = `u.id = $7 AND u.version = $19 AND NOT u.disabled AND (u.verified_until IS NULL OR u.verified_until > $17)
		AND s.id = $10 AND s.last_seen_at > $11 AND s.created_at > $12`
	allHeld     = `(SELECT count(*) FROM held) = cardinality($13)`
	insertGrant = grantValues + `false FROM live`
	// grantValues lacks whether it is in advance.
	grantValues = `
	INSERT INTO grants (id, user_id, client_id, resource_id, scopes, redirect_uri, client_name, created_at, updated_at, in_advance)
	SELECT $14::text, live.user_id, live.client_id, live.resource_id, $13::text[], $15::text, $16::text, $17::timestamptz, $17::timestamptz, `
	mergeGrant = `
	ON CONFLICT (user_id, client_id, resource_id) DO UPDATE SET
		scopes = CASE WHEN grants.scopes = EXCLUDED.scopes THEN grants.scopes ELSE ARRAY(
			SELECT name COLLATE "C" FROM (
				SELECT unnest(grants.scopes) EXCEPT SELECT unnest($18::text[]) UNION SELECT unnest(EXCLUDED.scopes)
			) AS decided (name) ORDER BY 1) END,
		redirect_uri = EXCLUDED.redirect_uri,
		client_name = EXCLUDED.client_name,
		in_advance = EXCLUDED.in_advance,
		updated_at = EXCLUDED.updated_at`
)

// approve is what an approval of a page writes, approveInAdvance what one without a
// page does. The code is inserted plainly: when its id was used before, the whole
// statement fails and the Grant stays as it was.
const (
	approve          = `, granted AS (` + insertGrant + approved
	approveInAdvance = `, granted AS (` + grantValues + `true FROM live` + approved
	approved         = `
	WHERE ` + allHeld + mergeGrant + `
	RETURNING id, user_id, client_id, resource_id
), coded AS (
	INSERT INTO authorization_codes (id, grant_id, user_id, client_id, resource_id, scopes, redirect_uri,
		code_challenge, created_at, expires_at, failed_proofs, nonce, session_id, amr, authenticated_at)
	SELECT $20::text, granted.id, granted.user_id, granted.client_id, granted.resource_id, $21::text[], $15::text,
		$22::text, $17::timestamptz, $23::timestamptz, 0, $24::text, $10::text, live.amr, live.authenticated_at
	FROM granted, live
	RETURNING grant_id
), recorded AS (` + recordEvent + `coded)
SELECT grant_id FROM coded`
)

// Approve implements storage.GrantStore.
func (s *Store) Approve(ctx context.Context, a *storage.Approval, event storage.AuditEvent) error {
	c := &a.Code
	decided := slices.Compact(slices.Sorted(slices.Values(c.Scopes)))
	args := withEvent(event, c.UserID, c.ClientID, c.ResourceID, a.SessionID,
		c.CreatedAt.Add(-storage.SessionIdle), c.CreatedAt.Add(-storage.SessionLifetime),
		list(decided), storage.NewID(storage.PrefixGrant), c.RedirectURI, a.ClientName, c.CreatedAt, list(a.Shown),
		a.UserVersion, c.ID, list(c.Scopes), c.CodeChallenge, c.ExpiresAt, c.Nonce)
	switch {
	case a.InAdvance: // and so it is a client with a row
		return s.row(ctx, "approve in advance", approving+approveInAdvance, args, &c.GrantID)
	case a.Document == nil:
		return s.row(ctx, "approve", approving+approve, args, &c.GrantID)
	}
	args = append(args, documentArgs(a.Document)...)
	args = append(args, withEvent(a.DocumentEvent)...)
	err := s.row(ctx, "approve a document's client", approveDocument, args, &c.GrantID)
	if errors.Is(err, storage.ErrExists) {
		// The Client's first row has two unique keys and ON CONFLICT watches one of
		// them: whoever writes it at the same moment may be met at the other. By
		// now that row is there to be seen, unless another Client has the key.
		err = s.row(ctx, "approve a document's client", approveDocument, args, &c.GrantID)
	}
	return err
}

// Grant implements storage.GrantStore.
func (s *Store) Grant(ctx context.Context, id string) (*storage.Grant, error) {
	const sql = `
SELECT ` + grantColumns + ` FROM grants WHERE id = $1`
	return only(rows(ctx, s, "read a grant", each(scanGrant), sql, id))
}

// Grants implements storage.GrantStore. Only the conditions that are asked for
// are in the statement, so that each has its index.
func (s *Store) Grants(ctx context.Context, filter storage.GrantFilter, page storage.Page) ([]*storage.Grant, error) {
	const sql = `
SELECT ` + grantColumns + ` FROM grants WHERE id > $1 %s ORDER BY id LIMIT $2`
	args := []any{page.After, page.Limit}
	var conditions strings.Builder
	for _, by := range []struct{ column, id string }{
		{"user_id", filter.UserID}, {"client_id", filter.ClientID}, {"resource_id", filter.ResourceID},
	} {
		if by.id != "" {
			args = append(args, by.id)
			fmt.Fprintf(&conditions, "AND %s = $%d ", by.column, len(args))
		}
	}
	for _, by := range []struct {
		comparison string
		at         time.Time
	}{{">=", filter.Since}, {"<", filter.Until}} {
		if !by.at.IsZero() {
			args = append(args, by.at)
			fmt.Fprintf(&conditions, "AND updated_at %s $%d ", by.comparison, len(args))
		}
	}
	return rows(ctx, s, "list grants", each(scanGrant), fmt.Sprintf(sql, conditions.String()), args...)
}

// DeleteGrant implements storage.GrantStore. Foreign keys end the Families and
// take the Grant from its codes, which can then not be redeemed.
func (s *Store) DeleteGrant(ctx context.Context, id string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM grants WHERE id = $7 RETURNING id, user_id, client_id, resource_id
), recorded AS (
	INSERT INTO audit_events (id, at, actor, action, target, detail)
	SELECT $1::text, $2::timestamptz, $3::text, $4::text, $5::text,
		$6::jsonb || jsonb_build_object('user_id', user_id, 'client_id', client_id, 'resource_id', resource_id)
	FROM gone)
SELECT id FROM gone`
	return s.act(ctx, "delete a grant", storage.ErrNotFound, sql, withEvent(event, id)...)
}

const grantColumns = `id, user_id, client_id, resource_id, scopes, redirect_uri, client_name, in_advance, created_at, updated_at`

func scanGrant(row pgx.CollectableRow) (*storage.Grant, error) {
	var g storage.Grant
	err := row.Scan(&g.ID, &g.UserID, &g.ClientID, &g.ResourceID, &g.Scopes, &g.RedirectURI, &g.ClientName, &g.InAdvance,
		&g.CreatedAt, &g.UpdatedAt)
	return &g, err
}
