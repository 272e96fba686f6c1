package storagetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var clientContracts = []contract{
	{"a created client comes back by both ids", clientRoundTrip},
	{"an id or client_id is taken once", clientExists},
	{"a client that is not there is not found", clientNotFound},
	{"lists go by id, a page at a time", clientPages},
	{"a list of clients is narrowed", clientFilters},
	{"an update writes what may change", clientUpdate},
	{"an update of an older version conflicts", clientConflict},
	{"a disabled client loses its grants", clientDisabled},
	{"a deleted client takes everything it was granted with it", clientDeleted},
	{"secrets are added and deleted one by one", clientSecrets},
	{"a rotated secret leaves the others for a while", clientSecretRotated},
	{"a client is found by the hash of a secret", clientBySecret},
	{"the use of clients is noted now and then", clientUse},
	{"unused dynamic clients have a cap", clientCap},
	{"a document's client is written by its approval", documentApproved},
	{"an approval brings a newer document and no older one", documentMoves},
	{"an approval of a document needs all that others need", documentNeeds},
	{"a document is renewed forward only", documentRenewed},
}

func clientRoundTrip(t *testing.T, s storage.Store) {
	c := fullClient()
	want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)

	got, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("Client (-stored +read):\n%s", diff)
	}
	got, err = s.ClientByClientID(t.Context(), c.ClientID)
	want(t, err, nil)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("ClientByClientID (-stored +read):\n%s", diff)
	}
}

func clientExists(t *testing.T, s storage.Store) {
	c := NewClient()
	want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)

	sameID, sameClientID := NewClient(), NewDynamicClient()
	sameID.ID = c.ID
	sameClientID.ClientID = c.ClientID
	want(t, s.CreateClient(t.Context(), sameID, Event("client.created", c.ID)), storage.ErrExists)
	want(t, s.CreateClient(t.Context(), sameClientID, Event("client.created", c.ID)), storage.ErrExists)
	want(t, register(t.Context(), s, sameClientID, 100, Event("client.created", c.ID)), storage.ErrExists)
}

func clientNotFound(t *testing.T, s storage.Store) {
	ctx, c := t.Context(), NewClient()
	_, err := s.Client(ctx, c.ID)
	want(t, err, storage.ErrNotFound)
	_, err = s.ClientByClientID(ctx, c.ClientID)
	want(t, err, storage.ErrNotFound)
	want(t, s.UpdateClient(ctx, c, Event("client.updated", c.ID)), storage.ErrNotFound)
	want(t, s.DeleteClient(ctx, c.ID, storage.AnyVersion, Event("client.deleted", c.ID)), storage.ErrNotFound)
	want(t, s.AddClientSecret(ctx, c.ID, NewClientSecret(), Event("client.secret_added", c.ID)), storage.ErrNotFound)
	want(t, s.DeleteClientSecret(ctx, c.ID, "sec_none", Event("client.secret_deleted", c.ID)), storage.ErrNotFound)
}

func clientPages(t *testing.T, s storage.Store) {
	var stored []*storage.Client
	for range 5 {
		c := fullClient()
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
		stored = append(stored, c)
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.Client, error) {
		return s.Clients(t.Context(), storage.ClientFilter{}, page)
	},
		func(c *storage.Client) string { return c.ID })
}

func clientFilters(t *testing.T, s storage.Store) {
	yes, no := true, false
	registered, disabled, dynamic, admin := NewClient(), NewClient(), NewDynamicClient(), NewClient()
	disabled.Disabled, admin.AdminAccess = true, true
	for _, c := range []*storage.Client{registered, disabled, dynamic, admin} {
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	}
	for name, c := range map[string]struct {
		filter storage.ClientFilter
		want   []*storage.Client
	}{
		"none":         {storage.ClientFilter{}, []*storage.Client{registered, disabled, dynamic, admin}},
		"source":       {storage.ClientFilter{Source: storage.SourceDynamic}, []*storage.Client{dynamic}},
		"another":      {storage.ClientFilter{Source: storage.SourceMetadataDocument}, nil},
		"disabled":     {storage.ClientFilter{Disabled: &yes}, []*storage.Client{disabled}},
		"enabled":      {storage.ClientFilter{Disabled: &no}, []*storage.Client{registered, dynamic, admin}},
		"admin access": {storage.ClientFilter{AdminAccess: &yes}, []*storage.Client{admin}},
		"all three": {
			storage.ClientFilter{Source: storage.SourceRegistered, Disabled: &no, AdminAccess: &no}, []*storage.Client{registered},
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantPages(t, c.want, func(page storage.Page) ([]*storage.Client, error) { return s.Clients(t.Context(), c.filter, page) },
				func(c *storage.Client) string { return c.ID })
		})
	}
}

