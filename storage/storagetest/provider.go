package storagetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var providerContracts = []contract{
	{"a provider is read as it was written", providerRoundTrip},
	{"providers are listed by id", providerList},
	{"an update takes the version it was read at", providerUpdate},
	{"a name is taken once", providerName},
	{"a secret is resealed only if it is still the same", providerReseal},
	{"a provider that is disabled or deleted no longer vouches for its people", providerEnds},
	{"nobody approves as a member of what a provider took along", providerEndsApprovals},
}

func createProvider(t *testing.T, s storage.Store) *storage.Provider {
	t.Helper()
	p := NewProvider()
	want(t, s.CreateProvider(t.Context(), p, Event("provider.created", p.ID)), nil)
	return p
}

func wantProvider(t *testing.T, s storage.Store, p *storage.Provider) {
	t.Helper()
	got, err := s.Provider(t.Context(), p.ID)
	want(t, err, nil)
	if diff := cmp.Diff(p, got); diff != "" {
		t.Errorf("provider (-want +got):\n%s", diff)
	}
}

func providerRoundTrip(t *testing.T, s storage.Store) {
	wantProvider(t, s, createProvider(t, s))
	bare := &storage.Provider{
		ID: storage.NewID(storage.PrefixProvider), Version: 1, Name: "bare", Issuer: "https://bare.example", ClientID: "c",
		SealedClientSecret: []byte{}, Scopes: []string{}, AllowedTenants: []string{}, AllowedDomains: []string{}, AllowedGroups: []string{},
		ACRValues: []string{}, ReverifyAfter: time.Hour, SecondFactor: storage.ProviderTrusted, CreatedAt: Now, UpdatedAt: Now,
	}
	want(t, s.CreateProvider(t.Context(), bare, Event("provider.created", bare.ID)), nil)
	wantProvider(t, s, bare)
	_, err := s.Provider(t.Context(), "idp_none")
	want(t, err, storage.ErrNotFound)
}

func providerList(t *testing.T, s storage.Store) {
	first, second := createProvider(t, s), createProvider(t, s)
	page, err := s.Providers(t.Context(), storage.Page{Limit: 1})
	want(t, err, nil)
	if diff := cmp.Diff([]*storage.Provider{first}, page); diff != "" {
		t.Errorf("first page (-want +got):\n%s", diff)
	}
	page, err = s.Providers(t.Context(), storage.Page{After: first.ID, Limit: 5})
	want(t, err, nil)
	if diff := cmp.Diff([]*storage.Provider{second}, page); diff != "" {
		t.Errorf("second page (-want +got):\n%s", diff)
	}
}

func providerUpdate(t *testing.T, s storage.Store) {
	p := createProvider(t, s)
	stale := *p
	p.Name, p.ClientID, p.SealedClientSecret, p.Scopes = "Renamed", "other", []byte{}, []string{"groups"}
	p.Label, p.Automatic, p.LinkByEmail, p.Claims = "", true, false, storage.ProviderClaims{Name: "n"}
	p.AllowedTenants, p.AllowedDomains, p.AllowedGroups, p.ACRValues = []string{"t"}, []string{}, []string{}, []string{}
	p.ReverifyAfter, p.Enabled, p.UpdatedAt = 2*time.Hour, false, Now.Add(time.Minute)
	p.ManagedBy, p.ClientSecretSetAt, p.SecondFactor = "", time.Time{}, storage.ProviderTrusted
	fixed := *p
	fixed.Version = 2
	p.Issuer, p.Preset = "https://elsewhere.example", storage.PresetOkta // what is fixed is not written
	want(t, s.UpdateProvider(t.Context(), p, Event("provider.updated", p.ID)), nil)
	if p.Version != 2 {
		t.Errorf("the version is %d", p.Version)
	}
	wantProvider(t, s, &fixed)
	want(t, s.UpdateProvider(t.Context(), &stale, Event("provider.updated", p.ID)), storage.ErrConflict)
	stale.ID = "idp_none"
	want(t, s.UpdateProvider(t.Context(), &stale, Event("provider.updated", p.ID)), storage.ErrNotFound)
	wantProvider(t, s, &fixed)
}

func providerName(t *testing.T, s storage.Store) {
	p, other := createProvider(t, s), createProvider(t, s)
	again := NewProvider()
	again.Name = p.Name
	want(t, s.CreateProvider(t.Context(), again, Event("provider.created", again.ID)), storage.ErrExists)
	renamed := *other
	renamed.Name = p.Name
	want(t, s.UpdateProvider(t.Context(), &renamed, Event("provider.updated", other.ID)), storage.ErrExists)
	wantProvider(t, s, other)
}

func providerReseal(t *testing.T, s storage.Store) {
	p := createProvider(t, s)
	was := p.SealedClientSecret
	want(t, s.ResealProvider(t.Context(), p.ID, was, []byte("anew"), Event("provider.resealed", p.ID)), nil)
	p.SealedClientSecret = []byte("anew")
	wantProvider(t, s, p)
	want(t, s.ResealProvider(t.Context(), p.ID, was, []byte("late"), Event("provider.resealed", p.ID)), storage.ErrConflict)
	wantProvider(t, s, p)
}

