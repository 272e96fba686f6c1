package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

const passkeyColumns = `id, user_id, credential_id, credential, name, sign_count, created_at, last_used_at`

// Factors implements storage.FactorStore. The three are read in one statement, so that
// they are of one moment.
func (s *Store) Factors(ctx context.Context, userID string) (*storage.Factors, error) {
	const sql = `
SELECT t.user_id, t.sealed_secret, t.last_step, t.created_at, t.last_used_at,
	(SELECT count(*) FROM recovery_codes WHERE user_id = $1),
	p.id, p.credential_id, p.credential, p.name, p.sign_count, p.created_at, p.last_used_at
FROM (VALUES (true)) AS always (row)
LEFT JOIN totps t ON t.user_id = $1
LEFT JOIN passkeys p ON p.user_id = $1
ORDER BY p.id`
	all, err := rows(ctx, s, "read a user's factors", each(func(row pgx.CollectableRow) (*storage.Factors, error) {
		var f storage.Factors
		t, p := storage.TOTP{}, storage.Passkey{UserID: userID}
		err := row.Scan((*zeronull.Text)(&t.UserID), &t.SealedSecret, (*zeronull.Int8)(&t.LastStep), (*zeronull.Timestamptz)(&t.CreatedAt), (*zeronull.Timestamptz)(&t.LastUsedAt),
			&f.RecoveryCodes, (*zeronull.Text)(&p.ID), &p.CredentialID, &p.Credential, (*zeronull.Text)(&p.Name), (*zeronull.Int8)(&p.SignCount),
			(*zeronull.Timestamptz)(&p.CreatedAt), (*zeronull.Timestamptz)(&p.LastUsedAt))
		if t.UserID != "" {
			f.TOTP = &t
		}
		if p.ID != "" {
			f.Passkeys = append(f.Passkeys, &p)
		}
		return &f, err
	}), sql, userID)
	if err != nil {
		return nil, err
	}
	return storage.MergeFactors(all), nil
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

// CreatePasskey implements storage.FactorStore.
func (s *Store) CreatePasskey(ctx context.Context, p *storage.Passkey, event storage.AuditEvent) error {
	const sql = `
WITH live AS (
	SELECT id FROM users WHERE id = $7 AND NOT disabled FOR SHARE
), created AS (
	INSERT INTO passkeys (` + passkeyColumns + `)
	SELECT $8::text, id, $9::bytea, $10::bytea, $11::text, $12::bigint, $13::timestamptz, $14::timestamptz FROM live
	RETURNING id
), recorded AS (` + recordEvent + `created)
SELECT id FROM created`
	return s.act(ctx, "create a passkey", storage.ErrNotFound, sql,
		withEvent(event, p.UserID, p.ID, octets(p.CredentialID), octets(p.Credential), p.Name, p.SignCount, p.CreatedAt, nullTime(p.LastUsedAt))...)
}

// PasskeyByCredential implements storage.FactorStore.
func (s *Store) PasskeyByCredential(ctx context.Context, credentialID []byte) (*storage.Passkey, error) {
	const sql = `SELECT ` + passkeyColumns + ` FROM passkeys WHERE credential_id = $1`
	var p storage.Passkey
	err := s.row(ctx, "read a passkey", sql, []any{octets(credentialID)},
		&p.ID, &p.UserID, &p.CredentialID, &p.Credential, &p.Name, &p.SignCount, &p.CreatedAt, (*zeronull.Timestamptz)(&p.LastUsedAt))
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// UsePasskey implements storage.FactorStore. The row is locked first, so that of
// several uses each judges the counter as the one before left it.
func (s *Store) UsePasskey(ctx context.Context, use storage.PasskeyUse) error {
	const (
		lock   = `SELECT sign_count FROM passkeys WHERE id = $1 AND user_id = $2 FOR NO KEY UPDATE`
		lapsed = `DELETE FROM used_passkey_challenges WHERE user_id = $1 AND expires_at <= $2`
		spend  = `INSERT INTO used_passkey_challenges (user_id, challenge, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
		move   = `UPDATE passkeys SET sign_count = $2, last_used_at = $3 WHERE id = $1 AND (sign_count < $2 OR sign_count = 0 AND $2 = 0)`
	)
	return s.tx(ctx, "use a passkey", func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lock, use.ID, use.UserID).Scan(new(int64)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lapsed, use.UserID, use.At); err != nil {
			return err
		}
		if err := mustSpend(tx.Exec(ctx, spend, use.UserID, octets(use.Challenge), use.ExpiresAt)); err != nil {
			return err
		}
		err := mustSpend(tx.Exec(ctx, move, use.ID, use.SignCount, use.At))
		if errors.Is(err, storage.ErrConsumed) {
			return storage.ErrConflict
		}
		return err
	})
}

// DeletePasskey implements storage.FactorStore.
func (s *Store) DeletePasskey(ctx context.Context, userID, id string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM passkeys WHERE user_id = $7 AND id = $8 RETURNING id
), recorded AS (` + recordEvent + `gone)
SELECT id FROM gone`
	return s.act(ctx, "delete a passkey", storage.ErrNotFound, sql, withEvent(event, userID, id)...)
}

// resets are what ResetFactors takes.
var resets = []string{
	`DELETE FROM totps WHERE user_id = $1`, `DELETE FROM recovery_codes WHERE user_id = $1`, `DELETE FROM passkeys WHERE user_id = $1`, deleteSessions,
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
