package storagetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var userIdentityContracts = []contract{
	{"a person of a provider is made with their identity", userIdentityProvision},
	{"verifying writes what the provider says now", userIdentityVerify},
	{"only the provider's own memberships go", userIdentityGroups},
	{"an address is as verified as its provider says, until one is given here", userIdentityEmail},
	{"verifying revives nobody who is disabled", userIdentityDisabled},
	{"an address belongs to whoever has it alone", userIdentityToLink},
	{"linking takes the password and all that came of it", userIdentityLink},
	{"linking is refused to whom it is not due", userIdentityNotLinked},
	{"an unverified person has no session and no refresh", userIdentityUnverified},
	{"one of many first sign-ins makes the person", userIdentityRace},
}

// provision stores a new person of the provider.
func provision(t *testing.T, s storage.Store, p *storage.Provider) (*storage.User, storage.Verification) {
	t.Helper()
	v, u := NewVerification(p), NewUser()
	u.PasswordHash, u.Name, u.Email, u.Groups, u.VerifiedUntil = "", v.Name, v.Email, v.Groups, v.Until
	want(t, s.ProvisionUser(t.Context(), u, v, Event("user.created", u.ID)), nil)
	return u, v
}

func userIdentityProvision(t *testing.T, s storage.Store) {
	p := createProvider(t, s)
	u, v := provision(t, s, p)
	wantUser(t, s, u, false, v)
	identities, err := s.UserIdentities(t.Context(), u.ID)
	want(t, err, nil)
	expected := []*storage.UserIdentity{{Issuer: v.Issuer, Subject: v.Subject, UserID: u.ID, ProviderID: p.ID, CreatedAt: Now, VerifiedAt: Now}}
	if diff := cmp.Diff(expected, identities); diff != "" {
		t.Errorf("identities (-want +got):\n%s", diff)
	}

	before := len(events(t, s))
	again := NewUser()
	want(t, s.ProvisionUser(t.Context(), again, v, Event("user.created", again.ID)), storage.ErrConsumed)
	again.Username = u.Username
	want(t, s.ProvisionUser(t.Context(), again, NewVerification(p), Event("user.created", again.ID)), storage.ErrExists)
	_, err = s.User(t.Context(), again.ID)
	want(t, err, storage.ErrNotFound)
	if after := len(events(t, s)); after != before {
		t.Errorf("%d events of what did not happen", after-before)
	}
	for _, other := range []storage.Verification{{Issuer: v.Issuer, Subject: "other"}, {Issuer: "https://other.example", Subject: v.Subject}} {
		_, err = s.UserByIdentity(t.Context(), other.Issuer, other.Subject)
		want(t, err, storage.ErrNotFound)
	}
	want(t, s.DeleteUser(t.Context(), u.ID, storage.AnyVersion, Event("user.deleted", u.ID)), nil)
	_, err = s.UserByIdentity(t.Context(), v.Issuer, v.Subject)
	want(t, err, storage.ErrNotFound)
}

func userIdentityVerify(t *testing.T, s storage.Store) {
	p := createProvider(t, s)
	u, v := provision(t, s, p)
	through := *p
	through.ID, through.Name = storage.NewID(storage.PrefixProvider), "the same issuer once more"
	want(t, s.CreateProvider(t.Context(), &through, Event("provider.created", through.ID)), nil)

	v.ProviderID, v.Name, v.Email, v.Groups = through.ID, "Bea Renamed", "", []string{}
	v.At, v.Until = Now.Add(time.Hour), Now.Add(9*time.Hour)
	want(t, s.VerifyUser(t.Context(), v, Event("user.verified", u.ID)), nil)
	u.Name, u.VerifiedUntil, u.UpdatedAt, u.Version = v.Name, v.Until, v.At, u.Version+1
	wantUser(t, s, u, false, v) // the groups came from the other provider
	identities, err := s.UserIdentities(t.Context(), u.ID)
	want(t, err, nil)
	if len(identities) != 1 || identities[0].ProviderID != through.ID || !identities[0].VerifiedAt.Equal(v.At) || !identities[0].CreatedAt.Equal(Now) {
		t.Errorf("identities: %+v", identities)
	}
	v.Subject = "nobody"
	want(t, s.VerifyUser(t.Context(), v, Event("user.verified", u.ID)), storage.ErrNotFound)
}

