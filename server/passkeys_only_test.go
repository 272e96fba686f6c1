package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// newPasskeysOnly is an office in which a password proves nothing.
func newPasskeysOnly(t testing.TB, opts ...servertest.Option) *office {
	t.Helper()
	o := newNamedOffice(t, opts...)
	o.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"second_factor": "passkeys_only"})
	return o
}

// linkPasskey has a passkey made on the page that a link leads to.
func linkPasskey(t testing.TB, s *servertest.Server, b *servertest.Browser, link string, a *authenticator, pairs ...string) *servertest.Page {
	t.Helper()
	page := b.Get(link)
	defer s.Clock.Advance(time.Second) // so that the next challenge is newer
	return b.Post(page.Action(), changed(hidden(page, a.created(t, page)), pairs...))
}

func TestPasskeysOnly(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newNamedOffice(t, servertest.WithStore(open(t)))
		alice := o.SignedIn("alice")
		key := o.enrolPasskey(t, alice)
		b := o.Browser()
		before, step := b.Get(o.URL+"/login"), o.password(b, "")
		if policy := o.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"second_factor": "passkeys_only"}); policy.String("second_factor") != "passkeys_only" {
			t.Fatal(policy)
		}
		page := b.Get(o.URL + "/login")
		if page.IsLogin() || !strings.Contains(page.Body, "A passkey needs a browser that runs JavaScript.") || !strings.Contains(page.Body, "An administrator can send you a link") {
			t.Errorf("%s", page.Body)
		}
		// A right password and a wrong one get the same answer, as does whoever nobody is.
		var bodies []int
		for _, form := range [][]string{{"alice", servertest.Password}, {"alice", "wrong password"}, {"nobody", "wrong password"}} {
			refused := b.Post(before.Action(), servertest.Form("username", form[0], "password", form[1]))
			wantStatus(t, refused, http.StatusForbidden)
			if !strings.Contains(refused.Body, "Your password was not looked at.") {
				t.Errorf("%s", refused.Body)
			}
			bodies = append(bodies, len(refused.Body))
		}
		if bodies[0] != bodies[1] || bodies[1] != bodies[2] {
			t.Errorf("the pages differ: %v", bodies)
		}
		// Nor does a password help that was looked at before the rule was made.
		wantStatus(t, use(t, b, step, key), http.StatusForbidden)
		if page := b.Get(o.URL + "/account"); page.URL.Path != "/login" {
			t.Fatalf("signed in: %s", page.URL)
		}
		wantAccount(t, use(t, b, b.Get(o.URL+"/login"), key))
		if strings.Contains(b.Get(o.URL+"/account").Body, "/account/password") {
			t.Error("a password can be changed that proves nothing")
		}
		// Whoever is signed in steps up with the passkey.
		wantAsked(t, alice.Get(o.URL+"/authorize?"+stepUpRequest(o)))
	})
}

func TestInvitationWithAPasskey(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newPasskeysOnly(t, servertest.WithStore(open(t)))
		id := o.Must(http.MethodPost, "/users", servertest.Object{"username": "bob", "name": "Bob"}).String("id")
		link := o.link(t, id, "invitation")
		b := o.Browser()
		page := b.Get(link)
		if page.Fields().Has("password") || !strings.Contains(page.Body, "Make a passkey, and then sign in with it.") || page.Header.Get("Referrer-Policy") != "strict-origin" {
			t.Errorf("%v %s", page.Header, page.Body)
		}
		liar := newAuthenticator(t, o.Server)
		liar.origin = "https://evil.example"
		wantStatus(t, linkPasskey(t, o.Server, b, link, liar), http.StatusBadRequest)
		wantStatus(t, b.Post(page.Action(), servertest.Form("token", page.Fields().Get("token"), "password", chosenPassword, "again", chosenPassword)), http.StatusBadRequest)
		// What was made for another's link makes nothing of this one.
		other := o.Must(http.MethodPost, "/users", servertest.Object{"username": "carol"}).String("id")
		foreign := newAuthenticator(t, o.Server).created(t, b.Get(o.link(t, other, "invitation")))
		wantStatus(t, b.Post(page.Action(), changed(foreign, "token", page.Fields().Get("token"))), http.StatusBadRequest)

		key := newAuthenticator(t, o.Server)
		done := linkPasskey(t, o.Server, b, link, key)
		if done.URL.Path != "/account/link/done" || !strings.Contains(done.Body, "Your passkey is made") {
			t.Fatalf("%d at %s\n%s", done.Status, done.URL, done.Body)
		}
		wantNoLink(t, b.Get(link))
		if page := b.Get(o.URL + "/account"); page.URL.Path != "/login" {
			t.Errorf("the link signs in: %s", page.URL)
		}
		wantAccount(t, use(t, b, b.Get(o.URL+"/login"), key))
		if p := o.factorsOf(t, "bob").Passkeys; len(p) != 1 || p[0].Name == "" {
			t.Errorf("%+v", p)
		}
		if n := o.audited(t, "user_link.used"); n != 1 {
			t.Errorf("%d events", n)
		}
		if activity := b.Get(o.URL + "/account/activity").Body; !strings.Contains(activity, "A passkey was made with a link.") {
			t.Errorf("%s", activity)
		}
		// It is the only way in, so it stays.
		security := b.Get(o.URL + "/account/security")
		kept := b.Post(o.URL+"/account/security", servertest.Form("page", security.Fields().Get("page"), "act", "remove_passkey", "passkey", o.factorsOf(t, "bob").Passkeys[0].ID))
		if kept.Status != http.StatusConflict || len(o.factorsOf(t, "bob").Passkeys) != 1 {
			t.Errorf("%d %s", kept.Status, kept.Body)
		}
		// A reset gives another, and signs out everywhere.
		second := newAuthenticator(t, o.Server)
		if done := linkPasskey(t, o.Server, o.Browser(), o.link(t, id, "password_reset"), second); done.URL.Path != "/account/link/done" {
			t.Fatalf("%d at %s\n%s", done.Status, done.URL, done.Body)
		}
		if page := b.Get(o.URL + "/account"); page.URL.Path != "/login" {
			t.Error("the session lives on")
		}
		wantAccount(t, use(t, b, b.Get(o.URL+"/login"), second))
	})
}

func TestFirstAdministratorWithAPasskey(t *testing.T) {
	s := servertest.New(t, servertest.WithHost("localhost"))
	s.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"second_factor": "passkeys_only"})
	link := s.FirstAdminLink()
	b := s.Browser()
	key := newAuthenticator(t, s)
	wantStatus(t, linkPasskey(t, s, b, link, key, "username", ""), http.StatusBadRequest)
	done := linkPasskey(t, s, b, link, key, "username", "root", "name", "Root")
	if done.URL.Path != "/account/link/done" {
		t.Fatalf("%d at %s\n%s", done.Status, done.URL, done.Body)
	}
	wantNoLink(t, b.Get(link))
	wantAccount(t, use(t, b, b.Get(s.URL+"/login"), key))
	user, err := s.Store.UserByUsername(t.Context(), "root")
	if err != nil || user.PasswordHash != "" || len(user.Groups) != 1 || user.ID != string(key.handle) {
		t.Errorf("%+v, %v", user, err)
	}
}
