package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// CS-24: who removes an application's access on the account page ends all that came
// of it at once, and the application has to ask again.
func TestCS24RevokeOnTheAccountPage(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		o.User("bob")
		bob := o.SignedIn("bob")
		bobs := wantTokens(t, o.Redeem(o.clientID, bob.Code(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))))
		first, second := o.tokens(t), o.tokens(t)
		page := o.alice.Get(o.URL + "/account")
		for _, want := range []string{"Public", "Resource " + resourceURI, "Use notes:write.", "Signed in 2 times", "4 May 2026, 03:02 UTC", "This browser"} {
			if !strings.Contains(page.Body, want) {
				t.Errorf("the account page does not say %q", want)
			}
		}
		confirm := o.alice.Get(o.revokeLink(t, page))
		if !o.active(t, first.access) || confirm.Status != http.StatusOK {
			t.Fatalf("asking (%d) has an effect", confirm.Status)
		}
		done := o.alice.Post(confirm.Action(), confirm.Fields())
		if !strings.Contains(done.Body, "The access is removed.") || !strings.Contains(done.Body, "No application has access in your name.") {
			t.Errorf("afterwards: %d %s", done.Status, done.Body)
		}
		for _, tokens := range []issued{first, second} {
			if o.active(t, tokens.access) {
				t.Error("an access token is still good")
			}
			wantError(t, o.Refresh(o.clientID, tokens.refresh), http.StatusBadRequest, "invalid_grant")
		}
		if !o.active(t, bobs.access) {
			t.Error("another person's access is gone")
		}
		wantAsked(t, o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)))
		// The page left open says that it is gone; nothing breaks.
		wantStatus(t, o.alice.Post(confirm.Action(), confirm.Fields()), http.StatusNotFound)
		if n := o.audited(t, "grant.revoked"); n != 1 {
			t.Errorf("%d events of it", n)
		}
	})
}

func (o *office) revokeLink(t testing.TB, page *servertest.Page) string {
	t.Helper()
	for _, link := range page.Links() {
		if strings.Contains(link, "/account/revoke?grant=grt_") {
			return o.Origin + link
		}
	}
	t.Fatal("no link to remove access")
	return ""
}

func TestRevokeEverything(t *testing.T) {
	o := newOffice(t)
	public, web := o.tokens(t), o.webCode(t)
	confirm := o.alice.Get(o.URL + "/account/revoke?grant=all")
	if !strings.Contains(confirm.Body, "the access of 2 applications") {
		t.Errorf("%s", confirm.Body)
	}
	wantStatus(t, o.alice.Post(confirm.Action(), confirm.Fields()), http.StatusOK)
	if o.active(t, public.access) {
		t.Error("the token is good")
	}
	answer := o.Post("/token", servertest.Form("grant_type", "authorization_code", "code", web, "code_verifier", servertest.Verifier, "redirect_uri", webCallback), o.web.basic())
	wantError(t, answer, http.StatusBadRequest, "invalid_grant")
	if n := o.audited(t, "grant.revoked"); n != 2 {
		t.Errorf("%d events", n)
	}
}

