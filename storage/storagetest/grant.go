package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var grantContracts = []contract{
	{"an approval makes a grant and a code", grantApprove},
	{"an approval decides what was shown and leaves the rest", grantMerge},
	{"a page approves once", grantPageApprovesOnce},
	{"an approval needs session, user, client and resource", grantNeeds},
	{"an approval needs a live session", grantNeedsLiveSession},
	{"an approval needs a user whom the provider vouches for", grantNeedsVouching},
	{"a resource without scopes can be approved", grantWithoutScopes},
	{"grants are listed by user, client and resource", grantFilters},
	{"a grant is found by its id", grantByID},
	{"lists go by id, a page at a time", grantPages},
	{"a revoked grant ends its families and codes", grantDeleted},
}

func grantApprove(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	a := f.NewApproval("files:write", "files:read")
	a.Code.UserID = f.User.ID
	other := NewClient()
	want(t, s.CreateClient(t.Context(), other, Event("client.created", other.ID)), nil)
	a.Code.ClientID, a.ClientName = other.ID, "As shown"
	a.Code.RedirectURI = "https://other.example/callback"
	want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)

	got := grantOf(t, s, f.User.ID, other.ID, f.Resource.ID)
	expected := &storage.Grant{
		ID: a.Code.GrantID, UserID: f.User.ID, ClientID: other.ID, ResourceID: f.Resource.ID,
		Scopes:      []string{"files:read", "files:write"},
		RedirectURI: "https://other.example/callback", ClientName: "As shown",
		CreatedAt: Now, UpdatedAt: Now,
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
	if _, err := storage.IDBytes(storage.PrefixGrant, a.Code.GrantID); err != nil {
		t.Errorf("grant id %q: %v", a.Code.GrantID, err)
	}
	code, standing, err := s.Code(t.Context(), a.Code.ID)
	want(t, err, nil)
	if diff := cmp.Diff(&a.Code, code); diff != "" {
		t.Errorf("code (-approved +read):\n%s", diff)
	}
	if diff := cmp.Diff(expected.Scopes, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
}

func grantMerge(t *testing.T, s storage.Store) {
	for name, test := range map[string]struct {
		had, shown, ticked, want []string
	}{
		"nothing shown again":   {[]string{"a"}, []string{"b"}, []string{"b"}, []string{"a", "b"}},
		"shown and not ticked":  {[]string{"a", "b"}, []string{"a", "b"}, []string{"b"}, []string{"b"}},
		"shown and ticked":      {[]string{"a", "b"}, []string{"a", "b"}, []string{"b", "a"}, []string{"a", "b"}},
		"one kept, one swapped": {[]string{"a", "b"}, []string{"b", "c"}, []string{"c"}, []string{"a", "c"}},
		"ticked but not shown":  {[]string{"a"}, []string{}, []string{"c"}, []string{"a", "c"}},
		"not had, not ticked":   {[]string{"b"}, []string{"c", "b"}, []string{"b"}, []string{"b"}},
		"ticked twice":          {[]string{"c"}, []string{"a"}, []string{"a", "a"}, []string{"a", "c"}},
		"sorted by byte":        {[]string{"a", "_"}, []string{"B"}, []string{"B"}, []string{"B", "_", "a"}},
		"case counts":           {[]string{"a"}, []string{"A"}, []string{"A"}, []string{"A", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			f.Resource.Scopes = nil
			for _, scope := range []string{"a", "b", "c", "A", "B", "_"} {
				f.Resource.Scopes = append(f.Resource.Scopes, storage.Scope{Name: scope, Tools: []string{}, Risk: storage.RiskWrite})
			}
			want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
			first := f.Approve(t, test.had...)

			a := f.NewApproval(test.ticked...)
			a.Shown = test.shown
			a.ClientName, a.Code.RedirectURI = "Renamed", "https://renamed.example/callback"
			a.Code.CreatedAt = Now.Add(time.Hour)
			want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
			if a.Code.GrantID != first.GrantID {
				t.Errorf("approving again made grant %s beside %s", a.Code.GrantID, first.GrantID)
			}
			expected := &storage.Grant{
				ID: first.GrantID, UserID: f.User.ID, ClientID: f.Client.ID, ResourceID: f.Resource.ID,
				Scopes:      test.want,
				RedirectURI: "https://renamed.example/callback", ClientName: "Renamed",
				CreatedAt: Now, UpdatedAt: Now.Add(time.Hour),
			}
			if diff := cmp.Diff(expected, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
				t.Errorf("grant (-want +got):\n%s", diff)
			}
		})
	}
}

func grantPageApprovesOnce(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	again := func() {
		t.Helper()
		before := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)
		a := f.NewApproval("files:delete")
		a.Code.ID = f.Code.ID
		a.Shown = []string{"files:read", "files:write", "files:delete"}
		want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), storage.ErrConsumed)
		if diff := cmp.Diff(before, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
			t.Errorf("a page that was used up changed the grant (-before +after):\n%s", diff)
		}
	}
	again()
	f.Redeem(t, f.Code)
	again()
	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID)), nil)
	again()
}

