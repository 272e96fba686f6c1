package storagetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

// valueContracts are about what two databases like to see differently.
var valueContracts = []contract{
	{"ids compare by byte", valuesCase},
	{"lists are ordered by byte", valuesOrder},
	{"times come back in UTC by the microsecond", valuesTimes},
	{"lists that are empty are not nil", valuesEmptyLists},
	{"text comes back as it was", valuesText},
	{"large numbers come back as they were", valuesNumbers},
	{"a write can be read at once", valuesOwnWrites},
}

func valuesCase(t *testing.T, s storage.Store) {
	lower, upper := NewClient(), NewClient()
	lower.ID, lower.ClientID = "cl_case", "https://client.example/case"
	upper.ID, upper.ClientID = "cl_CASE", "https://client.example/CASE"
	for _, c := range []*storage.Client{lower, upper} {
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	}
	got, err := s.Client(t.Context(), "cl_CASE")
	want(t, err, nil)
	if got.ClientID != upper.ClientID {
		t.Errorf("cl_CASE is %s", got.ClientID)
	}
	for _, absent := range []string{"cl_Case", "cl_case ", " cl_case", "cl%case", "cl_cas_"} {
		_, err := s.Client(t.Context(), absent)
		want(t, err, storage.ErrNotFound)
	}
	_, err = s.ClientByClientID(t.Context(), "https://client.example/Case")
	want(t, err, storage.ErrNotFound)

	// Scopes that differ by case are two scopes.
	r := NewResource()
	r.Scopes = []storage.Scope{{Name: "read", Tools: []string{}, Risk: storage.RiskRead}, {Name: "Read", Tools: []string{}, Risk: storage.RiskRead}}
	want(t, s.CreateResource(t.Context(), r, Event("resource.created", r.ID)), nil)
	r.Scopes = r.Scopes[1:]
	want(t, s.UpdateResource(t.Context(), r, Event("resource.updated", r.ID)), nil)
	resource, err := s.Resource(t.Context(), r.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]string{"Read"}, resource.ScopeNames()); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
}

func valuesOrder(t *testing.T, s storage.Store) {
	// In the order of their bytes, which no language sorts them in.
	ordered := []string{"cl_", "cl_-", "cl_0", "cl_A", "cl_Z", "cl__", "cl_a", "cl_a-", "cl_aa", "cl_ab", "cl_z", "cl_ä"}
	for i := range ordered {
		c := NewClient()
		c.ID = ordered[(i*5)%len(ordered)] // stored in another order
		c.ClientID = c.ID
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	}
	var got []string
	for after := ""; ; {
		clients, err := s.Clients(t.Context(), storage.ClientFilter{}, storage.Page{After: after, Limit: 5})
		want(t, err, nil)
		if len(clients) == 0 {
			break
		}
		for _, c := range clients {
			got = append(got, c.ID)
		}
		after = got[len(got)-1]
	}
	if diff := cmp.Diff(ordered, got); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}

	u := NewUser()
	u.Groups = []string{"ä", "b", "B", "a", "_", "-", "Z"}
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	user, err := s.User(t.Context(), u.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]string{"-", "B", "Z", "_", "a", "b", "ä"}, user.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func valuesTimes(t *testing.T, s storage.Store) {
	east := time.FixedZone("east", 9*60*60)
	for _, at := range []time.Time{
		time.Date(2026, 3, 29, 1, 30, 0, 123_456_000, time.UTC),
		time.Date(2026, 3, 29, 2, 30, 0, 999_999_999, east), // parts of a microsecond are cut off
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), // a time like any other, not "none"
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		c := NewClient()
		secret := NewClientSecret()
		secret.CreatedAt, secret.ExpiresAt = at, at
		c.CreatedAt, c.Secrets = at, []storage.ClientSecret{secret}
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
		got, err := s.Client(t.Context(), c.ID)
		want(t, err, nil)
		for name, read := range map[string]time.Time{
			"created_at":            got.CreatedAt,
			"created_at of secrets": got.Secrets[0].CreatedAt,
			"expires_at":            got.Secrets[0].ExpiresAt,
		} {
			if expected := at.Truncate(time.Microsecond); !read.Equal(expected) || read.Location() != time.UTC {
				t.Errorf("%s of %s came back as %s", name, at, read)
			}
		}
	}
	c := NewClient()
	c.Secrets = []storage.ClientSecret{NewClientSecret()}
	want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	got, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	if !got.Secrets[0].ExpiresAt.IsZero() {
		t.Errorf("no expiry came back as %s", got.Secrets[0].ExpiresAt)
	}
}

