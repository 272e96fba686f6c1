package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"

	"grantd/migrations"
	"grantd/server/catalog"
	"grantd/server/clientauth"
	"grantd/server/consent"
	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
	"grantd/storage/sqlite"
	"grantd/storage/storagetest"
	"grantd/templates"
)

const pipelineVerifier = "a-code-verifier-of-sufficient-length-0123456789-abc"

// spy is a handler at the end of fosite's pipelines. It notes what comes by, leaves
// a mark in each response, and can refuse.
type spy struct {
	handled, populated, authorized []string
	refusal                        error
}

func (*spy) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }
func (*spy) CanHandleTokenEndpointRequest(context.Context, fosite.AccessRequester) bool {
	return true
}

func (s *spy) HandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) error {
	s.handled = append(s.handled, strings.Join(r.GetGrantTypes(), " ")+" by "+r.GetClient().GetID())
	if s.refusal != nil {
		return s.refusal
	}
	return fosite.ErrUnknownRequest // as every handler that only accompanies
}

func (s *spy) PopulateTokenEndpointResponse(_ context.Context, r fosite.AccessRequester, response fosite.AccessResponder) error {
	s.populated = append(s.populated, strings.Join(r.GetGrantTypes(), " "))
	response.SetExtra("spy", "was here")
	return nil
}

func (s *spy) HandleAuthorizeEndpointRequest(_ context.Context, r fosite.AuthorizeRequester, response fosite.AuthorizeResponder) error {
	s.authorized = append(s.authorized, strings.Join(r.GetResponseTypes(), " ")+" for "+r.GetClient().GetID())
	if s.refusal != nil {
		return s.refusal
	}
	response.AddParameter("spy", "was here")
	return nil
}

// signedIn are Sessions in which the fixture's person is always signed in.
type signedIn struct{ f *storagetest.Fixture }

func (s signedIn) TokenHash(*http.Request) []byte { return s.f.Session.TokenHash }

func (s signedIn) SignIn(*http.Request, storage.Look) (*storage.SignIn, error) {
	return &storage.SignIn{Session: *s.f.Session, User: *s.f.User, Grant: s.f.Grant}, nil
}

// pipeline is an engine room with a spy in it.
type pipeline struct {
	*OAuth
	f       *storagetest.Fixture
	machine *storage.Client
	spy     *spy
	config  *fosite.Config
}

