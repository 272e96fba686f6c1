package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"grantd/storage"
)

const passkeyColumns = `id, user_id, credential_id, credential, name, sign_count, created_at, last_used_at`

// selectFactors reads the three in one statement, so that they are of one moment.
const selectFactors = `SELECT t.user_id, t.sealed_secret, t.last_step, t.created_at, t.last_used_at,
	(SELECT count(*) FROM recovery_codes WHERE user_id = always.user_id),
	p.id, p.credential_id, p.credential, p.name, p.sign_count, p.created_at, p.last_used_at
	FROM (SELECT ? AS user_id) AS always
	LEFT JOIN totps t ON t.user_id = always.user_id
	LEFT JOIN passkeys p ON p.user_id = always.user_id
	ORDER BY p.id`

// Factors implements storage.FactorStore.
func (s *Store) Factors(ctx context.Context, userID string) (*storage.Factors, error) {
	all, err := readRows(ctx, s, selectFactors, []any{userID}, func(row scanner) (*storage.Factors, error) {
		var f storage.Factors
		t, p := storage.TOTP{}, storage.Passkey{UserID: userID}
		err := row.Scan(intoText{&t.UserID}, intoBlobOrNil{&t.SealedSecret}, intoInteger[int64]{&t.LastStep}, intoTime{&t.CreatedAt}, intoTime{&t.LastUsedAt},
			&f.RecoveryCodes, intoText{&p.ID}, intoBlobOrNil{&p.CredentialID}, intoBlobOrNil{&p.Credential}, intoText{&p.Name}, intoInteger[int64]{&p.SignCount},
			intoTime{&p.CreatedAt}, intoTime{&p.LastUsedAt})
		if t.UserID != "" {
			f.TOTP = &t
		}
		if p.ID != "" {
			f.Passkeys = append(f.Passkeys, &p)
		}
		return &f, err
	})
	if err != nil {
		return nil, err
	}
	return storage.MergeFactors(all), nil
}

const (
	insertTOTP = `INSERT INTO totps (user_id, sealed_secret, last_step, created_at, last_used_at)
	SELECT id, ?, ?, ?, ? FROM users WHERE id = ? AND NOT disabled`
	useTOTP    = `UPDATE totps SET last_step = ?, sealed_secret = ?, last_used_at = ? WHERE user_id = ? AND last_step < ?`
	deleteTOTP = `DELETE FROM totps WHERE user_id = ?`
)

// CreateTOTP implements storage.FactorStore.
func (s *Store) CreateTOTP(ctx context.Context, t *storage.TOTP, event storage.AuditEvent) error {
	return s.recorded(ctx, event, insertTOTP, blob(t.SealedSecret), t.LastStep, micros(t.CreatedAt), micros(t.LastUsedAt), t.UserID)
}

// UseTOTP implements storage.FactorStore.
func (s *Store) UseTOTP(ctx context.Context, use storage.TOTPUse) error {
	return s.write(ctx, func(tx *tx) error {
		return consumedIfNone(tx.mustExec(useTOTP, use.Step, blob(use.SealedSecret), micros(use.At), use.UserID, use.Step))
	})
}

// DeleteTOTP implements storage.FactorStore.
func (s *Store) DeleteTOTP(ctx context.Context, userID string, event storage.AuditEvent) error {
	return s.recorded(ctx, event, deleteTOTP, userID)
}

const (
	lockLiveUser        = `SELECT id FROM users WHERE id = ? AND NOT disabled`
	deleteRecoveryCodes = `DELETE FROM recovery_codes WHERE user_id = ?`
	insertRecoveryCode  = `INSERT INTO recovery_codes (user_id, code_hash) VALUES (?, ?)`
	useRecoveryCode     = `DELETE FROM recovery_codes WHERE user_id = ? AND code_hash = ?`
)

// ReplaceRecoveryCodes implements storage.FactorStore.
func (s *Store) ReplaceRecoveryCodes(ctx context.Context, userID string, hashes [][]byte, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.row(lockLiveUser, []any{userID}, new(string)); err != nil {
			return err
		}
		if _, err := tx.exec(deleteRecoveryCodes, userID); err != nil {
			return err
		}
		for _, hash := range hashes {
			if _, err := tx.exec(insertRecoveryCode, userID, blob(hash)); err != nil {
				return err
			}
		}
		return tx.record(event)
	})
}