func providerEnds(t *testing.T, s storage.Store) {
	ends := map[string]func(p *storage.Provider, event storage.AuditEvent) error{
		"disabled": func(p *storage.Provider, event storage.AuditEvent) error {
			p.Enabled = false
			return s.UpdateProvider(t.Context(), p, event)
		},
		"deleted": func(p *storage.Provider, event storage.AuditEvent) error {
			return s.DeleteProvider(t.Context(), p.ID, storage.AnyVersion, event)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			p, other := createProvider(t, s), createProvider(t, s)
			u, v := provision(t, s, p)
			local := NewUser()
			want(t, s.CreateUser(t.Context(), local, Event("user.created", local.ID)), nil)
			elsewhere, _ := provision(t, s, other)
			event := Event("provider."+name, p.ID)
			event.At = Now.Add(time.Hour)
			want(t, end(p, event), nil)

			u.VerifiedUntil, u.Version = event.At, u.Version+1
			wantUser(t, s, u, name == "deleted", v)
			for _, unchanged := range []*storage.User{local, elsewhere} {
				got, err := s.User(t.Context(), unchanged.ID)
				want(t, err, nil)
				if !got.VerifiedUntil.Equal(unchanged.VerifiedUntil) || got.Version != unchanged.Version {
					t.Errorf("%s is verified until %v, version %d", unchanged.Username, got.VerifiedUntil, got.Version)
				}
			}
			v.At = Now.Add(2 * time.Hour)
			want(t, s.VerifyUser(t.Context(), v, Event("user.verified", u.ID)), storage.ErrNotFound)
			fresh := NewUser()
			want(t, s.ProvisionUser(t.Context(), fresh, NewVerification(p), Event("user.created", fresh.ID)), storage.ErrNotFound)
			want(t, s.LinkUser(t.Context(), local.ID, local.Version, NewVerification(p), Event("user.linked", local.ID)), storage.ErrNotFound)
		})
	}
	gone := createProvider(t, s)
	u, _ := provision(t, s, gone)
	u.PasswordHash = "hash"
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	got, err := s.User(t.Context(), u.ID)
	want(t, err, nil)
	if !got.VerifiedUntil.Equal(u.VerifiedUntil) {
		t.Errorf("a password makes somebody local whom a provider knows: %v", got.VerifiedUntil)
	}
	want(t, s.DeleteProvider(t.Context(), gone.ID, storage.AnyVersion, Event("provider.deleted", gone.ID)), nil)
	u.PasswordHash, u.Version = "another", u.Version+1
	want(t, s.UpdateUser(t.Context(), u, Event("user.updated", u.ID)), nil)
	if got, err = s.User(t.Context(), u.ID); err != nil || !got.VerifiedUntil.IsZero() {
		t.Errorf("a password does not make somebody local whom no provider knows: %v %v", got, err)
	}
	want(t, s.DeleteProvider(t.Context(), "idp_none", storage.AnyVersion, Event("provider.deleted", "")), storage.ErrNotFound)
}

// providerEndsApprovals: a person has a Group from one Provider of an issuer and came in
// by another since. What the first takes along when it goes was on no page since then.
func providerEndsApprovals(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	first, second := createProvider(t, s), NewProvider()
	second.Issuer = first.Issuer
	want(t, s.CreateProvider(t.Context(), second, Event("provider.created", second.ID)), nil)
	v := NewVerification(first)
	want(t, s.LinkUser(t.Context(), f.User.ID, f.User.Version, v, Event("user.linked", f.User.ID)), nil)
	v.ProviderID, v.Groups = second.ID, nil
	want(t, s.VerifyUser(t.Context(), v, Event("user.verified", f.User.ID)), nil)
	f.SignInAgain(t)
	if !slices.Contains(f.User.Groups, "writers") {
		t.Fatalf("the groups are %q", f.User.Groups)
	}
	shown := f.NewApproval("files:read")
	want(t, s.DeleteProvider(t.Context(), first.ID, storage.AnyVersion, Event("provider.deleted", first.ID)), nil)
	in, err := s.SignIn(t.Context(), f.Session.TokenHash, f.Look(), Now)
	want(t, err, nil)
	if slices.Contains(in.User.Groups, "writers") {
		t.Fatalf("the groups are %q", in.User.Groups)
	}
	want(t, s.Approve(t.Context(), shown, Event("grant.approved", "")), storage.ErrNotFound)
	f.User = &in.User
	want(t, s.Approve(t.Context(), f.NewApproval("files:read"), Event("grant.approved", "")), nil)
}

// wantUser compares the user of an identity. Whose provider is gone has none, nor
// its groups.
func wantUser(t *testing.T, s storage.Store, u *storage.User, gone bool, v storage.Verification) {
	t.Helper()
	got, err := s.User(t.Context(), u.ID)
	want(t, err, nil)
	expected := *u
	if gone {
		expected.Groups = []string{}
	}
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	_, err = s.UserByIdentity(t.Context(), v.Issuer, v.Subject)
	if gone {
		want(t, err, storage.ErrNotFound)
	} else {
		want(t, err, nil)
	}
}
