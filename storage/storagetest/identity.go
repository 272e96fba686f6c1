package storagetest

import (
	"reflect"
	"testing"
	"time"

	"grantd/storage"
)

// The identity of people is a Resource of grantd's own, and what ID tokens say
// survives from the code to the family.
var identityContracts = []contract{
	{"is in no list", identityInNoList},
	{"is granted alone", identityAlone},
	{"is granted with a resource, scopes of others are not", identityWithResource},
	{"comes from a document's client too", identityOfDocument},
	{"what an ID token says", identityOfSignIn},
	{"where people go who have signed out", postLogoutRedirectURIs},
}

func identityInNoList(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	all, err := s.Resources(t.Context(), storage.Page{Limit: 10})
	want(t, err, nil)
	equal(t, len(all), 1)
	_, err = s.Resource(t.Context(), storage.IdentityResourceID)
	want(t, err, storage.ErrNotFound)
	_, err = s.ResourceByURI(t.Context(), "urn:grantd:identity")
	want(t, err, storage.ErrNotFound)
	want(t, s.DeleteResource(t.Context(), storage.IdentityResourceID, storage.AnyVersion, Event("resource.deleted", storage.IdentityResourceID)), storage.ErrNotFound)
	changed := *f.Resource
	changed.ID = storage.IdentityResourceID
	want(t, s.UpdateResource(t.Context(), &changed, Event("resource.updated", changed.ID)), storage.ErrNotFound)
}

func identityAlone(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	a := f.NewApproval(storage.ScopeOpenID, storage.ScopeEmail)
	a.Code.ResourceID = storage.IdentityResourceID
	want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
	g := grantOf(t, s, f.User.ID, f.Client.ID, storage.IdentityResourceID)
	equal(t, g.Scopes, []string{storage.ScopeEmail, storage.ScopeOpenID})
}

func identityWithResource(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	f.Approve(t, "files:read", storage.ScopeOpenID)
	equal(t, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID).Scopes, []string{"files:read", "files:write", storage.ScopeOpenID})
	a := f.NewApproval(storage.ScopeOpenID, "files:read")
	a.Code.ResourceID = storage.IdentityResourceID
	want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), storage.ErrNotFound)
}

func identityOfDocument(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	c := NewDocumentClient()
	a := f.NewApproval("files:read", storage.ScopeOpenID)
	a.Code.ClientID, a.Document, a.DocumentEvent = c.ID, c, Event("client.registered", c.ID)
	a.Code.Nonce = "n-0S6_WzA2Mj"
	want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
	code, _, err := s.Code(t.Context(), a.Code.ID)
	want(t, err, nil)
	equal(t, code, &a.Code)
}

func identityOfSignIn(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	f.Session = NewSession(f.User.ID)
	f.Session.AuthenticatedAt = Now.Add(-time.Hour)
	f.Session.AMR = []string{storage.AMRPassword, storage.AMROneTimeCode, storage.AMRMultiFactor}
	want(t, s.CreateSession(t.Context(), f.Session, Event("user.signed_in", f.Session.ID)), nil)
	a := f.NewApproval("files:read", storage.ScopeOpenID)
	a.Code.Nonce = "a nonce"
	want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
	remembered := f.NewCode("files:read", storage.ScopeOpenID)
	remembered.GrantID, remembered.Nonce = a.Code.GrantID, "another"
	want(t, s.CreateCode(t.Context(), remembered, f.Session.ID), nil)
	person := f.person()
	for _, wanted := range []*storage.AuthorizationCode{&a.Code, remembered} {
		code, standing, err := s.Code(t.Context(), wanted.ID)
		want(t, err, nil)
		equal(t, code, wanted)
		equal(t, standing.Person, person)
	}

	family := NewFamily(&a.Code)
	want(t, s.RedeemCode(t.Context(), a.Code.ID, family), nil)
	read, standing, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	equal(t, read, family)
	equal(t, standing.Person, person)
	all, err := s.UserFamilies(t.Context(), f.User.ID, Now, storage.Page{Limit: 10})
	want(t, err, nil)
	equal(t, all, []*storage.Family{family})
	renewed, standing, ok, err := s.RenewFamily(t.Context(), storage.Renewal{
		Rotation: storage.Rotation{FamilyID: family.ID, Presented: 1, Request: []byte("r"), Now: Now},
		ClientID: f.Client.ID, ResourceID: f.Resource.ID, Allowed: []string{"files:read"},
	})
	want(t, err, nil)
	equal(t, ok, true)
	equal(t, renewed.SessionID, f.Session.ID)
	equal(t, renewed.AMR, f.Session.AMR)
	equal(t, renewed.AuthenticatedAt, f.Session.AuthenticatedAt)
	equal(t, standing.Person, person)
	live, standing, err := s.AccessTokenLive(t.Context(), "tok_1", family.ID, Now)
	want(t, err, nil)
	equal(t, live, true)
	equal(t, standing.Person, person)
}

func postLogoutRedirectURIs(t *testing.T, s storage.Store) {
	c := NewClient()
	c.PostLogoutRedirectURIs = []string{"https://editor.example/bye", "https://editor.example/b?e"}
	want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	c.PostLogoutRedirectURIs = c.PostLogoutRedirectURIs[1:]
	want(t, s.UpdateClient(t.Context(), c, Event("client.updated", c.ID)), nil)
	read, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	equal(t, read.PostLogoutRedirectURIs, []string{"https://editor.example/b?e"})
}

func equal(t testing.TB, got, wanted any) {
	t.Helper()
	if !reflect.DeepEqual(got, wanted) {
		t.Fatalf("got %+v, want %+v", got, wanted)
	}
}
