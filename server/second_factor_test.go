package server_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

var (
	keyOnPage  = regexp.MustCompile(`<dt>Key</dt><dd><code>([A-Z2-7 ]+)</code>`)
	codeOnPage = regexp.MustCompile(`<code>([0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4})</code>`)
)

// app is an authenticator app, written from RFC 6238 alone.
type app struct{ secret []byte }

// appOf sets up an app with the key on a page.
func appOf(t testing.TB, page *servertest.Page) app {
	t.Helper()
	found := keyOnPage.FindStringSubmatch(page.Body)
	if found == nil {
		t.Fatalf("no key at %s: %d\n%s", page.URL, page.Status, page.Body)
	}
	secret, err := base32.StdEncoding.DecodeString(strings.ReplaceAll(found[1], " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return app{secret}
}

func (a app) code(at time.Time) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(at.Unix()/30))
	mac := hmac.New(sha1.New, a.secret)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	offset := sum[19] & 15
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[offset:])&0x7fffffff)%1_000_000)
}

// password sends the sign-in form with alice's password.
func (o *office) password(b *servertest.Browser, query string) *servertest.Page {
	return b.Post(o.URL+"/login"+query, servertest.Form("username", "alice", "password", servertest.Password))
}

// answer sends a code with the form of a page.
func answer(b *servertest.Browser, page *servertest.Page, code string) *servertest.Page {
	return b.Post(page.Action(), changed(page.Fields(), "code", code))
}

// enrolled sets up alice's authenticator app on the account page, and returns it with
// the recovery codes.
func (o *office) enrolled(t testing.TB) (app, []string) {
	t.Helper()
	alice := o.SignedIn("alice")
	page := alice.Get(o.URL + "/account/security/totp")
	phone := appOf(t, page)
	done := answer(alice, page, phone.code(o.Clock.Now()))
	var codes []string
	for _, found := range codeOnPage.FindAllStringSubmatch(done.Body, -1) {
		codes = append(codes, found[1])
	}
	if done.Status != http.StatusOK || len(codes) != storage.RecoveryCodes {
		t.Fatalf("set up: %d with %d codes\n%s", done.Status, len(codes), done.Body)
	}
	o.Clock.Advance(time.Minute)
	return phone, codes
}

func wantFactorAsked(t testing.TB, page *servertest.Page) {
	t.Helper()
	if page.Left != nil || !page.Fields().Has("code") || page.Fields().Has("password") {
		t.Fatalf("no code is asked at %s: %d\n%s", page.URL, page.Status, page.Body)
	}
}

func wantAccount(t testing.TB, page *servertest.Page) {
	t.Helper()
	if page.Status != http.StatusOK || page.URL.Path != "/account" {
		t.Fatalf("not signed in: %d at %s\n%s", page.Status, page.URL, page.Body)
	}
}

