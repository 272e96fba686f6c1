package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/go-jose/go-jose/v4/jwt"

	"grantd/examples/mcp-server/notes"
)

// typescriptSDK is one of the two official TypeScript SDKs, as we found it.
type typescriptSDK struct {
	name, script string
	// checksIss: it refuses an answer whose iss is not the issuer's (RFC 9207).
	checksIss bool
	// stepsUp: with a refresh token, it asks the person for a further scope.
	stepsUp bool
	// asksAll: as a machine it asks for no scope at first, and so gets all.
	asksAll bool
}

var typescriptSDKs = []typescriptSDK{
	{name: "sdk 1.x", script: "v1.mjs", asksAll: true},
	{name: "client 2.x", script: "v2.mjs", checksIss: true, stepsUp: true},
}

// introductions are the ways in which an application becomes a client.
var introductions = []struct {
	name string
	// metadata is what an administrator registers; nil: it introduces itself.
	metadata map[string]any
	// document is what its metadata document says beside the names; nil: it has
	// none, and registers itself.
	document map[string]any
	// authenticates is how the SDK must authenticate at the token endpoint then.
	authenticates string
	// machine: it acts for itself, and nobody is asked.
	machine bool
}{
	{name: "registers itself", authenticates: "none"},
	{name: "metadata document", document: public(), authenticates: "none"},
	{name: "metadata document with a key", document: withKey(map[string]any{}), authenticates: "private_key_jwt"},
	{name: "public", metadata: public(), authenticates: "none"},
	{
		name:          "secret by Basic",
		metadata:      map[string]any{"token_endpoint_auth_method": "client_secret_basic"},
		authenticates: "client_secret_basic",
	},
	{
		name:          "secret in the body",
		metadata:      map[string]any{"token_endpoint_auth_method": "client_secret_post"},
		authenticates: "client_secret_post",
	},
	{
		name:          "client credentials",
		metadata:      map[string]any{"token_endpoint_auth_method": "client_secret_basic", "grant_types": []string{"client_credentials"}},
		authenticates: "client_secret_basic", machine: true,
	},
	{
		name:          "client credentials with a key",
		metadata:      withKey(map[string]any{"grant_types": []string{"client_credentials"}}),
		authenticates: "private_key_jwt", machine: true,
	},
}

func public() map[string]any { return map[string]any{"token_endpoint_auth_method": "none"} }

// withKey adds what makes a client prove who it is with testKey.
func withKey(metadata map[string]any) map[string]any {
	metadata["token_endpoint_auth_method"] = "private_key_jwt"
	metadata["jwks"] = map[string]any{"keys": []any{testKey().Public()}}
	return metadata
}

// TestTypeScriptSDKs has the official TypeScript SDKs use a protected MCP server,
// with Chromium where a person is needed.
func TestTypeScriptSDKs(t *testing.T) {
	folder := needTypeScript(t)
	for _, sdk := range typescriptSDKs {
		t.Run(sdk.name, func(t *testing.T) {
			t.Parallel()
			browser := newBrowser(t)
			// The browser lives as long as the context of its first action.
			if err := chromedp.Do(browser, chromedp.Navigate("about:blank")); err != nil {
				t.Fatal(err)
			}
			documents := startDocumentHost(t)
			s := &suite{folder: folder, sdk: sdk, browser: browser, documents: documents, ours: startPlace(t, documents.flags()...)}
			s.ours.admin.openRegistration()
			for _, introduction := range introductions {
				t.Run(introduction.name, func(t *testing.T) {
					c := s.client(t, s.ours, introduction.metadata, introduction.machine)
					c.authenticates = introduction.authenticates
					if introduction.document != nil {
						c.publish(documents, introduction.document)
					}
					c.usesTheServer()
					c.renewsItsToken()
				})
			}
			t.Run("denied", s.denied)
			t.Run("refresh token ended", s.refreshTokenEnded)
			t.Run("further scope", s.furtherScope)
			t.Run("further scope without a refresh token", s.furtherScopeWithoutRefreshToken)
			t.Run("further scope for a machine", s.furtherScopeForMachine)
			t.Run("another iss", func(t *testing.T) {
				s.tampered(t, func(answer url.Values) { answer.Set("iss", "https://elsewhere.example.com") })
			})
			t.Run("no iss", func(t *testing.T) { s.tampered(t, func(answer url.Values) { answer.Del("iss") }) })
		})
	}
}

