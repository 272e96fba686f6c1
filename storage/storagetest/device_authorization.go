package storagetest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var deviceAuthorizationContracts = []contract{
	{"a device authorization comes back", deviceRoundTrip},
	{"a user code is taken once", deviceExists},
	{"a device needs its client and resource", deviceNeeds},
	{"the caps count what waits", deviceCaps},
	{"a user code finds what waits and nothing else", deviceByUserCode},
	{"a poll is noted once", devicePolled},
	{"an approval writes the grant", deviceApproved},
	{"an approval needs everything it relies on", deviceApprovalNeeds},
	{"a decision is made once", deviceDecidedOnce},
	{"a denial is made by somebody signed in", deviceDenied},
	{"a device is redeemed once and makes a family", deviceRedeemed},
	{"a device is redeemed only while it may be", deviceNotRedeemed},
	{"a device tells the scopes its grant has now", deviceGrantScopes},
	{"a removed scope is gone from devices", deviceScopeRemoved},
	{"what ends a sign-in or a grant ends what was approved", deviceEnded},
	{"the sweep takes devices past their time", deviceSwept},
	{"one device is redeemed once, whoever races", raceDeviceRedeem},
	{"one decision wins", raceDeviceDecide},
	{"polls do not keep a person from approving", raceDevicePolls},
	{"one of many polls is noted", raceDevicePoll},
	{"the caps hold under a race", raceDeviceCaps},
	{"what ends while a device is connected leaves nothing", raceDeviceEnded},
}

// NewDevice returns a device authorization of the fixture's client and resource,
// made at Now and pending, that is not stored.
func (f *Fixture) NewDevice(scopes ...string) *storage.DeviceAuthorization {
	hash := sha256.Sum256(fmt.Appendf(nil, "user code %d", next()))
	return &storage.DeviceAuthorization{
		ID:           storage.NewID(storage.PrefixDevice),
		UserCodeHash: hash[:],
		ClientID:     f.Client.ID,
		ResourceID:   f.Resource.ID,
		Scopes:       append([]string{}, scopes...),
		State:        storage.DevicePending,
		PollInterval: storage.DevicePollInterval,
		CreatedAt:    Now,
		ExpiresAt:    Now.Add(storage.DeviceLifetime),
		AMR:          []string{},
	}
}

// manyDevices are caps that nothing here reaches.
var manyDevices = storage.DeviceCaps{PerClient: 10_000, InAll: 10_000}

// Device stores a pending device authorization.
func (f *Fixture) Device(t testing.TB, scopes ...string) *storage.DeviceAuthorization {
	t.Helper()
	d := f.NewDevice(scopes...)
	want(t, f.Store.CreateDeviceAuthorization(t.Context(), d, manyDevices), nil)
	return d
}

// NewDeviceApproval returns an approval, at Now, of all the device asks for.
func (f *Fixture) NewDeviceApproval(d *storage.DeviceAuthorization) *storage.DeviceApproval {
	return &storage.DeviceApproval{
		ID: d.ID, Approver: f.approver(), UserID: f.User.ID, ClientID: d.ClientID, ResourceID: d.ResourceID,
		Scopes: slices.Clone(d.Scopes), Shown: slices.Clone(d.Scopes), ClientName: f.Client.ClientName, Now: Now,
	}
}

// ApproveDevice has the fixture's person approve all the device asks for, and
// returns it as it is then.
func (f *Fixture) ApproveDevice(t testing.TB, d *storage.DeviceAuthorization) *storage.DeviceAuthorization {
	t.Helper()
	want(t, f.Store.ApproveDeviceAuthorization(t.Context(), f.NewDeviceApproval(d), Event("grant.approved", d.ID)), nil)
	return deviceNow(t, f.Store, d.ID)
}

