package server_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

const dynamicCallback = "https://dynamic.example/callback"

// front is a house seen from a browser: alice has signed in, and there is a client
// that an admin registered and one that registered itself.
type front struct {
	*house
	t       testing.TB
	store   *quietStore
	alice   *servertest.Browser
	web     string // client_id; its redirect URI is webCallback
	secret  string // of web
	dynamic string // client_id; its redirect URI is dynamicCallback
}

func newFront(t testing.TB, opts ...servertest.Option) *front {
	t.Helper()
	store := &quietStore{Store: servertest.SQLite(t)}
	h := newHouse(t, append([]servertest.Option{servertest.WithRegistration(storage.RegistrationAllow, storage.RegistrationOff), servertest.WithStore(store)}, opts...)...)
	web := credentialsOf(h.SecretClient(webCallback))
	f := &front{house: h, t: t, store: store, alice: h.SignedIn("alice"), web: web.id, secret: web.secret}
	f.dynamic = f.registered(t, `{"client_name":"Dynamic","token_endpoint_auth_method":"none","redirect_uris":["`+dynamicCallback+`"]}`).String("client_id")
	return f
}

// tb is the test that the front stands in.
func (f *front) tb() testing.TB { return f.t }

// register posts client metadata to /register.
func (h *house) register(metadata string) *servertest.Answer {
	return h.Do(h.Request(http.MethodPost, "/register", metadata, http.Header{"Content-Type": {"application/json"}}))
}

// registered is register where it must succeed.
func (h *house) registered(t testing.TB, metadata string) servertest.Object {
	t.Helper()
	answer := h.register(metadata)
	if answer.Status != http.StatusCreated {
		t.Fatalf("registration: %d %s", answer.Status, answer.Body)
	}
	return answer.JSON
}

// ask is a complete request of the registered client, changed by pairs.
func (f *front) ask(pairs ...string) url.Values {
	return changed(servertest.AuthorizationRequest(f.web, webCallback, resourceURI), pairs...)
}

// askDynamic is ask for the client that registered itself.
func (f *front) askDynamic(pairs ...string) url.Values {
	return changed(servertest.AuthorizationRequest(f.dynamic, dynamicCallback, resourceURI), pairs...)
}

// quiet runs act and fails if it makes the server write anything.
func (f *front) quiet(t testing.TB, act func()) {
	t.Helper()
	before := f.store.writes.Load()
	act()
	if n := f.store.writes.Load() - before; n != 0 {
		t.Errorf("%d writes, want none", n)
	}
}

// wantRefusalPage checks a page that says no without sending the browser anywhere
// (P400 of the attack catalogue).
func wantRefusalPage(t testing.TB, page *servertest.Page) {
	t.Helper()
	if page.Left != nil || page.Status != http.StatusBadRequest || page.Header.Get("Location") != "" {
		t.Errorf("the answer is %d, left for %v, Location %q; want a page with 400\n%s", page.Status, page.Left, page.Header.Get("Location"), page.Body)
	}
	wantPageHeaders(t, page.Answer, true)
}

// wantPageHeaders checks the headers of a page. formAction says whether its forms
// must stay on this server.
func wantPageHeaders(t testing.TB, answer *servertest.Answer, formAction bool) {
	t.Helper()
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
	if formAction {
		policy += "; form-action 'self'"
	}
	for name, want := range map[string]string{
		"Content-Type":                 "text/html; charset=utf-8",
		"Content-Security-Policy":      policy,
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "same-origin",
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), microphone=(), geolocation=(), payment=(), usb=(), publickey-credentials-get=(), publickey-credentials-create=()",
		"Cache-Control":                "no-store",
	} {
		if got := answer.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	wantNoCORS(t, answer)
}

func wantNoCORS(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	for name := range answer.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("there is %s: %s", name, answer.Header.Get(name))
		}
	}
}

