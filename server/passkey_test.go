package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// newNamedOffice is an office whose issuer has a host that can have passkeys.
func newNamedOffice(t testing.TB, opts ...servertest.Option) *office {
	t.Helper()
	return newOffice(t, append(opts, servertest.WithHost("localhost"))...)
}

// hidden are the fields of the page that a form for a passkey has besides its own.
func hidden(page *servertest.Page, answer url.Values) url.Values {
	for _, name := range []string{"step", "page", "token"} {
		if value := page.Fields().Get(name); value != "" {
			answer.Set(name, value)
		}
	}
	return answer
}

// use has a passkey sign on a page, and sends that.
func use(t testing.TB, b *servertest.Browser, page *servertest.Page, a *authenticator) *servertest.Page {
	t.Helper()
	return b.Post(page.Action(), hidden(page, a.signed(t, page)))
}

// enrolPasskey has a passkey made on the account page, by somebody who is signed in
// with all that they have.
func (o *office) enrolPasskey(t testing.TB, b *servertest.Browser) *authenticator {
	t.Helper()
	a := newAuthenticator(t, o.Server)
	page := b.Get(o.URL + "/account/security/passkey")
	answer := hidden(page, a.created(t, page))
	answer.Set("passkey_name", "Test key")
	if done := b.Post(page.Action(), answer); done.Status != http.StatusOK || strings.Contains(done.Body, "data-passkey") {
		t.Fatalf("made: %d at %s\n%s", done.Status, done.URL, done.Body)
	}
	o.Clock.Advance(time.Second)
	return a
}

func (o *office) factorsOf(t testing.TB, username string) *storage.Factors {
	t.Helper()
	factors, err := o.Store.Factors(t.Context(), o.find(t, "/users", "username", username))
	if err != nil {
		t.Fatal(err)
	}
	return factors
}

// lastSession is the newest session of alice.
func (o *office) lastSession(t testing.TB) *storage.Session {
	t.Helper()
	sessions, err := o.Store.UserSessions(t.Context(), o.find(t, "/users", "username", "alice"), o.Clock.Now(), storage.Page{Limit: 100})
	if err != nil || len(sessions) == 0 {
		t.Fatal(len(sessions), err)
	}
	return slices.MaxFunc(sessions, func(a, b *storage.Session) int { return strings.Compare(a.ID, b.ID) })
}

