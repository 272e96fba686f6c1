package sqlite

import (
	"context"
	"errors"

	"grantd/storage"
)

// selectFactors reads all in one statement, so that they are of one moment: a row for
// each passkey, and one if there is none.
const selectFactors = `SELECT t.user_id, t.sealed_secret, t.last_step, t.created_at, t.last_used_at,
	(SELECT count(*) FROM recovery_codes WHERE user_id = always.user_id), ` + passkeyColumns + `
	FROM (SELECT ? AS user_id) AS always
	LEFT JOIN totps t ON t.user_id = always.user_id
	LEFT JOIN passkeys p ON p.user_id = always.user_id
	ORDER BY p.id`

// Factors implements storage.FactorStore.
func (s *Store) Factors(ctx context.Context, userID string) (*storage.Factors, error) {
	var f storage.Factors
	passkeys, err := readRows(ctx, s, selectFactors, []any{userID}, func(row scanner) (*storage.Passkey, error) {
		var (
			t storage.TOTP
			p storage.Passkey
		)
		into := []any{
			intoText{&t.UserID},
			intoBlobOrNil{&t.SealedSecret},
			intoInteger[int64]{&t.LastStep},
			intoTime{&t.CreatedAt},
			intoTime{&t.LastUsedAt},
			&f.RecoveryCodes,
		}
		err := row.Scan(append(into, intoPasskey(&p)...)...)
		if t.UserID != "" {
			f.TOTP = &t
		}
		return &p, err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range passkeys {
		if p.ID != "" {
			f.Passkeys = append(f.Passkeys, p)
		}
	}
	return &f, nil
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
	deleteSessionsOfUser    = `DELETE FROM sessions WHERE user_id = ?`
	selectUserToResetFactor = `SELECT id FROM users WHERE id = ?`
)

// ResetFactors implements storage.FactorStore.
func (s *Store) ResetFactors(ctx context.Context, userID string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.row(selectUserToResetFactor, []any{userID}, new(string)); err != nil {
			return err
		}
		for _, statement := range []string{deleteTOTP, deletePasskeysOfUser, deleteRecoveryCodes, deleteSessionsOfUser} {
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
