package storagetest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var policyContracts = []contract{
	{"a new database lets everybody approve", policyBuiltIn},
	{"policies come back as they were stored", policyKept},
	{"policies are listed by id", policyListed},
	{"names are unique", policyNames},
	{"what a policy names must be there", policyNamesWhatIs},
	{"a policy may name a document's client that has no row", policyNamesDocument},
	{"updates of one version race", policyUpdateRace},
	{"a deleted resource is named no more", policyLosesResource},
	{"a deleted client is named no more", policyLosesClient},
	{"naming what is deleted at the same moment", policyNamingRace},
	{"a client that a policy names is not swept", policyKeepsClient},
	{"what is read of a person's approvals has their groups", groupsOfStanding},
	{"an approval in advance says so until a person approves", approvalInAdvance},
}

// FullPolicy is a rule with something in every field that names what the fixture
// has; it is not stored.
func (f *Fixture) FullPolicy() *storage.Policy {
	p := NewPolicy()
	p.Groups, p.Scopes = []string{"staff", "Über"}, []string{"files:read", "files:delete"}
	p.Resources, p.Clients = []string{f.Resource.URI}, []string{f.Client.ClientID}
	p.Trust = []storage.ClientTrust{storage.TrustRegistered, storage.TrustTrusted}
	p.SkipConsent, p.ManagedBy = true, "grantd apply"
	return p
}

func createPolicy(t testing.TB, s storage.Store, p *storage.Policy) {
	t.Helper()
	want(t, s.CreatePolicy(t.Context(), p, p.Recorded(Event("policy.created", ""))), nil)
}

func policyBuiltIn(t *testing.T, s storage.Store) {
	all, err := s.Policies(t.Context(), storage.Page{Limit: 10})
	want(t, err, nil)
	if len(all) != 1 {
		t.Fatalf("%d policies in a new database", len(all))
	}
	p := all[0]
	if p.CreatedAt.IsZero() || !p.CreatedAt.Equal(p.UpdatedAt) {
		t.Errorf("made at %v, changed at %v", p.CreatedAt, p.UpdatedAt)
	}
	if _, err := storage.IDBytes(storage.PrefixPolicy, p.ID); err != nil {
		t.Error(err)
	}
	expected := NewPolicy()
	expected.ID, expected.Name, expected.CreatedAt, expected.UpdatedAt = p.ID, "Everyone may approve every MCP server", p.CreatedAt, p.UpdatedAt
	if diff := cmp.Diff(expected, p); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	want(t, s.DeletePolicy(t.Context(), p.ID, storage.AnyVersion, Event("policy.deleted", p.ID)), nil)
	want(t, s.DeletePolicy(t.Context(), p.ID, storage.AnyVersion, Event("policy.deleted", p.ID)), storage.ErrNotFound)
	_, err = s.Policy(t.Context(), p.ID)
	want(t, err, storage.ErrNotFound)
}

func policyKept(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := f.FullPolicy()
	createPolicy(t, s, p)
	wantPolicy(t, s, p)
	p.Name, p.Groups, p.Clients, p.Trust, p.SkipConsent = "Another", []string{}, []string{}, []storage.ClientTrust{}, false
	p.ManagedBy, p.UpdatedAt = "", Now.Add(time.Hour)
	want(t, s.UpdatePolicy(t.Context(), p, Event("policy.updated", p.ID)), nil)
	if p.Version != 2 {
		t.Errorf("version %d after an update", p.Version)
	}
	wantPolicy(t, s, p)
	stale := *p
	stale.Version = 1
	want(t, s.UpdatePolicy(t.Context(), &stale, Event("policy.updated", p.ID)), storage.ErrConflict)
	stale.Resources = []string{"https://gone.example/mcp"}
	want(t, s.UpdatePolicy(t.Context(), &stale, Event("policy.updated", p.ID)), storage.ErrConflict)
	unknown := NewPolicy()
	want(t, s.UpdatePolicy(t.Context(), unknown, Event("policy.updated", unknown.ID)), storage.ErrNotFound)
	empty := &storage.Policy{ID: storage.NewID(storage.PrefixPolicy), Name: "With nil for empty", Version: 1, CreatedAt: Now, UpdatedAt: Now}
	createPolicy(t, s, empty)
	got, err := s.Policy(t.Context(), empty.ID)
	want(t, err, nil)
	if diff := cmp.Diff(empty, got, emptyIsNil); diff != "" {
		t.Errorf("policy (-stored +read):\n%s", diff)
	}
}

func policyListed(t *testing.T, s storage.Store) {
	stored, err := s.Policies(t.Context(), storage.Page{Limit: 10})
	want(t, err, nil)
	for range 3 {
		p := NewPolicy()
		createPolicy(t, s, p)
		stored = append(stored, p)
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.Policy, error) { return s.Policies(t.Context(), page) },
		func(p *storage.Policy) string { return p.ID })
}

