package storage

import (
	"context"
	"time"
)

// A DeviceAuthorization lives DeviceLifetime. A redeemed one stays
// DeviceRetention longer, so that a replay is recognised.
const (
	DeviceLifetime  = 10 * time.Minute
	DeviceRetention = 24 * time.Hour
)

// A device polls every DevicePollInterval. Each time it is told to slow down the
// interval grows by as much, up to MaxDevicePollInterval (RFC 8628 §3.5).
const (
	DevicePollInterval    = 5 * time.Second
	MaxDevicePollInterval = time.Minute
)

// DeviceState is the place of a DeviceAuthorization in its life.
type DeviceState string

// A person approves or denies what is pending; what is approved is redeemed once.
const (
	DevicePending  DeviceState = "pending"
	DeviceApproved DeviceState = "approved"
	DeviceDenied   DeviceState = "denied"
	DeviceRedeemed DeviceState = "redeemed"
)

// DeviceAuthorization is the request of a device without a browser to be
// connected by a person at another one (RFC 8628). Neither of its codes can be
// had from what is stored.
type DeviceAuthorization struct {
	ID           string // PrefixDevice; the device code is made of it
	UserCodeHash []byte // of the user code, under a key that is not in the database; unique
	ClientID     string // the Client's opaque id
	ResourceID   string
	// Scopes are those asked for, and once approved those that were.
	Scopes  []string
	State   DeviceState
	UserID  string // who decided; empty while pending
	GrantID string // empty unless approved, and once the Grant is gone
	// PollInterval is how long the device must wait between polls, PolledAt when
	// it polled last (zero: not yet).
	PollInterval time.Duration
	PolledAt     time.Time
	CreatedAt    time.Time
	ExpiresAt    time.Time
	RedeemedAt   time.Time // zero unless redeemed
	// AMR and AuthenticatedAt are those of the Session that approved; the Store copies
	// them from it. Zero: approved in the version before.
	AMR             []string
	AuthenticatedAt time.Time
}

// FamilyID is the id of the Family that redeeming makes: the same 16 bytes, so
// that a replayed device code names what it must end.
func (d *DeviceAuthorization) FamilyID() string {
	raw, err := IDBytes(PrefixDevice, d.ID)
	if err != nil {
		return ""
	}
	return IDFromBytes(PrefixFamily, raw)
}

// DeviceCaps bound how many pending DeviceAuthorizations there may be at once.
type DeviceCaps struct {
	PerClient int
	InAll     int
}

// DevicePoll is a device's question whether a person has decided. It counts only
// if nobody polled since PolledAt was read.
type DevicePoll struct {
	ID           string
	PolledAt     time.Time     // as read; zero: not yet
	PollInterval time.Duration // from now on
	Now          time.Time
}

// DeviceApproval is a person's yes on the page of a device.
type DeviceApproval struct {
	ID string // of the DeviceAuthorization
	Approver
	UserID     string
	ClientID   string // the Client's opaque id
	ResourceID string
	Scopes     []string
	// The new Grant is (Grant - Shown) + Scopes, as in Approval.
	Shown      []string
	ClientName string
	Now        time.Time
}

// DeviceAuthorizationStore keeps DeviceAuthorizations.
type DeviceAuthorizationStore interface {
	// CreateDeviceAuthorization inserts d, which is pending, unless as many as caps
	// allow are pending and not expired by d.CreatedAt: then ErrFull. ErrExists: the
	// user code is taken; ErrNotFound: the Client or the Resource is gone.
	CreateDeviceAuthorization(ctx context.Context, d *DeviceAuthorization, caps DeviceCaps) error
	// DeviceAuthorization returns it in whatever state, with what stands behind it
	// now. ErrNotFound.
	DeviceAuthorization(ctx context.Context, id string) (d *DeviceAuthorization, standing Standing, err error)
	// PendingDeviceAuthorization returns the one whose user code has one of these
	// hashes, if it waits for a decision at that time. ErrNotFound.
	PendingDeviceAuthorization(ctx context.Context, userCodeHashes [][]byte, now time.Time) (*DeviceAuthorization, error)
	// PollDeviceAuthorization notes a poll of a pending one. It may be forgotten
	// when the database crashes. ErrConsumed: it is not pending any more, or was
	// polled meanwhile.
	PollDeviceAuthorization(ctx context.Context, p DevicePoll) error
	// ApproveDeviceAuthorization writes the Grant and marks the row approved, in
	// one transaction, and locks what it relies on as Approve does. The Grant loses
	// its RedirectURI: nobody was sent anywhere, so that nothing is remembered.
	// ErrConsumed: it is not pending, expired, or of another Client or Resource;
	// ErrNotFound: Session, User, Client or Resource is gone or disabled, or lacks
	// one of the scopes.
	ApproveDeviceAuthorization(ctx context.Context, a *DeviceApproval, event AuditEvent) error
	// DenyDeviceAuthorization marks it denied by the User of a live Session.
	// ErrConsumed: it is not pending, or expired; ErrNotFound: the Session or its
	// User is not live.
	DenyDeviceAuthorization(ctx context.Context, id, sessionID string, now time.Time, event AuditEvent) error
	// RedeemDeviceAuthorization marks it redeemed and inserts the Family it makes,
	// in one transaction; f.Scopes loses what was taken from it since it was read.
	// ErrConsumed: it is not approved, was redeemed, expired by f.CreatedAt, its
	// Grant is gone, or no scope is left.
	RedeemDeviceAuthorization(ctx context.Context, id string, f *Family) error
}