// UseRecoveryCode implements storage.FactorStore.
func (s *Store) UseRecoveryCode(ctx context.Context, userID string, hash []byte, event storage.AuditEvent) error {
	return consumedIfNone(s.recorded(ctx, event, useRecoveryCode, userID, blob(hash)))
}

const (
	insertPasskey = `INSERT INTO passkeys (` + passkeyColumns + `)
	SELECT ?, id, ?, ?, ?, ?, ?, ? FROM users WHERE id = ? AND NOT disabled`
	selectPasskey = `SELECT ` + passkeyColumns + ` FROM passkeys WHERE credential_id = ?`
	deletePasskey = `DELETE FROM passkeys WHERE user_id = ? AND id = ?`
)

// CreatePasskey implements storage.FactorStore.
func (s *Store) CreatePasskey(ctx context.Context, p *storage.Passkey, event storage.AuditEvent) error {
	return s.recorded(ctx, event, insertPasskey, p.ID, blob(p.CredentialID), blob(p.Credential), p.Name, p.SignCount,
		micros(p.CreatedAt), microsOrNull(p.LastUsedAt), p.UserID)
}

// PasskeyByCredential implements storage.FactorStore.
func (s *Store) PasskeyByCredential(ctx context.Context, credentialID []byte) (*storage.Passkey, error) {
	return readOne(ctx, s, selectPasskey, []any{blob(credentialID)}, func(row scanner) (*storage.Passkey, error) {
		var p storage.Passkey
		err := row.Scan(&p.ID, &p.UserID, intoBlob{&p.CredentialID}, intoBlob{&p.Credential}, &p.Name, &p.SignCount, intoTime{&p.CreatedAt}, intoTime{&p.LastUsedAt})
		return &p, err
	})
}

const (
	selectPasskeyOfUser     = `SELECT id FROM passkeys WHERE id = ? AND user_id = ?`
	deleteLapsedChallenges  = `DELETE FROM used_passkey_challenges WHERE user_id = ? AND expires_at <= ?`
	insertUsedChallenge     = `INSERT INTO used_passkey_challenges (user_id, challenge, expires_at) VALUES (?, ?, ?)`
	movePasskey             = `UPDATE passkeys SET sign_count = @count, last_used_at = @now WHERE id = @id AND (sign_count < @count OR sign_count = 0 AND @count = 0)`
	deletePasskeysOfUser    = `DELETE FROM passkeys WHERE user_id = ?`
	deleteSessionsOfUser    = `DELETE FROM sessions WHERE user_id = ?`
	selectUserToResetFactor = `SELECT id FROM users WHERE id = ?`
)

// UsePasskey implements storage.FactorStore.
func (s *Store) UsePasskey(ctx context.Context, use storage.PasskeyUse) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.row(selectPasskeyOfUser, []any{use.ID, use.UserID}, new(string)); err != nil {
			return err
		}
		if _, err := tx.exec(deleteLapsedChallenges, use.UserID, micros(use.At)); err != nil {
			return err
		}
		if err := consumedIfTaken(tx.mustExec(insertUsedChallenge, use.UserID, blob(use.Challenge), micros(use.ExpiresAt))); err != nil {
			return err
		}
		err := tx.mustExec(movePasskey, sql.Named("count", use.SignCount), sql.Named("now", micros(use.At)), sql.Named("id", use.ID))
		if errors.Is(err, storage.ErrNotFound) {
			return storage.ErrConflict
		}
		return err
	})
}

// DeletePasskey implements storage.FactorStore.
func (s *Store) DeletePasskey(ctx context.Context, userID, id string, event storage.AuditEvent) error {
	return s.recorded(ctx, event, deletePasskey, userID, id)
}

// ResetFactors implements storage.FactorStore.
func (s *Store) ResetFactors(ctx context.Context, userID string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.row(selectUserToResetFactor, []any{userID}, new(string)); err != nil {
			return err
		}
		for _, statement := range []string{deleteTOTP, deleteRecoveryCodes, deletePasskeysOfUser, deleteSessionsOfUser} {
			if _, err := tx.exec(statement, userID); err != nil {
				return err
			}
		}
		return tx.record(event)
	})
}

// recorded runs one statement that must change a row, with its event. ErrNotFound.
func (s *Store) recorded(ctx context.Context, event storage.AuditEvent, query string, args ...any) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(query, args...); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// consumedIfNone makes of a row that is not there one that was used.
func consumedIfNone(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrConsumed
	}
	return err
}
