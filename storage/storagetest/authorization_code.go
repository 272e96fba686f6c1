package storagetest

import (
	"context"
	"errors"
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
	{"an exchange redeems the usual code at once", codeExchanges},
	{"an exchange changes nothing about an unusual one", codeDoesNotExchange},
	{"an exchange whose family is there already is refused", codeExchangedBefore},
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

// NewExchange returns the usual exchange of a code of the fixture's, a second after it
// was made, that was proved and sent its redirect_uri again.
func (f *Fixture) NewExchange(code *storage.AuthorizationCode) storage.Exchange {
	now := code.CreatedAt.Add(time.Second)
	return storage.Exchange{
		CodeID: code.ID, ClientID: f.Client.ID, ResourceID: f.Resource.ID, RedirectURI: code.RedirectURI, CodeChallenge: code.CodeChallenge,
		Allowed: append(f.Resource.ScopeNames(), storage.IdentityScopes...),
		Now:     now, ExpiresAt: now.Add(storage.FamilyLifetime), UserAgent: "node", Address: "192.0.2.7",
	}
}

// Exchange is NewExchange, done. ErrConsumed: it was not exchanged.
func (f *Fixture) Exchange(ctx context.Context, code *storage.AuthorizationCode) error {
	_, _, exchanged, err := f.Store.ExchangeCode(ctx, f.NewExchange(code))
	if err == nil && !exchanged {
		return storage.ErrConsumed
	}
	return err
}

func codeExchanges(t *testing.T, s storage.Store) {
	of := func(group, scope string) storage.GroupScope { return storage.GroupScope{Group: group, Scope: scope} }
	for name, change := range map[string]func(e *storage.Exchange){
		"usual":                         func(*storage.Exchange) {},
		"without its redirect_uri":      func(e *storage.Exchange) { e.RedirectURI = "" },
		"by nobody who told their name": func(e *storage.Exchange) { e.UserAgent, e.Address = "", "" },
		"at the last moment":            func(e *storage.Exchange) { e.Now = Now.Add(storage.CodeLifetime - step) },
		"with no more than it needs":    func(e *storage.Exchange) { e.Allowed = []string{"openid", "files:write", "files:read", "email"} },
		"with a scope for a group": func(e *storage.Exchange) {
			e.Allowed[0], e.AllowedTo = "x", []storage.GroupScope{of("staff", "files:read")}
		},
		"with scopes for several groups": func(e *storage.Exchange) {
			e.Allowed = storage.IdentityScopes
			e.AllowedTo = []storage.GroupScope{of("admins", "files:delete"), of("staff", "files:read"), of("staff", "files:write")}
		},
		"where other groups are nobody's": func(e *storage.Exchange) { e.AllowedTo = []storage.GroupScope{of("admins", "files:delete")} },
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			other := f.Approve(t, "files:read")
			a := f.NewApproval("files:read", "files:write", storage.ScopeOpenID, storage.ScopeEmail)
			a.Code.Nonce = "n-0S6_WzA2Mj"
			want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
			e := f.NewExchange(&a.Code)
			change(&e)
			granted := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID).Scopes

			code, standing, exchanged, err := s.ExchangeCode(t.Context(), e)
			want(t, err, nil)
			expected := a.Code
			expected.RedeemedAt = e.Now
			if diff := cmp.Diff(&expected, code); diff != "" || !exchanged {
				t.Errorf("exchanged: %t (-want +got):\n%s", exchanged, diff)
			}
			if !slices.Equal(standing.Scopes, granted) || standing.Person != f.person() {
				t.Errorf("its standing is %+v", standing)
			}
			if len(e.AllowedTo) > 0 && !slices.Equal(standing.Groups, f.User.Groups) {
				t.Errorf("its user is in %q", standing.Groups)
			}
			stored, _, err := s.Code(t.Context(), code.ID)
			want(t, err, nil)
			equal(t, stored, code)

			family := NewFamily(&a.Code)
			family.RotatedAt, family.CreatedAt, family.ExpiresAt = e.Now, e.Now, e.ExpiresAt
			wantFamily(t, s, family)
			family.UserAgent, family.Address = e.UserAgent, e.Address
			all, err := s.UserFamilies(t.Context(), f.User.ID, Now, storage.Page{Limit: 9})
			want(t, err, nil)
			equal(t, all, []*storage.Family{family})

			codeDead(t, s, code)
			want(t, f.Exchange(t.Context(), code), storage.ErrConsumed)
			want(t, f.Exchange(t.Context(), other), nil)
		})
	}
}

