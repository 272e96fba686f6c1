package sqlite

import (
	"context"
	"strings"

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
		args = append(args, event.ID, micros(event.At), event.Actor, event.Action, event.Target, detailText(event.Detail))
	}
	_, err := t.exec(statement, args...)
	return err
}

func detailText(detail map[string]string) string {
	if detail == nil {
		return "{}"
	}
	return asJSON(detail)
}

const auditEventColumns = `e.id, e.at, e.actor, e.action, e.target, e.detail, e.seal, e.position, e.mac, e.salt, e.erasure`

// AuditEvents implements storage.AuditEventStore. Only the conditions that are
// asked for are in the statement, so that each has its index.
func (s *Store) AuditEvents(ctx context.Context, filter storage.AuditFilter, page storage.Page) ([]*storage.AuditEvent, error) {
	var (
		query strings.Builder
		args  []any
	)
	query.WriteString(`SELECT ` + auditEventColumns + ` FROM audit_events e WHERE true`)
	condition := func(wanted bool, text string, values ...any) {
		if wanted {
			query.WriteString(" AND " + text)
			args = append(args, values...)
		}
	}
	condition(filter.Actor != "", "e.actor >= ? AND e.actor < ?", filter.Actor, filter.Actor+storage.LastRune)
	condition(filter.Action != "", "e.action >= ? AND e.action < ?", filter.Action, filter.Action+storage.LastRune)
	condition(filter.Target != "", "e.target = ?", filter.Target)
	condition(!filter.Since.IsZero(), "e.at >= ?", micros(filter.Since))
	condition(!filter.Until.IsZero(), "e.at < ?", micros(filter.Until))
	if filter.Newest {
		condition(page.After != "", "e.id < ?", page.After)
		query.WriteString(" ORDER BY e.id DESC LIMIT ?")
	} else {
		condition(page.After != "", "e.id > ?", page.After)
		query.WriteString(" ORDER BY e.id LIMIT ?")
	}
	return readRows(ctx, s, query.String(), append(args, page.Limit), scanAuditEvent)
}

// The condition is the indexed expression, word for word.
const selectUserAuditEvents = `SELECT ` + auditEventColumns + ` FROM audit_events e
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
	err := row.Scan(intoAuditEvent(&e)...)
	return &e, err
}

// intoAuditEvent is where auditEventColumns go. Each may be NULL in a row that has
// no event, and its seal in an event that has none.
func intoAuditEvent(e *storage.AuditEvent) []any {
	return []any{
		intoText{&e.ID},
		intoTime{&e.At},
		intoText{&e.Actor},
		intoText{&e.Action},
		intoText{&e.Target},
		intoDetail{&e.Detail},
		intoInteger[int64]{&e.Seal.Number},
		intoInteger[int]{&e.Seal.Position},
		intoBlobOrNil{&e.Seal.MAC},
		intoBlobOrNil{&e.Seal.Salt},
		intoText{&e.Seal.Erasure},
	}
}

// intoDetail reads an object of strings; NULL is nil.
type intoDetail struct{ to *map[string]string }

func (i intoDetail) Scan(value any) error {
	if value == nil {
		return nil
	}
	return scanJSON(value, i.to)
}
