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
	CreatedAt     time.Time
	ExpiresAt     time.Time
	RedeemedAt    time.Time // zero: not yet
	FailedProofs  int
	// SessionID, AMR and AuthenticatedAt are those of the Session that approved; the
	// Store copies them from it. Zero: approved in the version before.
	SessionID       string
	AMR             []string
	AuthenticatedAt time.Time
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

// Exchange asks to redeem a code of which all that the usual one needs is foretold,
// so that judging it and redeeming it is one act.
type Exchange struct {
	CodeID               string
	ClientID, ResourceID string
	Guessed              bool   // ResourceID is: the code may be for another
	RedirectURI          string // as it was sent again; empty: it was not
	CodeChallenge        string // that of the code_verifier
	// The code must have no scope but those that are allowed, to everybody or to a Group
	// that its User is in. Those of the identity of people are allowed to everybody.
	Allowed   []string
	AllowedTo []GroupScope
	Now       time.Time
	// What the code does not say of its Family.
	ExpiresAt          time.Time
	UserAgent, Address string
}

// Family is what redeeming the code now makes of it.
func (e *Exchange) Family(c *AuthorizationCode) *Family {
	return &Family{
		ID: c.FamilyID(), GrantID: c.GrantID, UserID: c.UserID, ClientID: c.ClientID, ResourceID: c.ResourceID, Scopes: c.Scopes,
		Generation: FirstGeneration, RotatedAt: e.Now, CreatedAt: e.Now, ExpiresAt: e.ExpiresAt,
		SessionID: c.SessionID, AMR: c.AMR, AuthenticatedAt: c.AuthenticatedAt, UserAgent: e.UserAgent, Address: e.Address,
	}
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
	// ExchangeCode is Code, and redeems the code, whose Family gets all of its scopes, if
	// it may be redeemed and is as the Exchange says, its Grant has all of its scopes, and
	// one of them is not of the identity of people. Otherwise it changes nothing, which is
	// only that this is not the usual case. The code is returned as it then is. The
	// standing may lack Groups unless AllowedTo names one, or ResourceID was Guessed.
	// ErrNotFound as Code; ErrConsumed: the Family is there already.
	ExchangeCode(ctx context.Context, e Exchange) (code *AuthorizationCode, standing Standing, exchanged bool, err error)
	// RevokeCode makes a code that was not redeemed worthless; its Grant stays.
	// ErrConsumed: it was redeemed; ErrNotFound: it is gone, or worthless already.
	RevokeCode(ctx context.Context, codeID string, event AuditEvent) error
	// FailCode counts a wrong proof by the code's own client. ErrNotFound: the code
	// is gone, redeemed or dead, and there is nothing to count.
	FailCode(ctx context.Context, codeID string) error
}
