package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"grantd/api"
	"grantd/migrations"
	"grantd/server/admin"
	"grantd/server/audit"
	"grantd/server/catalog"
	"grantd/server/keys"
	"grantd/server/leaked"
	"grantd/server/profiles"
	"grantd/server/registration"
	"grantd/server/upstream"
	"grantd/storage"
	"grantd/storage/sqlite"
)

const (
	key      = "first-admin-key-of-this-test-0123456789"
	otherKey = "other-admin-key-of-this-test-0123456789"
	host     = "127.0.0.1:8081"
	issuer   = "https://auth.example.com/tenant"
)

var start = time.Date(2026, time.November, 23, 9, 30, 0, 123_456_000, time.UTC)

// server is the handler over a database of its own.
type server struct {
	t       *testing.T
	handler http.Handler
	store   storage.Store
	signing *keys.Signing // has no keys before makeKeys
	chain   *audit.Chain

	mu        sync.Mutex
	now       time.Time
	mailed    []string // addresses and links
	mailFails error
	hashed    []string // the passwords that were given to HashPassword
}

// newServer starts a server. wrap may put something between it and the database.
func newServer(t *testing.T, wrap ...func(admin.Store) admin.Store) *server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "grantd.db")
	if err := migrations.Up(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	// A clock shows more digits than a database keeps.
	s := &server{t: t, store: store, now: start.Add(789 * time.Nanosecond)}
	var inner admin.Store = store
	for _, w := range wrap {
		inner = w(inner)
	}
	now := func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}
	root, err := keys.NewRoot([]byte("root-key-of-this-test-0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	s.signing = &keys.Signing{Store: store, Root: root, Algorithm: "ES256", Now: now}
	known, err := profiles.Load(registration.CheckDocument)
	if err != nil {
		t.Fatal(err)
	}
	s.chain = &audit.Chain{Store: store, Root: root, Now: now}
	s.handler = admin.New(admin.Config{
		Store: inner, Issuer: issuer, SigningKeys: s.signing, Tokens: exampleTokens{}, Sealer: root, Chain: s.chain,
		Trust:     &registration.Trust{Policies: catalog.New(store, nil), Profiles: known},
		Providers: fakeProviders{},
		CheckURL: func(url string) error {
			if strings.HasPrefix(url, "https://") && strings.HasSuffix(url, "/.well-known/openid-configuration") {
				return nil
			}
			return errors.New("not fetched")
		},
		HashPassword: func(_ context.Context, password string) (string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.hashed = append(s.hashed, password)
			return "$hashed$" + string(rune('a'+len(s.hashed))), nil
		},
		Keys:           []string{key, otherKey, "short"},
		Resource:       storage.AdminResource(issuer + "/admin"),
		Hosts:          []string{"127.0.0.1", "localhost"},
		Profiles:       known,
		OffersPasskeys: true,
		LinkURL:        func(token string) string { return "https://auth.example.com/account/link?token=" + token },
		Mail: func(_ context.Context, to *storage.User, _ *storage.UserLink, url string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.mailed = append(s.mailed, to.Email+" "+url)
			return s.mailFails
		},
		Now: now,
	})
	return s
}

// fakeProviders stand in for the room that talks with providers.
type fakeProviders struct{}

func (fakeProviders) Seal(id, secret string) []byte {
	return []byte("sealed for " + id + ":" + strings.Repeat("x", len(secret)))
}

func (f fakeProviders) HasSecret(p *storage.Provider, secret string) bool {
	return bytes.Equal(p.SealedClientSecret, f.Seal(p.ID, secret))
}

func (fakeProviders) RedirectURI(id string) string {
	return "https://auth.example/login/upstream/" + id + "/callback"
}

func (fakeProviders) Test(context.Context, *storage.Provider, string) upstream.Report {
	return upstream.Report{
		Checks: []upstream.Check{{Name: "metadata", OK: true, Detail: "is there"}},
		Person: &upstream.Person{Issuer: "https://idp.example", Subject: "1", Name: "Bea"},
	}
}

// makeKeys makes the signing keys, as a server does when it starts.
func (s *server) makeKeys() []*storage.SigningKey {
	s.t.Helper()
	if err := s.signing.Load(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	all, err := s.store.SigningKeys(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// later moves the clock on.
func (s *server) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// answer is a response whose body was read.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
	// documented: openapi.yaml has the operation, and the answer was compared
	// with it.
	documented bool
}

// send sends a request with the admin key and, if there is one, a JSON body. Each
// answer is compared with openapi.yaml.
func (s *server) send(method, path, body string) *answer {
	s.t.Helper()
	return s.do(s.request(method, path, body))
}

func (s *server) request(method, path, body string) *http.Request {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(s.t.Context(), method, "http://"+host+path, reader)
	r.RequestURI = path
	r.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (s *server) do(r *http.Request) *answer {
	s.t.Helper()
	forDocument := r.Clone(r.Context())
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, r)
	response := recorder.Result()
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := &answer{t: s.t, status: response.StatusCode, header: response.Header, body: body}
	a.checkAlways(forDocument)
	return a
}

// checkAlways checks what holds for every answer of the API.
func (a *answer) checkAlways(r *http.Request) {
	a.t.Helper()
	if a.status == http.StatusMisdirectedRequest {
		return // refused before the API
	}
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") {
			a.t.Errorf("%s %s: has the CORS header %s", r.Method, r.URL.Path, name)
		}
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		a.t.Errorf("%s %s: Cache-Control = %q", r.Method, r.URL.Path, got)
	}
	if hasNull(a.body) {
		a.t.Errorf("%s %s: the answer has a null: %s", r.Method, r.URL.Path, a.body)
	}
	if a.status >= 400 && a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Errorf("%s %s: %d with Content-Type %q", r.Method, r.URL.Path, a.status, a.header.Get("Content-Type"))
	}
	var err error
	if a.documented, err = checkWithDocument(r, a); err != nil {
		a.t.Errorf("%s %s: %d is not as openapi.yaml says: %v\n%s", r.Method, r.URL.Path, a.status, err, a.body)
	}
}

