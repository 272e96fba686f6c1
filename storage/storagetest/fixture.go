package storagetest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"grantd/storage"
)

// Now is the moment at which everything in a fixture was made. It is a whole
// number of microseconds, as every stored time is.
var Now = time.Date(2026, time.March, 14, 15, 9, 26, 535_897_000, time.UTC)

// Fixture is a Store in which one person has signed in and approved one client
// for one resource. Its fields say what was stored; change and store them freely.
type Fixture struct {
	Store    storage.Store
	User     *storage.User              // enabled, in the group "staff"
	Client   *storage.Client            // registered, public
	Resource *storage.Resource          // with the scopes "files:read", "files:write" and "files:delete"
	Session  *storage.Session           // signed in at Now
	Grant    *storage.Grant             // of "files:read" and "files:write"
	Code     *storage.AuthorizationCode // of that approval, not redeemed
}

// NewFixture fills the store with one of each. It may be called again: nothing in
// two fixtures has the same name.
func NewFixture(t testing.TB, store storage.Store) *Fixture {
	t.Helper()
	f := &Fixture{Store: store, User: NewUser(), Client: NewClient(), Resource: NewResource()}
	want(t, store.CreateUser(t.Context(), f.User, Event("user.created", f.User.ID)), nil)
	want(t, store.CreateClient(t.Context(), f.Client, Event("client.created", f.Client.ID)), nil)
	want(t, store.CreateResource(t.Context(), f.Resource, Event("resource.created", f.Resource.ID)), nil)
	f.Session = NewSession(f.User.ID)
	want(t, store.CreateSession(t.Context(), f.Session, Event("session.created", f.Session.ID)), nil)
	f.Code = f.Approve(t, "files:read", "files:write")
	f.Grant = grantOf(t, store, f.User.ID, f.Client.ID, f.Resource.ID)
	return f
}

