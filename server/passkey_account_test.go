package server_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// making sends what the browser has made for the page, under a name.
func making(t testing.TB, b *servertest.Browser, page *servertest.Page, a *authenticator, pairs ...string) *servertest.Page {
	t.Helper()
	answer := hidden(page, a.created(t, page))
	answer.Set("passkey_name", "Test key")
	return b.Post(page.Action(), changed(answer, pairs...))
}

// TestWrongEnrolment has a passkey made for somebody or something else, or in another
// way than was asked. Nothing is kept.
func TestWrongEnrolment(t *testing.T) {
	o := newNamedOffice(t)
	url := o.URL + "/account/security/passkey"
	challenge := inBase64(make([]byte, 32))
	b := o.SignedIn("alice")
	for name, lie := range map[string]func(a *authenticator){
		"origin":            func(a *authenticator) { a.origin = "https://evil.example" },
		"relying party":     func(a *authenticator) { a.rpID = "evil.example" },
		"challenge":         func(a *authenticator) { a.answered = &challenge },
		"kind":              func(a *authenticator) { a.kind = "webauthn.get" },
		"user not verified": func(a *authenticator) { a.flags &^= userVerified },
		"user not present":  func(a *authenticator) { a.flags &^= userPresent },
		"credential id":     func(a *authenticator) { a.id = make([]byte, 1024) },
	} {
		a := newAuthenticator(t, o.Server)
		lie(a)
		page := making(t, b, b.Get(url), a)
		if page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "The passkey could not be made.") {
			t.Errorf("%s: %d", name, page.Status)
		}
	}
	page := b.Get(url)
	for name, fields := range map[string][]string{
		"no name": {"passkey_name", " "}, "long name": {"passkey_name", strings.Repeat("é", 101)}, "unseen": {"passkey_name", "a\u202eb"},
		"no answer": {"passkey", ""}, "no JSON": {"passkey", "x"}, "forged": {"challenge", ceremonyOn(t, page).sealed + "AAAA"},
	} {
		if page := making(t, b, page, newAuthenticator(t, o.Server), fields...); page.Status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, page.Status)
		}
	}
	t.Run("the page of another session", func(t *testing.T) {
		other := o.SignedIn("alice")
		mine, theirs := other.Get(url), b.Get(url)
		answer := newAuthenticator(t, o.Server).created(t, theirs)
		late := other.Post(url, changed(answer, "page", mine.Fields().Get("page"), "passkey_name", "Theirs"))
		if late.Status != http.StatusBadRequest || !strings.Contains(late.Body, "you have signed in again since") {
			t.Errorf("%d %s", late.Status, late.Body)
		}
	})
	t.Run("expired", func(t *testing.T) {
		page := b.Get(url)
		o.Clock.Advance(5*time.Minute + time.Second)
		if late := making(t, b, page, newAuthenticator(t, o.Server)); late.Status != http.StatusBadRequest || !strings.Contains(late.Body, "That took too long") {
			t.Errorf("%d", late.Status)
		}
	})
	if n := len(o.factorsOf(t, "alice").Passkeys); n != 0 {
		t.Fatalf("%d passkeys", n)
	}
	t.Run("a credential that exists", func(t *testing.T) {
		o.User("bob")
		taken := o.enrolPasskey(t, o.SignedIn("bob"))
		b := o.SignedIn("alice")
		if page := making(t, b, b.Get(url), taken); page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "That passkey is in use already.") {
			t.Errorf("%d %s", page.Status, page.Body)
		}
	})
	t.Run("twenty are enough", func(t *testing.T) {
		b := o.SignedIn("alice")
		page := b.Get(url)
		for i := range storage.MaxPasskeys {
			p := &storage.Passkey{
				ID: storage.NewID(storage.PrefixPasskey), UserID: o.find(t, "/users", "username", "alice"), CredentialID: []byte{byte(i)}, PublicKey: []byte{1},
				Name: strconv.Itoa(i), CreatedAt: o.Clock.Now(), ChallengedAt: o.Clock.Now(),
			}
			if err := o.Store.CreatePasskey(t.Context(), p, storage.NewAuditEvent(o.Clock.Now(), "system", "passkey.created", p.ID)); err != nil {
				t.Fatal(err)
			}
		}
		// This sign-in is no longer one with all that she has.
		if page := making(t, b, page, newAuthenticator(t, o.Server)); !page.IsLogin() {
			t.Errorf("%d at %s", page.Status, page.URL)
		}
	})
}

