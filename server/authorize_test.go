package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"grantd/server/servertest"
)

// TestAuthorizationRequests sends requests whose client and redirect URI are good
// and something else is not, for each kind of client and with and without a person.
func TestAuthorizationRequests(t *testing.T) {
	f := newFront(t)
	manyScopes := make([]string, 65)
	for i := range manyScopes {
		manyScopes[i] = "s" + strconv.Itoa(i)
	}
	for _, c := range []struct {
		name   string
		change []string // pairs; an empty value leaves the parameter out
		more   string   // added to the raw query
		want   string   // an error code, "consent" or "page"
	}{
		{name: "as it should be", want: "consent"},

		{name: "AZ-21 response_type missing", change: []string{"response_type", ""}, want: "invalid_request"},
		{name: "AZ-21 response_type token", change: []string{"response_type", "token"}, want: "unsupported_response_type"},
		{name: "AZ-21 response_type id_token", change: []string{"response_type", "id_token"}, want: "unsupported_response_type"},
		{name: "AZ-21 response_type code token", change: []string{"response_type", "code token"}, want: "unsupported_response_type"},
		{name: "AZ-21 response_type CODE", change: []string{"response_type", "CODE"}, want: "unsupported_response_type"},
		{name: "AZ-22 response_mode query", change: []string{"response_mode", "query"}, want: "consent"},
		{name: "AZ-22 response_mode fragment", change: []string{"response_mode", "fragment"}, want: "invalid_request"},
		{name: "AZ-22 response_mode form_post", change: []string{"response_mode", "form_post"}, want: "invalid_request"},
		{name: "AZ-22 response_mode web_message", change: []string{"response_mode", "web_message"}, want: "invalid_request"},
		{name: "AZ-22 response_mode jwt", change: []string{"response_mode", "jwt"}, want: "invalid_request"},
		{name: "AZ-22 a refused mode with another error", change: []string{"response_mode", "form_post", "response_type", "token"}, want: "unsupported_response_type"},

		{name: "AZ-23 no code_challenge", change: []string{"code_challenge", ""}, want: "invalid_request"},
		{name: "AZ-23 no PKCE at all", change: []string{"code_challenge", "", "code_challenge_method", ""}, want: "invalid_request"},
		{name: "AZ-24 no code_challenge_method", change: []string{"code_challenge_method", ""}, want: "invalid_request"},
		{name: "AZ-24 plain", change: []string{"code_challenge_method", "plain"}, want: "invalid_request"},
		{name: "AZ-24 S512", change: []string{"code_challenge_method", "S512"}, want: "invalid_request"},
		{name: "AZ-24 s256", change: []string{"code_challenge_method", "s256"}, want: "invalid_request"},
		{name: "AZ-25 1 character", change: []string{"code_challenge", "x"}, want: "invalid_request"},
		{name: "AZ-25 42 characters", change: []string{"code_challenge", servertest.Challenge[:42]}, want: "invalid_request"},
		{name: "AZ-25 44 characters", change: []string{"code_challenge", servertest.Challenge + "A"}, want: "invalid_request"},
		{name: "AZ-25 padding", change: []string{"code_challenge", servertest.Challenge[:42] + "="}, want: "invalid_request"},
		{name: "AZ-25 plus", change: []string{"code_challenge", servertest.Challenge[:42] + "+"}, want: "invalid_request"},
		{name: "AZ-25 slash", change: []string{"code_challenge", servertest.Challenge[:42] + "/"}, want: "invalid_request"},
		{name: "AZ-25 tilde", change: []string{"code_challenge", servertest.Challenge[:42] + "~"}, want: "invalid_request"},
		{name: "AZ-25 not ASCII", change: []string{"code_challenge", servertest.Challenge[:41] + "é"}, want: "invalid_request"},

		{name: "AZ-27 scope twice", more: "&scope=notes:read&scope=notes:read", want: "invalid_request"},
		{name: "AZ-27 code_challenge twice", more: "&code_challenge=" + servertest.Challenge, want: "invalid_request"},
		{name: "AZ-27 response_type twice", more: "&response_type=code", want: "invalid_request"},
		{name: "AZ-27 code_challenge_method twice", more: "&code_challenge_method=plain", want: "invalid_request"},
		{name: "AZ-27 an unknown parameter twice", more: "&x=1&x=2", want: "invalid_request"},
		{name: "AZ-27 once empty", more: "&response_type=", want: "invalid_request"},
		{name: "AZ-28 unknown parameter", more: "&utm_source=x&nonce=abc", want: "consent"},
		{name: "AZ-28 empty parameters count as omitted", more: "&scope=&prompt=&response_mode=&max_age=&audience=", want: "consent"},
		{name: "AZ-29 semicolon", more: "&a=1;b=2", want: "page"},
		{name: "AZ-29 bad escape", more: "&a=%zz", want: "page"},
		{name: "AZ-29 many percent signs", more: "&a=" + strings.Repeat("%", 1000), want: "page"},

		{name: "AZ-30 state of 3 KiB", change: []string{"state", strings.Repeat("s", 3<<10)}, want: "consent"},
		{name: "AZ-30 state of 4 KiB", change: []string{"state", strings.Repeat("s", 4<<10)}, want: "consent"},
		{name: "AZ-30 state beyond 4 KiB", change: []string{"state", strings.Repeat("s", 4<<10+1)}, want: "page"},
		{name: "AZ-30 scope beyond 2 KiB", change: []string{"scope", "notes:read " + strings.Repeat("s", 2<<10)}, want: "page"},
		{name: "AZ-30 more than 64 scopes", change: []string{"scope", strings.Join(manyScopes, " ")}, want: "page"},
		{name: "AZ-32 no state", change: []string{"state", ""}, want: "consent"},
		{name: "AZ-32 no state, and an error", change: []string{"state", "", "response_type", "token"}, want: "unsupported_response_type"},

		{name: "AZ-33 unknown scope", change: []string{"scope", "admin:all"}, want: "invalid_scope"},
		{name: "AZ-33 unknown scope beside a known one", change: []string{"scope", "admin:all notes:read"}, want: "consent"},
		{name: "AZ-33 CR and LF", change: []string{"scope", "notes:read\r\nSet-Cookie: a=b"}, want: "invalid_scope"},
		{name: "AZ-33 quote", change: []string{"scope", `notes:read "x"`}, want: "invalid_scope"},
		{name: "AZ-33 backslash", change: []string{"scope", `notes:read \x`}, want: "invalid_scope"},
		{name: "AZ-33 not ASCII", change: []string{"scope", "notes:read é"}, want: "invalid_scope"},
		{name: "AZ-33 scope in upper case", change: []string{"scope", "NOTES:READ"}, want: "invalid_scope"},
		{name: "AZ-33 offline_access is accepted", change: []string{"scope", "notes:read offline_access"}, want: "consent"},
		{name: "AZ-33 only offline_access", change: []string{"scope", "offline_access"}, want: "consent"},

		{name: "AZ-36 resource unknown", change: []string{"resource", "https://other.example/mcp"}, want: "invalid_target"},
		{name: "AZ-36 resource relative", change: []string{"resource", "/mcp"}, want: "invalid_target"},
		{name: "AZ-36 resource with a fragment", change: []string{"resource", resourceURI + "#x"}, want: "invalid_target"},
		{name: "AZ-36 resource with an empty fragment", change: []string{"resource", resourceURI + "#"}, want: "invalid_target"},
		{name: "AZ-36 resource with user information", change: []string{"resource", "https://user@mcp.example.com/mcp"}, want: "invalid_target"},
		{name: "AZ-36 resource http beyond loopback", change: []string{"resource", "http://mcp.example.com/mcp"}, want: "invalid_target"},
		{name: "AZ-37 resource in upper case", change: []string{"resource", "HTTPS://MCP.EXAMPLE.COM/mcp"}, want: "consent"},
		{name: "AZ-37 resource with a trailing slash", change: []string{"resource", resourceURI + "/"}, want: "consent"},
		{name: "AZ-37 resource path in upper case", change: []string{"resource", "https://mcp.example.com/MCP"}, want: "invalid_target"},
		{name: "AZ-38 resource with dot segments", change: []string{"resource", resourceURI + "/../admin"}, want: "invalid_target"},
		{name: "AZ-38 resource with a longer name", change: []string{"resource", resourceURI + "b"}, want: "invalid_target"},
		{name: "AZ-38 resource below", change: []string{"resource", resourceURI + "/b"}, want: "invalid_target"},
		{name: "AZ-38 resource with a needless escape", change: []string{"resource", "https://mcp.example.com/%6dcp"}, want: "invalid_target"},
		{name: "AZ-39 two resources", more: "&resource=" + url.QueryEscape("https://other.example/mcp"), want: "invalid_target"},
		{name: "AZ-39 one resource twice", more: "&resource=" + url.QueryEscape(resourceURI), want: "invalid_target"},

		{name: "max_age not a number", change: []string{"max_age", "soon"}, want: "invalid_request"},
		{name: "max_age negative", change: []string{"max_age", "-1"}, want: "invalid_request"},
		{name: "max_age beyond time", change: []string{"max_age", "99999999999999999999"}, want: "invalid_request"},
		{name: "max_age of 68 years", change: []string{"max_age", "2147483647"}, want: "consent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			request, dynamic := f.ask(c.change...), f.askDynamic(c.change...)
			state := request.Get("state")
			get := func(b *servertest.Browser, q url.Values) *servertest.Page {
				return b.Get(f.URL + "/authorize?" + q.Encode() + c.more)
			}
			// One parser judges both: what /authorize would say, /par says.
			pushed := f.Do(f.Request(http.MethodPost, "/par", request.Encode()+c.more, http.Header{
				"Content-Type": {formType}, "Authorization": {basicHeader(f.web + ":" + f.secret)},
			}))
			switch c.want {
			case "consent":
				if page := f.alice.Authorize(pushedAs(f.web, wantPushed(t, pushed))); !page.IsConsent() {
					t.Errorf("pushed: %d at %s, left for %v\n%s", page.Status, page.URL, page.Left, page.Body)
				}
			case "page":
				wantError(t, pushed, http.StatusBadRequest, "invalid_request")
			default:
				wantError(t, pushed, http.StatusBadRequest, c.want)
			}
			f.quiet(t, func() {
				switch c.want {
				case "consent":
					for name, q := range map[string]url.Values{"registered": request, "dynamic": dynamic} {
						if page := get(f.alice, q); !page.IsConsent() || page.Status != http.StatusOK {
							t.Errorf("%s: %d at %s, left for %v\n%s", name, page.Status, page.URL, page.Left, page.Body)
						}
						if page := get(f.Browser(), q); !page.IsLogin() {
							t.Errorf("%s, nobody signed in: %d at %s, left for %v", name, page.Status, page.URL, page.Left)
						}
					}
				case "page":
					wantRefusalPage(t, get(f.alice, request))
					wantRefusalPage(t, get(f.Browser(), dynamic))
				default:
					f.wantRedirectError(t, get(f.alice, request), webCallback, state, c.want)
					f.wantRedirectError(t, get(f.Browser(), request), webCallback, state, c.want)
					f.wantRedirectError(t, get(f.alice, dynamic), dynamicCallback, state, c.want)
					f.wantReturnButton(t, get(f.Browser(), dynamic), state, c.want)
				}
			})
		})
	}
	t.Run("AZ-27 state twice", func(t *testing.T) {
		page := f.Browser().Get(f.URL + "/authorize?" + f.ask().Encode() + "&state=other")
		f.wantRedirectError(t, page, webCallback, "", "invalid_request") // neither is known to be the client's
	})
}

