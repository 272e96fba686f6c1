package server_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestRedirectURIs sends what an attacker would put in place of a registered
// redirect URI: never may the browser be sent there.
func TestRedirectURIs(t *testing.T) {
	f := newFront(t)
	known := map[string]string{} // registered URIs -> client_id
	client := func(uris ...string) string {
		key := strings.Join(uris, " ")
		if known[key] == "" {
			known[key] = f.PublicClient(uris...).String("client_id")
		}
		return known[key]
	}
	const app = "https://app.example/cb"
	for _, c := range []struct {
		name       string
		registered []string
		requested  string
		accepted   bool
	}{
		{"AZ-03 not registered", []string{app}, "https://other.example/cb", false},
		{"AZ-03 the second one registered", []string{app, "https://app.example/cb2"}, "https://app.example/cb2", true},
		{"AZ-04 omitted, two registered", []string{app, "https://app.example/cb2"}, "", false},
		{"AZ-04 omitted, one registered", []string{app}, "", true},
		{"AZ-05 host as user information", []string{app}, "https://app.example@evil.example/cb", false},
		{"AZ-05 host and port as user information", []string{app}, "https://app.example:443@evil.example/cb", false},
		{"AZ-05 two at signs", []string{app}, "https://a@b@evil.example/cb", false},
		{"AZ-06 longer host", []string{app}, "https://app.example.evil.example/cb", false},
		{"AZ-06 longer path", []string{app}, "https://app.example/cbx", false},
		{"AZ-06 host in the path", []string{app}, "https://evil.example/.app.example/cb", false},
		{"AZ-07 dot segments", []string{app}, "https://app.example/cb/../evil", false},
		{"AZ-07 dot segments with a parameter", []string{app}, "https://app.example/cb/..;/evil", false},
		{"AZ-07 dot segments, escaped", []string{app}, "https://app.example/cb%2f..%2fevil", false},
		{"AZ-07 dot before", []string{app}, "https://app.example/./cb", false},
		{"AZ-07 dot behind", []string{app}, "https://app.example/cb/.", false},
		{"AZ-08 scheme in upper case", []string{app}, "HTTPS://app.example/cb", false},
		{"AZ-08 host in upper case", []string{app}, "https://APP.example/cb", false},
		{"AZ-08 default port", []string{app}, "https://app.example:443/cb", false},
		{"AZ-08 trailing slash", []string{app}, "https://app.example/cb/", false},
		{"AZ-08 needless escape", []string{app}, "https://app.example/%63b", false},
		{"AZ-08 plus for %20", []string{"https://app.example/c%20b"}, "https://app.example/c+b", false},
		{"AZ-09 fragment", []string{app}, app + "#x", false},
		{"AZ-09 empty fragment", []string{app}, app + "#", false},
		{"AZ-09 empty fragment on loopback", []string{"http://127.0.0.1/cb"}, "http://127.0.0.1/cb#", false},
		{"AZ-10 query added", []string{app}, app + "?x=1", false},
		{"AZ-10 query dropped", []string{app + "?x=1"}, app, false},
		{"AZ-10 query as registered", []string{app + "?x=1"}, app + "?x=1", true},
		{"AZ-12 IPv4 port", []string{"http://127.0.0.1:3000/cb"}, "http://127.0.0.1:51004/cb", true},
		{"AZ-12 IPv6 port", []string{"http://[::1]:3000/cb"}, "http://[::1]:51004/cb", true},
		{"AZ-13 port-less localhost", []string{"http://localhost/callback"}, "http://localhost:57470/callback", true},
		{"AZ-13 other path", []string{"http://localhost/callback"}, "http://localhost:57470/evil", false},
		{"AZ-14 localhost for an address", []string{"http://127.0.0.1/cb"}, "http://localhost/cb", false},
		{"AZ-14 an address for localhost", []string{"http://localhost/cb"}, "http://127.0.0.1/cb", false},
		{"AZ-14 IPv6", []string{"http://127.0.0.1/cb"}, "http://[::1]/cb", false},
		{"AZ-14 another address of the net", []string{"http://127.0.0.1/cb"}, "http://127.0.0.2/cb", false},
		{"AZ-14 short", []string{"http://127.0.0.1/cb"}, "http://127.1/cb", false},
		{"AZ-14 one number", []string{"http://127.0.0.1/cb"}, "http://2130706433/cb", false},
		{"AZ-14 hexadecimal", []string{"http://127.0.0.1/cb"}, "http://0x7f.1/cb", false},
		{"AZ-14 mapped", []string{"http://127.0.0.1/cb"}, "http://[::ffff:127.0.0.1]/cb", false},
		{"AZ-15 address as a label", []string{"http://127.0.0.1/cb"}, "http://127.0.0.1.evil.example/cb", false},
		{"AZ-15 localhost as a label", []string{"http://localhost/cb"}, "http://localhost.evil.example/cb", false},
		{"AZ-15 localhost as user information", []string{"http://localhost/cb"}, "http://localhost@evil.example/cb", false},
		{"AZ-15 port as user information", []string{"http://localhost/cb"}, "http://localhost:1@evil.example/cb", false},
		{"AZ-15 below localhost", []string{"http://localhost/cb"}, "http://foo.localhost:1/cb", false},
		{"AZ-16 user information", []string{"http://127.0.0.1/cb"}, "http://user@127.0.0.1:9/cb", false},
		{"AZ-16 needless escape", []string{"http://127.0.0.1/cb"}, "http://127.0.0.1:9/c%62", false},
		{"AZ-16 scheme in upper case", []string{"http://127.0.0.1/cb"}, "HTTP://127.0.0.1:9/cb", false},
		{"AZ-16 port 99999", []string{"http://127.0.0.1/cb"}, "http://127.0.0.1:99999/cb", false},
		{"AZ-16 port 0", []string{"http://127.0.0.1/cb"}, "http://127.0.0.1:0/cb", false},
		{"AZ-16 empty port", []string{"http://127.0.0.1/cb"}, "http://127.0.0.1:/cb", false},
		{"AZ-17 scheme downgrade", []string{"https://127.0.0.1:8443/cb"}, "http://127.0.0.1:9999/cb", false},
		{"AZ-18 Cyrillic host", []string{app}, "https://аpp.example/cb", false},
		{"AZ-18 full-width dot", []string{app}, "https://app。example/cb", false},
		{"AZ-18 backslash", []string{app}, `https://app.example\@evil.example/cb`, false},
		{"AZ-18 tab", []string{app}, "https://app.example/c\tb", false},
		{"AZ-18 newline", []string{app}, app + "\n", false},
		{"AZ-18 NUL", []string{app}, app + "\x00", false},
		{"AZ-18 escaped NUL", []string{app}, app + "%00", false},
		{"AZ-18 space before", []string{app}, " " + app, false},
		{"AZ-19 javascript", []string{app}, "javascript:alert(document.domain)//", false},
		{"AZ-19 data", []string{app}, "data:text/html,<script>alert(1)</script>", false},
		{"AZ-20 private-use scheme", []string{app}, "com.example.app:/cb", false},
		{"too long", []string{app}, app + "?" + strings.Repeat("x", storage.MaxURILength), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := changed(f.ask("client_id", client(c.registered...)), "redirect_uri", c.requested)
			if c.accepted {
				want := c.requested
				if want == "" {
					want = c.registered[0]
				}
				page := f.alice.Approve(f.alice.Authorize(changed(request, "prompt", "consent")))
				if page.Left == nil {
					t.Fatalf("no answer to the client: %d\n%s", page.Status, page.Body)
				}
				if got := f.responseParameters(t, page.Left.String(), want); got.Get("code") == "" || got.Get("state") != "state-of-the-client" {
					t.Errorf("the response is %v", got)
				}
				return
			}
			f.quiet(t, func() {
				wantRefusalPage(t, f.alice.Authorize(request))
				// Nor for an error, nor silently.
				wantRefusalPage(t, f.Browser().Authorize(changed(request, "response_type", "token", "prompt", "none")))
			})
			if page := f.alice.Authorize(request); strings.Contains(page.Body, "evil.example") {
				t.Errorf("the page repeats the address:\n%s", page.Body)
			}
		})
	}
}