// SS-07: people list their sessions and end them, one or all others.
func TestSS07Sessions(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		phone := o.Browser()
		phone.Send(http.MethodPost, o.URL+"/login", servertest.Form("username", "alice", "password", servertest.Password).Encode(), http.Header{
			"Content-Type": {formType}, "User-Agent": {"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1"},
		})
		third := o.SignedIn("alice")
		page := o.alice.Get(o.URL + "/account")
		if !strings.Contains(page.Body, "Safari on iPhone") || strings.Count(page.Body, "127.0.0.1 ·") != 3 || strings.Count(page.Body, "This browser") != 1 {
			t.Errorf("the sessions: %s", page.Body)
		}
		found := regexp.MustCompile(`(?s)Safari on iPhone.*?name="session" value="(ses_[^"]+)"`).FindStringSubmatch(page.Body)
		if found == nil {
			t.Fatal("the phone has no button")
		}
		end := func(session string) {
			t.Helper()
			done := o.alice.Post(o.URL+"/account/sessions", servertest.Form("page", page.Fields().Get("page"), "session", session))
			if done.Status != http.StatusOK || !strings.Contains(done.Body, "It is signed out.") {
				t.Errorf("afterwards: %d", done.Status)
			}
		}
		end(found[1])
		for name, c := range map[string]struct {
			browser  *servertest.Browser
			signedIn bool
		}{"the phone": {phone, false}, "the third": {third, true}, "this one": {o.alice, true}} {
			if c.browser.Get(o.URL+"/account").IsLogin() == c.signedIn {
				t.Errorf("%s: signed in is not %v", name, c.signedIn)
			}
		}
		end(found[1]) // again, as a page left open would
		end("others")
		if !third.Get(o.URL + "/account").IsLogin() {
			t.Error("the third is signed in")
		}
		if o.alice.Get(o.URL + "/account").IsLogin() {
			t.Error("this browser is not")
		}
		if n := o.audited(t, "session.ended"); n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

// CS-01, CS-18, CS-19, SS-05: what is bob's stays his whatever alice sends, and what
// another site has her browser send changes nothing.
func TestAccountAttacks(t *testing.T) {
	o := newOffice(t)
	o.User("bob")
	bob := o.SignedIn("bob")
	bobs := wantTokens(t, o.Redeem(o.clientID, bob.Code(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))))
	bobsPage := bob.Get(o.URL + "/account")
	bobsGrant := strings.SplitN(o.revokeLink(t, bobsPage), "grant=", 2)[1]
	alices := o.tokens(t)
	confirm := o.alice.Get(o.revokeLink(t, o.alice.Get(o.URL+"/account")))
	mine := confirm.Fields()
	bobsMark := bob.Get(o.URL + "/account/password").Fields().Get("page")
	own := http.Header{"Content-Type": {formType}, "Origin": {o.Origin}, "Sec-Fetch-Site": {"same-origin"}}
	with := func(name, value string) http.Header {
		h := own.Clone()
		if h.Set(name, value); value == "" {
			h.Del(name)
		}
		return h
	}
	passwords := servertest.Form("page", mine.Get("page"), "current", servertest.Password, "password", "another good password", "again", "another good password")
	const revoke, sessions, change = "/account/revoke", "/account/sessions", "/account/password"
	for name, c := range map[string]struct {
		method, path string
		form         url.Values
		header       http.Header
		status       int
	}{
		"another's grant":                      {"POST", revoke, changed(mine, "grant", bobsGrant), own, 404},
		"another's grant, only asked about":    {"GET", revoke + "?grant=" + bobsGrant, nil, nil, 404},
		"no grant":                             {"POST", revoke, changed(mine, "grant", ""), own, 404},
		"a grant that is none":                 {"POST", revoke, changed(mine, "grant", "grt_' OR 1=1"), own, 404},
		"another's session":                    {"POST", sessions, servertest.Form("page", mine.Get("page"), "session", bobsMark), own, 303},
		"CS-01 without the page's mark":        {"POST", revoke, changed(mine, "page", ""), own, 409},
		"CS-01 with another's mark":            {"POST", revoke, changed(mine, "page", bobsMark), own, 409},
		"CS-01 others, with another's mark":    {"POST", sessions, servertest.Form("page", bobsMark, "session", "others"), own, 409},
		"CS-01 password, with another's":       {"POST", change, changed(passwords, "page", bobsMark), own, 409},
		"CS-18 from another site":              {"POST", revoke, mine, with("Sec-Fetch-Site", "cross-site"), 403},
		"CS-18 from a sibling":                 {"POST", revoke, mine, with("Sec-Fetch-Site", "same-site"), 403},
		"CS-18 from a foreign origin":          {"POST", sessions, servertest.Form("page", mine.Get("page"), "session", "others"), with("Origin", "https://evil.example"), 403},
		"CS-18 password from another site":     {"POST", change, passwords, with("Sec-Fetch-Site", "cross-site"), 403},
		"CS-19 by GET":                         {"GET", revoke + "?" + mine.Encode(), nil, nil, 200},
		"CS-19 sessions by GET":                {"GET", sessions + "?session=others&page=" + mine.Get("page"), nil, nil, 405},
		"CS-19 password by GET":                {"GET", change + "?" + passwords.Encode(), nil, nil, 200},
		"CS-19 by DELETE":                      {"DELETE", revoke, mine, own, 405},
		"CS-19 as an override":                 {"GET", revoke + "?grant=" + mine.Get("grant") + "&_method=POST", nil, http.Header{"X-Http-Method-Override": {"POST"}}, 200},
		"CS-19 as JSON":                        {"POST", revoke, mine, with("Content-Type", "application/json"), 415},
		"CS-19 as text":                        {"POST", revoke, mine, with("Content-Type", "text/plain"), 415},
		"CS-19 without a type":                 {"POST", revoke, mine, with("Content-Type", ""), 415},
		"the form in the query":                {"POST", revoke + "?" + mine.Encode(), nil, own, 409},
		"a field twice":                        {"POST", revoke, url.Values{"page": mine["page"], "grant": {mine.Get("grant"), bobsGrant}}, own, 400},
		"activity of an event that is none":    {"GET", "/account/activity?before=x'--", nil, nil, 400},
		"wrong current password":               {"POST", change, changed(passwords, "current", "wrong"), own, 401},
		"no current password":                  {"POST", change, changed(passwords, "current", ""), own, 401},
		"two new passwords that differ":        {"POST", change, changed(passwords, "again", "x"), own, 400},
		"LG-06 a new password that is short":   {"POST", change, changed(passwords, "password", "seven77", "again", "seven77"), own, 400},
		"LG-06 a new password of 1,025 bytes":  {"POST", change, changed(passwords, "password", strings.Repeat("x", 1025), "again", strings.Repeat("x", 1025)), own, 400},
		"LG-06 current password of 1,025":      {"POST", change, changed(passwords, "current", strings.Repeat("x", 1025)), own, 401},
		"LG-08 a place to go to, which is not": {"GET", "/account?next=//evil.example&done=https://evil.example", nil, nil, 200},
	} {
		answer := o.alice.Send(c.method, o.URL+c.path, c.form.Encode(), c.header)
		if answer.Status != c.status || strings.Contains(answer.Header.Get("Location")+answer.Body, "evil.example") {
			t.Errorf("%s: %d to %q, want %d", name, answer.Status, answer.Header.Get("Location"), c.status)
		}
	}
	if !o.active(t, alices.access) || !o.active(t, bobs.access) {
		t.Error("access is gone")
	}
	for name, b := range map[string]*servertest.Browser{"alice": o.alice, "bob": bob} {
		if b.Get(o.URL + "/account").IsLogin() {
			t.Errorf("%s is signed out", name)
		}
	}
	o.SignedIn("alice") // by the old password

	// Nobody in particular is sent to sign in, whatever they post.
	stranger := o.Browser()
	for _, path := range []string{"/account", revoke, change, "/account/activity"} {
		if !stranger.Get(o.URL + path).IsLogin() {
			t.Errorf("a stranger gets to %s", path)
		}
	}
	for _, path := range []string{revoke, sessions, change} {
		if !stranger.Post(o.URL+path, mine).IsLogin() {
			t.Errorf("a stranger posts to %s", path)
		}
	}
}