func userIdentityGroups(t *testing.T, s storage.Store) {
	p := createProvider(t, s)
	u, v := provision(t, s, p) // in staff and writers
	u.Groups = []string{"local", "staff", "writers"}
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	groups := func(says ...string) []string {
		v.Groups = says
		want(t, s.VerifyUser(t.Context(), v, Event("user.verified", u.ID)), nil)
		got, err := s.User(t.Context(), u.ID)
		want(t, err, nil)
		return got.Groups
	}
	for _, step := range []struct{ says, want []string }{
		{[]string{"local", "writers", "writers", "editors"}, []string{"editors", "local", "writers"}},
		{nil, []string{"local"}},
		{[]string{"staff"}, []string{"local", "staff"}},
	} {
		if diff := cmp.Diff(step.want, groups(step.says...)); diff != "" {
			t.Errorf("the provider says %v (-want +got):\n%s", step.says, diff)
		}
		given := slices.DeleteFunc(slices.Clone(step.want), func(g string) bool { return g == "local" })
		recorded := v.Recorded(storage.AuditEvent{}, step.want, given).Detail
		last := events(t, s)
		if diff := cmp.Diff(recorded, last[len(last)-1].Detail); diff != "" {
			t.Errorf("the event of %v (-want +got):\n%s", step.says, diff)
		}
	}
}

func userIdentityEmail(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	v := NewVerification(createProvider(t, s))
	v.EmailVerified = true
	want(t, s.LinkUser(t.Context(), f.User.ID, f.User.Version, v, Event("user.linked", f.User.ID)), nil)
	f.SignInAgain(t)
	family := f.Redeem(t, f.Approve(t, "files:read"))
	verified := func(expected bool) {
		t.Helper()
		_, standing, err := s.Family(t.Context(), family.ID)
		want(t, err, nil)
		live, now, err := s.AccessTokenLive(t.Context(), "tok_1", family.ID, Now)
		want(t, err, nil)
		if !live || standing.Person != now.Person || now.Person.EmailVerified != expected {
			t.Errorf("the family's person is %+v, the token's %+v; want verified %t", standing.Person, now.Person, expected)
		}
	}
	verified(true)
	says := func(email string, is bool) {
		t.Helper()
		v.Email, v.EmailVerified = email, is
		want(t, s.VerifyUser(t.Context(), v, Event("user.verified", f.User.ID)), nil)
	}
	says("bea@other.example", false)
	verified(false)
	says("", true) // it says nothing of the address
	verified(false)
	u, err := s.User(t.Context(), f.User.ID)
	want(t, err, nil)
	u.Name = "Bea Renamed"
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	verified(false)
	u.Email = "bea@example.net"
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	verified(true)

	made := NewUser()
	made.Email, made.PasswordHash = "cy@example.com", ""
	v = NewVerification(createProvider(t, s))
	want(t, s.ProvisionUser(t.Context(), made, v, Event("user.created", made.ID)), nil)
	f.User = made
	f.SignInAgain(t)
	family = f.Redeem(t, f.Approve(t, "files:read"))
	verified(false)
}

func userIdentityDisabled(t *testing.T, s storage.Store) {
	u, v := provision(t, s, createProvider(t, s))
	u.Disabled = true
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	v.Name, v.Groups = "Somebody Else", nil
	want(t, s.VerifyUser(t.Context(), v, Event("user.verified", u.ID)), storage.ErrNotFound)
	wantUser(t, s, u, false, v)
}

func userIdentityToLink(t *testing.T, s storage.Store) {
	create := func(email string, disabled bool) *storage.User {
		u := NewUser()
		u.Email, u.Disabled = email, disabled
		want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
		return u
	}
	alone := create("Alone@Example.com", false)
	create("twice@example.com", false)
	create("TWICE@example.com", true)
	create("gone@example.com", true)
	create("", false)
	create("Éa@example.com", false)
	create("\u212Aim@example.com", false) // the Kelvin sign, whose lower case is k
	provision(t, s, createProvider(t, s)) // bea@example.com

	for _, email := range []string{"alone@example.com", "ALONE@example.COM"} {
		got, err := s.UserToLink(t.Context(), email)
		want(t, err, nil)
		if diff := cmp.Diff(alone, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", email, diff)
		}
	}
	for email, sentinel := range map[string]error{
		"twice@example.com": storage.ErrConflict, "gone@example.com": storage.ErrConflict, "bea@example.com": storage.ErrConflict,
		"nobody@example.com": storage.ErrNotFound, "éa@example.com": storage.ErrNotFound, "kim@example.com": storage.ErrNotFound,
		"alone_example.com": storage.ErrNotFound,
	} {
		if _, err := s.UserToLink(t.Context(), email); !errors.Is(err, sentinel) {
			t.Errorf("%s: %v", email, err)
		}
	}
}

