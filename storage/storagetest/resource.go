package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var resourceContracts = []contract{
	{"a created resource comes back with its scopes in order", resourceRoundTrip},
	{"a uri is taken once, a trailing slash aside", resourceExists},
	{"a resource that is not there is not found", resourceNotFound},
	{"lists go by id, a page at a time", resourcePages},
	{"an update writes what may change", resourceUpdate},
	{"an update of an older version conflicts", resourceConflict},
	{"a scope that is gone is gone everywhere", resourceScopeRemoved},
	{"what is left with no scope is deleted", resourceLastScopeRemoved},
	{"scopes of other resources are not touched", resourceScopeOfAnother},
	{"a deleted resource takes its grants with it", resourceDeleted},
}

func resourceRoundTrip(t *testing.T, s storage.Store) {
	r := fullResource()
	want(t, s.CreateResource(t.Context(), r, Event("resource.created", r.ID)), nil)
	got, err := s.Resource(t.Context(), r.ID)
	want(t, err, nil)
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("Resource (-stored +read):\n%s", diff)
	}
	for uri, sentinel := range map[string]error{r.URI: nil, r.URI + "/": nil, r.URI + "//": storage.ErrNotFound, r.URI + "x": storage.ErrNotFound} {
		byURI, err := s.ResourceByURI(t.Context(), uri)
		want(t, err, sentinel)
		if err == nil && !cmp.Equal(r, byURI) {
			t.Errorf("%s leads to %+v", uri, byURI)
		}
	}
}

func resourceExists(t *testing.T, s storage.Store) {
	r := NewResource()
	want(t, s.CreateResource(t.Context(), r, Event("resource.created", r.ID)), nil)
	for _, test := range []struct {
		uri  string
		want error
	}{
		{r.URI, storage.ErrExists},
		{r.URI + "/", storage.ErrExists},
		{r.URI + "//", nil}, // only one slash is ignored
		{r.URI + "/a", nil},
		{r.URI + "/A", nil},
		{r.URI + "/a/", storage.ErrExists},
	} {
		other := NewResource()
		other.URI = test.uri
		want(t, s.CreateResource(t.Context(), other, Event("resource.created", other.ID)), test.want)
	}
	sameID := NewResource()
	sameID.ID = r.ID
	want(t, s.CreateResource(t.Context(), sameID, Event("resource.created", r.ID)), storage.ErrExists)
}

func resourceNotFound(t *testing.T, s storage.Store) {
	r := NewResource()
	_, err := s.Resource(t.Context(), r.ID)
	want(t, err, storage.ErrNotFound)
	want(t, s.UpdateResource(t.Context(), r, Event("resource.updated", r.ID)), storage.ErrNotFound)
	want(t, s.DeleteResource(t.Context(), r.ID, storage.AnyVersion, Event("resource.deleted", r.ID)), storage.ErrNotFound)
}

func resourcePages(t *testing.T, s storage.Store) {
	var stored []*storage.Resource
	for range 5 {
		r := fullResource()
		want(t, s.CreateResource(t.Context(), r, Event("resource.created", r.ID)), nil)
		stored = append(stored, r)
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.Resource, error) { return s.Resources(t.Context(), page) },
		func(r *storage.Resource) string { return r.ID })
}

func resourceUpdate(t *testing.T, s storage.Store) {
	before := fullResource()
	want(t, s.CreateResource(t.Context(), before, Event("resource.created", before.ID)), nil)

	after := *before
	after.URI = "https://elsewhere.example/mcp"
	after.Name = "Documents"
	after.IntrospectionClients = []string{"cl_other"}
	after.AccessTokenLifetime = 3 * time.Minute
	after.ManagedBy = "another"
	after.CreatedAt = Now.Add(time.Hour)
	after.UpdatedAt = Now.Add(2 * time.Hour)
	// Reversed, one changed, one gone, one new.
	after.Scopes = []storage.Scope{
		{Name: "files:share", Description: "Share your files", Tools: []string{"share_file"}, Risk: storage.RiskWrite},
		{Name: "files:delete", Description: "Erase your files", Tools: []string{"erase", "shred"}, Risk: storage.RiskRead},
		before.Scopes[0],
	}
	want(t, s.UpdateResource(t.Context(), &after, Event("resource.updated", before.ID)), nil)
	if after.Version <= before.Version {
		t.Errorf("version %d after an update of version %d", after.Version, before.Version)
	}

	expected := after
	expected.URI, expected.CreatedAt = before.URI, before.CreatedAt
	got, err := s.Resource(t.Context(), before.ID)
	want(t, err, nil)
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("after UpdateResource (-want +got):\n%s", diff)
	}
}