// NewDeviceFamily returns the family that redeeming an approved device makes, as
// of its making; it is not stored.
func NewDeviceFamily(d *storage.DeviceAuthorization) *storage.Family {
	return &storage.Family{
		AMR: d.AMR, AuthenticatedAt: d.AuthenticatedAt,
		ID: d.FamilyID(), GrantID: d.GrantID, UserID: d.UserID, ClientID: d.ClientID, ResourceID: d.ResourceID,
		Scopes: slices.Clone(d.Scopes), Generation: 1, RotationRequest: []byte{},
		RotatedAt: d.CreatedAt, CreatedAt: d.CreatedAt, ExpiresAt: d.CreatedAt.Add(storage.FamilyLifetime),
	}
}

func deviceNow(t testing.TB, s storage.Store, id string) *storage.DeviceAuthorization {
	t.Helper()
	d, _, err := s.DeviceAuthorization(t.Context(), id)
	want(t, err, nil)
	return d
}

func deviceRoundTrip(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.Device(t, "files:write", "files:read")
	got, standing, err := s.DeviceAuthorization(t.Context(), d.ID)
	want(t, err, nil)
	if diff := cmp.Diff(d, got); diff != "" {
		t.Errorf("device (-stored +read):\n%s", diff)
	}
	if standing.Scopes != nil {
		t.Errorf("scopes %q of no grant", standing.Scopes)
	}
	if standing.Person != (storage.Person{}) {
		t.Errorf("nobody has decided, and it is %+v", standing.Person)
	}
	_, _, err = s.DeviceAuthorization(t.Context(), storage.NewID(storage.PrefixDevice))
	want(t, err, storage.ErrNotFound)
	// Nobody's grant has changed.
	if diff := cmp.Diff(f.Grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
		t.Errorf("grant (-before +after):\n%s", diff)
	}
}

func deviceExists(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.Device(t, "files:read")
	again := f.NewDevice("files:read")
	again.UserCodeHash = d.UserCodeHash
	want(t, s.CreateDeviceAuthorization(t.Context(), again, manyDevices), storage.ErrExists)
	again = f.NewDevice("files:read")
	again.ID = d.ID
	want(t, s.CreateDeviceAuthorization(t.Context(), again, manyDevices), storage.ErrExists)
}

func deviceNeeds(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	for _, spoil := range []func(*storage.DeviceAuthorization){
		func(d *storage.DeviceAuthorization) { d.ClientID = "cl_none" },
		func(d *storage.DeviceAuthorization) { d.ResourceID = "res_none" },
	} {
		d := f.NewDevice("files:read")
		spoil(d)
		want(t, s.CreateDeviceAuthorization(t.Context(), d, manyDevices), storage.ErrNotFound)
	}
}

func deviceCaps(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	caps := storage.DeviceCaps{PerClient: 2, InAll: 3}
	create := func(d *storage.DeviceAuthorization) error {
		return s.CreateDeviceAuthorization(t.Context(), d, caps)
	}
	first := f.NewDevice("files:read")
	want(t, create(first), nil)
	want(t, create(f.NewDevice("files:read")), nil)
	want(t, create(f.NewDevice("files:read")), storage.ErrFull)
	want(t, create(other.NewDevice("files:read")), nil)
	want(t, create(other.NewDevice("files:read")), storage.ErrFull) // in all
	// What was decided waits no more.
	want(t, s.DenyDeviceAuthorization(t.Context(), first.ID, f.Session.ID, Now, Event("device.denied", first.ID)), nil)
	want(t, create(f.NewDevice("files:read")), nil)
	want(t, create(f.NewDevice("files:read")), storage.ErrFull)
	// Nor does what has expired.
	late := f.NewDevice("files:read")
	late.CreatedAt, late.ExpiresAt = first.ExpiresAt, first.ExpiresAt.Add(storage.DeviceLifetime)
	want(t, create(late), nil)
	want(t, s.CreateDeviceAuthorization(t.Context(), f.NewDevice("files:read"), storage.DeviceCaps{}), storage.ErrFull)
}

