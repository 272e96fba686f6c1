package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"grantd/storage"
)

// rounds is how often a race between two different acts is run: each round has a
// chance to hit the moment in which they cross.
const rounds = 20

var raceContracts = []contract{
	{"one code is redeemed once", raceRedeem},
	{"one code is exchanged once", raceExchange},
	{"an exchange meets what spoils its code", raceSpoil},
	{"one refresh token rotates once and answers everyone", raceRotate},
	{"different requests with one refresh token have one winner", raceRotateDifferently},
	{"racing renewals have one winner", raceRenew},
	{"one page approves once", raceApprove},
	{"approvals of different pages add up", raceApproveTogether},
	{"one replica activates a signing key", raceActivate},
	{"one replica rotates the signing keys", raceRotateKeys},
	{"of those who rotate and those who withdraw a key one wins", raceWithdrawKey},
	{"one idempotency key stands for one target", raceIdempotencyKey},
	{"one update of a version wins", raceUpdate},
	{"one resource gets a uri, one user a name", raceCreate},
	{"wrong proofs are all counted", raceFail},
	{"the cap on dynamic clients holds", raceCap},
	{"a disabled user is left with nothing", raceDisableUser},
	{"a changed password ends what is being made", racePassword},
	{"a disabled client is left with nothing", raceDisableClient},
	{"a removed scope is left nowhere", raceRemoveScope},
	{"a revoked grant leaves no family", raceDeleteGrant},
	{"a document is approved by many at once", raceDocument},
	{"a disabled client of a document is left with nothing", raceDisableDocument},
	{"a deleted user, client or resource leaves nothing", raceDelete},
}

func raceRedeem(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	errs := race(racers, func(int) error { return s.RedeemCode(t.Context(), f.Code.ID, NewFamily(f.Code)) })
	wantWinners(t, errs, 1, storage.ErrConsumed)
	wantFamily(t, s, NewFamily(f.Code))
}

func raceExchange(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	errs := race(racers, func(i int) error {
		if i%4 == 3 { // one for whom it is not usual
			return s.RedeemCode(t.Context(), f.Code.ID, NewFamily(f.Code))
		}
		return f.Exchange(t.Context(), f.Code)
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
	got, _, err := s.Family(t.Context(), f.Code.FamilyID())
	want(t, err, nil)
	if got.Generation != 1 || !slices.Equal(got.Scopes, f.Code.Scopes) {
		t.Errorf("the family has generation %d and scopes %q", got.Generation, got.Scopes)
	}
}

// Of an exchange and what spoils its code one comes first. The other then finds the
// code as that left it.
func raceSpoil(t *testing.T, s storage.Store) {
	for range rounds {
		for name, spoil := range map[string]func(f *Fixture) error{
			"RevokeCode": func(f *Fixture) error {
				return s.RevokeCode(t.Context(), f.Code.ID, Event("authorization_code.revoked", f.Code.ID))
			},
			"FailCode": func(f *Fixture) error { return s.FailCode(t.Context(), f.Code.ID) },
		} {
			f := NewFixture(t, s)
			for range storage.MaxFailedProofs - 1 {
				want(t, s.FailCode(t.Context(), f.Code.ID), nil)
			}
			errs := race(2, func(i int) error {
				if i == 0 {
					return spoil(f)
				}
				return f.Exchange(t.Context(), f.Code)
			})
			if spoilt, exchanged := errs[0] == nil, errs[1] == nil; spoilt == exchanged {
				t.Fatalf("%s: %v, and the exchange: %v", name, errs[0], errs[1])
			}
			if errs[1] != nil {
				want(t, errs[1], storage.ErrConsumed)
				familyGone(t, s, f.Code.FamilyID())
			}
			codeDead(t, s, f.Code)
		}
	}
}

func raceRotate(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	at := Now.Add(time.Hour)
	errs := race(racers, func(i int) error {
		now := at.Add(time.Duration(i) * time.Millisecond)
		return s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 1, Request: []byte("r"), Now: now})
	})
	wantWinners(t, errs, racers, nil)
	got, _, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	if got.Generation != 2 {
		t.Errorf("generation %d, want 2", got.Generation)
	}
}

func raceRotateDifferently(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	errs := race(racers, func(i int) error {
		return s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 1, Request: []byte{byte(i)}, Now: Now})
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
	got, _, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	winner := slices.Index(errs, nil)
	if got.Generation != 2 || !slices.Equal(got.RotationRequest, []byte{byte(winner)}) {
		t.Errorf("generation %d for request %v, want 2 for %d", got.Generation, got.RotationRequest, winner)
	}
}