func codeDoesNotExchange(t *testing.T, s storage.Store) {
	type changing func(t *testing.T, f *Fixture, e *storage.Exchange)
	asking := func(change func(e *storage.Exchange)) changing {
		return func(_ *testing.T, _ *Fixture, e *storage.Exchange) { change(e) }
	}
	user := func(change func(u *storage.User)) changing {
		return func(t *testing.T, f *Fixture, _ *storage.Exchange) {
			u := *f.User
			change(&u)
			want(t, s.UpdateUser(t.Context(), &u, Event("user.updated", u.ID)), nil)
		}
	}
	members := []storage.GroupScope{{Group: "staff", Scope: "files:read"}, {Group: "staff", Scope: "files:write"}}
	for name, change := range map[string]changing{
		"that is unknown":               asking(func(e *storage.Exchange) { e.CodeID = storage.NewID(storage.PrefixCode) }),
		"by another client":             asking(func(e *storage.Exchange) { e.ClientID = "cl_other" }),
		"for another resource":          asking(func(e *storage.Exchange) { e.ResourceID = "res_other" }),
		"to another redirect_uri":       asking(func(e *storage.Exchange) { e.RedirectURI += "/" }),
		"by a wrong verifier":           asking(func(e *storage.Exchange) { e.CodeChallenge = "F" + e.CodeChallenge[1:] }),
		"without a verifier":            asking(func(e *storage.Exchange) { e.CodeChallenge = "" }),
		"that has expired":              asking(func(e *storage.Exchange) { e.Now = Now.Add(storage.CodeLifetime) }),
		"of which nothing is allowed":   asking(func(e *storage.Exchange) { e.Allowed = nil }),
		"of which one scope is not":     asking(func(e *storage.Exchange) { e.Allowed = []string{"files:read", "files:delete"} }),
		"of which only the identity is": asking(func(e *storage.Exchange) { e.Allowed = storage.IdentityScopes }),
		"with scopes of other groups": asking(func(e *storage.Exchange) {
			e.Allowed, e.AllowedTo = nil, []storage.GroupScope{{Group: "admins", Scope: "files:read"}, {Group: "admins", Scope: "files:write"}, {Group: "staff", Scope: "files:delete"}}
		}),
		"when the user has left the group": func(t *testing.T, f *Fixture, e *storage.Exchange) {
			e.Allowed, e.AllowedTo = nil, members
			user(func(u *storage.User) { u.Groups = []string{"guests"} })(t, f, e)
		},
		"of a disabled user":              user(func(u *storage.User) { u.Disabled = true }),
		"of somebody with a new password": user(func(u *storage.User) { u.PasswordHash = "another" }),
		"that was redeemed": func(t *testing.T, f *Fixture, _ *storage.Exchange) {
			want(t, s.EndFamily(t.Context(), f.Redeem(t, f.Code).ID, Event("family.ended", "")), nil)
		},
		"that was failed too often": func(t *testing.T, f *Fixture, _ *storage.Exchange) {
			for range storage.MaxFailedProofs {
				want(t, s.FailCode(t.Context(), f.Code.ID), nil)
			}
		},
		"that was revoked": func(t *testing.T, f *Fixture, _ *storage.Exchange) {
			want(t, s.RevokeCode(t.Context(), f.Code.ID, Event("authorization_code.revoked", f.Code.ID)), nil)
		},
		"when the grant has lost a scope": func(t *testing.T, f *Fixture, _ *storage.Exchange) {
			a := f.NewApproval("files:read")
			a.Shown = []string{"files:read", "files:write"}
			want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
		},
		"when the grant is gone": func(t *testing.T, f *Fixture, _ *storage.Exchange) {
			want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID)), nil)
		},
		"of the identity alone": func(t *testing.T, f *Fixture, e *storage.Exchange) {
			a := f.NewApproval(storage.ScopeOpenID, storage.ScopeEmail)
			want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
			e.CodeID = a.Code.ID
		},
		"of no scope at all": func(t *testing.T, f *Fixture, e *storage.Exchange) {
			e.CodeID = f.Approve(t).ID
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			e := f.NewExchange(f.Code)
			change(t, f, &e)
			before, standing, err := s.Code(t.Context(), e.CodeID)
			got, gotStanding, exchanged, gotErr := s.ExchangeCode(t.Context(), e)
			if len(e.AllowedTo) == 0 {
				gotStanding.Groups = standing.Groups
			}
			if diff := cmp.Diff(before, got) + cmp.Diff(standing, gotStanding, emptyIsNil); diff != "" || exchanged || errors.Is(err, storage.ErrNotFound) != errors.Is(gotErr, storage.ErrNotFound) {
				t.Errorf("exchanged: %t, %v, want the code as it is (-want +got):\n%s", exchanged, gotErr, diff)
			}
			after, _, _ := s.Code(t.Context(), e.CodeID)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("it was changed (-before +after):\n%s", diff)
			}
			familyGone(t, s, (&storage.AuthorizationCode{ID: e.CodeID}).FamilyID())
		})
	}
}

func codeExchangedBefore(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	other := f.Approve(t, "files:read", "files:write")
	family := NewFamily(f.Code)
	family.ID = other.FamilyID()
	want(t, s.RedeemCode(t.Context(), f.Code.ID, family), nil)
	want(t, f.Exchange(t.Context(), other), storage.ErrConsumed)
	wantFamily(t, s, family)
	code, _, err := s.Code(t.Context(), other.ID)
	want(t, err, nil)
	equal(t, code, other)
}
