package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestPR03Lifetime: a request must be opened in time; then the person may take theirs.
func TestPR03Lifetime(t *testing.T) {
	for name, c := range map[string]struct {
		before, signingIn, deciding time.Duration
		refused                     string // a word of the page at which it ends
	}{
		"at once":                     {},
		"just in time":                {before: storage.PushedRequestLifetime - time.Microsecond},
		"too late":                    {before: storage.PushedRequestLifetime, refused: "expired"},
		"sign-in takes long":          {before: time.Minute, signingIn: 9 * time.Minute},
		"deciding takes long":         {before: time.Minute, deciding: 9 * time.Minute},
		"both take long":              {before: 80 * time.Second, signingIn: 5 * time.Minute, deciding: 5 * time.Minute},
		"sign-in takes too long":      {before: time.Minute, signingIn: 10*time.Minute + time.Second, refused: "expired"},
		"both together take too long": {signingIn: 6 * time.Minute, deciding: 5 * time.Minute, refused: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			pushed := f.pushed(t)
			f.Clock.Advance(c.before)
			browser := f.Browser()
			page := browser.Authorize(pushed)
			steps := []func(){
				func() { f.Clock.Advance(c.signingIn); page = signIn(t, browser, page) },
				func() { f.Clock.Advance(c.deciding); page = browser.Approve(page) },
			}
			for i := 0; i < len(steps) && page.Status == http.StatusOK && page.Left == nil; i++ {
				steps[i]()
			}
			if c.refused == "" {
				wantCode(t, page)
				return
			}
			wantRefusalPage(t, page)
			if !strings.Contains(page.Body, c.refused) {
				t.Errorf("the page does not say why:\n%s", page.Body)
			}
		})
	}
	t.Run("the memory of an arrival is its request's", func(t *testing.T) {
		f := newFront(t)
		first, second := f.pushed(t), f.pushed(t)
		step := f.Browser().Authorize(first).URL.Query().Get("grantd_step")
		f.Clock.Advance(storage.PushedRequestLifetime)
		wantAsked(t, f.alice.Authorize(changed(first, "grantd_step", step)))
		wantRefusalPage(t, f.alice.Authorize(first))
		wantRefusalPage(t, f.alice.Authorize(changed(second, "grantd_step", step)))
		wantRefusalPage(t, f.alice.Authorize(changed(first, "grantd_step", forged(step))))
		// It is not renewed by being used.
		again := f.alice.Authorize(changed(first, "grantd_step", step))
		f.Clock.Advance(9 * time.Minute)
		wantRefusalPage(t, f.alice.Get(again.Action()))
	})
	t.Run("prompt=login is asked once", func(t *testing.T) {
		f := newFront(t)
		pushed := f.pushed(t, "prompt", "login")
		f.Clock.Advance(time.Minute)
		page := f.alice.Authorize(pushed)
		f.Clock.Advance(time.Minute)
		wantCode(t, f.alice.Approve(signIn(t, f.alice, page)))
	})
}

// TestPR03Once: looking uses nothing up; deciding does, on every page there is.
func TestPR03Once(t *testing.T) {
	f := newFront(t)
	refused := func(t *testing.T, pushed url.Values, pages ...*servertest.Page) {
		t.Helper()
		f.quiet(t, func() {
			for _, b := range []*servertest.Browser{f.alice, f.Browser()} {
				page := b.Authorize(pushed)
				wantRefusalPage(t, page)
				if !strings.Contains(page.Body, "answered before") {
					t.Errorf("the page does not say why:\n%s", page.Body)
				}
			}
			for _, page := range pages {
				for _, answer := range []*servertest.Page{f.alice.Approve(page), f.alice.Deny(page)} {
					if answer.Left != nil || answer.Status != http.StatusBadRequest {
						t.Errorf("an older page: %d, left for %v", answer.Status, answer.Left)
					}
				}
			}
		})
	}
	t.Run("AZ-51 looking", func(t *testing.T) {
		pushed := f.pushed(t)
		target := f.URL + "/authorize?" + pushed.Encode()
		f.quiet(t, func() {
			for range 2 { // a scanner opens a link again, without our cookies
				if page := f.Browser().Get(target); !page.IsLogin() {
					t.Errorf("a stranger gets %d", page.Status)
				}
			}
			for _, header := range []http.Header{{"Sec-Purpose": {"prefetch"}}, {"Sec-Purpose": {"prefetch;prerender"}}, {"Purpose": {"prefetch"}}} {
				if answer := f.alice.Send(http.MethodGet, target, "", header); answer.Status != http.StatusForbidden || answer.Header.Get("Location") != "" {
					t.Errorf("%v: %d, Location %q", header, answer.Status, answer.Header.Get("Location"))
				}
			}
			if answer := f.alice.Send(http.MethodHead, target, "", nil); answer.Status != http.StatusOK {
				t.Errorf("HEAD: %d", answer.Status)
			}
		})
		first := f.alice.Get(target)
		wantAsked(t, first)
		wantAsked(t, f.alice.Get(target))
		wantCode(t, f.alice.Approve(first))
	})
	t.Run("approved", func(t *testing.T) {
		pushed := f.pushed(t, "prompt", "consent")
		first, second := f.alice.Authorize(pushed), f.alice.Authorize(pushed)
		code := wantCode(t, f.alice.Approve(first, "notes:read"))
		refused(t, pushed, first, second)
		if got := wantTokens(t, f.Post("/token", f.redemption(code, "client_id", ""), f.web+":"+f.secret)); got.scope != "notes:read" {
			t.Errorf("the scope is %q", got.scope)
		}
		refused(t, pushed, first, second) // AZ-52
	})
	t.Run("approved by another person", func(t *testing.T) {
		f.User("bob")
		pushed := f.pushed(t, "prompt", "consent")
		page, bob := f.alice.Authorize(pushed), f.SignedIn("bob")
		wantCode(t, bob.Approve(bob.Authorize(pushed)))
		refused(t, pushed, page)
	})
	t.Run("remembered", func(t *testing.T) {
		f.alice.Approve(f.alice.Authorize(f.ask("prompt", "consent")))
		pushed := f.pushed(t)
		wantCode(t, f.alice.Authorize(pushed))
		refused(t, pushed)
	})
	t.Run("denied", func(t *testing.T) {
		pushed := f.pushed(t, "prompt", "consent")
		first, second := f.alice.Authorize(pushed), f.alice.Authorize(pushed)
		f.wantRedirectError(t, f.alice.Deny(first), webCallback, "state-of-the-client", "access_denied")
		refused(t, pushed, first, second)
	})
	t.Run("an error decides nothing", func(t *testing.T) {
		pushed := f.pushed(t, "prompt", "none", "scope", "notes:write")
		f.wantRedirectError(t, f.Browser().Authorize(pushed), webCallback, "state-of-the-client", "login_required")
		f.alice.Approve(f.alice.Authorize(f.ask("prompt", "consent")))
		wantCode(t, f.alice.Authorize(pushed))
	})
	t.Run("the client changes meanwhile", func(t *testing.T) {
		pushed := f.pushed(t)
		f.Must(http.MethodPatch, "/clients/"+f.web, servertest.Object{"redirect_uris": []string{"https://other.example/cb"}})
		wantRefusalPage(t, f.alice.Authorize(pushed))
		f.Must(http.MethodPatch, "/clients/"+f.web, servertest.Object{"redirect_uris": []string{webCallback}})
	})
}
