package registration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"grantd/server/registration"
	"grantd/server/web"
	"grantd/storage"
)

// bodies are what real clients send, and what none does.
var bodies = []string{
	`{"client_name":"Claude","redirect_uris":["https://claude.ai/api/mcp/auth_callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none","scope":"a b"}`,
	`{"client_name":"Cursor","redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/cb"],"token_endpoint_auth_method":"none"}`,
	`{"redirect_uris":["http://127.0.0.1:1/cb","http://localhost:2/cb","http://[::1]/cb"],"application_type":"native","contacts":["a@b.example"]}`,
	`{"redirect_uris":["https://a.example/cb"],"jwks":{"keys":[]},"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"ES256"}`,
	`{"redirect_uris":null,"scope":null,"contacts":null,"jwks":null}`,
	`{"redirect_uris":["https://a.example/cb"],"Redirect_URIs":["x"]}`, `{"a":{"a":1,"a":1}}`, `{"\ud800":1}`, `{"client_name":"\ud83d\ude00\\ud800"}`,
	`{"x":1e400}`, "\ufeff{}", "\xff\xfe{\x00}\x00", `{}{}`, `[[[[[[[[[[[[[[[[[[[[`, `{"a":` + strings.Repeat(`{"a":`, 40), ``, `null`, `"x"`, `{`,
}

// FuzzParseMetadata: what is read is one JSON object that everybody reads alike, and
// what the rules make of it is what the rules allow.
func FuzzParseMetadata(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	rules := registration.Rules{
		AuthMethods: []string{"none", "client_secret_basic"}, DefaultAuthMethod: "client_secret_basic",
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := registration.ParseMetadata(body)
		if err != nil {
			if web.OAuthErrorOf(err).Status != http.StatusBadRequest {
				t.Errorf("%v", err)
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Errorf("read: %q", body)
		}
		client, err := rules.Client(m)
		if err != nil {
			if web.OAuthErrorOf(err).Status != http.StatusBadRequest {
				t.Errorf("%v", err)
			}
			return
		}
		checkClient(t, client)
	})
}

func checkClient(t *testing.T, c *storage.Client) {
	t.Helper()
	if len(c.RedirectURIs) == 0 || len(c.RedirectURIs) > storage.MaxRedirectURIs {
		t.Errorf("redirect URIs %q", c.RedirectURIs)
	}
	for _, uri := range c.RedirectURIs {
		if storage.ValidateRedirectURI(uri) != nil || !c.MatchRedirectURI(uri) {
			t.Errorf("redirect URI %q", uri)
		}
	}
	for _, grantType := range c.GrantTypes {
		if grantType != "authorization_code" && grantType != "refresh_token" {
			t.Errorf("grant type %q", grantType)
		}
	}
	if strings.ContainsFunc(c.ClientName+c.SoftwareID+c.SoftwareVersion, storage.Invisible) {
		t.Errorf("name %q", c.ClientName)
	}
	for _, page := range []string{c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI} {
		if storage.ValidateWebPage(page) != nil {
			t.Errorf("page %q", page)
		}
	}
}

// memory keeps the last registration.
type memory struct{ last *storage.Registration }

func (m *memory) FoldClient(context.Context, *storage.Registration, time.Time) (bool, error) {
	return false, storage.ErrNotFound
}

func (m *memory) CreateDynamicClient(_ context.Context, r *storage.Registration, _ storage.AuditEvent) (bool, error) {
	m.last = r
	return false, nil
}

func (m *memory) ClientByClientID(context.Context, string) (*storage.Client, error) {
	return nil, storage.ErrNotFound
}

func (m *memory) UpdateDynamicClient(context.Context, *storage.Client, storage.AuditEvent) error {
	return storage.ErrNotFound
}

func (m *memory) DeleteClient(context.Context, string, int64, storage.AuditEvent) error {
	return storage.ErrNotFound
}

// open is the policy that lets every client register.
type open struct{}

func (open) RegistrationPolicy(context.Context) (*storage.RegistrationPolicy, error) {
	return &storage.RegistrationPolicy{Dynamic: storage.RegistrationAllow}, nil
}

func (open) RegistrationDecision(context.Context, string) (*storage.RegistrationRequest, error) {
	return nil, nil //nolint:nilnil // nobody has decided
}

// FuzzRegister: every body has an answer, never the server's fault; and whoever
// registers again what the answer says is the same client.
func FuzzRegister(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	issuer, err := web.ParseIssuer("https://auth.example.com")
	if err != nil {
		f.Fatal(err)
	}
	store := &memory{}
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	limit := func() *web.FailureLimit { return &web.FailureLimit{Failures: 1 << 60, Window: time.Hour, Now: now} }
	room := &registration.Registration{
		Store: store, Issuer: issuer, Now: now, PerAddress: limit(), Together: limit(), Algorithms: []string{"ES256"},
		Trust:       &registration.Trust{Policies: open{}},
		KnownScopes: func(_ context.Context, scopes []string) ([]string, error) { return scopes, nil },
		CheckJWKS:   func([]byte) error { return nil },
		CheckURL:    func(string) error { return nil },
	}
	send := func(t *testing.T, body []byte) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/register", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		web.OAuth(issuer, room.Register).ServeHTTP(w, r)
		return w
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		store.last = nil
		w := send(t, body)
		if !json.Valid(w.Body.Bytes()) || w.Code >= http.StatusInternalServerError || (w.Code == http.StatusCreated) != (store.last != nil) {
			t.Fatalf("%d %q", w.Code, w.Body)
		}
		if store.last == nil {
			return
		}
		first := store.last
		checkClient(t, first.Client)
		if !slices.Equal(first.Client.RedirectURIs, slices.Compact(slices.Clone(first.Client.RedirectURIs))) || (first.Digest != nil) != first.Client.Public() {
			t.Errorf("%+v", first)
		}
		if again := send(t, w.Body.Bytes()); again.Code != http.StatusCreated || !bytes.Equal(store.last.Digest, first.Digest) {
			t.Errorf("%q, registered again, is another client: %d %q", w.Body, again.Code, again.Body)
		}
	})
}
