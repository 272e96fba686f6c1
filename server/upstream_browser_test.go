package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"grantd/server/servertest"
)

// LG-10, LG-11, SS-01, CS-23: the mark that binds an answer to the browser is a cookie
// like the session's: only of this host, from the moment the browser leaves for the
// provider until it is back, and never larger than a few sign-ins.
func TestLG10UpstreamMark(t *testing.T) {
	p := newIDP(t)
	h := newHouse(t, servertest.WithTLS(), servertest.WithOutboundAllow(strings.TrimPrefix(p.URL, "http://")))
	p.now = h.Clock.Now
	id := h.Must(http.MethodPost, "/providers", servertest.Object{"name": "Example", "issuer": p.URL, "client_id": "grantd"}).String("id")
	b := h.Browser()
	marks := func() (value string) {
		for _, c := range b.Cookies() {
			if c.Name == "__Host-grantd_upstream" {
				value = c.Value
			}
		}
		return value
	}
	request := servertest.AuthorizationRequest(h.clientID, loopback, resourceURI)
	if page := b.Authorize(request); !page.IsLogin() || len(b.Cookies()) != 0 {
		t.Fatalf("before anybody went to the provider: %d, cookies %v", page.Status, b.Cookies())
	}
	start := h.URL + "/login/upstream/" + id + "?" + request.Encode()
	set := (&http.Response{Header: b.Send(http.MethodGet, start, "", nil).Header}).Cookies()
	if len(set) != 1 {
		t.Fatalf("cookies %v", set)
	}
	if c := set[0]; c.Name != "__Host-grantd_upstream" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 600 {
		t.Errorf("cookie %+v", c)
	}
	// In advance nothing is begun.
	if early := b.Send(http.MethodGet, start, "", http.Header{"Sec-Purpose": {"prefetch"}}); early.Status != http.StatusForbidden || len(early.Header.Values("Set-Cookie")) != 0 {
		t.Errorf("prefetched: %d %v", early.Status, early.Header)
	}
	for range 200 {
		b.Send(http.MethodGet, start, "", nil)
	}
	if len(marks()) > 300 {
		t.Errorf("200 sign-ins begun: %d bytes", len(marks()))
	}
	callback, state := p.begin(t, h, b, id, "?"+request.Encode())
	before := marks()
	page := b.Get(callback + p.answer(state))
	if !page.IsConsent() || len(marks()) >= len(before) {
		t.Errorf("back: %d, the marks %q were %q", page.Status, marks(), before)
	}
	// A mark of another name, as a sibling host could set, is none.
	callback, state = p.begin(t, h, b, id, "")
	tossed := h.Do(h.Request(http.MethodGet, callback+p.answer(state), "", http.Header{"Cookie": {"grantd_upstream=" + marks()}}))
	twice := h.Do(h.Request(http.MethodGet, callback+p.answer(state), "", http.Header{"Cookie": {"__Host-grantd_upstream=" + marks() + "; __Host-grantd_upstream=x"}}))
	for name, answer := range map[string]*servertest.Answer{"tossed": tossed, "twice": twice} {
		if answer.Status != http.StatusForbidden || strings.Contains(strings.Join(answer.Header.Values("Set-Cookie"), " "), "session") {
			t.Errorf("%s: %d %v", name, answer.Status, answer.Header.Values("Set-Cookie"))
		}
	}
}

// LG-02: a provider's sign-in takes the place of a session that somebody planted, and
// the id that was raised is worth nothing afterwards.
func TestLG02OldSessionIsDead(t *testing.T) {
	dead := func(t *testing.T, s *servertest.Server, old *http.Cookie) {
		t.Helper()
		r := s.Request(http.MethodGet, "/account", "", nil)
		r.AddCookie(old)
		if answer := s.Do(r); answer.Status != http.StatusSeeOther || answer.Header.Get("Location") != "/login" {
			t.Errorf("the old session gets %d to %q", answer.Status, answer.Header.Get("Location"))
		}
	}
	t.Run("provider", func(t *testing.T) {
		h, p, id := upstreamHouse(t, nil)
		b := h.SignedIn("alice")
		planted := sessionCookie(t, b)
		callback, state := p.begin(t, h, b, id, "")
		if page := b.Get(callback + p.answer(state)); !strings.Contains(page.Body, "Bea") {
			t.Fatalf("%d at %s", page.Status, page.URL)
		}
		dead(t, h.Server, planted)
	})
	t.Run("second factor", func(t *testing.T) {
		o := newOffice(t)
		b := o.SignedIn("alice")
		phone, _ := o.enrolled(t)
		before := sessionCookie(t, b)
		wantAsked(t, answer(b, b.Get(o.URL+"/authorize?"+stepUpRequest(o)), phone.code(o.Clock.Now())))
		dead(t, o.Server, before)
	})
	t.Run("set-up", func(t *testing.T) {
		o := newOffice(t)
		b := o.SignedIn("alice")
		before := sessionCookie(t, b)
		page := b.Get(o.URL + "/account/security/totp")
		answer(b, page, appOf(t, page).code(o.Clock.Now()))
		dead(t, o.Server, before)
	})
	t.Run("sign-out", func(t *testing.T) {
		o := newOffice(t)
		before := sessionCookie(t, o.alice)
		o.alice.Post(o.URL+"/logout", nil)
		dead(t, o.Server, before)
	})
}

// LG-14: a provider that answers with 5xx, or not at all, is a page of 502 or 504, and
// signs nobody in.
func TestLG14UpstreamAnswersBadly(t *testing.T) {
	t.Run("5xx", func(t *testing.T) {
		var provider *httptest.Server
		provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/openid-configuration") {
				http.Error(w, "no", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{
				"issuer": provider.URL, "authorization_endpoint": provider.URL + "/authorize", "token_endpoint": provider.URL + "/token", "jwks_uri": provider.URL + "/jwks",
			})
		}))
		t.Cleanup(provider.Close)
		h := newHouse(t, servertest.WithOutboundAllow(strings.TrimPrefix(provider.URL, "http://")))
		id := h.Must(http.MethodPost, "/providers", servertest.Object{"name": "Example", "issuer": provider.URL, "client_id": "grantd"}).String("id")
		wantNobody(t, &idp{Server: provider}, h, id, http.StatusBadGateway)
	})
	t.Run("hangs", func(t *testing.T) {
		h, p, id := upstreamHouse(t, nil)
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		p.forge = func(map[string]any) string { <-release; return "" }
		wantNobody(t, p, h, id, http.StatusGatewayTimeout)
	})
}

// wantNobody goes to the provider and back, to a page with this status and no session.
func wantNobody(t *testing.T, p *idp, h *house, id string, status int) {
	t.Helper()
	b := h.Browser()
	callback, state := p.begin(t, h, b, id, "")
	if page := b.Get(callback + p.answer(state)); page.Status != status || !strings.Contains(page.Body, "/login/local") {
		t.Errorf("status %d, want %d\n%s", page.Status, status, page.Body)
	}
	if !b.Get(h.URL+"/account").IsLogin() || len(people(t, h)) != 0 {
		t.Error("somebody is signed in, or made")
	}
}
