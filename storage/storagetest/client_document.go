package storagetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

// NewDocumentApproval returns an approval that brings the client's document and is
// not stored.
func (f *Fixture) NewDocumentApproval(c *storage.Client) *storage.Approval {
	a := f.NewApproval("files:read")
	a.Code.ClientID, a.Code.RedirectURI, a.ClientName = c.ID, c.RedirectURIs[0], c.ClientName
	shown := *c
	shown.Version = 0
	a.Document, a.DocumentEvent = &shown, Event("client.document", c.ID)
	return a
}

// asStored is the client as the approval of its document stores it.
func asStored(c *storage.Client, version int64, created, updated time.Time) *storage.Client {
	stored := *c
	stored.Version, stored.CreatedAt, stored.UpdatedAt = version, created, updated
	return &stored
}

func wantClient(t testing.TB, s storage.Store, expected *storage.Client) {
	t.Helper()
	got, err := s.ClientByClientID(t.Context(), expected.ClientID)
	want(t, err, nil)
	if diff := cmp.Diff(expected, got, emptyIsNil); diff != "" {
		t.Errorf("client (-want +got):\n%s", diff)
	}
}

func countEvents(t testing.TB, s storage.Store, action string) int {
	t.Helper()
	n := 0
	for _, event := range events(t, s) {
		if event.Action == action {
			n++
		}
	}
	return n
}

// fullDocumentClient has every field that a document decides.
func fullDocumentClient() *storage.Client {
	c := fullClient()
	c.ClientID = "https://client.example/" + c.ID
	c.ID = storage.DocumentClientID(c.ClientID)
	c.Secrets, c.Resources, c.DocumentFetchedAt = nil, nil, Now
	c.PostLogoutRedirectURIs = []string{"https://client.example/bye", "https://client.example/bye?again"}
	// Which no document decides:
	c.RegistrationAccessTokenHash, c.Vouched, c.RequirePushedAuthorizationRequests, c.ManagedBy = nil, false, false, ""
	return c
}

func documentApproved(t *testing.T, s storage.Store) {
	f, c := NewFixture(t, s), fullDocumentClient()
	version := catalogVersion(t, s)
	a := f.NewDocumentApproval(c)
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
	wantClient(t, s, asStored(c, 1, Now, Now))
	if got := grantOf(t, s, f.User.ID, c.ID, f.Resource.ID); got == nil || got.ID != a.Code.GrantID {
		t.Fatalf("grant %+v, want %s", got, a.Code.GrantID)
	}
	f.Redeem(t, &a.Code)
	if catalogVersion(t, s) != version {
		t.Error("a new client moved the version")
	}

	// The same page does not approve twice, and the same document is written once.
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), storage.ErrConsumed)
	want(t, s.Approve(t.Context(), f.NewDocumentApproval(c), Event("grant.approved", "")), nil)
	wantClient(t, s, asStored(c, 1, Now, Now))
	if n := countEvents(t, s, "client.document"); n != 1 {
		t.Errorf("%d events of the document, want 1", n)
	}
	if catalogVersion(t, s) != version {
		t.Error("the same document moved the version")
	}
}

func documentMoves(t *testing.T, s storage.Store) {
	f, c := NewFixture(t, s), NewDocumentClient()
	approve := func(at time.Time, change *storage.Client) {
		t.Helper()
		a := f.NewDocumentApproval(change)
		a.Code.CreatedAt = at
		want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
	}
	approve(Now, c)

	version := catalogVersion(t, s)
	newer := fullDocumentClient()
	newer.ID, newer.ClientID, newer.DocumentFetchedAt = c.ID, c.ClientID, Now.Add(step)
	approve(Now.Add(time.Minute), newer)
	expected := asStored(newer, 2, Now, Now.Add(time.Minute))
	wantClient(t, s, expected)
	if catalogVersion(t, s) <= version {
		t.Error("a newer document left the version where it was")
	}

	approve(Now.Add(time.Hour), c) // shown on another replica before it knew
	wantClient(t, s, expected)
	if n := countEvents(t, s, "client.document"); n != 2 {
		t.Errorf("%d events of documents, want 2", n)
	}
}

func documentNeeds(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	spoils := map[string]func(*storage.Approval){
		"no user":            func(a *storage.Approval) { a.Code.UserID = "usr_none" },
		"no resource":        func(a *storage.Approval) { a.Code.ResourceID = "res_none" },
		"an unknown scope":   func(a *storage.Approval) { a.Code.Scopes = []string{"files:share"} },
		"a page used before": func(a *storage.Approval) { a.Code.ID = f.Code.ID },
	}
	for name, by := range otherApprovers(other) {
		spoils[name] = func(a *storage.Approval) { by(&a.Approver) }
	}
	for name, spoil := range spoils {
		c := NewDocumentClient()
		a := f.NewDocumentApproval(c)
		spoil(a)
		sentinel := storage.ErrNotFound
		if a.Code.ID == f.Code.ID {
			sentinel = storage.ErrConsumed
		}
		want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), sentinel)
		if _, err := s.Client(t.Context(), c.ID); err == nil {
			t.Errorf("%s: the client was written", name)
		}
	}

	// A disabled client stays as it is, whatever its document says since.
	c := NewDocumentClient()
	want(t, s.Approve(t.Context(), f.NewDocumentApproval(c), Event("grant.approved", "")), nil)
	stored, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	stored.Disabled = true
	want(t, s.UpdateClient(t.Context(), stored, Event("client.updated", "")), nil)
	for _, fetched := range []time.Time{Now, Now.Add(time.Hour)} {
		c.DocumentFetchedAt = fetched
		want(t, s.Approve(t.Context(), f.NewDocumentApproval(c), Event("grant.approved", "")), storage.ErrNotFound)
		wantClient(t, s, stored)
	}

	// Another client that has the id is not taken for it.
	taken := NewDocumentClient()
	taken.ID = f.Client.ID
	want(t, s.Approve(t.Context(), f.NewDocumentApproval(taken), Event("grant.approved", "")), storage.ErrNotFound)
	if n := countEvents(t, s, "client.document"); n != 1 {
		t.Errorf("%d events of documents, want 1", n)
	}
}

