package storage

import (
	"context"
	"time"
)

// AuditEvent is the append-only record of a security-relevant act. It never
// holds a secret, token, code or password.
type AuditEvent struct {
	ID     string // PrefixAuditEvent
	At     time.Time
	Actor  string            // "user:ID", "client:CLIENT_ID", "admin:KEY", "provider:ID", "system"
	Action string            // noun.verb, as "grant.approved"
	Target string            // id of what was acted on
	Detail map[string]string // further values, by name
}

// NewAuditEvent returns an event with a fresh id.
func NewAuditEvent(at time.Time, actor, action, target string) AuditEvent {
	return AuditEvent{ID: NewID(PrefixAuditEvent), At: at, Actor: actor, Action: action, Target: target}
}

// With returns the event with one more detail.
func (e AuditEvent) With(name, value string) AuditEvent {
	detail := make(map[string]string, len(e.Detail)+1)
	for k, v := range e.Detail {
		detail[k] = v
	}
	detail[name] = value
	e.Detail = detail
	return e
}

// AuditEventStore keeps AuditEvents. Most are written by the act they record.
type AuditEventStore interface {
	// RecordAuditEvent writes an event that accompanies no other change.
	RecordAuditEvent(ctx context.Context, event AuditEvent) error
	// AuditEvents lists by ID.
	AuditEvents(ctx context.Context, page Page) ([]*AuditEvent, error)
}
