package sqlite

import (
	"context"
	"database/sql"
	"time"

	"grantd/storage"
)

const insertSession = `INSERT INTO sessions (id, token_hash, user_id, authenticated_at, created_at, last_seen_at, user_agent, address, amr)
	SELECT ?, ?, id, ?, ?4, ?, ?, ?, ? FROM users WHERE id = ? AND NOT disabled AND (verified_until IS NULL OR verified_until > ?4)
		AND (? = '' OR password_hash = ?)`

// CreateSession implements storage.SessionStore.
func (s *Store) CreateSession(ctx context.Context, session *storage.Session, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		err := tx.mustExec(insertSession, session.ID, session.TokenHash, micros(session.AuthenticatedAt),
			micros(session.CreatedAt), micros(session.LastSeenAt), session.UserAgent, session.Address, list(session.AMR),
			session.UserID, session.PasswordHash, session.PasswordHash)
		if err != nil {
			return err
		}
		return tx.record(event)
	})
}

// liveSession is the condition on a session s that it has not ended by @now.
const liveSession = `s.created_at > @now - @session_lifetime AND s.last_seen_at > @now - @session_idle`

const selectSignIn = `SELECT
	s.id, s.token_hash, s.user_id, s.authenticated_at, s.created_at, s.last_seen_at, s.user_agent, s.address, s.amr,
	u.id, u.username, u.version, u.email, u.name, u.disabled, u.verified_until, u.created_at, u.updated_at,
	CASE WHEN @groups THEN (SELECT json_group_array(group_name ORDER BY group_name) FROM user_groups WHERE user_id = u.id) ELSE '[]' END,
	g.id, g.user_id, g.client_id, g.resource_id, g.scopes, g.redirect_uri, g.client_name, coalesce(g.in_advance, 0), g.created_at, g.updated_at,
	@known AND EXISTS (SELECT 1 FROM grants WHERE client_id = @client)
	FROM sessions s
	JOIN users u ON u.id = s.user_id
	LEFT JOIN grants g ON g.user_id = s.user_id AND g.client_id = @client AND g.resource_id = @resource
	WHERE s.token_hash = @token_hash AND NOT u.disabled AND (u.verified_until IS NULL OR u.verified_until > @now) AND ` + liveSession

const touchSession = `UPDATE sessions SET last_seen_at = @now WHERE id = @id AND last_seen_at <= @now - @touch`

// SignIn implements storage.SessionStore. It writes only when being seen is due.
func (s *Store) SignIn(ctx context.Context, tokenHash []byte, look storage.Look, now time.Time) (*storage.SignIn, error) {
	signIn, err := readOne(ctx, s, selectSignIn, append(sessionArgs(now),
		sql.Named("token_hash", tokenHash),
		sql.Named("client", look.ClientID),
		sql.Named("resource", look.ResourceID),
		sql.Named("groups", look.Groups),
		sql.Named("known", look.ClientKnown),
	), scanSignIn)
	if err != nil {
		return nil, err
	}
	signIn.Look = look
	if now.Sub(signIn.Session.LastSeenAt) < storage.SessionTouch {
		return signIn, nil
	}
	// Meanwhile another request may have done it, or the session may have ended:
	// then this one came just before.
	err = s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(touchSession,
			sql.Named("now", micros(now)),
			sql.Named("id", signIn.Session.ID),
			sql.Named("touch", storage.SessionTouch.Microseconds()))
		return err
	})
	if err != nil {
		return nil, err
	}
	signIn.Session.LastSeenAt = time.UnixMicro(micros(now)).UTC()
	return signIn, nil
}

const selectUserSessions = `SELECT s.id, s.user_id, s.authenticated_at, s.created_at, s.last_seen_at, s.user_agent, s.address, s.amr
	FROM sessions s WHERE s.user_id = @user AND s.id > @after AND ` + liveSession + ` ORDER BY s.id LIMIT @limit`

// UserSessions implements storage.SessionStore.
func (s *Store) UserSessions(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Session, error) {
	args := append(sessionArgs(now), sql.Named("user", userID), sql.Named("after", page.After), sql.Named("limit", page.Limit))
	return readRows(ctx, s, selectUserSessions, args, scanSession)
}

func scanSession(row scanner) (*storage.Session, error) {
	var s storage.Session
	err := row.Scan(&s.ID, &s.UserID, intoTime{&s.AuthenticatedAt}, intoTime{&s.CreatedAt}, intoTime{&s.LastSeenAt}, &s.UserAgent, &s.Address, intoList{&s.AMR})
	return &s, err
}

const deleteSession = `DELETE FROM sessions WHERE id = ?`

// DeleteSession implements storage.SessionStore.
func (s *Store) DeleteSession(ctx context.Context, id string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(deleteSession, id); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// sessionArgs returns the values of liveSession.
func sessionArgs(now time.Time) []any {
	return []any{
		sql.Named("now", micros(now)),
		sql.Named("session_lifetime", storage.SessionLifetime.Microseconds()),
		sql.Named("session_idle", storage.SessionIdle.Microseconds()),
	}
}

func scanSignIn(row scanner) (*storage.SignIn, error) {
	var (
		in storage.SignIn
		g  storage.Grant
	)
	err := row.Scan(
		&in.Session.ID, intoBlob{&in.Session.TokenHash}, &in.Session.UserID,
		intoTime{&in.Session.AuthenticatedAt}, intoTime{&in.Session.CreatedAt}, intoTime{&in.Session.LastSeenAt},
		&in.Session.UserAgent, &in.Session.Address, intoList{&in.Session.AMR},
		&in.User.ID, &in.User.Username, &in.User.Version, &in.User.Email, &in.User.Name, &in.User.Disabled,
		intoTime{&in.User.VerifiedUntil}, intoTime{&in.User.CreatedAt}, intoTime{&in.User.UpdatedAt}, intoList{&in.User.Groups},
		intoText{&g.ID}, intoText{&g.UserID}, intoText{&g.ClientID}, intoText{&g.ResourceID}, intoList{&g.Scopes},
		intoText{&g.RedirectURI}, intoText{&g.ClientName}, &g.InAdvance, intoTime{&g.CreatedAt}, intoTime{&g.UpdatedAt}, &in.ClientKnown,
	)
	if err != nil {
		return nil, err
	}
	if g.ID != "" {
		in.Grant = &g
	}
	return &in, nil
}
