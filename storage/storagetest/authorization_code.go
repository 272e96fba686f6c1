package storagetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var authorizationCodeContracts = []contract{
	{"a code under a remembered approval comes back", codeRoundTrip},
	{"a code needs a live grant that covers it", codeNeeds},
	{"an id is taken once", codeExists},
	{"a code that is not there is not found", codeNotFound},
	{"a code tells the scopes its grant has now", codeGrantScopes},
	{"a code is redeemed once and makes a family", codeRedeemed},
	{"a code expires", codeExpires},
	{"a code dies of wrong proofs", codeFailed},
	{"a code is revoked unless it was redeemed", codeRevoked},
	{"a scope removed since the code was read is not redeemed", codeRedeemedAfterRemoval},
}

func codeRoundTrip(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	c := f.NewCode("files:write")
	c.GrantID = f.Grant.ID
	want(t, s.CreateCode(t.Context(), c, f.Session.ID), nil)
	got, standing, err := s.Code(t.Context(), c.ID)
	want(t, err, nil)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("Code (-stored +read):\n%s", diff)
	}
	if diff := cmp.Diff(f.Grant.Scopes, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
	// A remembered approval approves nothing new.
	if diff := cmp.Diff(f.Grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
		t.Errorf("grant (-before +after):\n%s", diff)
	}
	f.Redeem(t, c)
}

func codeNeeds(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	for name, spoil := range map[string]func(c *storage.AuthorizationCode, sessionID *string){
		"no grant":               func(c *storage.AuthorizationCode, _ *string) { c.GrantID = "grt_none" },
		"no grant named":         func(c *storage.AuthorizationCode, _ *string) { c.GrantID = "" },
		"another user's grant":   func(c *storage.AuthorizationCode, _ *string) { c.GrantID = other.Grant.ID },
		"a scope not granted":    func(c *storage.AuthorizationCode, _ *string) { c.Scopes = []string{"files:read", "files:delete"} },
		"no session":             func(_ *storage.AuthorizationCode, id *string) { *id = "ses_none" },
		"another user's session": func(_ *storage.AuthorizationCode, id *string) { *id = other.Session.ID },
		"an idle session": func(c *storage.AuthorizationCode, _ *string) {
			c.CreatedAt = Now.Add(storage.SessionIdle)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, sessionID := f.NewCode("files:read"), f.Session.ID
			c.GrantID = f.Grant.ID
			spoil(c, &sessionID)
			want(t, s.CreateCode(t.Context(), c, sessionID), storage.ErrNotFound)
			_, _, err := s.Code(t.Context(), c.ID)
			want(t, err, storage.ErrNotFound)
		})
	}
	t.Run("nothing is wrong", func(t *testing.T) {
		c := f.NewCode("files:read")
		c.GrantID = f.Grant.ID
		want(t, s.CreateCode(t.Context(), c, f.Session.ID), nil)
	})
}

func codeExists(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	c := f.NewCode("files:read")
	c.ID, c.GrantID = f.Code.ID, f.Grant.ID
	want(t, s.CreateCode(t.Context(), c, f.Session.ID), storage.ErrConsumed)
	got, _, err := s.Code(t.Context(), c.ID)
	want(t, err, nil)
	if diff := cmp.Diff(f.Code, got); diff != "" {
		t.Errorf("code (-before +after):\n%s", diff)
	}
}

func codeNotFound(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	c := f.NewCode("files:read")
	c.GrantID = f.Grant.ID
	_, _, err := s.Code(t.Context(), c.ID)
	want(t, err, storage.ErrNotFound)
	codeDead(t, s, c)
	familyGone(t, s, c.FamilyID())
}

func codeGrantScopes(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	scopesNow := func(id string) (*storage.AuthorizationCode, []string) {
		t.Helper()
		code, standing, err := s.Code(t.Context(), id)
		want(t, err, nil)
		return code, standing.Scopes
	}
	a := f.NewApproval("files:delete")
	a.Shown = []string{"files:read", "files:delete"}
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
	code, grantScopes := scopesNow(f.Code.ID)
	if diff := cmp.Diff([]string{"files:delete", "files:write"}, grantScopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(f.Code.Scopes, code.Scopes); diff != "" {
		t.Errorf("scopes of the code (-want +got):\n%s", diff)
	}

	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID)), nil)
	if code, grantScopes := scopesNow(f.Code.ID); code.GrantID != "" || grantScopes != nil {
		t.Errorf("after the grant is gone: grant %q with scopes %q", code.GrantID, grantScopes)
	}

	other := NewFixture(t, s)
	other.Redeem(t, other.Code)
	other.User.Disabled = true
	want(t, s.UpdateUser(t.Context(), other.User, Event("user.disabled", other.User.ID)), nil)
	if _, grantScopes := scopesNow(other.Code.ID); grantScopes != nil {
		t.Errorf("of a disabled user: scopes %q", grantScopes)
	}
}