func TestPasskey(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newNamedOffice(t, servertest.WithStore(open(t)))
		alice := o.SignedIn("alice")
		page := alice.Get(o.URL + "/account/security/passkey")
		c := ceremonyOn(t, page)
		id := o.find(t, "/users", "username", "alice")
		if o := c.options; o.RP.ID != "localhost" || o.User.ID != inBase64([]byte(id)) || o.Attestation != "none" || len(o.Exclude) != 0 ||
			o.Selection.ResidentKey != "required" || !o.Selection.RequireResidentKey || o.Selection.UserVerification != "required" {
			t.Errorf("options %+v", o)
		}
		key := newAuthenticator(t, o.Server)
		answer := hidden(page, key.created(t, page))
		answer.Set("passkey_name", "My phone")
		done := alice.Post(page.Action(), answer)
		if n := len(codeOnPage.FindAllString(done.Body, -1)); n != storage.RecoveryCodes {
			t.Fatalf("the first second factor gives %d recovery codes: %d\n%s", n, done.Status, done.Body)
		}
		if s := o.lastSession(t); !slices.Equal(s.AMR, []string{"pwd", "pop", "user", "mfa"}) {
			t.Errorf("amr %v", s.AMR)
		}
		stored := o.factorsOf(t, "alice").Passkeys
		if len(stored) != 1 || stored[0].Name != "My phone" || !stored[0].BackupEligible || !slices.Equal(stored[0].Transports, []string{"hybrid", "internal"}) {
			t.Fatalf("stored %+v", stored)
		}
		if again := ceremonyOn(t, alice.Get(o.URL+"/account/security/passkey")); len(again.options.Exclude) != 1 || again.options.Exclude[0].ID != inBase64(key.id) {
			t.Errorf("a passkey that exists may be made again: %+v", again.options.Exclude)
		}
		o.Clock.Advance(time.Second)

		// Alone, without a user name.
		b := o.Browser()
		page = b.Get(o.URL + "/login")
		if c := ceremonyOn(t, page); len(c.options.Allow) != 0 || c.options.RPID != "localhost" || c.options.UV != "required" {
			t.Errorf("options %+v", c.options)
		}
		wantAccount(t, use(t, b, page, key))
		if s := o.lastSession(t); !slices.Equal(s.AMR, []string{"pop", "user", "mfa"}) || s.ACR() != storage.ACRMultiFactor {
			t.Errorf("amr %v", s.AMR)
		}
		// LG-02: an old answer signs nobody in, in whatever browser.
		wantStatus(t, use(t, o.Browser(), page, key), http.StatusUnauthorized)

		// After the password, of those whose it is.
		second := o.Browser()
		page = o.password(second, "")
		wantFactorAsked(t, page)
		if c := ceremonyOn(t, page); len(c.options.Allow) != 1 || c.options.Allow[0].ID != inBase64(key.id) {
			t.Errorf("options %+v", c.options)
		}
		if !second.Get(o.URL + "/account").IsLogin() {
			t.Fatal("the password alone signs in")
		}
		o.Clock.Advance(time.Second)
		page = o.password(second, "")
		wantAccount(t, use(t, second, page, key))
		if s := o.lastSession(t); !slices.Equal(s.AMR, []string{"pwd", "pop", "user", "mfa"}) {
			t.Errorf("amr %v", s.AMR)
		}
		for action, want := range map[string]int{"passkey.created": 1, "recovery_codes.created": 1, "passkey.cloned": 0} {
			if n := o.audited(t, action); n != want {
				t.Errorf("%d events %s", n, action)
			}
		}
	})
}

// A recovery code stands in for a passkey, and a code of an app that nobody has is
// wrong.
func TestRecoveryCodeForAPasskey(t *testing.T) {
	o := newNamedOffice(t)
	alice := o.SignedIn("alice")
	o.enrolPasskey(t, alice)
	page := alice.Get(o.URL + "/account/security")
	fresh := alice.Post(page.Action(), servertest.Form("page", page.Fields().Get("page"), "act", "new_codes"))
	codes := codeOnPage.FindAllStringSubmatch(fresh.Body, -1)
	if len(codes) != storage.RecoveryCodes {
		t.Fatalf("%d codes", len(codes))
	}
	b := o.Browser()
	asked := o.password(b, "")
	code := func(code string) *servertest.Page {
		return b.Post(asked.Action(), servertest.Form("step", asked.Fields().Get("step"), "code", code))
	}
	wantStatus(t, code("123456"), http.StatusUnauthorized)
	wantAccount(t, code(codes[0][1]))
}