func valuesEmptyLists(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	for _, list := range [][]string{nil, {}} {
		c, r, u := NewClient(), NewResource(), NewUser()
		c.RedirectURIs, c.GrantTypes, c.ResponseTypes = list, list, list
		c.Scope, c.Resources, c.Contacts = list, list, list
		r.IntrospectionClients = list
		r.Scopes = []storage.Scope{{Name: "a", Tools: list, Risk: storage.RiskWrite}}
		u.Groups = list
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
		want(t, s.CreateResource(t.Context(), r, Event("resource.created", r.ID)), nil)
		want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
		client, err := s.Client(t.Context(), c.ID)
		want(t, err, nil)
		resource, err := s.Resource(t.Context(), r.ID)
		want(t, err, nil)
		user, err := s.User(t.Context(), u.ID)
		want(t, err, nil)
		r.Scopes = nil
		want(t, s.UpdateResource(t.Context(), r, Event("resource.updated", r.ID)), nil)
		a := f.NewApproval()
		a.Code.ResourceID, a.Code.Scopes, a.Shown = r.ID, list, list
		want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
		code, standing, err := s.Code(t.Context(), a.Code.ID)
		want(t, err, nil)
		family := NewFamily(&a.Code)
		family.Scopes = list
		want(t, s.RedeemCode(t.Context(), a.Code.ID, family), nil)
		family, familyStanding, err := s.Family(t.Context(), family.ID)
		want(t, err, nil)
		for name, got := range map[string][]string{
			"redirect_uris": client.RedirectURIs, "grant_types": client.GrantTypes,
			"response_types": client.ResponseTypes, "scope": client.Scope,
			"resources": client.Resources, "contacts": client.Contacts,
			"introspection_clients": resource.IntrospectionClients,
			"tools":                 resource.Scopes[0].Tools,
			"groups":                user.Groups,
			"scopes of a code":      code.Scopes, "scopes of a code's grant": standing.Scopes,
			"scopes of a family": family.Scopes, "scopes of a family's grant": familyStanding.Scopes,
			"scopes of a grant": grantOf(t, s, f.User.ID, f.Client.ID, r.ID).Scopes,
		} {
			if got == nil || len(got) != 0 {
				t.Errorf("%s stored as %#v came back as %#v", name, list, got)
			}
		}
	}
}

func valuesText(t *testing.T, s storage.Store) {
	for i, text := range []string{
		"", " ", "'", `"`, `\`, "%", "_", "$1", "?", "NULL", "{}", "[]", "{a,b}", "a,b", `{"a":1}`,
		"line\nbreak\ttab\r", "<script>&amp;</script>", "Grüße", "日本語", "👩‍💻", "e\u0301 and é", "\u2028\u2029", "\u007f",
		"'; DROP TABLE clients; --",
	} {
		c := NewClient()
		c.ClientName, c.SoftwareID = text, text
		c.Scope, c.Contacts = []string{text}, []string{"before", text, text, "after"}
		c.ClientID = fmt.Sprintf("https://client.example/%d/%s", i, text)
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID).With(text+"x", text)), nil)
		got, err := s.ClientByClientID(t.Context(), c.ClientID)
		want(t, err, nil)
		if diff := cmp.Diff(c, got, emptyIsNil); diff != "" {
			t.Errorf("text %q (-stored +read):\n%s", text, diff)
		}
		last := events(t, s)
		if got := last[len(last)-1].Detail[text+"x"]; got != text {
			t.Errorf("detail %q came back as %q", text, got)
		}
	}
	// And as a scope, through everything that a scope goes through.
	f := NewFixture(t, s)
	odd := `od"d\'é`
	f.Resource.Scopes = append(f.Resource.Scopes, storage.Scope{Name: odd, Description: odd, Tools: []string{odd}, Risk: storage.RiskWrite})
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", "")), nil)
	code := f.Approve(t, odd, "files:read")
	f.Redeem(t, code)
	family, standing, err := s.Family(t.Context(), code.FamilyID())
	want(t, err, nil)
	if diff := cmp.Diff([]string{odd, "files:read"}, family.Scopes); diff != "" {
		t.Errorf("scopes of the family (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"files:read", "files:write", odd}, standing.Scopes); diff != "" {
		t.Errorf("scopes of the grant (-want +got):\n%s", diff)
	}
	f.Resource.Scopes = f.Resource.Scopes[:3]
	want(t, s.UpdateResource(t.Context(), f.Resource, Event("resource.updated", "")), nil)
	family, standing, err = s.Family(t.Context(), code.FamilyID())
	want(t, err, nil)
	if diff := cmp.Diff([][]string{{"files:read"}, {"files:read", "files:write"}}, [][]string{family.Scopes, standing.Scopes}); diff != "" {
		t.Errorf("after it is gone (-want +got):\n%s", diff)
	}
}

func valuesNumbers(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := NewFamily(f.Code)
	family.Generation = math.MaxInt32 + 1
	want(t, s.RedeemCode(t.Context(), f.Code.ID, family), nil)
	wantFamily(t, s, family)
	u := NewUser()
	u.Version = math.MaxInt32
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	got, err := s.User(t.Context(), u.ID)
	want(t, err, nil)
	if got.Version != u.Version || got.Version <= math.MaxInt32 {
		t.Errorf("version %d, want %d", got.Version, u.Version)
	}
}

func valuesOwnWrites(t *testing.T, s storage.Store) {
	// Reads may take another connection than writes: it must see them.
	for range 20 {
		f := NewFixture(t, s)
		_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, Now)
		want(t, err, nil)
		f.Redeem(t, f.Code)
		_, _, err = s.Family(t.Context(), f.Code.FamilyID())
		want(t, err, nil)
		want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", "")), nil)
		familyGone(t, s, f.Code.FamilyID())
	}
}