// suite is what the cases of one SDK share.
type suite struct {
	folder    string
	sdk       typescriptSDK
	browser   context.Context
	documents *documentHost
	ours      *place
}

// usesTheServer goes from nothing to a tool call, and looks at what was sent.
func (c *client) usesTheServer() {
	t := c.t
	t.Helper()
	c.must("connect", c.connect)
	c.must("call", listNotes)

	if c.machine {
		if len(c.opened) != 0 {
			t.Errorf("a machine sent a person to %v", c.opened)
		}
	} else {
		if len(c.opened) != 1 {
			t.Fatalf("%d authorization requests, want 1", len(c.opened))
		}
		for name, want := range map[string]string{
			"resource": c.at.endpoint, "scope": notes.ScopeRead, "code_challenge_method": "S256", "redirect_uri": c.redirectURI, "response_type": "code",
		} {
			if got := c.opened[0].Get(name); got != want {
				t.Errorf("the authorization request has %s=%q, want %q", name, got, want)
			}
		}
	}
	c.expectSent(map[bool]string{false: "authorization_code", true: "client_credentials"}[c.machine] + " 200")
	for _, sent := range c.sent {
		if sent.Form["resource"] != c.at.endpoint || sent.authentication() != c.authenticates {
			t.Errorf("a token request has the resource %q and authenticates by %s, want %q and %s", sent.Form["resource"], sent.authentication(), c.at.endpoint, c.authenticates)
		}
	}
	held := c.held()
	claims := claimsOf(t, held.Tokens.AccessToken)
	if !slices.Equal(claims.Audience, jwt.Audience{c.at.endpoint}) || claims.Issuer != c.at.issuer || claims.ClientID != held.Client.ClientID {
		t.Errorf("the access token is %+v", claims)
	}
	if !c.machine && claims.Scope != notes.ScopeRead {
		t.Errorf("the access token's scope is %q, want %q", claims.Scope, notes.ScopeRead)
	}
}

// renewsItsToken ends the access token behind the SDK's back: the MCP server
// answers 401, and the SDK gets a new one without asking the person again.
func (c *client) renewsItsToken() {
	t := c.t
	t.Helper()
	before, opened := c.held(), len(c.opened)
	c.sent = nil
	c.revoke(before.Tokens.AccessToken)
	c.must("call", listNotes)

	grantType := "refresh_token"
	if c.machine {
		grantType = "client_credentials"
	}
	c.expectSent(grantType + " 200")
	if len(c.opened) != opened {
		t.Errorf("the person was asked again: %v", c.opened[opened:])
	}
	if sent := c.sent[0]; sent.Form["resource"] != c.at.endpoint || sent.authentication() != c.authenticates {
		t.Errorf("the request has the resource %q and authenticates by %s, want %q and %s", sent.Form["resource"], sent.authentication(), c.at.endpoint, c.authenticates)
	}
	after := c.held()
	if after.Tokens.AccessToken == before.Tokens.AccessToken || claimsOf(t, after.Tokens.AccessToken).Audience[0] != c.at.endpoint {
		t.Error("the access token is not a new one for the MCP server")
	}
	if !c.machine && (after.Tokens.RefreshToken == "" || after.Tokens.RefreshToken == before.Tokens.RefreshToken) {
		t.Error("the refresh token did not rotate")
	}
}

// denied: the SDK, or the application around it, learns that the person said no,
// and may ask again.
func (s *suite) denied(t *testing.T) {
	c := s.client(t, s.ours, public(), false)
	c.decision = "deny"
	_, refused := c.do("connect", c.connect)
	if refused == nil || refused.Code != "access_denied" {
		t.Fatalf("the application was told %+v, want access_denied", refused)
	}
	c.expectSent()
	c.decision = "approve"
	c.must("connect", c.connect)
	c.must("call", listNotes)
}

// refreshTokenEnded: a refresh token that was revoked is what makes both SDKs
// throw their tokens away and ask the person.
func (s *suite) refreshTokenEnded(t *testing.T) {
	c := s.client(t, s.ours, public(), false)
	c.must("connect", c.connect)
	// After connecting, the SDKs try to open a stream beside the calls. Once a call
	// is answered that is over, and cannot ask for the person too.
	c.must("call", listNotes)
	c.revoke(c.held().Tokens.RefreshToken)
	c.sent = nil
	c.must("call", listNotes)
	c.expectSent("refresh_token 400", "authorization_code 200")
	if len(c.opened) != 2 {
		t.Errorf("%d authorization requests, want 2", len(c.opened))
	}
}

