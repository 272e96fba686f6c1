package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

const passkeyColumns = `p.id, p.user_id, p.credential_id, p.public_key, p.sign_count, p.backup_eligible, p.backed_up,
	p.transports, p.name, p.created_at, p.last_used_at, p.challenged_at`

// intoPasskey reads passkeyColumns, which are all NULL where there is no passkey.
func intoPasskey(p *storage.Passkey) []any {
	return []any{
		(*zeronull.Text)(&p.ID), (*zeronull.Text)(&p.UserID), &p.CredentialID, &p.PublicKey, (*zeronull.Int8)(&p.SignCount),
		falseOrNull{&p.BackupEligible},
		falseOrNull{&p.BackedUp},
		&p.Transports, (*zeronull.Text)(&p.Name),
		(*zeronull.Timestamptz)(&p.CreatedAt), (*zeronull.Timestamptz)(&p.LastUsedAt), (*zeronull.Timestamptz)(&p.ChallengedAt),
	}
}

// CreatePasskey implements storage.PasskeyStore.
func (s *Store) CreatePasskey(ctx context.Context, p *storage.Passkey, event storage.AuditEvent) error {
	const lock = `SELECT id FROM users WHERE id = $1 AND NOT disabled FOR NO KEY UPDATE`
	return s.tx(ctx, "create a passkey", func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, lock, p.UserID).Scan(new(string)); err != nil {
			return err
		}
		if err := insertPasskeyOf(ctx, tx, p.UserID, p); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// insertPasskeyOf gives p, if there is one, to a user whose row the transaction has
// locked or made. storage.ErrFull.
func insertPasskeyOf(ctx context.Context, tx pgx.Tx, userID string, p *storage.Passkey) error {
	const insert = `
INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, backup_eligible, backed_up, transports, name,
	created_at, last_used_at, challenged_at)
SELECT $1::text, $2::text, $3::bytea, $4::bytea, $5::bigint, $6::boolean, $7::boolean, $8::text[], $9::text,
	$10::timestamptz, $11::timestamptz, $12::timestamptz
WHERE (SELECT count(*) FROM passkeys WHERE user_id = $2) < $13`
	if p == nil {
		return nil
	}
	tag, err := tx.Exec(ctx, insert, p.ID, userID, octets(p.CredentialID), octets(p.PublicKey), p.SignCount, p.BackupEligible, p.BackedUp,
		list(p.Transports), p.Name, p.CreatedAt, nullTime(p.LastUsedAt), p.ChallengedAt, storage.MaxPasskeys)
	if err == nil && tag.RowsAffected() == 0 {
		return storage.ErrFull
	}
	return err
}

// PasskeyByCredential implements storage.PasskeyStore.
func (s *Store) PasskeyByCredential(ctx context.Context, credentialID []byte) (*storage.Passkey, error) {
	const sql = `SELECT ` + passkeyColumns + ` FROM passkeys p WHERE p.credential_id = $1`
	var p storage.Passkey
	if err := s.row(ctx, "read a passkey", sql, []any{octets(credentialID)}, intoPasskey(&p)...); err != nil {
		return nil, err
	}
	return &p, nil
}

// UsePasskey implements storage.PasskeyStore. The first statement says who wins, and
// locks the row for the second.
func (s *Store) UsePasskey(ctx context.Context, use storage.PasskeyUse, cloned storage.AuditEvent) error {
	const (
		spend = `
UPDATE passkeys SET challenged_at = $3 WHERE id = $1 AND user_id = $2 AND challenged_at < $3
	AND EXISTS (SELECT 1 FROM users WHERE users.id = $2 AND NOT disabled)`
		move = `
UPDATE passkeys SET sign_count = $2, backed_up = $3, last_used_at = $4
WHERE id = $1 AND (sign_count < $2 OR sign_count = 0 AND $2 = 0)`
	)
	copied := false
	err := s.tx(ctx, "use a passkey", func(ctx context.Context, tx pgx.Tx) error {
		if err := mustSpend(tx.Exec(ctx, spend, use.ID, use.UserID, use.ChallengedAt)); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, move, use.ID, use.SignCount, use.BackedUp, use.At)
		if copied = err == nil && tag.RowsAffected() == 0; copied {
			return record(ctx, tx, cloned)
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
	const sql = `
WITH renamed AS (
	UPDATE passkeys SET name = $9 WHERE user_id = $7 AND id = $8 RETURNING id
), recorded AS (` + recordEvent + `renamed)
SELECT id FROM renamed`
	return s.act(ctx, "rename a passkey", storage.ErrNotFound, sql, withEvent(event, userID, id, name)...)
}

// DeletePasskey implements storage.PasskeyStore.
func (s *Store) DeletePasskey(ctx context.Context, userID, id string, event storage.AuditEvent) error {
	const sql = `
WITH gone AS (
	DELETE FROM passkeys WHERE user_id = $7 AND id = $8 RETURNING id
), recorded AS (` + recordEvent + `gone)
SELECT id FROM gone`
	return s.act(ctx, "delete a passkey", storage.ErrNotFound, sql, withEvent(event, userID, id)...)
}

// falseOrNull reads a boolean; NULL is false.
type falseOrNull struct{ to *bool }

// ScanBool implements pgtype.BoolScanner.
func (f falseOrNull) ScanBool(v pgtype.Bool) error {
	*f.to = v.Valid && v.Bool
	return nil
}
