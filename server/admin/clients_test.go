package admin_test

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
	"grantd/storage/storagetest"
)

const clientsPath = "/admin/v1/clients"

// A client is created with its defaults, reads back as it was answered, and is
// stored as it was said.
func TestCreateClient(t *testing.T) {
	s := newServer(t)
	a := s.send(http.MethodPost, clientsPath, `{"client_name":"App","redirect_uris":["https://app.example/cb"],"resources":["HTTPS://Files.Example/MCP"],"scope":"b a"}`).want(http.StatusCreated)
	created := into[api.Client](a)
	if got, want := a.header.Get("Location"), clientsPath+"/"+created.ID; got != want {
		t.Errorf("Location = %q, want %q", got, want)
	}
	secret := created.ClientSecret
	if !strings.HasPrefix(secret, "cs_") || len(secret) != len("cs_")+43 {
		t.Errorf("client_secret = %q, want cs_ and 43 characters", secret)
	}
	want := api.Client{
		ID: created.ID, ClientID: created.ID, ClientSecret: secret, Source: "registered", ClientName: "App",
		RedirectUris: []string{"https://app.example/cb"}, GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		TokenEndpointAuthMethod: "client_secret_basic", ApplicationType: "web", Scope: "b a", Resources: []string{"https://files.example/MCP"},
		Contacts: []string{}, CreatedAt: start, UpdatedAt: start,
	}
	if diff := cmp.Diff(want, created); diff != "" {
		t.Error(diff)
	}

	read := into[api.Client](s.send(http.MethodGet, clientsPath+"/"+created.ID, "").want(http.StatusOK))
	want.ClientSecret = ""
	if diff := cmp.Diff(want, read); diff != "" {
		t.Error(diff)
	}

	stored, err := s.store.Client(t.Context(), created.ID)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(secret))
	if len(stored.Secrets) != 1 || string(stored.Secrets[0].Hash) != string(hash[:]) {
		t.Errorf("secrets = %+v, want the hash of the one that was answered", stored.Secrets)
	}
}

func TestPublicClientHasNoSecret(t *testing.T) {
	s := newServer(t)
	c := create[api.Client](s, clientsPath, `{"token_endpoint_auth_method":"none","redirect_uris":["http://localhost/cb"]}`)
	if c.ClientSecret != "" {
		t.Error("a public client was given a secret")
	}
	if items := secretsOf(s, c.ID); len(items) != 0 {
		t.Errorf("secrets = %+v", items)
	}
}

// Secrets rotate: the new one is shown once, the old one goes on until deleted.
func TestSecrets(t *testing.T) {
	s := newServer(t)
	c := create[api.Client](s, clientsPath, `{"grant_types":["client_credentials"]}`)
	path := clientsPath + "/" + c.ID + "/secrets"
	s.later(time.Hour)
	a := s.send(http.MethodPost, path, "").want(http.StatusCreated)
	made := into[api.NewClientSecret](a)
	if made.ClientSecret == c.ClientSecret || !strings.HasPrefix(made.ClientSecret, "cs_") {
		t.Errorf("client_secret = %q", made.ClientSecret)
	}
	if got, want := a.header.Get("Location"), path+"/"+made.ID; got != want {
		t.Errorf("Location = %q, want %q", got, want)
	}
	items := secretsOf(s, c.ID)
	if len(items) != 2 || items[1].ID != made.ID || !items[0].CreatedAt.Equal(start) || !items[1].CreatedAt.Equal(start.Add(time.Hour)) {
		t.Fatalf("secrets = %+v", items)
	}
	s.send(http.MethodDelete, path+"/"+items[0].ID, "").want(http.StatusNoContent)
	s.send(http.MethodDelete, path+"/"+items[0].ID, "").wantProblem(http.StatusNotFound, "not-found")
	if left := secretsOf(s, c.ID); len(left) != 1 || left[0].ID != made.ID {
		t.Errorf("secrets = %+v", left)
	}

	for range 9 {
		s.send(http.MethodPost, path, "").want(http.StatusCreated)
	}
	s.send(http.MethodPost, path, "").wantProblem(http.StatusConflict, "too-many-secrets")

	other := create[api.Client](s, clientsPath, `{"grant_types":["client_credentials"]}`)
	s.send(http.MethodDelete, clientsPath+"/"+other.ID+"/secrets/"+made.ID, "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodPost, clientsPath+"/"+storage.NewID(storage.PrefixClient)+"/secrets", "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodGet, clientsPath+"/"+storage.NewID(storage.PrefixClient)+"/secrets", "").wantProblem(http.StatusNotFound, "not-found")
}

