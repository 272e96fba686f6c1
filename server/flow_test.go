package server_test

import (
	"net/http"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

const (
	resourceURI = "https://mcp.example.com/mcp"
	callback    = "http://127.0.0.1/callback"
	webCallback = "https://app.example.com/callback"
)

// house is a server with one resource, one person and one public client.
type house struct {
	*servertest.Server
	clientID string
}

func newHouse(t testing.TB, opts ...servertest.Option) *house {
	t.Helper()
	s := servertest.New(t, opts...)
	s.Resource(resourceURI, nil, "notes:read", "notes:write")
	s.User("alice")
	return &house{Server: s, clientID: s.PublicClient(callback).String("client_id")}
}

// tokens goes the whole way to a token response.
func (h *house) tokens(t testing.TB) *servertest.Answer {
	t.Helper()
	code := h.SignedIn("alice").Code(servertest.AuthorizationRequest(h.clientID, "http://127.0.0.1:49152/callback", resourceURI))
	answer := h.Redeem(h.clientID, code)
	if answer.Status != http.StatusOK {
		t.Fatalf("redeeming the code: %d %s", answer.Status, answer.Body)
	}
	return answer
}

// TestTheMainJob goes from a client's first request to a revoked token, on both
// databases, and looks at every answer on the way.
func TestTheMainJob(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h := newHouse(t, servertest.WithStore(open(t)))
		guard := h.MachineClient()
		// The resource's own server asks about its tokens.
		resources := h.Must(http.MethodGet, "/resources", nil)["items"].([]any)
		id := resources[0].(map[string]any)["id"].(string)
		h.Must(http.MethodPatch, "/resources/"+id, servertest.Object{"introspection_clients": []string{guard.String("client_id")}})
		introspect := func(token string) servertest.Object {
			answer := h.Post("/introspect", servertest.Form("token", token), guard.String("client_id")+":"+guard.String("client_secret"))
			if answer.Status != http.StatusOK {
				t.Fatalf("introspect: %d %s", answer.Status, answer.Body)
			}
			return answer.JSON
		}

		browser := h.Browser()
		request := servertest.AuthorizationRequest(h.clientID, "http://127.0.0.1:49152/callback", resourceURI)
		request.Set("scope", "notes:read")
		page := browser.Authorize(request)
		if !page.IsLogin() {
			t.Fatalf("nobody is signed in, but the page is no sign-in: %s\n%s", page.URL, page.Body)
		}
		form := page.Fields()
		form.Set("username", "alice")
		form.Set("password", servertest.Password)
		page = browser.Post(page.Action(), form)
		if !page.IsConsent() || page.URL.Path != "/authorize" || page.URL.RawQuery != request.Encode() {
			t.Fatalf("after signing in the page is no consent: %s\n%s", page.URL, page.Body)
		}
		if !strings.Contains(page.Body, "Use notes:read.") || strings.Contains(page.Body, "Use notes:write.") {
			t.Errorf("the page does not show just the scope asked for:\n%s", page.Body)
		}
		page = browser.Approve(page)
		if page.Status != http.StatusSeeOther || page.Left == nil || page.Left.Host != "127.0.0.1:49152" {
			t.Fatalf("approving led to %d %v", page.Status, page.Left)
		}
		sent := page.Left.Query()
		if sent.Get("iss") != h.URL || sent.Get("state") != "state-of-the-client" || !strings.HasPrefix(sent.Get("code"), "ac_") {
			t.Fatalf("the response is %v", sent)
		}

		answer := h.Redeem(h.clientID, sent.Get("code"))
		if answer.Status != http.StatusOK || answer.JSON["token_type"] != "Bearer" || answer.JSON["expires_in"] != float64(600) || answer.JSON["scope"] != "notes:read" {
			t.Fatalf("token: %d %s", answer.Status, answer.Body)
		}
		claims := servertest.Claims(answer.JSON.String("access_token"))
		for name, want := range map[string]any{"iss": h.URL, "aud": resourceURI, "client_id": h.clientID, "scope": "notes:read"} {
			if claims[name] != want {
				t.Errorf("claim %s is %v, want %v", name, claims[name], want)
			}
		}
		if got := introspect(answer.JSON.String("access_token")); got["active"] != true || got["scope"] != "notes:read" {
			t.Errorf("introspection of a fresh token: %v", got)
		}

		refreshed := h.Refresh(h.clientID, answer.JSON.String("refresh_token"))
		if refreshed.Status != http.StatusOK || refreshed.JSON["refresh_token"] == answer.JSON["refresh_token"] {
			t.Fatalf("refresh: %d %s", refreshed.Status, refreshed.Body)
		}
		if got := h.Post("/revoke", servertest.Form("token", refreshed.JSON.String("refresh_token"), "client_id", h.clientID), ""); got.Status != http.StatusOK {
			t.Fatalf("revoke: %d %s", got.Status, got.Body)
		}
		if got := introspect(refreshed.JSON.String("access_token")); len(got) != 1 || got["active"] != false {
			t.Errorf("introspection after revoking: %v", got)
		}
		if got := h.Refresh(h.clientID, refreshed.JSON.String("refresh_token")); got.Status != http.StatusBadRequest || got.JSON["error"] != "invalid_grant" {
			t.Errorf("refresh after revoking: %d %s", got.Status, got.Body)
		}
	})
}
