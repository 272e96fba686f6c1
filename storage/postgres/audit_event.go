package postgres

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// recordEvent, followed by the name of a CTE, writes the event in parameters 1 to
// 6 if the CTE has a row: in the same statement as the act and only with it.
const recordEvent = `
INSERT INTO audit_events (id, at, actor, action, target, detail)
SELECT $1::text, $2::timestamptz, $3::text, $4::text, $5::text, $6::jsonb FROM `

// withEvent returns the parameters of recordEvent, followed by args.
func withEvent(e storage.AuditEvent, args ...any) []any {
	return append([]any{e.ID, e.At, clean(e.Actor), clean(e.Action), clean(e.Target), detailText(e.Detail)}, args...)
}

// clean makes of a text one that Postgres takes: what a stranger made part of an
// event must not keep it from being written.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func detailText(detail map[string]string) string {
	cleaned := make(map[string]string, len(detail))
	for name, value := range detail {
		cleaned[clean(name)] = clean(value)
	}
	text, _ := json.Marshal(cleaned) // a map of strings always encodes
	return string(text)
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

const auditEventColumns = `e.id, e.at, e.actor, e.action, e.target, e.detail, e.seal, e.position, e.mac, e.salt, e.erasure`

// AuditEvents implements storage.AuditEventStore. Only the conditions that are
// asked for are in the statement, so that each has its index.
func (s *Store) AuditEvents(ctx context.Context, filter storage.AuditFilter, page storage.Page) ([]*storage.AuditEvent, error) {
	var (
		sql  strings.Builder
		args []any
	)
	sql.WriteString(`SELECT ` + auditEventColumns + ` FROM audit_events e WHERE true`)
	condition := func(wanted bool, text string, values ...any) {
		if !wanted {
			return
		}
		for _, v := range values {
			args = append(args, v)
			text = strings.Replace(text, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		sql.WriteString(" AND " + text)
	}
	condition(filter.Actor != "", "e.actor >= ? AND e.actor < ?", filter.Actor, filter.Actor+storage.LastRune)
	condition(filter.Action != "", "e.action >= ? AND e.action < ?", filter.Action, filter.Action+storage.LastRune)
	condition(filter.Target != "", "e.target = ?", filter.Target)
	condition(!filter.Since.IsZero(), "e.at >= ?", filter.Since)
	condition(!filter.Until.IsZero(), "e.at < ?", filter.Until)
	direction := "ASC"
	if filter.Newest {
		direction = "DESC"
		condition(page.After != "", "e.id < ?", page.After)
	} else {
		condition(page.After != "", "e.id > ?", page.After)
	}
	args = append(args, page.Limit)
	sql.WriteString(" ORDER BY e.id " + direction + " LIMIT $" + strconv.Itoa(len(args)))
	return rows(ctx, s, "list audit events", each(scanAuditEvent), sql.String(), args...)
}

// UserAuditEvents implements storage.AuditEventStore. The condition is the indexed
// expression, word for word.
func (s *Store) UserAuditEvents(ctx context.Context, userID, before string, limit int) ([]*storage.AuditEvent, error) {
	const sql = `
SELECT ` + auditEventColumns + ` FROM audit_events e
WHERE coalesce(CASE WHEN substr(target, 1, 4) = 'usr_' THEN target END, detail ->> 'user_id', CASE WHEN substr(actor, 1, 5) = 'user:' THEN substr(actor, 6) END) = $1
	AND (id < $2 OR $2 = '')
ORDER BY id DESC LIMIT $3`
	return rows(ctx, s, "list the audit events about a user", each(scanAuditEvent), sql, userID, before, limit)
}

func scanAuditEvent(row pgx.CollectableRow) (*storage.AuditEvent, error) {
	var e storage.AuditEvent
	err := row.Scan(intoAuditEvent(&e)...)
	return &e, err
}

// intoAuditEvent is where auditEventColumns go. Each may be NULL in a row that has
// no event, and its seal in an event that has none.
func intoAuditEvent(e *storage.AuditEvent) []any {
	return []any{
		(*zeronull.Text)(&e.ID), (*zeronull.Timestamptz)(&e.At), (*zeronull.Text)(&e.Actor), (*zeronull.Text)(&e.Action),
		(*zeronull.Text)(&e.Target), &e.Detail, (*zeronull.Int8)(&e.Seal.Number),
		intoInt{&e.Seal.Position},
		&e.Seal.MAC, &e.Seal.Salt, (*zeronull.Text)(&e.Seal.Erasure),
	}
}

// intoInt reads an integer; NULL is 0.
type intoInt struct{ to *int }

// ScanInt64 implements pgtype.Int64Scanner.
func (i intoInt) ScanInt64(v pgtype.Int8) error {
	*i.to = int(v.Int64)
	return nil
}