func codeRedeemed(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := NewFamily(f.Code)
	family.Scopes = []string{"files:read"}
	family.CreatedAt = Now.Add(time.Second)
	family.RotatedAt = family.CreatedAt
	family.RotationRequest = []byte{0x00, 0xff}
	family.ExpiresAt = family.CreatedAt.Add(storage.FamilyLifetime)
	want(t, s.RedeemCode(t.Context(), f.Code.ID, family), nil)

	got, standing, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	if diff := cmp.Diff(family, got); diff != "" {
		t.Errorf("family (-stored +read):\n%s", diff)
	}
	if diff := cmp.Diff(f.Grant.Scopes, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
	expected := *f.Code
	expected.RedeemedAt = family.CreatedAt
	code, _, err := s.Code(t.Context(), f.Code.ID)
	want(t, err, nil)
	if diff := cmp.Diff(&expected, code); diff != "" {
		t.Errorf("redeemed code (-want +got):\n%s", diff)
	}

	// A second time it is refused, also when the family has ended.
	codeDead(t, s, f.Code)
	want(t, s.EndFamily(t.Context(), family.ID, Event("family.ended", family.ID)), nil)
	codeDead(t, s, f.Code)
	familyGone(t, s, family.ID)
}

func codeRedeemedAfterRemoval(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := NewFamily(f.Code) // as whoever has read the code makes it
	remove := func(name string) {
		t.Helper()
		f.Resource.Scopes = slices.DeleteFunc(f.Resource.Scopes, func(scope storage.Scope) bool { return scope.Name == name })
		want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
	}
	remove("files:read")
	want(t, s.RedeemCode(t.Context(), f.Code.ID, family), nil)
	got, _, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	for _, scopes := range [][]string{family.Scopes, got.Scopes} {
		if diff := cmp.Diff([]string{"files:write"}, scopes); diff != "" {
			t.Errorf("scopes of the family (-want +got):\n%s", diff)
		}
	}

	last := f.Approve(t, "files:write")
	remove("files:write")
	want(t, s.RedeemCode(t.Context(), last.ID, NewFamily(last)), storage.ErrConsumed)
}

func codeExpires(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := NewFamily(f.Code)
	family.CreatedAt = f.Code.ExpiresAt
	want(t, s.RedeemCode(t.Context(), f.Code.ID, family), storage.ErrConsumed)
	familyGone(t, s, family.ID)
	code, _, err := s.Code(t.Context(), f.Code.ID)
	want(t, err, nil)
	if !code.RedeemedAt.IsZero() {
		t.Errorf("an expired code was redeemed at %s", code.RedeemedAt)
	}
	family.CreatedAt = f.Code.ExpiresAt.Add(-step)
	want(t, s.RedeemCode(t.Context(), f.Code.ID, family), nil)
}

func codeFailed(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	other := f.Approve(t, "files:read")
	for i := range storage.MaxFailedProofs {
		if i == storage.MaxFailedProofs-1 {
			spare := f.Approve(t, "files:read")
			for range i {
				want(t, s.FailCode(t.Context(), spare.ID), nil)
			}
			f.Redeem(t, spare) // one more would have been too many
		}
		want(t, s.FailCode(t.Context(), f.Code.ID), nil)
		code, _, err := s.Code(t.Context(), f.Code.ID)
		want(t, err, nil)
		if code.FailedProofs != i+1 {
			t.Errorf("%d failed proofs, want %d", code.FailedProofs, i+1)
		}
	}
	codeDead(t, s, f.Code)
	f.Redeem(t, other)
}

func codeRevoked(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	revoke := func(id string) error {
		return s.RevokeCode(t.Context(), id, Event("authorization_code.revoked", id))
	}
	other := f.Approve(t, "files:read")
	want(t, revoke(f.Code.ID), nil)
	codeDead(t, s, f.Code)
	want(t, revoke(f.Code.ID), storage.ErrNotFound)
	want(t, revoke("cod_none"), storage.ErrNotFound)
	if grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID) == nil {
		t.Error("the grant is gone")
	}
	family := f.Redeem(t, other)
	want(t, revoke(other.ID), storage.ErrConsumed)
	wantFamily(t, s, family)
}
