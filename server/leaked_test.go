package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// inspect asks the admin API about a value and wants these members.
func (o *office) inspect(t testing.TB, value string, members ...any) servertest.Object {
	t.Helper()
	found := o.Must(http.MethodPost, "/tokens/inspect", servertest.Object{"value": value})
	wantMembers(t, found, members...)
	return found
}

func (o *office) end(t testing.TB, value string, members ...any) {
	t.Helper()
	wantMembers(t, o.Must(http.MethodPost, "/tokens/revoke", servertest.Object{"value": value}), members...)
}

func wantMembers(t testing.TB, found servertest.Object, members ...any) {
	t.Helper()
	for i := 0; i < len(members); i += 2 {
		if name := members[i].(string); found[name] != members[i+1] {
			t.Errorf("%s = %v, want %v: %v", name, found[name], members[i+1], found)
		}
	}
}

// What leaks says whose it is, and ends that one installation.
func TestLeakedValues(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		written := captureLogs(t)
		alice := o.find(t, "/users", "username", "alice")
		client := o.find(t, "/clients", "client_id", o.clientID)
		whose := []any{"user_id", alice, "client_id", client, "resource", resourceURI}
		var values []string

		for name, leak := range map[string]func(t *testing.T, got issued) (value, kind, reason string){
			"access token":  func(_ *testing.T, got issued) (string, string, string) { return got.access, "access_token", "" },
			"jti":           func(t *testing.T, got issued) (string, string, string) { return o.jti(t, got.access), "token_id", "" },
			"refresh token": func(_ *testing.T, got issued) (string, string, string) { return got.refresh, "refresh_token", "" },
			"spent refresh token": func(t *testing.T, got issued) (string, string, string) {
				wantTokens(t, o.Refresh(o.clientID, got.refresh))
				return got.refresh, "refresh_token", "spent"
			},
			"expired access token": func(_ *testing.T, got issued) (string, string, string) {
				o.Clock.Advance(11 * time.Minute)
				return got.access, "access_token", "expired"
			},
		} {
			t.Run(name, func(t *testing.T) {
				got, other := o.tokens(t), o.tokens(t)
				value, kind, reason := leak(t, got)
				values = append(values, value)
				found := o.inspect(t, value, append(whose, "kind", kind, "live", reason == "", "family_live", true)...)
				if found.String("reason") != reason || found.String("family_id") == "" || found["scopes"] == nil {
					t.Errorf("found %v", found)
				}
				events := o.audited(t, "family.ended")
				o.end(t, value, append(whose, "live", false, "family_live", false, "reason", "ended")...)
				o.inspect(t, value, "live", false, "family_live", false)
				o.end(t, value, "live", false)
				if n := o.audited(t, "family.ended") - events; n != 1 {
					t.Errorf("%d audit events, want 1", n)
				}
				if o.active(t, got.access) {
					t.Error("its access token is active")
				}
				// The other installation and the grant stay.
				wantTokens(t, o.Refresh(o.clientID, other.refresh))
			})
		}

		t.Run("code", func(t *testing.T) {
			code := o.code(t)
			values = append(values, code)
			o.inspect(t, code, append(whose, "kind", "authorization_code", "live", true)...)
			o.end(t, code, append(whose, "live", false, "reason", "revoked")...)
			wantError(t, o.Redeem(o.clientID, code), http.StatusBadRequest, "invalid_grant")
			o.inspect(t, code, "reason", "revoked")
			o.end(t, code, "reason", "revoked")
		})
		t.Run("redeemed code", func(t *testing.T) {
			code := o.code(t)
			got := wantTokens(t, o.Redeem(o.clientID, code))
			o.inspect(t, code, append(whose, "live", false, "reason", "redeemed", "family_live", true)...)
			o.end(t, code, "family_live", false)
			o.wantGone(t, got.refresh)
		})
		t.Run("machine's token", func(t *testing.T) {
			machine := o.find(t, "/clients", "client_id", o.machine.id)
			token := func() string {
				return wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())).access
			}
			for _, name := range []func(string) string{func(token string) string { return token }, func(token string) string { return o.jti(t, token) }} {
				leaked, other := token(), token()
				found := o.inspect(t, name(leaked), "client_id", machine, "live", true)
				if found["user_id"] != nil || found["family_id"] != nil {
					t.Errorf("found %v", found)
				}
				o.end(t, name(leaked), "live", false, "reason", "revoked")
				o.inspect(t, leaked, "live", false, "reason", "revoked")
				if o.active(t, leaked) || !o.active(t, other) {
					t.Error("not this one token has ended")
				}
			}
		})
		t.Run("client secret", func(t *testing.T) {
			web := o.find(t, "/clients", "client_id", o.web.id)
			values = append(values, o.web.secret)
			o.inspect(t, o.web.secret, "kind", "client_secret", "client_id", web, "live", true)
			o.Must(http.MethodPatch, "/clients/"+web, servertest.Object{"disabled": true})
			o.inspect(t, o.web.secret, "client_id", web, "live", false, "reason", "client_disabled")
			o.Must(http.MethodPatch, "/clients/"+web, servertest.Object{"disabled": false})
			o.end(t, o.web.secret, "client_id", web, "live", false, "reason", "revoked")
			status, _ := o.Call(http.MethodPost, "/tokens/inspect", servertest.Object{"value": o.web.secret})
			if status != http.StatusNotFound {
				t.Errorf("the secret is found when it is gone: %d", status)
			}
			wantError(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.web.basic()), http.StatusUnauthorized, "invalid_client")
		})
		t.Run("forged", func(t *testing.T) {
			got, code := o.tokens(t), o.code(t)
			before := len(o.list(t, "/audit-events"))
			for _, value := range []string{
				forged(got.access), forged(got.refresh), forged(code), "cs_none", "x", "rt_", "ac_", "tok_", "..", "\x00", "é", "e30.e30.e30",
				storage.NewIDAt(storage.PrefixToken, o.Clock.Now()), // of no one
				storage.NewIDAt(storage.PrefixToken, o.Clock.Now().Add(time.Hour)) + "_" + storage.NewID(storage.PrefixFamily),
				strings.ToUpper(o.jti(t, got.access)),
			} {
				for _, path := range []string{"/tokens/inspect", "/tokens/revoke"} {
					if status, answer := o.Call(http.MethodPost, path, servertest.Object{"value": value}); status != http.StatusNotFound || answer["type"] != "urn:grantd:problem:not-ours" {
						t.Errorf("%s %q: %d %v", path, value, status, answer)
					}
				}
			}
			if after := len(o.list(t, "/audit-events")); after != before {
				t.Errorf("%d audit events were written", after-before)
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})
		t.Run("disabled user", func(t *testing.T) {
			got := o.tokens(t)
			o.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"disabled": true})
			o.inspect(t, got.access, append(whose, "live", false, "reason", "ended", "family_live", false)...)
			// Nothing revives when the user is enabled again.
			o.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"disabled": false})
			o.inspect(t, got.access, "live", false, "reason", "ended")
			o.inspect(t, got.refresh, "live", false, "reason", "ended")
			if o.active(t, got.access) || !o.alice.Get(o.URL+"/account").IsLogin() || len(o.list(t, "/grants")) != 0 {
				t.Error("a token, the session or a grant is alive again")
			}
			o.wantGone(t, got.refresh)
		})
		for _, value := range values {
			if strings.Contains(written.String(), value) && !strings.HasPrefix(value, "tok_") {
				t.Error("a value is in the log")
			}
		}
	})
}