func clientUpdate(t *testing.T, s storage.Store) {
	before := fullClient()
	want(t, s.CreateClient(t.Context(), before, Event("client.created", before.ID)), nil)

	// Every field is another one; what must not change is expected as it was.
	after := fullClient()
	after.ID, after.Version = before.ID, before.Version
	after.Source = storage.SourceDynamic
	after.CreatedAt = before.CreatedAt.Add(time.Hour)
	after.UpdatedAt = before.UpdatedAt.Add(2 * time.Hour)
	after.ApplicationType, after.TokenEndpointAuthMethod = "native", storage.AuthMethodClientSecretPost
	after.Contacts = []string{}
	after.RequirePushedAuthorizationRequests = false
	after.AdminAccess = true
	want(t, s.UpdateClient(t.Context(), after, Event("client.updated", before.ID)), nil)
	if after.Version <= before.Version {
		t.Errorf("version %d after an update of version %d", after.Version, before.Version)
	}

	expected := *after
	expected.ClientID, expected.Source = before.ClientID, before.Source
	expected.Secrets, expected.CreatedAt = before.Secrets, before.CreatedAt
	expected.RegistrationAccessTokenHash = before.RegistrationAccessTokenHash
	got, err := s.Client(t.Context(), before.ID)
	want(t, err, nil)
	if diff := cmp.Diff(&expected, got); diff != "" {
		t.Errorf("after UpdateClient (-want +got):\n%s", diff)
	}
}

func clientConflict(t *testing.T, s storage.Store) {
	c := NewClient()
	want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	stale := *c
	c.ClientName = "First"
	want(t, s.UpdateClient(t.Context(), c, Event("client.updated", c.ID)), nil)
	stale.ClientName = "Second"
	want(t, s.UpdateClient(t.Context(), &stale, Event("client.updated", c.ID)), storage.ErrConflict)

	got, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	if diff := cmp.Diff(c, got, emptyIsNil); diff != "" {
		t.Errorf("after a conflict (-want +got):\n%s", diff)
	}
	// The version that came back is the one to go on with.
	want(t, s.UpdateClient(t.Context(), c, Event("client.updated", c.ID)), nil)
}

func clientDisabled(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read")

	f.Client.Disabled = true
	want(t, s.UpdateClient(t.Context(), f.Client, Event("client.disabled", f.Client.ID)), nil)
	wantNoGrant(t, f)
	familyGone(t, s, family.ID)
	codeDead(t, s, unredeemed)
	want(t, s.Approve(t.Context(), f.NewApproval("files:read"), Event("grant.approved", "")), storage.ErrNotFound)

	f.Client.Disabled = false
	want(t, s.UpdateClient(t.Context(), f.Client, Event("client.enabled", f.Client.ID)), nil)
	wantNoGrant(t, f)
	codeDead(t, s, unredeemed)
	f.Approve(t, "files:read")
}

func clientDeleted(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	unredeemed := f.Approve(t, "files:read")
	other := NewFixture(t, s)

	want(t, s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, Event("client.deleted", f.Client.ID)), nil)
	_, err := s.Client(t.Context(), f.Client.ID)
	want(t, err, storage.ErrNotFound)
	wantNoGrant(t, f)
	familyGone(t, s, family.ID)
	codeDead(t, s, unredeemed)
	// Nobody else's is touched.
	if grantOf(t, s, other.User.ID, other.Client.ID, other.Resource.ID) == nil {
		t.Error("another client's grant is gone")
	}
	// The client_id is free again.
	again := NewClient()
	again.ClientID = f.Client.ClientID
	want(t, s.CreateClient(t.Context(), again, Event("client.created", again.ID)), nil)
}

