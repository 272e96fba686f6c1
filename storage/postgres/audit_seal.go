package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

const auditSealColumns = `s.number, s.previous, s.events, s.digest, s.sealed_at, s.key_id, s.mac, s.removed_at, s.removal`

func intoAuditSeal(s *storage.AuditSeal) []any {
	return []any{
		&s.Number, &s.Previous, &s.Events, &s.Digest, &s.SealedAt, &s.KeyID, &s.MAC,
		(*zeronull.Timestamptz)(&s.RemovedAt), &s.Removal,
	}
}

func scanAuditSeal(row pgx.CollectableRow) (*storage.AuditSeal, error) {
	var s storage.AuditSeal
	err := row.Scan(intoAuditSeal(&s)...)
	return &s, err
}

// UnsealedAuditEvents implements storage.AuditSealStore.
func (s *Store) UnsealedAuditEvents(ctx context.Context, limit int) ([]*storage.AuditEvent, error) {
	const sql = `SELECT ` + auditEventColumns + ` FROM audit_events e WHERE e.seal IS NULL ORDER BY e.id LIMIT $1`
	return rows(ctx, s, "list unsealed audit events", each(scanAuditEvent), sql, limit)
}

// CountUnsealedAuditEvents implements storage.AuditSealStore.
func (s *Store) CountUnsealedAuditEvents(ctx context.Context) (int, error) {
	const sql = `SELECT count(*) FROM audit_events WHERE seal IS NULL`
	var n int
	err := s.row(ctx, "count unsealed audit events", sql, nil, &n)
	return n, err
}

// LastAuditSeal implements storage.AuditSealStore.
func (s *Store) LastAuditSeal(ctx context.Context) (*storage.AuditSeal, error) {
	const sql = `SELECT ` + auditSealColumns + ` FROM audit_seals s ORDER BY s.number DESC LIMIT 1`
	return only(rows(ctx, s, "read the last audit seal", each(scanAuditSeal), sql))
}

// OldestKeptAuditSeal implements storage.AuditSealStore.
func (s *Store) OldestKeptAuditSeal(ctx context.Context) (*storage.AuditSeal, error) {
	const sql = `SELECT ` + auditSealColumns + ` FROM audit_seals s WHERE s.removed_at IS NULL ORDER BY s.number LIMIT 1`
	return only(rows(ctx, s, "read the oldest audit seal", each(scanAuditSeal), sql))
}

const (
	// Of two sealers the second waits for the first on the number, and then inserts
	// nothing.
	insertAuditSeal = `
INSERT INTO audit_seals (number, previous, events, digest, sealed_at, key_id, mac)
SELECT $1::bigint, $2::bytea, $3::integer, $4::bytea, $5::timestamptz, $6::bytea, $7::bytea
WHERE COALESCE((SELECT max(number) FROM audit_seals), 0) = $1 - 1
	AND COALESCE((SELECT mac FROM audit_seals WHERE number = $1 - 1), '') = $2
ON CONFLICT (number) DO NOTHING`

	markSealed = `
UPDATE audit_events e SET seal = $1, position = m.position, mac = m.mac, salt = m.salt
FROM unnest($2::text[], $3::integer[], $4::bytea[], $5::bytea[]) AS m (id, position, mac, salt)
WHERE e.id = m.id AND e.seal IS NULL`
)

// SealAuditEvents implements storage.AuditSealStore.
func (s *Store) SealAuditEvents(ctx context.Context, seal *storage.AuditSeal, events []*storage.AuditEvent) error {
	var (
		ids         = make([]string, len(events))
		positions   = make([]int, len(events))
		macs, salts = make([][]byte, len(events)), make([][]byte, len(events))
	)
	for i, e := range events {
		ids[i], positions[i], macs[i], salts[i] = e.ID, e.Seal.Position, e.Seal.MAC, e.Seal.Salt
	}
	return s.tx(ctx, "seal audit events", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, insertAuditSeal, seal.Number, octets(seal.Previous), seal.Events, seal.Digest, seal.SealedAt, seal.KeyID, seal.MAC)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return storage.ErrConflict
		}
		tag, err = tx.Exec(ctx, markSealed, seal.Number, ids, positions, macs, salts)
		if err == nil && int(tag.RowsAffected()) != len(events) {
			err = storage.ErrConflict
		}
		return err
	})
}

