package storage

import (
	"context"
	"slices"
	"time"
)

// Grant is what a User has approved: User x Client x Resource -> Scopes, unique
// on the three. Revoking deletes it and ends its Families; approving again makes
// a new one.
type Grant struct {
	ID         string // PrefixGrant
	UserID     string
	ClientID   string // the Client's opaque id
	ResourceID string
	Scopes     []string // sorted
	// RedirectURI and ClientName are what the person saw when approving last; a
	// remembered approval holds only while both are the same.
	RedirectURI string
	ClientName  string
	// InAdvance: a Policy approved it and the person saw no page, so that nothing is
	// remembered.
	InAdvance bool
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Standing is what stands behind a code, a device code, a Family or an access token
// at the moment it is read.
type Standing struct {
	Scopes []string // that its Grant has; nil: there is no Grant, or the User is disabled
	Groups []string // that the User is in, sorted
	// Person is who the User is.
	Person Person
}

// Person is what clients may be told of a User.
type Person struct {
	Username, Name, Email string
	EmailVerified         bool // false: a Provider gave the address, and has not verified it
}

// Covers reports whether every one of scopes is approved.
func (g *Grant) Covers(scopes []string) bool {
	for _, s := range scopes {
		if !slices.Contains(g.Scopes, s) {
			return false
		}
	}
	return true
}

// Record adds whose grant it is to an event about it.
func (g *Grant) Record(event AuditEvent) AuditEvent {
	return event.With("user_id", g.UserID).With("client_id", g.ClientID).With("resource_id", g.ResourceID)
}

// Approver is who approves: a Session, and its User as they were when what is approved
// was found to be theirs to approve. Anybody else's approval is none, so whoever is known
// from the page need not be looked up once more.
type Approver struct {
	SessionID   string
	UserVersion int64
}

// Approver is who approves when the signed-in person does.
func (s *SignIn) Approver() Approver {
	return Approver{SessionID: s.Session.ID, UserVersion: s.User.Version}
}

// Approval is a person's yes on a consent page, or that of a Policy in advance.
type Approval struct {
	Code AuthorizationCode // GrantID is filled in by Approve
	Approver
	// The new Grant is (Grant - Shown) + Code.Scopes: what was on the page is
	// decided by it, what was not stays.
	Shown      []string
	ClientName string
	InAdvance  bool // nobody saw a page
	// Document is the Client as shown, if its row is still to be written from its
	// document; DocumentEvent records that. Nil: the row is there.
	Document      *Client
	DocumentEvent AuditEvent
}

// GrantFilter selects Grants by opaque ids and by when they were last approved;
// empty fields select all.
type GrantFilter struct {
	UserID     string
	ClientID   string
	ResourceID string
	Since      time.Time // inclusive
	Until      time.Time // exclusive
}

// GrantStore keeps Grants.
type GrantStore interface {
	// Approve inserts the code and writes the Grant in one statement, and sets
	// a.Code.GrantID. It locks the Session, User, Client and Resource it relies
	// on, so that ending one of them at the same moment leaves nothing behind.
	// A Document is written in the same statement, unless the row has one as new. It
	// never enables a disabled Client.
	// ErrConsumed: this page (Code.ID) was approved before; ErrNotFound: one of
	// the four is gone or disabled, the User has changed, or their Provider no longer
	// vouches for them.
	Approve(ctx context.Context, a *Approval, event AuditEvent) error
	// Grant returns the grant with this id. ErrNotFound.
	Grant(ctx context.Context, id string) (*Grant, error)
	// Grants lists by ID.
	Grants(ctx context.Context, filter GrantFilter, page Page) ([]*Grant, error)
	// DeleteGrant revokes: the Grant, its Families and its unredeemed codes are
	// dead when it returns. The event gets the Grant's user_id, client_id and
	// resource_id as details. ErrNotFound.
	DeleteGrant(ctx context.Context, id string, event AuditEvent) error
}
