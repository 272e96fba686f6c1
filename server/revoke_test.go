package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestRevoke: the rows RV of the catalogue of attacks, except RV-05, which is
// among the faults.
func TestRevoke(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		other := o.PublicClient(callback).String("client_id")
		revoke := func(t *testing.T, basic string, pairs ...string) {
			t.Helper()
			answer := o.Post("/revoke", servertest.Form(pairs...), basic)
			if answer.Status != http.StatusOK || answer.Body != "" || answer.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("revoke: %d %v %q", answer.Status, answer.Header, answer.Body)
			}
		}
		grants := func(t *testing.T) int { t.Helper(); return len(o.list(t, "/grants")) }

		for _, hint := range []string{"", "access_token", "refresh_token", "banana"} {
			t.Run("RV-01 access token, hint "+hint, func(t *testing.T) {
				got := o.tokens(t)
				before := grants(t)
				revoke(t, "", "token", got.access, "client_id", o.clientID, "token_type_hint", hint)
				if o.active(t, got.access) {
					t.Error("it is still active")
				}
				// Only this one has ended.
				next := wantTokens(t, o.Refresh(o.clientID, got.refresh))
				if !o.active(t, next.access) {
					t.Error("the next access token is not active")
				}
				if grants(t) != before {
					t.Error("the grant is gone")
				}
			})
			t.Run("RV-01 refresh token, hint "+hint, func(t *testing.T) {
				got := o.tokens(t)
				before, events := grants(t), o.audited(t, "family.ended")
				revoke(t, "", "token", got.refresh, "client_id", o.clientID, "token_type_hint", hint)
				if o.active(t, got.access) {
					t.Error("its access token is still active")
				}
				o.wantGone(t, got.refresh)
				if grants(t) != before {
					t.Error("the grant is gone")
				}
				if n := o.audited(t, "family.ended") - events; n != 1 {
					t.Errorf("%d audit events, want 1", n)
				}
			})
		}

		t.Run("RV-01 spent refresh token", func(t *testing.T) {
			first := o.tokens(t)
			second := wantTokens(t, o.Refresh(o.clientID, first.refresh))
			third := wantTokens(t, o.Refresh(o.clientID, second.refresh))
			o.Clock.Advance(time.Hour)
			revoke(t, "", "token", first.refresh, "client_id", o.clientID)
			o.wantGone(t, third.refresh)
		})

		t.Run("RV-01 confidential client, by Basic and in the body", func(t *testing.T) {
			for _, inBody := range []bool{false, true} {
				got := wantTokens(t, o.Post("/token", o.redemption(o.webCode(t), "client_id", ""), o.web.basic()))
				if inBody {
					revoke(t, "", "token", got.refresh, "client_id", o.web.id, "client_secret", o.web.secret)
				} else {
					revoke(t, o.web.basic(), "token", got.refresh)
				}
				form := servertest.Form("grant_type", "refresh_token", "refresh_token", got.refresh)
				wantError(t, o.Post("/token", form, o.web.basic()), http.StatusBadRequest, "invalid_grant")
			}
		})

		t.Run("RV-01 machine's token", func(t *testing.T) {
			got := wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()))
			revoke(t, o.machine.basic(), "token", got.access)
			if o.active(t, got.access) {
				t.Error("it is still active")
			}
		})

		t.Run("RV-01 another installation stays signed in", func(t *testing.T) {
			one, two := o.tokens(t), o.tokens(t)
			revoke(t, "", "token", one.refresh, "client_id", o.clientID)
			if !o.active(t, two.access) {
				t.Error("its access token is dead")
			}
			wantTokens(t, o.Refresh(o.clientID, two.refresh))
		})

		t.Run("only the token of a public client", func(t *testing.T) {
			one, two := o.tokens(t), o.tokens(t)
			revoke(t, "", "token", one.refresh)
			o.wantGone(t, one.refresh)
			revoke(t, "", "token", two.access)
			if o.active(t, two.access) {
				t.Error("the access token is still active")
			}
		})

		t.Run("only the token of a confidential client", func(t *testing.T) {
			got := wantTokens(t, o.Post("/token", o.redemption(o.webCode(t), "client_id", ""), o.web.basic()))
			revoke(t, "", "token", got.refresh)
			revoke(t, "", "token", got.access)
			if !o.active(t, got.access) {
				t.Error("whoever held it could end the access token")
			}
			wantTokens(t, o.Post("/token", servertest.Form("grant_type", "refresh_token", "refresh_token", got.refresh), o.web.basic()))
		})

		t.Run("RV-02 again, unknown, expired, malformed", func(t *testing.T) {
			got, old := o.tokens(t), o.tokens(t)
			for range 3 {
				revoke(t, "", "token", got.access, "client_id", o.clientID)
				revoke(t, "", "token", got.refresh, "client_id", o.clientID)
			}
			for _, value := range []string{"x", "rt_", got.refresh[:10] + strings.Repeat("A", len(got.refresh)-10), "ac_x", "e30.e30.e30", "..", "\x00", "é", strings.Repeat("y", 60_000)} {
				revoke(t, "", "token", value, "client_id", o.clientID)
				revoke(t, "", "token", value)
			}
			before := o.audited(t, "access_token.revoked")
			o.Clock.Advance(11 * time.Minute)
			revoke(t, "", "token", old.access, "client_id", o.clientID)
			if n := o.audited(t, "access_token.revoked"); n != before {
				t.Error("revoking an expired token has written something")
			}
		})

		t.Run("RV-02 repeating it writes nothing", func(t *testing.T) {
			got := o.tokens(t)
			before := o.audited(t, "access_token.revoked")
			for range 5 {
				revoke(t, "", "token", got.access)
			}
			if n := o.audited(t, "access_token.revoked") - before; n != 1 {
				t.Errorf("%d audit events, want 1", n)
			}
		})

		t.Run("RV-03 another client's token", func(t *testing.T) {
			got := o.tokens(t)
			for _, token := range []string{got.access, got.refresh} {
				revoke(t, "", "token", token, "client_id", other)
				revoke(t, o.machine.basic(), "token", token)
			}
			if !o.active(t, got.access) {
				t.Error("the access token is dead")
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})

		t.Run("RV-04 no token", func(t *testing.T) {
			for _, basic := range []string{"", o.machine.basic()} {
				wantError(t, o.Post("/revoke", servertest.Form("token_type_hint", "access_token"), basic), http.StatusBadRequest, "invalid_request")
				wantError(t, o.Post("/revoke", servertest.Form("token", ""), basic), http.StatusBadRequest, "invalid_request")
			}
		})

		t.Run("RV-06 forged", func(t *testing.T) {
			got := o.tokens(t)
			revoke(t, "", "token", forged(got.refresh), "client_id", o.clientID)
			revoke(t, "", "token", forged(got.access), "client_id", o.clientID)
			if !o.active(t, got.access) {
				t.Error("the access token is dead")
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})

		t.Run("RV-07 bad client authentication", func(t *testing.T) {
			got := o.tokens(t)
			answer := o.Post("/revoke", servertest.Form("token", got.refresh), o.machine.id+":wrong")
			wantError(t, answer, http.StatusUnauthorized, "invalid_client")
			if !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Error("no challenge")
			}
			wantError(t, o.Post("/revoke", servertest.Form("token", got.refresh, "client_id", o.clientID, "client_secret", "x"), ""), http.StatusUnauthorized, "invalid_client")
			wantError(t, o.Post("/revoke", servertest.Form("token", got.refresh, "client_id", "cl_nobody"), ""), http.StatusUnauthorized, "invalid_client")
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})

		t.Run("RV-07 GET, JSONP, two tokens, JSON", func(t *testing.T) {
			got := o.tokens(t)
			if answer := o.Get("/revoke?callback=alert&token=" + got.refresh); answer.Status != http.StatusMethodNotAllowed || strings.Contains(answer.Body, "alert") {
				t.Errorf("GET: %d %s", answer.Status, answer.Body)
			}
			header := http.Header{"Content-Type": {formType}}
			wantError(t, o.Do(o.Request(http.MethodPost, "/revoke", "token="+got.refresh+"&token="+got.access, header)), http.StatusBadRequest, "invalid_request")
			wantError(t, o.Do(o.Request(http.MethodPost, "/revoke?token="+got.refresh, "", header)), http.StatusBadRequest, "invalid_request")
			wantError(t, o.Do(o.Request(http.MethodPost, "/revoke", `{"token":"`+got.refresh+`"}`, http.Header{"Content-Type": {"application/json"}})), http.StatusBadRequest, "invalid_request")
			answer := o.Do(o.Request(http.MethodPost, "/revoke?callback=alert", "token="+got.access, header))
			if answer.Status != http.StatusOK || answer.Body != "" {
				t.Errorf("with callback: %d %s", answer.Status, answer.Body)
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})
	})
}
