package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// CreateSession implements storage.SessionStore.
func (s *Store) CreateSession(ctx context.Context, session *storage.Session, event storage.AuditEvent) error {
	const sql = `
WITH live AS (
	SELECT id FROM users WHERE id = $9 AND NOT disabled AND (verified_until IS NULL OR verified_until > $11)
		AND ($15 = '' OR password_hash = $15) FOR SHARE
), created AS (
	INSERT INTO sessions (id, token_hash, user_id, authenticated_at, created_at, last_seen_at, user_agent, address, amr)
	SELECT $7::text, $8::bytea, id, $10::timestamptz, $11::timestamptz, $12::timestamptz, $13::text, $14::text, $16::text[] FROM live
	RETURNING id
), recorded AS (` + recordEvent + `created)
SELECT id FROM created`
	return s.act(ctx, "create a session", storage.ErrNotFound, sql,
		withEvent(event, session.ID, octets(session.TokenHash), session.UserID, session.AuthenticatedAt,
			session.CreatedAt, session.LastSeenAt, session.UserAgent, session.Address, session.PasswordHash, list(session.AMR))...)
}

// What a look at a sign-in is made of. Each table and index that is named costs, also
// where it is not read, so there is a text for each Look.
const (
	look = `
SELECT s.id, s.authenticated_at, s.created_at, s.last_seen_at, s.user_agent, s.address, s.amr,
	u.id, u.username, u.version, u.email, u.name, u.verified_until, u.created_at, u.updated_at,
	g.id, g.scopes, g.redirect_uri, g.client_name, coalesce(g.in_advance, false), g.created_at, g.updated_at, `
	lookKnown  = `g.id IS NOT NULL OR EXISTS (SELECT FROM grants WHERE client_id = $2), `
	lookNot    = `false, `
	lookGroups = `ARRAY(SELECT group_name FROM user_groups WHERE user_id = u.id ORDER BY group_name)`
	lookNone   = `NULL::text[]`
	lookFrom   = `
FROM sessions s
JOIN users u ON u.id = s.user_id
LEFT JOIN grants g ON g.user_id = u.id AND g.client_id = $2 AND g.resource_id = $3
WHERE s.token_hash = $1 AND s.last_seen_at > $5 AND s.created_at > $6
	AND NOT u.disabled AND (u.verified_until IS NULL OR u.verified_until > $4)`
)

func lookFor(l storage.Look) string {
	switch {
	case l.Groups && l.ClientKnown:
		return look + lookKnown + lookGroups + lookFrom
	case l.Groups:
		return look + lookNot + lookGroups + lookFrom
	case l.ClientKnown:
		return look + lookKnown + lookNone + lookFrom
	}
	return look + lookNot + lookNone + lookFrom
}

// SignIn implements storage.SessionStore. That somebody was seen is written down every
// few minutes: as a part of the look it would be prepared for each time, which costs as
// much as a table more.
func (s *Store) SignIn(ctx context.Context, tokenHash []byte, l storage.Look, now time.Time) (*storage.SignIn, error) {
	const touch = `UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at <= $3`
	var (
		in    storage.SignIn
		grant storage.Grant
	)
	err := s.row(ctx, "look up a sign-in", lookFor(l),
		[]any{octets(tokenHash), l.ClientID, l.ResourceID, now, now.Add(-storage.SessionIdle), now.Add(-storage.SessionLifetime)},
		&in.Session.ID, &in.Session.AuthenticatedAt, &in.Session.CreatedAt,
		&in.Session.LastSeenAt, &in.Session.UserAgent, &in.Session.Address, &in.Session.AMR,
		&in.User.ID, &in.User.Username, &in.User.Version, &in.User.Email, &in.User.Name,
		(*zeronull.Timestamptz)(&in.User.VerifiedUntil), &in.User.CreatedAt, &in.User.UpdatedAt,
		(*zeronull.Text)(&grant.ID), &grant.Scopes, (*zeronull.Text)(&grant.RedirectURI), (*zeronull.Text)(&grant.ClientName), &grant.InAdvance,
		(*zeronull.Timestamptz)(&grant.CreatedAt), (*zeronull.Timestamptz)(&grant.UpdatedAt), &in.ClientKnown, &in.User.Groups)
	if err != nil {
		return nil, err
	}
	in.Look, in.Session.TokenHash, in.Session.UserID = l, octets(tokenHash), in.User.ID
	if grant.ID != "" {
		grant.UserID, grant.ClientID, grant.ResourceID = in.User.ID, l.ClientID, l.ResourceID
		in.Grant = &grant
	}
	if due := now.Add(-storage.SessionTouch); !in.Session.LastSeenAt.After(due) {
		if _, err := s.exec(ctx, "write down that somebody was seen", touch, in.Session.ID, now, due); err != nil {
			return nil, err
		}
		in.Session.LastSeenAt = now
	}
	return &in, nil
}

// UserSessions implements storage.SessionStore.
func (s *Store) UserSessions(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Session, error) {
	const sql = `
SELECT id, user_id, authenticated_at, created_at, last_seen_at, user_agent, address, amr
FROM sessions
WHERE user_id = $1 AND id > $2 AND last_seen_at > $4 AND created_at > $5 ORDER BY id LIMIT $3`
	return rows(ctx, s, "list a user's sessions", each(scanSession), sql, userID, page.After, page.Limit,
		now.Add(-storage.SessionIdle), now.Add(-storage.SessionLifetime))
}

func scanSession(row pgx.CollectableRow) (*storage.Session, error) {
	var s storage.Session
	err := row.Scan(&s.ID, &s.UserID, &s.AuthenticatedAt, &s.CreatedAt, &s.LastSeenAt, &s.UserAgent, &s.Address, &s.AMR)
	return &s, err
}

// DeleteSession implements storage.SessionStore.
func (s *Store) DeleteSession(ctx context.Context, id string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM sessions WHERE id = $7 RETURNING id
), recorded AS (` + recordEvent + `gone)
SELECT id FROM gone`
	return s.act(ctx, "delete a session", storage.ErrNotFound, sql, withEvent(event, id)...)
}