func TestTOTP(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		phone, _ := o.enrolled(t)
		b := o.Browser()
		page := o.password(b, "")
		wantFactorAsked(t, page)
		if !b.Get(o.URL + "/account").IsLogin() {
			t.Fatal("the password alone signs in")
		}
		now := o.Clock.Now()
		for _, wrong := range []string{"000000", phone.code(now.Add(-2 * time.Minute)), phone.code(now.Add(2 * time.Minute)), "x"} {
			refused := answer(b, page, wrong)
			wantStatus(t, refused, http.StatusUnauthorized)
			wantFactorAsked(t, refused)
		}
		wantAccount(t, answer(b, page, phone.code(now)))
		// Each time step is accepted once, from whatever browser.
		other := o.Browser()
		wantStatus(t, answer(other, o.password(other, ""), phone.code(now)), http.StatusUnauthorized)
		o.Clock.Advance(30 * time.Second)
		wantAccount(t, answer(other, o.password(other, ""), phone.code(o.Clock.Now())))
		// The secret is not in the database as it is.
		factors, err := o.Store.Factors(t.Context(), o.find(t, "/users", "username", "alice"))
		if err != nil || strings.Contains(string(factors.TOTP.SealedSecret), string(phone.secret)) {
			t.Errorf("stored: %v", err)
		}
		if n := o.audited(t, "totp.created"); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestRecoveryCode(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		_, codes := o.enrolled(t)
		b := o.Browser()
		wantAccount(t, answer(b, o.password(b, ""), strings.ToUpper(codes[3])))
		other := o.Browser()
		wantStatus(t, answer(other, o.password(other, ""), codes[3]), http.StatusUnauthorized)
		wantAccount(t, answer(other, o.password(other, ""), strings.ReplaceAll(codes[4], "-", " ")))
		page := other.Get(o.URL + "/account/security")
		if !strings.Contains(page.Body, "8 codes are left.") {
			t.Errorf("%s", page.Body)
		}
		fresh := other.Post(page.Action(), servertest.Form("page", page.Fields().Get("page"), "act", "new_codes"))
		found := codeOnPage.FindAllString(fresh.Body, -1)
		if len(found) != 10 || slices.Contains(found, codes[5]) {
			t.Errorf("new codes: %v", found)
		}
		third := o.Browser()
		wantStatus(t, answer(third, o.password(third, ""), codes[5]), http.StatusUnauthorized)
		if n := o.audited(t, "recovery_code.used"); n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

// LG-02: the session's id changes at each raise of privilege.
func TestLG02RaisedSession(t *testing.T) {
	o := newOffice(t)
	alice := o.SignedIn("alice")
	before := alice.Cookies()
	page := alice.Get(o.URL + "/account/security/totp")
	answer(alice, page, appOf(t, page).code(o.Clock.Now()))
	for _, old := range before {
		for _, now := range alice.Cookies() {
			if old.Name == now.Name && old.Value == now.Value && strings.HasSuffix(old.Name, "session") {
				t.Error("the session is the same")
			}
		}
	}
	sessions, err := o.Store.UserSessions(t.Context(), o.find(t, "/users", "username", "alice"), o.Clock.Now(), storage.Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	raised := sessions[len(sessions)-1]
	if raised.ACR() != storage.ACRMultiFactor || !slices.Equal(raised.AMR, []string{"pwd", "otp", "mfa"}) || !raised.AuthenticatedAt.Equal(o.Clock.Now()) {
		t.Errorf("%+v", raised)
	}
}

// LG-04 and LG-05: codes cannot be guessed, and guessing locks nobody out who has
// signed in before in that browser, or has a recovery code.
func TestLG05SecondFactor(t *testing.T) {
	o := newOffice(t)
	phone, codes := o.enrolled(t)
	known := o.Browser()
	wantAccount(t, answer(known, o.password(known, ""), phone.code(o.Clock.Now())))
	o.Clock.Advance(time.Minute)
	guesser := o.Browser()
	page := o.password(guesser, "")
	for range 10 {
		wantStatus(t, answer(guesser, page, "000000"), http.StatusUnauthorized)
	}
	blocked := answer(guesser, page, phone.code(o.Clock.Now()))
	if blocked.Status != http.StatusTooManyRequests || blocked.Header.Get("Retry-After") == "" {
		t.Fatalf("after ten guesses: %d", blocked.Status)
	}
	wantAccount(t, answer(known, o.password(known, ""), phone.code(o.Clock.Now())))
	wantAccount(t, answer(guesser, page, codes[0]))
}

// A page of the second step ends with ten minutes, with the password, and with the
// user, and is nobody else's.
func TestSecondStepOutOfDate(t *testing.T) {
	for name, spoil := range map[string]func(o *office, fields map[string][]string){
		"forged":   func(_ *office, fields map[string][]string) { fields["step"] = []string{fields["step"][0] + "AAAA"} },
		"old":      func(o *office, _ map[string][]string) { o.Clock.Advance(11 * time.Minute) },
		"disabled": func(o *office, _ map[string][]string) { o.change(t, servertest.Object{"disabled": true}) },
		"password": func(o *office, _ map[string][]string) { o.change(t, servertest.Object{"password": chosenPassword}) },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			phone, _ := o.enrolled(t)
			b := o.Browser()
			page := o.password(b, "")
			fields := page.Fields()
			spoil(o, fields)
			fields.Set("code", phone.code(o.Clock.Now()))
			again := b.Post(page.Action(), fields)
			if again.Status != http.StatusBadRequest || !again.IsLogin() || !b.Get(o.URL+"/account").IsLogin() {
				t.Errorf("%d\n%s", again.Status, again.Body)
			}
		})
	}
}

func (o *office) change(t testing.TB, fields servertest.Object) {
	t.Helper()
	o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), fields)
}

