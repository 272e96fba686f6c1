package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// openID is a request for an identity and no MCP server.
func openID(clientID, redirectURI, scope string, more ...string) url.Values {
	request := servertest.AuthorizationRequest(clientID, redirectURI, resourceURI)
	request.Del("resource")
	request.Set("scope", scope)
	for name, values := range servertest.Form(more...) {
		request[name] = values
	}
	return request
}

func (h *house) userInfo(token string) *servertest.Answer {
	return h.Do(h.Request(http.MethodGet, "/userinfo", "", http.Header{"Authorization": {"Bearer " + token}}))
}

func headerOf(t testing.TB, token string) (header servertest.Object) {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err != nil || json.Unmarshal(raw, &header) != nil {
		t.Fatalf("the header of a token is unreadable: %v", err)
	}
	return header
}

// wantClaims compares some claims; nil: the claim is absent.
func wantClaims(t testing.TB, claims servertest.Object, wanted map[string]any) {
	t.Helper()
	for name, want := range wanted {
		if claims[name] != want {
			t.Errorf("claim %s is %v, want %v", name, claims[name], want)
		}
	}
}

// TestOpenIDConnectCore follows one sign-in from the request to userinfo and to what
// ends it, on both databases.
func TestOpenIDConnectCore(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h := newHouse(t, servertest.WithStore(open(t)))
		user := h.Must(http.MethodGet, "/users", nil)["items"].([]any)[0].(map[string]any)
		signedInAt := h.Clock.Now().Unix()
		alice := h.SignedIn("alice")
		h.Clock.Advance(time.Minute)

		page := alice.Authorize(openID(h.clientID, loopback, "openid profile email", "nonce", "n-0S6_WzA2Mj"))
		if !page.IsConsent() {
			t.Fatalf("no consent page: %s\n%s", page.URL, page.Body)
		}
		for _, words := range []string{"Know that it is you who signs in", "See your name and user name", "(alice)", "See your e-mail address: <bdi>" + user["email"].(string), "What it learns about you"} {
			if !strings.Contains(page.Body, words) {
				t.Errorf("the page does not say %q", words)
			}
		}
		page = alice.Approve(page)
		answer := h.Redeem(h.clientID, page.Left.Query().Get("code"))
		if answer.Status != http.StatusOK || answer.JSON["scope"] != "openid profile email" {
			t.Fatalf("token: %d %s", answer.Status, answer.Body)
		}
		idToken, accessToken := answer.JSON.String("id_token"), answer.JSON.String("access_token")
		about := map[string]any{
			"iss": h.URL, "sub": user["id"], "aud": h.clientID, "azp": h.clientID, "auth_time": float64(signedInAt), "acr": storage.ACRSingleFactor, "nonce": "n-0S6_WzA2Mj",
			"name": user["name"], "preferred_username": "alice", "email": user["email"], "email_verified": true,
			"iat": float64(h.Clock.Now().Unix()), "exp": float64(h.Clock.Now().Add(10 * time.Minute).Unix()),
		}
		t.Run("§2 the ID token", func(t *testing.T) {
			claims := servertest.Claims(idToken)
			wantClaims(t, claims, about)
			if claims["at_hash"] == nil || claims["sid"] == nil {
				t.Errorf("at_hash or sid is missing: %v", claims)
			}
			if sid, _ := claims["sid"].(string); strings.HasPrefix(sid, storage.PrefixSession) {
				t.Error("the sid is the id of the session")
			}
			if header := headerOf(t, idToken); header["typ"] != "JWT" || header["kid"] != headerOf(t, accessToken)["kid"] {
				t.Errorf("header %v", header)
			}
		})
		t.Run("it is no access token, nor is one it", func(t *testing.T) {
			if header := headerOf(t, accessToken); header["typ"] != "at+jwt" {
				t.Errorf("header %v", header)
			}
			wantClaims(t, servertest.Claims(accessToken), map[string]any{"aud": h.URL + "/userinfo", "scope": "openid profile email", "email": nil})
			if answer := h.userInfo(idToken); answer.Status != http.StatusUnauthorized {
				t.Errorf("userinfo with an ID token: %d", answer.Status)
			}
		})
		t.Run("§5.3 userinfo", func(t *testing.T) {
			want := map[string]any{"sub": user["id"], "name": user["name"], "preferred_username": "alice", "email": user["email"], "email_verified": true}
			get := h.userInfo(accessToken)
			posted := h.Post("/userinfo", servertest.Form("access_token", accessToken), "")
			for _, answer := range []*servertest.Answer{get, posted} {
				if answer.Status != http.StatusOK || len(answer.JSON) != len(want) || answer.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
				wantClaims(t, answer.JSON, want)
			}
			for name, r := range map[string]*http.Request{
				"nothing":    h.Request(http.MethodGet, "/userinfo", "", nil),
				"in the URL": h.Request(http.MethodGet, "/userinfo?access_token="+accessToken, "", nil),
				"garbage":    h.Request(http.MethodGet, "/userinfo", "", http.Header{"Authorization": {"Bearer x.y.z"}}),
			} {
				answer := h.Do(r)
				challenge := answer.Header.Get("WWW-Authenticate")
				if answer.Status != http.StatusUnauthorized || !strings.HasPrefix(challenge, "Bearer ") || strings.Contains(challenge, "error=") != (name == "garbage") {
					t.Errorf("%s: %d %q", name, answer.Status, challenge)
				}
			}
			header := http.Header{"Authorization": {"Bearer " + accessToken}, "Content-Type": {"application/x-www-form-urlencoded"}}
			if answer := h.Do(h.Request(http.MethodPost, "/userinfo", "access_token="+accessToken, header)); answer.Status != http.StatusBadRequest {
				t.Errorf("twice: %d", answer.Status)
			}
			if answer := h.Do(h.Request(http.MethodGet, "/userinfo", "", http.Header{"Origin": {"https://app.example"}, "Authorization": {"Bearer " + accessToken}})); answer.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("no CORS: %v", answer.Header)
			}
		})

		h.Clock.Advance(time.Minute)
		refreshed := h.Refresh(h.clientID, answer.JSON.String("refresh_token"))
		t.Run("§12.2 the ID token of a refresh", func(t *testing.T) {
			about["nonce"], about["iat"], about["exp"] = nil, float64(h.Clock.Now().Unix()), float64(h.Clock.Now().Add(10*time.Minute).Unix())
			claims := servertest.Claims(refreshed.JSON.String("id_token"))
			wantClaims(t, claims, about)
			wantClaims(t, claims, map[string]any{"sid": servertest.Claims(idToken)["sid"]})
			if claims["at_hash"] == servertest.Claims(idToken)["at_hash"] {
				t.Error("at_hash is that of the first access token")
			}
		})
		t.Run("fewer scopes tell less", func(t *testing.T) {
			less := h.Refresh(h.clientID, refreshed.JSON.String("refresh_token"), "scope", "openid email")
			wantClaims(t, servertest.Claims(less.JSON.String("id_token")), map[string]any{"name": nil, "preferred_username": nil, "email": user["email"]})
			if answer := h.userInfo(less.JSON.String("access_token")); answer.JSON["name"] != nil || answer.JSON["email"] != user["email"] {
				t.Errorf("userinfo: %s", answer.Body)
			}
			refreshed = less
		})
		t.Run("userinfo follows rights", func(t *testing.T) {
			token := refreshed.JSON.String("access_token")
			grants := h.Must(http.MethodGet, "/grants", nil)["items"].([]any)
			h.Must(http.MethodDelete, "/grants/"+grants[0].(map[string]any)["id"].(string), nil)
			h.Beat()
			if answer := h.userInfo(token); answer.Status != http.StatusUnauthorized {
				t.Errorf("after the grant was revoked: %d %s", answer.Status, answer.Body)
			}
			token = h.Redeem(h.clientID, alice.Code(openID(h.clientID, loopback, "openid"))).JSON.String("access_token")
			if answer := h.userInfo(token); answer.Status != http.StatusOK || len(answer.JSON) != 1 || answer.JSON["sub"] != user["id"] {
				t.Errorf("with openid alone: %d %s", answer.Status, answer.Body)
			}
			h.Clock.Advance(11 * time.Minute)
			if answer := h.userInfo(token); answer.Status != http.StatusUnauthorized {
				t.Errorf("after it expired: %d", answer.Status)
			}
			token = h.Redeem(h.clientID, alice.Code(openID(h.clientID, loopback, "openid"))).JSON.String("access_token")
			h.Must(http.MethodPatch, "/users/"+user["id"].(string), servertest.Object{"disabled": true})
			if answer := h.userInfo(token); answer.Status != http.StatusUnauthorized {
				t.Errorf("after the person was disabled: %d", answer.Status)
			}
		})
	})
}