// TestPasskeysOnTheAccount has somebody make a second passkey, rename the first and
// remove both, each with a fresh sign-in that has all that they have.
func TestPasskeysOnTheAccount(t *testing.T) {
	o := newNamedOffice(t)
	stale, b := o.SignedIn("alice"), o.SignedIn("alice")
	if page := b.Get(o.URL + "/account/security"); !strings.Contains(page.Body, "With a passkey you sign in as you unlock your device") {
		t.Errorf("%s", page.Body)
	}
	key := o.enrolPasskey(t, b)
	other := o.enrolPasskey(t, b)
	security := func(b *servertest.Browser, act, id, name string) *servertest.Page {
		page := b.Get(o.URL + "/account/security")
		return b.Post(page.Action(), servertest.Form("page", page.Fields().Get("page"), "act", act, "passkey", id, "name", name))
	}
	first, second := o.factorsOf(t, "alice").Passkeys[0], o.factorsOf(t, "alice").Passkeys[1]
	for _, act := range []string{"rename_passkey", "remove_passkey"} {
		if page := security(stale, act, first.ID, "Mine"); !page.IsLogin() {
			t.Errorf("%s with the password alone: %d at %s", act, page.Status, page.URL)
		}
	}
	if page := stale.Get(o.URL + "/account/security/passkey"); !page.IsLogin() {
		t.Errorf("making one with the password alone: %d at %s", page.Status, page.URL)
	}
	if page := security(b, "rename_passkey", first.ID, "  Büro <b> "); !strings.Contains(page.Body, "Büro &lt;b&gt;") || !strings.Contains(page.Body, "The passkey has its new name.") {
		t.Errorf("%s", page.Body)
	}
	for _, name := range []string{"", "\u200b", strings.Repeat("x", 101)} {
		wantStatus(t, security(b, "rename_passkey", first.ID, name), http.StatusBadRequest)
	}
	o.User("bob")
	bob := o.SignedIn("bob")
	o.enrolPasskey(t, bob)
	for _, act := range []string{"rename_passkey", "remove_passkey"} {
		security(bob, act, second.ID, "Bob's")
	}
	if p := o.factorsOf(t, "alice").Passkeys; len(p) != 2 || p[0].Name != "Büro <b>" || p[1].Name != "Test key" {
		t.Errorf("%+v", p)
	}
	if page := security(b, "remove_passkey", first.ID, ""); !strings.Contains(page.Body, "The passkey is removed.") {
		t.Errorf("%s", page.Body)
	}
	browser := o.Browser()
	wantStatus(t, use(t, browser, browser.Get(o.URL+"/login"), key), http.StatusUnauthorized)
	wantAccount(t, use(t, browser, browser.Get(o.URL+"/login"), other))

	// The last one may go too, as there is a password.
	security(b, "remove_passkey", second.ID, "")
	wantAccount(t, o.password(o.Browser(), ""))
	for action, want := range map[string]int{"passkey.created": 3, "passkey.renamed": 1, "passkey.deleted": 2} {
		if n := o.audited(t, action); n != want {
			t.Errorf("%d events %s", n, action)
		}
	}
	activity := b.Get(o.URL + "/account/activity").Body
	for _, sentence := range []string{"You made a passkey.", "You renamed a passkey.", "You removed a passkey."} {
		if !strings.Contains(activity, sentence) {
			t.Errorf("the activity does not say %q", sentence)
		}
	}
}

// An issuer with an IP address has no passkeys, and says so.
func TestNoPasskeysAtAnAddress(t *testing.T) {
	o := newOffice(t)
	for _, path := range []string{"/login", "/account/security", "/account/security/passkey"} {
		b := o.alice
		if path == "/login" {
			b = o.Browser()
		}
		page := b.Get(o.URL + path)
		if strings.Contains(page.Body, "data-passkey") || strings.Contains(page.Body, "<script") || strings.Contains(page.Header.Get("Content-Security-Policy"), "script") {
			t.Errorf("%s offers passkeys", path)
		}
		if path != "/login" && !strings.Contains(page.Body, "This server is reached by an IP address, where browsers allow no passkeys.") {
			t.Errorf("%s does not say why: %s", path, page.Body)
		}
	}
	b := o.Browser()
	wantStatus(t, b.Post(o.URL+"/login", servertest.Form("challenge", "x", "passkey", "{}")), http.StatusBadRequest)
	status, problem := o.Call(http.MethodPatch, "/sign-in-policy", servertest.Object{"second_factor": "passkeys_only"})
	if faults, _ := problem["errors"].([]any); status != http.StatusBadRequest || len(faults) != 1 || !strings.Contains(problem.String("detail"), "/second_factor") {
		t.Errorf("%d %v", status, problem)
	}
	if policy := o.Must(http.MethodGet, "/sign-in-policy", nil); policy.String("second_factor") != "none" {
		t.Errorf("%v", policy)
	}
}

