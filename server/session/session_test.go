package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/migrations"
	"grantd/server/keys"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/storage/sqlite"
)

// house is a Manager on a database of its own, with a clock that tests move.
type house struct {
	*session.Manager
	store *countingStore
	now   time.Time
}

// countingStore counts look-ups, and fails everything while down.
type countingStore struct {
	storage.Store
	lookups int
	down    bool
}

func (s *countingStore) SignIn(ctx context.Context, hash []byte, look storage.Look, now time.Time) (*storage.SignIn, error) {
	s.lookups++
	if s.down {
		return nil, storage.ErrUnavailable
	}
	return s.Store.SignIn(ctx, hash, look, now)
}

func (s *countingStore) DeleteSession(ctx context.Context, id string, event storage.AuditEvent) error {
	if s.down {
		return storage.ErrUnavailable
	}
	return s.Store.DeleteSession(ctx, id, event)
}

func newHouse(t *testing.T, issuer string) *house {
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
	parsed, err := web.ParseIssuer(issuer)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: &countingStore{Store: store}, now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	h.Manager = &session.Manager{Store: h.store, Issuer: parsed, Sealer: newRoot(t, 1), Now: func() time.Time { return h.now }}
	return h
}

func newRoot(t *testing.T, seed byte) *keys.Root {
	t.Helper()
	secret := make([]byte, keys.RootKeySize)
	secret[0] = seed
	root, err := keys.NewRoot(secret)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (h *house) user(t *testing.T, username string) *storage.User {
	t.Helper()
	u := &storage.User{ID: storage.NewID(storage.PrefixUser), Username: username, CreatedAt: h.now, UpdatedAt: h.now}
	if err := h.store.CreateUser(t.Context(), u, storage.NewAuditEvent(h.now, "system", "user.created", u.ID)); err != nil {
		t.Fatal(err)
	}
	return u
}

// start signs the user in and returns the cookies the browser then has.
func (h *house) start(t *testing.T, user *storage.User, before ...*http.Cookie) []*http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	if _, err := h.Start(w, request(t, before...), user, session.How{Method: "password", Address: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	return cookies(w)
}

func cookies(w *httptest.ResponseRecorder) []*http.Cookie {
	response := http.Response{Header: w.Header()}
	return response.Cookies()
}

func request(t *testing.T, cookies ...*http.Cookie) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/authorize", nil)
	for _, c := range cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

func find(t *testing.T, all []*http.Cookie, name string) *http.Cookie {
	t.Helper()
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no cookie %s in %v", name, all)
	return nil
}

func (h *house) signedIn(t *testing.T, cookies ...*http.Cookie) string {
	t.Helper()
	signIn, err := h.SignIn(request(t, cookies...), storage.Look{})
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return ""
	case err != nil:
		t.Fatal(err)
	}
	return signIn.User.Username
}

const (
	secureIssuer = "https://auth.example.com"
	plainIssuer  = "http://127.0.0.1:8080"
)

func TestSS01CookieAttributes(t *testing.T) {
	t.Parallel()
	for issuer, prefix := range map[string]string{secureIssuer: "__Host-", plainIssuer: ""} {
		t.Run(issuer, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, issuer)
			set := h.start(t, h.user(t, "alice"))
			if len(set) != 2 {
				t.Fatalf("cookies: %v", set)
			}
			type attributes struct {
				HTTPOnly, Secure bool
				SameSite         http.SameSite
				Path, Domain     string
				MaxAge           int
			}
			for name, maxAge := range map[string]int{"grantd_session": 0, "grantd_device": 90 * 24 * 60 * 60} {
				c := find(t, set, prefix+name)
				got := attributes{c.HttpOnly, c.Secure, c.SameSite, c.Path, c.Domain, c.MaxAge}
				want := attributes{true, prefix != "", http.SameSiteLaxMode, "/", "", maxAge}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.Name, diff)
				}
				if !c.Expires.IsZero() && maxAge == 0 {
					t.Errorf("%s outlives the browser", c.Name)
				}
			}
			if token := find(t, set, prefix+"grantd_session").Value; len(token) < 43 {
				t.Errorf("the token has only %d characters", len(token))
			}
		})
	}
}