func documentRenewed(t *testing.T, s storage.Store) {
	f, c, other := NewFixture(t, s), NewDocumentClient(), NewDocumentClient()
	ctx, event := t.Context(), Event("client.document_changed", c.ID)
	want(t, s.Approve(ctx, f.NewDocumentApproval(c), Event("grant.approved", "")), nil)
	want(t, s.Approve(ctx, f.NewDocumentApproval(other), Event("grant.approved", "")), nil)

	changed := fullDocumentClient()
	changed.ID, changed.ClientID, changed.UpdatedAt = c.ID, c.ClientID, Now.Add(2*time.Hour)
	changed.Disabled = true // not the document's to say
	want(t, s.UpdateClientDocument(ctx, changed, event), storage.ErrNotFound)
	want(t, s.ConfirmClientDocument(ctx, c.ID, Now), storage.ErrNotFound)
	wantClient(t, s, asStored(c, 1, Now, Now))

	version := catalogVersion(t, s)
	changed.DocumentFetchedAt = Now.Add(time.Hour)
	want(t, s.UpdateClientDocument(ctx, changed, event), nil)
	changed.Disabled = false
	wantClient(t, s, asStored(changed, 2, Now, Now.Add(2*time.Hour)))
	if now := catalogVersion(t, s); now <= version {
		t.Error("a changed document left the version where it was")
	} else {
		version = now
	}
	want(t, s.ConfirmClientDocument(ctx, c.ID, Now.Add(time.Hour)), storage.ErrNotFound)
	want(t, s.ConfirmClientDocument(ctx, c.ID, Now.Add(time.Hour+step)), nil)
	changed.DocumentFetchedAt = Now.Add(time.Hour + step)
	wantClient(t, s, asStored(changed, 3, Now, Now.Add(2*time.Hour)))
	if catalogVersion(t, s) <= version {
		t.Error("a confirmed document left the version where it was")
	}

	wantClient(t, s, asStored(other, 1, Now, Now))
	for _, gone := range []*storage.Client{NewDocumentClient(), f.Client} {
		gone.DocumentFetchedAt = Now.Add(time.Hour)
		want(t, s.UpdateClientDocument(ctx, gone, event), storage.ErrNotFound)
		want(t, s.ConfirmClientDocument(ctx, gone.ID, Now.Add(time.Hour)), storage.ErrNotFound)
	}
	if n := countEvents(t, s, event.Action); n != 1 {
		t.Errorf("%d events of changes, want 1", n)
	}
}

// raceDocument: nobody has seen the document before, and replicas fetched it at
// different times. Everybody's approval counts, and the newest document stays.
func raceDocument(t *testing.T, s storage.Store) {
	for range rounds / 4 {
		c := NewDocumentClient()
		people := make([]*Fixture, 8)
		for i := range people {
			people[i] = NewFixture(t, s)
		}
		newest := Now.Add(time.Duration(len(people)-1) * time.Second)
		errs := race(len(people), func(i int) error {
			seen := *c
			seen.DocumentFetchedAt = Now.Add(time.Duration(i*5%len(people)) * time.Second)
			return s.Approve(t.Context(), people[i].NewDocumentApproval(&seen), Event("grant.approved", ""))
		})
		wantWinners(t, errs, len(people), nil)
		got, err := s.Client(t.Context(), c.ID)
		want(t, err, nil)
		if !got.DocumentFetchedAt.Equal(newest) {
			t.Fatalf("the document of %s stayed, want that of %s", got.DocumentFetchedAt, newest)
		}
		for _, f := range people {
			if grantOf(t, s, f.User.ID, c.ID, f.Resource.ID) == nil {
				t.Fatal("an approval is lost")
			}
		}
	}
}

// raceDisableDocument: an admin disables the client while a newer document of it
// is approved.
func raceDisableDocument(t *testing.T, s storage.Store) {
	for range rounds {
		f, c := NewFixture(t, s), NewDocumentClient()
		want(t, s.Approve(t.Context(), f.NewDocumentApproval(c), Event("grant.approved", "")), nil)
		c.DocumentFetchedAt = Now.Add(time.Hour)
		errs := race(2, func(i int) error {
			if i == 0 {
				err := s.Approve(t.Context(), f.NewDocumentApproval(c), Event("grant.approved", ""))
				if isOneOf(err, storage.ErrNotFound) {
					return nil
				}
				return err
			}
			for {
				stored, err := s.Client(t.Context(), c.ID)
				if err != nil {
					return err
				}
				stored.Disabled = true
				if err := s.UpdateClient(t.Context(), stored, Event("client.updated", "")); !errors.Is(err, storage.ErrConflict) {
					return err
				}
			}
		})
		wantWinners(t, errs, 2, nil)
		got, err := s.Client(t.Context(), c.ID)
		want(t, err, nil)
		if g := grantOf(t, s, f.User.ID, c.ID, f.Resource.ID); g != nil || !got.Disabled {
			t.Fatalf("disabled %v, with grant %v", got.Disabled, g)
		}
	}
}
