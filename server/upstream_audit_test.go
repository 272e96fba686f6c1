package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestAuditAccessFollowsGroupsOfProviders: who had which access, as the groups came
// and went that an identity provider tells of.
func TestAuditAccessFollowsGroupsOfProviders(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		auditAccessFollowsGroupsOfProviders(t, open(t))
	})
}

func auditAccessFollowsGroupsOfProviders(t *testing.T, store storage.Store) {
	h, p, id := upstreamHouse(t, nil, servertest.WithStore(store))
	start := h.Clock.Now()
	h.dropRule(t, everyone)
	h.rule(servertest.Object{"name": "Staff read", "groups": []string{"staff"}, "scopes": []string{"notes:read"}})
	const access = "notes:read by Staff read"
	says := func(groups ...string) func() {
		return func() {
			p.change = func(c map[string]any) { c["groups"] = groups }
			if page := p.comeBack(t, h, id); page.URL.Path != "/account" {
				t.Fatalf("%d\n%s", page.Status, page.Body)
			}
		}
	}
	bea := func() string { return "/users/" + h.find(t, "/users", "email", "bea@example.com") }
	steps := []struct {
		act  func()
		want string
	}{
		{func() {
			b := h.Browser()
			callback, state := p.begin(t, h, b, id, "?"+servertest.AuthorizationRequest(h.clientID, loopback, resourceURI).Encode())
			wantTokens(t, h.Redeem(h.clientID, b.Approve(b.Get(callback+p.answer(state))).Left.Query().Get("code")))
		}, access},
		{says("guests"), ""},
		{says("guests", "staff"), access},
		{func() { h.Must(http.MethodPatch, bea(), servertest.Object{"groups": []string{"guests"}}) }, ""},
		{func() { h.Must(http.MethodPatch, bea(), servertest.Object{"groups": []string{"staff"}}) }, access},
		{says(), access}, // that membership was given here
		{func() { h.Must(http.MethodPatch, bea(), servertest.Object{"groups": []string{}}) }, ""},
		{says("staff"), access},
		{func() { h.Must(http.MethodDelete, "/providers/"+id, nil) }, ""},
	}
	for _, step := range steps {
		h.Clock.Advance(time.Minute)
		step.act()
	}
	for i, step := range steps {
		at := start.Add(time.Duration(i+1) * time.Minute)
		answer := h.Must(http.MethodGet, "/audit-access?at="+url.QueryEscape(at.Format(time.RFC3339)), nil)
		var all []string
		for _, item := range answer["items"].([]any) {
			x := servertest.Object(item.(map[string]any))
			all = append(all, strings.Trim(fmt.Sprint(x["scopes"]), "[]")+" by "+strings.Trim(fmt.Sprint(x["policies"]), "[]"))
		}
		if got := strings.Join(all, "; "); got != step.want || answer["complete"] != true {
			t.Errorf("after step %d: %q (complete %v), want %q", i+1, got, answer["complete"], step.want)
		}
	}
}

// An address that the provider has not verified is told as one, until an
// administrator gives another.
func TestOpenIDEmailOfAProvider(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	verified := false
	p.change = func(c map[string]any) { c["email_verified"] = verified }
	b := h.Browser()
	callback, state := p.begin(t, h, b, id, "?"+openID(h.clientID, loopback, "openid email").Encode())
	tokens := h.Redeem(h.clientID, b.Approve(b.Get(callback+p.answer(state))).Left.Query().Get("code"))
	wantClaims(t, servertest.Claims(tokens.JSON.String("id_token")), map[string]any{"email": "bea@example.com", "email_verified": nil})
	told := func(now any) {
		t.Helper()
		tokens = h.Refresh(h.clientID, tokens.JSON.String("refresh_token"))
		wantClaims(t, servertest.Claims(tokens.JSON.String("id_token")), map[string]any{"email_verified": now})
	}
	told(nil)
	verified = true
	p.comeBack(t, h, id)
	told(true)
	verified = false
	p.comeBack(t, h, id)
	told(nil)
	h.Must(http.MethodPatch, "/users/"+h.find(t, "/users", "email", "bea@example.com"), servertest.Object{"email": "bea@example.net"})
	told(true)
}
