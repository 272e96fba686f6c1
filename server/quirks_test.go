package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"grantd/server/registration"
	"grantd/server/servertest"
	"grantd/storage"
)

// These tests are named after the clients that need what they prove; what clients
// have in common is tested where it belongs (docs/clients.md).

// claude is what claude.ai registers, twice for each connection.
const claude = `{"client_name":"Claude","redirect_uris":["https://claude.ai/api/mcp/auth_callback"],"grant_types":["authorization_code","refresh_token"],
	"response_types":["code"],"token_endpoint_auth_method":"none","scope":"notes:read"}`

func TestClaudeRegistersTwice(t *testing.T) {
	h := newHouse(t, servertest.WithDynamicRegistration())
	first := h.registered(t, claude)
	browser := h.SignedIn("alice")
	request := servertest.AuthorizationRequest(first.String("client_id"), "https://claude.ai/api/mcp/auth_callback", resourceURI)
	code := browser.Code(request)
	second := h.registered(t, claude)
	if fmt.Sprint(first) != fmt.Sprint(second) || h.dynamicClients(t) != 1 {
		t.Errorf("the second registration made another client: %v, %v", first, second)
	}
	wantTokens(t, h.Redeem(second.String("client_id"), code))
}

// From one address, as claude.ai's customers come, more people connect in an hour
// than an address may register clients.
func TestClaudeSharesItsAddress(t *testing.T) {
	h := newHouse(t, servertest.WithDynamicRegistration())
	for i := range 100 {
		if answer := h.register(claude); answer.Status != http.StatusCreated {
			t.Fatalf("connection %d: %d %s", i, answer.Status, answer.Body)
		}
	}
}

// Claude authenticates in the body although it registered for Basic; so does the Go
// SDK. The TypeScript SDK does not encode what it sends by Basic.
func TestClaudeAndGoSDKUseEitherMethod(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		client := credentialsOf(o.registered(t, `{"redirect_uris":["`+webCallback+`"],"token_endpoint_auth_method":"`+method+`"}`))
		if encoded := url.QueryEscape(client.id) + ":" + url.QueryEscape(client.secret); encoded != client.basic() {
			t.Errorf("%s reads otherwise when encoded", client.basic())
		}
		for _, basic := range []string{"", client.basic()} {
			code := o.approved(t, servertest.AuthorizationRequest(client.id, webCallback, resourceURI))
			form := servertest.Form("grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier)
			if basic == "" {
				form = changed(form, "client_id", client.id, "client_secret", client.secret)
			}
			wantTokens(t, o.Post("/token", form, basic))
		}
	}
}

// The Go SDK tries HTTP Basic with an empty secret before it sends the client_id
// alone, with the same code.
func TestGoSDKTriesBasicFirst(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	id := o.registered(t, publicMetadata("Go SDK", 40000)).String("client_id")
	code := o.approved(t, servertest.AuthorizationRequest(id, "http://127.0.0.1:40000/callback", resourceURI))
	form := servertest.Form("grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier)
	wantError(t, o.Post("/token", form, url.QueryEscape(id)+":"), http.StatusUnauthorized, "invalid_client")
	wantTokens(t, o.Post("/token", changed(form, "client_id", id), ""))
}

// The TypeScript SDKs, mcp-remote and Inspector register with the scope of the first
// challenge and later ask for more.
func TestTypeScriptSDKStepsUpBeyondItsRegistration(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	answer := o.registered(t, strings.Replace(publicMetadata("SDK", 40000), "{", `{"scope":"notes:read",`, 1))
	for name, want := range map[string]string{
		"redirect_uris": "[http://127.0.0.1:40000/callback http://localhost:40000/callback]", "token_endpoint_auth_method": "none",
	} {
		if fmt.Sprint(answer[name]) != want {
			t.Errorf("%s is %v, want %s", name, answer[name], want)
		}
	}
	id := answer.String("client_id")
	for _, scope := range []string{"notes:read", "notes:read notes:write"} {
		code := o.approved(t, changed(servertest.AuthorizationRequest(id, "http://localhost:40000/callback", resourceURI+"/"), "scope", scope))
		got := wantTokens(t, o.Redeem(id, code))
		if claims := servertest.Claims(got.access); got.scope != scope || claims["aud"] != resourceURI {
			t.Errorf("asked for %q, got %q for %v", scope, got.scope, claims["aud"])
		}
	}
}

// SDK 2.x, mcp-remote and Inspector ask for offline_access with prompt=consent, the
// Go SDK without; state may be absent.
func TestInspectorAsksForOfflineAccess(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	inspector := o.registered(t, `{"client_name":"MCP Inspector","redirect_uris":["http://127.0.0.1:6276/oauth/callback"],"application_type":"native",
		"token_endpoint_auth_method":"none","scope":"notes:read offline_access"}`)
	if inspector["client_secret"] != nil || inspector["scope"] != "notes:read" {
		t.Errorf("registration: %v", inspector)
	}
	id := inspector.String("client_id")
	for _, prompt := range []string{"consent", ""} {
		request := changed(servertest.AuthorizationRequest(id, "http://127.0.0.1:6276/oauth/callback", resourceURI),
			"scope", "notes:read offline_access", "prompt", prompt, "state", "")
		if got := wantTokens(t, o.Redeem(id, o.approved(t, request))); got.scope != "notes:read" || got.refresh == "" {
			t.Errorf("prompt %q: scope %q, refresh token %q", prompt, got.scope, got.refresh)
		}
	}
}

// Claude Code registers a localhost redirect without a port, VS Code one that it then
// cannot have, mcp-remote one of its own; each arrives on another port.
func TestClaudeCodeAndVSCodeArriveOnAnyPort(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	for name, c := range map[string]struct{ registered, arrives string }{
		"Claude Code": {"http://localhost/callback", "http://localhost:49567/callback"},
		"VS Code":     {"http://127.0.0.1:33418/", "http://127.0.0.1:51234/"},
		"mcp-remote":  {"http://localhost:3334/oauth/callback", "http://localhost:3335/oauth/callback"},
		"IPv6":        {"http://[::1]/cb", "http://[::1]:1234/cb"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := o.registered(t, `{"client_name":"`+name+`","redirect_uris":["`+c.registered+`"],"token_endpoint_auth_method":"none"}`)
			if got := answer["redirect_uris"]; !reflect.DeepEqual(got, []any{c.registered}) || answer["application_type"] != "native" {
				t.Errorf("registered as %v, %v", got, answer["application_type"])
			}
			id := answer.String("client_id")
			request := servertest.AuthorizationRequest(id, c.arrives, resourceURI)
			wantTokens(t, o.Redeem(id, o.approved(t, request)))
			// HR-10: a program on loopback is never taken for the one of last time.
			if page := o.alice.Authorize(request); !page.IsConsent() {
				t.Error("HR-10: nobody was asked again")
			}
		})
	}
}