// jti is the id of an access token, as a log has it.
func (o *office) jti(t testing.TB, token string) string {
	t.Helper()
	answer := o.introspect(token)
	jti, _ := answer.JSON["jti"].(string)
	if !strings.HasPrefix(jti, "tok_") {
		t.Fatalf("introspect: %d %s", answer.Status, answer.Body)
	}
	return jti
}

// A client enabled again has nothing of what it was granted before.
func TestEnabledClientHasNothing(t *testing.T) {
	o := newOffice(t)
	got := o.tokens(t)
	client := "/clients/" + o.find(t, "/clients", "client_id", o.clientID)
	o.Must(http.MethodPatch, client, servertest.Object{"disabled": true})
	o.Must(http.MethodPatch, client, servertest.Object{"disabled": false})
	if o.active(t, got.access) || len(o.list(t, "/grants")) != 0 {
		t.Error("a token or a grant is alive again")
	}
	o.wantGone(t, got.refresh)
}

// The old secret goes on working for the overlap, and no longer.
func TestRotatedSecret(t *testing.T) {
	o := newOffice(t)
	path := "/clients/" + o.find(t, "/clients", "client_id", o.machine.id) + "/secrets"
	token := func(secret string) int {
		return o.Post("/token", servertest.Form("grant_type", "client_credentials"), credentials{o.machine.id, secret}.basic()).Status
	}
	made := o.Must(http.MethodPost, path+"/rotate", servertest.Object{"overlap": 3600})
	next := made.String("client_secret")
	o.Clock.Advance(time.Hour - time.Microsecond)
	if token(o.machine.secret) != http.StatusOK || token(next) != http.StatusOK {
		t.Error("not both secrets work in the overlap")
	}
	o.Clock.Advance(time.Microsecond)
	if token(o.machine.secret) != http.StatusUnauthorized || token(next) != http.StatusOK {
		t.Error("after the overlap not only the new secret works")
	}
	last := o.Must(http.MethodPost, path+"/rotate", servertest.Object{"overlap": 0}).String("client_secret")
	if token(next) != http.StatusUnauthorized || token(last) != http.StatusOK {
		t.Error("without overlap not only the new secret works")
	}
	for range 12 { // it does not fill up
		o.Clock.Advance(time.Second)
		o.Must(http.MethodPost, path+"/rotate", servertest.Object{"overlap": 0})
	}
	for _, overlap := range []any{-1, 7776001, "1", 1.5} {
		if status, answer := o.Call(http.MethodPost, path+"/rotate", servertest.Object{"overlap": overlap}); status != http.StatusBadRequest {
			t.Errorf("overlap %v: %d %v", overlap, status, answer)
		}
	}
}