func userIdentityLink(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := createProvider(t, s)
	family := f.Redeem(t, f.Code)
	pending := f.Approve(t, "files:read")
	v := NewVerification(p)
	want(t, s.LinkUser(t.Context(), f.User.ID, f.User.Version, v, Event("user.linked", f.User.ID)), nil)

	u := *f.User
	u.Version, u.Name, u.Email, u.PasswordHash, u.VerifiedUntil = u.Version+1, v.Name, v.Email, "", v.Until
	u.Groups = []string{"staff", "writers"}
	wantUser(t, s, &u, false, v)
	familyGone(t, s, family.ID)
	codeDead(t, s, pending)
	_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, Now)
	want(t, err, storage.ErrNotFound)
	if grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID) == nil {
		t.Error("the grant is gone")
	}
}

func userIdentityNotLinked(t *testing.T, s storage.Store) {
	p := createProvider(t, s)
	taken, v := provision(t, s, p)
	create := func(change func(*storage.User)) *storage.User {
		u := NewUser()
		change(u)
		want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
		return u
	}
	plain := create(func(*storage.User) {})
	for name, test := range map[string]struct {
		user    string
		version int64
		v       storage.Verification
		want    error
	}{
		"the identity has a user":   {plain.ID, plain.Version, v, storage.ErrConsumed},
		"the user has an identity":  {taken.ID, taken.Version, NewVerification(p), storage.ErrConflict},
		"the user has changed":      {plain.ID, plain.Version + 1, NewVerification(p), storage.ErrConflict},
		"the user is disabled":      {create(func(u *storage.User) { u.Disabled = true }).ID, 1, NewVerification(p), storage.ErrNotFound},
		"there is no such user":     {"usr_none", 1, NewVerification(p), storage.ErrNotFound},
		"there is no such provider": {plain.ID, plain.Version, NewVerification(NewProvider()), storage.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, s.LinkUser(t.Context(), test.user, test.version, test.v, Event("user.linked", test.user)), test.want)
			got, err := s.User(t.Context(), plain.ID)
			want(t, err, nil)
			if diff := cmp.Diff(plain, got); diff != "" {
				t.Errorf("changed (-want +got):\n%s", diff)
			}
		})
	}
}

func userIdentityUnverified(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	v := NewVerification(createProvider(t, s))
	v.Until = Now.Add(time.Hour)
	want(t, s.LinkUser(t.Context(), f.User.ID, f.User.Version, v, Event("user.linked", f.User.ID)), nil)
	f.SignInAgain(t)
	family := f.Redeem(t, f.Approve(t, "files:read", "files:write"))

	renew := func(now time.Time, presented int64) bool {
		r := f.renewal(family.ID, presented)
		r.Now = now
		got, _, renewed, err := s.RenewFamily(t.Context(), r)
		want(t, err, nil)
		if !got.VerifiedUntil.Equal(v.Until) {
			t.Errorf("the family is verified until %v", got.VerifiedUntil)
		}
		if got.Unverified(now) == renewed {
			t.Errorf("at %v: unverified %t, renewed %t", now, got.Unverified(now), renewed)
		}
		return renewed
	}
	if !renew(v.Until.Add(-step), 1) || renew(v.Until, 2) {
		t.Error("a family is renewed until then, and no longer")
	}
	got, _, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	if !got.VerifiedUntil.Equal(v.Until) || got.Generation != 2 {
		t.Errorf("family: %+v", got)
	}
	in, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, v.Until.Add(-step))
	want(t, err, nil)
	if !in.User.VerifiedUntil.Equal(v.Until) {
		t.Errorf("signed in, verified until %v", in.User.VerifiedUntil)
	}
	_, err = s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, v.Until)
	want(t, err, storage.ErrNotFound)
	late := NewSession(f.User.ID)
	late.CreatedAt = v.Until
	want(t, s.CreateSession(t.Context(), late, Event("session.created", late.ID)), storage.ErrNotFound)

	v.At, v.Until = v.Until, v.Until.Add(time.Hour)
	want(t, s.VerifyUser(t.Context(), v, Event("user.verified", f.User.ID)), nil)
	if !renew(v.At, 2) {
		t.Error("a family is not renewed once the person is verified again")
	}
}

func userIdentityRace(t *testing.T, s storage.Store) {
	v := NewVerification(createProvider(t, s))
	errs := race(racers, func(int) error {
		u := NewUser()
		return s.ProvisionUser(t.Context(), u, v, Event("user.created", u.ID))
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
	all, err := s.Users(t.Context(), storage.UserFilter{}, storage.Page{Limit: 100})
	want(t, err, nil)
	if len(all) != 1 {
		t.Errorf("%d users of one identity", len(all))
	}
}
