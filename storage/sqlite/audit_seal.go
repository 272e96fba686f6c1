package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"time"

	"grantd/storage"
)

const auditSealColumns = `s.number, s.previous, s.events, s.digest, s.sealed_at, s.key_id, s.mac, s.removed_at, s.removal`

func intoAuditSeal(s *storage.AuditSeal) []any {
	return []any{
		&s.Number,
		intoBlob{&s.Previous},
		&s.Events,
		intoBlob{&s.Digest},
		intoTime{&s.SealedAt},
		intoBlob{&s.KeyID},
		intoBlob{&s.MAC},
		intoTime{&s.RemovedAt},
		intoBlobOrNil{&s.Removal},
	}
}

func scanAuditSeal(row scanner) (*storage.AuditSeal, error) {
	var s storage.AuditSeal
	err := row.Scan(intoAuditSeal(&s)...)
	return &s, err
}

const (
	selectUnsealedAuditEvents = `SELECT ` + auditEventColumns + ` FROM audit_events e WHERE e.seal IS NULL ORDER BY e.id LIMIT ?`
	countUnsealedAuditEvents  = `SELECT count(*) FROM audit_events WHERE seal IS NULL`
	selectLastAuditSeal       = `SELECT ` + auditSealColumns + ` FROM audit_seals s ORDER BY s.number DESC LIMIT 1`
	selectOldestKeptAuditSeal = `SELECT ` + auditSealColumns + ` FROM audit_seals s WHERE s.removed_at IS NULL ORDER BY s.number LIMIT 1`
	selectAuditSeals          = `SELECT ` + auditSealColumns + ` FROM audit_seals s WHERE s.number > ? ORDER BY s.number LIMIT ?`

	selectAuditBatches = `SELECT ` + auditSealColumns + `, ` + auditEventColumns + `
	FROM audit_seals s
	LEFT JOIN audit_events e ON e.seal = s.number
	WHERE s.number > ? AND s.number <= ?
	ORDER BY s.number, e.position, e.id LIMIT ?`

	selectStrayAuditEvents = `SELECT ` + auditEventColumns + ` FROM audit_events e
	WHERE e.seal IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.number = e.seal)
	ORDER BY e.id LIMIT ?`

	selectSealedAuditEvents = `SELECT ` + auditEventColumns + ` FROM audit_events e
	WHERE e.seal IS NOT NULL AND (e.seal, e.position) > (?, ?)
	ORDER BY e.seal, e.position LIMIT ?`
)

// UnsealedAuditEvents implements storage.AuditSealStore.
func (s *Store) UnsealedAuditEvents(ctx context.Context, limit int) ([]*storage.AuditEvent, error) {
	return readRows(ctx, s, selectUnsealedAuditEvents, []any{limit}, scanAuditEvent)
}

// CountUnsealedAuditEvents implements storage.AuditSealStore.
func (s *Store) CountUnsealedAuditEvents(ctx context.Context) (int, error) {
	var n int
	err := s.readRow(ctx, countUnsealedAuditEvents, nil, &n)
	return n, err
}

// LastAuditSeal implements storage.AuditSealStore.
func (s *Store) LastAuditSeal(ctx context.Context) (*storage.AuditSeal, error) {
	return readOne(ctx, s, selectLastAuditSeal, nil, scanAuditSeal)
}

// OldestKeptAuditSeal implements storage.AuditSealStore.
func (s *Store) OldestKeptAuditSeal(ctx context.Context) (*storage.AuditSeal, error) {
	return readOne(ctx, s, selectOldestKeptAuditSeal, nil, scanAuditSeal)
}

// AuditSeals implements storage.AuditSealStore.
func (s *Store) AuditSeals(ctx context.Context, after int64, limit int) ([]*storage.AuditSeal, error) {
	return readRows(ctx, s, selectAuditSeals, []any{after, limit}, scanAuditSeal)
}

// AuditBatches implements storage.AuditSealStore.
func (s *Store) AuditBatches(ctx context.Context, after, to int64, limit int) ([]*storage.AuditBatch, error) {
	type row struct {
		seal storage.AuditSeal
		e    storage.AuditEvent
	}
	found, err := readRows(ctx, s, selectAuditBatches, []any{after, to, limit}, func(from scanner) (*row, error) {
		var r row
		err := from.Scan(append(intoAuditSeal(&r.seal), intoAuditEvent(&r.e)...)...)
		return &r, err
	})
	if err != nil {
		return nil, err
	}
	var batches []*storage.AuditBatch
	for _, r := range found {
		batches = storage.AppendToBatches(batches, r.seal, &r.e)
	}
	return batches, nil
}

