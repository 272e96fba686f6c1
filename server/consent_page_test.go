package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"grantd/server/servertest"
)

func TestConsentPage(t *testing.T) {
	f := newFront(t)
	wantAll := func(t *testing.T, page *servertest.Page, texts ...string) {
		t.Helper()
		wantAsked(t, page)
		wantPageHeaders(t, page.Answer, false)
		for _, text := range texts {
			if !strings.Contains(page.Body, text) {
				t.Errorf("the page does not say %q", text)
			}
		}
	}
	t.Run("CS-16 a registered client", func(t *testing.T) {
		page := f.alice.Authorize(f.ask())
		wantAll(t, page, "Secret", "app.example.com", "Resource "+resourceURI, resourceURI, "Use notes:read.", "Use notes:write.",
			"tool_notes:read", "notes:write", "Person alice", "90 days", "Registered by your organisation", `value="deny"`, `value="approve"`)
		if strings.Contains(page.Body, "Not verified") || strings.Contains(page.Body, "on this computer") {
			t.Error("the page warns of a registered https client")
		}
	})
	t.Run("CS-15 a program on this computer", func(t *testing.T) {
		page := f.alice.Authorize(servertest.AuthorizationRequest(f.clientID, "http://127.0.0.1:49152/callback", resourceURI))
		wantAll(t, page, "127.0.0.1:49152", "a program on this computer", "Continue only if you started this")
	})
	for name, c := range map[string]struct {
		metadata string
		redirect string
		texts    []string
	}{
		"CS-14 look-alike host": {`{"client_name":"Apple","redirect_uris":["https://xn--pple-43d.com/cb"]}`, "https://xn--pple-43d.com/cb", []string{"xn--pple-43d.com", "Not verified", "Name it gives itself"}},
		"CS-14 look-alike name": {`{"client_name":"CIaude","redirect_uris":["https://evil.example/cb"]}`, "https://evil.example/cb", []string{"evil.example", "CIaude", "Not verified"}},
		"CS-15 all on loopback": {`{"client_name":"Local","redirect_uris":["http://localhost/cb"]}`, "http://localhost:1234/cb", []string{"localhost:1234", "a program on this computer"}},
	} {
		t.Run(name, func(t *testing.T) {
			id := f.registered(t, c.metadata).String("client_id")
			page := f.alice.Authorize(servertest.AuthorizationRequest(id, c.redirect, resourceURI))
			wantAll(t, page, c.texts...)
			if heading, _, _ := strings.Cut(page.Body, "</h1>"); !strings.Contains(heading, "unverified app") {
				t.Error("the heading does not say that the app is unverified")
			}
		})
	}
}

func TestCS11HostileNames(t *testing.T) {
	f := newFront(t)
	for name, clientName := range map[string]string{
		"script":        `<script>alert(1)</script>`,
		"attribute":     `\"><img src=x onerror=alert(1)>`,
		"template":      `{{7*7}}${7*7}`,
		"right to left": "Good\u202eliveE",
		"zero width":    "Go\u200bod\u2060Na\ufeffme",
		"isolates":      "\u2066Good\u2069",
		"combining":     "Z" + strings.Repeat("\u0300", 80),
		"long":          strings.Repeat("W", 200),
	} {
		t.Run(name, func(t *testing.T) {
			id := f.registered(t, `{"client_name":"`+clientName+`","redirect_uris":["`+dynamicCallback+`"]}`).String("client_id")
			for kind, page := range map[string]*servertest.Page{
				"consent": f.alice.Authorize(f.askDynamic("client_id", id)),
				"sign-in": f.Browser().Authorize(f.askDynamic("client_id", id)),
			} {
				wantOwnContent(t, page.Body)
				if strings.Contains(page.Body, "<img src=x") || name == "template" && !strings.Contains(page.Body, "{{7*7}}${7*7}") {
					t.Errorf("%s: the name is more than text:\n%s", kind, page.Body)
				}
				if strings.ContainsAny(page.Body, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u2060\ufeff") {
					t.Errorf("%s: the page has characters that cannot be seen", kind)
				}
				if strings.Contains(page.Body, strings.Repeat("W", 65)) || strings.Contains(page.Body, strings.Repeat("\u0300", 5)) || !utf8.ValidString(page.Body) {
					t.Errorf("%s: the name is not bounded", kind)
				}
			}
		})
	}
	for name, clientName := range map[string]string{"10 kB": strings.Repeat("x", 10<<10), "newline": `a\nb`, "NUL": `a\u0000b`, "escape": `a\u001b[2Jb`} {
		t.Run(name, func(t *testing.T) {
			wantError(t, f.register(`{"client_name":"`+clientName+`","redirect_uris":["`+dynamicCallback+`"]}`), http.StatusBadRequest, "invalid_client_metadata")
		})
	}
}

