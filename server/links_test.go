package server_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

const chosenPassword = "a password of their own"

// link has an administrator make a link for a user.
func (o *office) link(t testing.TB, userID, purpose string) string {
	t.Helper()
	return o.Must(http.MethodPost, "/users/"+userID+"/links", servertest.Object{"purpose": purpose}).String("url")
}

// setPassword goes through the page that a link leads to.
func setPassword(b *servertest.Browser, link string, pairs ...string) *servertest.Page {
	page := b.Get(link)
	return b.Post(page.Action(), changed(page.Fields(), append([]string{"password", chosenPassword, "again", chosenPassword}, pairs...)...))
}

func wantNoLink(t testing.TB, page *servertest.Page) {
	t.Helper()
	if page.Status != http.StatusNotFound || !strings.Contains(page.Body, "This link is no longer valid") {
		t.Errorf("%s: %d", page.URL.Path, page.Status)
	}
}

func TestInvitation(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		id := o.Must(http.MethodPost, "/users", servertest.Object{"username": "bob", "name": "Bob"}).String("id")
		link := o.link(t, id, "invitation")
		browser := o.Browser()
		for range 3 { // programs that look at the links in mails use nothing up
			page := browser.Get(link)
			wantStatus(t, page, http.StatusOK)
			if page.Header.Get("Referrer-Policy") != "strict-origin" || page.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", page.Header)
			}
			if !strings.Contains(page.Body, "Bob") || strings.Contains(page.Action(), "token") {
				t.Errorf("the form leads to %s", page.Action())
			}
			if answer := browser.Send(http.MethodHead, link, "", nil); answer.Status != http.StatusOK {
				t.Errorf("HEAD: %d", answer.Status)
			}
		}
		for _, wrong := range [][]string{{"again", "another"}, {"password", "short", "again", "short"}, {"password", "", "again", ""}} {
			wantStatus(t, setPassword(browser, link, wrong...), http.StatusBadRequest)
		}
		done := setPassword(browser, link)
		if done.Status != http.StatusOK || !strings.HasSuffix(done.URL.Path, "/account/link/done") || !strings.Contains(done.Body, "Your password is set") {
			t.Fatalf("afterwards: %d at %s", done.Status, done.URL)
		}
		// A link signs nobody in.
		if len(browser.Cookies()) != 0 {
			t.Errorf("cookies %v", browser.Cookies())
		}
		wantNoLink(t, browser.Get(link))
		if page := browser.Post(o.URL+"/login", servertest.Form("username", "bob", "password", chosenPassword)); page.URL.Path != "/account" {
			t.Errorf("the sign-in leads to %s", page.URL)
		}
		if n := o.audited(t, "user_link.used"); n != 1 {
			t.Errorf("%d events of its use", n)
		}
	})
}

// A reset ends what the old password opened.
func TestPasswordReset(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		tokens := o.tokens(t)
		alice := o.find(t, "/users", "username", "alice")
		older, link := o.link(t, alice, "password_reset"), o.link(t, alice, "password_reset")
		wantNoLink(t, o.Browser().Get(older))
		if !o.active(t, tokens.access) || o.alice.Get(o.URL+"/account").IsLogin() {
			t.Error("making a link ends something")
		}
		wantStatus(t, setPassword(o.Browser(), link), http.StatusOK)
		if !o.alice.Get(o.URL + "/account").IsLogin() {
			t.Error("the session lives on")
		}
		if o.active(t, tokens.access) {
			t.Error("the installation lives on")
		}
		wantError(t, o.Refresh(o.clientID, tokens.refresh), http.StatusBadRequest, "invalid_grant")
		if page := o.Browser().Post(o.URL+"/login", servertest.Form("username", "alice", "password", servertest.Password)); page.Status != http.StatusUnauthorized {
			t.Errorf("the old password: %d", page.Status)
		}
	})
}

func TestLinksThatAreDead(t *testing.T) {
	o := newOffice(t)
	alice := o.find(t, "/users", "username", "alice")
	for name, end := range map[string]func(){
		"expired":        func() { o.Clock.Advance(24 * time.Hour) },
		"user disabled":  func() { o.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"disabled": true}) },
		"password given": func() { o.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"password": servertest.Password}) },
		"withdrawn":      func() { o.Must(http.MethodDelete, "/users/"+alice+"/links", nil) },
	} {
		link := o.link(t, alice, "password_reset")
		browser := o.Browser()
		page := browser.Get(link)
		wantStatus(t, page, http.StatusOK)
		end()
		wantNoLink(t, browser.Get(link))
		// The form was opened while the link was good.
		wantNoLink(t, browser.Post(page.Action(), changed(page.Fields(), "password", chosenPassword, "again", chosenPassword)))
		o.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"disabled": false})
		if t.Failed() {
			t.Fatal(name)
		}
	}
	for _, token := range []string{"", "x", "ult_" + strings.Repeat("A", 43), strings.Repeat("x", 4000), "%00", "' OR 1=1--"} {
		wantNoLink(t, o.Browser().Get(o.URL+"/account/link?token="+url.QueryEscape(token)))
		wantNoLink(t, o.Browser().Post(o.URL+"/account/link", servertest.Form("token", token, "password", chosenPassword, "again", chosenPassword)))
	}
}