func TestSS01DatabaseHoldsNoToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	token := find(t, h.start(t, h.user(t, "alice")), "__Host-grantd_session").Value
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, stolen := range [][]byte{[]byte(token), raw} {
		if _, err := h.store.SignIn(t.Context(), stolen, storage.Look{}, h.now); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the row is found by the token itself: %v", err)
		}
	}
}

// SS-02, SS-06: what is not plainly ours is no session and no database call.
func TestSS02SS06ForeignCookies(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	good := find(t, h.start(t, h.user(t, "alice")), "__Host-grantd_session")
	if got := h.signedIn(t, good); got != "alice" {
		t.Fatalf("signed in: %q", got)
	}
	flipped := "A" + good.Value[1:]
	if flipped == good.Value {
		flipped = "B" + good.Value[1:]
	}
	with := func(name, value string) *http.Cookie { return &http.Cookie{Name: name, Value: value} }
	for _, c := range []struct {
		name    string
		cookies []*http.Cookie
		lookups int
	}{
		{"none", nil, 0},
		{"doubled", []*http.Cookie{good, good}, 0},
		{"tossed beside ours", []*http.Cookie{with(good.Name, flipped), good}, 0},
		{"without prefix", []*http.Cookie{with("grantd_session", good.Value)}, 0},
		{"prefix in other case", []*http.Cookie{with("__host-grantd_session", good.Value)}, 0},
		{"empty", []*http.Cookie{with(good.Name, "")}, 0},
		{"truncated", []*http.Cookie{with(good.Name, good.Value[:42])}, 0},
		{"extended", []*http.Cookie{with(good.Name, good.Value+"A")}, 0},
		{"padded", []*http.Cookie{with(good.Name, good.Value+"=")}, 0},
		{"not base64", []*http.Cookie{with(good.Name, strings.Repeat("!", 43))}, 0},
		{"same bytes spelled otherwise", []*http.Cookie{with(good.Name, respell(good.Value))}, 0},
		{"long", []*http.Cookie{with(good.Name, strings.Repeat("A", 8000))}, 0},
		{"tampered", []*http.Cookie{with(good.Name, flipped)}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := h.store.lookups
			if got := h.signedIn(t, c.cookies...); got != "" {
				t.Errorf("signed in as %q", got)
			}
			if got := h.store.lookups - before; got != c.lookups {
				t.Errorf("%d database calls, want %d", got, c.lookups)
			}
		})
	}
}

// respell sets the last character's two unused bits, which a lax decoder drops.
func respell(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func TestSS06CookieOfAnotherServer(t *testing.T) {
	t.Parallel()
	one, two := newHouse(t, secureIssuer), newHouse(t, secureIssuer)
	set := one.start(t, one.user(t, "alice"))
	two.user(t, "alice")
	two.Sealer = newRoot(t, 2)
	if got := two.signedIn(t, set...); got != "" {
		t.Errorf("signed in as %q", got)
	}
	if device, ok := two.Device(request(t, set...)); ok {
		t.Errorf("known device %+v", device)
	}
}

func TestSS04IdleAndAbsoluteLifetime(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	alice := h.user(t, "alice")

	set := h.start(t, alice)
	h.now = h.now.Add(storage.SessionIdle - time.Second)
	if h.signedIn(t, set...) != "alice" {
		t.Error("ended before it was idle for long enough")
	}
	h.now = h.now.Add(storage.SessionIdle + time.Second)
	if h.signedIn(t, set...) != "" {
		t.Error("alive after being idle")
	}

	set = h.start(t, alice)
	for range 11 { // used every two hours
		h.now = h.now.Add(2 * time.Hour)
		if h.signedIn(t, set...) != "alice" {
			t.Fatal("ended while in use")
		}
	}
	h.now = h.now.Add(2*time.Hour + time.Second)
	if h.signedIn(t, set...) != "" {
		t.Error("alive after its whole life")
	}
}

func TestSS04CookieReplayAfterSignOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	set := h.start(t, h.user(t, "alice"))
	w := httptest.NewRecorder()
	if err := h.End(w, request(t, set...)); err != nil {
		t.Fatal(err)
	}
	if c := find(t, cookies(w), "__Host-grantd_session"); c.Value != "" || c.MaxAge != -1 {
		t.Errorf("the cookie stays: %v", c)
	}
	if h.signedIn(t, set...) != "" {
		t.Error("the old cookie still signs in")
	}
	if err := h.End(httptest.NewRecorder(), request(t, set...)); err != nil {
		t.Errorf("signing out twice: %v", err)
	}
}