func deviceByUserCode(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d, other := f.Device(t, "files:read"), f.Device(t, "files:read")
	find := func(now time.Time, hashes ...[]byte) error {
		_, err := s.PendingDeviceAuthorization(t.Context(), hashes, now)
		return err
	}
	got, err := s.PendingDeviceAuthorization(t.Context(), [][]byte{{0x00, 0xff}, d.UserCodeHash}, Now)
	want(t, err, nil)
	if diff := cmp.Diff(d, got); diff != "" {
		t.Errorf("device (-stored +read):\n%s", diff)
	}
	want(t, find(Now), storage.ErrNotFound)
	want(t, find(Now, []byte{0x00, 0xff}, nil), storage.ErrNotFound)
	want(t, find(d.ExpiresAt.Add(-step), d.UserCodeHash), nil)
	want(t, find(d.ExpiresAt, d.UserCodeHash), storage.ErrNotFound)
	f.ApproveDevice(t, d)
	want(t, find(Now, d.UserCodeHash), storage.ErrNotFound)
	want(t, s.DenyDeviceAuthorization(t.Context(), other.ID, f.Session.ID, Now, Event("device.denied", other.ID)), nil)
	want(t, find(Now, other.UserCodeHash), storage.ErrNotFound)
}

func devicePolled(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.Device(t, "files:read")
	poll := func(polledAt, now time.Time, interval time.Duration) error {
		return s.PollDeviceAuthorization(t.Context(), storage.DevicePoll{ID: d.ID, PolledAt: polledAt, PollInterval: interval, Now: now})
	}
	at := Now.Add(time.Second)
	want(t, poll(Now, at, d.PollInterval), storage.ErrConsumed)
	want(t, poll(time.Time{}, at, d.PollInterval), nil)
	want(t, poll(time.Time{}, at.Add(step), d.PollInterval), storage.ErrConsumed)
	want(t, poll(at, at.Add(step), 10*time.Second), nil)
	d.PolledAt, d.PollInterval = at.Add(step), 10*time.Second
	if diff := cmp.Diff(d, deviceNow(t, s, d.ID)); diff != "" {
		t.Errorf("device (-want +got):\n%s", diff)
	}
	approved := f.ApproveDevice(t, d)
	want(t, poll(d.PolledAt, at.Add(time.Hour), time.Minute), storage.ErrConsumed)
	if diff := cmp.Diff(approved, deviceNow(t, s, d.ID)); diff != "" {
		t.Errorf("after a poll that came too late (-want +got):\n%s", diff)
	}
}

