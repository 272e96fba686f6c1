package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"grantd/server/servertest"
)

// OpenID Connect Core §3.1.2.1: ui_locales, else what the browser prefers, on every
// page that follows from the request.
func TestLanguageOfPages(t *testing.T) {
	f := newFront(t)
	get := func(path, accept string) *servertest.Answer {
		return f.alice.Send(http.MethodGet, f.URL+path, "", http.Header{"Accept-Language": {accept}})
	}
	query := f.ask().Encode()
	for _, c := range []struct{ name, path, accept, lang, text string }{
		{"English by default", "/account", "", "en", "Your account"},
		{"the browser's", "/account", "de-DE,de;q=0.9,en;q=0.5", "de", "Ihr Konto"},
		{"consent", "/authorize?" + query, "fr", "fr", "Pour combien de temps"},
		{"ui_locales before the browser's", "/authorize?" + query + "&ui_locales=ja", "fr", "ja", "有効期間"},
		{"sign-in for the request", "/login?" + query + "&ui_locales=es", "fr", "es", "Contraseña"},
		{"an error", "/authorize?client_id=unknown", "zh-CN", "zh-Hans", "此处不识别此应用程序"},
		{"no such page", "/nowhere", "de", "de", "Diese Seite gibt es nicht"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := get(c.path, c.accept)
			if !strings.Contains(answer.Body, `<html lang="`+c.lang+`">`) || !strings.Contains(answer.Body, c.text) {
				t.Errorf("not in %s, or does not say %q:\n%s", c.lang, c.text, answer.Body)
			}
			if answer.Header.Get("Vary") != "Accept-Language" {
				t.Errorf("Vary = %q", answer.Header.Get("Vary"))
			}
		})
	}
}

// The seal is of what is asked, not of the words it is asked in: a page that was read
// in one language is answered in another.
func TestConsentIsSealedInAnyLanguage(t *testing.T) {
	f := newFront(t)
	query := f.ask()
	page := f.alice.Send(http.MethodGet, f.URL+"/authorize?"+query.Encode(), "", http.Header{"Accept-Language": {"de"}})
	_, rest, _ := strings.Cut(page.Body, `name="approval" value="`)
	approval, _, _ := strings.Cut(rest, `"`)
	left := f.alice.Post(f.URL+"/authorize?"+query.Encode(), servertest.Form("decision", "approve", "approval", approval, "scope", "notes:read"))
	if left.Left == nil || left.Left.Query().Get("code") == "" {
		t.Errorf("ended with %d: %s", left.Status, left.Body)
	}
}

// RFC 9126 §4: what was pushed is the request, its ui_locales too, on the sign-in page, the
// code's, the consent page and those that say what is wrong. What the browser adds does
// not count.
func TestLanguageOfPushedRequests(t *testing.T) {
	f := newFront(t)
	read := func(b *servertest.Browser, path string, query url.Values) *servertest.Answer {
		return b.Send(http.MethodGet, f.URL+path+"?"+query.Encode(), "", http.Header{"Accept-Language": {"fr"}})
	}
	german := f.pushed(t, "ui_locales", "sv de")
	added := f.pushed(t)
	added.Set("ui_locales", "es")
	gone := f.pushed(t, "ui_locales", "ja")
	denied := f.alice.Authorize(gone)
	form := denied.Fields()
	form.Set("decision", "deny")
	f.alice.Post(denied.Action(), form)
	stranger := f.Browser()
	for _, c := range []struct {
		name       string
		browser    *servertest.Browser
		path       string
		query      url.Values
		lang, text string
	}{
		{"sign-in", stranger, "/login", german, "de", "Passwort"},
		{"consent", f.alice, "/authorize", german, "de", "Wie lange"},
		{"nothing pushed about it", f.alice, "/authorize", added, "fr", "Pour combien de temps"},
		{"answered", f.alice, "/authorize", gone, "ja", ""},
		{"of nobody", f.alice, "/authorize", pushedAs(f.web, requestURIPrefix+"none"), "fr", ""},
		{"of another client", f.alice, "/authorize", pushedAs("unknown", german.Get("request_uri")), "fr", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if page := read(c.browser, c.path, c.query); !strings.Contains(page.Body, `<html lang="`+c.lang+`">`) || !strings.Contains(page.Body, c.text) {
				t.Errorf("not in %s, or does not say %q:\n%s", c.lang, c.text, page.Body)
			}
		})
	}
	wrong := stranger.Post(f.URL+"/login?"+german.Encode(), servertest.Form("username", "alice", "password", "wrong password"))
	if !strings.Contains(wrong.Body, `<html lang="de">`) {
		t.Errorf("after a wrong password it is not in German:\n%s", wrong.Body)
	}
}

// What grantd itself calls its scopes and Resources is said in the language of the page,
// with what the client learns.
func TestLanguageOfTheIdentity(t *testing.T) {
	f := newFront(t)
	request := f.ask("scope", "openid profile email", "ui_locales", "de")
	request.Del("resource")
	page := f.alice.Get(f.URL + "/authorize?" + request.Encode())
	for _, words := range []string{"Ihre Identitätsdaten verwenden", "Wissen, dass Sie selbst sich anmelden", "Ihren Namen und Benutzernamen sehen: <bdi>Person alice (alice)", "Ihre E-Mail-Adresse sehen: <bdi>alice@example.com"} {
		if !strings.Contains(page.Body, words) {
			t.Errorf("the page does not say %q:\n%s", words, page.Body)
		}
	}
}
