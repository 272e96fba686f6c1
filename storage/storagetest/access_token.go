package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var accessTokenContracts = []contract{
	{"a revoked token is dead and no other", accessTokenRevoked},
	{"a token lives as long as its family", accessTokenFamily},
}

func accessTokenRevoked(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	expires := Now.Add(10 * time.Minute)
	wantLive(t, s, "tok_a", family.ID, Now, true)
	wantLive(t, s, "tok_a", "", Now, true)

	want(t, s.RevokeAccessToken(t.Context(), "tok_a", expires, Event("token.revoked", "tok_a")), nil)
	want(t, s.RevokeAccessToken(t.Context(), "tok_a", expires, Event("token.revoked", "tok_a")), nil)
	wantLive(t, s, "tok_a", family.ID, Now, false)
	wantLive(t, s, "tok_a", "", Now, false)
	wantLive(t, s, "tok_a", "", expires.Add(-step), false)
	wantLive(t, s, "tok_b", family.ID, Now, true)
	wantLive(t, s, "tok_A", "", Now, true)
}

func accessTokenFamily(t *testing.T, s storage.Store) {
	for name, end := range map[string]func(f *Fixture, family *storage.Family) error{
		"the family ended": func(_ *Fixture, family *storage.Family) error {
			return s.EndFamily(t.Context(), family.ID, Event("family.ended", family.ID))
		},
		"the grant is revoked": func(f *Fixture, _ *storage.Family) error {
			return s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID))
		},
		"the user is disabled": func(f *Fixture, _ *storage.Family) error {
			f.User.Disabled = true
			return s.UpdateUser(t.Context(), f.User, Event("user.disabled", f.User.ID))
		},
		"the client is deleted": func(f *Fixture, _ *storage.Family) error {
			return s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, Event("client.deleted", f.Client.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, other := NewFixture(t, s), NewFixture(t, s)
			family, others := f.Redeem(t, f.Code), other.Redeem(t, other.Code)
			wantLive(t, s, "tok_a", family.ID, Now, true)
			want(t, end(f, family), nil)
			wantLive(t, s, "tok_a", family.ID, Now, false)
			wantLive(t, s, "tok_a", others.ID, Now, true)
		})
	}
	t.Run("a scope is removed", func(t *testing.T) {
		f := NewFixture(t, s)
		family := f.Redeem(t, f.Code)
		f.Resource.Scopes = f.Resource.Scopes[1:]
		want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
		live, standing, err := s.AccessTokenLive(t.Context(), "tok_a", family.ID, Now)
		want(t, err, nil)
		if diff := cmp.Diff([]string{"files:write"}, standing.Scopes); !live || diff != "" {
			t.Errorf("live: %t; scopes (-want +got):\n%s", live, diff)
		}
	})
	t.Run("the family expired", func(t *testing.T) {
		// Swept already or not makes no difference.
		f := NewFixture(t, s)
		family := f.Redeem(t, f.Code)
		wantLive(t, s, "tok_a", family.ID, Now.Add(storage.FamilyIdle-step), true)
		wantLive(t, s, "tok_a", family.ID, Now.Add(storage.FamilyIdle), false)
	})
	t.Run("a provider no longer vouches for the user", func(t *testing.T) {
		f := NewFixture(t, s)
		v := NewVerification(createProvider(t, s))
		want(t, s.LinkUser(t.Context(), f.User.ID, f.User.Version, v, Event("user.linked", f.User.ID)), nil)
		f.SignInAgain(t)
		family := f.Redeem(t, f.Approve(t, "files:read"))
		wantLive(t, s, "tok_a", family.ID, v.Until.Add(-step), true)
		wantLive(t, s, "tok_a", family.ID, v.Until, false)
	})
	wantLive(t, s, "tok_a", "fam_none", Now, false)
}

func wantLive(t testing.TB, s storage.Store, jti, familyID string, now time.Time, live bool) {
	t.Helper()
	got, standing, err := s.AccessTokenLive(t.Context(), jti, familyID, now)
	want(t, err, nil)
	if got != live {
		t.Errorf("AccessTokenLive(%q, %q) = %t, want %t", jti, familyID, got, live)
	}
	if live && (familyID != "") != (len(standing.Scopes) > 0) {
		t.Errorf("AccessTokenLive(%q, %q) has the scopes %q", jti, familyID, standing.Scopes)
	}
	got, scopes, err := s.AccessTokenScopes(t.Context(), jti, familyID, now)
	want(t, err, nil)
	if got != live || cmp.Diff(standing.Scopes, scopes, emptyIsNil) != "" {
		t.Errorf("AccessTokenScopes(%q, %q) = %t, %q, want %t, %q", jti, familyID, got, scopes, live, standing.Scopes)
	}
}
