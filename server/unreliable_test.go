package server_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"grantd/storage"
)

// unreliable is a Store in front of another one whose calls can be made to go
// wrong: before they have done anything, or after they have done it all. It also
// notes which calls are made. Only what requests to the public listener use goes
// through it.
type unreliable struct {
	storage.Store

	mu            sync.Mutex
	seen          []string
	before, after func(call string) error

	unusual atomic.Bool // nothing is what RenewFamily renews or ExchangeCode exchanges
}

// set makes calls go wrong from now on; nil: they go well.
func (u *unreliable) set(before, after func(call string) error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.before, u.after, u.seen = before, after, nil
}

// calls returns which calls were made since set, each once.
func (u *unreliable) calls() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(u.seen)))
}

// count returns how often each call was made since set.
func (u *unreliable) count() map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	counts := map[string]int{}
	for _, call := range u.seen {
		counts[call]++
	}
	return counts
}

func (u *unreliable) hooks(call string) (before, after func(string) error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, call)
	before, after = u.before, u.after
	fine := func(string) error { return nil }
	if before == nil {
		before = fine
	}
	if after == nil {
		after = fine
	}
	return before, after
}

// acting runs a call that returns nothing but an error.
func (u *unreliable) acting(call string, act func() error) error {
	_, err := reading(u, call, func() (struct{}, error) { return struct{}{}, act() })
	return err
}

// reading runs a call that returns something.
func reading[T any](u *unreliable, call string, read func() (T, error)) (T, error) {
	before, after := u.hooks(call)
	var none T
	if err := before(call); err != nil {
		return none, err
	}
	found, err := read()
	if afterwards := after(call); afterwards != nil {
		return none, afterwards
	}
	return found, err
}

func (u *unreliable) Client(ctx context.Context, id string) (*storage.Client, error) {
	return reading(u, "Client", func() (*storage.Client, error) { return u.Store.Client(ctx, id) })
}

func (u *unreliable) ClientByClientID(ctx context.Context, clientID string) (*storage.Client, error) {
	return reading(u, "ClientByClientID", func() (*storage.Client, error) { return u.Store.ClientByClientID(ctx, clientID) })
}

func (u *unreliable) FoldClient(ctx context.Context, r *storage.Registration, renewBefore time.Time) (bool, error) {
	return reading(u, "FoldClient", func() (bool, error) { return u.Store.FoldClient(ctx, r, renewBefore) })
}

func (u *unreliable) CreateDynamicClient(ctx context.Context, r *storage.Registration, event storage.AuditEvent) (bool, error) {
	return reading(u, "CreateDynamicClient", func() (bool, error) { return u.Store.CreateDynamicClient(ctx, r, event) })
}

func (u *unreliable) Resources(ctx context.Context, page storage.Page) ([]*storage.Resource, error) {
	return reading(u, "Resources", func() ([]*storage.Resource, error) { return u.Store.Resources(ctx, page) })
}

func (u *unreliable) UserByUsername(ctx context.Context, username string) (*storage.User, error) {
	return reading(u, "UserByUsername", func() (*storage.User, error) { return u.Store.UserByUsername(ctx, username) })
}

func (u *unreliable) CreateSession(ctx context.Context, s *storage.Session, event storage.AuditEvent) error {
	return u.acting("CreateSession", func() error { return u.Store.CreateSession(ctx, s, event) })
}

func (u *unreliable) SignIn(ctx context.Context, tokenHash []byte, look storage.Look, now time.Time) (*storage.SignIn, error) {
	return reading(u, "SignIn", func() (*storage.SignIn, error) { return u.Store.SignIn(ctx, tokenHash, look, now) })
}

func (u *unreliable) DeleteSession(ctx context.Context, id string, event storage.AuditEvent) error {
	return u.acting("DeleteSession", func() error { return u.Store.DeleteSession(ctx, id, event) })
}

func (u *unreliable) Approve(ctx context.Context, a *storage.Approval, event storage.AuditEvent) error {
	return u.acting("Approve", func() error { return u.Store.Approve(ctx, a, event) })
}

func (u *unreliable) CreateCode(ctx context.Context, c *storage.AuthorizationCode, sessionID string) error {
	return u.acting("CreateCode", func() error { return u.Store.CreateCode(ctx, c, sessionID) })
}

func (u *unreliable) CreatePushedRequest(ctx context.Context, p *storage.PushedRequest, maxKept int) error {
	return u.acting("CreatePushedRequest", func() error { return u.Store.CreatePushedRequest(ctx, p, maxKept) })
}

func (u *unreliable) PushedRequest(ctx context.Context, id string) (*storage.PushedRequest, error) {
	return reading(u, "PushedRequest", func() (*storage.PushedRequest, error) { return u.Store.PushedRequest(ctx, id) })
}

func (u *unreliable) DenyPushedRequest(ctx context.Context, denied *storage.AuthorizationCode) error {
	return u.acting("DenyPushedRequest", func() error { return u.Store.DenyPushedRequest(ctx, denied) })
}

func (u *unreliable) Code(ctx context.Context, id string) (code *storage.AuthorizationCode, standing storage.Standing, err error) {
	code, err = reading(u, "Code", func() (*storage.AuthorizationCode, error) {
		var err error
		code, standing, err = u.Store.Code(ctx, id)
		return code, err
	})
	return code, standing, err
}

