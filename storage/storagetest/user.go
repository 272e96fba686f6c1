package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var userContracts = []contract{
	{"a created user comes back by id and by name", userRoundTrip},
	{"a username is taken once, without regard to case", userExists},
	{"a user who is not there is not found", userNotFound},
	{"lists go by id, a page at a time", userPages},
	{"an update writes what may change", userUpdate},
	{"an update of an older version conflicts", userConflict},
	{"a renamed user keeps the name from others and frees the old one", userRenamed},
	{"a disabled user has no session, grant, family or code", userDisabled},
	{"a new password ends sessions, families and codes", userPasswordChanged},
	{"an update of anything else ends nothing", userUpdateEndsNothing},
	{"a deleted user takes everything along", userDeleted},
}

func userRoundTrip(t *testing.T, s storage.Store) {
	u := fullUser()
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	got, err := s.User(t.Context(), u.ID)
	want(t, err, nil)
	if diff := cmp.Diff(u, got); diff != "" {
		t.Errorf("User (-stored +read):\n%s", diff)
	}
	got, err = s.UserByUsername(t.Context(), u.Username)
	want(t, err, nil)
	if diff := cmp.Diff(u, got); diff != "" {
		t.Errorf("UserByUsername (-stored +read):\n%s", diff)
	}
}

func userExists(t *testing.T, s storage.Store) {
	u := NewUser()
	u.Username = "Alice.Ärmel"
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	for _, name := range []string{"Alice.Ärmel", "alice.ärmel", "ALICE.ÄRMEL"} {
		got, err := s.UserByUsername(t.Context(), name)
		want(t, err, nil)
		if got.Username != "Alice.Ärmel" {
			t.Errorf("the username came back as %q", got.Username)
		}
		taken := NewUser()
		taken.Username = name
		want(t, s.CreateUser(t.Context(), taken, Event("user.created", taken.ID)), storage.ErrExists)
	}
	different := NewUser()
	different.Username = "Alice.Armel"
	want(t, s.CreateUser(t.Context(), different, Event("user.created", different.ID)), nil)
}

func userNotFound(t *testing.T, s storage.Store) {
	u := NewUser()
	_, err := s.User(t.Context(), u.ID)
	want(t, err, storage.ErrNotFound)
	_, err = s.UserByUsername(t.Context(), u.Username)
	want(t, err, storage.ErrNotFound)
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), storage.ErrNotFound)
	want(t, s.DeleteUser(t.Context(), u.ID, storage.AnyVersion, Event("user.deleted", u.ID)), storage.ErrNotFound)
}

func userPages(t *testing.T, s storage.Store) {
	var stored []*storage.User
	for range 5 {
		u := fullUser()
		want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
		stored = append(stored, u)
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.User, error) {
		return s.Users(t.Context(), storage.UserFilter{}, page)
	},
		func(u *storage.User) string { return u.ID })

	yes, no := true, false
	stored[1].Disabled, stored[2].Disabled = true, true
	stored[2].Groups = []string{"board"}
	for _, u := range stored[1:3] {
		want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	}
	for name, c := range map[string]struct {
		filter storage.UserFilter
		want   []*storage.User
	}{
		"disabled":                 {storage.UserFilter{Disabled: &yes}, stored[1:3]},
		"disabled and in a group":  {storage.UserFilter{Disabled: &yes, Group: "board"}, stored[2:3]},
		"enabled and in the group": {storage.UserFilter{Disabled: &no, Group: "board"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			wantPages(t, c.want, func(page storage.Page) ([]*storage.User, error) { return s.Users(t.Context(), c.filter, page) },
				func(u *storage.User) string { return u.ID })
		})
	}
}

func userUpdate(t *testing.T, s storage.Store) {
	before := fullUser()
	want(t, s.CreateUser(t.Context(), before, Event("user.created", before.ID)), nil)
	bystander := fullUser()
	want(t, s.CreateUser(t.Context(), bystander, Event("user.created", bystander.ID)), nil)

	after := fullUser()
	after.ID, after.Version = before.ID, before.Version
	after.Email, after.Name, after.PasswordHash = "new@example.com", "New Name", ""
	after.Groups = []string{"board", "staff"}
	after.Disabled = true
	after.CreatedAt = before.CreatedAt.Add(time.Hour)
	after.UpdatedAt = before.UpdatedAt.Add(2 * time.Hour)
	want(t, s.UpdateUser(t.Context(), after, Event("user.updated", before.ID)), nil)
	if after.Version <= before.Version {
		t.Errorf("version %d after an update of version %d", after.Version, before.Version)
	}
	expected := *after
	expected.CreatedAt = before.CreatedAt
	got, err := s.User(t.Context(), before.ID)
	want(t, err, nil)
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("after UpdateUser (-want +got):\n%s", diff)
	}
	got, err = s.User(t.Context(), bystander.ID)
	want(t, err, nil)
	if diff := cmp.Diff(bystander, got); diff != "" {
		t.Errorf("another user (-want +got):\n%s", diff)
	}

	after.Groups = nil
	want(t, s.UpdateUser(t.Context(), after, Event("user.updated", before.ID)), nil)
	got, err = s.User(t.Context(), before.ID)
	want(t, err, nil)
	if len(got.Groups) != 0 {
		t.Errorf("still in groups %q", got.Groups)
	}
}

