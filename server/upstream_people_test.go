package server_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// OpenID Connect Core §3.1.2.1: max_age, prompt and acr_values of the client are passed
// on, and what comes back must prove them.
func TestUpstreamDemandIsPassedOnAndProved(t *testing.T) {
	const phr = "phr"
	ago := func(d time.Duration) func(h *house) any {
		return func(h *house) any { return h.Clock.Now().Add(-d).Unix() }
	}
	for name, test := range map[string]struct {
		settings servertest.Object
		ask      []string
		passed   map[string]string
		authTime func(h *house) any
		acr      any
		status   int
		says     string
	}{
		"max_age, and newer":              {nil, []string{"max_age", "600"}, map[string]string{"max_age": "600", "prompt": ""}, ago(5 * time.Minute), nil, http.StatusOK, ""},
		"max_age, and older":              {nil, []string{"max_age", "600"}, map[string]string{"max_age": "600"}, ago(11 * time.Minute), nil, http.StatusForbidden, "sign in anew"},
		"max_age, and not told":           {nil, []string{"max_age", "600"}, map[string]string{"max_age": "600"}, nil, nil, http.StatusForbidden, "sign in anew"},
		"max_age, and a text":             {nil, []string{"max_age", "600"}, map[string]string{"max_age": "600"}, func(h *house) any { return strconv.FormatInt(h.Clock.Now().Unix(), 10) }, nil, http.StatusBadGateway, "cannot be trusted"},
		"max_age=0, and just now":         {nil, []string{"max_age", "0"}, map[string]string{"max_age": "0"}, ago(0), nil, http.StatusOK, ""},
		"max_age=0, and older":            {nil, []string{"max_age", "0"}, map[string]string{"max_age": "0"}, ago(5 * time.Minute), nil, http.StatusForbidden, "sign in anew"},
		"prompt=login, and older":         {nil, []string{"prompt", "login"}, map[string]string{"prompt": "login"}, ago(5 * time.Minute), nil, http.StatusForbidden, "sign in anew"},
		"prompt=login, and just now":      {nil, []string{"prompt", "login"}, map[string]string{"prompt": "login"}, ago(0), nil, http.StatusOK, ""},
		"prompt=select_account":           {nil, []string{"prompt", "select_account"}, map[string]string{"prompt": "select_account"}, nil, nil, http.StatusOK, ""},
		"acr of the provider's settings":  {servertest.Object{"acr_values": []string{phr, storage.ACRMultiFactor}}, nil, map[string]string{"acr_values": phr + " " + storage.ACRMultiFactor}, nil, phr, http.StatusOK, ""},
		"acr that is missing":             {servertest.Object{"acr_values": []string{phr}}, nil, map[string]string{"acr_values": phr}, nil, nil, http.StatusForbidden, "stronger sign-in"},
		"acr that is no text":             {servertest.Object{"acr_values": []string{phr}}, nil, map[string]string{"acr_values": phr}, nil, []string{phr}, http.StatusBadGateway, "cannot be trusted"},
		"acr of the client, met":          {servertest.Object{"acr_values": []string{phr, storage.ACRMultiFactor}}, []string{"acr_values", storage.ACRMultiFactor}, map[string]string{"acr_values": storage.ACRMultiFactor}, nil, storage.ACRMultiFactor, http.StatusOK, ""},
		"acr of the client, another":      {servertest.Object{"acr_values": []string{phr, storage.ACRMultiFactor}}, []string{"acr_values", storage.ACRMultiFactor}, map[string]string{"acr_values": storage.ACRMultiFactor}, nil, phr, http.StatusForbidden, "stronger sign-in"},
		"acr that the provider knows not": {nil, []string{"acr_values", storage.ACRSingleFactor}, map[string]string{"acr_values": ""}, nil, nil, http.StatusOK, ""},
		"nothing":                         {nil, nil, map[string]string{"prompt": "", "max_age": "", "acr_values": ""}, nil, nil, http.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, p, id := upstreamHouse(t, test.settings)
			p.change = func(c map[string]any) {
				if test.authTime != nil {
					c["auth_time"] = test.authTime(h)
				}
				if test.acr != nil {
					c["acr"] = test.acr
				}
			}
			b := h.Browser()
			login := b.Authorize(changed(servertest.AuthorizationRequest(h.clientID, loopback, resourceURI), test.ask...))
			left := b.Get(h.URL + "/login/upstream/" + id + "?" + login.URL.RawQuery).Left
			if left == nil {
				t.Fatal("not sent to the provider")
			}
			for name, value := range test.passed {
				if got := left.Query().Get(name); got != value {
					t.Errorf("asked with %s=%q, want %q", name, got, value)
				}
			}
			p.nonce = left.Query().Get("nonce")
			page := b.Get(left.Query().Get("redirect_uri") + p.answer(left.Query().Get("state")))
			wantStatus(t, page, test.status)
			wantSays(t, page, test.says)
			if page.IsConsent() != (test.status == http.StatusOK) || len(people(t, h)) != map[bool]int{true: 1}[page.IsConsent()] {
				t.Errorf("at %s, people %v", page.URL, people(t, h))
			}
		})
	}
}

