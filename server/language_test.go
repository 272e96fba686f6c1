package server_test

import (
	"net/http"
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
