package storage

import (
	"context"
	"slices"
	"time"
)

// RegistrationRequestState is what has become of a RegistrationRequest.
type RegistrationRequestState string

// The states of a RegistrationRequest.
const (
	RequestPending RegistrationRequestState = "pending"
	RequestAllowed RegistrationRequestState = "allowed"
	RequestRefused RegistrationRequestState = "refused"
)

const (
	// RequestLifetime is how long a request waits for a decision, and how long an
	// allowed client may take to be used for the first time.
	RequestLifetime = 30 * 24 * time.Hour
	// MaxAskedBy bounds RegistrationRequest.AskedBy.
	MaxAskedBy = 20
)

// RegistrationRequest is what people ask of administrators: to allow a client
// that introduced itself. Decided, it is the decision on that client.
type RegistrationRequest struct {
	ID       string // PrefixRegistrationRequest
	ClientID string // the OAuth client_id; there is one request for each
	Source   ClientSource

	// What the client claimed when it was asked for. It stays while the request
	// waits, so that what is decided is what was looked at.
	ClientName   string
	RedirectURIs []string

	State     RegistrationRequestState
	CreatedAt time.Time
	DecidedAt time.Time // zero: not decided

	Asked   int     // how many people asked
	AskedBy []Asker // the first MaxAskedBy of them
}

// RequestLimits bound how many RegistrationRequests may wait for a decision.
type RequestLimits struct {
	Pending int // in all
	OfUser  int // that one person asked for
}

// Asker is a person who asked.
type Asker struct {
	UserID   string
	Username string
	At       time.Time
}

// Covers reports whether the request, once decided, is a decision on c as it is
// now. A dynamic client may change where its answers go; then nobody has decided
// on it.
func (r *RegistrationRequest) Covers(c *Client) bool {
	if c.Source != SourceDynamic {
		return true
	}
	return !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return !slices.Contains(r.RedirectURIs, uri) })
}

// RegistrationDecision is an administrator's answer to a RegistrationRequest.
type RegistrationDecision struct {
	Allowed bool
	At      time.Time
	// Host is decided as well, and with it every pending request whose id is in
	// Others. Empty: the client alone.
	Host   string
	Others []string
}

// RegistrationRequestStore keeps RegistrationRequests.
type RegistrationRequestStore interface {
	// AskRegistration records that a person asks for r.ClientID, and sets r.ID to
	// that of the request there is. Asking twice changes nothing. A request that
	// was allowed for a client with other redirect URIs waits again, with r's
	// claims. ErrFull: a limit is reached.
	// ErrConflict: it has been decided. ErrNotFound: there is no such user. The
	// event is written when the person had not asked before.
	AskRegistration(ctx context.Context, r *RegistrationRequest, userID string, limits RequestLimits, event AuditEvent) error
	// RegistrationRequest returns the request with this id. ErrNotFound.
	RegistrationRequest(ctx context.Context, id string) (*RegistrationRequest, error)
	// RegistrationRequestOf returns the request for an OAuth client_id, and
	// whether that person has asked for it. ErrNotFound.
	RegistrationRequestOf(ctx context.Context, clientID, userID string) (r *RegistrationRequest, asked bool, err error)
	// RegistrationRequests lists by ID: those in that state, or all if it is empty.
	RegistrationRequests(ctx context.Context, state RegistrationRequestState, page Page) ([]*RegistrationRequest, error)
	// DecideRegistration decides a request, also one that was decided before, and
	// what d names beside it. ErrNotFound.
	DecideRegistration(ctx context.Context, id string, d RegistrationDecision, event AuditEvent) error
	// DeleteRegistrationRequest forgets a request and its decision. ErrNotFound.
	DeleteRegistrationRequest(ctx context.Context, id string, event AuditEvent) error
}