// Only pages that need the browser's passkeys get its leave, and the one script; the
// consent page never does.
func TestPasskeyPageHeaders(t *testing.T) {
	o := newNamedOffice(t)
	b := o.SignedIn("alice")
	for target, needs := range map[string]bool{
		"/login?" + stepUpRequest(o): true, "/account/security/passkey": true,
		"/account/security": false, "/account/security/totp": false, "/account": false,
		"/authorize?" + servertest.AuthorizationRequest(o.clientID, loopback, resourceURI).Encode(): false,
	} {
		page := b.Get(o.URL + target)
		policy, permissions := page.Header.Get("Content-Security-Policy"), page.Header.Get("Permissions-Policy")
		allowed := "publickey-credentials-get=(), publickey-credentials-create=()"
		if needs {
			allowed = "publickey-credentials-get=(self), publickey-credentials-create=(self)"
		}
		if strings.Contains(policy, "; script-src 'self'") != needs || strings.Contains(page.Body, "<script") != needs || !strings.HasSuffix(permissions, allowed) {
			t.Errorf("%s: %q and %q", target, policy, permissions)
		}
	}
}

// withoutPasskeys is a Store whose passkeys are away when told so.
type withoutPasskeys struct {
	storage.Store
	down atomic.Bool
}

func (s *withoutPasskeys) PasskeyByCredential(ctx context.Context, id []byte) (*storage.Passkey, error) {
	if s.down.Load() {
		return nil, storage.ErrUnavailable
	}
	return s.Store.PasskeyByCredential(ctx, id)
}

func (s *withoutPasskeys) CreatePasskey(ctx context.Context, p *storage.Passkey, event storage.AuditEvent) error {
	if s.down.Load() {
		return storage.ErrUnavailable
	}
	return s.Store.CreatePasskey(ctx, p, event)
}

// An outage is 503, and is counted against nobody.
func TestPasskeyOutage(t *testing.T) {
	store := &withoutPasskeys{Store: servertest.SQLite(t)}
	o := newNamedOffice(t, servertest.WithStore(store))
	alice := o.SignedIn("alice")
	key := o.enrolPasskey(t, alice)
	b := o.Browser()
	login, made, step := b.Get(o.URL+"/login"), alice.Get(o.URL+"/account/security/passkey"), o.password(b, "")
	store.down.Store(true)
	for range 31 {
		wantStatus(t, use(t, b, login, key), http.StatusServiceUnavailable)
	}
	wantStatus(t, use(t, b, step, key), http.StatusServiceUnavailable)
	wantStatus(t, making(t, alice, made, newAuthenticator(t, o.Server)), http.StatusServiceUnavailable)
	store.down.Store(false)
	wantAccount(t, use(t, b, login, key))
}

// Forty posts of one assertion race at two replicas: one signs in.
func TestPasskeyRace(t *testing.T) {
	database := servertest.MigratedPostgres(t)
	o := newNamedOffice(t, servertest.WithStore(servertest.OpenPostgres(t, database)))
	replica := servertest.New(t, servertest.ReplicaOf(o.Server), servertest.WithHost("localhost"), servertest.WithStore(servertest.OpenPostgres(t, database)))
	alice := o.SignedIn("alice")
	key := o.enrolPasskey(t, alice)
	form := key.signed(t, o.Browser().Get(o.URL+"/login")).Encode()
	servers := []*servertest.Server{o.Server, replica}
	var in, out atomic.Int64
	race(racers, func(i int) {
		at := servers[i%2]
		answer := at.Browser().Send(http.MethodPost, at.URL+"/login", form, http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		switch answer.Status {
		case http.StatusSeeOther:
			in.Add(1)
		case http.StatusUnauthorized, http.StatusTooManyRequests:
			out.Add(1)
		default:
			t.Errorf("%d", answer.Status)
		}
	})
	if in.Load() != 1 || out.Load() != racers-1 {
		t.Errorf("%d signed in, %d did not", in.Load(), out.Load())
	}
}