func grantNeeds(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	disabledUser, disabledClient := NewFixture(t, s), NewFixture(t, s)
	disabledUser.User.Disabled = true
	want(t, s.UpdateUser(t.Context(), disabledUser.User, Event("user.disabled", "")), nil)
	disabledClient.Client.Disabled = true
	want(t, s.UpdateClient(t.Context(), disabledClient.Client, Event("client.disabled", "")), nil)

	spoils := map[string]func(*storage.Approval){
		"no user":      func(a *storage.Approval) { a.Code.UserID = "usr_none" },
		"another user": func(a *storage.Approval) { a.Code.UserID = other.User.ID },
		"a disabled user": func(a *storage.Approval) {
			a.Code.UserID, a.Approver = disabledUser.User.ID, disabledUser.approver()
		},
		"no client":              func(a *storage.Approval) { a.Code.ClientID = "cl_none" },
		"a disabled client":      func(a *storage.Approval) { a.Code.ClientID = disabledClient.Client.ID },
		"no resource":            func(a *storage.Approval) { a.Code.ResourceID = "res_none" },
		"an unknown scope":       func(a *storage.Approval) { a.Code.Scopes = []string{"files:read", "files:share"} },
		"a scope in other case":  func(a *storage.Approval) { a.Code.Scopes = []string{"Files:read"} },
		"only an unknown scope":  func(a *storage.Approval) { a.Code.Scopes = []string{"files:share"} },
		"an empty name of scope": func(a *storage.Approval) { a.Code.Scopes = []string{""} },
	}
	for name, by := range otherApprovers(other) {
		spoils[name] = func(a *storage.Approval) { by(&a.Approver) }
	}
	for name, spoil := range spoils {
		t.Run(name, func(t *testing.T) {
			a := f.NewApproval("files:read")
			spoil(a)
			want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), storage.ErrNotFound)
			_, _, err := s.Code(t.Context(), a.Code.ID)
			want(t, err, storage.ErrNotFound)
			if diff := cmp.Diff(f.Grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
				t.Errorf("grant (-before +after):\n%s", diff)
			}
		})
	}
	f.Approve(t, "files:read") // not spoiled, it works
}

// otherApprovers make of whom was asked somebody who was not, by one thing each.
func otherApprovers(other *Fixture) map[string]func(*storage.Approver) {
	return map[string]func(*storage.Approver){
		"no session":             func(by *storage.Approver) { by.SessionID = "ses_none" },
		"another user's session": func(by *storage.Approver) { by.SessionID = other.Session.ID },
		"a user who has changed": func(by *storage.Approver) { by.UserVersion-- },
	}
}

// grantNeedsVouching: whom a Provider no longer vouches for approves nothing, on
// whichever page.
func grantNeedsVouching(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	v := NewVerification(createProvider(t, s))
	v.Until = Now.Add(storage.DeviceLifetime / 2)
	want(t, s.LinkUser(t.Context(), f.User.ID, f.User.Version, v, Event("user.linked", f.User.ID)), nil)
	f.SignInAgain(t)
	for at, expected := range map[time.Time]error{v.Until.Add(-step): nil, v.Until: storage.ErrNotFound} {
		document, device := f.NewDocumentApproval(NewDocumentClient()), f.NewDeviceApproval(f.Device(t, "files:read"))
		device.Now = at
		want(t, s.ApproveDeviceAuthorization(t.Context(), device, Event("grant.approved", "")), expected)
		for _, a := range []*storage.Approval{f.NewApproval("files:read"), document} {
			a.Code.CreatedAt, a.Code.ExpiresAt = at, at.Add(storage.CodeLifetime)
			want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), expected)
		}
	}
}

func grantNeedsLiveSession(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	approveAt := func(now time.Time) error {
		a := f.NewApproval("files:read")
		a.Code.CreatedAt, a.Code.ExpiresAt = now, now.Add(storage.CodeLifetime)
		return s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID))
	}
	want(t, approveAt(Now.Add(storage.SessionIdle)), storage.ErrNotFound)
	want(t, approveAt(Now.Add(storage.SessionIdle-step)), nil)
	want(t, s.DeleteSession(t.Context(), f.Session.ID, Event("session.deleted", f.Session.ID)), nil)
	want(t, approveAt(Now), storage.ErrNotFound)
}

