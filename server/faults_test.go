package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// blame are words on which MCP clients throw credentials or tokens away, or which
// would say of a token what nobody could look up.
var blame = []string{
	"invalid_client", "unauthorized_client", "invalid_grant", "invalid_request", "invalid_token", "invalid_scope", "invalid_target",
	"access_denied", `"active"`, "access_token",
}

// wantOutage checks the one answer to an outage: come again, it was not you.
func wantOutage(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	if answer.Status != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("the answer is %d, Retry-After %q: %s", answer.Status, answer.Header.Get("Retry-After"), answer.Body)
	}
	wantNobodyBlamed(t, answer)
	if answer.JSON != nil && answer.JSON["error"] != nil && answer.JSON["error"] != "temporarily_unavailable" {
		t.Errorf("the error is %v", answer.JSON["error"])
	}
}

func wantNobodyBlamed(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	for _, word := range blame {
		if strings.Contains(answer.Body, word) || strings.Contains(answer.Header.Get("Location"), word) {
			t.Errorf("the answer says %s: %s %s", word, answer.Header.Get("Location"), answer.Body)
		}
	}
	if answer.Header.Get("WWW-Authenticate") != "" || answer.Header.Get("Location") != "" || len(answer.Header.Values("Set-Cookie")) > 0 {
		t.Errorf("the answer has headers that mean more: %v", answer.Header)
	}
}

// deed is one request that a fault may meet, prepared anew each time.
type deed struct {
	name string
	// prepare does what goes before and returns the request itself.
	prepare func(o *office, t *testing.T) func() *servertest.Answer
	// good says whether an answer is that of a server without faults.
	good func(answer *servertest.Answer) bool
}

func isTokens(a *servertest.Answer) bool {
	return a.Status == http.StatusOK && a.JSON.String("access_token") != ""
}

func isInvalidGrant(a *servertest.Answer) bool {
	return a.Status == http.StatusBadRequest && a.JSON["error"] == "invalid_grant"
}
func isOK(a *servertest.Answer) bool       { return a.Status == http.StatusOK }
func isSeeOther(a *servertest.Answer) bool { return a.Status == http.StatusSeeOther }
func hasCode(a *servertest.Answer) bool {
	return isSeeOther(a) && strings.Contains(a.Header.Get("Location"), "code=ac_")
}

