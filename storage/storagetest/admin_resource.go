package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var adminResourceContracts = []contract{
	{"the built-in resource can be granted and is not listed", adminResourceHidden},
	{"an administrator's token lives while all of its reasons do", adminTokenLive},
	{"many clients with admin access share the built-in resource", adminResourceShared},
}

// Administer makes the fixture's person an administrator and its client one for
// administrators, and has them approve the scopes of the built-in Resource at Now.
func (f *Fixture) Administer(t testing.TB, scopes ...string) *storage.Family {
	t.Helper()
	f.User.Groups = []string{storage.AdminGroup}
	want(t, f.Store.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), nil)
	f.Client.AdminAccess = true
	want(t, f.Store.UpdateClient(t.Context(), f.Client, Event("client.updated", f.Client.ID)), nil)
	f.Resource = storage.AdminResource("https://auth.example/admin")
	code := f.Approve(t, scopes...)
	f.Grant = grantOf(t, f.Store, f.User.ID, f.Client.ID, f.Resource.ID)
	return f.Redeem(t, code)
}

func adminResourceHidden(t *testing.T, s storage.Store) {
	ctx, f := t.Context(), NewFixture(t, s)
	listed := *f.Resource
	family := f.Administer(t, storage.ScopeAdminRead, storage.ScopeAdminWrite)
	_, standing, err := s.Family(ctx, family.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]string{storage.ScopeAdminRead, storage.ScopeAdminWrite}, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}

	all, err := s.Resources(ctx, storage.Page{Limit: 10})
	want(t, err, nil)
	if diff := cmp.Diff([]*storage.Resource{&listed}, all, emptyIsNil); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	_, err = s.Resource(ctx, storage.AdminResourceID)
	want(t, err, storage.ErrNotFound)
	_, err = s.ResourceByURI(ctx, storage.AdminResourceRow(Now).URI)
	want(t, err, storage.ErrNotFound)
	event := Event("resource.deleted", storage.AdminResourceID)
	want(t, s.DeleteResource(ctx, storage.AdminResourceID, storage.AnyVersion, event), storage.ErrNotFound)
	_, _, err = s.Family(ctx, family.ID)
	want(t, err, nil)
}

func adminResourceShared(t *testing.T, s storage.Store) {
	made, changed := NewClient(), NewClient()
	made.AdminAccess = true
	for _, c := range []*storage.Client{made, changed} {
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	}
	changed.AdminAccess = true
	want(t, s.UpdateClient(t.Context(), changed, Event("client.updated", changed.ID)), nil)
	for _, c := range []*storage.Client{made, changed} {
		got, err := s.Client(t.Context(), c.ID)
		want(t, err, nil)
		if !got.AdminAccess {
			t.Errorf("%s lost its admin access", c.ID)
		}
	}
}

func adminTokenLive(t *testing.T, s storage.Store) {
	ctx := t.Context()
	live := func(t *testing.T, family *storage.Family, at time.Time, expected bool, scopes ...string) {
		t.Helper()
		got, standing, err := s.AdminTokenLive(ctx, "tok_a", family.ID, at)
		want(t, err, nil)
		if got != expected {
			t.Errorf("live = %t, want %t", got, expected)
		}
		u, err := s.User(ctx, family.UserID)
		if !expected {
			return
		}
		want(t, err, nil)
		behind := storage.Standing{
			Scopes: scopes, Groups: []string{storage.AdminGroup}, Person: storage.Person{Username: u.Username, Name: u.Name, Email: u.Email, EmailVerified: true},
		}
		if diff := cmp.Diff(behind, standing, emptyIsNil); diff != "" {
			t.Errorf("what stands behind it (-want +got):\n%s", diff)
		}
	}
	for name, end := range map[string]func(f *Fixture, family *storage.Family) error{
		"the user left the group": func(f *Fixture, _ *storage.Family) error {
			f.User.Groups = []string{"staff"}
			return s.UpdateUser(ctx, f.User, Event("user.updated", f.User.ID))
		},
		"the user is disabled": func(f *Fixture, _ *storage.Family) error {
			f.User.Disabled = true
			return s.UpdateUser(ctx, f.User, Event("user.updated", f.User.ID))
		},
		"the user is deleted": func(f *Fixture, _ *storage.Family) error {
			return s.DeleteUser(ctx, f.User.ID, storage.AnyVersion, Event("user.deleted", f.User.ID))
		},
		"the client lost its admin access": func(f *Fixture, _ *storage.Family) error {
			f.Client.AdminAccess = false
			return s.UpdateClient(ctx, f.Client, Event("client.updated", f.Client.ID))
		},
		"the client is disabled": func(f *Fixture, _ *storage.Family) error {
			f.Client.Disabled = true
			return s.UpdateClient(ctx, f.Client, Event("client.updated", f.Client.ID))
		},
		"the client is deleted": func(f *Fixture, _ *storage.Family) error {
			return s.DeleteClient(ctx, f.Client.ID, storage.AnyVersion, Event("client.deleted", f.Client.ID))
		},
		"the grant is revoked": func(f *Fixture, _ *storage.Family) error {
			return s.DeleteGrant(ctx, f.Grant.ID, Event("grant.revoked", f.Grant.ID))
		},
		"the family ended": func(_ *Fixture, family *storage.Family) error {
			return s.EndFamily(ctx, family.ID, Event("family.ended", family.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, other := NewFixture(t, s), NewFixture(t, s)
			family, others := f.Administer(t, storage.ScopeAdminRead), other.Administer(t, storage.ScopeAdminWrite)
			live(t, family, Now, true, storage.ScopeAdminRead)
			want(t, end(f, family), nil)
			live(t, family, Now, false)
			live(t, others, Now, true, storage.ScopeAdminWrite)
		})
	}
	t.Run("the family expired", func(t *testing.T) {
		f := NewFixture(t, s)
		family := f.Administer(t, storage.ScopeAdminRead)
		live(t, family, Now.Add(storage.FamilyIdle-step), true, storage.ScopeAdminRead)
		live(t, family, Now.Add(storage.FamilyIdle), false)
	})
	t.Run("another resource's", func(t *testing.T) {
		f := NewFixture(t, s)
		family := f.Redeem(t, f.Code)
		f.User.Groups, f.Client.AdminAccess = []string{storage.AdminGroup}, true
		want(t, s.UpdateUser(ctx, f.User, Event("user.updated", f.User.ID)), nil)
		want(t, s.UpdateClient(ctx, f.Client, Event("client.updated", f.Client.ID)), nil)
		live(t, family, Now, false)
	})
	t.Run("the token is revoked", func(t *testing.T) {
		f := NewFixture(t, s)
		family := f.Administer(t, storage.ScopeAdminRead)
		want(t, s.RevokeAccessToken(ctx, "tok_a", Now.Add(time.Minute), Event("token.revoked", "tok_a")), nil)
		live(t, family, Now, false)
	})
	live(t, &storage.Family{}, Now, false)
	live(t, &storage.Family{ID: "fam_none"}, Now, false)
}