const machineSecret = "cs_secret-of-the-machine"

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	path := filepath.Join(t.TempDir(), "grantd.db")
	if err := migrations.Up(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f := storagetest.NewFixture(t, store)
	machine := storagetest.NewClient()
	machine.GrantTypes, machine.TokenEndpointAuthMethod = []string{storage.GrantTypeClientCredentials}, storage.AuthMethodClientSecretPost
	secret := storagetest.NewClientSecret()
	sum := sha256.Sum256([]byte(machineSecret))
	secret.Hash = sum[:]
	machine.Secrets = []storage.ClientSecret{secret}
	if err := store.CreateClient(t.Context(), machine, storagetest.Event("client.created", machine.ID)); err != nil {
		t.Fatal(err)
	}

	issuer, err := web.ParseIssuer("https://auth.example.com")
	if err != nil {
		t.Fatal(err)
	}
	root, err := keys.NewRoot([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return storagetest.Now }
	signing := &keys.Signing{Store: store, Root: root, Algorithm: "ES256", Now: now}
	if err := signing.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	set, err := templates.New()
	if err != nil {
		t.Fatal(err)
	}
	known := catalog.New(store, nil)
	pages := &web.Pages{Templates: set, Issuer: issuer}
	o := New(Config{
		Issuer: issuer, Store: store, Catalog: known, Clients: rowsOnly{known}, Sessions: signedIn{f}, Pages: pages, Signing: signing, Root: root, Now: now,
		Consent: &consent.Consent{Pages: pages, Root: root, Now: now}, Admission: everybody{},
		Issued: func(*storage.Client, string) {},
		ClientAuth: &clientauth.Authenticator{
			Clients: known, Now: now, Failures: &web.FailureLimit{Failures: 20, Window: time.Minute, Now: now},
		},
	})
	p := &pipeline{OAuth: o, f: f, machine: machine, spy: new(spy), config: o.engine.(*fosite.Fosite).Config.(*fosite.Config)}
	p.config.TokenEndpointHandlers = append(p.config.TokenEndpointHandlers, p.spy)
	p.config.AuthorizeEndpointHandlers = append(p.config.AuthorizeEndpointHandlers, p.spy)
	return p
}

// request is an authorization request that the fixture's person has approved
// before: it is answered at once.
func (p *pipeline) request(t *testing.T) *httptest.ResponseRecorder {
	t.Helper()
	p.f.Grant.RedirectURI, p.f.Grant.ClientName = p.f.Client.RedirectURIs[0], p.f.Client.ClientName
	query := url.Values{
		"response_type": {"code"}, "client_id": {p.f.Client.ClientID}, "redirect_uri": {p.f.Client.RedirectURIs[0]}, "resource": {p.f.Resource.URI},
		"scope": {"files:read"}, "code_challenge": {challengeOf(pipelineVerifier)}, "code_challenge_method": {"S256"},
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://auth.example.com/authorize?"+query.Encode(), nil)
	w := httptest.NewRecorder()
	p.Pages.Handle(p.Authorize).ServeHTTP(w, r)
	return w
}

func (p *pipeline) code(t *testing.T) string {
	t.Helper()
	w := p.request(t)
	target, err := url.Parse(w.Header().Get("Location"))
	if err != nil || target.Query().Get("code") == "" {
		t.Fatalf("no code: %d %s %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	return target.Query().Get("code")
}

func (p *pipeline) token(t *testing.T, form url.Values) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://auth.example.com/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	web.OAuth(p.Issuer, p.Token).ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return w.Code, answer
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// grants are a token request of each grant type, in an order in which each has
// what it needs of the one before.
func (p *pipeline) grants(t *testing.T) []url.Values {
	t.Helper()
	code := url.Values{"grant_type": {"authorization_code"}, "client_id": {p.f.Client.ClientID}, "code": {p.code(t)}, "code_verifier": {pipelineVerifier}}
	_, answer := p.token(t, url.Values{
		"grant_type": {"authorization_code"}, "client_id": {p.f.Client.ClientID}, "code": {p.code(t)}, "code_verifier": {pipelineVerifier},
	})
	refresh, _ := answer["refresh_token"].(string)
	return []url.Values{
		code,
		{"grant_type": {"refresh_token"}, "client_id": {p.f.Client.ClientID}, "refresh_token": {refresh}},
		{"grant_type": {"client_credentials"}, "client_id": {p.machine.ClientID}, "client_secret": {machineSecret}},
	}
}

// TestTokensComeThroughFosite: fosite's pipeline handles every token request and
// fills every response.
func TestTokensComeThroughFosite(t *testing.T) {
	p := newPipeline(t)
	for _, form := range p.grants(t) {
		grantType := form.Get("grant_type")
		t.Run(grantType, func(t *testing.T) {
			*p.spy = spy{}
			status, answer := p.token(t, form)
			if status != http.StatusOK || answer["access_token"] == "" || answer["spy"] != "was here" {
				t.Errorf("%d %v", status, answer)
			}
			if want := []string{grantType + " by " + form.Get("client_id")}; !slices.Equal(p.spy.handled, want) {
				t.Errorf("the spy has handled %q, want %q", p.spy.handled, want)
			}
			if want := []string{grantType}; !slices.Equal(p.spy.populated, want) {
				t.Errorf("the spy has populated %q, want %q", p.spy.populated, want)
			}
		})
	}
}

// TestHandlersDecide: what a handler in fosite's pipeline refuses is refused, with
// its error, and nothing is spent.
func TestHandlersDecide(t *testing.T) {
	p := newPipeline(t)
	forms := p.grants(t)
	for _, test := range []struct {
		name    string
		refusal error
		status  int
		code    string
	}{
		{"fosite's error", fosite.ErrInvalidScope.WithHint("hint-of-the-handler"), http.StatusBadRequest, "invalid_scope"},
		{"ours", web.NewOAuthError("invalid_target", "Elsewhere."), http.StatusBadRequest, "invalid_target"},
		{"an outage", storage.ErrUnavailable, http.StatusServiceUnavailable, "temporarily_unavailable"},
		{"an outage inside fosite's error", fosite.ErrInvalidGrant.WithWrap(storage.ErrUnavailable), http.StatusServiceUnavailable, "temporarily_unavailable"},
		{"fosite's server_error", fosite.ErrServerError, http.StatusInternalServerError, "server_error"},
		{"any other", errors.New("hint-of-the-handler"), http.StatusInternalServerError, "server_error"},
	} {
		for _, form := range forms {
			t.Run(test.name+"/"+form.Get("grant_type"), func(t *testing.T) {
				*p.spy = spy{refusal: test.refusal}
				status, answer := p.token(t, form)
				if status != test.status || answer["error"] != test.code {
					t.Errorf("%d %v, want %d %s", status, answer, test.status, test.code)
				}
				if description, _ := answer["error_description"].(string); strings.Contains(description, "hint-of-the-handler") {
					t.Errorf("the answer repeats a hint: %v", answer)
				}
			})
		}
	}
	*p.spy = spy{}
	for _, form := range forms {
		if status, answer := p.token(t, form); status != http.StatusOK {
			t.Errorf("%s afterwards: %d %v", form.Get("grant_type"), status, answer)
		}
	}
}

// TestWithoutHandlersNoTokens: each grant is the work of the handlers in fosite's
// pipeline and of nothing else.
func TestWithoutHandlersNoTokens(t *testing.T) {
	p := newPipeline(t)
	forms := p.grants(t)
	all := p.config.TokenEndpointHandlers
	p.config.TokenEndpointHandlers = fosite.TokenEndpointHandlers{registeredGrantTypes{}, p.spy, tokenResponse{}}
	for _, form := range forms {
		if status, answer := p.token(t, form); status == http.StatusOK {
			t.Errorf("%s without its handler: %v", form.Get("grant_type"), answer)
		}
	}
	p.config.TokenEndpointHandlers = all
	for _, form := range forms {
		if status, answer := p.token(t, form); status != http.StatusOK {
			t.Errorf("%s with its handler: %d %v", form.Get("grant_type"), status, answer)
		}
	}
}

// TestAuthorizeComesThroughFosite: fosite's pipeline makes the authorize response,
// and its own handler makes the code.
func TestAuthorizeComesThroughFosite(t *testing.T) {
	p := newPipeline(t)
	w := p.request(t)
	target, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusSeeOther {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	query := target.Query()
	if query.Get("spy") != "was here" || !strings.HasPrefix(query.Get("code"), "ac_") || query.Get("iss") != "https://auth.example.com" {
		t.Errorf("the response is %v", query)
	}
	if want := []string{"code for " + p.f.Client.ClientID}; !slices.Equal(p.spy.authorized, want) {
		t.Errorf("the spy has seen %q, want %q", p.spy.authorized, want)
	}

	p.spy.refusal = storage.ErrUnavailable
	if w := p.request(t); w.Code != http.StatusServiceUnavailable || w.Header().Get("Location") != "" {
		t.Errorf("with an outage in the pipeline: %d %s", w.Code, w.Header().Get("Location"))
	}
	p.spy.refusal = nil
	p.config.AuthorizeEndpointHandlers = fosite.AuthorizeEndpointHandlers{p.spy}
	if w := p.request(t); w.Code < 500 || w.Header().Get("Location") != "" {
		t.Errorf("without fosite's handler: %d %s", w.Code, w.Header().Get("Location"))
	}
}

// rowsOnly are Clients of which none describes itself in a document.
type rowsOnly struct{ *catalog.Catalog }

func (r rowsOnly) Client(ctx context.Context, clientID string, _ bool) (*storage.Client, error) {
	return r.Catalog.Client(ctx, clientID)
}

// everybody admits every client.
type everybody struct{}

func (everybody) Client(context.Context, *storage.Client) (storage.RegistrationMode, error) {
	return storage.RegistrationAllow, nil
}

func (everybody) Known(context.Context, *storage.Client) (string, error) { return "", nil }

func (everybody) Strange(*storage.Client) []string { return nil }

func (everybody) Level(context.Context, *storage.Client) (storage.ClientTrust, error) {
	return storage.TrustRegistered, nil
}
