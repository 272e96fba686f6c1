package sqlite

import (
	"context"

	"grantd/storage"
)

const insertAuditEvent = `INSERT INTO audit_events (id, at, actor, action, target, detail) VALUES (?, ?, ?, ?, ?, ?)`

const insertTwoAuditEvents = insertAuditEvent + `, (?, ?, ?, ?, ?, ?)`

// RecordAuditEvent implements storage.AuditEventStore. ErrExists: its id is taken.
func (s *Store) RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error { return tx.record(event) })
}

// record writes the event, or two, of what the transaction does.
func (t *tx) record(events ...storage.AuditEvent) error {
	statement := insertAuditEvent
	if len(events) == 2 {
		statement = insertTwoAuditEvents
	}
	var args []any
	for _, event := range events {
		detail := event.Detail
		if detail == nil {
			detail = map[string]string{}
		}
		args = append(args, event.ID, micros(event.At), event.Actor, event.Action, event.Target, asJSON(detail))
	}
	_, err := t.exec(statement, args...)
	return err
}

const selectAuditEvents = `SELECT id, at, actor, action, target, detail FROM audit_events
	WHERE id > ? ORDER BY id LIMIT ?`

// AuditEvents implements storage.AuditEventStore.
func (s *Store) AuditEvents(ctx context.Context, page storage.Page) ([]*storage.AuditEvent, error) {
	return readRows(ctx, s, selectAuditEvents, []any{page.After, page.Limit}, scanAuditEvent)
}

// The condition is the indexed expression, word for word.
const selectUserAuditEvents = `SELECT id, at, actor, action, target, detail FROM audit_events
	WHERE coalesce(CASE WHEN substr(target, 1, 4) = 'usr_' THEN target END, detail ->> 'user_id', CASE WHEN substr(actor, 1, 5) = 'user:' THEN substr(actor, 6) END) = ?`

const (
	selectNewestUserAuditEvents = selectUserAuditEvents + ` ORDER BY id DESC LIMIT ?`
	selectOlderUserAuditEvents  = selectUserAuditEvents + ` AND id < ? ORDER BY id DESC LIMIT ?`
)

// UserAuditEvents implements storage.AuditEventStore.
func (s *Store) UserAuditEvents(ctx context.Context, userID, before string, limit int) ([]*storage.AuditEvent, error) {
	if before == "" {
		return readRows(ctx, s, selectNewestUserAuditEvents, []any{userID, limit}, scanAuditEvent)
	}
	return readRows(ctx, s, selectOlderUserAuditEvents, []any{userID, before, limit}, scanAuditEvent)
}

func scanAuditEvent(row scanner) (*storage.AuditEvent, error) {
	var e storage.AuditEvent
	err := row.Scan(&e.ID, intoTime{&e.At}, &e.Actor, &e.Action, &e.Target, intoJSON{&e.Detail})
	return &e, err
}