// AuditSeals implements storage.AuditSealStore.
func (s *Store) AuditSeals(ctx context.Context, after int64, limit int) ([]*storage.AuditSeal, error) {
	const sql = `SELECT ` + auditSealColumns + ` FROM audit_seals s WHERE s.number > $1 ORDER BY s.number LIMIT $2`
	return rows(ctx, s, "list audit seals", each(scanAuditSeal), sql, after, limit)
}

// AuditBatches implements storage.AuditSealStore.
func (s *Store) AuditBatches(ctx context.Context, after, to int64, limit int) ([]*storage.AuditBatch, error) {
	const sql = `
SELECT ` + auditSealColumns + `, ` + auditEventColumns + `
FROM audit_seals s
LEFT JOIN audit_events e ON e.seal = s.number
WHERE s.number > $1 AND s.number <= $2
ORDER BY s.number, e.position, e.id LIMIT $3`
	return rows(ctx, s, "read audit batches", func(rows pgx.Rows) ([]*storage.AuditBatch, error) {
		var batches []*storage.AuditBatch
		for rows.Next() {
			var (
				seal storage.AuditSeal
				e    storage.AuditEvent
			)
			if err := rows.Scan(append(intoAuditSeal(&seal), intoAuditEvent(&e)...)...); err != nil {
				return nil, err
			}
			batches = storage.AppendToBatches(batches, seal, &e)
		}
		return batches, nil
	}, sql, after, to, limit)
}

// StrayAuditEvents implements storage.AuditSealStore.
func (s *Store) StrayAuditEvents(ctx context.Context, limit int) ([]*storage.AuditEvent, error) {
	const sql = `
SELECT ` + auditEventColumns + ` FROM audit_events e
WHERE e.seal IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.number = e.seal)
ORDER BY e.id LIMIT $1`
	return rows(ctx, s, "list stray audit events", each(scanAuditEvent), sql, limit)
}

// SealedAuditEvents implements storage.AuditSealStore.
func (s *Store) SealedAuditEvents(ctx context.Context, number int64, position, limit int) ([]*storage.AuditEvent, error) {
	const sql = `
SELECT ` + auditEventColumns + ` FROM audit_events e
WHERE e.seal IS NOT NULL AND (e.seal, e.position) > ($1::bigint, $2::integer)
ORDER BY e.seal, e.position LIMIT $3`
	return rows(ctx, s, "list sealed audit events", each(scanAuditEvent), sql, number, position, limit)
}

// RemoveSealedAuditEvents implements storage.AuditSealStore. The trigger lets go
// of events only once their seal says so.
func (s *Store) RemoveSealedAuditEvents(ctx context.Context, number int64, removedAt time.Time, removal []byte) error {
	const (
		note   = `UPDATE audit_seals SET removed_at = $2, removal = $3 WHERE number = $1 AND removed_at IS NULL`
		remove = `DELETE FROM audit_events WHERE seal = $1`
	)
	return s.tx(ctx, "remove audit events", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, note, number, removedAt, removal)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return storage.ErrConsumed
		}
		_, err = tx.Exec(ctx, remove, number)
		return err
	})
}

// EraseAuditEvents implements storage.AuditSealStore.
func (s *Store) EraseAuditEvents(ctx context.Context, events []*storage.AuditEvent) error {
	const sql = `
UPDATE audit_events e SET detail = m.detail::jsonb, salt = NULL, erasure = m.erasure
FROM unnest($1::text[], $2::text[], $3::text[]) AS m (id, detail, erasure)
WHERE e.id = m.id AND e.seal IS NOT NULL`
	ids, details, erasures := make([]string, len(events)), make([]string, len(events)), make([]string, len(events))
	for i, e := range events {
		ids[i], details[i], erasures[i] = e.ID, detailText(e.Detail), e.Seal.Erasure
	}
	return s.tx(ctx, "erase in audit events", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, ids, details, erasures)
		if err == nil && int(tag.RowsAffected()) != len(events) {
			err = storage.ErrConflict
		}
		return err
	})
}
