package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"grantd/storage"
)

const (
	isVouched       = `SELECT EXISTS (SELECT 1 FROM user_identities WHERE user_id = ?)`
	replaceUserLink = `DELETE FROM user_links WHERE user_id IS @user`

	// No row when the user is gone or disabled, or there is a user and none was named.
	insertUserLink = `INSERT INTO user_links (id, token_hash, purpose, user_id, created_at, expires_at)
	SELECT @id, @token_hash, @purpose, @user, @created_at, @expires_at
	WHERE CASE WHEN @user IS NULL THEN NOT EXISTS (SELECT 1 FROM users)
		ELSE EXISTS (SELECT 1 FROM users WHERE id = @user AND NOT disabled) END`
)

// CreateUserLink implements storage.UserLinkStore.
func (s *Store) CreateUserLink(ctx context.Context, l *storage.UserLink, event storage.AuditEvent) error {
	user := sql.Named("user", textOrNull(l.UserID))
	return s.write(ctx, func(tx *tx) error {
		var provider bool
		if err := tx.row(isVouched, []any{l.UserID}, &provider); err != nil {
			return err
		} else if provider {
			return storage.ErrConflict
		}
		if _, err := tx.exec(replaceUserLink, user); err != nil {
			return err
		}
		err := tx.mustExec(insertUserLink, sql.Named("id", l.ID), sql.Named("token_hash", blob(l.TokenHash)), sql.Named("purpose", string(l.Purpose)),
			user, sql.Named("created_at", micros(l.CreatedAt)), sql.Named("expires_at", micros(l.ExpiresAt)))
		if err != nil {
			return err
		}
		return tx.record(event)
	})
}

const selectUserLink = `SELECT l.id, l.token_hash, l.purpose, l.user_id, l.created_at, l.expires_at
	FROM user_links l
	LEFT JOIN users u ON u.id = l.user_id
	WHERE l.token_hash = ? AND l.expires_at > ?
	AND CASE WHEN l.user_id IS NULL THEN NOT EXISTS (SELECT 1 FROM users) ELSE NOT u.disabled END`

// UserLink implements storage.UserLinkStore.
func (s *Store) UserLink(ctx context.Context, tokenHash []byte, now time.Time) (*storage.UserLink, *storage.User, error) {
	l, err := readOne(ctx, s, selectUserLink, []any{blob(tokenHash), micros(now)}, scanUserLink)
	if err != nil || l.UserID == "" {
		return l, nil, err
	}
	u, err := s.User(ctx, l.UserID)
	return l, u, err
}

const (
	// spendUserLink is the one statement that says who uses a link.
	spendUserLink = `DELETE FROM user_links WHERE token_hash = @token_hash AND expires_at > @now AND user_id IS @user
	AND CASE WHEN @user IS NULL THEN NOT EXISTS (SELECT 1 FROM users)
		ELSE EXISTS (SELECT 1 FROM users WHERE id = @user AND NOT disabled) END`

	setPassword = `UPDATE users SET version = version + 1, password_hash = ?, verified_until = NULL, updated_at = ? WHERE id = ?`
)

// What a new password ends by the trigger user_password_changed, for a user who had
// none and gets none.
var endsOfPassword = []string{
	deleteSessionsOfUser,
	`DELETE FROM families WHERE grant_id IN (SELECT id FROM grants WHERE user_id = ?)`,
	`UPDATE authorization_codes SET grant_id = NULL WHERE user_id = ? AND redeemed_at IS NULL`,
	`UPDATE device_authorizations SET grant_id = NULL WHERE user_id = ? AND redeemed_at IS NULL`,
}

// UseUserLink implements storage.UserLinkStore. The trigger user_password_changed
// ends what must end with a password.
func (s *Store) UseUserLink(ctx context.Context, use storage.UserLinkUse, event storage.AuditEvent) error {
	if use.UserID == "" { // that is the first administrator's
		return storage.ErrConsumed
	}
	return s.write(ctx, func(tx *tx) error {
		if err := tx.spend(use.TokenHash, use.Now, use.UserID); err != nil {
			return err
		}
		if err := tx.mustExec(setPassword, use.PasswordHash, micros(use.Now), use.UserID); err != nil {
			return err
		}
		if use.Passkey != nil {
			for _, statement := range endsOfPassword {
				if _, err := tx.exec(statement, use.UserID); err != nil {
					return err
				}
			}
		}
		if err := tx.insertPasskeyOf(use.UserID, use.Passkey); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// UseFirstAdminLink implements storage.UserLinkStore.
func (s *Store) UseFirstAdminLink(ctx context.Context, tokenHash []byte, u *storage.User, p *storage.Passkey, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.spend(tokenHash, u.CreatedAt, ""); err != nil {
			return err
		}
		if err := tx.insertUser(u); err != nil {
			return err
		}
		if err := tx.insertPasskeyOf(u.ID, p); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// spend uses up a link. ErrConsumed.
func (t *tx) spend(tokenHash []byte, now time.Time, userID string) error {
	err := t.mustExec(spendUserLink, sql.Named("token_hash", blob(tokenHash)), sql.Named("now", micros(now)), sql.Named("user", textOrNull(userID)))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrConsumed
	}
	return err
}

const deleteUserLink = `DELETE FROM user_links WHERE user_id = ?`

// DeleteUserLink implements storage.UserLinkStore.
func (s *Store) DeleteUserLink(ctx context.Context, userID string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(deleteUserLink, userID); err != nil {
			return err
		}
		return tx.record(event)
	})
}

func scanUserLink(row scanner) (*storage.UserLink, error) {
	var (
		l       storage.UserLink
		purpose string
	)
	err := row.Scan(&l.ID, intoBlob{&l.TokenHash}, &purpose, intoText{&l.UserID}, intoTime{&l.CreatedAt}, intoTime{&l.ExpiresAt})
	l.Purpose = storage.UserLinkPurpose(purpose)
	return &l, err
}