func policyNames(t *testing.T, s storage.Store) {
	one, two := NewPolicy(), NewPolicy()
	createPolicy(t, s, one)
	createPolicy(t, s, two)
	same, sameID := NewPolicy(), NewPolicy()
	same.Name, sameID.ID = one.Name, one.ID
	want(t, s.CreatePolicy(t.Context(), same, Event("policy.created", same.ID)), storage.ErrExists)
	want(t, s.CreatePolicy(t.Context(), sameID, Event("policy.created", one.ID)), storage.ErrExists)
	two.Name = one.Name
	want(t, s.UpdatePolicy(t.Context(), two, Event("policy.updated", two.ID)), storage.ErrExists)
}

func policyNamesWhatIs(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	for _, change := range []func(*storage.Policy){
		func(p *storage.Policy) { p.Resources = append(p.Resources, "https://unknown.example/mcp") },
		func(p *storage.Policy) { p.Clients = append(p.Clients, "unknown") },
	} {
		p := f.FullPolicy()
		change(p)
		want(t, s.CreatePolicy(t.Context(), p, Event("policy.created", p.ID)), storage.ErrNotFound)
		stored := f.FullPolicy()
		createPolicy(t, s, stored)
		p.ID = stored.ID
		want(t, s.UpdatePolicy(t.Context(), p, Event("policy.updated", p.ID)), storage.ErrNotFound)
		wantPolicy(t, s, stored)
	}
}

func policyNamesDocument(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := f.FullPolicy()
	p.Clients = append(p.Clients, "https://client.example/metadata.json")
	createPolicy(t, s, p)
	wantPolicy(t, s, p)
}

func policyUpdateRace(t *testing.T, s storage.Store) {
	p := NewPolicy()
	createPolicy(t, s, p)
	errs := race(racers, func(int) error {
		mine := *p
		return s.UpdatePolicy(t.Context(), &mine, Event("policy.updated", p.ID))
	})
	wantWinners(t, errs, 1, storage.ErrConflict)
}

func policyLosesResource(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewResource()
	want(t, s.CreateResource(t.Context(), other, Event("resource.created", other.ID)), nil)
	both, only, all := f.FullPolicy(), f.FullPolicy(), NewPolicy()
	both.Resources = append(both.Resources, other.URI)
	policyLoses(t, s, both, only, all, func(cause storage.AuditEvent) error {
		return s.DeleteResource(t.Context(), f.Resource.ID, storage.AnyVersion, cause)
	})
	both.Resources = []string{other.URI}
	wantPolicy(t, s, both)
}

func policyLosesClient(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewClient()
	want(t, s.CreateClient(t.Context(), other, Event("client.created", other.ID)), nil)
	both, only, all := f.FullPolicy(), f.FullPolicy(), NewPolicy()
	both.Clients = append(both.Clients, other.ClientID)
	policyLoses(t, s, both, only, all, func(cause storage.AuditEvent) error {
		return s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, cause)
	})
	both.Clients = []string{other.ClientID}
	wantPolicy(t, s, both)
}

// policyLoses stores three rules: of two names, of one, and of none. When the one
// name is deleted the first keeps the other name, the second goes, because it would
// hold for all, and the third stays as it is. What becomes of them is recorded.
func policyLoses(t *testing.T, s storage.Store, both, only, all *storage.Policy, del func(storage.AuditEvent) error) {
	t.Helper()
	for _, p := range []*storage.Policy{both, only, all} {
		createPolicy(t, s, p)
	}
	before, cause := len(events(t, s)), Event("test.deleted", "")
	cause.Actor, cause.At = "admin:12345678", Now.Add(time.Hour)
	want(t, del(cause), nil)
	_, err := s.Policy(t.Context(), only.ID)
	want(t, err, storage.ErrNotFound)
	wantPolicy(t, s, all)
	both.Version, both.UpdatedAt = 2, cause.At
	recorded := map[string]*storage.AuditEvent{}
	for _, e := range events(t, s)[before:] {
		recorded[e.Target+" "+e.Action] = e
	}
	for _, key := range []string{
		both.ID + " policy.updated",
		only.ID + " policy.deleted",
	} {
		e := recorded[key]
		if e == nil {
			t.Fatalf("no event %q in %v", key, recorded)
		}
		var fields struct{ Name string }
		if err := json.Unmarshal([]byte(e.Detail["policy"]), &fields); err != nil || fields.Name == "" {
			t.Errorf("policy %q in the event: %v", e.Detail["policy"], err)
		}
		if e.Actor != cause.Actor || !e.At.Equal(cause.At) || e.Detail["cause"] != cause.ID || e.Detail["reason"] != cause.Action {
			t.Errorf("event %+v", e)
		}
	}
	if len(recorded) != 3 { // and the cause
		t.Errorf("%d events, want 3", len(recorded))
	}
}

