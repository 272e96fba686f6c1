package storagetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var registrationContracts = []contract{
	{"what registers again is folded into its row", foldClient},
	{"a fold renews what is due and nothing else", foldRenews},
	{"a fold neither needs room nor records anything", foldIsFree},
	{"a block outlives registering again", foldDisabled},
	{"forty registrations of one client make one row", foldRace},
	{"a used client is kept for a while after its last grant", sweepUsedClients},
	{"a renewed client is kept", sweepRenewedClients},
	{"a blocked client is kept", sweepDisabledClients},
	{"redirects that are given up take what went there", updateDynamicClient},
	{"approving and giving up a redirect leave nothing there", raceGiveUpRedirect},
}

// Digest returns the digest of a registration like no other.
func Digest() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "digest %d", next()))
	return sum[:]
}

// register creates a client that is never folded.
func register(ctx context.Context, s storage.Store, c *storage.Client, maxUnused int, event storage.AuditEvent) error {
	_, err := s.CreateDynamicClient(ctx, &storage.Registration{Client: c, MaxUnused: maxUnused}, event)
	return err
}

// registerAt creates a client with that digest, or folds it.
func registerAt(t testing.TB, s storage.Store, digest []byte, at time.Time) (c *storage.Client, folded bool) {
	t.Helper()
	c = NewDynamicClient()
	c.CreatedAt, c.UpdatedAt = at, at
	folded, err := s.CreateDynamicClient(t.Context(), &storage.Registration{Client: c, Digest: digest, MaxUnused: 100}, Event("client.registered", c.ID))
	want(t, err, nil)
	return c, folded
}

// foldAt folds a registration at a time.
func foldAt(t testing.TB, s storage.Store, digest []byte, at, renewBefore time.Time) (*storage.Client, bool, error) {
	t.Helper()
	c := NewDynamicClient()
	c.CreatedAt = at
	renewed, err := s.FoldClient(t.Context(), &storage.Registration{Client: c, Digest: digest}, renewBefore)
	return c, renewed, err
}

func foldClient(t *testing.T, s storage.Store) {
	digest, later := Digest(), Now.Add(time.Hour)
	_, _, err := foldAt(t, s, digest, Now, Now)
	want(t, err, storage.ErrNotFound)
	first, folded := registerAt(t, s, digest, Now)
	if folded {
		t.Fatal("the first registration was folded")
	}
	stored, err := s.Client(t.Context(), first.ID)
	want(t, err, nil)

	byFold, _, err := foldAt(t, s, digest, later, Now.Add(-step))
	want(t, err, nil)
	byInsert, folded := registerAt(t, s, digest, later)
	if !folded {
		t.Error("the second insert was not folded")
	}
	for name, c := range map[string]*storage.Client{"fold": byFold, "insert": byInsert} {
		if c.ID != first.ID || c.ClientID != first.ClientID || !c.CreatedAt.Equal(Now) {
			t.Errorf("%s: %s, %s made at %s; want %s made at %s", name, c.ID, c.ClientID, c.CreatedAt, first.ID, Now)
		}
	}
	got, err := s.Client(t.Context(), first.ID)
	want(t, err, nil)
	if diff := cmp.Diff(stored, got); diff != "" {
		t.Errorf("the row (-before +after):\n%s", diff)
	}
	// Another digest, or none, is another client.
	for _, digest := range [][]byte{Digest(), nil, nil} {
		if other, folded := registerAt(t, s, digest, Now); folded || other.ID == first.ID {
			t.Errorf("digest %x was folded", digest)
		}
	}
}

func foldRenews(t *testing.T, s storage.Store) {
	digest := Digest()
	registerAt(t, s, digest, Now)
	for _, c := range []struct {
		name        string
		at, before  time.Duration
		wantRenewed bool
	}{
		{"not due", time.Hour, -step, false},
		{"due", time.Hour, 0, true},
		{"renewed meanwhile", 2 * time.Hour, time.Hour - step, false},
		{"due again", 3 * time.Hour, time.Hour, true},
	} {
		_, renewed, err := foldAt(t, s, digest, Now.Add(c.at), Now.Add(c.before))
		want(t, err, nil)
		if renewed != c.wantRenewed {
			t.Errorf("%s: renewed is %v", c.name, renewed)
		}
	}
	_, renewed, err := foldAt(t, s, digest, Now.Add(100*time.Hour), time.Time{})
	want(t, err, nil)
	if renewed {
		t.Error("renewed before the beginning of time")
	}
}

