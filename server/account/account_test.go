package account_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grantd/migrations"
	"grantd/server/account"
	"grantd/server/catalog"
	"grantd/server/consent"
	"grantd/server/keys"
	"grantd/server/password"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/storage/sqlite"
	"grantd/templates"
)

// store fails look-ups while down.
type store struct {
	storage.Store
	down bool
}

func (s *store) SignIn(ctx context.Context, hash []byte, look storage.Look, now time.Time) (*storage.SignIn, error) {
	if s.down {
		return nil, storage.ErrUnavailable
	}
	return s.Store.SignIn(ctx, hash, look, now)
}

func TestAccount(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "grantd.db")
	if err := migrations.Up(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	database, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = database.Close() })
	pages, err := templates.New()
	if err != nil {
		t.Fatal(err)
	}
	root, err := keys.NewRoot(make([]byte, keys.RootKeySize))
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := web.ParseIssuer("https://auth.example.com/tenant")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	breakable := &store{Store: database}
	sessions := &session.Manager{Store: breakable, Issuer: issuer, Sealer: root, Now: func() time.Time { return now }}
	handler := account.New(account.Config{
		Pages: &web.Pages{Templates: pages, Issuer: issuer}, Sessions: sessions, Store: database, Catalog: catalog.New(database, nil),
		Hasher: password.NewHasher(1), Now: sessions.Now, Describe: consent.Describe,
		Rule: func(context.Context) (storage.SecondFactorRule, error) { return storage.SecondFactorNone, nil },
	}).Account()

	user := &storage.User{ID: storage.NewID(storage.PrefixUser), Username: "alice", Name: "<b>Alice</b>", CreatedAt: now, UpdatedAt: now}
	if err := database.CreateUser(t.Context(), user, storage.NewAuditEvent(now, "system", "user.created", user.ID)); err != nil {
		t.Fatal(err)
	}
	started := httptest.NewRecorder()
	if _, err := sessions.Start(started, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", nil), user, session.How{}); err != nil {
		t.Fatal(err)
	}
	cookies := (&http.Response{Header: started.Header()}).Cookies()

	call := func(method string, cookies []*http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, "/tenant/account", nil)
		for _, c := range cookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}

	page := call(http.MethodGet, cookies)
	if page.Code != http.StatusOK || !strings.Contains(page.Header().Get("Content-Security-Policy"), "form-action 'self'") {
		t.Errorf("status %d, headers %v", page.Code, page.Header())
	}
	for _, want := range []string{"alice", "&lt;b&gt;Alice&lt;/b&gt;", `<form method="post" action="/tenant/logout">`} {
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("%s is missing in %s", want, page.Body)
		}
	}
	if w := call(http.MethodGet, nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/tenant/login" {
		t.Errorf("nobody signed in: %d to %q", w.Code, w.Header().Get("Location"))
	}
	now = now.Add(storage.SessionIdle + time.Second)
	if w := call(http.MethodGet, cookies); w.Code != http.StatusSeeOther {
		t.Errorf("session over: %d", w.Code)
	}
	breakable.down = true
	if w := call(http.MethodGet, cookies); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("outage: %d", w.Code)
	}
}
