package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"grantd/server/servertest"
)

// TestCORS: TK-26, AZ-48, and what MCP Inspector needs to register from a browser.
// Programs of any origin may call what they must, and nothing else.
func TestCORS(t *testing.T) {
	const origin = "https://inspector.example"
	for _, root := range []string{"", "/tenant"} {
		f := newFront(t, servertest.WithIssuerPath(root))
		id := f.registered(t, `{"redirect_uris":["`+webCallback+`"]}`).String("client_id")
		open := map[string]string{
			f.URL + "/token": "POST", f.URL + "/revoke": "POST", f.URL + "/register": "POST", f.URL + "/jwks": "GET",
			f.Origin + "/.well-known/oauth-authorization-server" + root: "GET", f.Origin + "/.well-known/openid-configuration" + root: "GET",
			f.URL + "/.well-known/oauth-authorization-server": "GET", f.URL + "/.well-known/openid-configuration": "GET",
		}
		for target, method := range open {
			t.Run("TK-26 "+target, func(t *testing.T) {
				preflight := f.Do(f.Request(http.MethodOptions, target, "", http.Header{
					"Origin": {origin}, "Access-Control-Request-Method": {method},
					"Access-Control-Request-Headers": {"authorization,content-type,mcp-protocol-version"},
				}))
				allowed := strings.Split(strings.ToLower(preflight.Header.Get("Access-Control-Allow-Headers")), ", ")
				if preflight.Status != http.StatusNoContent || !strings.Contains(preflight.Header.Get("Access-Control-Allow-Methods"), method) {
					t.Errorf("preflight: %d %v", preflight.Status, preflight.Header)
				}
				for _, name := range []string{"authorization", "content-type", "mcp-protocol-version"} {
					if !slices.Contains(allowed, name) {
						t.Errorf("%s is not allowed: %q", name, allowed)
					}
				}
				answer := f.Do(f.Request(method, target, "", http.Header{"Origin": {origin}, "Mcp-Protocol-Version": {"2026-07-28"}}))
				for _, a := range []*servertest.Answer{preflight, answer} {
					if got := a.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
						t.Errorf("%v", a.Header)
					}
				}
			})
		}
		for _, path := range []string{
			"/authorize?" + f.ask().Encode(), "/login", "/logout", "/account", "/introspect", "/register/" + id, "/", "/assets/", "/nothing", "/token/", "/register/",
		} {
			for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead} {
				answer := f.Do(f.Request(method, f.URL+path, "", http.Header{
					"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"},
				}))
				for name := range answer.Header {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("AZ-48 %s %s has %s", method, path, name)
					}
				}
			}
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			answer := f.Do(f.Request(http.MethodOptions, f.Origin+path, "", http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"GET"}}))
			wantNoCORS(t, answer)
		}
	}
}
