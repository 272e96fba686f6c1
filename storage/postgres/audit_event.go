package postgres

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

// recordEvent, followed by the name of a CTE, writes the event in parameters 1 to
// 6 if the CTE has a row: in the same statement as the act and only with it.
const recordEvent = `
INSERT INTO audit_events (id, at, actor, action, target, detail)
SELECT $1::text, $2::timestamptz, $3::text, $4::text, $5::text, $6::jsonb FROM `

// withEvent returns the parameters of recordEvent, followed by args.
func withEvent(e storage.AuditEvent, args ...any) []any {
	// What a stranger made part of an event must not keep it from being written.
	clean := func(s string) string {
		return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	detail := make(map[string]string, len(e.Detail))
	for name, value := range e.Detail {
		detail[clean(name)] = clean(value)
	}
	text, _ := json.Marshal(detail) // a map of strings always encodes
	return append([]any{e.ID, e.At, clean(e.Actor), clean(e.Action), clean(e.Target), string(text)}, args...)
}

const recordAlways = recordEvent + `(VALUES (true)) AS always`

// RecordAuditEvent implements storage.AuditEventStore.
func (s *Store) RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error {
	_, err := s.exec(ctx, "record an audit event", recordAlways, withEvent(event)...)
	return err
}

// record writes the event of a transaction.
func record(ctx context.Context, tx pgx.Tx, event storage.AuditEvent) error {
	_, err := tx.Exec(ctx, recordAlways, withEvent(event)...)
	return err
}

// AuditEvents implements storage.AuditEventStore.
func (s *Store) AuditEvents(ctx context.Context, page storage.Page) ([]*storage.AuditEvent, error) {
	const sql = `
SELECT id, at, actor, action, target, detail
FROM audit_events WHERE id > $1 ORDER BY id LIMIT $2`
	return rows(ctx, s, "list audit events", each(scanAuditEvent), sql, page.After, page.Limit)
}

// UserAuditEvents implements storage.AuditEventStore. The condition is the indexed
// expression, word for word.
func (s *Store) UserAuditEvents(ctx context.Context, userID, before string, limit int) ([]*storage.AuditEvent, error) {
	const sql = `
SELECT id, at, actor, action, target, detail
FROM audit_events
WHERE coalesce(CASE WHEN substr(target, 1, 4) = 'usr_' THEN target END, detail ->> 'user_id', CASE WHEN substr(actor, 1, 5) = 'user:' THEN substr(actor, 6) END) = $1
	AND (id < $2 OR $2 = '')
ORDER BY id DESC LIMIT $3`
	return rows(ctx, s, "list the audit events about a user", each(scanAuditEvent), sql, userID, before, limit)
}

func scanAuditEvent(row pgx.CollectableRow) (*storage.AuditEvent, error) {
	var e storage.AuditEvent
	err := row.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Target, &e.Detail)
	return &e, err
}