// LG-01, CS-18, CS-19: a link is not used by another site, nor by another method.
func TestLinkAttacks(t *testing.T) {
	o := newOffice(t)
	link := o.link(t, o.find(t, "/users", "username", "alice"), "password_reset")
	page := o.Browser().Get(link)
	form := changed(page.Fields(), "password", chosenPassword, "again", chosenPassword)
	for name, c := range map[string]struct {
		method, target string
		header         http.Header
		status         int
	}{
		"from another site":  {"POST", page.Action(), http.Header{"Content-Type": {formType}, "Sec-Fetch-Site": {"cross-site"}}, 403},
		"a foreign origin":   {"POST", page.Action(), http.Header{"Content-Type": {formType}, "Origin": {"https://evil.example"}}, 403},
		"an opaque origin":   {"POST", page.Action(), http.Header{"Content-Type": {formType}, "Origin": {"null"}}, 403},
		"by GET":             {"GET", link + "&" + form.Encode(), nil, 200},
		"by PUT":             {"PUT", page.Action(), http.Header{"Content-Type": {formType}}, 405},
		"as JSON":            {"POST", page.Action(), http.Header{"Content-Type": {"application/json"}}, 415},
		"the form in a link": {"POST", page.Action() + "?" + form.Encode(), http.Header{"Content-Type": {formType}}, 400},
	} {
		body := form.Encode()
		if name == "the form in a link" {
			body = "password=x&password=y"
		}
		if answer := o.Browser().Send(c.method, c.target, body, c.header); answer.Status != c.status {
			t.Errorf("%s: %d, want %d", name, answer.Status, c.status)
		}
	}
	o.SignedIn("alice")
	wantStatus(t, o.Browser().Get(link), http.StatusOK)
}

// Of those who use a link at once one does.
func TestLinkRace(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		page := o.Browser().Get(o.link(t, o.find(t, "/users", "username", "alice"), "password_reset"))
		form := changed(page.Fields(), "password", chosenPassword, "again", chosenPassword).Encode()
		statuses := make(chan int, 8)
		var running sync.WaitGroup
		for range cap(statuses) {
			running.Go(func() {
				statuses <- o.Browser().Send(http.MethodPost, page.Action(), form, http.Header{"Content-Type": {formType}}).Status
			})
		}
		running.Wait()
		close(statuses)
		won := 0
		for status := range statuses {
			if status == http.StatusSeeOther {
				won++
			} else if status != http.StatusNotFound {
				t.Errorf("status %d", status)
			}
		}
		if won != 1 || o.audited(t, "user_link.used") != 1 {
			t.Errorf("%d of them used it", won)
		}
	})
}

// LG-07: not parallel, it reads the process's log.
func TestLG07LinkIsInNoLog(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&lockedWriter{w: &log}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })
	o := newOffice(t)
	link := o.link(t, o.find(t, "/users", "username", "alice"), "password_reset")
	_, token, _ := strings.Cut(link, "token=")
	setPassword(o.Browser(), link)
	o.Browser().Post(o.URL+"/account/link", servertest.Form("token", token, "password", chosenPassword, "again", chosenPassword))
	o.Browser().Get(link)
	if log.Len() == 0 || strings.Contains(log.String(), token[4:]) || strings.Contains(log.String(), chosenPassword) {
		t.Errorf("the log:\n%s", log.String())
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestFirstAdmin(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		s := servertest.New(t, servertest.WithStore(open(t)))
		older, link := s.FirstAdminLink(), s.FirstAdminLink()
		wantNoLink(t, s.Browser().Get(older))
		browser := s.Browser()
		for name, wrong := range map[string][]string{
			"no user name":      {"username", ""},
			"a long one":        {"username", strings.Repeat("x", 129)},
			"an invisible one":  {"username", "a\u202eb"},
			"a very long name":  {"username", "root", "name", strings.Repeat("x", 201)},
			"no password":       {"username", "root", "password", "", "again", ""},
			"a broken encoding": {"username", "\xff"},
		} {
			page := setPassword(browser, link, wrong...)
			if page.Status != http.StatusBadRequest {
				t.Errorf("%s: %d", name, page.Status)
			}
		}
		wantStatus(t, setPassword(browser, link, "username", " Root ", "name", "Rosa"), http.StatusOK)
		wantNoLink(t, browser.Get(link))
		if s.FirstAdminLink() != "" {
			t.Error("there is a link beside the first administrator")
		}
		users := s.Must(http.MethodGet, "/users", nil)["items"].([]any)
		first := users[0].(map[string]any)
		if groups := first["groups"].([]any); len(users) != 1 || first["username"] != "Root" || first["name"] != "Rosa" || len(groups) != 1 || groups[0] != storage.AdminGroup {
			t.Errorf("users %v", users)
		}
		if page := browser.Post(s.URL+"/login", servertest.Form("username", "root", "password", chosenPassword)); page.URL.Path != "/account" {
			t.Errorf("the sign-in leads to %s", page.URL)
		}
	})
	t.Run("it expires, and ends with any user", func(t *testing.T) {
		s := servertest.New(t)
		link := s.FirstAdminLink()
		s.Clock.Advance(24 * time.Hour)
		wantNoLink(t, s.Browser().Get(link))
		link = s.FirstAdminLink()
		browser := s.Browser()
		page := browser.Get(link)
		s.User("alice")
		wantNoLink(t, browser.Get(link))
		wantNoLink(t, browser.Post(page.Action(), changed(page.Fields(), "username", "root", "password", chosenPassword, "again", chosenPassword)))
	})
}
