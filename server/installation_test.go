package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// CS-24, SS-07: who ends one installation on the account page takes its tokens at once
// and leaves the others, what the application may do, and other people's alone.
func TestCS24EndOneInstallation(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		o.User("bob")
		bob := o.SignedIn("bob")
		bobs := wantTokens(t, o.Redeem(o.clientID, bob.Code(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))))
		only := o.tokens(t)
		if page := o.alice.Get(o.URL + "/account"); strings.Contains(page.Body, `name="installation"`) {
			t.Error("the only installation can be ended alone")
		}
		redeemed := o.Do(o.Request(http.MethodPost, "/token", o.redemption(o.code(t)).Encode(), http.Header{
			"Content-Type": {formType}, "User-Agent": {"notes-cli/2.1 <b>"},
		}))
		second := wantTokens(t, redeemed)
		page := o.alice.Get(o.URL + "/account")
		found := regexp.MustCompile(`name="installation" value="(fam_[^"]+)"`).FindAllStringSubmatch(page.Body, -1)
		if len(found) != 2 || !strings.Contains(page.Body, "Signed in 2 times") ||
			!strings.Contains(page.Body, `<bdi class="strong">notes-cli</bdi> · 127.0.0.1`) ||
			!strings.Contains(page.Body, `<bdi class="strong">Go-http-client</bdi> · 127.0.0.1`) {
			t.Fatalf("%d installations:\n%s", len(found), page.Body)
		}
		mark := page.Fields().Get("page")
		form := servertest.Form("page", mark, "installation", found[0][1])
		own := http.Header{"Content-Type": {formType}, "Origin": {o.Origin}, "Sec-Fetch-Site": {"same-origin"}}
		foreign := own.Clone()
		foreign.Set("Sec-Fetch-Site", "cross-site")
		for name, c := range map[string]struct {
			browser *servertest.Browser
			method  string
			form    string
			header  http.Header
			status  int
		}{
			"CS-18 from another site":       {o.alice, "POST", form.Encode(), foreign, 403},
			"CS-01 without the page's mark": {o.alice, "POST", changed(form, "page", "").Encode(), own, 409},
			"CS-19 by GET":                  {o.alice, "GET", "", nil, 405},
			"CS-19 as text":                 {o.alice, "POST", form.Encode(), http.Header{"Content-Type": {"text/plain"}, "Origin": {o.Origin}}, 415},
			"a field twice":                 {o.alice, "POST", form.Encode() + "&installation=" + found[1][1], own, 400},
			"one that is none":              {o.alice, "POST", changed(form, "installation", "fam_none").Encode(), own, 303},
			"alice's by bob":                {bob, "POST", changed(form, "page", bob.Get(o.URL+"/account/password").Fields().Get("page")).Encode(), own, 303},
			"nobody signed in":              {o.Browser(), "POST", form.Encode(), own, 303},
		} {
			if answer := c.browser.Send(c.method, o.URL+"/account/installations", c.form, c.header); answer.Status != c.status {
				t.Errorf("%s: %d, want %d", name, answer.Status, c.status)
			}
		}
		if !o.active(t, only.access) || !o.active(t, second.access) {
			t.Fatal("something was ended")
		}
		done := o.alice.Post(o.URL+"/account/installations", form)
		if !strings.Contains(done.Body, "It is signed out.") || strings.Contains(done.Body, `name="installation"`) {
			t.Errorf("afterwards: %d %s", done.Status, done.Body)
		}
		if o.active(t, only.access) || !o.active(t, second.access) || !o.active(t, bobs.access) {
			t.Error("not exactly the first installation has lost access")
		}
		wantError(t, o.Refresh(o.clientID, only.refresh), http.StatusBadRequest, "invalid_grant")
		wantTokens(t, o.Refresh(o.clientID, second.refresh))
		wantStatus(t, o.alice.Post(o.URL+"/account/installations", form), http.StatusOK) // again, as a page left open would
		if n := o.audited(t, "family.ended"); n != 1 {
			t.Errorf("%d events", n)
		}
		if said := o.alice.Get(o.URL + "/account/activity").Body; !strings.Contains(said, "You ended one sign-in of Public to Resource "+resourceURI+".") {
			t.Errorf("the activity does not tell:\n%s", said)
		}
	})
}
