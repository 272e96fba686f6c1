package storagetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"grantd/storage"
)

func raceDeviceRedeem(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.ApproveDevice(t, f.Device(t, "files:read"))
	wantWinners(t, race(racers, func(int) error {
		return s.RedeemDeviceAuthorization(t.Context(), d.ID, NewDeviceFamily(d))
	}), 1, storage.ErrConsumed)
	wantFamily(t, s, NewDeviceFamily(d))
}

func raceDeviceDecide(t *testing.T, s storage.Store) {
	for range rounds / 4 {
		f := NewFixture(t, s)
		want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", "")), nil)
		d := f.Device(t, "files:read")
		before := len(events(t, s))
		errs := race(racers, func(i int) error {
			if i%4 == 0 {
				return s.DenyDeviceAuthorization(t.Context(), d.ID, f.Session.ID, Now, Event("device.denied", d.ID))
			}
			return s.ApproveDeviceAuthorization(t.Context(), f.NewDeviceApproval(d), Event("grant.approved", d.ID))
		})
		wantWinners(t, errs, 1, storage.ErrConsumed)
		if n := len(events(t, s)) - before; n != 1 {
			t.Errorf("%d events, want 1", n)
		}
		approved := slices.Index(errs, nil)%4 != 0
		if grant := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID); (grant != nil) != approved {
			t.Errorf("approved: %t, the grant is %v", approved, grant)
		}
		if got := deviceNow(t, s, d.ID); (got.State == storage.DeviceApproved) != approved {
			t.Errorf("approved: %t, the device is %s", approved, got.State)
		}
	}
}

func raceDevicePolls(t *testing.T, s storage.Store) {
	for range rounds {
		f := NewFixture(t, s)
		d := f.Device(t, "files:delete")
		errs := race(8, func(i int) error {
			if i == 3 {
				return s.ApproveDeviceAuthorization(t.Context(), f.NewDeviceApproval(d), Event("grant.approved", d.ID))
			}
			err := s.PollDeviceAuthorization(t.Context(), storage.DevicePoll{ID: d.ID, PollInterval: d.PollInterval, Now: Now})
			if isOneOf(err, storage.ErrConsumed) {
				return nil
			}
			return err
		})
		want(t, errors.Join(errs...), nil)
		got := deviceNow(t, s, d.ID)
		if grant := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID); got.State != storage.DeviceApproved || !slices.Contains(grant.Scopes, "files:delete") {
			t.Fatalf("the device is %s, the grant %q", got.State, grant.Scopes)
		}
	}
}

func raceDevicePoll(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	d := f.Device(t, "files:read")
	wantWinners(t, race(racers, func(i int) error {
		return s.PollDeviceAuthorization(t.Context(), storage.DevicePoll{ID: d.ID, PollInterval: d.PollInterval, Now: Now.Add(time.Duration(i))})
	}), 1, storage.ErrConsumed)
}

func raceDeviceCaps(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	wantWinners(t, race(racers, func(int) error {
		return s.CreateDeviceAuthorization(t.Context(), f.NewDevice("files:read"), storage.DeviceCaps{PerClient: 7, InAll: 100})
	}), 7, storage.ErrFull)
	wantWinners(t, race(racers, func(int) error {
		return s.CreateDeviceAuthorization(t.Context(), other.NewDevice("files:read"), storage.DeviceCaps{PerClient: 100, InAll: 10})
	}), 3, storage.ErrFull)
}

func raceDeviceEnded(t *testing.T, s storage.Store) {
	for name, end := range deviceEndings(t, s) {
		t.Run(name, func(t *testing.T) {
			for range rounds / 2 {
				f := NewFixture(t, s)
				waiting, approved := f.Device(t, "files:read"), f.ApproveDevice(t, f.Device(t, "files:read"))
				lost := func(err error) error {
					if isOneOf(err, storage.ErrConsumed, storage.ErrNotFound) {
						return nil
					}
					return err
				}
				errs := race(3, func(i int) error {
					switch i {
					case 0:
						return end(f)
					case 1:
						return lost(s.RedeemDeviceAuthorization(t.Context(), approved.ID, NewDeviceFamily(approved)))
					}
					err := s.ApproveDeviceAuthorization(t.Context(), f.NewDeviceApproval(waiting), Event("grant.approved", waiting.ID))
					if err != nil || name == "grant revoked" { // after which a new one may be approved
						return lost(err)
					}
					d, _, err := s.DeviceAuthorization(t.Context(), waiting.ID)
					if err != nil {
						return lost(err)
					}
					return lost(s.RedeemDeviceAuthorization(t.Context(), d.ID, NewDeviceFamily(d)))
				})
				want(t, errors.Join(errs...), nil)
				familyGone(t, s, approved.FamilyID())
				want(t, s.RedeemDeviceAuthorization(t.Context(), approved.ID, NewDeviceFamily(approved)), storage.ErrConsumed)
				if name == "grant revoked" {
					continue
				}
				familyGone(t, s, waiting.FamilyID())
				if d, _, err := s.DeviceAuthorization(t.Context(), waiting.ID); err == nil && d.GrantID != "" && d.RedeemedAt.IsZero() {
					t.Errorf("the device has a grant: %+v", d)
				}
			}
		})
	}
}
