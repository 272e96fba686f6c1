package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// lockFirstAdmin makes those who make the first administrator, or a link for that,
// take turns: there is no row yet that they could lock. The number is only
// required to differ from those of other locks.
const lockFirstAdmin = `SELECT pg_advisory_xact_lock(7321640985518230466)`

// CreateUserLink implements storage.UserLinkStore.
func (s *Store) CreateUserLink(ctx context.Context, l *storage.UserLink, event storage.AuditEvent) error {
	const (
		lockUser = `SELECT id FROM users WHERE id = $1 AND NOT disabled FOR NO KEY UPDATE`
		vouched  = `SELECT EXISTS (SELECT 1 FROM user_identities WHERE user_id = $1)`
		replace  = `DELETE FROM user_links WHERE user_id IS NOT DISTINCT FROM $1`
		insert   = `
INSERT INTO user_links (id, token_hash, purpose, user_id, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)`
	)
	userID := zeronull.Text(l.UserID)
	return s.tx(ctx, "create a user link", func(ctx context.Context, tx pgx.Tx) error {
		if l.UserID == "" {
			if err := becomeFirst(ctx, tx, storage.ErrNotFound); err != nil {
				return err
			}
		} else if err := tx.QueryRow(ctx, lockUser, l.UserID).Scan(new(string)); err != nil {
			return err
		}
		var provider bool
		if err := tx.QueryRow(ctx, vouched, l.UserID).Scan(&provider); err != nil {
			return err
		} else if provider {
			return storage.ErrConflict
		}
		if _, err := tx.Exec(ctx, replace, userID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insert, l.ID, octets(l.TokenHash), l.Purpose, userID, l.CreatedAt, l.ExpiresAt); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// becomeFirst waits for its turn and fails with the sentinel if there is a user.
func becomeFirst(ctx context.Context, tx pgx.Tx, sentinel error) error {
	const anybody = `SELECT EXISTS (SELECT 1 FROM users)`
	if _, err := tx.Exec(ctx, lockFirstAdmin); err != nil {
		return err
	}
	var found bool
	if err := tx.QueryRow(ctx, anybody).Scan(&found); err != nil {
		return err
	}
	if found {
		return sentinel
	}
	return nil
}

// UserLink implements storage.UserLinkStore.
func (s *Store) UserLink(ctx context.Context, tokenHash []byte, now time.Time) (*storage.UserLink, *storage.User, error) {
	const sql = `
SELECT l.id, l.token_hash, l.purpose, l.user_id, l.created_at, l.expires_at
FROM user_links l
LEFT JOIN users u ON u.id = l.user_id
WHERE l.token_hash = $1 AND l.expires_at > $2
	AND CASE WHEN l.user_id IS NULL THEN NOT EXISTS (SELECT 1 FROM users) ELSE NOT u.disabled END`
	var l storage.UserLink
	err := s.row(ctx, "read a user link", sql, []any{octets(tokenHash), now},
		&l.ID, &l.TokenHash, &l.Purpose, (*zeronull.Text)(&l.UserID), &l.CreatedAt, &l.ExpiresAt)
	if err != nil || l.UserID == "" {
		return &l, nil, err
	}
	u, err := s.User(ctx, l.UserID)
	return &l, u, err
}

// spendLink is the one statement that says who uses a link.
const spendLink = `DELETE FROM user_links WHERE token_hash = $1 AND expires_at > $2 AND user_id IS NOT DISTINCT FROM $3`

// UseUserLink implements storage.UserLinkStore.
func (s *Store) UseUserLink(ctx context.Context, use storage.UserLinkUse, event storage.AuditEvent) error {
	const (
		lock = `SELECT id FROM users WHERE id = $1 AND NOT disabled FOR NO KEY UPDATE`
		set  = `UPDATE users SET version = version + 1, password_hash = $2, verified_until = NULL, updated_at = $3 WHERE id = $1`
	)
	return s.tx(ctx, "use a user link", func(ctx context.Context, tx pgx.Tx) error {
		if err := mustSpend(tx.Exec(ctx, lock, use.UserID)); err != nil {
			return err
		}
		if err := mustSpend(tx.Exec(ctx, spendLink, octets(use.TokenHash), use.Now, use.UserID)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, set, use.UserID, use.PasswordHash, use.Now); err != nil {
			return err
		}
		if err := endAll(ctx, tx, use.UserID, endsOfPassword); err != nil {
			return err
		}
		if err := insertPasskeyOf(ctx, tx, use.UserID, use.Passkey); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// UseFirstAdminLink implements storage.UserLinkStore.
func (s *Store) UseFirstAdminLink(ctx context.Context, tokenHash []byte, u *storage.User, p *storage.Passkey, event storage.AuditEvent) error {
	return s.tx(ctx, "use the first administrator's link", func(ctx context.Context, tx pgx.Tx) error {
		if err := becomeFirst(ctx, tx, storage.ErrConsumed); err != nil {
			return err
		}
		if err := mustSpend(tx.Exec(ctx, spendLink, octets(tokenHash), u.CreatedAt, nil)); err != nil {
			return err
		}
		if err := insertUser(ctx, tx, u); err != nil {
			return err
		}
		if err := insertPasskeyOf(ctx, tx, u.ID, p); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// mustSpend is the error of a statement of a link that met a row, else ErrConsumed.
func mustSpend(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() == 0 {
		return storage.ErrConsumed
	}
	return err
}

// DeleteUserLink implements storage.UserLinkStore.
func (s *Store) DeleteUserLink(ctx context.Context, userID string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM user_links WHERE user_id = $7 RETURNING id
), recorded AS (` + recordEvent + `gone)
SELECT id FROM gone`
	return s.act(ctx, "delete a user link", storage.ErrNotFound, sql, withEvent(event, userID)...)
}
