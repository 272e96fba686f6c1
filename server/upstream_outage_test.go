package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
)

// LG-14: a provider that keeps silent, fails or refuses is a page of its own, with no
// word of its answer, and no weaker way in.
func TestLG14UpstreamTokenEndpoint(t *testing.T) {
	send := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		status int
		says   string
	}{
		"silence": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = r.Body.Read(make([]byte, 1<<10))
			<-r.Context().Done()
		}, http.StatusGatewayTimeout, "does not answer"},
		"invalid_grant":               {send(http.StatusBadRequest, `{"error":"invalid_grant","error_description":"canary"}`), http.StatusForbidden, "no longer good"},
		"invalid_client":              {send(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"canary"}`), http.StatusBadGateway, "did not accept this server"},
		"an error that nobody knows":  {send(http.StatusBadRequest, `{"error":"canary"}`), http.StatusBadGateway, "did not accept this server"},
		"a page":                      {send(http.StatusOK, `<html>canary`), http.StatusBadGateway, "does not answer"},
		"an access token and no more": {send(http.StatusOK, `{"access_token":"canary","token_type":"Bearer"}`), http.StatusBadGateway, "cannot be trusted"},
		"503":                         {send(http.StatusServiceUnavailable, `canary`), http.StatusBadGateway, "does not answer"},
		"a redirect":                  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/canary", http.StatusFound) }, http.StatusBadGateway, "did not accept this server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p, id := upstreamHouse(t, nil)
			p.token = test.answer
			b := h.Browser()
			callback, state := p.begin(t, h, b, id, "")
			page := b.Get(callback + p.answer(state))
			wantStatus(t, page, test.status)
			wantSays(t, page, test.says)
			if strings.Contains(page.Body, "canary") || !strings.Contains(page.Body, "/login/local") {
				t.Errorf("%s", page.Body)
			}
			if !b.Get(h.URL+"/account").IsLogin() || len(people(t, h)) > 0 {
				t.Errorf("somebody is signed in: %v", people(t, h))
			}
			// The mark is taken: the same answer does not make it ask again.
			if again := b.Get(callback + p.answer(state)); again.Status != http.StatusForbidden || p.asked != 1 {
				t.Errorf("once more: %d, asked %d times", again.Status, p.asked)
			}
			p.token = nil
			wantAccount(t, p.comeBack(t, h, id))
		})
	}
}

// LG-14: with one automatic provider the sign-in page leads there by itself, query and
// all; with two there is a choice. /login/local is the way past it, for the account
// that is kept for the day when the provider is down.
func TestLG14UpstreamAutomatic(t *testing.T) {
	h, p, id := upstreamHouse(t, servertest.Object{"automatic": true}, servertest.WithOutboundAllow("127.0.0.0/8"))
	request := servertest.AuthorizationRequest(h.clientID, loopback, resourceURI)
	b := h.Browser()
	page := b.Authorize(request)
	if page.Left == nil || !strings.HasPrefix(page.Left.String(), p.URL+"/authorize?") {
		t.Fatalf("not led to the provider: %d at %s", page.Status, page.URL)
	}
	p.nonce = page.Left.Query().Get("nonce")
	if page = b.Get(page.Left.Query().Get("redirect_uri") + p.answer(page.Left.Query().Get("state"))); !page.IsConsent() {
		t.Fatalf("no consent page: %d at %s", page.Status, page.URL)
	}
	// Who is signed in and must sign in anew may choose how.
	request.Set("prompt", "login")
	if page = b.Authorize(request); !page.IsLogin() {
		t.Errorf("prompt=login: %d at %s", page.Status, page.URL)
	}
	request.Del("prompt")

	second := newIDP(t)
	second.now = h.Clock.Now
	added := h.Must(http.MethodPost, "/providers", servertest.Object{"name": "Second", "issuer": second.URL, "client_id": "grantd", "automatic": true}).String("id")
	if page = h.Browser().Authorize(request); !page.IsLogin() || !strings.Contains(page.Body, "/login/upstream/"+id) || !strings.Contains(page.Body, "/login/upstream/"+added) {
		t.Errorf("two automatic ones: %d at %s", page.Status, page.URL)
	}
	h.Must(http.MethodPatch, "/providers/"+added, servertest.Object{"enabled": false})

	p.Close()
	h.Clock.Advance(11 * time.Minute) // so that its metadata must be fetched again
	other := h.Browser()
	down := other.Authorize(request)
	wantStatus(t, down, http.StatusBadGateway)
	local := ""
	for _, link := range down.Links() {
		if strings.Contains(link, "/login/local") {
			local = link
		}
	}
	form := other.Get(h.Origin + strings.TrimPrefix(local, h.Origin))
	if local == "" || !form.IsLogin() {
		t.Fatalf("no way past it: %q, %d\n%s", local, form.Status, down.Body)
	}
	if page = other.Post(form.Action(), servertest.Form("username", "alice", "password", servertest.Password)); !page.IsConsent() {
		t.Errorf("break-glass: %d at %s", page.Status, page.URL)
	}

	h.Must(http.MethodPatch, "/providers/"+id, servertest.Object{"automatic": false})
	if page = h.Browser().Authorize(request); !page.IsLogin() {
		t.Errorf("not automatic: %d at %s", page.Status, page.URL)
	}
}