// wantReturnButton checks the page that a client which registered itself gets
// instead of a redirect (AZ-43): it names the host, and only a click leads there.
func (f *front) wantReturnButton(t testing.TB, page *servertest.Page, state, code string) {
	t.Helper()
	wantRefusalPage(t, page)
	i := slices.IndexFunc(page.Links(), func(link string) bool { return strings.HasPrefix(link, dynamicCallback) })
	if i < 0 || !strings.Contains(page.Body, "dynamic.example") || strings.Contains(page.Body, "http-equiv") {
		t.Errorf("no button names the host, or the page leads there by itself:\n%s", page.Body)
		return
	}
	f.wantErrorResponse(t, page.Links()[i], dynamicCallback, state, code)
}

// TestUnknownClients: without a known client there is nobody to tell.
func TestUnknownClients(t *testing.T) {
	f := newFront(t)
	deleted, disabled, machine := f.PublicClient(webCallback), f.PublicClient(webCallback), f.MachineClient()
	f.Must(http.MethodDelete, "/clients/"+deleted.String("id"), nil)
	f.Must(http.MethodPatch, "/clients/"+disabled.String("id"), servertest.Object{"disabled": true})
	request := f.ask().Encode()
	for name, query := range map[string]string{
		"AZ-01 client_id missing":           f.ask("client_id", "").Encode(),
		"AZ-01 client_id empty":             f.ask("client_id", "").Encode() + "&client_id=",
		"AZ-01 nothing at all":              "",
		"AZ-02 unknown":                     f.ask("client_id", "cl_0000000000000000000000000").Encode(),
		"AZ-02 unknown, a URL of 512 bytes": f.ask("client_id", "https://app.example/"+strings.Repeat("c", 492)).Encode(),
		"AZ-02 too long":                    f.ask("client_id", strings.Repeat("c", 3000)).Encode(),
		"AZ-02 NUL":                         f.ask("client_id", "a\x00b").Encode(),
		"AZ-02 not UTF-8":                   f.ask("client_id", "\xff\xfe").Encode(),
		"AZ-02 deleted":                     f.ask("client_id", deleted.String("client_id")).Encode(),
		"AZ-02 disabled":                    f.ask("client_id", disabled.String("client_id")).Encode(),
		"AZ-02 for machines only":           f.ask("client_id", machine.String("client_id")).Encode(),
		"AZ-26 client_id twice":             request + "&client_id=" + f.web,
		"AZ-26 redirect_uri twice":          request + "&redirect_uri=" + url.QueryEscape(webCallback),
	} {
		t.Run(name, func(t *testing.T) {
			f.quiet(t, func() {
				for _, b := range []*servertest.Browser{f.alice, f.Browser()} {
					page := b.Get(f.URL + "/authorize?" + query)
					wantRefusalPage(t, page)
					if strings.Contains(page.Body, "app.example.com") {
						t.Error("the page leads to the redirect URI")
					}
				}
			})
		})
	}
	t.Run("AZ-02 says how to recover", func(t *testing.T) {
		page := f.Browser().Authorize(f.ask("client_id", deleted.String("client_id")))
		if !strings.Contains(page.Body, "add it again") {
			t.Errorf("the page does not say that the client must register again:\n%s", page.Body)
		}
	})
}