func deviceApproved(t *testing.T, s storage.Store) {
	f := NewFixture(t, s) // has a Grant of read and write
	d := f.Device(t, "files:write", "files:delete")
	a := f.NewDeviceApproval(d)
	a.Scopes = []string{"files:delete"}
	a.Now = Now.Add(time.Minute)
	before := len(events(t, s))
	want(t, s.ApproveDeviceAuthorization(t.Context(), a, Event("grant.approved", d.ID)), nil)
	if n := len(events(t, s)) - before; n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	grant := *f.Grant
	grant.Scopes, grant.RedirectURI, grant.UpdatedAt = []string{"files:delete", "files:read"}, "", a.Now
	if diff := cmp.Diff(&grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
	expected := *d
	expected.State, expected.UserID, expected.GrantID, expected.Scopes = storage.DeviceApproved, f.User.ID, f.Grant.ID, a.Scopes
	expected.AMR, expected.AuthenticatedAt = f.Session.AMR, f.Session.AuthenticatedAt
	got, standing, err := s.DeviceAuthorization(t.Context(), d.ID)
	want(t, err, nil)
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("device (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(grant.Scopes, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
	person := f.person()
	if diff := cmp.Diff(person, standing.Person); diff != "" {
		t.Errorf("who approved (-want +got):\n%s", diff)
	}

	// Without a Grant before, it makes one, and keeps the order asked for.
	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", "")), nil)
	fresh := f.ApproveDevice(t, f.Device(t, "files:write", "files:read"))
	made := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)
	if made == nil || fresh.GrantID != made.ID || made.ID == f.Grant.ID || made.ClientName != f.Client.ClientName || made.RedirectURI != "" ||
		!slices.Equal(made.Scopes, []string{"files:read", "files:write"}) || !slices.Equal(fresh.Scopes, []string{"files:write", "files:read"}) {
		t.Errorf("device %+v, grant %+v", fresh, made)
	}
}

func deviceApprovalNeeds(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	type spoiled struct {
		name  string
		spoil func(a *storage.DeviceApproval)
		err   error
	}
	cases := []spoiled{
		{"no such device", func(a *storage.DeviceApproval) { a.ID = "dev_none" }, storage.ErrConsumed},
		{"expired", func(a *storage.DeviceApproval) { a.Now = Now.Add(storage.DeviceLifetime) }, storage.ErrConsumed},
		{"another client's", func(a *storage.DeviceApproval) { a.ClientID = other.Client.ID }, storage.ErrConsumed},
		{"for another resource", func(a *storage.DeviceApproval) { a.ResourceID = other.Resource.ID }, storage.ErrConsumed},
		{"no user", func(a *storage.DeviceApproval) { a.UserID = "usr_none" }, storage.ErrNotFound},
		{"no client", func(a *storage.DeviceApproval) { a.ClientID = "cl_none" }, storage.ErrNotFound},
		{"no resource", func(a *storage.DeviceApproval) { a.ResourceID = "res_none" }, storage.ErrNotFound},
		{"a scope the resource has not", func(a *storage.DeviceApproval) { a.Scopes = []string{"files:read", "files:none"} }, storage.ErrNotFound},
	}
	for name, by := range otherApprovers(other) {
		cases = append(cases, spoiled{name, func(a *storage.DeviceApproval) { by(&a.Approver) }, storage.ErrNotFound})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := f.Device(t, "files:read", "files:delete")
			a := f.NewDeviceApproval(d)
			c.spoil(a)
			before := len(events(t, s))
			want(t, s.ApproveDeviceAuthorization(t.Context(), a, Event("grant.approved", d.ID)), c.err)
			if n := len(events(t, s)) - before; n != 0 {
				t.Errorf("%d events", n)
			}
			if diff := cmp.Diff(d, deviceNow(t, s, d.ID)); diff != "" {
				t.Errorf("device (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(f.Grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
				t.Errorf("grant (-before +after):\n%s", diff)
			}
		})
	}
	d := f.Device(t, "files:read")
	idle := f.NewDeviceApproval(d)
	f.Session = NewSession(f.User.ID)
	f.Session.LastSeenAt = Now.Add(-storage.SessionIdle)
	want(t, s.CreateSession(t.Context(), f.Session, Event("session.created", "")), nil)
	idle.Approver = f.approver()
	want(t, s.ApproveDeviceAuthorization(t.Context(), idle, Event("grant.approved", d.ID)), storage.ErrNotFound)
}

func deviceDecidedOnce(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	approve := func(d *storage.DeviceAuthorization) error {
		return s.ApproveDeviceAuthorization(t.Context(), f.NewDeviceApproval(d), Event("grant.approved", d.ID))
	}
	deny := func(d *storage.DeviceAuthorization) error {
		return s.DenyDeviceAuthorization(t.Context(), d.ID, f.Session.ID, Now, Event("device.denied", d.ID))
	}
	approved := f.Device(t, "files:delete")
	f.ApproveDevice(t, approved)
	grant := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)
	denied := f.Device(t, "files:delete")
	want(t, deny(denied), nil)
	for _, d := range []*storage.DeviceAuthorization{approved, denied} {
		before := deviceNow(t, s, d.ID)
		want(t, approve(d), storage.ErrConsumed)
		want(t, deny(d), storage.ErrConsumed)
		if diff := cmp.Diff(before, deviceNow(t, s, d.ID)); diff != "" {
			t.Errorf("device (-before +after):\n%s", diff)
		}
	}
	if diff := cmp.Diff(grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
		t.Errorf("grant (-before +after):\n%s", diff)
	}
	// A page that was answered does not bring back what was revoked since.
	want(t, s.DeleteGrant(t.Context(), grant.ID, Event("grant.deleted", "")), nil)
	want(t, approve(approved), storage.ErrConsumed)
	wantNoGrant(t, f)
}

