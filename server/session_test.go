package server_test

import (
	"net/http"
	"strings"
	"testing"

	"grantd/server/servertest"
)

// Packages session and login prove the cookie's rules; here they meet the pages
// that rely on them.

// SS-01, SS-02: the whole way over https, with the cookie that https deserves.
func TestSS01OverHTTPS(t *testing.T) {
	f := newFront(t, servertest.WithTLS())
	if !strings.HasPrefix(f.URL, "https://") {
		t.Fatalf("the issuer is %s", f.URL)
	}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {f.Origin}, "Sec-Fetch-Site": {"same-origin"}}
	answer := f.Do(f.Request(http.MethodPost, "/login", servertest.Form("username", "alice", "password", servertest.Password).Encode(), form))
	cookies := (&http.Response{Header: answer.Header}).Cookies()
	if len(cookies) == 0 {
		t.Fatalf("signing in set no cookie: %d", answer.Status)
	}
	for _, c := range cookies {
		if !strings.HasPrefix(c.Name, "__Host-grantd_") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %+v", c)
		}
	}
	page := f.alice.Approve(f.alice.Authorize(servertest.AuthorizationRequest(f.clientID, callback, resourceURI)))
	if f.responseParameters(t, page.Left.String(), callback).Get("iss") != f.URL {
		t.Errorf("left for %v", page.Left)
	}
	wantTokens(t, f.Redeem(f.clientID, wantCode(t, page)))
}

// SS-02, SS-06: a cookie that is not the one of a live session is nobody's, at every
// door, and never a 5xx.
func TestForeignCookiesAtEveryDoor(t *testing.T) {
	for name, opts := range map[string][]servertest.Option{"http": nil, "https": {servertest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t, opts...)
			other := newFront(t, opts...) // the same root key: a copy made before alice signed in here
			page := f.alice.Authorize(f.ask())
			good, foreign := sessionCookie(t, f.alice), sessionCookie(t, other.alice)
			flipped := "A" + good.Value[1:]
			if flipped == good.Value {
				flipped = "B" + good.Value[1:]
			}
			bare := strings.TrimPrefix(good.Name, "__Host-")
			cases := map[string]string{
				"none":                        "",
				"SS-06 tampered":              good.Name + "=" + flipped,
				"SS-06 truncated":             good.Name + "=" + good.Value[:20],
				"SS-06 of another database":   foreign.Name + "=" + foreign.Value,
				"SS-06 quoted":                good.Name + `="` + good.Value + `x"`,
				"SS-02 twice":                 good.Name + "=" + good.Value + "; " + good.Name + "=" + good.Value,
				"SS-02 tossed before ours":    good.Name + "=" + foreign.Value + "; " + good.Name + "=" + good.Value,
				"SS-02 tossed after ours":     good.Name + "=" + good.Value + "; " + good.Name + "=" + foreign.Value,
				"SS-02 the device's for it":   good.Name + "=" + cookieNamed(t, f.alice, "device").Value,
				"SS-06 8 KiB":                 good.Name + "=" + strings.Repeat("A", 8<<10),
				"SS-02 under another name":    good.Name + "2=" + good.Value,
				"SS-02 name in another case":  strings.ToUpper(good.Name) + "=" + good.Value,
				"SS-06 with something behind": good.Name + "=" + good.Value + "AAAA",
			}
			if name == "https" {
				cases["SS-02 without __Host-"] = bare + "=" + good.Value
				cases["SS-02 __Secure- for __Host-"] = "__Secure-" + bare + "=" + good.Value
			} else {
				cases["SS-02 with a prefix it does not have"] = "__Host-" + bare + "=" + good.Value
			}
			for name, cookie := range cases {
				t.Run(name, func(t *testing.T) {
					header := http.Header{"Cookie": {cookie}}
					form := http.Header{"Cookie": {cookie}, "Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {f.Origin}}
					f.quiet(t, func() {
						for _, answer := range []*servertest.Answer{
							f.Do(f.Request(http.MethodGet, "/authorize?"+f.ask().Encode(), "", header)),
							f.Do(f.Request(http.MethodPost, page.Action(), approval(page).Encode(), form)),
							f.Do(f.Request(http.MethodGet, "/account", "", header)),
						} {
							if answer.Status != http.StatusSeeOther || !strings.HasPrefix(answer.Header.Get("Location"), "/login") {
								t.Errorf("%d to %q\n%s", answer.Status, answer.Header.Get("Location"), answer.Body)
							}
						}
						if answer := f.Do(f.Request(http.MethodGet, "/logout", "", header)); answer.Status != http.StatusOK || !strings.Contains(answer.Body, "You are signed out") {
							t.Errorf("/logout: %d", answer.Status)
						}
						if answer := f.Do(f.Request(http.MethodPost, "/logout", "", form)); answer.Status != http.StatusSeeOther {
							t.Errorf("POST /logout: %d", answer.Status)
						}
					})
				})
			}
			wantCode(t, f.alice.Approve(page)) // nothing of that has ended alice's session
		})
	}
}

func sessionCookie(t testing.TB, b *servertest.Browser) *http.Cookie {
	t.Helper()
	return cookieNamed(t, b, "session")
}

func cookieNamed(t testing.TB, b *servertest.Browser, name string) *http.Cookie {
	t.Helper()
	for _, c := range b.Cookies() {
		if strings.HasSuffix(c.Name, "grantd_"+name) {
			return c
		}
	}
	t.Fatalf("the browser has no %s cookie", name)
	return nil
}

// SS-05: no parameter of /logout leads anywhere, and another site cannot sign anybody
// out.
func TestSS05Logout(t *testing.T) {
	f := newFront(t)
	query := "?post_logout_redirect_uri=https%3A%2F%2Fevil.example%2F&id_token_hint=x&state=y"
	answer := f.alice.Send(http.MethodPost, f.URL+"/logout"+query, "", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}})
	if answer.Status != http.StatusForbidden {
		t.Errorf("from another site: %d", answer.Status)
	}
	wantAsked(t, f.alice.Authorize(f.ask()))
	page := f.alice.Post(f.URL+"/logout"+query, nil)
	if page.Left != nil || page.URL.Path != "/logout" || page.Status != http.StatusOK || strings.Contains(page.Body, "evil.example") {
		t.Errorf("it ended at %s, left for %v", page.URL, page.Left)
	}
	if page := f.alice.Authorize(f.ask()); !page.IsLogin() {
		t.Errorf("after signing out: %d at %s", page.Status, page.URL)
	}
}