// Changing a second factor wants a sign-in of the last minutes, with the factor.
func TestSecurityWantsAFreshSignIn(t *testing.T) {
	o := newOffice(t)
	stale := o.SignedIn("alice")
	phone, _ := o.enrolled(t)
	page := stale.Get(o.URL + "/account/security")
	form := servertest.Form("page", page.Fields().Get("page"), "act", "remove_totp")
	asked := stale.Post(o.URL+"/account/security", form)
	if !asked.IsLogin() {
		t.Fatalf("a sign-in without the factor removes it: %d at %s", asked.Status, asked.URL)
	}
	second := o.password(stale, "?account=security")
	wantFactorAsked(t, second)
	back := answer(stale, second, phone.code(o.Clock.Now()))
	if back.URL.Path != "/account/security" {
		t.Fatalf("it leads to %s", back.URL)
	}
	form.Set("page", back.Fields().Get("page"))
	o.Clock.Advance(11 * time.Minute)
	if late := stale.Post(o.URL+"/account/security", form); !late.IsLogin() {
		t.Errorf("eleven minutes later: %d at %s", late.Status, late.URL)
	}
	back = answer(stale, o.password(stale, "?account=security"), phone.code(o.Clock.Now()))
	form.Set("page", back.Fields().Get("page"))
	if done := stale.Post(o.URL+"/account/security", form); !strings.Contains(done.Body, "The authenticator app is removed.") {
		t.Errorf("%d %s", done.Status, done.Body)
	}
	b := o.Browser()
	wantAccount(t, o.password(b, ""))
}

func TestSecondFactorRequired(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		o.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"second_factor": "required"})
		b := o.Browser()
		query := servertest.AuthorizationRequest(o.clientID, loopback, resourceURI).Encode()
		page := o.password(b, "?"+query)
		wantFactorAsked(t, page)
		if !b.Get(o.URL + "/account").IsLogin() {
			t.Fatal("signed in without a second factor")
		}
		phone := appOf(t, page)
		wrong := answer(b, page, "000000")
		wantStatus(t, wrong, http.StatusUnauthorized)
		if string(appOf(t, wrong).secret) != string(phone.secret) {
			t.Error("a wrong code changes the key")
		}
		done := answer(b, wrong, phone.code(o.Clock.Now()))
		if codes := codeOnPage.FindAllString(done.Body, -1); len(codes) != 10 {
			t.Fatalf("%d codes: %d\n%s", len(codes), done.Status, done.Body)
		}
		links := done.Links()
		wantAsked(t, b.Get(o.Origin+strings.ReplaceAll(links[len(links)-1], "&amp;", "&")))
		// Next time the code is asked.
		o.Clock.Advance(time.Minute)
		other := o.Browser()
		second := o.password(other, "")
		wantFactorAsked(t, second)
		if keyOnPage.MatchString(second.Body) {
			t.Error("the key is shown again")
		}
		wantAccount(t, answer(other, second, phone.code(o.Clock.Now())))
	})
}

func TestResetFactors(t *testing.T) {
	o := newOffice(t)
	o.enrolled(t)
	id := o.find(t, "/users", "username", "alice")
	o.Must(http.MethodDelete, "/users/"+id+"/factors", nil)
	if !o.alice.Get(o.URL + "/account").IsLogin() {
		t.Error("the session lives on")
	}
	b := o.Browser()
	wantAccount(t, o.password(b, ""))
	if n := o.audited(t, "user.factors_reset"); n != 1 {
		t.Errorf("%d events", n)
	}
	if status, _ := o.Call(http.MethodDelete, "/users/usr_00000000000000000000000000/factors", nil); status != http.StatusNotFound {
		t.Errorf("nobody: %d", status)
	}
}