// A public client becomes confidential only once it has a secret.
func TestPublicClientBecomesConfidential(t *testing.T) {
	s := newServer(t)
	c := create[api.Client](s, clientsPath, `{"token_endpoint_auth_method":"none","redirect_uris":["http://localhost/cb"]}`)
	path := clientsPath + "/" + c.ID
	const confidential = `{"token_endpoint_auth_method":"client_secret_post"}`
	problem := s.send(http.MethodPatch, path, confidential).wantProblem(http.StatusBadRequest, "invalid")
	if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/token_endpoint_auth_method" || !strings.Contains(problem.Errors[0].Detail, "/secrets") {
		t.Errorf("errors = %+v", problem.Errors)
	}
	s.send(http.MethodPost, path+"/secrets", "").want(http.StatusCreated)
	s.send(http.MethodPatch, path, confidential).want(http.StatusOK)
	s.send(http.MethodPatch, path, `{"token_endpoint_auth_method":"none"}`).want(http.StatusOK)
	if items := secretsOf(s, c.ID); len(items) != 1 {
		t.Errorf("secrets = %+v, want them kept", items)
	}
}

// A secret that has expired is no secret.
func TestExpiredSecret(t *testing.T) {
	s := newServer(t)
	c := create[api.Client](s, clientsPath, `{"token_endpoint_auth_method":"none","redirect_uris":["http://localhost/cb"]}`)
	secret := storagetest.NewClientSecret()
	secret.ExpiresAt = start.Add(time.Hour)
	if err := s.store.AddClientSecret(t.Context(), c.ID, secret, storagetest.Event("client.secret_created", c.ID)); err != nil {
		t.Fatal(err)
	}
	if items := secretsOf(s, c.ID); len(items) != 1 || items[0].ExpiresAt == nil || !items[0].ExpiresAt.Equal(secret.ExpiresAt) {
		t.Errorf("secrets = %+v", items)
	}
	s.later(time.Hour)
	s.send(http.MethodPatch, clientsPath+"/"+c.ID, `{"token_endpoint_auth_method":null}`).wantProblem(http.StatusBadRequest, "invalid")
}

// What a client says of itself is not changed for it; it can only be stopped.
func TestDynamicClient(t *testing.T) {
	s := newServer(t)
	c := storagetest.NewDynamicClient()
	c.RedirectURIs = []string{"cursor://anysphere.cursor-retrieval/oauth"} // as it registered itself
	if err := s.store.CreateClient(t.Context(), c, storagetest.Event("client.created", c.ID)); err != nil {
		t.Fatal(err)
	}
	path := clientsPath + "/" + c.ID
	if got := into[api.Client](s.send(http.MethodGet, path, "").want(http.StatusOK)); got.Source != "dynamic" {
		t.Errorf("source = %q", got.Source)
	}
	s.send(http.MethodPatch, path, `{"client_name":"X","disabled":true}`).wantProblem(http.StatusConflict, "not-registered")
	s.send(http.MethodPost, path+"/secrets", "").wantProblem(http.StatusConflict, "not-registered")
	s.send(http.MethodPatch, path, `{}`).want(http.StatusOK)
	if got := into[api.Client](s.send(http.MethodPatch, path, `{"disabled":true}`).want(http.StatusOK)); !got.Disabled || got.ClientName != c.ClientName {
		t.Errorf("client = %+v", got)
	}
	s.send(http.MethodDelete, path, "").want(http.StatusNoContent)
	s.send(http.MethodGet, path, "").wantProblem(http.StatusNotFound, "not-found")
}

// A client that the rules of today would refuse can still be stopped.
func TestStoppingAnOldClient(t *testing.T) {
	s := newServer(t)
	c := storagetest.NewClient()
	c.RedirectURIs = []string{"http://app.example/callback"}
	if err := s.store.CreateClient(t.Context(), c, storagetest.Event("client.created", c.ID)); err != nil {
		t.Fatal(err)
	}
	s.send(http.MethodPatch, clientsPath+"/"+c.ID, `{"client_name":"New"}`).wantProblem(http.StatusBadRequest, "invalid")
	s.send(http.MethodPatch, clientsPath+"/"+c.ID, `{"disabled":true}`).want(http.StatusOK)
}

func TestDisablingEndsGrants(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{clientsPath, "/admin/v1/users"} {
		f := storagetest.NewFixture(t, s.store)
		id := map[string]string{clientsPath: f.Client.ID, "/admin/v1/users": f.User.ID}[path]
		s.send(http.MethodPatch, path+"/"+id, `{"disabled":true}`).want(http.StatusOK)
		s.send(http.MethodDelete, "/admin/v1/grants/"+f.Grant.ID, "").wantProblem(http.StatusNotFound, "not-found")
	}
}

func secretsOf(s *server, id string) []api.ClientSecret {
	s.t.Helper()
	return into[api.ClientSecretList](s.send(http.MethodGet, clientsPath+"/"+id+"/secrets", "").want(http.StatusOK)).Items
}