// furtherScope calls a tool that needs more than what was approved.
func (s *suite) furtherScope(t *testing.T) {
	c := s.client(t, s.ours, public(), false)
	c.must("connect", c.connect)
	c.sent = nil
	_, refused := c.do("call", addNote)
	if !s.sdk.stepsUp {
		// sdk 1.x answers a 403 by refreshing. That cannot widen a scope, so it
		// gets the same 403 again and gives up; the person is never asked.
		if refused == nil || refused.Code != "403" {
			t.Errorf("the call ended with %+v, want 403", refused)
		}
		c.expectSent("refresh_token 200")
		if len(c.opened) != 1 {
			t.Errorf("%d authorization requests, want 1", len(c.opened))
		}
		c.must("call", listNotes) // what it had, it still has
		return
	}
	if refused != nil {
		t.Fatalf("the call ended with %+v", *refused)
	}
	c.expectSent("authorization_code 200")
	c.expectBothScopes()
}

// furtherScopeWithoutRefreshToken: with nothing to refresh, sdk 1.x asks the
// person too.
func (s *suite) furtherScopeWithoutRefreshToken(t *testing.T) {
	metadata := public()
	metadata["grant_types"] = []string{"authorization_code"}
	c := s.client(t, s.ours, metadata, false)
	c.must("connect", c.connect)
	if c.held().Tokens.RefreshToken != "" {
		t.Error("a client without the grant type got a refresh token")
	}
	c.sent = nil
	c.must("call", addNote)
	c.expectSent("authorization_code 200")
	c.expectBothScopes()
}

// furtherScopeForMachine: sdk 1.x asks for no scope, and so has all of them from
// the start; client 2.x asks for what the MCP server says, each time.
func (s *suite) furtherScopeForMachine(t *testing.T) {
	c := s.client(t, s.ours, map[string]any{"token_endpoint_auth_method": "client_secret_basic", "grant_types": []string{"client_credentials"}}, true)
	c.must("connect", c.connect)
	c.must("call", addNote)
	want := []string{"client_credentials 200"}
	if !s.sdk.asksAll {
		want = append(want, "client_credentials 200")
	}
	c.expectSent(want...)
	if first := c.sent[0].Form["scope"]; (first == "") != s.sdk.asksAll {
		t.Errorf("the first token request asks for the scope %q", first)
	}
	if scopes := strings.Fields(claimsOf(t, c.held().Tokens.AccessToken).Scope); !sameScopes(scopes, bothScopes) {
		t.Errorf("the access token's scopes are %v, want %v", scopes, bothScopes)
	}
}

// tampered has the answer to the authorization request changed on its way, as by
// another authorization server that mixes itself in.
func (s *suite) tampered(t *testing.T, change func(answer url.Values)) {
	var c *client
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := r.URL.Query()
		if got := answer.Get("iss"); got != s.ours.issuer {
			t.Errorf("the answer has iss %q, want %q", got, s.ours.issuer)
		}
		change(answer)
		http.Redirect(w, r, c.redirectURI+"?"+answer.Encode(), http.StatusFound)
	}))
	t.Cleanup(between.Close)
	metadata := public()
	metadata["redirect_uris"] = []string{between.URL + "/callback"}
	c = s.client(t, s.ours, metadata, false)
	c.connect["redirect_uri"] = between.URL + "/callback"

	_, refused := c.do("connect", c.connect)
	if !s.sdk.checksIss {
		// sdk 1.x never looks at iss.
		if refused != nil {
			t.Errorf("the application was told %+v", *refused)
		}
		c.expectSent("authorization_code 200")
		return
	}
	if refused == nil || refused.Name != "IssuerMismatchError" {
		t.Errorf("the application was told %+v, want IssuerMismatchError", refused)
	}
	c.expectSent()
}

var (
	listNotes  = map[string]any{"tool": notes.ToolList, "arguments": map[string]any{}}
	addNote    = map[string]any{"tool": notes.ToolAdd, "arguments": map[string]any{"title": "From an SDK", "text": "Written with a further scope."}}
	bothScopes = []string{notes.ScopeRead, notes.ScopeWrite}
)
