package storagetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var familyContracts = []contract{
	{"a family tells the scopes its grant has now", familyGrantScopes},
	{"a rotation moves the generation on in place", familyRotates},
	{"the same successor is answered again for a while", familyGrace},
	{"a grandparent is refused", familyGrandparent},
	{"a token ahead of the row moves it forward", familyAhead},
	{"a renewal rotates a family at once", familyRenews},
	{"a renewal moves a row forward that is behind", familyRenewsBehind},
	{"a renewal changes nothing that must not be renewed", familyDoesNotRenew},
	{"a user's live families are listed", familyList},
	{"a family ends when idle", familyIdle},
	{"a family ends for good after its lifetime", familyLifetime},
	{"an ended family is gone", familyEnded},
}

func familyGrantScopes(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	a := f.NewApproval("files:delete")
	a.Shown = []string{"files:read", "files:delete"}
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)

	got, standing, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]string{"files:delete", "files:write"}, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(family, got); diff != "" {
		t.Errorf("family (-want +got):\n%s", diff)
	}
	_, _, err = s.Family(t.Context(), "fam_none")
	want(t, err, storage.ErrNotFound)
}

func familyRotates(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	other := f.Redeem(t, f.Approve(t, "files:read", "files:write"))
	for generation := int64(1); generation < 4; generation++ {
		now := Now.Add(time.Duration(generation) * time.Hour)
		request := []byte{0xff, byte(generation)}
		want(t, s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: generation, Request: request, Now: now}), nil)
		family.Generation, family.RotationRequest, family.RotatedAt = generation+1, request, now
		wantFamily(t, s, family)
	}
	wantFamily(t, s, other)
}

func familyGrace(t *testing.T, s storage.Store) {
	request, another := []byte("request"), []byte("another")
	at := Now.Add(time.Hour)
	for name, test := range map[string]struct {
		again storage.Rotation
		want  error
	}{
		"at once":                 {storage.Rotation{Presented: 1, Request: request, Now: at}, nil},
		"just within the grace":   {storage.Rotation{Presented: 1, Request: request, Now: at.Add(storage.RefreshGrace - step)}, nil},
		"when the grace is over":  {storage.Rotation{Presented: 1, Request: request, Now: at.Add(storage.RefreshGrace)}, storage.ErrConsumed},
		"another request":         {storage.Rotation{Presented: 1, Request: another, Now: at}, storage.ErrConsumed},
		"by a clock a bit behind": {storage.Rotation{Presented: 1, Request: request, Now: at.Add(-time.Second)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			family := f.Redeem(t, f.Code)
			want(t, s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 1, Request: request, Now: at}), nil)
			family.Generation, family.RotationRequest, family.RotatedAt = 2, request, at

			test.again.FamilyID = family.ID
			want(t, s.RotateFamily(t.Context(), test.again), test.want)
			wantFamily(t, s, family) // in no case is anything changed
		})
	}
	t.Run("the grace does not grow by using it", func(t *testing.T) {
		f := NewFixture(t, s)
		family := f.Redeem(t, f.Code)
		for _, wait := range []time.Duration{0, 20 * time.Second, 29 * time.Second} {
			want(t, s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 1, Request: request, Now: at.Add(wait)}), nil)
		}
		want(t, s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 1, Request: request, Now: at.Add(31 * time.Second)}), storage.ErrConsumed)
	})
}

func familyGrandparent(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	request := []byte("request")
	rotate := func(presented int64) error {
		return s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: presented, Request: request, Now: Now})
	}
	want(t, rotate(1), nil)
	want(t, rotate(2), nil)
	// Its successor was used, so within the grace or not it is spent.
	want(t, rotate(1), storage.ErrConsumed)
	want(t, rotate(2), nil)
	family.Generation, family.RotationRequest = 3, request
	wantFamily(t, s, family)
}

