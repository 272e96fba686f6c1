package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var userLinkContracts = []contract{
	{"a link comes back with its user", userLinkRoundTrip},
	{"a link needs an enabled user", userLinkUser},
	{"a new link ends the one before", userLinkReplaced},
	{"a link is used once and ends what a new password ends", userLinkUsed},
	{"a link expires", userLinkExpires},
	{"a link dies with the permission to be here and with the password", userLinkDies},
	{"a link ends when an administrator says so", userLinkDeleted},
	{"no link is made for a provider's person, until the provider is gone", userLinkOfProvider},
	{"the first administrator's link makes the first user, once", userLinkFirstAdmin},
	{"sixteen uses of a link race", userLinkRace},
	{"sixteen first administrators race", userLinkFirstAdminRace},
}

// NewUserLink returns a reset link of the user, made at Now for a day, that is not
// stored. An empty userID makes it the first administrator's.
func NewUserLink(userID string) *storage.UserLink {
	l := &storage.UserLink{
		ID: storage.NewID(storage.PrefixUserLink), TokenHash: Digest(), Purpose: storage.LinkPasswordReset, UserID: userID,
		CreatedAt: Now, ExpiresAt: Now.Add(24 * time.Hour),
	}
	if userID == "" {
		l.Purpose = storage.LinkFirstAdmin
	}
	return l
}

func createLink(t testing.TB, s storage.Store, userID string) *storage.UserLink {
	t.Helper()
	l := NewUserLink(userID)
	want(t, s.CreateUserLink(t.Context(), l, Event("user_link.created", userID)), nil)
	return l
}

// useOf is the use of a link at Now.
func useOf(l *storage.UserLink) storage.UserLinkUse {
	return storage.UserLinkUse{TokenHash: l.TokenHash, UserID: l.UserID, PasswordHash: "$argon2id$another", Now: Now}
}

// wantSpent fails the test unless the link leads nowhere.
func wantSpent(t testing.TB, s storage.Store, l *storage.UserLink) {
	t.Helper()
	_, _, err := s.UserLink(t.Context(), l.TokenHash, Now)
	want(t, err, storage.ErrNotFound)
	if l.UserID == "" {
		want(t, s.UseFirstAdminLink(t.Context(), l.TokenHash, NewUser(), nil, Event("user.created", "")), storage.ErrConsumed)
		return
	}
	want(t, s.UseUserLink(t.Context(), useOf(l), Event("user_link.used", l.UserID)), storage.ErrConsumed)
}

func userLinkRoundTrip(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	l := createLink(t, s, f.User.ID)
	for range 2 { // looking uses nothing up
		got, user, err := s.UserLink(t.Context(), l.TokenHash, Now)
		want(t, err, nil)
		if diff := cmp.Diff(l, got); diff != "" {
			t.Errorf("UserLink (-stored +read):\n%s", diff)
		}
		if diff := cmp.Diff(f.User, user); diff != "" {
			t.Errorf("its user (-stored +read):\n%s", diff)
		}
	}
	_, _, err := s.UserLink(t.Context(), Digest(), Now)
	want(t, err, storage.ErrNotFound)
	taken := NewUserLink(NewFixture(t, s).User.ID)
	taken.TokenHash = l.TokenHash
	want(t, s.CreateUserLink(t.Context(), taken, Event("user_link.created", "")), storage.ErrExists)
}

func userLinkUser(t *testing.T, s storage.Store) {
	u := NewUser()
	want(t, s.CreateUserLink(t.Context(), NewUserLink(u.ID), Event("user_link.created", "")), storage.ErrNotFound)
	u.Disabled = true
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	want(t, s.CreateUserLink(t.Context(), NewUserLink(u.ID), Event("user_link.created", "")), storage.ErrNotFound)
}

func userLinkReplaced(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	first, others := createLink(t, s, f.User.ID), createLink(t, s, other.User.ID)
	second := createLink(t, s, f.User.ID)
	wantSpent(t, s, first)
	for _, l := range []*storage.UserLink{second, others} {
		_, _, err := s.UserLink(t.Context(), l.TokenHash, Now)
		want(t, err, nil)
	}
}

func userLinkUsed(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read", "files:write")
	l, others := createLink(t, s, f.User.ID), createLink(t, s, other.User.ID)
	foreign := useOf(others)
	foreign.UserID = f.User.ID
	want(t, s.UseUserLink(t.Context(), foreign, Event("user_link.used", "")), storage.ErrConsumed)

	use := useOf(l)
	want(t, s.UseUserLink(t.Context(), use, Event("user_link.used", f.User.ID)), nil)
	wantSpent(t, s, l)
	got, err := s.User(t.Context(), f.User.ID)
	want(t, err, nil)
	expected := *f.User
	expected.PasswordHash, expected.UpdatedAt, expected.Version = use.PasswordHash, use.Now, f.User.Version+1
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("the user (-want +got):\n%s", diff)
	}
	_, err = s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, Now)
	want(t, err, storage.ErrNotFound)
	familyGone(t, s, family.ID)
	codeDead(t, s, unredeemed)
	if grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID) == nil {
		t.Error("what was approved is gone")
	}
	_, err = s.SignIn(t.Context(), other.Session.TokenHash, storage.Look{}, Now)
	want(t, err, nil)
	_, _, err = s.UserLink(t.Context(), others.TokenHash, Now)
	want(t, err, nil)
}