// TestOpenIDWithAnMCPServer: asked for together, the access token is the MCP server's
// as it always was, and who the person is stands in the ID token alone.
func TestOpenIDWithAnMCPServer(t *testing.T) {
	h := newHouse(t)
	alice := h.SignedIn("alice")
	request := servertest.AuthorizationRequest(h.clientID, loopback, resourceURI)
	request.Set("scope", "openid email notes:read offline_access unknown")
	page := alice.Authorize(request)
	answer := h.Redeem(h.clientID, alice.Approve(page).Left.Query().Get("code"))
	if answer.Status != http.StatusOK || answer.JSON["scope"] != "notes:read openid email" {
		t.Fatalf("%d %s", answer.Status, answer.Body)
	}
	token := answer.JSON.String("access_token")
	wantClaims(t, servertest.Claims(token), map[string]any{"aud": resourceURI, "scope": "notes:read"})
	wantClaims(t, servertest.Claims(answer.JSON.String("id_token")), map[string]any{"aud": h.clientID, "preferred_username": nil})
	if answer := h.userInfo(token); answer.Status != http.StatusUnauthorized {
		t.Errorf("an MCP server could ask who the person is: %d", answer.Status)
	}
	refreshed := h.Refresh(h.clientID, answer.JSON.String("refresh_token"), "scope", "notes:read")
	if refreshed.Status != http.StatusOK || refreshed.JSON["id_token"] != nil || refreshed.JSON["scope"] != "notes:read" {
		t.Errorf("without openid: %d %s", refreshed.Status, refreshed.Body)
	}

	t.Run("what is not ticked is not told", func(t *testing.T) {
		page := alice.Authorize(request)
		answer := h.Redeem(h.clientID, alice.Approve(page, "notes:read", "email").Left.Query().Get("code"))
		if answer.Status != http.StatusOK || answer.JSON["scope"] != "notes:read" || answer.JSON["id_token"] != nil {
			t.Errorf("email without openid: %d %s", answer.Status, answer.Body)
		}
	})
	t.Run("a ceiling without openid", func(t *testing.T) {
		client := h.Must(http.MethodPost, "/clients", servertest.Object{
			"client_name": "Narrow", "redirect_uris": []string{callback}, "token_endpoint_auth_method": "none", "scope": "notes:read",
		})["client_id"].(string)
		request := servertest.AuthorizationRequest(client, loopback, resourceURI)
		request.Set("scope", "openid notes:read")
		answer := h.Redeem(client, alice.Code(request))
		if answer.JSON["scope"] != "notes:read" || answer.JSON["id_token"] != nil {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
		if left := alice.Authorize(openID(client, loopback, "openid")).Left; left == nil || left.Query().Get("error") != "invalid_scope" {
			t.Errorf("it left for %v", left)
		}
	})
	t.Run("without openid the others are unknown scopes", func(t *testing.T) {
		request.Set("scope", "email notes:read")
		if answer := h.Redeem(h.clientID, alice.Code(request)); answer.JSON["scope"] != "notes:read" {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
	})
	t.Run("only the identity of a named MCP server is nothing of it", func(t *testing.T) {
		request.Set("scope", "openid")
		if left := alice.Authorize(request).Left; left == nil || left.Query().Get("error") != "invalid_scope" {
			t.Errorf("it left for %v", left)
		}
	})
}

// TestOpenIDApprovalIsRemembered: OIDC Core §3.1.2.1, prompt=none, id_token_hint.
func TestOpenIDApprovalIsRemembered(t *testing.T) {
	f := newOffice(t)
	f.User("bob")
	client := f.web
	redeem := func(code string) *servertest.Answer {
		return f.Post("/token", servertest.Form("grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier), client.basic())
	}
	ask := func(b *servertest.Browser, more ...string) *servertest.Page {
		return b.Authorize(openID(client.id, webCallback, "openid email", more...))
	}
	wantError := func(t *testing.T, page *servertest.Page, code string) {
		t.Helper()
		if page.Left == nil || page.Left.Query().Get("error") != code {
			t.Errorf("want %s; it is at %s, left for %v", code, page.URL, page.Left)
		}
	}
	wantError(t, ask(f.Browser(), "prompt", "none"), "login_required")
	wantError(t, ask(f.alice, "prompt", "none"), "consent_required")
	idToken := redeem(f.alice.Code(openID(client.id, webCallback, "openid email", "nonce", "one"))).JSON.String("id_token")
	page := ask(f.alice, "prompt", "none", "nonce", "two", "id_token_hint", idToken)
	if page.Left == nil || page.Left.Query().Get("code") == "" {
		t.Fatalf("a remembered approval is asked again: %s", page.URL)
	}
	wantClaims(t, servertest.Claims(redeem(page.Left.Query().Get("code")).JSON.String("id_token")), map[string]any{"nonce": "two"})
	wantError(t, f.alice.Authorize(openID(client.id, webCallback, "openid email profile", "prompt", "none")), "consent_required")

	bob := f.SignedIn("bob")
	wantError(t, ask(bob, "prompt", "none", "id_token_hint", idToken), "login_required")
	page = ask(bob, "id_token_hint", idToken)
	if !page.IsLogin() {
		t.Fatalf("bob is asked for alice's approval: %s", page.URL)
	}
	form := page.Fields()
	form.Set("username", "bob")
	form.Set("password", servertest.Password)
	page = bob.Post(page.Action(), form)
	if links := strings.Join(page.Links(), " "); page.Left == nil && !strings.Contains(links, "error=login_required") {
		t.Errorf("after bob signs in again: %s %v\n%s", page.URL, page.Left, page.Body)
	}
	if page := ask(bob, "id_token_hint", "not.a.token"); !page.IsConsent() {
		t.Errorf("a hint that says nothing: %s", page.URL)
	}
	wantError(t, ask(f.alice, "nonce", strings.Repeat("n", 2000)), "invalid_request")
	if page := ask(f.alice, "login_hint", "alice", "ui_locales", "de", "claims", `{"id_token":{"acr":null}}`, "display", "page"); page.Left == nil || page.Left.Query().Get("code") == "" {
		t.Errorf("parameters that are not needed: %s", page.URL)
	}
}

// TestOpenIDDiscovery: OpenID Connect Discovery §3.
func TestOpenIDDiscovery(t *testing.T) {
	h := newHouse(t, servertest.WithIssuerPath("/tenant"))
	document := h.Get(h.Origin + "/.well-known/openid-configuration/tenant").JSON
	for name, want := range map[string]string{
		"issuer": h.URL, "authorization_endpoint": h.URL + "/authorize", "token_endpoint": h.URL + "/token", "jwks_uri": h.URL + "/jwks",
		"userinfo_endpoint": h.URL + "/userinfo", "end_session_endpoint": h.URL + "/logout",
	} {
		if document[name] != want {
			t.Errorf("%s is %v, want %s", name, document[name], want)
		}
	}
	for _, name := range []string{"response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported", "scopes_supported", "claims_supported"} {
		if list, _ := document[name].([]any); len(list) == 0 {
			t.Errorf("%s is %v", name, document[name])
		}
	}
	if document["claims_parameter_supported"] != false {
		t.Errorf("claims_parameter_supported is %v", document["claims_parameter_supported"])
	}
	if got, _ := json.Marshal(document["scopes_supported"]); string(got) != `["openid","profile","email"]` {
		t.Errorf("scopes_supported is %s", got)
	}
	if other := h.Get(h.Origin + "/.well-known/oauth-authorization-server/tenant").JSON; other["scopes_supported"] != nil || other["userinfo_endpoint"] != nil {
		t.Errorf("MCP clients would ask for %v", other["scopes_supported"])
	}
}

// TestOpenIDInAPushedRequest: RFC 9126 with a nonce.
func TestOpenIDInAPushedRequest(t *testing.T) {
	h := newHouse(t)
	uri := h.push(t, openID(h.clientID, loopback, "openid", "nonce", "pushed"), "")
	answer := h.Redeem(h.clientID, h.SignedIn("alice").Code(pushedAs(h.clientID, uri)))
	wantClaims(t, servertest.Claims(answer.JSON.String("id_token")), map[string]any{"nonce": "pushed", "aud": h.clientID})
}

// TestOpenIDOnTheAccountPage: what an application is told stands there, and can be
// taken back.
func TestOpenIDOnTheAccountPage(t *testing.T) {
	h := newHouse(t)
	alice := h.SignedIn("alice")
	token := h.Redeem(h.clientID, alice.Code(openID(h.clientID, loopback, "openid email"))).JSON.String("access_token")
	request := servertest.AuthorizationRequest(h.clientID, loopback, resourceURI)
	request.Set("scope", "openid profile notes:read")
	alice.Code(request)
	page := alice.Get(h.URL + "/account")
	for _, words := range []string{"Your identity", "See your e-mail address", "See your name and user name", "Use notes:read."} {
		if !strings.Contains(page.Body, words) {
			t.Errorf("the account page does not say %q", words)
		}
	}
	if activity := alice.Get(h.URL + "/account/activity"); !strings.Contains(activity.Body, "to use your identity.") {
		t.Errorf("the activity does not say it:\n%s", activity.Body)
	}
	page = alice.Get(h.URL + "/account/revoke?grant=all")
	if page = alice.Post(page.Action(), page.Fields()); page.Status != http.StatusOK {
		t.Fatalf("revoking: %d", page.Status)
	}
	if answer := h.userInfo(token); answer.Status != http.StatusUnauthorized {
		t.Errorf("after revoking: %d %s", answer.Status, answer.Body)
	}
}

// TestOpenIDForDevices: a device that asks for openid gets an ID token of who allowed it,
// for as much as they ticked, and again at each refresh; there is no sid, because no
// browser's session is the device's.
func TestOpenIDForDevices(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h := newHouse(t, servertest.WithStore(open(t)))
		device := h.DeviceClient().String("client_id")
		alice := h.SignedIn("alice")
		connect := func(scope string, more []string, ticked ...string) *servertest.Answer {
			t.Helper()
			asked := h.DeviceAuthorization(device, append(more, "scope", scope)...)
			if asked.Status != http.StatusOK {
				t.Fatalf("%q: %d %s", scope, asked.Status, asked.Body)
			}
			page := alice.Get(h.URL + "/device")
			page = alice.Post(page.Action(), changed(page.Fields(), "user_code", asked.JSON.String("user_code")))
			alice.Approve(page, ticked...)
			return h.Post("/token", servertest.Form("grant_type", storage.GrantTypeDeviceCode, "client_id", device, "device_code", asked.JSON.String("device_code")), "")
		}
		answer := connect("openid email profile notes:read", []string{"resource", resourceURI}, "openid", "email", "notes:read")
		if answer.JSON["scope"] != "notes:read openid email" {
			t.Fatalf("beside a resource: %d %s", answer.Status, answer.Body)
		}
		wantClaims(t, servertest.Claims(answer.JSON.String("access_token")), map[string]any{"scope": "notes:read", "aud": resourceURI, "email": nil})
		told := map[string]any{"aud": device, "email": "alice@example.com", "email_verified": true, "name": nil, "nonce": nil, "sid": nil}
		wantClaims(t, servertest.Claims(answer.JSON.String("id_token")), told)
		refreshed := h.Refresh(device, answer.JSON.String("refresh_token"))
		wantClaims(t, servertest.Claims(refreshed.JSON.String("id_token")), told)

		answer = connect("openid profile", nil, "openid", "profile")
		wantClaims(t, servertest.Claims(answer.JSON.String("id_token")), map[string]any{"aud": device, "preferred_username": "alice", "email": nil})
		wantClaims(t, servertest.Claims(answer.JSON.String("access_token")), map[string]any{"aud": h.URL + "/userinfo"})
		if answer = connect("openid notes:read", []string{"resource", resourceURI}, "notes:read"); answer.Status != http.StatusOK || answer.JSON["id_token"] != nil {
			t.Errorf("openid was unticked: %d %s", answer.Status, answer.Body)
		}
		if answer := h.DeviceAuthorization(device, "scope", "email"); answer.Status != http.StatusBadRequest || answer.JSON["error"] != "invalid_scope" {
			t.Errorf("email without openid: %d %s", answer.Status, answer.Body)
		}
	})
}

// TestOpenIDForOthers: to a machine openid is an unknown scope.
func TestOpenIDForOthers(t *testing.T) {
	h := newHouse(t)
	machine := credentialsOf(h.MachineClient())
	answer := h.Post("/token", servertest.Form("grant_type", "client_credentials", "scope", "openid notes:read"), machine.basic())
	if answer.Status != http.StatusOK || answer.JSON["id_token"] != nil || answer.JSON["scope"] != "notes:read" {
		t.Errorf("a machine: %d %s", answer.Status, answer.Body)
	}
}
