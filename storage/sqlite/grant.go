package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"grantd/storage"
)

// writeGrant inserts the Grant or merges the approval into it, if the session,
// user, client and resource are live and the resource has the scopes.
const writeGrant = `INSERT INTO grants
	(id, user_id, client_id, resource_id, scopes, redirect_uri, client_name, created_at, updated_at, in_advance)
	SELECT @id, u.id, c.id, r.id, @sorted, @redirect_uri, @client_name, @now, @now, @in_advance
	FROM sessions s
	JOIN users u ON u.id = s.user_id
	JOIN clients c ON c.id = @client
	JOIN resources r ON r.id = @resource
	WHERE s.id = @session AND ` + liveSession + `
	  AND u.id = @user AND u.version = @user_version AND NOT u.disabled AND (u.verified_until IS NULL OR u.verified_until > @now)
	  AND NOT c.disabled AND c.client_id = coalesce(@document, c.client_id)
	  AND NOT EXISTS (
		SELECT 1 FROM json_each(@sorted)
		WHERE value NOT IN (SELECT name FROM scopes WHERE scopes.resource_id IN (r.id, '` + storage.IdentityResourceID + `')))
	ON CONFLICT (user_id, client_id, resource_id) DO UPDATE SET
		scopes = (
			SELECT json_group_array(value ORDER BY value) FROM (
				SELECT value FROM json_each(grants.scopes) WHERE value NOT IN (SELECT value FROM json_each(@shown))
				UNION
				SELECT value FROM json_each(@sorted))),
		redirect_uri = excluded.redirect_uri,
		client_name = excluded.client_name,
		in_advance = excluded.in_advance,
		updated_at = excluded.updated_at
	RETURNING id`

// Approve implements storage.GrantStore. A code whose id is taken takes the
// Grant's change, and the Client's, back with it.
func (s *Store) Approve(ctx context.Context, a *storage.Approval, event storage.AuditEvent) error {
	sorted := slices.Compact(slices.Sorted(slices.Values(a.Code.Scopes)))
	code := a.Code
	err := s.write(ctx, func(tx *tx) error {
		var document any // whose Client it must be
		events := []storage.AuditEvent{event}
		if a.Document != nil {
			document = a.Document.ClientID
			n, err := tx.exec(writeDocument, documentArgs(a.Document, code.CreatedAt)...)
			if err != nil {
				return err
			}
			if n > 0 {
				events = append(events, a.DocumentEvent)
			}
		}
		err := tx.row(writeGrant, append(sessionArgs(code.CreatedAt),
			sql.Named("id", storage.NewID(storage.PrefixGrant)),
			sql.Named("session", a.SessionID),
			sql.Named("user", code.UserID),
			sql.Named("user_version", a.UserVersion),
			sql.Named("client", code.ClientID),
			sql.Named("resource", code.ResourceID),
			sql.Named("sorted", list(sorted)),
			sql.Named("shown", list(a.Shown)),
			sql.Named("redirect_uri", code.RedirectURI),
			sql.Named("client_name", a.ClientName),
			sql.Named("in_advance", a.InAdvance),
			sql.Named("document", document),
		), &code.GrantID)
		if err != nil {
			return err
		}
		if _, err := tx.exec(insertCode, append(codeArgs(&code), sql.Named("session", a.SessionID))...); err != nil {
			return consumedIfTaken(err)
		}
		return tx.record(events...)
	})
	if err == nil {
		a.Code.GrantID = code.GrantID
	}
	return err
}

const (
	selectGrant = `SELECT id, user_id, client_id, resource_id, scopes, redirect_uri, client_name, in_advance, created_at, updated_at
	FROM grants WHERE id `
	selectGrants    = selectGrant + `> ?`
	selectGrantByID = selectGrant + `= ?`
)

// Grant implements storage.GrantStore.
func (s *Store) Grant(ctx context.Context, id string) (*storage.Grant, error) {
	return readOne(ctx, s, selectGrantByID, []any{id}, scanGrant)
}

// Grants implements storage.GrantStore.
func (s *Store) Grants(ctx context.Context, filter storage.GrantFilter, page storage.Page) ([]*storage.Grant, error) {
	var query strings.Builder
	query.WriteString(selectGrants)
	args := []any{page.After}
	for _, condition := range []struct{ column, id string }{
		{"user_id", filter.UserID}, {"client_id", filter.ClientID}, {"resource_id", filter.ResourceID},
	} {
		if condition.id != "" {
			query.WriteString(" AND " + condition.column + " = ?")
			args = append(args, condition.id)
		}
	}
	if !filter.Since.IsZero() {
		query.WriteString(" AND updated_at >= ?")
		args = append(args, micros(filter.Since))
	}
	if !filter.Until.IsZero() {
		query.WriteString(" AND updated_at < ?")
		args = append(args, micros(filter.Until))
	}
	query.WriteString(" ORDER BY id LIMIT ?")
	return readRows(ctx, s, query.String(), append(args, page.Limit), scanGrant)
}

const deleteGrant = `DELETE FROM grants WHERE id = ? RETURNING user_id, client_id, resource_id`

// DeleteGrant implements storage.GrantStore. Foreign keys take the Families, and
// from the codes what they could be redeemed for.
func (s *Store) DeleteGrant(ctx context.Context, id string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		var g storage.Grant
		if err := tx.row(deleteGrant, []any{id}, &g.UserID, &g.ClientID, &g.ResourceID); err != nil {
			return err
		}
		return tx.record(g.Record(event))
	})
}

func scanGrant(row scanner) (*storage.Grant, error) {
	var g storage.Grant
	err := row.Scan(&g.ID, &g.UserID, &g.ClientID, &g.ResourceID, intoList{&g.Scopes}, &g.RedirectURI, &g.ClientName, &g.InAdvance,
		intoTime{&g.CreatedAt}, intoTime{&g.UpdatedAt})
	return &g, err
}