func raceRenew(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	errs := race(racers, func(i int) error {
		r := f.renewal(family.ID, 1)
		r.Request = []byte{byte(i)}
		_, _, renewed, err := s.RenewFamily(t.Context(), r)
		if err == nil && !renewed {
			return storage.ErrConsumed
		}
		return err
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
	got, _, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	if winner := slices.Index(errs, nil); got.Generation != 2 || !slices.Equal(got.RotationRequest, []byte{byte(winner)}) {
		t.Errorf("generation %d for request %v, want 2 for %d", got.Generation, got.RotationRequest, winner)
	}
}

func raceApprove(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", "")), nil)
	page := storage.NewID(storage.PrefixCode)
	before := len(events(t, s))
	errs := race(racers, func(int) error {
		a := f.NewApproval("files:read")
		a.Code.ID = page
		return s.Approve(t.Context(), a, Event("grant.approved", page))
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
	if n := len(events(t, s)) - before; n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func raceApproveTogether(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", "")), nil)
	scopes := f.Resource.ScopeNames()
	errs := race(racers, func(i int) error {
		a := f.NewApproval(scopes[i%len(scopes)])
		return s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID))
	})
	wantWinners(t, errs, racers, nil)
	slices.Sort(scopes)
	if got := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID); !slices.Equal(got.Scopes, scopes) {
		t.Errorf("scopes %q, want %q: an approval was lost", got.Scopes, scopes)
	}
}

func raceActivate(t *testing.T, s storage.Store) {
	replaces := ""
	for range rounds {
		keys := []*storage.SigningKey{NewSigningKey(), NewSigningKey()}
		errs := race(len(keys), func(i int) error {
			move := storage.KeyMove{Retire: replaces, Insert: keys[i], At: Now}
			return s.MoveSigningKeys(t.Context(), move, Event("key.activated", keys[i].KID))
		})
		wantWinners(t, errs, 1, storage.ErrConflict)
		replaces = keys[slices.Index(errs, nil)].KID
		stored, err := s.SigningKeys(t.Context())
		want(t, err, nil)
		for _, key := range stored {
			if active := key.State == storage.KeyActive; active != (key.KID == replaces) {
				t.Fatalf("key %s is %s, the winner is %s", key.KID, key.State, replaces)
			}
		}
	}
}

func raceUpdate(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	errs := race(racers, func(i int) error {
		c := *f.Client
		c.ClientName = fmt.Sprintf("Name %d", i)
		return s.UpdateClient(t.Context(), &c, Event("client.updated", c.ID))
	})
	wantWinners(t, errs, 1, storage.ErrConflict)
	got, err := s.Client(t.Context(), f.Client.ID)
	want(t, err, nil)
	if expected := fmt.Sprintf("Name %d", slices.Index(errs, nil)); got.ClientName != expected {
		t.Errorf("name %q, the winner wrote %q", got.ClientName, expected)
	}
	wantWinners(t, race(racers, func(int) error {
		r := *f.Resource
		return s.UpdateResource(t.Context(), &r, Event("resource.updated", r.ID))
	}), 1, storage.ErrConflict)
	wantWinners(t, race(racers, func(int) error {
		u := *f.User
		return s.UpdateUser(t.Context(), &u, Event("user.updated", u.ID))
	}), 1, storage.ErrConflict)
}

func raceCreate(t *testing.T, s storage.Store) {
	wantWinners(t, race(racers, func(int) error {
		r := NewResource()
		r.URI = "https://one.example/mcp"
		return s.CreateResource(t.Context(), r, Event("resource.created", r.ID))
	}), 1, storage.ErrExists)
	wantWinners(t, race(racers, func(i int) error {
		u := NewUser()
		u.Username = []string{"Alice", "alice", "ALICE"}[i%3]
		u.Groups = []string{"group b", "group a"}
		return s.CreateUser(t.Context(), u, Event("user.created", u.ID))
	}), 1, storage.ErrExists)
	// Groups that do not exist yet are made by whoever comes first.
	wantWinners(t, race(racers, func(i int) error {
		u := NewUser()
		u.Groups = []string{"new a", "new b"}
		if i%2 == 0 {
			slices.Reverse(u.Groups)
		}
		return s.CreateUser(t.Context(), u, Event("user.created", u.ID))
	}), racers, nil)
}

func raceFail(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	wantWinners(t, race(racers, func(int) error { return s.FailCode(t.Context(), f.Code.ID) }), storage.MaxFailedProofs, storage.ErrNotFound)
	code, _, err := s.Code(t.Context(), f.Code.ID)
	want(t, err, nil)
	if code.FailedProofs != storage.MaxFailedProofs {
		t.Errorf("%d wrong proofs counted, want %d", code.FailedProofs, storage.MaxFailedProofs)
	}
}

func raceCap(t *testing.T, s storage.Store) {
	wantWinners(t, race(racers, func(int) error {
		c := NewDynamicClient()
		return register(t.Context(), s, c, 7, Event("client.created", c.ID))
	}), 7, storage.ErrFull)
}

// crossing runs end against approvals, redemptions and refreshes of the fixture's
// person, and returns the codes that were to be had before and meanwhile. Of the
// racers only outcomes that the contract names are accepted.
func crossing(t *testing.T, f *Fixture, end func() error) []*storage.AuthorizationCode {
	t.Helper()
	s := f.Store
	old := f.Redeem(t, f.Code)
	waiting := f.Approve(t, "files:read", "files:write")
	pages := make([]*storage.Approval, 3)
	for i := range pages {
		pages[i] = f.NewApproval("files:read", "files:write")
	}
	remembered := f.NewCode("files:read")
	remembered.GrantID = waiting.GrantID
	usual := f.Approve(t, "files:read", "files:write")

	errs := race(len(pages)+5, func(i int) error {
		switch i {
		case 0:
			return end()
		case 1:
			if err := s.RedeemCode(t.Context(), waiting.ID, NewFamily(waiting)); !isOneOf(err, storage.ErrConsumed) {
				return err
			}
			return nil
		case 2:
			if err := s.CreateCode(t.Context(), remembered, f.Session.ID); err != nil {
				if !isOneOf(err, storage.ErrNotFound) {
					return err
				}
				return nil
			}
			if err := s.RedeemCode(t.Context(), remembered.ID, NewFamily(remembered)); !isOneOf(err, storage.ErrConsumed) {
				return err
			}
			return nil
		case 3:
			rotation := storage.Rotation{FamilyID: old.ID, Presented: 1, Request: []byte("r"), Now: Now}
			if err := s.RotateFamily(t.Context(), rotation); !isOneOf(err, storage.ErrNotFound) {
				return err
			}
			return nil
		case 4:
			if err := f.Exchange(t.Context(), usual); !isOneOf(err, storage.ErrConsumed, storage.ErrNotFound) {
				return err
			}
			return nil
		default:
			a := pages[i-5]
			if err := s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)); err != nil {
				if !isOneOf(err, storage.ErrNotFound) {
					return err
				}
				return nil
			}
			if err := s.RedeemCode(t.Context(), a.Code.ID, NewFamily(&a.Code)); !isOneOf(err, storage.ErrConsumed) {
				return err
			}
			return nil
		}
	})
	for i, err := range errs {
		if err != nil {
			t.Fatalf("racer %d: %v", i, err)
		}
	}
	return []*storage.AuthorizationCode{f.Code, waiting, remembered, usual, &pages[0].Code, &pages[1].Code, &pages[2].Code}
}