// want fails the test unless the status is this one.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status = %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// wantProblem fails the test unless the answer is a problem with this code.
func (a *answer) wantProblem(status int, code string) api.Problem {
	a.t.Helper()
	problem := into[api.Problem](a.want(status))
	if problem.Type != "urn:grantd:problem:"+code || problem.Status != status || problem.Detail == "" {
		a.t.Fatalf("problem = %+v, want the code %q", problem, code)
	}
	if !strings.HasPrefix(problem.Instance, "urn:grantd:request:") || strings.HasSuffix(problem.Instance, ":") {
		a.t.Errorf("instance = %q", problem.Instance)
	}
	return problem
}

// into decodes the body of an answer.
func into[T any](a *answer) T {
	a.t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// create posts a body and returns what was created.
func create[T any](s *server, path, body string) T {
	s.t.Helper()
	return into[T](s.send(http.MethodPost, path, body).want(http.StatusCreated))
}

var document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(api.Document)
})

var documentRouter = sync.OnceValues(func() (routers.Router, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// checkWithDocument compares an answer with what openapi.yaml says about the
// operation, if it has it.
func checkWithDocument(r *http.Request, a *answer) (documented bool, err error) {
	router, err := documentRouter()
	if err != nil {
		return false, err
	}
	route, pathParams, err := router.FindRoute(r)
	if err != nil {
		return false, nil //nolint:nilerr // not an operation of the document
	}
	return true, openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: pathParams, Route: route},
		Status:                 a.status,
		Header:                 a.header,
		Body:                   io.NopCloser(bytes.NewReader(a.body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}

// hasNull reports whether a JSON document has a null anywhere.
func hasNull(document []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(document))
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if token == nil {
			return true
		}
	}
}

// exampleTokens knows the value of the examples only; what the values of a real
// server are is tried in package server.
type exampleTokens struct{}

const exampleToken = "tok_06h0q8zexdy5gvb48r2e2n0v5r_fam_06h0q8zexdy6k3e1a7w9c2m4tc"

func (exampleTokens) InspectValue(_ context.Context, value string) (*leaked.Value, error) {
	if value != exampleToken {
		return nil, storage.ErrNotFound
	}
	return &leaked.Value{Kind: leaked.TokenID, TokenID: value, FamilyID: value[31:], FamilyLive: true, IssuedAt: start}, nil
}

func (t exampleTokens) RevokeValue(ctx context.Context, value string, _ storage.AuditEvent) (*leaked.Value, error) {
	return t.InspectValue(ctx, value)
}