func userLinkExpires(t *testing.T, s storage.Store) {
	u := NewUser()
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	l := createLink(t, s, u.ID)
	use := useOf(l)
	use.Now = l.ExpiresAt
	want(t, s.UseUserLink(t.Context(), use, Event("user_link.used", "")), storage.ErrConsumed)
	_, _, err := s.UserLink(t.Context(), l.TokenHash, l.ExpiresAt)
	want(t, err, storage.ErrNotFound)
	_, _, err = s.UserLink(t.Context(), l.TokenHash, l.ExpiresAt.Add(-step))
	want(t, err, nil)

	n, err := s.Sweep(t.Context(), l.ExpiresAt.Add(-step), unused, 100)
	want(t, err, nil)
	after, err := s.Sweep(t.Context(), l.ExpiresAt, unused, 100)
	want(t, err, nil)
	if n != 0 || after != 1 {
		t.Errorf("swept %d and then %d rows, want the link in the end", n, after)
	}
	want(t, s.DeleteUserLink(t.Context(), u.ID, Event("user_link.deleted", "")), storage.ErrNotFound)
}

func userLinkDies(t *testing.T, s storage.Store) {
	for name, change := range map[string]func(u *storage.User) error{
		"disabled": func(u *storage.User) error {
			u.Disabled = true
			return s.UpdateUser(t.Context(), u, Event("user.updated", u.ID))
		},
		"a new password": func(u *storage.User) error {
			u.PasswordHash = "$argon2id$new"
			return s.UpdateUser(t.Context(), u, Event("user.updated", u.ID))
		},
		"deleted": func(u *storage.User) error {
			return s.DeleteUser(t.Context(), u.ID, storage.AnyVersion, Event("user.deleted", u.ID))
		},
	} {
		f := NewFixture(t, s)
		l := createLink(t, s, f.User.ID)
		f.User.Name = "Renamed"
		want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", "")), nil)
		if _, _, err := s.UserLink(t.Context(), l.TokenHash, Now); err != nil {
			t.Fatalf("after another change: %v", err)
		}
		if err := change(f.User); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantSpent(t, s, l)
		if name == "disabled" {
			f.User.Disabled = false
			want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", "")), nil)
			wantSpent(t, s, l)
		}
	}
}

func userLinkDeleted(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	want(t, s.DeleteUserLink(t.Context(), f.User.ID, Event("user_link.deleted", "")), storage.ErrNotFound)
	l := createLink(t, s, f.User.ID)
	want(t, s.DeleteUserLink(t.Context(), f.User.ID, Event("user_link.deleted", f.User.ID)), nil)
	wantSpent(t, s, l)
}

func userLinkOfProvider(t *testing.T, s storage.Store) {
	p := createProvider(t, s)
	u, _ := provision(t, s, p)
	before := len(events(t, s))
	l := NewUserLink(u.ID)
	want(t, s.CreateUserLink(t.Context(), l, Event("user_link.created", u.ID)), storage.ErrConflict)
	wantSpent(t, s, l)
	if after := len(events(t, s)); after != before {
		t.Errorf("%d events of what did not happen", after-before)
	}
	want(t, s.DeleteProvider(t.Context(), p.ID, storage.AnyVersion, Event("provider.deleted", p.ID)), nil)
	want(t, s.UseUserLink(t.Context(), useOf(createLink(t, s, u.ID)), Event("user_link.used", u.ID)), nil)
	session := NewSession(u.ID)
	want(t, s.CreateSession(t.Context(), session, Event("user.signed_in", session.ID)), nil)
}

func userLinkFirstAdmin(t *testing.T, s storage.Store) {
	ctx := t.Context()
	first := createLink(t, s, "")
	l := createLink(t, s, "")
	wantSpent(t, s, first)
	got, user, err := s.UserLink(ctx, l.TokenHash, Now)
	want(t, err, nil)
	if diff := cmp.Diff(l, got); diff != "" || user != nil {
		t.Errorf("UserLink with the user %v (-stored +read):\n%s", user, diff)
	}
	u := fullUser()
	u.CreatedAt = l.ExpiresAt
	want(t, s.UseFirstAdminLink(ctx, l.TokenHash, u, nil, Event("user.created", u.ID)), storage.ErrConsumed)
	u.CreatedAt = Now
	want(t, s.UseUserLink(ctx, useOf(l), Event("user_link.used", "")), storage.ErrConsumed)
	want(t, s.UseFirstAdminLink(ctx, l.TokenHash, u, nil, Event("user.created", u.ID)), nil)
	wantSpent(t, s, l)
	made, err := s.User(ctx, u.ID)
	want(t, err, nil)
	if diff := cmp.Diff(u, made); diff != "" {
		t.Errorf("the first user (-want +got):\n%s", diff)
	}
	want(t, s.CreateUserLink(ctx, NewUserLink(""), Event("user_link.created", "")), storage.ErrNotFound)

	// A user who came by another way ends it too.
	want(t, s.DeleteUser(ctx, u.ID, storage.AnyVersion, Event("user.deleted", u.ID)), nil)
	l = createLink(t, s, "")
	NewFixture(t, s)
	wantSpent(t, s, l)
}

func userLinkRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	l := createLink(t, s, f.User.ID)
	errs := race(16, func(int) error { return s.UseUserLink(t.Context(), useOf(l), Event("user_link.used", f.User.ID)) })
	wantWinners(t, errs, 1, storage.ErrConsumed)
}

func userLinkFirstAdminRace(t *testing.T, s storage.Store) {
	l := createLink(t, s, "")
	errs := race(16, func(int) error {
		u := NewUser()
		return s.UseFirstAdminLink(t.Context(), l.TokenHash, u, nil, Event("user.created", u.ID))
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
	users, err := s.Users(t.Context(), storage.UserFilter{}, storage.Page{Limit: 100})
	want(t, err, nil)
	if len(users) != 1 {
		t.Errorf("%d users", len(users))
	}
}