// Postgres refuses to look for what no text can be; that is no outage.
func TestAZ02OddBytesAreNoOutage(t *testing.T) {
	f := newFront(t, servertest.WithStore(servertest.Postgres(t)))
	for _, odd := range []string{"a\x00b", "\xff\xfe", "\xed\xa0\x80", strings.Repeat("c", 60<<10)} {
		if len(odd) < 10 {
			for _, name := range []string{"client_id", "scope", "resource", "redirect_uri", "state", "nonce", "id_token_hint"} {
				if answer := f.Get("/authorize?" + f.ask(name, odd).Encode()); answer.Status >= http.StatusInternalServerError {
					t.Errorf("/authorize with %s %q: %d", name, odd, answer.Status)
				}
			}
			wantError(t, f.userInfo(strings.ToValidUTF8(strings.ReplaceAll(odd, "\x00", ""), "x")), http.StatusUnauthorized, "invalid_token")
			if page := f.alice.Authorize(f.ask("scope", "openid notes:read", "nonce", odd)); page.Status >= http.StatusInternalServerError {
				t.Errorf("/authorize with the nonce %q: %d", odd, page.Status)
			}
			for _, name := range []string{"client_id", "id_token_hint", "post_logout_redirect_uri", "state"} {
				if answer := f.Get("/logout?" + url.Values{name: {odd}}.Encode()); answer.Status != http.StatusOK {
					t.Errorf("/logout with %s %q: %d", name, odd, answer.Status)
				}
			}
		}
		wantError(t, f.Post("/token", servertest.Form("grant_type", "client_credentials", "client_id", odd, "client_secret", "x"), ""), http.StatusUnauthorized, "invalid_client")
		wantError(t, f.Post("/token", servertest.Form("grant_type", "refresh_token", "client_id", f.clientID, "refresh_token", odd), ""), http.StatusBadRequest, "invalid_grant")
		wantError(t, f.Post("/token", f.redemption("ac_x", "resource", odd), ""), http.StatusBadRequest, "invalid_grant")
		f.Post("/login", servertest.Form("username", odd, "password", odd), "")
		if got := f.register(`{"client_name":` + strconv.Quote(odd[:2]) + `,"redirect_uris":["` + webCallback + `"]}`); got.Status >= http.StatusInternalServerError {
			t.Errorf("/register: %d %s", got.Status, got.Body)
		}
	}
	for _, name := range []string{`a\u0000b`, `\ud800`, `\udfff\ud800`, `\u202e`} {
		for _, member := range []string{"client_name", "scope", "software_id", "software_version"} {
			if got := f.register(`{"` + member + `":"` + name + `","redirect_uris":["` + webCallback + `"]}`); got.Status >= http.StatusInternalServerError {
				t.Errorf("/register with %s %s: %d %s", member, name, got.Status, got.Body)
			}
		}
		if got := f.register(`{"contacts":["` + name + `"],"redirect_uris":["` + webCallback + `"]}`); got.Status >= http.StatusInternalServerError {
			t.Errorf("/register with contacts %s: %d %s", name, got.Status, got.Body)
		}
	}
}

