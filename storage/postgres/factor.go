package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// Factors implements storage.FactorStore. All are read in one statement, so that they
// are of one moment: a row for each passkey, and one if there is none.
func (s *Store) Factors(ctx context.Context, userID string) (*storage.Factors, error) {
	const sql = `
SELECT t.user_id, t.sealed_secret, t.last_step, t.created_at, t.last_used_at,
	(SELECT count(*) FROM recovery_codes WHERE user_id = $1), ` + passkeyColumns + `
FROM (VALUES (true)) AS always (row)
LEFT JOIN totps t ON t.user_id = $1
LEFT JOIN passkeys p ON p.user_id = $1
ORDER BY p.id`
	var f storage.Factors
	_, err := rows(ctx, s, "read a user's factors", func(rows pgx.Rows) ([]struct{}, error) {
		f = storage.Factors{}
		for rows.Next() {
			var (
				t storage.TOTP
				p storage.Passkey
			)
			into := []any{
				(*zeronull.Text)(&t.UserID), &t.SealedSecret, (*zeronull.Int8)(&t.LastStep), (*zeronull.Timestamptz)(&t.CreatedAt),
				(*zeronull.Timestamptz)(&t.LastUsedAt), &f.RecoveryCodes,
			}
			if err := rows.Scan(append(into, intoPasskey(&p)...)...); err != nil {
				return nil, err
			}
			if t.UserID != "" {
				f.TOTP = &t
			}
			if p.ID != "" {
				f.Passkeys = append(f.Passkeys, &p)
			}
		}
		return nil, nil
	}, sql, userID)
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// CreateTOTP implements storage.FactorStore.
func (s *Store) CreateTOTP(ctx context.Context, t *storage.TOTP, event storage.AuditEvent) error {
	const sql = `
WITH live AS (
	SELECT id FROM users WHERE id = $7 AND NOT disabled FOR SHARE
), created AS (
	INSERT INTO totps (user_id, sealed_secret, last_step, created_at, last_used_at)
	SELECT id, $8::bytea, $9::bigint, $10::timestamptz, $11::timestamptz FROM live
	RETURNING user_id
), recorded AS (` + recordEvent + `created)
SELECT user_id FROM created`
	return s.act(ctx, "create a TOTP", storage.ErrNotFound, sql,
		withEvent(event, t.UserID, octets(t.SealedSecret), t.LastStep, t.CreatedAt, t.LastUsedAt)...)
}

// UseTOTP implements storage.FactorStore.
func (s *Store) UseTOTP(ctx context.Context, use storage.TOTPUse) error {
	const sql = `UPDATE totps SET last_step = $2, sealed_secret = $3, last_used_at = $4 WHERE user_id = $1 AND last_step < $2`
	return s.act(ctx, "use a TOTP", storage.ErrConsumed, sql, use.UserID, use.Step, octets(use.SealedSecret), use.At)
}

// DeleteTOTP implements storage.FactorStore.
func (s *Store) DeleteTOTP(ctx context.Context, userID string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM totps WHERE user_id = $7 RETURNING user_id
), recorded AS (` + recordEvent + `gone)
SELECT user_id FROM gone`
	return s.act(ctx, "delete a TOTP", storage.ErrNotFound, sql, withEvent(event, userID)...)
}

// ReplaceRecoveryCodes implements storage.FactorStore.
func (s *Store) ReplaceRecoveryCodes(ctx context.Context, userID string, hashes [][]byte, event storage.AuditEvent) error {
	const (
		lock    = `SELECT id FROM users WHERE id = $1 AND NOT disabled FOR NO KEY UPDATE`
		replace = `DELETE FROM recovery_codes WHERE user_id = $1`
		insert  = `INSERT INTO recovery_codes (user_id, code_hash) SELECT $1::text, unnest($2::bytea[])`
	)
	return s.tx(ctx, "replace recovery codes", func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lock, userID).Scan(new(string)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, replace, userID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insert, userID, hashes); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// UseRecoveryCode implements storage.FactorStore.
func (s *Store) UseRecoveryCode(ctx context.Context, userID string, hash []byte, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM recovery_codes WHERE user_id = $7 AND code_hash = $8 RETURNING user_id
), recorded AS (` + recordEvent + `gone)
SELECT user_id FROM gone`
	return s.act(ctx, "use a recovery code", storage.ErrConsumed, sql, withEvent(event, userID, octets(hash))...)
}

// resets are what ResetFactors takes.
var resets = []string{
	`DELETE FROM totps WHERE user_id = $1`, `DELETE FROM passkeys WHERE user_id = $1`, `DELETE FROM recovery_codes WHERE user_id = $1`, deleteSessions,
}

// ResetFactors implements storage.FactorStore.
func (s *Store) ResetFactors(ctx context.Context, userID string, event storage.AuditEvent) error {
	const lock = `SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE`
	return s.tx(ctx, "reset a user's factors", func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lock, userID).Scan(new(string)); err != nil {
			return err
		}
		if err := endAll(ctx, tx, userID, resets); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}
