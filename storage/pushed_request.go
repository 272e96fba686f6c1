package storage

import (
	"context"
	"time"
)

// A PushedRequest must be opened in a browser within PushedRequestLifetime of its
// pushing. Its row stays for PushedRequestGrace more, in which the person who
// opened it in time signs in and decides.
const (
	PushedRequestLifetime = 90 * time.Second
	PushedRequestGrace    = 10 * time.Minute
)

// PushedRequest is an authorization request that a Client has deposited, to be
// referred to in the browser (RFC 9126). It is decided once.
type PushedRequest struct {
	ID       string // PrefixPushedRequest
	ClientID string // the Client's opaque id
	// Query has the request's parameters, encoded as in a URL, without any
	// credential of the client.
	Query     string
	CreatedAt time.Time
	ExpiresAt time.Time // until when it may be opened
	// Decided: somebody approved or denied it. It is not stored but follows from
	// the row that has the id of CodeID.
	Decided bool
}

// CodeID is the id of the AuthorizationCode that deciding this request makes: the
// same 16 bytes, so that no two decisions can be written.
func (p *PushedRequest) CodeID() string {
	raw, err := IDBytes(PrefixPushedRequest, p.ID)
	if err != nil {
		return ""
	}
	return IDFromBytes(PrefixCode, raw)
}

// PushedRequestStore keeps PushedRequests.
type PushedRequestStore interface {
	// CreatePushedRequest inserts p unless its Client has maxKept requests that
	// are still kept as of p.CreatedAt: then ErrFull. Requests that arrive at one moment may
	// each find the last place free. ErrNotFound: no such Client.
	CreatePushedRequest(ctx context.Context, p *PushedRequest, maxKept int) error
	// PushedRequest returns the request, expired or not, and whether it was
	// decided. ErrNotFound.
	PushedRequest(ctx context.Context, id string) (*PushedRequest, error)
	// DenyPushedRequest writes that a person said no, as a code with the request's
	// CodeID behind which no Grant stands: so it can never be redeemed, and is in
	// the way of any approval. ErrConsumed: the request was decided before;
	// ErrNotFound: the User, Client or Resource is gone.
	DenyPushedRequest(ctx context.Context, denied *AuthorizationCode) error
}
