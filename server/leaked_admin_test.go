package server_test

import (
	"net/http"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// A leaked admin key says which it is, and ends.
func TestLeakedAdminKey(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		o := &office{house: &house{Server: c.Server}}
		made := c.Must(http.MethodPost, "/admin-keys", servertest.Object{"name": "ci", "scope": "read", "expires_in": 3600})
		key, id := made.String("key"), made.String("id")
		found := o.inspect(t, key, "kind", "admin_key", "live", true, "admin_key_id", id, "resource", c.resource, "issued_at", made["created_at"], "expires_at", made["expires_at"])
		if scopes, _ := found["scopes"].([]any); len(scopes) != 1 || scopes[0] != storage.ScopeAdminRead {
			t.Errorf("scopes = %v", found["scopes"])
		}
		// What may only read may ask, and end nothing.
		c.want(key, http.MethodPost, "/tokens/inspect", `{"value":"`+key+`"}`, http.StatusOK, "")
		c.want(key, http.MethodPost, "/tokens/revoke", `{"value":"`+key+`"}`, http.StatusForbidden, "read-only")
		if found := o.inspect(t, key); found["last_used_at"] == nil {
			t.Errorf("it was used, and that is not said: %v", found)
		}
		c.Clock.Advance(time.Hour)
		o.inspect(t, key, "live", false, "reason", "expired")

		writes := c.Must(http.MethodPost, "/admin-keys", servertest.Object{"name": "all", "scope": "write"})
		found = o.inspect(t, writes.String("key"), "live", true)
		if scopes, _ := found["scopes"].([]any); len(scopes) != 2 {
			t.Errorf("scopes = %v", found["scopes"])
		}
		o.end(t, writes.String("key"), "kind", "admin_key", "live", false, "reason", "revoked", "admin_key_id", writes.String("id"))
		c.want(writes.String("key"), http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
		if n := o.audited(t, "admin_key.deleted"); n != 1 {
			t.Errorf("%d audit events", n)
		}
		for _, value := range []string{writes.String("key"), "ak_", "ak_none", forged(key)} {
			if status, _ := c.Call(http.MethodPost, "/tokens/inspect", servertest.Object{"value": value}); status != http.StatusNotFound {
				t.Errorf("%q: %d", value, status)
			}
		}
	})
}

// What is said of an administrator's token is what the admin API does with it.
func TestLeakedAdministratorsToken(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		o := &office{house: &house{Server: c.Server}}
		tokens, code := c.signIn(), c.ada.Code(c.request())
		for _, value := range []string{tokens.access, tokens.refresh, code} {
			o.inspect(t, value, "live", true, "user_id", c.adaID, "resource", c.resource)
		}
		groups := func(names ...string) {
			c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": append([]string{}, names...)})
		}
		groups()
		c.want(tokens.access, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
		for _, value := range []string{tokens.access, tokens.refresh} {
			o.inspect(t, value, "live", false, "reason", "not_allowed", "family_live", false)
		}
		o.inspect(t, code, "live", false, "reason", "not_allowed")
		groups("admins")
		o.inspect(t, tokens.access, "live", true, "family_live", true)
		c.Must(http.MethodPatch, "/clients/"+c.clientID, servertest.Object{"admin_access": false})
		c.want(tokens.access, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
		o.inspect(t, tokens.access, "live", false, "reason", "not_allowed", "family_live", false)
		// It can still be ended, for the day when she is back.
		o.end(t, tokens.access, "live", false, "reason", "ended")
	})
}

// The same goes for whom a policy no longer allows, and for what is told of people.
func TestLeakedTokenThatAPolicyStops(t *testing.T) {
	o := newOffice(t)
	tokens := o.tokens(t, "scope", "notes:write")
	identity := wantIdentified(t, o.Redeem(o.clientID, o.alice.Code(openID(o.clientID, loopback, "openid"))))
	o.inspect(t, identity, "live", true, "family_live", true, "resource", o.URL+"/userinfo")
	o.dropRule(t, everyone)
	o.rule(servertest.Object{"name": "All read", "scopes": []string{"notes:read"}})
	if o.active(t, tokens.access) {
		t.Error("it is active")
	}
	o.inspect(t, tokens.access, "live", false, "reason", "not_allowed", "family_live", false)
	o.inspect(t, identity, "live", true)
}

// wantIdentified is the access token of an answer with an ID token.
func wantIdentified(t testing.TB, answer *servertest.Answer) string {
	t.Helper()
	if answer.Status != http.StatusOK || answer.JSON.String("id_token") == "" {
		t.Fatalf("no ID token: %d %s", answer.Status, answer.Body)
	}
	return answer.JSON.String("access_token")
}