// wantRedirectError checks an error that is told to the client (ERR of the attack
// catalogue): in the query of the redirect URI, each parameter once, with iss and
// the state as sent, and never a code.
func (h *house) wantRedirectError(t testing.TB, page *servertest.Page, redirectURI, state, code string) {
	t.Helper()
	if page.Left == nil || page.Status != http.StatusSeeOther {
		t.Errorf("the answer is %d at %s, want 303 to the client with %s\n%s", page.Status, page.URL, code, page.Body)
		return
	}
	h.wantErrorResponse(t, page.Left.String(), redirectURI, state, code)
	if page.Header.Get("Cache-Control") != "no-store" || page.Header.Get("Content-Security-Policy") == "" && page.Body != "" {
		t.Errorf("the redirect has a body or may be stored: %v\n%s", page.Header, page.Body)
	}
}

func (h *house) wantErrorResponse(t testing.TB, target, redirectURI, state, code string) {
	t.Helper()
	got := h.responseParameters(t, target, redirectURI)
	if got.Get("error") != code || got.Has("code") {
		t.Errorf("the response is %v, want error %s", got, code)
	}
	if got.Has("state") != (state != "") || got.Get("state") != state {
		t.Errorf("state is %q, want %q", got["state"], state)
	}
	for name := range got {
		if !slices.Contains([]string{"error", "error_description", "state", "iss"}, name) {
			t.Errorf("the response has %q", name)
		}
	}
	for _, c := range []byte(got.Get("error_description")) {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			t.Errorf("error_description has %q", c)
		}
	}
}

// responseParameters reads what was added to a redirect URI: iss always, and
// nothing twice.
func (h *house) responseParameters(t testing.TB, target, redirectURI string) url.Values {
	t.Helper()
	added, ok := strings.CutPrefix(target, redirectURI)
	if !ok || added == "" || (added[0] != '?' && added[0] != '&') || (added[0] == '&') != strings.Contains(redirectURI, "?") {
		t.Fatalf("left for %s, which is not the redirect URI %s with parameters", target, redirectURI)
	}
	got, err := url.ParseQuery(added[1:])
	if err != nil {
		t.Fatalf("left for %s: %v", target, err)
	}
	for name, values := range got {
		if len(values) != 1 {
			t.Errorf("%s is there %d times", name, len(values))
		}
	}
	if got.Get("iss") != h.URL {
		t.Errorf("iss is %q, want the issuer %q", got["iss"], h.URL)
	}
	return got
}

// quietStore counts the writes that a request to the front doors could make.
type quietStore struct {
	storage.Store
	writes atomic.Int64
}

func (s *quietStore) CreateCode(ctx context.Context, c *storage.AuthorizationCode, sessionID string) error {
	s.writes.Add(1)
	return s.Store.CreateCode(ctx, c, sessionID)
}

func (s *quietStore) Approve(ctx context.Context, a *storage.Approval, event storage.AuditEvent) error {
	s.writes.Add(1)
	return s.Store.Approve(ctx, a, event)
}

func (s *quietStore) CreatePushedRequest(ctx context.Context, p *storage.PushedRequest, maxKept int) error {
	s.writes.Add(1)
	return s.Store.CreatePushedRequest(ctx, p, maxKept)
}

func (s *quietStore) DenyPushedRequest(ctx context.Context, denied *storage.AuthorizationCode) error {
	s.writes.Add(1)
	return s.Store.DenyPushedRequest(ctx, denied)
}

func (s *quietStore) RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error {
	s.writes.Add(1)
	return s.Store.RecordAuditEvent(ctx, event)
}

func (s *quietStore) CreateDynamicClient(ctx context.Context, r *storage.Registration, event storage.AuditEvent) (bool, error) {
	s.writes.Add(1)
	return s.Store.CreateDynamicClient(ctx, r, event)
}

func (s *quietStore) UpdateDynamicClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	s.writes.Add(1)
	return s.Store.UpdateDynamicClient(ctx, c, event)
}

func (s *quietStore) DeleteClient(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	s.writes.Add(1)
	return s.Store.DeleteClient(ctx, id, version, event)
}

func (s *quietStore) AskRegistration(ctx context.Context, r *storage.RegistrationRequest, userID string, limits storage.RequestLimits, event storage.AuditEvent) error {
	s.writes.Add(1)
	return s.Store.AskRegistration(ctx, r, userID, limits, event)
}

func (s *quietStore) CreateSession(ctx context.Context, session *storage.Session, event storage.AuditEvent) error {
	s.writes.Add(1)
	return s.Store.CreateSession(ctx, session, event)
}