// A new password ends what the old one opened, except in this browser.
func TestChangePassword(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		elsewhere, tokens := o.SignedIn("alice"), o.tokens(t)
		before := sessionCookie(t, o.alice).Value
		page := o.alice.Get(o.URL + "/account/password")
		form := changed(page.Fields(), "current", servertest.Password, "password", "another good password", "again", "another good password")
		done := o.alice.Post(page.Action(), form)
		if !strings.Contains(done.Body, "Your password is changed.") {
			t.Fatalf("afterwards: %d %s", done.Status, done.Body)
		}
		if sessionCookie(t, o.alice).Value == before {
			t.Error("the session is still the one that the old password opened")
		}
		if !elsewhere.Get(o.URL + "/account").IsLogin() {
			t.Error("signed in elsewhere")
		}
		if o.active(t, tokens.access) {
			t.Error("the installation lives on")
		}
		wantError(t, o.Refresh(o.clientID, tokens.refresh), http.StatusBadRequest, "invalid_grant")
		for password, path := range map[string]string{servertest.Password: "/login", "another good password": "/account"} {
			if page := o.Browser().Post(o.URL+"/login", servertest.Form("username", "alice", "password", password)); page.URL.Path != path {
				t.Errorf("%q leads to %s", password, page.URL)
			}
		}
		// A form from before is of a session that is gone.
		wantStatus(t, o.alice.Post(page.Action(), form), http.StatusConflict)
	})
}

