package storage

import (
	"context"
	"time"
)

// An AuthorizationCode lives CodeLifetime. Its row stays CodeRetention, so that a
// consent page cannot approve twice and a replay is recognised. After
// MaxFailedProofs wrong verifiers it is dead.
const (
	CodeLifetime    = 60 * time.Second
	CodeRetention   = 24 * time.Hour
	MaxFailedProofs = 5
)

// AuthorizationCode is short-lived, single use, and belongs to a Grant.
type AuthorizationCode struct {
	ID            string // PrefixCode; the nonce of the page that approved it, or PushedRequest.CodeID
	GrantID       string // empty once the Grant is gone: then it can never be redeemed
	UserID        string
	ClientID      string // the Client's opaque id
	ResourceID    string
	Scopes        []string
	RedirectURI   string
	CodeChallenge string // S256 (RFC 7636 §4.2)
	Nonce         string // of OpenID Connect; empty: none was sent
	// SessionID and AuthenticatedAt are of the Session that it was approved in.
	SessionID       string
	AuthenticatedAt time.Time
	CreatedAt       time.Time
	ExpiresAt       time.Time
	RedeemedAt      time.Time // zero: not yet
	FailedProofs    int
}

// FamilyID is the id of the Family that redeeming this code makes: the same 16
// bytes, so that a replayed code names what it must end.
func (c *AuthorizationCode) FamilyID() string {
	raw, err := IDBytes(PrefixCode, c.ID)
	if err != nil {
		return ""
	}
	return IDFromBytes(PrefixFamily, raw)
}

// AuthorizationCodeStore keeps AuthorizationCodes.
type AuthorizationCodeStore interface {
	// CreateCode inserts a code under a remembered approval: c.GrantID must exist,
	// cover c.Scopes, and its User, Client and the Session be live at that moment,
	// else ErrNotFound. ErrConsumed: the id is taken.
	CreateCode(ctx context.Context, c *AuthorizationCode, sessionID string) error
	// Code returns the code, redeemed or not, with what stands behind it now.
	// ErrNotFound.
	Code(ctx context.Context, id string) (code *AuthorizationCode, standing Standing, err error)
	// RedeemCode marks the code redeemed and inserts the Family it makes, in one
	// statement. f.Scopes loses what was taken from the code since it was read.
	// ErrConsumed: it was redeemed, failed too often, expired by f.CreatedAt, its
	// Grant is gone, or no scope is left.
	RedeemCode(ctx context.Context, codeID string, f *Family) error
	// RevokeCode makes a code that was not redeemed worthless; its Grant stays.
	// ErrConsumed: it was redeemed; ErrNotFound: it is gone, or worthless already.
	RevokeCode(ctx context.Context, codeID string, event AuditEvent) error
	// FailCode counts a wrong proof by the code's own client. ErrNotFound: the code
	// is gone, redeemed or dead, and there is nothing to count.
	FailCode(ctx context.Context, codeID string) error
}