func familyAhead(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	want(t, s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 7, Request: []byte("r"), Now: Now}), nil)
	family.Generation, family.RotationRequest = 8, []byte("r")
	wantFamily(t, s, family)
	// Of many that find the row behind, one writes its event: the one that moved it.
	before := len(events(t, s))
	wantWinners(t, race(8, func(int) error {
		return s.RotateFamily(t.Context(), storage.Rotation{
			FamilyID: family.ID, Presented: 20, Request: []byte("r"), Now: Now, Behind: Event("family.moved_forward", family.ID),
		})
	}), 8, nil)
	if n := len(events(t, s)) - before; n != 1 {
		t.Errorf("%d events of moving forward once", n)
	}
	family.Generation = 21
	wantFamily(t, s, family)
	want(t, s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 6, Request: []byte("r"), Now: Now}), storage.ErrConsumed)
}

// renewal is the usual one of a family of the fixture's.
func (f *Fixture) renewal(familyID string, presented int64) storage.Renewal {
	return storage.Renewal{
		Rotation: storage.Rotation{FamilyID: familyID, Presented: presented, Request: []byte("r"), Now: Now},
		ClientID: f.Client.ID, ResourceID: f.Resource.ID, Allowed: f.Resource.ScopeNames(),
	}
}

func familyRenews(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	other := f.Redeem(t, f.Approve(t, family.Scopes...))
	for generation := int64(1); generation < 5; generation++ {
		r := f.renewal(family.ID, generation)
		r.Now, r.Request = Now.Add(time.Duration(generation)*storage.FamilyIdle/2), []byte{0xff, byte(generation)}
		if generation == 2 {
			r.Asked, r.Allowed = family.Scopes, family.Scopes[:1]
		}
		if generation == 3 {
			r.Allowed, r.AllowedTo = nil, []storage.GroupScope{{Group: "admins", Scope: "files:read"}, {Group: "staff", Scope: "files:write"}}
		}
		if generation == 4 { // what is left of the Grant is enough
			a := f.NewApproval("files:read")
			a.Shown = []string{"files:read", "files:write"}
			want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
			f.Grant.Scopes = []string{"files:read"}
		}
		family.Generation, family.RotationRequest, family.RotatedAt = generation+1, r.Request, r.Now
		got, standing, renewed, err := s.RenewFamily(t.Context(), r)
		want(t, err, nil)
		if diff := cmp.Diff(family, got); diff != "" || !renewed || !slices.Equal(standing.Scopes, f.Grant.Scopes) {
			t.Errorf("renewed: %t, with the grant's scopes %q (-want +got):\n%s", renewed, standing.Scopes, diff)
		}
		if standing.Person != f.person() || len(r.AllowedTo) > 0 && !slices.Equal(standing.Groups, f.User.Groups) {
			t.Errorf("of %+v in the groups %q", standing.Person, standing.Groups)
		}
		wantFamily(t, s, family)
	}
	wantFamily(t, s, other)
}