func resourceConflict(t *testing.T, s storage.Store) {
	r := NewResource()
	want(t, s.CreateResource(t.Context(), r, Event("resource.created", r.ID)), nil)
	stale := *r
	r.Name = "First"
	want(t, s.UpdateResource(t.Context(), r, Event("resource.updated", r.ID)), nil)
	stale.Scopes = nil
	want(t, s.UpdateResource(t.Context(), &stale, Event("resource.updated", r.ID)), storage.ErrConflict)

	got, err := s.Resource(t.Context(), r.ID)
	want(t, err, nil)
	if diff := cmp.Diff(r, got, emptyIsNil); diff != "" {
		t.Errorf("after a conflict (-want +got):\n%s", diff)
	}
}

func resourceScopeRemoved(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	code := f.Approve(t, "files:delete", "files:write", "files:read")

	f.Resource.Scopes = f.Resource.Scopes[1:] // without files:read
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)

	left := []string{"files:delete", "files:write"}
	if diff := cmp.Diff(left, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID).Scopes); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
	gotFamily, standing, err := s.Family(t.Context(), family.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]string{"files:write"}, gotFamily.Scopes); diff != "" {
		t.Errorf("family (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(left, standing.Scopes); diff != "" {
		t.Errorf("grant of the family (-want +got):\n%s", diff)
	}
	gotCode, standing, err := s.Code(t.Context(), code.ID)
	want(t, err, nil)
	if diff := cmp.Diff(left, gotCode.Scopes); diff != "" {
		t.Errorf("code (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(left, standing.Scopes); diff != "" {
		t.Errorf("grant of the code (-want +got):\n%s", diff)
	}
	// It does not come back with the scope.
	f.Resource.Scopes = NewResource().Scopes
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
	if diff := cmp.Diff(left, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID).Scopes); diff != "" {
		t.Errorf("grant after the scope came back (-want +got):\n%s", diff)
	}
}

func resourceLastScopeRemoved(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	a := f.NewApproval("files:read")
	a.Shown = []string{} // the grant keeps files:write
	want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
	narrow := f.Redeem(t, &a.Code) // files:read
	wide := f.Redeem(t, f.Code)    // files:read files:write

	f.Resource.Scopes = f.Resource.Scopes[1:] // without files:read
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
	familyGone(t, s, narrow.ID)
	if _, _, err := s.Family(t.Context(), wide.ID); err != nil {
		t.Fatalf("a family with a scope left: %v", err)
	}

	f.Resource.Scopes = f.Resource.Scopes[1:] // without files:write
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
	familyGone(t, s, wide.ID)
	wantNoGrant(t, f)

	// Two scopes at once leave nothing either.
	other := NewFixture(t, s)
	other.Resource.Scopes = other.Resource.Scopes[2:]
	want(t, s.UpdateResource(t.Context(), other.Resource, Event("resource.updated", other.Resource.ID)), nil)
	wantNoGrant(t, other)
	codeDead(t, s, other.Code)
}

func resourceScopeOfAnother(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	f.Resource.Scopes = nil
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", f.Resource.ID)), nil)
	wantNoGrant(t, f)
	got := grantOf(t, s, other.User.ID, other.Client.ID, other.Resource.ID)
	if diff := cmp.Diff(other.Grant, got); diff != "" {
		t.Errorf("grant for another resource (-want +got):\n%s", diff)
	}
}

func resourceDeleted(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read")

	want(t, s.DeleteResource(t.Context(), f.Resource.ID, storage.AnyVersion, Event("resource.deleted", f.Resource.ID)), nil)
	_, err := s.Resource(t.Context(), f.Resource.ID)
	want(t, err, storage.ErrNotFound)
	wantNoGrant(t, f)
	familyGone(t, s, family.ID)
	codeDead(t, s, unredeemed)
	if grantOf(t, s, other.User.ID, other.Client.ID, other.Resource.ID) == nil {
		t.Error("a grant for another resource is gone")
	}
	// The uri is free again.
	again := NewResource()
	again.URI = f.Resource.URI
	want(t, s.CreateResource(t.Context(), again, Event("resource.created", again.ID)), nil)
}

// fullResource returns a resource none of whose fields is empty, with more scopes
// than one and their names not in alphabetical order.
func fullResource() *storage.Resource {
	r := NewResource()
	r.Version = 3
	r.Scopes[0], r.Scopes[1] = r.Scopes[1], r.Scopes[0]
	r.IntrospectionClients = []string{"cl_b", "cl_a"}
	r.AccessTokenLifetime = 7*time.Minute + 30*time.Second
	r.ManagedBy = "organisation"
	r.UpdatedAt = Now.Add(time.Second)
	return r
}