func grantWithoutScopes(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	f.Resource.Scopes = nil
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
	wantNoGrant(t, f)
	code := f.Approve(t)
	f.Redeem(t, f.Approve(t)) // a second time it is there already
	got := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)
	if got == nil || got.ID != code.GrantID || len(got.Scopes) != 0 {
		t.Errorf("grant %+v, want %s without scopes", got, code.GrantID)
	}
}

func grantFilters(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	a := f.NewApproval()
	a.Code.ClientID = other.Client.ID
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
	b := f.NewApproval()
	b.Code.ResourceID = other.Resource.ID
	b.Code.CreatedAt = Now.Add(time.Hour)
	want(t, s.Approve(t.Context(), b, Event("grant.approved", "")), nil)

	own, others, byClient, byResource := f.Grant.ID, other.Grant.ID, a.Code.GrantID, b.Code.GrantID
	for name, test := range map[string]struct {
		filter storage.GrantFilter
		want   []string
	}{
		"all":                 {storage.GrantFilter{}, []string{own, others, byClient, byResource}},
		"user":                {storage.GrantFilter{UserID: f.User.ID}, []string{own, byClient, byResource}},
		"client":              {storage.GrantFilter{ClientID: other.Client.ID}, []string{others, byClient}},
		"resource":            {storage.GrantFilter{ResourceID: other.Resource.ID}, []string{others, byResource}},
		"user and client":     {storage.GrantFilter{UserID: f.User.ID, ClientID: f.Client.ID}, []string{own, byResource}},
		"user and resource":   {storage.GrantFilter{UserID: f.User.ID, ResourceID: f.Resource.ID}, []string{own, byClient}},
		"client and resource": {storage.GrantFilter{ClientID: other.Client.ID, ResourceID: f.Resource.ID}, []string{byClient}},
		"all three": {
			storage.GrantFilter{UserID: f.User.ID, ClientID: f.Client.ID, ResourceID: other.Resource.ID},
			[]string{byResource},
		},
		"nobody's":         {storage.GrantFilter{UserID: "usr_none"}, nil},
		"since":            {storage.GrantFilter{Since: Now.Add(step)}, []string{byResource}},
		"since, inclusive": {storage.GrantFilter{Since: Now, ClientID: other.Client.ID}, []string{others, byClient}},
		"until":            {storage.GrantFilter{Until: Now.Add(time.Hour), UserID: f.User.ID}, []string{own, byClient}},
		"until, exclusive": {storage.GrantFilter{Until: Now}, nil},
		"a while":          {storage.GrantFilter{Since: Now.Add(time.Hour), Until: Now.Add(time.Hour + step)}, []string{byResource}},
	} {
		grants, err := s.Grants(t.Context(), test.filter, storage.Page{Limit: 100})
		want(t, err, nil)
		var got []string
		for _, g := range grants {
			got = append(got, g.ID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func grantByID(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	NewFixture(t, s)
	got, err := s.Grant(t.Context(), f.Grant.ID)
	want(t, err, nil)
	if diff := cmp.Diff(f.Grant, got); diff != "" {
		t.Errorf("Grant (-listed +read):\n%s", diff)
	}
	_, err = s.Grant(t.Context(), storage.NewID(storage.PrefixGrant))
	want(t, err, storage.ErrNotFound)
}

func grantPages(t *testing.T, s storage.Store) {
	var stored []*storage.Grant
	for range 5 {
		stored = append(stored, NewFixture(t, s).Grant)
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.Grant, error) {
		return s.Grants(t.Context(), storage.GrantFilter{}, page)
	}, func(g *storage.Grant) string { return g.ID })
}

func grantDeleted(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read")

	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID)), nil)
	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", f.Grant.ID)), storage.ErrNotFound)
	wantNoGrant(t, f)
	familyGone(t, s, family.ID)
	codeDead(t, s, unredeemed)
	if grantOf(t, s, other.User.ID, other.Client.ID, other.Resource.ID) == nil {
		t.Error("another grant is gone")
	}

	// Approving again is a new grant, and revives nothing of the old one.
	code := f.Approve(t, "files:read")
	if code.GrantID == f.Grant.ID {
		t.Error("the new grant has the id of the revoked one")
	}
	codeDead(t, s, unredeemed)
	familyGone(t, s, family.ID)
	f.Redeem(t, code)
}