func foldIsFree(t *testing.T, s storage.Store) {
	digest := Digest()
	first, _ := registerAt(t, s, digest, Now)
	before, version := len(events(t, s)), catalogVersion(t, s)
	for range 3 {
		c := NewDynamicClient()
		c.Secrets = []storage.ClientSecret{NewClientSecret()}
		folded, err := s.CreateDynamicClient(t.Context(), &storage.Registration{Client: c, Digest: digest, MaxUnused: 1}, Event("client.registered", c.ID))
		want(t, err, nil)
		if !folded {
			t.Error("not folded")
		}
		_, _, err = foldAt(t, s, digest, Now.Add(time.Hour), Now)
		want(t, err, nil)
	}
	if n := len(events(t, s)) - before; n != 0 {
		t.Errorf("%d events", n)
	}
	if catalogVersion(t, s) != version {
		t.Error("the version moved")
	}
	got, err := s.Client(t.Context(), first.ID)
	want(t, err, nil)
	if len(got.Secrets) != 0 {
		t.Error("the secret of another registration came to it")
	}
	// A new one finds it full.
	c := NewDynamicClient()
	_, err = s.CreateDynamicClient(t.Context(), &storage.Registration{Client: c, Digest: Digest(), MaxUnused: 1}, Event("client.registered", c.ID))
	want(t, err, storage.ErrFull)
}

func foldDisabled(t *testing.T, s storage.Store) {
	digest := Digest()
	first, _ := registerAt(t, s, digest, Now)
	first.Disabled = true
	want(t, s.UpdateClient(t.Context(), first, Event("client.disabled", first.ID)), nil)
	again, folded := registerAt(t, s, digest, Now.Add(time.Hour))
	if !folded || again.ID != first.ID {
		t.Fatal("it got a new row")
	}
	got, err := s.Client(t.Context(), first.ID)
	want(t, err, nil)
	if !got.Disabled {
		t.Error("it is enabled again")
	}
}

func foldRace(t *testing.T, s storage.Store) {
	for range rounds {
		digest, before := Digest(), len(events(t, s))
		ids := make([]string, racers)
		errs := race(racers, func(i int) error {
			r := &storage.Registration{Client: NewDynamicClient(), Digest: digest, MaxUnused: 1000}
			if _, err := s.FoldClient(t.Context(), r, Now); !errors.Is(err, storage.ErrNotFound) {
				ids[i] = r.Client.ID
				return err
			}
			_, err := s.CreateDynamicClient(t.Context(), r, Event("client.registered", r.Client.ID))
			ids[i] = r.Client.ID
			return err
		})
		wantWinners(t, errs, racers, nil)
		if slices.Sort(ids); ids[0] != ids[racers-1] {
			t.Fatalf("there are %d clients", len(slices.Compact(ids)))
		}
		if n := len(events(t, s)) - before; n != 1 {
			t.Errorf("%d events, want 1", n)
		}
	}
}

// sweepAt sweeps and reports which of the clients are still there.
func sweepAt(t testing.TB, s storage.Store, at time.Time, clients ...*storage.Client) []bool {
	t.Helper()
	_, err := s.Sweep(t.Context(), at, unused, 100)
	want(t, err, nil)
	left := make([]bool, len(clients))
	for i, c := range clients {
		_, err := s.Client(t.Context(), c.ID)
		if left[i] = err == nil; !left[i] {
			want(t, err, storage.ErrNotFound)
		}
	}
	return left
}

func sweepUsedClients(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	used := func() (*storage.Client, *storage.Approval) {
		c, _ := registerAt(t, s, Digest(), Now)
		a := f.NewApproval("files:read")
		a.Code.ClientID = c.ID
		want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
		return c, a
	}
	c, a := used()
	other, longer := used()
	// With a grant it is never swept, however old.
	year := Now.Add(365 * 24 * time.Hour)
	if left := sweepAt(t, s, year, c); !left[0] {
		t.Fatal("a client with a grant was swept")
	}
	// It was marked; a second sweep on the same day has nothing to mark.
	want(t, s.DeleteGrant(t.Context(), a.Code.GrantID, Event("grant.deleted", "")), nil)
	if left := sweepAt(t, s, year.Add(storage.ClientIdle-step), c); !left[0] {
		t.Error("it was swept too early")
	}
	if left := sweepAt(t, s, year.Add(storage.ClientIdle), c); left[0] {
		t.Error("it was not swept")
	}

	// The mark follows the grant.
	want(t, s.DeleteGrant(t.Context(), longer.Code.GrantID, Event("grant.deleted", "")), nil)
	if left := sweepAt(t, s, year.Add(2*storage.ClientIdle-2*step), other); !left[0] {
		t.Error("the mark was not renewed")
	}
	// Who was used is no longer among the unused that have a cap.
	want(t, register(t.Context(), s, NewDynamicClient(), 1, Event("client.registered", "")), nil)
}

