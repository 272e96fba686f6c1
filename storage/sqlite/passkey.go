package sqlite

import (
	"context"
	"database/sql"

	"grantd/storage"
)

const passkeyColumns = `p.id, p.user_id, p.credential_id, p.public_key, p.sign_count, p.backup_eligible, p.backed_up,
	p.transports, p.name, p.created_at, p.last_used_at, p.challenged_at`

// intoPasskey reads passkeyColumns, which are all NULL where there is no passkey.
func intoPasskey(p *storage.Passkey) []any {
	return []any{
		intoText{&p.ID},
		intoText{&p.UserID},
		intoBlobOrNil{&p.CredentialID},
		intoBlobOrNil{&p.PublicKey},
		intoInteger[int64]{&p.SignCount},
		intoFlag{&p.BackupEligible},
		intoFlag{&p.BackedUp},
		intoList{&p.Transports},
		intoText{&p.Name},
		intoTime{&p.CreatedAt},
		intoTime{&p.LastUsedAt},
		intoTime{&p.ChallengedAt},
	}
}

const (
	insertPasskey = `INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, backup_eligible, backed_up,
	transports, name, created_at, last_used_at, challenged_at)
	SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 WHERE (SELECT count(*) FROM passkeys WHERE user_id = ?2) < ?13`
	selectPasskey        = `SELECT ` + passkeyColumns + ` FROM passkeys p WHERE p.credential_id = ?`
	renamePasskey        = `UPDATE passkeys SET name = ? WHERE user_id = ? AND id = ?`
	deletePasskey        = `DELETE FROM passkeys WHERE user_id = ? AND id = ?`
	deletePasskeysOfUser = `DELETE FROM passkeys WHERE user_id = ?`
	spendChallenge       = `UPDATE passkeys SET challenged_at = @challenged_at WHERE id = @id AND user_id = @user AND challenged_at < @challenged_at
	AND EXISTS (SELECT 1 FROM users WHERE users.id = @user AND NOT disabled)`
	movePasskey = `UPDATE passkeys SET sign_count = @count, backed_up = @backed_up, last_used_at = @now
	WHERE id = @id AND (sign_count < @count OR sign_count = 0 AND @count = 0)`
)

// CreatePasskey implements storage.PasskeyStore.
func (s *Store) CreatePasskey(ctx context.Context, p *storage.Passkey, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.row(lockLiveUser, []any{p.UserID}, new(string)); err != nil {
			return err
		}
		if err := tx.insertPasskeyOf(p.UserID, p); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// insertPasskeyOf gives p, if there is one, to the user. storage.ErrFull.
func (t *tx) insertPasskeyOf(userID string, p *storage.Passkey) error {
	if p == nil {
		return nil
	}
	n, err := t.exec(insertPasskey, p.ID, userID, blob(p.CredentialID), blob(p.PublicKey), p.SignCount, p.BackupEligible, p.BackedUp,
		list(p.Transports), p.Name, micros(p.CreatedAt), microsOrNull(p.LastUsedAt), micros(p.ChallengedAt), storage.MaxPasskeys)
	if err == nil && n == 0 {
		return storage.ErrFull
	}
	return err
}

// PasskeyByCredential implements storage.PasskeyStore.
func (s *Store) PasskeyByCredential(ctx context.Context, credentialID []byte) (*storage.Passkey, error) {
	return readOne(ctx, s, selectPasskey, []any{blob(credentialID)}, func(row scanner) (*storage.Passkey, error) {
		var p storage.Passkey
		return &p, row.Scan(intoPasskey(&p)...)
	})
}

// UsePasskey implements storage.PasskeyStore.
func (s *Store) UsePasskey(ctx context.Context, use storage.PasskeyUse, cloned storage.AuditEvent) error {
	copied := false
	err := s.write(ctx, func(tx *tx) error {
		err := consumedIfNone(tx.mustExec(spendChallenge, sql.Named("challenged_at", micros(use.ChallengedAt)), sql.Named("id", use.ID), sql.Named("user", use.UserID)))
		if err != nil {
			return err
		}
		n, err := tx.exec(movePasskey, sql.Named("count", use.SignCount), sql.Named("backed_up", use.BackedUp), sql.Named("now", micros(use.At)), sql.Named("id", use.ID))
		if copied = err == nil && n == 0; copied {
			return tx.record(cloned)
		}
		return err
	})
	if err == nil && copied {
		return storage.ErrConflict
	}
	return err
}

// RenamePasskey implements storage.PasskeyStore.
func (s *Store) RenamePasskey(ctx context.Context, userID, id, name string, event storage.AuditEvent) error {
	return s.recorded(ctx, event, renamePasskey, name, userID, id)
}

// DeletePasskey implements storage.PasskeyStore.
func (s *Store) DeletePasskey(ctx context.Context, userID, id string, event storage.AuditEvent) error {
	return s.recorded(ctx, event, deletePasskey, userID, id)
}

// intoFlag reads a boolean; NULL is false.
type intoFlag struct{ to *bool }

// Scan implements sql.Scanner.
func (i intoFlag) Scan(value any) error {
	var number int64
	err := intoInteger[int64]{&number}.Scan(value)
	*i.to = number != 0
	return err
}
