package login_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grantd/migrations"
	"grantd/server/keys"
	"grantd/server/login"
	"grantd/server/password"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/storage/sqlite"
	"grantd/templates"
)

// house is the two doors of package login on a real listener and database. Its
// clock moves only by hand.
type house struct {
	URL    string // of the issuer
	store  *breakableStore
	hasher *password.Hasher

	mu  sync.Mutex
	now time.Time
}

type breakableStore struct {
	storage.Store
	down atomic.Bool
}

func (s *breakableStore) UserByUsername(ctx context.Context, username string) (*storage.User, error) {
	if s.down.Load() {
		return nil, storage.ErrUnavailable
	}
	return s.Store.UserByUsername(ctx, username)
}

func (s *breakableStore) SignIn(ctx context.Context, hash []byte, look storage.Look, now time.Time) (*storage.SignIn, error) {
	if s.down.Load() {
		return nil, storage.ErrUnavailable
	}
	return s.Store.SignIn(ctx, hash, look, now)
}

type options struct {
	path       string // of the issuer
	concurrent int    // hashes at once
	proxied    bool   // requests come through a trusted proxy
	purpose    func(context.Context, string) login.Purpose
}

func newHouse(t *testing.T, o options) *house {
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
	pages, err := templates.New()
	if err != nil {
		t.Fatal(err)
	}
	root, err := keys.NewRoot(make([]byte, keys.RootKeySize))
	if err != nil {
		t.Fatal(err)
	}

	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	issuer, err := web.ParseIssuer("http://" + server.Listener.Addr().String() + o.path)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{
		URL: issuer.String(), store: &breakableStore{Store: store}, hasher: password.NewHasher(max(o.concurrent, 1)),
		now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC),
	}
	var addresses web.Addresses
	if o.proxied {
		addresses.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	handler := login.New(login.Config{
		Pages: &web.Pages{Templates: pages, Issuer: issuer}, Store: h.store, Hasher: h.hasher, Addresses: addresses, Now: h.clock, Purpose: o.purpose,
		Sessions: &session.Manager{Store: h.store, Issuer: issuer, Sealer: root, Now: h.clock},
	})
	mux := http.NewServeMux()
	mux.Handle(o.path+"/login", handler.Login())
	mux.Handle(o.path+"/logout", handler.Logout())
	server.Config.Handler = mux // without web.Guard, whose deadline is of real time
	server.Start()
	return h
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// user creates a user whose password is "right", or with change something else.
func (h *house) user(t *testing.T, username string, change ...func(*storage.User)) *storage.User {
	t.Helper()
	hash, err := h.hasher.Hash(t.Context(), right)
	if err != nil {
		t.Fatal(err)
	}
	u := &storage.User{
		ID: storage.NewID(storage.PrefixUser), Username: username, Name: "Demo " + username, PasswordHash: hash,
		CreatedAt: h.clock(), UpdatedAt: h.clock(),
	}
	for _, f := range change {
		f(u)
	}
	if err := h.store.CreateUser(t.Context(), u, storage.NewAuditEvent(h.clock(), "system", "user.created", u.ID)); err != nil {
		t.Fatal(err)
	}
	return u
}

func (h *house) actions(t *testing.T, action string) (found []*storage.AuditEvent) {
	t.Helper()
	events, err := h.store.AuditEvents(t.Context(), storage.AuditFilter{}, storage.Page{Limit: 10000})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Action == action {
			found = append(found, e)
		}
	}
	return found
}

const (
	right = "correct horse battery staple"
	query = "response_type=code&client_id=https%3A%2F%2Fapp.example%2Fc&scope=a+b&state=%7Bx%7D~'()!*"
)

// answer is what came back, body read.
type answer struct {
	*http.Response
	body string
}

func (a answer) cookie(name string) *http.Cookie {
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

type change func(*http.Request)

func header(name, value string) change {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func from(address string) change { return header("X-Forwarded-For", address) }

func with(cookies ...*http.Cookie) change {
	return func(r *http.Request) {
		for _, c := range cookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
}

var client = &http.Client{
	Transport:     &http.Transport{DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (h *house) send(t *testing.T, method, target, body string, changes ...change) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range changes {
		f(r)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(text)}
}

func (h *house) get(t *testing.T, target string, changes ...change) answer {
	t.Helper()
	return h.send(t, http.MethodGet, target, "", changes...)
}

// signIn posts the form as a program would: the two fields and nothing else.
func (h *house) signIn(t *testing.T, username, secret string, changes ...change) answer {
	t.Helper()
	return h.send(t, http.MethodPost, "/login", url.Values{"username": {username}, "password": {secret}}.Encode(), changes...)
}

func (a answer) want(t *testing.T, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("status %d, want %d; body: %.300s", a.StatusCode, status, a.body)
	}
}

// wantBlocked checks that the answer is a 429 that tells programs and people what
// to do.
func (a answer) wantBlocked(t *testing.T) {
	t.Helper()
	a.want(t, http.StatusTooManyRequests)
	if a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "Wait ") {
		t.Errorf("Retry-After %q, body %.300s", a.Header.Get("Retry-After"), a.body)
	}
	if len(a.Cookies()) > 0 {
		t.Errorf("cookies: %v", a.Cookies())
	}
}
