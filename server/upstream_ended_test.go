package server_test

import (
	"net/http"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// Nobody of a provider who has left, or whose provider has, does anything with what
// they hold: not with a token at the admin API or userinfo either, which lives on for
// ten minutes elsewhere.
func TestUpstreamTokensEndWithTheProvider(t *testing.T) {
	for name, end := range map[string]func(h *house, provider string){
		"the provider is disabled": func(h *house, id string) {
			h.Must(http.MethodPatch, "/providers/"+id, servertest.Object{"enabled": false})
		},
		"the provider is deleted": func(h *house, id string) { h.Must(http.MethodDelete, "/providers/"+id, nil) },
		"too long ago":            func(h *house, _ string) { h.Clock.Advance(5 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
				h, p, id := upstreamHouse(t, servertest.Object{"reverify_after": 3600}, servertest.WithStore(open(t)))
				o := &office{house: h}
				o.staff(t)
				terminal := h.Must(http.MethodPost, "/clients", servertest.Object{
					"client_name": "Terminal", "token_endpoint_auth_method": "none", "redirect_uris": []string{callback}, "admin_access": true,
				}).String("client_id")
				o.alice = h.Browser()
				callbackURI, state := p.begin(t, h, o.alice, id, "")
				wantAccount(t, o.alice.Get(callbackURI+p.answer(state)))
				bea := h.find(t, "/users", "email", "bea@example.com")
				h.Must(http.MethodPatch, "/users/"+bea, servertest.Object{"groups": []string{"admins"}})
				h.Clock.Advance(56 * time.Minute)
				tokens := wantTokens(t, h.Redeem(h.clientID, o.alice.Code(servertest.AuthorizationRequest(h.clientID, loopback, resourceURI))))
				identity := wantIdentified(t, h.Redeem(h.clientID, o.alice.Code(openID(h.clientID, loopback, "openid"))))
				admin := wantTokens(t, h.Redeem(terminal, o.alice.Code(servertest.AuthorizationRequest(terminal, loopback, h.URL+"/admin"))))
				c := &chancellery{Server: h.Server, t: t}
				who := func() int {
					return h.Do(h.Request(http.MethodGet, "/userinfo", "", http.Header{"Authorization": {"Bearer " + identity}})).Status
				}
				c.want(admin.access, http.MethodGet, "/clients", "", http.StatusOK, "")
				if !o.active(t, tokens.access) || who() != http.StatusOK {
					t.Fatal("the tokens are not good before")
				}
				end(h, id)
				c.want(admin.access, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
				if o.active(t, tokens.access) {
					t.Error("introspection calls the access token active")
				}
				if status := who(); status != http.StatusUnauthorized {
					t.Errorf("userinfo answers %d", status)
				}
				if !o.alice.Get(h.URL + "/account").IsLogin() {
					t.Error("the session lives")
				}
				wantError(t, h.Refresh(h.clientID, tokens.refresh), http.StatusBadRequest, "invalid_grant")
				o.inspect(t, tokens.access, "live", false, "family_live", false)
			})
		})
	}
}

// A link gives no password to whom a provider vouches for; where the provider is gone,
// it does, and the password counts.
func TestUpstreamPeopleAndLinks(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h, p, id := upstreamHouse(t, nil, servertest.WithStore(open(t)))
		wantAccount(t, p.comeBack(t, h, id))
		bea := h.find(t, "/users", "email", "bea@example.com")
		status, problem := h.Call(http.MethodPost, "/users/"+bea+"/links", servertest.Object{"purpose": "password_reset"})
		if status != http.StatusConflict || problem["type"] != "urn:grantd:problem:provider-user" {
			t.Errorf("a link for a provider's person: %d %v", status, problem)
		}
		h.Must(http.MethodDelete, "/providers/"+id, nil)
		o := &office{house: h}
		wantStatus(t, setPassword(h.Browser(), o.link(t, bea, "password_reset")), http.StatusOK)
		wantAccount(t, h.Browser().Post(h.URL+"/login", servertest.Form("username", "bea@example.com", "password", chosenPassword)))
	})
}