func clientSecrets(t *testing.T, s storage.Store) {
	c := NewClient()
	want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	other := NewClient()
	want(t, s.CreateClient(t.Context(), other, Event("client.created", other.ID)), nil)

	// Added newest first, to see them come back oldest first.
	newer, older := NewClientSecret(), NewClientSecret()
	newer.CreatedAt = Now.Add(time.Hour)
	newer.ExpiresAt = Now.Add(90 * time.Minute)
	older.ExpiresAt = Now.Add(time.Minute)
	for _, secret := range []storage.ClientSecret{newer, older} {
		want(t, s.AddClientSecret(t.Context(), c.ID, secret, Event("client.secret_added", c.ID)), nil)
	}
	want(t, s.AddClientSecret(t.Context(), other.ID, newer, Event("client.secret_added", other.ID)), storage.ErrExists)
	// Two clients may have the same secret, but no client has it twice.
	again, shared := NewClientSecret(), NewClientSecret()
	again.Hash, shared.Hash = newer.Hash, newer.Hash
	want(t, s.AddClientSecret(t.Context(), c.ID, again, Event("client.secret_added", c.ID)), storage.ErrExists)
	want(t, s.AddClientSecret(t.Context(), other.ID, shared, Event("client.secret_added", other.ID)), nil)

	got, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]storage.ClientSecret{older, newer}, got.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if got.Version <= c.Version {
		t.Errorf("version %d after adding secrets to version %d", got.Version, c.Version)
	}

	want(t, s.DeleteClientSecret(t.Context(), other.ID, older.ID, Event("client.secret_deleted", other.ID)), storage.ErrNotFound)
	want(t, s.DeleteClientSecret(t.Context(), c.ID, older.ID, Event("client.secret_deleted", c.ID)), nil)
	want(t, s.DeleteClientSecret(t.Context(), c.ID, older.ID, Event("client.secret_deleted", c.ID)), storage.ErrNotFound)
	left, err := s.Client(t.Context(), c.ID)
	want(t, err, nil)
	if diff := cmp.Diff([]storage.ClientSecret{newer}, left.Secrets); diff != "" {
		t.Errorf("secrets after deleting one (-want +got):\n%s", diff)
	}
	if left.Version <= got.Version {
		t.Errorf("version %d after deleting a secret of version %d", left.Version, got.Version)
	}
}

func clientCap(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	create := func() (*storage.Client, error) {
		c := NewDynamicClient()
		return c, register(t.Context(), s, c, 2, Event("client.created", c.ID))
	}
	first, err := create()
	want(t, err, nil)
	if got, err := s.Client(t.Context(), first.ID); err != nil || got.Source != storage.SourceDynamic {
		t.Fatalf("Client = %v, %v", got, err)
	}
	_, err = create()
	want(t, err, nil)
	full, err := create()
	want(t, err, storage.ErrFull)
	_, err = s.Client(t.Context(), full.ID)
	want(t, err, storage.ErrNotFound)

	// Registered clients are outside the cap, and so is a dynamic one in use.
	registered := NewClient()
	want(t, s.CreateClient(t.Context(), registered, Event("client.created", registered.ID)), nil)
	a := f.NewApproval("files:read")
	a.Code.ClientID = first.ID
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
	_, err = create()
	want(t, err, nil)
	_, err = create()
	want(t, err, storage.ErrFull)
}