func TestAZ31StateRoundTrips(t *testing.T) {
	f := newFront(t)
	for name, state := range map[string]string{
		"base64 of 2 KiB":    strings.Repeat("AZaz09+/", 256),
		"CR and LF":          "a\r\nSet-Cookie: b=c",
		"quotes":             `"'<>&` + "`",
		"brackets":           "({[|^~*!@$,;:]})",
		"NUL":                "a\x00b",
		"emoji":              "😀 é",
		"not UTF-8":          "\xff\xfe",
		"plus, space, %":     "a+b c%20d%",
		"looks like a query": "a=b&code=x&iss=https://evil.example#f",
	} {
		t.Run(name, func(t *testing.T) {
			page := f.alice.Approve(f.alice.Authorize(f.ask("state", state, "prompt", "consent")))
			if page.Left == nil {
				t.Fatalf("no answer to the client: %d\n%s", page.Status, page.Body)
			}
			if got := f.responseParameters(t, page.Left.String(), webCallback); got.Get("state") != state || got.Get("code") == "" || len(got) != 3 {
				t.Errorf("the response is %q, want the state %q", got, state)
			}
			if len(page.Header.Values("Set-Cookie")) != 0 {
				t.Error("a header was injected")
			}
			f.wantRedirectError(t, f.alice.Authorize(f.ask("state", state, "response_type", "token")), webCallback, state, "unsupported_response_type")
		})
	}
	t.Run("AZ-32 none", func(t *testing.T) {
		page := f.alice.Approve(f.alice.Authorize(f.ask("state", "", "prompt", "consent")))
		if got := f.responseParameters(t, page.Left.String(), webCallback); got.Has("state") || len(got) != 2 {
			t.Errorf("the response is %q", got)
		}
	})
	// Browsers and html/template spell a query differently from the client; the
	// page must know its own request again.
	for name, raw := range map[string]string{
		"brackets":      "({x|y^})",
		"quote":         "a'b",
		"lower-case":    "a%2fb",
		"needless":      "%61",
		"not ASCII":     "é",
		"space as %20":  "a%20b",
		"asterisk etc.": "*!~",
	} {
		t.Run("spelled by the client: "+name, func(t *testing.T) {
			query := f.ask("state", "", "prompt", "consent").Encode() + "&state=" + raw
			page := f.alice.Approve(f.alice.Get(f.URL + "/authorize?" + query))
			if page.Left == nil {
				t.Fatalf("approving once was not enough: %d\n%s", page.Status, page.Body)
			}
			sent, err := url.ParseQuery("state=" + raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := page.Left.Query(); got.Get("state") != sent.Get("state") {
				t.Errorf("state %q, want %q", got.Get("state"), sent.Get("state"))
			}
			// The note that a sign-in was asked for survives it too.
			b := f.Browser()
			page = b.Get(f.URL + "/authorize?" + strings.Replace(query, "prompt=consent", "prompt=login+consent", 1))
			page = b.Post(page.Action(), servertest.Form("username", "alice", "password", servertest.Password))
			if !page.IsConsent() {
				t.Errorf("after signing in the page is no consent: %d %s", page.Status, page.URL)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	f := newFront(t)
	narrow := f.Must(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Narrow", "redirect_uris": []string{webCallback}, "token_endpoint_auth_method": "none", "scope": "notes:read",
	}).String("client_id")
	scopesOf := func(t *testing.T, request url.Values) string {
		t.Helper()
		request.Set("prompt", "consent")
		page := f.alice.Authorize(request)
		if !page.IsConsent() {
			t.Fatalf("no consent: %d, left for %v", page.Status, page.Left)
		}
		return strings.Join(page.Fields()["scope"], " ")
	}
	t.Run("AZ-34 beyond the ceiling", func(t *testing.T) {
		request := f.ask("client_id", narrow, "scope", "notes:write notes:read")
		if got := scopesOf(t, request); got != "notes:read" {
			t.Errorf("the page shows %q", got)
		}
		answer := f.Redeem(narrow, f.alice.Code(request))
		if answer.JSON["scope"] != "notes:read" {
			t.Errorf("the token response says scope %v", answer.JSON["scope"])
		}
		f.wantRedirectError(t, f.alice.Authorize(f.ask("client_id", narrow, "scope", "notes:write")), webCallback, "state-of-the-client", "invalid_scope")
		if got := scopesOf(t, f.ask("client_id", narrow)); got != "notes:read" {
			t.Errorf("without scope the page shows %q", got)
		}
	})
	t.Run("AZ-35 resource missing, one there is", func(t *testing.T) {
		answer := f.Redeem(f.clientID, f.alice.Code(changed(servertest.AuthorizationRequest(f.clientID, callback, ""), "resource", "")))
		if aud := servertest.Claims(answer.JSON.String("access_token"))["aud"]; aud != resourceURI {
			t.Errorf("aud is %v", aud)
		}
	})
	t.Run("AZ-37 aud is the canonical URI", func(t *testing.T) {
		request := servertest.AuthorizationRequest(f.clientID, callback, "HTTPS://MCP.example.COM/mcp/")
		answer := f.Redeem(f.clientID, f.alice.Code(request))
		if aud := servertest.Claims(answer.JSON.String("access_token"))["aud"]; aud != resourceURI {
			t.Errorf("aud is %v", aud)
		}
	})
	t.Run("AZ-40 audience is no resource", func(t *testing.T) {
		request := servertest.AuthorizationRequest(f.clientID, callback, resourceURI)
		request.Set("audience", "https://evil.example/")
		answer := f.Post("/token", servertest.Form("grant_type", "authorization_code", "client_id", f.clientID,
			"code", f.alice.Code(request), "code_verifier", servertest.Verifier, "audience", "https://evil.example/"), "")
		if aud := servertest.Claims(answer.JSON.String("access_token"))["aud"]; aud != resourceURI {
			t.Errorf("aud is %v: %s", aud, answer.Body)
		}
	})
	f.Resource("https://files.example.com/mcp", nil, "files:read", "notes:read")
	t.Run("AZ-35 resource missing, two there are", func(t *testing.T) {
		f.wantRedirectError(t, f.alice.Authorize(f.ask("resource", "")), webCallback, "state-of-the-client", "invalid_target")
		f.wantRedirectError(t, f.alice.Authorize(f.ask("resource", "", "scope", "notes:read")), webCallback, "state-of-the-client", "invalid_target")
		if got := scopesOf(t, f.ask("resource", "", "scope", "notes:read files:read")); got != "files:read notes:read" {
			t.Errorf("the only one that has both shows %q", got)
		}
	})
}

func TestAZ41RequestObjects(t *testing.T) {
	f := newFront(t)
	var hits atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(trap.Close)
	for name, want := range map[string]string{"request": "request_not_supported", "request_uri": "request_uri_not_supported"} {
		value := trap.URL
		if name == "request" {
			value = "eyJhbGciOiJub25lIn0.eyJyZXF1ZXN0X3VyaSI6IiJ9."
		}
		f.wantRedirectError(t, f.alice.Authorize(f.ask(name, value)), webCallback, "state-of-the-client", want)
		f.wantRedirectError(t, f.alice.Authorize(f.ask(name, value, "response_type", "", "code_challenge", "")), webCallback, "state-of-the-client", want)
	}
	trap.Close()
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}

func TestAZ42PromptNone(t *testing.T) {
	f := newFront(t)
	none := f.ask("prompt", "none")
	f.wantRedirectError(t, f.Browser().Authorize(none), webCallback, "state-of-the-client", "login_required")
	f.wantRedirectError(t, f.alice.Authorize(none), webCallback, "state-of-the-client", "consent_required")
	f.wantRedirectError(t, f.alice.Authorize(f.ask("prompt", "none login")), webCallback, "state-of-the-client", "invalid_request")
	f.wantReturnButton(t, f.Browser().Authorize(f.askDynamic("prompt", "none")), "state-of-the-client", "login_required")
	f.wantReturnButton(t, f.alice.Authorize(f.askDynamic("prompt", "none")), "state-of-the-client", "consent_required")
	// Whatever else is wrong, a client that registered itself gets no silent answer.
	f.wantReturnButton(t, f.alice.Authorize(f.askDynamic("prompt", "none", "response_type", "token")), "state-of-the-client", "unsupported_response_type")
	f.wantReturnButton(t, f.alice.Authorize(f.askDynamic("prompt", "none", "code_challenge", "")), "state-of-the-client", "invalid_request")
	f.wantReturnButton(t, f.alice.Authorize(f.askDynamic("prompt", "none", "scope", "x")), "state-of-the-client", "invalid_scope")
	f.wantReturnButton(t, f.alice.Get(f.URL+"/authorize?"+f.askDynamic().Encode()+"&prompt=login&prompt=none"), "state-of-the-client", "invalid_request")

	f.alice.Approve(f.alice.Authorize(f.ask()))
	page := f.alice.Authorize(none)
	if page.Left == nil || page.Left.Query().Get("code") == "" {
		t.Errorf("approved before, but prompt=none gives %d %v", page.Status, page.Left)
	}
	f.wantRedirectError(t, f.Browser().Authorize(none), webCallback, "state-of-the-client", "login_required")
	f.alice.Approve(f.alice.Authorize(f.askDynamic()))
	f.wantReturnButton(t, f.alice.Authorize(f.askDynamic("prompt", "none")), "state-of-the-client", "consent_required")
}