func deviceDenied(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.Device(t, "files:read")
	deny := func(sessionID string, now time.Time) error {
		return s.DenyDeviceAuthorization(t.Context(), d.ID, sessionID, now, Event("device.denied", d.ID))
	}
	want(t, deny("ses_none", Now), storage.ErrNotFound)
	want(t, deny(f.Session.ID, Now.Add(storage.SessionIdle)), storage.ErrNotFound)
	want(t, deny(f.Session.ID, d.ExpiresAt), storage.ErrConsumed)
	want(t, deny(f.Session.ID, d.ExpiresAt.Add(-step)), nil)
	expected := *d
	expected.State, expected.UserID = storage.DeviceDenied, f.User.ID
	got := deviceNow(t, s, d.ID)
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("device (-want +got):\n%s", diff)
	}
	got.GrantID = f.Grant.ID
	want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, NewDeviceFamily(got)), storage.ErrConsumed)
}

func deviceRedeemed(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.ApproveDevice(t, f.Device(t, "files:write", "files:read"))
	family := NewDeviceFamily(d)
	family.Scopes = []string{"files:read"}
	family.CreatedAt = Now.Add(time.Second)
	family.RotatedAt = family.CreatedAt
	want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, family), nil)
	wantFamily(t, s, family)
	expected := *d
	expected.State, expected.RedeemedAt = storage.DeviceRedeemed, family.CreatedAt
	if diff := cmp.Diff(&expected, deviceNow(t, s, d.ID)); diff != "" {
		t.Errorf("device (-want +got):\n%s", diff)
	}
	// A second time it is refused, also when the family has ended.
	want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, family), storage.ErrConsumed)
	want(t, s.EndFamily(t.Context(), family.ID, Event("family.ended", family.ID)), nil)
	want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, family), storage.ErrConsumed)
	familyGone(t, s, family.ID)
	// Revoking takes the Grant from it.
	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", "")), nil)
	if got := deviceNow(t, s, d.ID); got.GrantID != "" || got.State != storage.DeviceRedeemed {
		t.Errorf("after the grant is gone: %+v", got)
	}
}

func deviceNotRedeemed(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	pending := f.Device(t, "files:read")
	family := NewDeviceFamily(pending)
	family.GrantID, family.UserID = f.Grant.ID, f.User.ID
	want(t, s.RedeemDeviceAuthorization(t.Context(), pending.ID, family), storage.ErrConsumed)
	want(t, s.RedeemDeviceAuthorization(t.Context(), "dev_none", family), storage.ErrConsumed)

	d := f.ApproveDevice(t, pending)
	family = NewDeviceFamily(d)
	family.CreatedAt = d.ExpiresAt
	want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, family), storage.ErrConsumed)
	familyGone(t, s, family.ID)
	family.CreatedAt = d.ExpiresAt.Add(-step)
	want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, family), nil)
}

func deviceGrantScopes(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.ApproveDevice(t, f.Device(t, "files:read", "files:write"))
	f.Approve(t, "files:delete")
	_, standing, err := s.DeviceAuthorization(t.Context(), d.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]string{"files:delete", "files:read", "files:write"}, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
}

func deviceScopeRemoved(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	pending, approved := f.Device(t, "files:delete", "files:read"), f.ApproveDevice(t, f.Device(t, "files:delete", "files:read"))
	alone := f.ApproveDevice(t, f.Device(t, "files:delete"))
	f.Resource.Scopes = f.Resource.Scopes[:2] // without files:delete
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", "")), nil)
	for _, d := range []*storage.DeviceAuthorization{pending, approved} {
		if got := deviceNow(t, s, d.ID); !slices.Equal(got.Scopes, []string{"files:read"}) {
			t.Errorf("%s: scopes %q", d.State, got.Scopes)
		}
	}
	if got := deviceNow(t, s, alone.ID); len(got.Scopes) != 0 {
		t.Errorf("scopes %q", got.Scopes)
	}
	// The family gets nothing that was stripped since it was read.
	_ = s.RedeemDeviceAuthorization(t.Context(), approved.ID, NewDeviceFamily(deviceNow(t, s, approved.ID)))
	family, _, err := s.Family(t.Context(), approved.FamilyID())
	want(t, err, nil)
	if diff := cmp.Diff([]string{"files:read"}, family.Scopes); diff != "" {
		t.Errorf("scopes of the family (-want +got):\n%s", diff)
	}
}