// wantAllDead fails the test if any of the codes can be redeemed or has left a
// family.
func wantAllDead(t *testing.T, s storage.Store, codes []*storage.AuthorizationCode) {
	t.Helper()
	for _, code := range codes {
		codeDead(t, s, code)
		familyGone(t, s, code.FamilyID())
	}
}

func raceDisableUser(t *testing.T, s storage.Store) {
	for range rounds {
		f := NewFixture(t, s)
		session := NewSession(f.User.ID)
		codes := crossing(t, f, func() error {
			u := *f.User
			u.Disabled = true
			errs := race(2, func(i int) error {
				if i == 0 {
					return s.UpdateUser(t.Context(), &u, Event("user.disabled", u.ID))
				}
				err := s.CreateSession(t.Context(), session, Event("session.created", session.ID))
				if isOneOf(err, storage.ErrNotFound) {
					return nil
				}
				return err
			})
			return errors.Join(errs...)
		})
		wantNoGrant(t, f)
		wantAllDead(t, s, codes)
		for _, hash := range [][]byte{f.Session.TokenHash, session.TokenHash} {
			_, err := s.SignIn(t.Context(), hash, storage.Look{}, Now)
			want(t, err, storage.ErrNotFound)
		}
		// Not even to come back with the user.
		u, err := s.User(t.Context(), f.User.ID)
		want(t, err, nil)
		u.Disabled = false
		want(t, s.UpdateUser(t.Context(), u, Event("user.enabled", u.ID)), nil)
		wantNoGrant(t, f)
		wantAllDead(t, s, codes)
	}
}