func userConflict(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	stale := *f.User
	f.User.Name = "First"
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), nil)
	stale.Disabled, stale.Groups = true, nil
	want(t, s.UpdateUser(t.Context(), &stale, Event("user.updated", f.User.ID)), storage.ErrConflict)

	got, err := s.User(t.Context(), f.User.ID)
	want(t, err, nil)
	if diff := cmp.Diff(f.User, got); diff != "" {
		t.Errorf("after a conflict (-want +got):\n%s", diff)
	}
	if grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID) == nil {
		t.Error("a conflicting update took the grant")
	}
}

func userRenamed(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	name := f.User.Username

	f.User.Username = other.User.Username
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), storage.ErrExists)
	f.User.Username = "Renamed"
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), nil)
	f.User.Username = "RENAMED" // one's own name in another case is not taken
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), nil)

	_, err := s.UserByUsername(t.Context(), name)
	want(t, err, storage.ErrNotFound)
	got, err := s.UserByUsername(t.Context(), "renamed")
	want(t, err, nil)
	if got.ID != f.User.ID {
		t.Errorf("the name leads to %s", got.ID)
	}
}

func userDisabled(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read")

	f.User.Disabled = true
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.disabled", f.User.ID)), nil)
	wantNothingLeft(t, f, family, unredeemed)
	want(t, s.Approve(t.Context(), f.NewApproval("files:read"), Event("grant.approved", "")), storage.ErrNotFound)
	want(t, s.CreateSession(t.Context(), NewSession(f.User.ID), Event("session.created", "")), storage.ErrNotFound)

	// Nothing comes back with the user.
	f.User.Disabled = false
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.enabled", f.User.ID)), nil)
	wantNothingLeft(t, f, family, unredeemed)
}

func userPasswordChanged(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read", "files:write")

	f.User.PasswordHash = "$argon2id$v=19$m=19456,t=2,p=1$b3RoZXJvdGhlcg$b3RoZXJvdGhlcm90aGVy"
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.password_changed", f.User.ID)), nil)
	_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, Now)
	want(t, err, storage.ErrNotFound)
	familyGone(t, s, family.ID)
	codeDead(t, s, unredeemed)
	// What was approved stays approved: it takes a new sign-in to use it.
	if diff := cmp.Diff(f.Grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
	// The page of the dead code cannot approve again in a new session either.
	f.SignInAgain(t)
	again := f.NewApproval("files:read")
	again.Code.ID = unredeemed.ID
	want(t, s.Approve(t.Context(), again, Event("grant.approved", again.Code.ID)), storage.ErrConsumed)
}

func userUpdateEndsNothing(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read", "files:write")
	f.User.Name, f.User.Email, f.User.Groups = "Other", "other@example.com", []string{"other"}
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), nil)

	signIn, err := s.SignIn(t.Context(), f.Session.TokenHash, f.Look(), Now)
	want(t, err, nil)
	if diff := cmp.Diff(f.Grant, signIn.Grant); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
	_, _, err = s.Family(t.Context(), family.ID)
	want(t, err, nil)
	f.Redeem(t, unredeemed)
}

func userDeleted(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read")

	want(t, s.DeleteUser(t.Context(), f.User.ID, storage.AnyVersion, Event("user.deleted", f.User.ID)), nil)
	_, err := s.User(t.Context(), f.User.ID)
	want(t, err, storage.ErrNotFound)
	wantNothingLeft(t, f, family, unredeemed)
	if diff := cmp.Diff(other.Grant, grantOf(t, s, other.User.ID, other.Client.ID, other.Resource.ID)); diff != "" {
		t.Errorf("another user's grant (-want +got):\n%s", diff)
	}
	again := NewUser()
	again.Username = f.User.Username
	want(t, s.CreateUser(t.Context(), again, Event("user.created", again.ID)), nil)
}

// wantNothingLeft fails the test if the fixture's user can still do anything.
func wantNothingLeft(t testing.TB, f *Fixture, family *storage.Family, code *storage.AuthorizationCode) {
	t.Helper()
	_, err := f.Store.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, Now)
	want(t, err, storage.ErrNotFound)
	wantNoGrant(t, f)
	familyGone(t, f.Store, family.ID)
	codeDead(t, f.Store, code)
	live, _, err := f.Store.AccessTokenLive(t.Context(), "tok_any", family.ID, Now)
	want(t, err, nil)
	if live {
		t.Error("an access token of the family is still live")
	}
}

// fullUser returns a user none of whose fields is empty.
func fullUser() *storage.User {
	u := NewUser()
	u.Version = 5
	u.Groups = []string{"admins", "staff"}
	u.UpdatedAt = Now.Add(time.Second)
	return u
}