// fullClient returns a client none of whose fields is empty.
func fullClient() *storage.Client {
	c := NewClient()
	old, current := NewClientSecret(), NewClientSecret()
	old.ExpiresAt = Now.Add(time.Hour)
	current.CreatedAt = Now.Add(time.Minute)
	c.ClientID = "https://client.example/" + c.ID
	c.Source = storage.SourceMetadataDocument
	c.Version = 7
	c.ResponseTypes = []string{"code", "none"}
	c.TokenEndpointAuthMethod = storage.AuthMethodClientSecretBasic
	c.Scope = []string{"files:read", "files:write"}
	c.Resources = []string{"https://files.example/mcp"}
	c.ClientURI = "https://client.example/"
	c.LogoURI = "https://client.example/logo.png"
	c.TosURI = "https://client.example/tos"
	c.PolicyURI = "https://client.example/policy"
	c.Contacts = []string{"ops@client.example", "alice@client.example"}
	c.SoftwareID = "software-" + c.ID
	c.SoftwareVersion = "1.2.3"
	c.JWKS = `{"keys":[]}`
	c.JWKSURI = "https://client.example/jwks"
	c.TokenEndpointAuthSigningAlg = "ES256"
	c.RequirePushedAuthorizationRequests = true
	c.RegistrationAccessTokenHash, c.Vouched = Digest(), true
	c.ManagedBy = "set of " + c.ID
	c.Secrets = []storage.ClientSecret{old, current}
	c.UpdatedAt = Now.Add(time.Second)
	c.DocumentFetchedAt = Now.Add(-time.Hour)
	return c
}

// wantNoGrant fails the test if the fixture's person still has a grant for its
// client and resource.
func wantNoGrant(t testing.TB, f *Fixture) {
	t.Helper()
	if g := grantOf(t, f.Store, f.User.ID, f.Client.ID, f.Resource.ID); g != nil {
		t.Fatalf("grant %s is still there", g.ID)
	}
}

// wantPages fails the test unless list gives the stored rows, which are in order
// of their ids, whatever the size of the page.
func wantPages[T any](t testing.TB, stored []T, list func(storage.Page) ([]T, error), id func(T) string) {
	t.Helper()
	for limit := 1; limit <= len(stored)+1; limit++ {
		var got []T
		for page := (storage.Page{Limit: limit}); ; {
			rows, err := list(page)
			want(t, err, nil)
			if len(rows) > limit {
				t.Fatalf("%d rows on a page of %d", len(rows), limit)
			}
			got = append(got, rows...)
			if len(rows) < limit {
				break
			}
			page.After = id(rows[len(rows)-1])
		}
		if diff := cmp.Diff(stored, got, emptyIsNil); diff != "" {
			t.Fatalf("pages of %d (-stored +listed):\n%s", limit, diff)
		}
	}
}

// emptyIsNil compares lists without telling an empty one from none: where the
// difference matters a contract of its own says so.
var emptyIsNil = cmp.FilterValues(func(a, b any) bool { return emptyList(a) && emptyList(b) }, cmp.Ignore())

func emptyList(v any) bool {
	switch list := v.(type) {
	case []string:
		return len(list) == 0
	case []byte:
		return len(list) == 0
	case []storage.Scope:
		return len(list) == 0
	case []storage.ClientTrust:
		return len(list) == 0
	case []storage.ClientSecret:
		return len(list) == 0
	case map[string]string:
		return len(list) == 0
	default:
		return false
	}
}

// isOneOf reports whether err is nil or one of the sentinels.
func isOneOf(err error, sentinels ...error) bool {
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return err == nil
}

func clientSecretRotated(t *testing.T, s storage.Store) {
	c, other := NewClient(), NewClient()
	expired, ending, lasting, forever, made := NewClientSecret(), NewClientSecret(), NewClientSecret(), NewClientSecret(), NewClientSecret()
	until := Now.Add(24 * time.Hour)
	expired.ExpiresAt, ending.ExpiresAt, lasting.ExpiresAt = Now, until.Add(-time.Hour), until.Add(time.Hour)
	c.Secrets = []storage.ClientSecret{expired, ending, lasting, forever}
	for i := range c.Secrets {
		c.Secrets[i].CreatedAt = Now.Add(time.Duration(i-10) * time.Hour)
	}
	ending, lasting, forever = c.Secrets[1], c.Secrets[2], c.Secrets[3]
	other.Secrets = []storage.ClientSecret{NewClientSecret()}
	for _, client := range []*storage.Client{c, other} {
		want(t, s.CreateClient(t.Context(), client, Event("client.created", client.ID)), nil)
	}
	version := catalogVersion(t, s)
	rotate := func(id string, secret storage.ClientSecret, until time.Time) error {
		return s.RotateClientSecret(t.Context(), id, secret, until, Event("client.secret_created", id))
	}
	want(t, rotate("cl_none", made, until), storage.ErrNotFound)
	want(t, rotate(c.ID, made, until), nil)
	lasting.ExpiresAt, forever.ExpiresAt = until, until
	wantSecrets(t, s, c.ID, ending, lasting, forever, made)
	wantSecrets(t, s, other.ID, other.Secrets...)
	if catalogVersion(t, s) == version {
		t.Error("nobody is told of the secrets")
	}
	// Without overlap only the new one is left.
	last := NewClientSecret()
	last.CreatedAt = Now.Add(time.Minute)
	want(t, rotate(c.ID, last, last.CreatedAt), nil)
	ending.ExpiresAt, lasting.ExpiresAt, forever.ExpiresAt, made.ExpiresAt = last.CreatedAt, last.CreatedAt, last.CreatedAt, last.CreatedAt
	wantSecrets(t, s, c.ID, ending, lasting, forever, made, last)
	next := NewClientSecret()
	next.CreatedAt = last.CreatedAt.Add(time.Minute)
	want(t, rotate(c.ID, next, next.CreatedAt.Add(time.Hour)), nil)
	last.ExpiresAt = next.CreatedAt.Add(time.Hour)
	wantSecrets(t, s, c.ID, last, next)
}

