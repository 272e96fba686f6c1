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
	Seal   EventSeal         // its place in the chain; zero until it is sealed
}

// DetailUser is the detail that names the User an event is about when neither actor
// nor target does.
const DetailUser = "user_id"

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

// LastRune sorts after every character, so that texts which begin with a prefix are
// those from prefix to prefix + LastRune.
const LastRune = "\U0010FFFF"

// AuditFilter selects AuditEvents; empty fields select all.
type AuditFilter struct {
	Actor  string // of whoever's name begins so
	Action string // of every kind that begins so
	Target string
	Since  time.Time // At is this or later
	Until  time.Time // At is earlier than this
	Newest bool      // the newest first; Page.After is then the id to go on before
}

// AuditEventStore keeps AuditEvents. Most are written by the act they record.
type AuditEventStore interface {
	// RecordAuditEvent writes an event that accompanies no other change.
	RecordAuditEvent(ctx context.Context, event AuditEvent) error
	// AuditEvents lists by ID.
	AuditEvents(ctx context.Context, filter AuditFilter, page Page) ([]*AuditEvent, error)
	// UserAuditEvents lists the events that are about a User, newest first: whose
	// Target they are, or else whom the detail DetailUser names, or else who did it.
	// before is the id of an event, which is older than the list goes; empty: from
	// the newest.
	UserAuditEvents(ctx context.Context, userID, before string, limit int) ([]*AuditEvent, error)
}