// TestRegisteringRedirectURIs: what must never be redirected to is not registered,
// by nobody.
func TestRegisteringRedirectURIs(t *testing.T) {
	f := newFront(t)
	for name, uri := range map[string]string{
		"AZ-09 fragment":             "https://app.example/cb#x",
		"AZ-09 empty fragment":       "https://app.example/cb#",
		"AZ-11 code":                 "https://app.example/cb?code=x",
		"AZ-11 state":                "https://app.example/cb?state=",
		"AZ-11 iss":                  "https://app.example/cb?iss=https://evil.example",
		"AZ-11 error":                "https://app.example/cb?a=1&error=x",
		"AZ-15 http beyond loopback": "http://app.example/cb",
		"AZ-15 http below localhost": "http://foo.localhost/cb",
		"AZ-16 user information":     "https://user@app.example/cb",
		"AZ-16 empty port":           "http://127.0.0.1:/cb",
		"AZ-18 backslash":            `https://app.example\\@evil.example/cb`, // escaped for JSON
		"AZ-18 not ASCII":            "https://аpp.example/cb",
		"AZ-19 javascript":           "javascript:alert(1)",
		"AZ-19 data":                 "data:text/html,x",
		"AZ-19 vbscript":             "vbscript:x",
		"AZ-19 file":                 "file:///etc/passwd",
		"AZ-19 blob":                 "blob:https://app.example/x",
		"AZ-19 about":                "about:blank",
		"AZ-19 intent":               "intent://x",
		"wildcard":                   "https://*.app.example/cb",
		"relative":                   "/cb",
		"empty":                      "",
	} {
		t.Run(name, func(t *testing.T) {
			f.quiet(t, func() {
				answer := f.register(`{"redirect_uris":["https://app.example/good","` + uri + `"]}`)
				wantError(t, answer, http.StatusBadRequest, "invalid_redirect_uri")
				// A second list would hide the first from one reader or another.
				for _, again := range []string{"redirect_uris", "Redirect_URIs", "redirect_uri\u017f"} {
					answer := f.register(`{"redirect_uris":["https://app.example/good"],"` + again + `":["` + uri + `"]}`)
					wantError(t, answer, http.StatusBadRequest, "invalid_client_metadata")
				}
			})
			status, problem := f.Call(http.MethodPost, "/clients", servertest.Object{
				"client_name": "X", "redirect_uris": []string{strings.ReplaceAll(uri, `\\`, `\`)}, "token_endpoint_auth_method": "none",
			})
			if status < 400 || status > 499 {
				t.Errorf("the admin API answers %d %v", status, problem)
			}
		})
	}
}

// TestRegisteringPrivateUseRedirects: AZ-20. A private-use scheme that nobody has
// opened is not registered, but does not sink what is good beside it either:
// Cursor registers one next to two for a browser.
func TestRegisteringPrivateUseRedirects(t *testing.T) {
	f := newFront(t)
	for _, uri := range []string{"com.example.app:/cb", "myapp://cb", "cursor://somewhere/else"} {
		t.Run(uri, func(t *testing.T) {
			answer := f.register(`{"redirect_uris":["https://app.example/good","` + uri + `"]}`)
			if got := answer.JSON["redirect_uris"]; answer.Status != http.StatusCreated || !reflect.DeepEqual(got, []any{"https://app.example/good"}) {
				t.Errorf("%d %v", answer.Status, answer.JSON)
			}
			f.quiet(t, func() {
				wantError(t, f.register(`{"redirect_uris":["`+uri+`"]}`), http.StatusBadRequest, "invalid_redirect_uri")
			})
		})
	}
}

// TestStoredRedirectURIs: what should never have been stored is not followed
// either.
func TestStoredRedirectURIs(t *testing.T) {
	f := newFront(t)
	for name, uri := range map[string]string{
		"AZ-09 fragment":             "https://app.example/cb#x",
		"AZ-11 iss":                  "https://app.example/cb?iss=https://evil.example",
		"AZ-11 code":                 "https://app.example/cb?code=x",
		"AZ-19 javascript":           "javascript:alert(1)",
		"AZ-19 JavaScript":           "JavaScript:alert(1)",
		"AZ-19 data":                 "data:text/html,x",
		"AZ-19 vbscript":             "vbscript:x",
		"AZ-19 file":                 "file:///etc/passwd",
		"AZ-19 blob":                 "blob:https://app.example/x",
		"AZ-19 about":                "about:blank",
		"AZ-19 intent":               "intent://x",
		"AZ-15 http beyond loopback": "http://app.example/cb",
	} {
		t.Run(name, func(t *testing.T) {
			id := storage.NewID(storage.PrefixClient)
			now := f.Clock.Now()
			client := &storage.Client{
				ID: id, ClientID: id, Source: storage.SourceRegistered, ClientName: "Old", RedirectURIs: []string{uri},
				GrantTypes: []string{storage.GrantTypeAuthorizationCode}, ResponseTypes: []string{"code"},
				TokenEndpointAuthMethod: storage.AuthMethodNone, ApplicationType: "web", CreatedAt: now, UpdatedAt: now,
			}
			if err := f.Store.CreateClient(t.Context(), client, storage.NewAuditEvent(now, "system", "client.created", id)); err != nil {
				t.Fatal(err)
			}
			for _, sent := range []string{uri, ""} {
				page := f.alice.Authorize(f.ask("client_id", id, "redirect_uri", sent))
				wantRefusalPage(t, page)
				for _, link := range page.Links() {
					if !strings.HasPrefix(link, "/") {
						t.Errorf("the page leads to %s", link)
					}
				}
			}
		})
	}
}

// AZ-30: a client_id may be as long as a URL.
func TestAZ30LongClientID(t *testing.T) {
	host := newDocumentHost(t)
	f := newOffice(t, host.options()...)
	path := "/" + strings.Repeat("c", 511-len(host.URL))
	clientID := host.publish(path, nil)
	page := f.alice.Authorize(changed(servertest.AuthorizationRequest(clientID, webCallback, resourceURI), "state", strings.Repeat("s", 3<<10)))
	if !page.IsConsent() {
		t.Fatalf("no consent: %d\n%s", page.Status, page.Body)
	}
	if got := f.alice.Approve(page); got.Left == nil || got.Left.Query().Get("code") == "" {
		t.Errorf("no code: %d", got.Status)
	}
}