// When a client was last used is known to about an hour, and written without a
// write for each token.
func TestClientLastUsed(t *testing.T) {
	o := newOffice(t)
	path := "/clients/" + o.find(t, "/clients", "client_id", o.machine.id)
	use := func() {
		t.Helper()
		wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()))
		if err := o.Tend(); err != nil {
			t.Fatal(err)
		}
	}
	if used := o.Must(http.MethodGet, path, nil)["last_used_at"]; used != nil {
		t.Errorf("last_used_at = %v before the first token", used)
	}
	wantError(t, o.Post("/token", servertest.Form("grant_type", "client_credentials", "scope", "none"), o.machine.basic()), http.StatusBadRequest, "invalid_scope")
	use()
	first := o.Must(http.MethodGet, path, nil).String("last_used_at")
	if first != o.Clock.Now().UTC().Format(time.RFC3339Nano) {
		t.Errorf("last_used_at = %q, want now", first)
	}
	o.Clock.Advance(59 * time.Minute)
	use()
	if again := o.Must(http.MethodGet, path, nil).String("last_used_at"); again != first {
		t.Errorf("last_used_at was written again: %q", again)
	}
	o.Clock.Advance(time.Minute)
	use()
	if again := o.Must(http.MethodGet, path, nil).String("last_used_at"); again == first {
		t.Error("last_used_at was not written again after an hour")
	}
}