// wantSecrets fails the test unless the client has these secrets, in this order.
func wantSecrets(t testing.TB, s storage.Store, id string, secrets ...storage.ClientSecret) {
	t.Helper()
	got, err := s.Client(t.Context(), id)
	want(t, err, nil)
	if diff := cmp.Diff(secrets, got.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func clientBySecret(t *testing.T, s storage.Store) {
	c, other := fullClient(), fullClient()
	for _, client := range []*storage.Client{c, other} {
		want(t, s.CreateClient(t.Context(), client, Event("client.created", client.ID)), nil)
	}
	for _, secret := range c.Secrets {
		got, err := s.ClientBySecret(t.Context(), secret.Hash)
		want(t, err, nil)
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("ClientBySecret (-want +got):\n%s", diff)
		}
	}
	for _, hash := range [][]byte{nil, {}, c.Secrets[0].Hash[:31], NewClientSecret().Hash} {
		_, err := s.ClientBySecret(t.Context(), hash)
		want(t, err, storage.ErrNotFound)
	}
}

func clientUse(t *testing.T, s storage.Store) {
	c, other := NewClient(), NewClient()
	for _, client := range []*storage.Client{c, other} {
		want(t, s.CreateClient(t.Context(), client, Event("client.created", client.ID)), nil)
	}
	version := catalogVersion(t, s)
	for _, noted := range []struct{ at, want time.Time }{
		{Now, Now},
		{Now.Add(storage.ClientUse - step), Now},
		{Now.Add(storage.ClientUse), Now.Add(storage.ClientUse)},
		{Now, Now.Add(storage.ClientUse)}, // a replica that was slower
	} {
		want(t, s.NoteClientsUsed(t.Context(), []string{c.ID, "cl_none"}, noted.at), nil)
		got, err := s.Client(t.Context(), c.ID)
		want(t, err, nil)
		if !got.LastUsedAt.Equal(noted.want) || got.Version != c.Version {
			t.Errorf("noted at %v: last used at %v, want %v; version %d, want %d", noted.at, got.LastUsedAt, noted.want, got.Version, c.Version)
		}
	}
	want(t, s.NoteClientsUsed(t.Context(), nil, Now), nil)
	got, err := s.Client(t.Context(), other.ID)
	want(t, err, nil)
	if !got.LastUsedAt.IsZero() {
		t.Errorf("another client was used at %v", got.LastUsedAt)
	}
	// It is nobody's change: no replica reads its clients again, and no admin's
	// write is in conflict with it.
	if after := catalogVersion(t, s); after != version {
		t.Errorf("catalog version %d, want %d", after, version)
	}
	c.ClientName = "Renamed"
	want(t, s.UpdateClient(t.Context(), c, Event("client.updated", c.ID)), nil)
	got, err = s.Client(t.Context(), c.ID)
	want(t, err, nil)
	if !got.LastUsedAt.Equal(Now.Add(storage.ClientUse)) {
		t.Errorf("after an update last used at %v", got.LastUsedAt)
	}
}