func TestCS12HostileLinks(t *testing.T) {
	f := newFront(t)
	for _, member := range []string{"client_uri", "logo_uri", "tos_uri", "policy_uri"} {
		for _, uri := range []string{"javascript:alert(1)", "data:text/html,x", "http://app.example/", "//app.example/", "https://user@app.example/", "app.example"} {
			t.Run(member+" "+uri, func(t *testing.T) {
				f.quiet(t, func() {
					wantError(t, f.register(`{"redirect_uris":["`+dynamicCallback+`"],"`+member+`":"`+uri+`"}`), http.StatusBadRequest, "invalid_client_metadata")
				})
				if status, answer := f.Call(http.MethodPost, "/clients", servertest.Object{"redirect_uris": []string{webCallback}, member: uri}); status < 400 {
					t.Errorf("the admin API answers %d %v", status, answer)
				}
			})
		}
	}
	id := f.registered(t, `{"redirect_uris":["`+dynamicCallback+`"],"client_uri":"https://links.example/","logo_uri":"https://logo.example/l.svg","tos_uri":"https://tos.example/","policy_uri":"https://policy.example/"}`).String("client_id")
	// CS-13: a logo is neither loaded by the page nor fetched for it.
	page := f.alice.Authorize(f.askDynamic("client_id", id))
	for _, host := range []string{"links.example", "logo.example", "tos.example", "policy.example"} {
		if strings.Contains(page.Body, host) {
			t.Errorf("the page leads to %s or loads it", host)
		}
	}
}

// CS-22, CS-23: a consent page needs the session's cookie and no other, and opening
// many leaves nothing in the browser.
func TestConsentCookies(t *testing.T) {
	f := newFront(t)
	b := f.Browser()
	for range 200 {
		if page := b.Authorize(f.ask("prompt", "login consent")); !page.IsLogin() || len(page.Header.Values("Set-Cookie")) != 0 {
			t.Fatalf("%d at %s, cookies %q", page.Status, page.URL, page.Header.Values("Set-Cookie"))
		}
	}
	page := b.Authorize(f.ask())
	page = b.Post(page.Action(), servertest.Form("username", "alice", "password", servertest.Password))
	wantAsked(t, page)
	size := 0
	for _, cookie := range b.Cookies() {
		size += len(cookie.Name) + len(cookie.Value) + 3
	}
	if size > 1024 {
		t.Errorf("the cookies have %d bytes", size)
	}
	if len(page.Header.Values("Set-Cookie")) != 0 {
		t.Errorf("the consent page sets %q", page.Header.Values("Set-Cookie"))
	}
	i := slices.IndexFunc(b.Cookies(), func(c *http.Cookie) bool { return strings.HasSuffix(c.Name, "grantd_session") })
	bare := f.Request(http.MethodPost, page.Action(), approval(page).Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	bare.AddCookie(b.Cookies()[i])
	if answer := f.Do(bare); answer.Status != http.StatusSeeOther {
		t.Errorf("with the session's cookie alone: %d\n%s", answer.Status, answer.Body)
	}
}