func (u *unreliable) RedeemCode(ctx context.Context, codeID string, f *storage.Family) error {
	return u.acting("RedeemCode", func() error { return u.Store.RedeemCode(ctx, codeID, f) })
}

func (u *unreliable) ExchangeCode(ctx context.Context, e storage.Exchange) (code *storage.AuthorizationCode, standing storage.Standing, exchanged bool, err error) {
	err = u.acting("ExchangeCode", func() error {
		var err error
		if u.unusual.Load() {
			code, standing, err = u.Store.Code(ctx, e.CodeID)
		} else {
			code, standing, exchanged, err = u.Store.ExchangeCode(ctx, e)
		}
		return err
	})
	return code, standing, exchanged, err
}

func (u *unreliable) FailCode(ctx context.Context, codeID string) error {
	return u.acting("FailCode", func() error { return u.Store.FailCode(ctx, codeID) })
}

func (u *unreliable) Family(ctx context.Context, id string) (family *storage.Family, standing storage.Standing, err error) {
	family, err = reading(u, "Family", func() (*storage.Family, error) {
		var err error
		family, standing, err = u.Store.Family(ctx, id)
		return family, err
	})
	return family, standing, err
}

func (u *unreliable) RotateFamily(ctx context.Context, r storage.Rotation) error {
	return u.acting("RotateFamily", func() error { return u.Store.RotateFamily(ctx, r) })
}

func (u *unreliable) RenewFamily(ctx context.Context, r storage.Renewal) (family *storage.Family, standing storage.Standing, renewed bool, err error) {
	err = u.acting("RenewFamily", func() error {
		var err error
		if u.unusual.Load() {
			family, standing, err = u.Store.Family(ctx, r.FamilyID)
		} else {
			family, standing, renewed, err = u.Store.RenewFamily(ctx, r)
		}
		return err
	})
	return family, standing, renewed, err
}

func (u *unreliable) EndFamily(ctx context.Context, id string, event storage.AuditEvent) error {
	return u.acting("EndFamily", func() error { return u.Store.EndFamily(ctx, id, event) })
}

func (u *unreliable) AccessTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing storage.Standing, err error) {
	live, err = reading(u, "AccessTokenLive", func() (bool, error) {
		live, found, err := u.Store.AccessTokenLive(ctx, jti, familyID, now)
		standing = found
		return live, err
	})
	return live, standing, err
}

func (u *unreliable) AccessTokenScopes(ctx context.Context, jti, familyID string, now time.Time) (live bool, scopes []string, err error) {
	live, err = reading(u, "AccessTokenScopes", func() (live bool, err error) {
		live, scopes, err = u.Store.AccessTokenScopes(ctx, jti, familyID, now)
		return live, err
	})
	return live, scopes, err
}

func (u *unreliable) RevokeAccessToken(ctx context.Context, jti string, expiresAt time.Time, event storage.AuditEvent) error {
	return u.acting("RevokeAccessToken", func() error { return u.Store.RevokeAccessToken(ctx, jti, expiresAt, event) })
}

func (u *unreliable) CreateDeviceAuthorization(ctx context.Context, d *storage.DeviceAuthorization, caps storage.DeviceCaps) error {
	return u.acting("CreateDeviceAuthorization", func() error { return u.Store.CreateDeviceAuthorization(ctx, d, caps) })
}

func (u *unreliable) DeviceAuthorization(ctx context.Context, id string) (d *storage.DeviceAuthorization, standing storage.Standing, err error) {
	d, err = reading(u, "DeviceAuthorization", func() (*storage.DeviceAuthorization, error) {
		var err error
		d, standing, err = u.Store.DeviceAuthorization(ctx, id)
		return d, err
	})
	return d, standing, err
}

func (u *unreliable) PendingDeviceAuthorization(ctx context.Context, userCodeHashes [][]byte, now time.Time) (*storage.DeviceAuthorization, error) {
	return reading(u, "PendingDeviceAuthorization", func() (*storage.DeviceAuthorization, error) {
		return u.Store.PendingDeviceAuthorization(ctx, userCodeHashes, now)
	})
}

func (u *unreliable) PollDeviceAuthorization(ctx context.Context, p storage.DevicePoll) error {
	return u.acting("PollDeviceAuthorization", func() error { return u.Store.PollDeviceAuthorization(ctx, p) })
}

func (u *unreliable) ApproveDeviceAuthorization(ctx context.Context, a *storage.DeviceApproval, event storage.AuditEvent) error {
	return u.acting("ApproveDeviceAuthorization", func() error { return u.Store.ApproveDeviceAuthorization(ctx, a, event) })
}

func (u *unreliable) DenyDeviceAuthorization(ctx context.Context, id, sessionID string, now time.Time, event storage.AuditEvent) error {
	return u.acting("DenyDeviceAuthorization", func() error { return u.Store.DenyDeviceAuthorization(ctx, id, sessionID, now, event) })
}

func (u *unreliable) RedeemDeviceAuthorization(ctx context.Context, id string, f *storage.Family) error {
	return u.acting("RedeemDeviceAuthorization", func() error { return u.Store.RedeemDeviceAuthorization(ctx, id, f) })
}

func (u *unreliable) RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error {
	return u.acting("RecordAuditEvent", func() error { return u.Store.RecordAuditEvent(ctx, event) })
}