// Whichever is first, no rule is left that names what is gone: it might name
// another of that name one day.
func policyNamingRace(t *testing.T, s storage.Store) {
	for range 10 {
		f := NewFixture(t, s)
		created, updated := f.FullPolicy(), NewPolicy()
		createPolicy(t, s, updated)
		named := *updated
		named.Resources, named.Clients = created.Resources, created.Clients
		errs := race(4, func(i int) error {
			switch i {
			case 0:
				return s.CreatePolicy(t.Context(), created, Event("policy.created", created.ID))
			case 1:
				return s.UpdatePolicy(t.Context(), &named, Event("policy.updated", named.ID))
			case 2:
				return s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, Event("client.deleted", f.Client.ID))
			default:
				return s.DeleteResource(t.Context(), f.Resource.ID, storage.AnyVersion, Event("resource.deleted", f.Resource.ID))
			}
		})
		for i, err := range errs {
			if i < 2 && err != nil {
				want(t, err, storage.ErrNotFound)
			} else {
				want(t, err, nil)
			}
		}
		all, err := s.Policies(t.Context(), storage.Page{Limit: 100})
		want(t, err, nil)
		for _, p := range all {
			if slices.Contains(p.Clients, f.Client.ClientID) || slices.Contains(p.Resources, f.Resource.URI) {
				t.Errorf("the rule %+v is left", p)
			}
			if p.ID == created.ID {
				t.Error("the rule that named what is gone is left")
			}
		}
	}
}

func policyKeepsClient(t *testing.T, s storage.Store) {
	c, p := NewDynamicClient(), NewPolicy()
	want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	p.Clients = []string{c.ClientID}
	createPolicy(t, s, p)
	sweep := func() {
		t.Helper()
		_, err := s.Sweep(t.Context(), Now.Add(2*unused), unused, 10)
		want(t, err, nil)
	}
	sweep()
	_, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	want(t, s.DeletePolicy(t.Context(), p.ID, storage.AnyVersion, Event("policy.deleted", p.ID)), nil)
	sweep()
	_, err = s.Client(t.Context(), c.ID)
	want(t, err, storage.ErrNotFound)
}

func groupsOfStanding(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family, device := f.Redeem(t, f.Approve(t, "files:read")), f.Device(t, "files:read")
	want(t, s.ApproveDeviceAuthorization(t.Context(), f.NewDeviceApproval(device), Event("grant.approved", "")), nil)
	for _, groups := range [][]string{{"staff"}, {"admins", "staff", "Über"}, {}} {
		f.User.Groups = groups
		want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), nil)
		for name, read := range map[string]func() (storage.Standing, error){
			"Code": func() (storage.Standing, error) { _, got, err := s.Code(t.Context(), f.Code.ID); return got, err },
			"ExchangeCode": func() (storage.Standing, error) {
				e := f.NewExchange(f.Code)
				e.Allowed, e.AllowedTo = nil, []storage.GroupScope{{Group: "staff", Scope: "files:delete"}}
				_, got, _, err := s.ExchangeCode(t.Context(), e)
				return got, err
			},
			"ExchangeCode for a Resource that was guessed": func() (storage.Standing, error) {
				e := f.NewExchange(f.Code)
				e.ResourceID, e.Guessed = "res_other", true
				_, got, _, err := s.ExchangeCode(t.Context(), e)
				return got, err
			},
			"Family": func() (storage.Standing, error) { _, got, err := s.Family(t.Context(), family.ID); return got, err },
			"DeviceAuthorization": func() (storage.Standing, error) {
				_, got, err := s.DeviceAuthorization(t.Context(), device.ID)
				return got, err
			},
			"AccessTokenLive": func() (storage.Standing, error) {
				_, got, err := s.AccessTokenLive(t.Context(), "tok_a", family.ID, Now)
				return got, err
			},
			"RenewFamily": func() (storage.Standing, error) {
				r := f.renewal(family.ID, 1)
				r.AllowedTo = []storage.GroupScope{{Group: "nobody", Scope: "files:read"}} // so that groups matter
				_, got, _, err := s.RenewFamily(t.Context(), r)
				return got, err
			},
			"SignIn": func() (storage.Standing, error) {
				in, err := s.SignIn(t.Context(), f.Session.TokenHash, f.Look(), Now)
				if err != nil {
					return storage.Standing{}, err
				}
				return storage.Standing{Groups: in.User.Groups, Scopes: in.Grant.Scopes}, nil
			},
		} {
			got, err := read()
			want(t, err, nil)
			if diff := cmp.Diff(groups, got.Groups, emptyIsNil); diff != "" || len(got.Scopes) == 0 {
				t.Errorf("%s: scopes %q, groups (-want +got):\n%s", name, got.Scopes, diff)
			}
		}
	}
}

func approvalInAdvance(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	for _, inAdvance := range []bool{true, false, true} {
		a := f.NewApproval("files:read")
		a.InAdvance = inAdvance
		want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
		in, err := s.SignIn(t.Context(), f.Session.TokenHash, f.Look(), Now)
		want(t, err, nil)
		if got := grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID); got.InAdvance != inAdvance || in.Grant.InAdvance != inAdvance {
			t.Errorf("in advance: %t in the list, %t at the sign-in, want %t", got.InAdvance, in.Grant.InAdvance, inAdvance)
		}
	}
}

func wantPolicy(t testing.TB, s storage.Store, p *storage.Policy) {
	t.Helper()
	got, err := s.Policy(t.Context(), p.ID)
	want(t, err, nil)
	if diff := cmp.Diff(p, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}