func racePassword(t *testing.T, s storage.Store) {
	for range rounds {
		f := NewFixture(t, s)
		session := NewSession(f.User.ID) // of somebody who has just typed the old password
		session.PasswordHash = f.User.PasswordHash
		codes := crossing(t, f, func() error {
			u := *f.User
			u.PasswordHash = "another"
			errs := race(2, func(i int) error {
				if i == 0 {
					return s.UpdateUser(t.Context(), &u, Event("user.password_changed", u.ID))
				}
				err := s.CreateSession(t.Context(), session, Event("session.created", session.ID))
				if isOneOf(err, storage.ErrNotFound) {
					return nil
				}
				return err
			})
			return errors.Join(errs...)
		})
		wantAllDead(t, s, codes)
		_, err := s.SignIn(t.Context(), session.TokenHash, storage.Look{}, Now)
		want(t, err, storage.ErrNotFound)
		_, err = s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, Now)
		want(t, err, storage.ErrNotFound)
	}
}

func raceDisableClient(t *testing.T, s storage.Store) {
	for range rounds {
		f := NewFixture(t, s)
		codes := crossing(t, f, func() error {
			c := *f.Client
			c.Disabled = true
			return s.UpdateClient(t.Context(), &c, Event("client.disabled", c.ID))
		})
		wantNoGrant(t, f)
		wantAllDead(t, s, codes)
	}
}

func raceRemoveScope(t *testing.T, s storage.Store) {
	for range rounds {
		f := NewFixture(t, s)
		a, usual := f.NewApproval("files:delete", "files:read"), f.Approve(t, "files:read", "files:write", "files:delete")
		errs := race(3, func(i int) error {
			switch i {
			case 0:
				r := *f.Resource
				r.Scopes = r.Scopes[:2] // without files:delete
				return s.UpdateResource(t.Context(), &r, Event("resource.updated", r.ID))
			case 1:
				if err := f.Exchange(t.Context(), usual); !isOneOf(err, storage.ErrConsumed) {
					return err
				}
				return nil
			}
			err := s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID))
			if isOneOf(err, storage.ErrNotFound) {
				return nil
			}
			return err
		})
		want(t, errors.Join(errs...), nil)
		if got := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID); slices.Contains(got.Scopes, "files:delete") {
			t.Fatalf("the grant has the removed scope: %q", got.Scopes)
		}
		if code, _, err := s.Code(t.Context(), a.Code.ID); err == nil && slices.Contains(code.Scopes, "files:delete") {
			t.Fatalf("the code has the removed scope: %q", code.Scopes)
		}
		if family, _, err := s.Family(t.Context(), usual.FamilyID()); err == nil && slices.Contains(family.Scopes, "files:delete") {
			t.Fatalf("the family has the removed scope: %q", family.Scopes)
		}
	}
}

func raceDeleteGrant(t *testing.T, s storage.Store) {
	for range rounds {
		f := NewFixture(t, s)
		family, usual := NewFamily(f.Code), f.Approve(t, "files:read", "files:write")
		errs := race(3, func(i int) error {
			if i == 0 {
				return s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID))
			}
			var err error
			if i == 1 {
				err = s.RedeemCode(t.Context(), f.Code.ID, family)
			} else {
				err = f.Exchange(t.Context(), usual)
			}
			if isOneOf(err, storage.ErrConsumed) {
				return nil
			}
			return err
		})
		want(t, errors.Join(errs...), nil)
		wantNoGrant(t, f)
		wantAllDead(t, s, []*storage.AuthorizationCode{f.Code, usual})
	}
}

func raceDelete(t *testing.T, s storage.Store) {
	for range rounds / 4 {
		for _, end := range []func(f *Fixture) error{
			func(f *Fixture) error {
				return s.DeleteUser(t.Context(), f.User.ID, storage.AnyVersion, Event("user.deleted", f.User.ID))
			},
			func(f *Fixture) error {
				return s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, Event("client.deleted", f.Client.ID))
			},
			func(f *Fixture) error {
				return s.DeleteResource(t.Context(), f.Resource.ID, storage.AnyVersion, Event("resource.deleted", f.Resource.ID))
			},
		} {
			f := NewFixture(t, s)
			codes := crossing(t, f, func() error { return end(f) })
			wantNoGrant(t, f)
			wantAllDead(t, s, codes)
		}
	}
}