// TestWrongPasskey has each thing that an assertion proves be wrong, alone and after
// the password. All get the same answer, and none a session.
func TestWrongPasskey(t *testing.T) {
	o := newNamedOffice(t)
	alice := o.SignedIn("alice")
	key := o.enrolPasskey(t, alice)
	o.User("bob")
	bobs := o.enrolPasskey(t, o.SignedIn("bob"))
	challenge := inBase64(make([]byte, 32))
	for name, lie := range map[string]func(a *authenticator){
		"origin":                func(a *authenticator) { a.origin = "http://localhost:1" },
		"another host's origin": func(a *authenticator) { a.origin = "https://evil.example" },
		"relying party":         func(a *authenticator) { a.rpID = "evil.example" },
		"challenge":             func(a *authenticator) { a.answered = &challenge },
		"kind":                  func(a *authenticator) { a.kind = "webauthn.create" },
		"signature":             func(a *authenticator) { a.spoiled = func(b []byte) []byte { return append(b, 0) } },
		"user not verified":     func(a *authenticator) { a.flags &^= userVerified },
		"user not present":      func(a *authenticator) { a.flags &^= userPresent },
		"backup eligibility":    func(a *authenticator) { a.flags &^= backupable },
		"unknown credential":    func(a *authenticator) { a.id = make([]byte, 32) },
		"another user's handle": func(a *authenticator) { a.handle = bobs.handle },
		"another user's key":    func(a *authenticator) { a.key = bobs.key },
	} {
		t.Run(name, func(t *testing.T) {
			o.Clock.Advance(time.Hour) // past the limits of the case before
			liar := *key
			lie(&liar)
			b := o.Browser()
			alone := use(t, b, b.Get(o.URL+"/login"), &liar)
			second := use(t, b, o.password(b, ""), &liar)
			for _, refused := range []*servertest.Page{alone, second} {
				wantStatus(t, refused, http.StatusUnauthorized)
				if !strings.Contains(refused.Body, "That passkey was not accepted.") {
					t.Errorf("%s", refused.Body)
				}
			}
			if !b.Get(o.URL + "/account").IsLogin() {
				t.Error("signed in")
			}
		})
	}
	t.Run("another user's passkey after the password", func(t *testing.T) {
		b := o.Browser()
		wantStatus(t, use(t, b, o.password(b, ""), bobs), http.StatusUnauthorized)
	})
	t.Run("a challenge of another page", func(t *testing.T) {
		b := o.Browser()
		login, step := b.Get(o.URL+"/login"), o.password(b, "")
		wantStatus(t, b.Post(step.Action(), hidden(step, key.signed(t, login))), http.StatusBadRequest)
		wantStatus(t, b.Post(login.Action(), key.signed(t, step)), http.StatusBadRequest)
	})
	for name, answer := range map[string]string{"no JSON": "x", "empty JSON": "{}", "list": "[]", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			b := o.Browser()
			page := b.Get(o.URL + "/login")
			o.Clock.Advance(time.Second)
			wantStatus(t, b.Post(page.Action(), changed(key.signed(t, page), "passkey", answer)), http.StatusUnauthorized)
		})
	}
	t.Run("expired", func(t *testing.T) {
		b := o.Browser()
		login, step := b.Get(o.URL+"/login"), o.password(b, "")
		o.Clock.Advance(5*time.Minute + time.Second)
		for _, page := range []*servertest.Page{login, step} {
			late := use(t, b, page, key)
			wantStatus(t, late, http.StatusBadRequest)
			if !strings.Contains(late.Body, "That took too long") {
				t.Errorf("%s", late.Body)
			}
		}
		// The page that says so asks anew.
		wantAccount(t, use(t, b, b.Post(login.Action(), key.signed(t, login)), key))
	})
	t.Run("forged challenge", func(t *testing.T) {
		b := o.Browser()
		page := b.Get(o.URL + "/login")
		form := key.signed(t, page)
		wantStatus(t, b.Post(page.Action(), changed(form, "challenge", form.Get("challenge")+"AAAA")), http.StatusBadRequest)
	})
	t.Run("another site's form", func(t *testing.T) {
		b := o.Browser()
		page := b.Get(o.URL + "/login")
		answer := b.Send(http.MethodPost, page.Action(), key.signed(t, page).Encode(), http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"},
		})
		if answer.Status != http.StatusForbidden {
			t.Errorf("%d", answer.Status)
		}
	})
	t.Run("disabled user", func(t *testing.T) {
		b := o.Browser()
		page := b.Get(o.URL + "/login")
		o.change(t, servertest.Object{"disabled": true})
		wantStatus(t, use(t, b, page, key), http.StatusUnauthorized)
	})
}