// Cursor registers a redirect of its own scheme beside those for a browser.
func TestCursorRegistersThreeRedirects(t *testing.T) {
	h := newHouse(t, servertest.WithDynamicRegistration())
	answer := h.registered(t, `{"client_name":"Cursor","token_endpoint_auth_method":"none","redirect_uris":[
		"cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback","http://localhost:8787/callback"]}`)
	for _, uri := range []string{"https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"} {
		if !strings.Contains(fmt.Sprint(answer["redirect_uris"]), uri) {
			t.Errorf("%s is not registered: %v", uri, answer["redirect_uris"])
		}
	}
}

// mcp-remote and clients in editors keep a client_id for months and present it after
// it has expired: they register again on invalid_client, and a person is told what to
// do. A client in use never expires.
func TestRG09ExpiredClients(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)), servertest.WithDynamicRegistration())
		register := func(name string) string { return o.registered(t, publicMetadata(name, 40000)).String("client_id") }
		request := func(id string) url.Values {
			return servertest.AuthorizationRequest(id, "http://127.0.0.1:40000/callback", resourceURI)
		}
		unused, used := register("Unused"), register("Used")
		got := wantTokens(t, o.Redeem(used, o.approved(t, request(used))))
		after := func(d time.Duration) {
			t.Helper()
			o.Clock.Advance(d)
			if _, err := o.Store.Sweep(t.Context(), o.Clock.Now(), registration.UnusedLifetime, 1000); err != nil {
				t.Fatal(err)
			}
		}
		after(registration.UnusedLifetime)
		renewedID := register("Used") // still there
		if renewedID != used {
			t.Fatal("RG-09: a client with a grant was collected")
		}
		got = wantTokens(t, o.Refresh(used, got.refresh))
		if page := o.Browser().Authorize(request(unused)); page.Status != http.StatusBadRequest || !strings.Contains(page.Body, "add it again") {
			t.Errorf("RG-09: the page is %d\n%s", page.Status, page.Body)
		}
		wantError(t, o.Refresh(unused, got.refresh), http.StatusUnauthorized, "invalid_client")
		wantError(t, o.Redeem(unused, "ac_x"), http.StatusUnauthorized, "invalid_client")
		if again := register("Unused"); again == unused {
			t.Error("an expired client_id was given again")
		}

		// With its last grant gone it is kept for a month.
		for _, grant := range o.list(t, "/grants") {
			o.Must(http.MethodDelete, "/grants/"+grant.String("id"), nil)
		}
		wantError(t, o.Refresh(used, got.refresh), http.StatusBadRequest, "invalid_grant")
		after(storage.ClientIdle - storage.ClientMark)
		if register("Used") != used {
			t.Error("RG-09: it was collected within a month")
		}
		after(2 * storage.ClientIdle)
		// A change makes the server forget what it has cached, which it would do by
		// itself within a second.
		o.Must(http.MethodPatch, "/clients/"+o.find(t, "/clients", "client_id", o.web.id), servertest.Object{"client_name": "Renamed"})
		wantError(t, o.Refresh(used, got.refresh), http.StatusUnauthorized, "invalid_client")
	})
}

// Clients of 2025-03-26 that find no metadata assume the short paths.
func TestMCP20250326AssumesPaths(t *testing.T) {
	for _, root := range []string{"", "/tenant"} {
		h := newHouse(t, servertest.WithIssuerPath(root), servertest.WithDynamicRegistration())
		answer := h.Do(h.Request(http.MethodPost, h.URL+"/register", claude, http.Header{"Content-Type": {"application/json; charset=utf-8"}}))
		if answer.Status != http.StatusCreated {
			t.Errorf("%s/register: %d %s", root, answer.Status, answer.Body)
		}
		id := answer.JSON.String("client_id")
		code := h.SignedIn("alice").Code(servertest.AuthorizationRequest(id, "https://claude.ai/api/mcp/auth_callback", resourceURI))
		wantTokens(t, h.Redeem(id, code))
	}
}