// LG-04: the current password cannot be guessed with a session that somebody found
// open.
func TestLG04GuessingTheCurrentPassword(t *testing.T) {
	o := newOffice(t)
	page := o.alice.Get(o.URL + "/account/password")
	form := changed(page.Fields(), "current", "wrong", "password", "another good password", "again", "another good password")
	for range 10 {
		wantStatus(t, o.alice.Post(page.Action(), form), http.StatusUnauthorized)
	}
	blocked := o.alice.Post(page.Action(), changed(form, "current", servertest.Password))
	wantStatus(t, blocked, http.StatusTooManyRequests)
	if blocked.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	o.SignedIn("alice") // LG-05: which locks nobody out of signing in
	o.Clock.Advance(15 * time.Minute)
	if done := o.alice.Post(page.Action(), changed(form, "current", servertest.Password)); !strings.Contains(done.Body, "Your password is changed.") {
		t.Errorf("after the window: %d", done.Status)
	}
}

func TestActivity(t *testing.T) {
	o := newOffice(t)
	o.User("bob")
	o.SignedIn("bob")
	o.tokens(t)
	confirm := o.alice.Get(o.revokeLink(t, o.alice.Get(o.URL+"/account")))
	o.alice.Post(confirm.Action(), confirm.Fields())
	o.tokens(t)
	o.Must(http.MethodDelete, "/grants/"+o.list(t, "/grants")[0].String("id"), nil)
	user := o.find(t, "/users", "username", "alice")
	o.Must(http.MethodPatch, "/users/"+user, servertest.Object{"name": "Alice"})
	page := o.alice.Get(o.URL + "/account/activity")
	var said []string
	for _, line := range regexp.MustCompile(`<li>\s*<p>(.*?)</p>`).FindAllStringSubmatch(page.Body, -1) {
		said = append(said, line[1])
	}
	server := "Resource " + resourceURI
	want := []string{
		"An administrator changed your account.",
		"An administrator removed the access of Public to " + server + ".",
		"You allowed Public to use " + server + ".",
		"You removed the access of Public to " + server + ".",
		"You allowed Public to use " + server + ".",
		"You signed in.",
		"Your account was made.",
	}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("said\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	for range 30 {
		o.SignedIn("alice")
	}
	pages, events := 0, 0
	for link := o.URL + "/account/activity"; link != ""; pages++ {
		page := o.alice.Get(link)
		events += strings.Count(page.Body, "<li>")
		link = ""
		for _, older := range page.Links() {
			if strings.Contains(older, "before=") {
				link = o.Origin + older
			}
		}
	}
	if pages != 2 || events != len(want)+30 {
		t.Errorf("%d events on %d pages", events, pages)
	}
}