// A count that does not grow means a copy of the key: neither it nor the original gets
// in with that, and it is told.
func TestClonedPasskey(t *testing.T) {
	o := newNamedOffice(t)
	alice := o.SignedIn("alice")
	key := o.enrolPasskey(t, alice)
	in := func(count uint32) *servertest.Page {
		o.Clock.Advance(time.Second)
		key.count = count
		b := o.Browser()
		return use(t, b, b.Get(o.URL+"/login"), key)
	}
	wantAccount(t, in(5))
	for i, count := range []uint32{5, 4, 0} {
		wantStatus(t, in(count), http.StatusUnauthorized)
		if n := o.audited(t, "passkey.cloned"); n != i+1 {
			t.Errorf("%d events after %d", n, count)
		}
	}
	wantAccount(t, in(6))
	if page := alice.Get(o.URL + "/account/activity"); !strings.Contains(page.Body, "there may be a copy of it") {
		t.Errorf("%s", page.Body)
	}
}

// LG-04 and LG-05: failures are counted, by address before anybody is named, and
// nobody who has signed in before in their browser is locked out by others.
func TestLG05Passkey(t *testing.T) {
	o := newNamedOffice(t)
	alice := o.SignedIn("alice")
	key := o.enrolPasskey(t, alice)
	known := o.Browser()
	wantAccount(t, use(t, known, known.Get(o.URL+"/login"), key))
	stranger := newAuthenticator(t, o.Server)
	stranger.handle = key.handle
	var last *servertest.Page
	for range 31 {
		b := o.Browser()
		last = use(t, b, b.Get(o.URL+"/login"), stranger)
	}
	if last.Status != http.StatusTooManyRequests || last.Header.Get("Retry-After") == "" {
		t.Fatalf("after thirty: %d", last.Status)
	}
	o.Clock.Advance(time.Second)
	known.Post(o.URL+"/logout", nil)
	wantAccount(t, use(t, known, known.Get(o.URL+"/login"), key))
	b := o.Browser() // and the password is another count
	wantFactorAsked(t, o.password(b, ""))
}

// RFC 9470 §5: a step-up takes a passkey, and one from before needs none.
func TestStepUpWithAPasskey(t *testing.T) {
	o := newNamedOffice(t)
	b := o.SignedIn("alice")
	key := o.enrolPasskey(t, o.SignedIn("alice"))
	page := b.Get(o.URL + "/authorize?" + stepUpRequest(o))
	wantFactorAsked(t, page)
	wantAsked(t, use(t, b, page, key))
	o.Clock.Advance(time.Second)
	other := o.Browser()
	wantAsked(t, use(t, other, other.Get(o.URL+"/authorize?"+stepUpRequest(o)), key))
}

// The rule takes a passkey as well as an app.
func TestSecondFactorRequiredWithAPasskey(t *testing.T) {
	o := newNamedOffice(t)
	o.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"second_factor": "required"})
	b := o.Browser()
	page := o.password(b, "")
	key := newAuthenticator(t, o.Server)
	liar := *key
	liar.origin = "https://evil.example"
	form := func(a *authenticator) url.Values {
		answer := a.created(t, page)
		answer.Set("step", page.Fields().Get("step"))
		return answer
	}
	refused := b.Post(page.Action(), form(&liar))
	wantStatus(t, refused, http.StatusBadRequest)
	if !b.Get(o.URL+"/account").IsLogin() || len(o.factorsOf(t, "alice").Passkeys) != 0 {
		t.Fatal("a passkey of another site counts")
	}
	done := b.Post(page.Action(), form(key))
	if n := len(codeOnPage.FindAllString(done.Body, -1)); n != storage.RecoveryCodes {
		t.Fatalf("%d codes: %d\n%s", n, done.Status, done.Body)
	}
	wantAccount(t, b.Get(o.URL+"/account"))
	// The page was for somebody without a factor.
	wantStatus(t, o.Browser().Post(page.Action(), form(newAuthenticator(t, o.Server))), http.StatusBadRequest)
}