// deviceEndings are what must leave nothing of an approved device that was not
// redeemed.
func deviceEndings(t *testing.T, s storage.Store) map[string]func(f *Fixture) error {
	t.Helper()
	ctx := t.Context()
	return map[string]func(f *Fixture) error{
		"user disabled": func(f *Fixture) error {
			u := *f.User
			u.Disabled = true
			return s.UpdateUser(ctx, &u, Event("user.disabled", u.ID))
		},
		"password changed": func(f *Fixture) error {
			u := *f.User
			u.PasswordHash = "another"
			return s.UpdateUser(ctx, &u, Event("user.password_changed", u.ID))
		},
		"user deleted": func(f *Fixture) error {
			return s.DeleteUser(ctx, f.User.ID, storage.AnyVersion, Event("user.deleted", ""))
		},
		"client disabled": func(f *Fixture) error {
			c := *f.Client
			c.Disabled = true
			return s.UpdateClient(ctx, &c, Event("client.disabled", c.ID))
		},
		"client deleted": func(f *Fixture) error {
			return s.DeleteClient(ctx, f.Client.ID, storage.AnyVersion, Event("client.deleted", ""))
		},
		"resource deleted": func(f *Fixture) error {
			return s.DeleteResource(ctx, f.Resource.ID, storage.AnyVersion, Event("resource.deleted", ""))
		},
		"grant revoked": func(f *Fixture) error {
			grants, err := s.Grants(ctx, storage.GrantFilter{UserID: f.User.ID}, storage.Page{Limit: 1})
			if err != nil || len(grants) == 0 {
				return err
			}
			return s.DeleteGrant(ctx, grants[0].ID, Event("grant.deleted", ""))
		},
	}
}

func deviceEnded(t *testing.T, s storage.Store) {
	for name, end := range deviceEndings(t, s) {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			d := f.ApproveDevice(t, f.Device(t, "files:read"))
			want(t, end(f), nil)
			want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, NewDeviceFamily(d)), storage.ErrConsumed)
			familyGone(t, s, d.FamilyID())
			if got, standing, err := s.DeviceAuthorization(t.Context(), d.ID); err == nil && (got.GrantID != "" || standing.Scopes != nil) {
				t.Errorf("the device still has its grant: %+v %q", got, standing.Scopes)
			} else if err != nil {
				want(t, err, storage.ErrNotFound)
			}
		})
	}
}

func deviceSwept(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	expiring := func(at time.Time) *storage.DeviceAuthorization {
		d := f.NewDevice("files:read")
		d.ExpiresAt = at
		want(t, s.CreateDeviceAuthorization(t.Context(), d, manyDevices), nil)
		return d
	}
	now := Now.Add(time.Hour)
	redeemed := func(expires time.Time) *storage.DeviceAuthorization {
		d := f.ApproveDevice(t, expiring(expires))
		want(t, s.RedeemDeviceAuthorization(t.Context(), d.ID, NewDeviceFamily(d)), nil)
		return d
	}
	past := []*storage.DeviceAuthorization{expiring(now), f.ApproveDevice(t, expiring(now)), expiring(now.Add(-time.Minute))}
	kept := []*storage.DeviceAuthorization{expiring(now.Add(step)), redeemed(now)}
	version := catalogVersion(t, s)
	n, err := s.Sweep(t.Context(), now, unused, 100)
	want(t, err, nil)
	if n != len(past) {
		t.Errorf("swept %d rows, want %d", n, len(past))
	}
	for _, d := range past {
		_, _, err := s.DeviceAuthorization(t.Context(), d.ID)
		want(t, err, storage.ErrNotFound)
	}
	for _, d := range kept {
		deviceNow(t, s, d.ID)
	}
	if catalogVersion(t, s) != version {
		t.Error("the version moved")
	}
	_, err = s.Sweep(t.Context(), now.Add(storage.DeviceRetention), unused, 100)
	want(t, err, nil)
	for _, d := range kept {
		_, _, err := s.DeviceAuthorization(t.Context(), d.ID)
		want(t, err, storage.ErrNotFound)
	}
}
