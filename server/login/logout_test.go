package login_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestSS05LogoutAsksThenSays(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{path: "/tenant"})
	h.user(t, "alice")
	set := h.signIn(t, "alice", right).Cookies()

	page := h.get(t, "/logout?post_logout_redirect_uri=https://evil.example/", with(set...))
	page.want(t, http.StatusOK)
	if got := action(t, page.body); got != "/tenant/logout" {
		t.Errorf("the form posts to %s", got)
	}
	if !strings.Contains(page.body, "alice") || strings.Contains(page.body, "evil.example") {
		t.Errorf("page: %s", page.body)
	}
	h.get(t, "/login", with(set...)).want(t, http.StatusSeeOther) // reading it signs nobody out

	done := h.send(t, http.MethodPost, "/logout?post_logout_redirect_uri=https://evil.example/", "", with(set...))
	done.want(t, http.StatusSeeOther)
	if got := done.Header.Get("Location"); got != "/tenant/logout" {
		t.Errorf("leads to %s", got)
	}
	if c := done.cookie("grantd_session"); c == nil || c.MaxAge >= 0 {
		t.Errorf("session cookie: %v", c)
	}
	if done.cookie("grantd_device") != nil {
		t.Error("the device is forgotten")
	}
	said := h.get(t, "/logout", with(set...)) // a replayed cookie is no session
	said.want(t, http.StatusOK)
	if !strings.Contains(said.body, "You are signed out") || !strings.Contains(said.body, `href="/tenant/login"`) {
		t.Errorf("page: %s", said.body)
	}
	h.send(t, http.MethodPost, "/logout", "").want(t, http.StatusSeeOther) // nobody signed in: the same
}

func TestSS05LogoutCSRF(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	set := h.signIn(t, "alice", right).Cookies()
	for name, forged := range map[string]change{
		"Sec-Fetch-Site": header("Sec-Fetch-Site", "cross-site"), "Origin": header("Origin", "https://evil.example"),
	} {
		a := h.send(t, http.MethodPost, "/logout", "", with(set...), forged)
		a.want(t, http.StatusForbidden)
		if len(a.Cookies()) > 0 {
			t.Errorf("%s: cookies %v", name, a.Cookies())
		}
	}
	h.get(t, "/login", with(set...)).want(t, http.StatusSeeOther) // still signed in
}