func sweepRenewedClients(t *testing.T, s storage.Store) {
	digest := Digest()
	renewed, _ := registerAt(t, s, digest, Now)
	other, _ := registerAt(t, s, Digest(), Now)
	_, _, err := foldAt(t, s, digest, Now.Add(12*time.Hour), Now)
	want(t, err, nil)
	if left := sweepAt(t, s, Now.Add(unused-step), renewed, other); !left[0] || !left[1] {
		t.Errorf("left %v, want both", left)
	}
	if left := sweepAt(t, s, Now.Add(unused), renewed, other); !left[0] || left[1] {
		t.Errorf("left %v, want the renewed one", left)
	}
	if left := sweepAt(t, s, Now.Add(12*time.Hour+unused), renewed); left[0] {
		t.Error("it is kept for ever")
	}
	// Its digest is free again.
	if again, folded := registerAt(t, s, digest, Now); folded || again.ID == renewed.ID {
		t.Error("it was folded into what is gone")
	}
}

func sweepDisabledClients(t *testing.T, s storage.Store) {
	c, _ := registerAt(t, s, Digest(), Now)
	c.Disabled = true
	want(t, s.UpdateClient(t.Context(), c, Event("client.disabled", c.ID)), nil)
	if left := sweepAt(t, s, Now.Add(365*24*time.Hour), c); !left[0] {
		t.Error("the block is gone")
	}
	// Nor does it take anybody's room.
	want(t, register(t.Context(), s, NewDynamicClient(), 1, Event("client.registered", "")), nil)
}

func updateDynamicClient(t *testing.T, s storage.Store) {
	const kept, given = "https://editor.example/kept", "https://editor.example/given"
	ctx, f := t.Context(), NewFixture(t, s)
	c := NewDynamicClient()
	c.RedirectURIs = []string{kept, given, "http://127.0.0.1/callback"}
	c.RegistrationAccessTokenHash = Digest()
	want(t, register(ctx, s, c, 100, Event("client.registered", c.ID)), nil)
	stale := *c

	approve := func(who storage.SignIn, redirectURI string) *storage.AuthorizationCode {
		t.Helper()
		a := f.NewApproval("files:read")
		a.Code.ClientID, a.Code.UserID, a.Approver, a.Code.RedirectURI = c.ID, who.User.ID, who.Approver(), redirectURI
		want(t, s.Approve(ctx, a, Event("grant.approved", "")), nil)
		return &a.Code
	}
	person := func(redirectURI string) (*storage.Family, *storage.AuthorizationCode) {
		t.Helper()
		u := NewUser()
		want(t, s.CreateUser(ctx, u, Event("user.created", u.ID)), nil)
		session := NewSession(u.ID)
		want(t, s.CreateSession(ctx, session, Event("session.created", session.ID)), nil)
		who := storage.SignIn{Session: *session, User: *u}
		return f.Redeem(t, approve(who, redirectURI)), approve(who, redirectURI)
	}
	keptFamily, keptCode := person(kept)
	portFamily, portCode := person("http://127.0.0.1:49152/callback")
	givenFamily, givenCode := person(given)
	// On its way to the one while the grant was last for the other.
	signedIn := storage.SignIn{Session: *f.Session, User: *f.User}
	early, late := approve(signedIn, given), approve(signedIn, kept)

	version := catalogVersion(t, s)
	c.RedirectURIs, c.ClientName = []string{kept, "http://127.0.0.1/callback"}, "Another name"
	want(t, s.UpdateDynamicClient(ctx, c, Event("client.updated", c.ID)), nil)
	got, err := s.Client(ctx, c.ID)
	want(t, err, nil)
	if diff := cmp.Diff(c, got, emptyIsNil); diff != "" {
		t.Errorf("the client (-want +got):\n%s", diff)
	}
	if catalogVersion(t, s) <= version {
		t.Error("the version stayed")
	}
	familyGone(t, s, givenFamily.ID)
	codeDead(t, s, givenCode)
	codeDead(t, s, early)
	for _, family := range []*storage.Family{keptFamily, portFamily} {
		if _, _, err := s.Family(ctx, family.ID); err != nil {
			t.Errorf("a family of what was kept: %v", err)
		}
	}
	for _, code := range []*storage.AuthorizationCode{keptCode, portCode, late} {
		f.Redeem(t, code)
	}
	if grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID) == nil {
		t.Error("the grant of another client is gone")
	}

	want(t, s.UpdateDynamicClient(ctx, &stale, Event("client.updated", c.ID)), storage.ErrConflict)
	stale.ID = "cl_none"
	want(t, s.UpdateDynamicClient(ctx, &stale, Event("client.updated", c.ID)), storage.ErrNotFound)
}

func raceGiveUpRedirect(t *testing.T, s storage.Store) {
	for range rounds {
		f := NewFixture(t, s)
		codes := crossing(t, f, func() error {
			c := *f.Client
			c.RedirectURIs = []string{"https://elsewhere.example/callback"}
			return s.UpdateDynamicClient(t.Context(), &c, Event("client.updated", c.ID))
		})
		// Who approves a moment later does so for a page that was shown before; what
		// there was when the client gave the redirect up is gone.
		codeDead(t, s, codes[0])
		familyGone(t, s, codes[0].FamilyID())
	}
}