// Approve has the fixture's person approve the scopes, all shown, at Now, and
// returns the code.
func (f *Fixture) Approve(t testing.TB, scopes ...string) *storage.AuthorizationCode {
	t.Helper()
	a := f.NewApproval(scopes...)
	want(t, f.Store.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
	return &a.Code
}

// Redeem redeems the code at Now and returns the family.
func (f *Fixture) Redeem(t testing.TB, code *storage.AuthorizationCode) *storage.Family {
	t.Helper()
	family := NewFamily(code)
	want(t, f.Store.RedeemCode(t.Context(), code.ID, family), nil)
	return family
}

// NewApproval returns an approval of the scopes, all shown, that is not stored.
func (f *Fixture) NewApproval(scopes ...string) *storage.Approval {
	return &storage.Approval{
		Code:       *f.NewCode(scopes...),
		Approver:   f.approver(),
		Shown:      slices.Clone(scopes),
		ClientName: f.Client.ClientName,
	}
}

// approver is the fixture's person in the fixture's session.
func (f *Fixture) approver() storage.Approver {
	return (&storage.SignIn{Session: *f.Session, User: *f.User}).Approver()
}

// Look asks for all that is known of the fixture's person, client and resource.
func (f *Fixture) Look() storage.Look {
	return storage.Look{ClientID: f.Client.ID, ResourceID: f.Resource.ID, Groups: true, ClientKnown: true}
}

// SignInAgain has the fixture's person, as they are by now, sign in anew at Now.
func (f *Fixture) SignInAgain(t testing.TB) {
	t.Helper()
	var err error
	f.User, err = f.Store.User(t.Context(), f.User.ID)
	want(t, err, nil)
	f.Session = NewSession(f.User.ID)
	want(t, f.Store.CreateSession(t.Context(), f.Session, Event("user.signed_in", f.Session.ID)), nil)
}

// NewCode returns a code of the fixture's person, client and resource, made at
// Now, that is not stored and belongs to no Grant.
func (f *Fixture) NewCode(scopes ...string) *storage.AuthorizationCode {
	return &storage.AuthorizationCode{
		ID:            storage.NewID(storage.PrefixCode),
		UserID:        f.User.ID,
		ClientID:      f.Client.ID,
		ResourceID:    f.Resource.ID,
		Scopes:        append([]string{}, scopes...),
		RedirectURI:   f.Client.RedirectURIs[0],
		CodeChallenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
		CreatedAt:     Now,
		ExpiresAt:     Now.Add(storage.CodeLifetime),
		// As the Store copies them from the session.
		SessionID:       f.Session.ID,
		AMR:             f.Session.AMR,
		AuthenticatedAt: f.Session.AuthenticatedAt,
	}
}

// NewPushedRequest returns a request that the fixture's client pushes at Now; it is
// not stored.
func (f *Fixture) NewPushedRequest() *storage.PushedRequest {
	return &storage.PushedRequest{
		ID:        storage.NewID(storage.PrefixPushedRequest),
		ClientID:  f.Client.ID,
		Query:     "client_id=" + f.Client.ClientID + "&response_type=code&state=%C3%A9+%26",
		CreatedAt: Now,
		ExpiresAt: Now.Add(storage.PushedRequestLifetime),
	}
}

// NewDenial returns what DenyPushedRequest takes when the fixture's person says no
// to the request at Now.
func (f *Fixture) NewDenial(p *storage.PushedRequest) *storage.AuthorizationCode {
	denied := f.NewCode()
	denied.ID, denied.ExpiresAt = p.CodeID(), Now
	denied.SessionID, denied.AMR, denied.AuthenticatedAt = "", []string{}, time.Time{}
	return denied
}

// NewUser returns an enabled user who is not stored.
func NewUser() *storage.User {
	return &storage.User{
		ID:           storage.NewID(storage.PrefixUser),
		Username:     fmt.Sprintf("alice%d", next()),
		Version:      1,
		Email:        "alice@example.com",
		Name:         "Alice",
		PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
		Groups:       []string{"staff"},
		CreatedAt:    Now,
		UpdatedAt:    Now,
	}
}

// NewClient returns a registered public client that is not stored.
func NewClient() *storage.Client {
	id := storage.NewID(storage.PrefixClient)
	return &storage.Client{
		ID:                      id,
		ClientID:                id,
		Source:                  storage.SourceRegistered,
		Version:                 1,
		ClientName:              fmt.Sprintf("Editor %d", next()),
		RedirectURIs:            []string{"https://editor.example/callback", "http://127.0.0.1/callback"},
		PostLogoutRedirectURIs:  []string{},
		GrantTypes:              []string{storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken},
		ResponseTypes:           []string{"code"},
		TokenEndpointAuthMethod: storage.AuthMethodNone,
		ApplicationType:         "web",
		Scope:                   []string{},
		Resources:               []string{},
		Contacts:                []string{},
		CreatedAt:               Now,
		UpdatedAt:               Now,
	}
}

// NewDynamicClient returns a client that registered itself and is not stored.
func NewDynamicClient() *storage.Client {
	c := NewClient()
	c.Source = storage.SourceDynamic
	return c
}

// NewDocumentClient returns a client from a document fetched at Now; it is not
// stored.
func NewDocumentClient() *storage.Client {
	c := NewClient()
	c.ClientID = "https://client.example/" + c.ID
	c.ID = storage.DocumentClientID(c.ClientID)
	c.Source, c.DocumentFetchedAt = storage.SourceMetadataDocument, Now
	return c
}

// RequestLimits are those of the tests.
var RequestLimits = storage.RequestLimits{Pending: 20, OfUser: 10}

// NewRegistrationRequest returns a request made at Now for a client known by its
// document, that is not stored.
func NewRegistrationRequest() *storage.RegistrationRequest {
	return &storage.RegistrationRequest{
		ID:           storage.NewID(storage.PrefixRegistrationRequest),
		ClientID:     fmt.Sprintf("https://tool%d.example/client.json", next()),
		Source:       storage.SourceMetadataDocument,
		ClientName:   "Tool",
		RedirectURIs: []string{"https://tool.example/callback", "http://127.0.0.1/callback"},
		State:        storage.RequestPending,
		CreatedAt:    Now,
		AskedBy:      []storage.Asker{},
	}
}

// NewResource returns a resource with three scopes that is not stored.
func NewResource() *storage.Resource {
	return &storage.Resource{
		ID:      storage.NewID(storage.PrefixResource),
		URI:     fmt.Sprintf("https://files%d.example/mcp", next()),
		Version: 1,
		Name:    "Files",
		Scopes: []storage.Scope{
			{Name: "files:read", Description: "Read your files", Tools: []string{"list_files", "read_file"}, Risk: storage.RiskRead},
			{Name: "files:write", Description: "Change your files", Tools: []string{"write_file"}, Risk: storage.RiskWrite},
			{Name: "files:delete", Description: "Delete your files", Tools: []string{}, Risk: storage.RiskDestructive},
		},
		IntrospectionClients: []string{},
		AccessTokenLifetime:  storage.DefaultAccessTokenLifetime,
		CreatedAt:            Now,
		UpdatedAt:            Now,
	}
}

// NewGroup returns a group that is not stored.
func NewGroup() *storage.Group {
	return &storage.Group{
		ID:          storage.NewID(storage.PrefixGroup),
		Name:        fmt.Sprintf("group %d", next()),
		Version:     1,
		Description: "Those who write",
		ManagedBy:   "organisation",
	}
}

// NewPolicy returns a rule of a name of its own that lets everybody have everything
// but what is destructive, made at Now; it is not stored.
func NewPolicy() *storage.Policy {
	return &storage.Policy{
		ID: storage.NewID(storage.PrefixPolicy), Name: fmt.Sprintf("Rule %d", next()), Version: 1,
		Groups: []string{}, Resources: []string{}, Scopes: []string{}, Clients: []string{}, Trust: []storage.ClientTrust{},
		CreatedAt: Now, UpdatedAt: Now,
	}
}

// NewSession returns a session of the user, begun at Now, that is not stored.
func NewSession(userID string) *storage.Session {
	hash := sha256.Sum256(fmt.Appendf(nil, "session %d", next()))
	return &storage.Session{
		ID:              storage.NewID(storage.PrefixSession),
		TokenHash:       hash[:],
		UserID:          userID,
		AuthenticatedAt: Now,
		AMR:             []string{storage.AMRPassword},
		CreatedAt:       Now,
		LastSeenAt:      Now,
	}
}

// NewClientSecret returns a secret made at Now that is not stored.
func NewClientSecret() storage.ClientSecret {
	hash := sha256.Sum256(fmt.Appendf(nil, "secret %d", next()))
	return storage.ClientSecret{ID: storage.NewID(storage.PrefixClientSecret), Hash: hash[:], CreatedAt: Now}
}

// NewFamily returns the family that redeeming the code makes, as of the code's
// making; it is not stored.
func NewFamily(code *storage.AuthorizationCode) *storage.Family {
	return &storage.Family{
		ID:              code.FamilyID(),
		GrantID:         code.GrantID,
		UserID:          code.UserID,
		ClientID:        code.ClientID,
		ResourceID:      code.ResourceID,
		Scopes:          slices.Clone(code.Scopes),
		Generation:      1,
		RotationRequest: []byte{},
		RotatedAt:       code.CreatedAt,
		CreatedAt:       code.CreatedAt,
		ExpiresAt:       code.CreatedAt.Add(storage.FamilyLifetime),
		SessionID:       code.SessionID,
		AMR:             code.AMR,
		AuthenticatedAt: code.AuthenticatedAt,
	}
}

// NewSigningKey returns an active key made at Now that is not stored.
func NewSigningKey() *storage.SigningKey {
	kid := fmt.Sprintf("key-%d", next())
	return &storage.SigningKey{
		KID:              kid,
		Algorithm:        "ES256",
		State:            storage.KeyActive,
		PublicJWK:        fmt.Appendf(nil, `{"kty":"EC","crv":"P-256","kid":%q}`, kid),
		SealedPrivateKey: []byte{0x00, 0x01, 0xfe, 0xff},
		CreatedAt:        Now,
		ActivatedAt:      Now,
	}
}

// NewNextKey is NewSigningKey for a key that does not sign yet.
func NewNextKey() *storage.SigningKey {
	k := NewSigningKey()
	k.State, k.ActivatedAt = storage.KeyNext, time.Time{}
	return k
}

// NewIdempotencyKey returns a key that is not stored, claimed at Now.
func NewIdempotencyKey() *storage.IdempotencyKey {
	n := next()
	return &storage.IdempotencyKey{
		ID: fmt.Sprintf("idempotency-%d", n), Request: fmt.Sprintf("request-%d", n), Target: fmt.Sprintf("target-%d", n),
		ExpiresAt: Now.Add(storage.IdempotencyLifetime),
	}
}

// Event returns an event at Now by the system.
func Event(action, target string) storage.AuditEvent {
	return storage.NewAuditEvent(Now, "system", action, target)
}

var counter atomic.Int64

// next returns a number that no other call returns in this process.
func next() int64 { return counter.Add(1) }

// NewProvider returns an enabled provider that is not stored.
func NewProvider() *storage.Provider {
	n := next()
	return &storage.Provider{
		ID:                 storage.NewID(storage.PrefixProvider),
		Version:            1,
		Name:               fmt.Sprintf("Provider %d", n),
		Issuer:             fmt.Sprintf("https://idp%d.example", n),
		Preset:             storage.PresetKeycloak,
		ClientID:           "grantd",
		SealedClientSecret: []byte{0x00, 0xff, byte(n)},
		ClientSecretSetAt:  Now.Add(-time.Hour),
		Scopes:             []string{"profile", "email"},
		Label:              "Example",
		LinkByEmail:        true,
		Claims:             storage.ProviderClaims{Name: "name", Email: "email", Groups: "groups"},
		AllowedTenants:     []string{},
		AllowedDomains:     []string{"example.com"},
		AllowedGroups:      []string{"staff", "admins"},
		ACRValues:          []string{"mfa"},
		ReverifyAfter:      storage.DefaultReverifyAfter,
		SecondFactor:       storage.ProviderRequired,
		Enabled:            true,
		ManagedBy:          "organisation",
		CreatedAt:          Now,
		UpdatedAt:          Now,
	}
}

// NewVerification returns what the provider says of a new person at Now.
func NewVerification(p *storage.Provider) storage.Verification {
	return storage.Verification{
		Issuer: p.Issuer, Subject: fmt.Sprintf("subject %d", next()), ProviderID: p.ID,
		Name: "Bea Example", Email: "bea@example.com", Groups: []string{"staff", "writers"},
		At: Now, Until: Now.Add(p.ReverifyAfter),
	}
}

// person is what clients may be told of the fixture's user.
func (f *Fixture) person() storage.Person {
	return storage.Person{Username: f.User.Username, Name: f.User.Name, Email: f.User.Email, EmailVerified: true}
}