func TestSignOutDuringAnOutageKeepsTheCookie(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	set := h.start(t, h.user(t, "alice"))
	h.store.down = true
	w := httptest.NewRecorder()
	if err := h.End(w, request(t, set...)); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("End: %v", err)
	}
	if set := cookies(w); len(set) > 0 {
		t.Errorf("cookies: %v", set)
	}
	if _, err := h.SignIn(request(t, set...), storage.Look{}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("SignIn: %v", err)
	}
}

func TestLG02SignInReplacesTheSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	mallory, alice := h.user(t, "mallory"), h.user(t, "alice")
	planted := find(t, h.start(t, mallory), "__Host-grantd_session")
	set := h.start(t, alice, planted)
	fresh := find(t, set, "__Host-grantd_session")
	if fresh.Value == planted.Value {
		t.Error("the planted token was adopted")
	}
	if got := h.signedIn(t, fresh); got != "alice" {
		t.Errorf("the new session is of %q", got)
	}
	if got := h.signedIn(t, planted); got != "" {
		t.Errorf("the planted session still is of %q", got)
	}

	invented := &http.Cookie{Name: fresh.Name, Value: strings.Repeat("A", 43)}
	if got := find(t, h.start(t, alice, invented), fresh.Name).Value; got == invented.Value {
		t.Error("an invented token was adopted")
	}
	if got := h.signedIn(t, invented); got != "" {
		t.Errorf("the invented token is of %q", got)
	}
}

func TestStartRefusesTheDisabled(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	alice := h.user(t, "alice")
	alice.Disabled = true
	if err := h.store.UpdateUser(t.Context(), alice, storage.NewAuditEvent(h.now, "system", "user.updated", alice.ID)); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	_, err := h.Start(w, request(t), alice, session.How{})
	if !errors.Is(err, storage.ErrNotFound) || len(cookies(w)) > 0 {
		t.Errorf("Start: %v, cookies %v", err, cookies(w))
	}
}

func TestSignInAndOutAreAudited(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	alice := h.user(t, "alice")
	set := h.start(t, alice, h.start(t, alice)...)
	if err := h.End(httptest.NewRecorder(), request(t, set...)); err != nil {
		t.Fatal(err)
	}
	events, err := h.store.AuditEvents(t.Context(), storage.AuditFilter{}, storage.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var acts []string
	for _, e := range events {
		if e.Actor != "user:"+alice.ID {
			continue
		}
		acts = append(acts, e.Action)
		if e.Action == "user.signed_in" {
			if diff := cmp.Diff(map[string]string{"method": "password", "address": "192.0.2.1"}, e.Detail); diff != "" {
				t.Errorf("detail (-want +got):\n%s", diff)
			}
		}
	}
	want := []string{"user.signed_in", "user.signed_in", "session.replaced", "user.signed_out"}
	if diff := cmp.Diff(want, acts); diff != "" {
		t.Errorf("acts (-want +got):\n%s", diff)
	}
}
