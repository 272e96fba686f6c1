package storagetest

import (
	"testing"

	"grantd/storage"
)

var restoreContracts = []contract{
	{"what may have been redeemed since the backup ends", restoreEndsPending},
	{"all ends when asked, and grants stay", restoreEndsAll},
	{"withdrawing signing keys takes all of them", restoreWithdrawsKeys},
}

func restoreEndsPending(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	waiting := f.Approve(t, "files:read")
	want(t, s.CreatePushedRequest(t.Context(), f.NewPushedRequest(), 10), nil)
	device := f.Device(t, "files:read")
	link := createLink(t, s, f.User.ID)
	want(t, s.ReplaceRecoveryCodes(t.Context(), f.User.ID, [][]byte{Digest()}, Event("recovery_codes.created", f.User.ID)), nil)
	ended, err := s.EndAfterRestore(t.Context(), false, Event("database.restored", ""))
	want(t, err, nil)
	if expected := (storage.Ended{Codes: 1, PushedRequests: 1, DeviceAuthorizations: 1, UserLinks: 1}); ended != expected {
		t.Errorf("ended %+v, want %+v", ended, expected)
	}
	codeDead(t, s, waiting)
	wantSpent(t, s, link)
	_, _, err = s.DeviceAuthorization(t.Context(), device.ID)
	want(t, err, storage.ErrNotFound)
	wantFamily(t, s, family)
	again := f.NewApproval("files:read")
	again.Code.ID = waiting.ID
	want(t, s.Approve(t.Context(), again, Event("grant.approved", "")), storage.ErrConsumed)
	ended, err = s.EndAfterRestore(t.Context(), false, Event("database.restored", ""))
	want(t, err, nil)
	if ended != (storage.Ended{}) {
		t.Errorf("a second time ended %+v", ended)
	}
}

func restoreEndsAll(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	adminKey := NewAdminKey()
	want(t, s.CreateAdminKey(t.Context(), adminKey, Event("admin_key.created", adminKey.ID)), nil)
	want(t, s.MoveSigningKeys(t.Context(), storage.KeyMove{Insert: NewSigningKey()}, Event("signing_key.activated", "")), nil)
	want(t, s.ReplaceRecoveryCodes(t.Context(), f.User.ID, [][]byte{Digest(), Digest()}, Event("recovery_codes.created", f.User.ID)), nil)
	version := catalogVersion(t, s)
	ended, err := s.EndAfterRestore(t.Context(), true, Event("database.restored", ""))
	want(t, err, nil)
	if expected := (storage.Ended{Sessions: 1, Families: 1, SigningKeys: 1, AdminKeys: 1, Approvals: 1, RecoveryCodes: 2}); ended != expected {
		t.Errorf("ended %+v, want %+v", ended, expected)
	}
	familyGone(t, s, family.ID)
	wantKeys(t, s)
	want(t, s.DeleteSession(t.Context(), f.Session.ID, Event("user.signed_out", "")), storage.ErrNotFound)
	if g := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID); g == nil || g.RedirectURI != "" {
		t.Errorf("the grant is %+v, want one without a redirect URI", g)
	}
	if catalogVersion(t, s) == version {
		t.Error("the version has not moved")
	}
	all := events(t, s)
	if last := all[len(all)-1]; last.Action != "database.restored" || last.Detail["sessions"] != "1" || last.Detail["codes"] != "" {
		t.Errorf("the event is %+v", last)
	}
}

func restoreWithdrawsKeys(t *testing.T, s storage.Store) {
	want(t, s.MoveSigningKeys(t.Context(), storage.KeyMove{Insert: NewSigningKey()}, Event("signing_key.activated", "")), nil)
	version := catalogVersion(t, s)
	want(t, s.WithdrawSigningKeys(t.Context(), Event("signing_key.revoked", "")), nil)
	wantKeys(t, s)
	if catalogVersion(t, s) == version {
		t.Error("the version has not moved")
	}
}