// deeds are everything that a request to the protocol's endpoints does in the
// database.
var deeds = []deed{
	{"redeem a code", func(o *office, t *testing.T) func() *servertest.Answer {
		code := o.code(t)
		return func() *servertest.Answer { return o.Redeem(o.clientID, code) }
	}, isTokens},
	{"redeem a code with a wrong verifier", func(o *office, t *testing.T) func() *servertest.Answer {
		form := o.redemption(o.code(t), "code_verifier", otherVerifier)
		return func() *servertest.Answer { return o.Post("/token", form, "") }
	}, isInvalidGrant},
	{"replay a code", func(o *office, t *testing.T) func() *servertest.Answer {
		code := o.code(t)
		wantTokens(t, o.Redeem(o.clientID, code))
		o.Clock.Advance(time.Minute)
		return func() *servertest.Answer { return o.Redeem(o.clientID, code) }
	}, isInvalidGrant},
	{"redeem a code with openid", func(o *office, t *testing.T) func() *servertest.Answer {
		code := o.alice.Code(openID(o.clientID, loopback, "openid profile email"))
		return func() *servertest.Answer { return o.Redeem(o.clientID, code) }
	}, isTokens},
	{"redeem a code of a resource with openid", func(o *office, t *testing.T) func() *servertest.Answer {
		code := o.code(t, "scope", "openid email notes:read")
		return func() *servertest.Answer { return o.Redeem(o.clientID, code) }
	}, isTokens},
	{"refresh with openid", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.Redeem(o.clientID, o.code(t, "scope", "openid email notes:read"))
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.JSON.String("refresh_token")) }
	}, isTokens},
	{"userinfo", func(o *office, t *testing.T) func() *servertest.Answer {
		token := o.Redeem(o.clientID, o.alice.Code(openID(o.clientID, loopback, "openid"))).JSON.String("access_token")
		return func() *servertest.Answer { return o.userInfo(token) }
	}, isOK},
	{"refresh", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh) }
	}, isTokens},
	{"refresh for a named resource", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh, "resource", resourceURI) }
	}, isTokens},
	{"refresh again for a named resource", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		wantTokens(t, o.Refresh(o.clientID, got.refresh, "resource", resourceURI))
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh, "resource", resourceURI) }
	}, isTokens},
	{"refresh as another client", func(o *office, t *testing.T) func() *servertest.Answer {
		form := servertest.Form("grant_type", "refresh_token", "refresh_token", o.tokens(t).refresh)
		return func() *servertest.Answer { return o.Post("/token", form, o.web.basic()) }
	}, isInvalidGrant},
	{"reuse a refresh token", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		wantTokens(t, o.Refresh(o.clientID, got.refresh))
		o.Clock.Advance(time.Minute)
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh) }
	}, isInvalidGrant},
	{"reuse a refresh token for a named resource", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		wantTokens(t, o.Refresh(o.clientID, got.refresh))
		o.Clock.Advance(time.Minute)
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh, "resource", resourceURI) }
	}, isInvalidGrant},
	{"client credentials", func(o *office, _ *testing.T) func() *servertest.Answer {
		return func() *servertest.Answer {
			return o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())
		}
	}, isTokens},
	{"introspect", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer { return o.introspect(got.access) }
	}, func(a *servertest.Answer) bool { return a.JSON["active"] == true }},
	{"revoke a refresh token", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer { return o.Post("/revoke", servertest.Form("token", got.refresh), "") }
	}, isOK},
	{"revoke an access token", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer {
			return o.Post("/revoke", servertest.Form("token", got.access, "client_id", o.clientID), "")
		}
	}, isOK},
	{"ask for an approval", func(o *office, _ *testing.T) func() *servertest.Answer {
		target := o.URL + "/authorize?" + servertest.AuthorizationRequest(o.clientID, loopback, resourceURI).Encode()
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, target, "", nil) }
	}, isOK},
	{"approve", func(o *office, _ *testing.T) func() *servertest.Answer {
		page := o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))
		form := changed(page.Fields(), "decision", "approve")
		return func() *servertest.Answer {
			return o.alice.Send(http.MethodPost, page.Action(), form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, hasCode},
	{"authorize under a remembered approval", func(o *office, t *testing.T) func() *servertest.Answer {
		o.webCode(t)
		target := o.URL + "/authorize?" + servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI).Encode()
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, target, "", nil) }
	}, hasCode},
	{"push a request", func(o *office, _ *testing.T) func() *servertest.Answer {
		form := servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI)
		return func() *servertest.Answer { return o.Post("/par", form, o.web.basic()) }
	}, func(a *servertest.Answer) bool { return a.Status == http.StatusCreated }},
	{"ask for an approval of a pushed request", func(o *office, t *testing.T) func() *servertest.Answer {
		target := o.URL + "/authorize?" + o.pushedByWeb(t, "prompt", "consent").Encode()
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, target, "", nil) }
	}, isOK},
	{"approve a pushed request", func(o *office, t *testing.T) func() *servertest.Answer {
		page := o.alice.Authorize(o.pushedByWeb(t, "prompt", "consent"))
		form := changed(page.Fields(), "decision", "approve")
		return func() *servertest.Answer {
			return o.alice.Send(http.MethodPost, page.Action(), form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, hasCode},
	{"authorize a pushed request under a remembered approval", func(o *office, t *testing.T) func() *servertest.Answer {
		o.webCode(t)
		target := o.URL + "/authorize?" + o.pushedByWeb(t).Encode()
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, target, "", nil) }
	}, hasCode},
	{"deny a pushed request", func(o *office, t *testing.T) func() *servertest.Answer {
		page := o.alice.Authorize(o.pushedByWeb(t, "prompt", "consent"))
		form := changed(page.Fields(), "decision", "deny")
		return func() *servertest.Answer {
			return o.alice.Send(http.MethodPost, page.Action(), form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, func(a *servertest.Answer) bool {
		return isSeeOther(a) && strings.Contains(a.Header.Get("Location"), "error=access_denied")
	}},
	{"ask for a device code", func(o *office, t *testing.T) func() *servertest.Answer {
		k := kioskOf(o, t)
		return func() *servertest.Answer { return o.DeviceAuthorization(k.device) }
	}, func(a *servertest.Answer) bool { return isOK(a) && a.JSON.String("device_code") != "" }},
	{"poll for a device", func(o *office, t *testing.T) func() *servertest.Answer {
		k := kioskOf(o, t)
		c := k.ask(t)
		return func() *servertest.Answer { return k.poll(c.device) }
	}, func(a *servertest.Answer) bool {
		return a.Status == http.StatusBadRequest && a.JSON["error"] == "authorization_pending"
	}},
	{"redeem a device code", func(o *office, t *testing.T) func() *servertest.Answer {
		k := kioskOf(o, t)
		code := k.approved(t)
		return func() *servertest.Answer { return k.poll(code) }
	}, isTokens},
	{"replay a device code", func(o *office, t *testing.T) func() *servertest.Answer {
		k := kioskOf(o, t)
		code := k.approved(t)
		wantTokens(t, k.poll(code))
		o.Clock.Advance(time.Minute)
		return func() *servertest.Answer { return k.poll(code) }
	}, isInvalidGrant},
	{"enter a user code", func(o *office, t *testing.T) func() *servertest.Answer {
		k := kioskOf(o, t)
		form := servertest.Form("user_code", k.ask(t).user)
		return func() *servertest.Answer {
			return o.alice.Send(http.MethodPost, o.URL+"/device", form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, isOK},
	{"approve a device", func(o *office, t *testing.T) func() *servertest.Answer {
		k := kioskOf(o, t)
		form := approval(o.alice.Device(k.ask(t).page))
		return func() *servertest.Answer {
			return o.alice.Send(http.MethodPost, o.URL+"/device", form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, isOK},
	{"deny a device", func(o *office, t *testing.T) func() *servertest.Answer {
		k := kioskOf(o, t)
		form := changed(o.alice.Device(k.ask(t).page).Fields(), "decision", "deny")
		return func() *servertest.Answer {
			return o.alice.Send(http.MethodPost, o.URL+"/device", form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, isOK},
	{"sign in", func(o *office, _ *testing.T) func() *servertest.Answer {
		browser := o.Browser()
		form := servertest.Form("username", "alice", "password", servertest.Password)
		return func() *servertest.Answer {
			return browser.Send(http.MethodPost, o.URL+"/login", form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, isSeeOther},
	{"account", func(o *office, _ *testing.T) func() *servertest.Answer {
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, o.URL+"/account", "", nil) }
	}, isOK},
	{"register", func(o *office, _ *testing.T) func() *servertest.Answer {
		return func() *servertest.Answer {
			o.Clock.Advance(time.Hour) // beyond the limit on registrations
			return o.Do(o.Request(http.MethodPost, "/register", `{"redirect_uris":["http://localhost/cb"]}`, http.Header{"Content-Type": {"application/json"}}))
		}
	}, func(a *servertest.Answer) bool { return a.Status == http.StatusCreated }},
	{"register again", func(o *office, t *testing.T) func() *servertest.Answer {
		again := func() *servertest.Answer {
			return o.register(`{"token_endpoint_auth_method":"none","redirect_uris":["http://localhost/cb"]}`)
		}
		if answer := again(); answer.Status != http.StatusCreated {
			t.Fatalf("registration: %d %s", answer.Status, answer.Body)
		}
		return again
	}, func(a *servertest.Answer) bool { return a.Status == http.StatusCreated }},
}

// TestFaults: TK-29, TK-31, RV-05, HR-8. Each call that a request makes of the
// database goes wrong in each way, with nothing cached; the client is not blamed,
// and the same request works once the fault is over.
func TestFaults(t *testing.T) {
	captureLogs(t)
	store := &unreliable{Store: servertest.SQLite(t)}
	o := newOffice(t, servertest.WithStore(store), servertest.WithDynamicRegistration())
	// A change to any client makes the server forget what it has cached.
	scratch, renamed := o.MachineClient().String("client_id"), 0
	cold := func() {
		renamed++
		o.Must(http.MethodPatch, "/clients/"+scratch, servertest.Object{"client_name": fmt.Sprint("Scratch ", renamed)})
	}
	faults := []struct {
		name   string
		fault  func(call string) error
		status int
	}{
		{"unavailable", func(string) error { return fmt.Errorf("statement 7: %w", storage.ErrUnavailable) }, http.StatusServiceUnavailable},
		{"deadline", func(string) error { return fmt.Errorf("statement 7: %w", context.DeadlineExceeded) }, http.StatusServiceUnavailable},
		{"unexpected", func(string) error { return errors.New("statement 7 has secret-of-the-database") }, http.StatusInternalServerError},
		{"panic", func(string) error { panic("secret-of-the-database") }, http.StatusInternalServerError},
	}
	for _, deed := range deeds {
		send := deed.prepare(o, t)
		cold()
		store.set(nil, nil)
		if answer := send(); !deed.good(answer) {
			t.Fatalf("%s without a fault: %d %s", deed.name, answer.Status, answer.Body)
		}
		calls := store.calls()
		if len(calls) == 0 {
			t.Fatalf("%s makes no call", deed.name)
		}
		for _, call := range calls {
			for _, fault := range faults {
				t.Run(deed.name+"/"+call+"/"+fault.name, func(t *testing.T) {
					send := deed.prepare(o, t)
					cold()
					store.set(func(made string) error {
						if made == call {
							return fault.fault(made)
						}
						return nil
					}, nil)
					answer := send()
					store.set(nil, nil)
					if fault.status == http.StatusServiceUnavailable {
						wantOutage(t, answer)
					} else if answer.Status != fault.status {
						t.Errorf("the answer is %d %s, want %d", answer.Status, answer.Body, fault.status)
					}
					wantNobodyBlamed(t, answer)
					if strings.Contains(answer.Body, "statement 7") || strings.Contains(answer.Body, "secret-of-the-database") || strings.Contains(answer.Body, "goroutine") {
						t.Errorf("the answer says what went wrong: %s", answer.Body)
					}
					if answer := send(); !deed.good(answer) {
						t.Errorf("after the fault: %d %s", answer.Status, answer.Body)
					}
				})
			}
		}
	}
}

// TestUnknownOutcome: ST-03, AC-16, RV-05. The database did what it was told, but
// the answer got lost: nothing is issued twice, and nobody is signed out.
func TestUnknownOutcome(t *testing.T) {
	captureLogs(t)
	store := &unreliable{Store: servertest.SQLite(t)}
	o := newOffice(t, servertest.WithStore(store))
	lost := func(call string, send func() *servertest.Answer) *servertest.Answer {
		store.set(nil, func(made string) error {
			if made == call {
				return storage.ErrUnavailable
			}
			return nil
		})
		defer store.set(nil, nil)
		return send()
	}
	t.Run("AC-16 code", func(t *testing.T) {
		code := o.code(t)
		wantOutage(t, lost("ExchangeCode", func() *servertest.Answer { return o.Redeem(o.clientID, code) }))
		wantError(t, o.Redeem(o.clientID, code), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("AC-16 unusual code", func(t *testing.T) {
		code := o.code(t)
		store.unusual.Store(true)
		defer store.unusual.Store(false)
		wantOutage(t, lost("RedeemCode", func() *servertest.Answer { return o.Redeem(o.clientID, code) }))
		wantError(t, o.Redeem(o.clientID, code), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("refresh", func(t *testing.T) {
		got := o.tokens(t)
		wantOutage(t, lost("RenewFamily", func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh) }))
		next := wantTokens(t, o.Refresh(o.clientID, got.refresh))
		if !o.active(t, next.access) {
			t.Error("the access token is not active")
		}
		wantTokens(t, o.Refresh(o.clientID, next.refresh))
	})
	t.Run("unusual refresh", func(t *testing.T) {
		got := o.tokens(t)
		store.unusual.Store(true)
		defer store.unusual.Store(false)
		wantOutage(t, lost("RotateFamily", func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh) }))
		next := wantTokens(t, o.Refresh(o.clientID, got.refresh))
		wantTokens(t, o.Refresh(o.clientID, next.refresh))
	})
	t.Run("RV-05 revoke", func(t *testing.T) {
		got := o.tokens(t)
		send := func() *servertest.Answer { return o.Post("/revoke", servertest.Form("token", got.refresh), "") }
		wantOutage(t, lost("EndFamily", send))
		if answer := send(); answer.Status != http.StatusOK {
			t.Errorf("again: %d %s", answer.Status, answer.Body)
		}
		o.wantGone(t, got.refresh)
	})
	t.Run("deny a pushed request", func(t *testing.T) {
		page := o.alice.Authorize(o.pushedByWeb(t))
		form := changed(page.Fields(), "decision", "deny")
		send := func() *servertest.Page { return o.alice.Post(page.Action(), form) }
		wantOutage(t, lost("DenyPushedRequest", func() *servertest.Answer { return send().Answer }))
		wantRefusalPage(t, send())
	})
	t.Run("approve", func(t *testing.T) {
		page := o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))
		form := changed(page.Fields(), "decision", "approve")
		send := func() *servertest.Answer { return o.alice.Post(page.Action(), form).Answer }
		wantOutage(t, lost("Approve", send))
		if answer := send(); answer.Status != http.StatusConflict {
			t.Errorf("again: %d %s", answer.Status, answer.Body)
		}
	})
}