// beaWith signs Bea in with the provider and returns tokens that she has approved.
func beaWith(t *testing.T, h *house, p *idp, id string) issued {
	t.Helper()
	b := h.Browser()
	page := p.signIn(t, h, b, id, "?"+servertest.AuthorizationRequest(h.clientID, loopback, resourceURI).Encode())
	if !page.IsConsent() {
		t.Fatalf("no consent page: %d at %s\n%s", page.Status, page.URL, page.Body)
	}
	return wantTokens(t, h.Redeem(h.clientID, b.Approve(page).Left.Query().Get("code")))
}

// Who has not signed in at the provider for reverify_after gets no more tokens, and
// gets them again after the next sign-in there, with the refresh token that they had.
func TestUpstreamReverification(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h, p, id := upstreamHouse(t, servertest.Object{"reverify_after": 3600}, servertest.WithStore(open(t)))
		tokens := beaWith(t, h, p, id)
		refresh := func(want string) {
			t.Helper()
			got := h.Refresh(h.clientID, tokens.refresh)
			if code, _ := got.JSON["error"].(string); code != want {
				t.Fatalf("refresh: %d %s, want error %q", got.Status, got.Body, want)
			}
			if want == "" {
				tokens = wantTokens(t, got)
			}
		}
		h.Clock.Advance(59 * time.Minute)
		refresh("")
		h.Clock.Advance(2 * time.Minute) // a refresh does not count as a sign-in
		refresh("invalid_grant")
		refresh("invalid_grant")
		wantAccount(t, p.comeBack(t, h, id))
		refresh("")

		h.Must(http.MethodPatch, "/providers/"+id, servertest.Object{"enabled": false})
		h.Beat()
		refresh("invalid_grant")
		h.Must(http.MethodPatch, "/providers/"+id, servertest.Object{"enabled": true})
		h.Beat()
		refresh("invalid_grant")
		wantAccount(t, p.comeBack(t, h, id))
		refresh("")
	})
}

// Who is disabled stays so at the provider's next word, with their identity; who is
// deleted or erased goes with it, and is somebody new when they come again.
func TestUpstreamPeopleWhoAreGone(t *testing.T) {
	for name, test := range map[string]struct {
		method, path string
		body         servertest.Object
		gone         bool
	}{
		"disabled": {http.MethodPatch, "", servertest.Object{"disabled": true}, false},
		"deleted":  {http.MethodDelete, "", nil, true},
		"erased":   {http.MethodPost, "/erase", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
				h, p, id := upstreamHouse(t, nil, servertest.WithStore(open(t)))
				tokens := beaWith(t, h, p, id)
				userID := h.find(t, "/users", "email", "bea@example.com")
				if identities, _ := h.Must(http.MethodGet, "/users/"+userID, nil)["identities"].([]any); len(identities) != 1 {
					t.Errorf("identities = %v", identities)
				}
				h.Must(test.method, "/users/"+userID+test.path, test.body)
				identities, err := h.Store.UserIdentities(t.Context(), userID)
				if err != nil || (len(identities) == 0) != test.gone {
					t.Errorf("%d identities, %v", len(identities), err)
				}
				if got := h.Refresh(h.clientID, tokens.refresh); got.JSON["error"] != "invalid_grant" {
					t.Errorf("refresh: %d %s", got.Status, got.Body)
				}
				page := p.comeBack(t, h, id)
				if test.gone {
					wantAccount(t, page)
					if again := h.find(t, "/users", "email", "bea@example.com"); again == userID {
						t.Error("the user that was deleted is back")
					}
				} else {
					wantStatus(t, page, http.StatusForbidden)
					wantSays(t, page, "switched off")
					h.Must(http.MethodPatch, "/users/"+userID, servertest.Object{"disabled": false})
					wantAccount(t, p.comeBack(t, h, id))
				}
				if got := h.Refresh(h.clientID, tokens.refresh); got.JSON["error"] != "invalid_grant" {
					t.Errorf("refresh after the next sign-in: %d %s", got.Status, got.Body)
				}
				if n := len(people(t, h)); n != 1 {
					t.Errorf("%d people", n)
				}
			})
		})
	}
}