func familyDoesNotRenew(t *testing.T, s storage.Store) {
	for name, change := range map[string]func(t *testing.T, f *Fixture, family *storage.Family, r *storage.Renewal){
		"of an unknown family": func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) { r.FamilyID = "fam_none" },
		"by a spent token":     func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) { r.Presented = 1 },
		"by another client":    func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) { r.ClientID = "cl_other" },
		"for another resource": func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) { r.ResourceID = "res_other" },
		"for a scope it lacks": func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) {
			r.Asked = []string{"files:read", "files:delete"}
		},
		"with no scope it may use": func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) {
			r.Allowed = []string{"files:delete"}
		},
		"with no scope at all": func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) { r.Allowed = nil },
		"with scopes of other groups": func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) {
			r.Allowed = nil
			r.AllowedTo = []storage.GroupScope{{Group: "admins", Scope: "files:read"}, {Group: "staff", Scope: "files:delete"}}
		},
		"when the user has left the group": func(t *testing.T, f *Fixture, _ *storage.Family, r *storage.Renewal) {
			r.Allowed, r.AllowedTo = nil, []storage.GroupScope{{Group: "staff", Scope: "files:read"}}
			user := *f.User
			user.Groups = []string{"guests"}
			want(t, s.UpdateUser(t.Context(), &user, Event("user.updated", user.ID)), nil)
		},
		"when it was idle": func(_ *testing.T, _ *Fixture, _ *storage.Family, r *storage.Renewal) {
			r.Now = Now.Add(storage.FamilyIdle)
		},
		"after its lifetime": func(t *testing.T, f *Fixture, family *storage.Family, r *storage.Renewal) {
			// It is used until the end, or it would have been idle first.
			for at := Now; family.ExpiresAt.Sub(at) > storage.FamilyIdle/2; {
				at = at.Add(storage.FamilyIdle / 2)
				used := f.renewal(family.ID, r.Presented)
				used.Now = at
				*family = renew(t, s, used)
				r.Presented++
			}
			r.Now = family.ExpiresAt
		},
		"of a disabled user": func(t *testing.T, f *Fixture, _ *storage.Family, _ *storage.Renewal) {
			user := *f.User
			user.Disabled = true
			want(t, s.UpdateUser(t.Context(), &user, Event("user.updated", user.ID)), nil)
		},
		"with scopes that the grant has lost": func(t *testing.T, f *Fixture, _ *storage.Family, r *storage.Renewal) {
			a := f.NewApproval("files:read")
			a.Shown = []string{"files:read", "files:write"}
			want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
			r.Allowed = []string{"files:write"}
		},
		"with scopes of a group that the grant has lost": func(t *testing.T, f *Fixture, _ *storage.Family, r *storage.Renewal) {
			a := f.NewApproval("files:read")
			a.Shown = []string{"files:read", "files:write"}
			want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
			r.Allowed, r.AllowedTo = nil, []storage.GroupScope{{Group: "staff", Scope: "files:write"}}
		},
		"when the provider no longer vouches for the user": func(t *testing.T, f *Fixture, family *storage.Family, r *storage.Renewal) {
			v := NewVerification(createProvider(t, s))
			want(t, s.LinkUser(t.Context(), f.User.ID, f.User.Version, v, Event("user.linked", f.User.ID)), nil)
			f.SignInAgain(t)
			*family = renew(t, s, f.renewal(f.Redeem(t, f.Approve(t, "files:read")).ID, 1))
			r.FamilyID, r.Now = family.ID, v.Until
		},
		"when the grant is gone": func(t *testing.T, f *Fixture, _ *storage.Family, _ *storage.Renewal) {
			want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID)), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			family := renew(t, s, f.renewal(f.Redeem(t, f.Code).ID, 1))
			r := f.renewal(family.ID, 2)
			change(t, f, &family, &r)
			before, standing, err := s.Family(t.Context(), r.FamilyID)
			got, gotStanding, renewed, gotErr := s.RenewFamily(t.Context(), r)
			if diff := cmp.Diff(before, got); diff != "" || renewed || cmp.Diff(standing, gotStanding) != "" || errors.Is(err, storage.ErrNotFound) != errors.Is(gotErr, storage.ErrNotFound) {
				t.Errorf("renewed: %t, %v, with the grant's scopes %q, want the family as it is (-want +got):\n%s", renewed, gotErr, gotStanding.Scopes, diff)
			}
			after, _, _ := s.Family(t.Context(), r.FamilyID)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("it was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func familyRenewsBehind(t *testing.T, s storage.Store) {
	for name, change := range map[string]func(r *storage.Renewal){
		"of whoever": func(*storage.Renewal) {},
		"of a group's member": func(r *storage.Renewal) {
			r.Allowed, r.AllowedTo = nil, []storage.GroupScope{{Group: "staff", Scope: "files:read"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			family := f.Redeem(t, f.Code)
			r := f.renewal(family.ID, 7)
			r.Behind = Event("family.moved_forward", family.ID)
			change(&r)
			before := len(events(t, s))
			family.Generation, family.RotationRequest = 8, r.Request
			if got := renew(t, s, r); cmp.Diff(*family, got) != "" {
				t.Errorf("(-want +got):\n%s", cmp.Diff(*family, got))
			}
			wantFamily(t, s, family)
			if n := len(events(t, s)) - before; n != 1 {
				t.Errorf("%d events of moving forward once", n)
			}
			r.Presented, r.Behind = 8, Event("family.moved_forward", family.ID)
			renew(t, s, r)
			if n := len(events(t, s)) - before; n != 1 {
				t.Errorf("%d events where nothing was behind", n-1)
			}
		})
	}
}

func renew(t *testing.T, s storage.Store, r storage.Renewal) storage.Family {
	t.Helper()
	family, _, renewed, err := s.RenewFamily(t.Context(), r)
	want(t, err, nil)
	if !renewed {
		t.Fatal("it is not renewed")
	}
	return *family
}

func familyList(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	other.Redeem(t, other.Code)
	redeem := func(rotated, expires time.Time) *storage.Family {
		code := f.Approve(t, "files:read", "files:write")
		family := NewFamily(code)
		family.RotatedAt, family.ExpiresAt = rotated, expires
		family.UserAgent, family.Address = "node", "192.0.2.7"
		want(t, s.RedeemCode(t.Context(), code.ID, family), nil)
		family.GrantID, family.UserID, family.ClientID, family.ResourceID = f.Grant.ID, f.User.ID, f.Client.ID, f.Resource.ID
		return family
	}
	end := Now.Add(time.Hour)
	stored := []*storage.Family{redeem(Now, end), redeem(Now.Add(-storage.FamilyIdle+step), end), redeem(Now, Now.Add(step))}
	redeem(Now, Now)
	redeem(Now.Add(-storage.FamilyIdle), end)
	slices.SortFunc(stored, func(a, b *storage.Family) int { return strings.Compare(a.ID, b.ID) })
	wantPages(t, stored, func(page storage.Page) ([]*storage.Family, error) {
		return s.UserFamilies(t.Context(), f.User.ID, Now, page)
	}, func(f *storage.Family) string { return f.ID })
}

func familyIdle(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	end := Now.Add(storage.FamilyIdle)
	rotate := func(presented int64, now time.Time) error {
		return s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: presented, Request: []byte("r"), Now: now})
	}
	want(t, rotate(1, end), storage.ErrNotFound)
	want(t, rotate(1, end.Add(-step)), nil)
	want(t, rotate(2, end), nil) // idleness counts anew
	// The row itself is told, ended or not.
	_, _, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
}