// StrayAuditEvents implements storage.AuditSealStore.
func (s *Store) StrayAuditEvents(ctx context.Context, limit int) ([]*storage.AuditEvent, error) {
	return readRows(ctx, s, selectStrayAuditEvents, []any{limit}, scanAuditEvent)
}

// SealedAuditEvents implements storage.AuditSealStore.
func (s *Store) SealedAuditEvents(ctx context.Context, number int64, position, limit int) ([]*storage.AuditEvent, error) {
	return readRows(ctx, s, selectSealedAuditEvents, []any{number, position, limit}, scanAuditEvent)
}

const (
	insertAuditSeal = `INSERT INTO audit_seals (number, previous, events, digest, sealed_at, key_id, mac)
	SELECT @number, @previous, @events, @digest, @sealed_at, @key_id, @mac
	WHERE coalesce((SELECT max(number) FROM audit_seals), 0) = @number - 1
	  AND coalesce((SELECT mac FROM audit_seals WHERE number = @number - 1), x'') = @previous`

	markSealed = `UPDATE audit_events SET
	seal = @number, position = m.value ->> 'position', mac = unhex(m.value ->> 'mac'), salt = unhex(m.value ->> 'salt')
	FROM json_each(@marks) AS m
	WHERE audit_events.id = m.value ->> 'id' AND audit_events.seal IS NULL`
)

// mark is an event's part of markSealed or eraseAuditEvents.
type mark struct {
	ID       string `json:"id"`
	Position int    `json:"position,omitempty"`
	MAC      string `json:"mac,omitempty"`
	Salt     string `json:"salt,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Erasure  string `json:"erasure,omitempty"`
}

// SealAuditEvents implements storage.AuditSealStore.
func (s *Store) SealAuditEvents(ctx context.Context, seal *storage.AuditSeal, events []*storage.AuditEvent) error {
	marks := make([]mark, len(events))
	for i, e := range events {
		marks[i] = mark{ID: e.ID, Position: e.Seal.Position, MAC: hex.EncodeToString(e.Seal.MAC), Salt: hex.EncodeToString(e.Seal.Salt)}
	}
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(insertAuditSeal,
			sql.Named("number", seal.Number), sql.Named("previous", blob(seal.Previous)), sql.Named("events", seal.Events),
			sql.Named("digest", blob(seal.Digest)), sql.Named("sealed_at", micros(seal.SealedAt)),
			sql.Named("key_id", blob(seal.KeyID)), sql.Named("mac", blob(seal.MAC)))
		if err != nil {
			return err
		}
		if n == 0 {
			return storage.ErrConflict
		}
		return tx.changeAll(markSealed, len(events), sql.Named("number", seal.Number), sql.Named("marks", asJSON(marks)))
	})
}

// changeAll runs a statement that changes so many rows. ErrConflict: others.
func (t *tx) changeAll(query string, rows int, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && int(n) != rows {
		err = storage.ErrConflict
	}
	return err
}

const (
	noteRemoval             = `UPDATE audit_seals SET removed_at = ?, removal = ? WHERE number = ? AND removed_at IS NULL`
	removeSealedAuditEvents = `DELETE FROM audit_events WHERE seal = ?`
)

// RemoveSealedAuditEvents implements storage.AuditSealStore. The trigger lets go
// of events only once their seal says so.
func (s *Store) RemoveSealedAuditEvents(ctx context.Context, number int64, removedAt time.Time, removal []byte) error {
	return s.write(ctx, func(tx *tx) error {
		err := tx.mustExec(noteRemoval, micros(removedAt), blob(removal), number)
		if errors.Is(err, storage.ErrNotFound) {
			return storage.ErrConsumed
		} else if err != nil {
			return err
		}
		_, err = tx.exec(removeSealedAuditEvents, number)
		return err
	})
}

const eraseAuditEvents = `UPDATE audit_events SET
	detail = m.value ->> 'detail', salt = NULL, erasure = m.value ->> 'erasure'
	FROM json_each(@marks) AS m
	WHERE audit_events.id = m.value ->> 'id' AND audit_events.seal IS NOT NULL`

// EraseAuditEvents implements storage.AuditSealStore.
func (s *Store) EraseAuditEvents(ctx context.Context, events []*storage.AuditEvent) error {
	marks := make([]mark, len(events))
	for i, e := range events {
		marks[i] = mark{ID: e.ID, Detail: detailText(e.Detail), Erasure: e.Seal.Erasure}
	}
	return s.write(ctx, func(tx *tx) error {
		return tx.changeAll(eraseAuditEvents, len(events), sql.Named("marks", asJSON(marks)))
	})
}