func familyLifetime(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	generation, last := int64(1), Now
	rotate := func(now time.Time) error {
		err := s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: generation, Request: []byte("r"), Now: now})
		if err == nil {
			generation++
			last = now
		}
		return err
	}
	for last.Add(storage.FamilyIdle / 2).Before(family.ExpiresAt) {
		want(t, rotate(last.Add(storage.FamilyIdle/2)), nil)
	}
	want(t, rotate(family.ExpiresAt.Add(-step)), nil)
	want(t, rotate(family.ExpiresAt), storage.ErrNotFound)
	// Ended is ended, also for whom the grace was meant.
	generation--
	want(t, rotate(family.ExpiresAt), storage.ErrNotFound)
}

func familyEnded(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	other := f.Redeem(t, f.Approve(t, "files:read", "files:write"))

	want(t, s.EndFamily(t.Context(), family.ID, Event("family.ended", family.ID)), nil)
	want(t, s.EndFamily(t.Context(), family.ID, Event("family.ended", family.ID)), storage.ErrNotFound)
	familyGone(t, s, family.ID)
	want(t, s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 1, Request: []byte("r"), Now: Now}), storage.ErrNotFound)
	// The other installation and what was approved are not touched.
	wantFamily(t, s, other)
	if diff := cmp.Diff(f.Grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
}

// wantFamily fails the test unless the stored family is this one.
func wantFamily(t testing.TB, s storage.Store, family *storage.Family) {
	t.Helper()
	got, _, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	if diff := cmp.Diff(family, got); diff != "" {
		t.Errorf("family (-want +got):\n%s", diff)
	}
}
