package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestDocumentClient goes the whole way with a client that nobody has registered,
// on both databases.
func TestDocumentClient(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		n := newNotebook(t, servertest.WithStore(open(t)))
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
			if n.Get(path).JSON["client_id_metadata_document_supported"] != true {
				t.Errorf("%s does not say that metadata documents are supported", path)
			}
		}

		stranger := n.Browser().Authorize(n.request())
		if !stranger.IsLogin() || !strings.Contains(stranger.Body, n.host.address()) {
			t.Fatalf("the sign-in page does not name the client's host:\n%s", stranger.Body)
		}
		page := n.alice.Authorize(n.request())
		if !page.IsConsent() {
			t.Fatalf("no consent page: %d\n%s", page.Status, page.Body)
		}
		if n.row(t) != nil {
			t.Fatal("a client has a row before anybody approved it")
		}
		page = n.alice.Approve(page, "notes:read")
		if page.Left == nil || page.Left.Host != "app.example.com" {
			t.Fatalf("approving led to %d %v", page.Status, page.Left)
		}
		row := n.row(t)
		if row == nil || row["source"] != "metadata_document" || row["client_name"] != "Notebook" || row["id"] != storage.DocumentClientID(n.url) {
			t.Fatalf("the client's row is %v", row)
		}
		got := wantTokens(t, n.Redeem(n.url, page.Left.Query().Get("code")))
		if claims := servertest.Claims(got.access); claims["client_id"] != n.url || got.scope != "notes:read" {
			t.Errorf("the token is for %v, %s", claims["client_id"], got.scope)
		}
		next := wantTokens(t, n.Refresh(n.url, got.refresh))
		if answer := n.Post("/revoke", servertest.Form("token", next.refresh, "client_id", n.url), ""); answer.Status != http.StatusOK {
			t.Errorf("revoke: %d %s", answer.Status, answer.Body)
		}
		wantError(t, n.Refresh(n.url, next.refresh), http.StatusBadRequest, "invalid_grant")
		if registered, approved := n.audited(t, "client.registered"), n.audited(t, "grant.approved"); registered != 1 || approved != 1 {
			t.Errorf("%d and %d events", registered, approved)
		}
		if fetches := n.host.fetches.Load(); fetches != 1 {
			t.Errorf("%d fetches for all of it", fetches)
		}
	})
}

// TestDocumentClientNeedsItsHostOnlyForApprovals: a document is read for the person
// who approves, and a redemption of another client gets nowhere.
func TestDocumentClientUnknownAtToken(t *testing.T) {
	n := newNotebook(t)
	fetches := n.host.fetched(func() {
		wantError(t, n.Redeem(n.url, "ac_none"), http.StatusUnauthorized, "invalid_client")
		wantError(t, n.Refresh(n.url, "rt_none"), http.StatusUnauthorized, "invalid_client")
		wantError(t, n.Post("/revoke", servertest.Form("token", "x", "client_id", n.url), ""), http.StatusUnauthorized, "invalid_client")
		n.Post("/token?client_secret=x&client_id="+url.QueryEscape(n.url), servertest.Form("grant_type", "refresh_token"), "")
	})
	if fetches != 0 {
		t.Errorf("strangers at /token caused %d fetches", fetches)
	}
}

// wantRefused checks that a request ends at a page: 400, no redirect (P400).
func wantRefused(t testing.TB, page *servertest.Page) {
	t.Helper()
	if page.Status != http.StatusBadRequest || page.Left != nil || page.Header.Get("Location") != "" || page.IsConsent() || page.IsLogin() {
		t.Errorf("the page is %d at %s, left for %v", page.Status, page.URL, page.Left)
	}
}

// TestDocumentURLs: CM-01, CM-02, CM-03, CM-19 and CM-20, through /authorize.
func TestDocumentURLs(t *testing.T) {
	n := newNotebook(t)
	own := strings.TrimPrefix(n.Origin, "http://")
	host := n.host.address()
	_, port, _ := strings.Cut(host, ":")
	for _, c := range []struct{ name, clientID string }{
		{"CM-01 http", "http://" + host + notebookPath},
		{"CM-01 no path", "https://" + host},
		{"CM-01 fragment", n.url + "#x"},
		{"CM-01 empty fragment", n.url + "#"},
		{"CM-01 user", "https://user@" + host + notebookPath},
		{"CM-01 dot segment", "https://" + host + "/./notebook.json"},
		{"CM-01 two dots", "https://" + host + "/a/../notebook.json"},
		{"CM-01 encoded dots", "https://" + host + "/a/%2e%2E/notebook.json"},
		{"CM-01 backslash", "https://" + host + `\notebook.json`},
		{"CM-01 control character", "https://" + host + "/note\tbook.json"},
		{"CM-01 NUL", "https://" + host + "/notebook.json\x00"},
		{"CM-01 empty host", "https:///" + host + notebookPath},
		{"CM-01 no slashes", "https:" + host + notebookPath},
		{"CM-01 upper-case scheme", "HTTPS://" + host + notebookPath},
		{"CM-01 too long", "https://" + host + "/" + strings.Repeat("a", 2048)},
		{"CM-01 Unicode", "https://" + host + "/nötebook.json"},
		{"CM-03 IPv6 loopback", "https://[::1]:" + port + notebookPath},
		{"CM-03 mapped", "https://[::ffff:7f00:1]:8443" + notebookPath},
		{"CM-03 decimal", "https://2130706433:" + port + notebookPath},
		{"CM-03 hexadecimal", "https://0x7f000001:" + port + notebookPath},
		{"CM-03 short", "https://127.1:" + port + notebookPath},
		{"CM-03 octal", "https://0177.0.0.1:" + port + notebookPath},
		{"CM-03 private", "https://10.0.0.1/client.json"},
		{"CM-03 link local", "https://169.254.169.254/latest/meta-data/"},
		{"CM-19 grantd itself", "https://" + own + notebookPath},
		{"CM-19 grantd itself by name", "https://localhost:" + own[strings.LastIndex(own, ":")+1:] + notebookPath},
		{"CM-20 loopback, another port than the one allowed", "https://127.0.0.1:1" + notebookPath},
		{"CM-20 loopback by name", "https://localhost:" + port + notebookPath},
	} {
		t.Run(c.name, func(t *testing.T) {
			fetches := n.host.fetched(func() { wantRefused(t, n.alice.Authorize(n.request("client_id", c.clientID))) })
			if fetches != 0 {
				t.Errorf("%d fetches", fetches)
			}
		})
	}
	t.Run("CM-20 loopback is closed unless it is allowed", func(t *testing.T) {
		// This server trusts the host's certificate and allows another address.
		closed := newOffice(t, n.host.options()[0])
		fetches := n.host.fetched(func() { wantRefused(t, closed.alice.Authorize(n.request())) })
		if fetches != 0 {
			t.Errorf("%d fetches", fetches)
		}
	})
	for _, path := range []string{"/", "/a/b.json", "/client.json?v=1&w=%2F"} {
		t.Run("CM-02 "+path, func(t *testing.T) {
			clientID := n.host.URL + path
			n.host.publish(strings.Split(path, "?")[0], servertest.Object{"client_id": clientID})
			page := n.alice.Authorize(n.request("client_id", clientID))
			if !page.IsConsent() {
				t.Fatalf("%d\n%s", page.Status, page.Body)
			}
			if other, ok := strings.CutSuffix(clientID, "?v=1&w=%2F"); ok {
				n.Clock.Advance(2 * time.Minute)
				wantRefused(t, n.alice.Authorize(n.request("client_id", other+"?v=1&w=/")))
			}
		})
	}
}

// reference is the one thing in which error pages differ.
var reference = regexp.MustCompile(`<p class="hint reference">.*</p>`)

// TestDocumentHosts: what a host may answer, and that nobody can tell from the page
// what it did (CM-22).
func TestDocumentHosts(t *testing.T) {
	n := newNotebook(t)
	send := func(status int, header, value, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if header != "" {
				w.Header().Set(header, value)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	good := fmt.Sprintf(`{"client_id":%q,"client_name":"Notebook","redirect_uris":[%q]}`, n.url, webCallback)
	refusals := map[string]string{}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		ok     bool
	}{
		{"CM-06 301", send(301, "Location", n.host.URL+"/other.json", ""), false},
		{"CM-06 302", send(302, "Location", "https://elsewhere.example/", ""), false},
		{"CM-06 307 inward", send(307, "Location", "http://169.254.169.254/", ""), false},
		{"CM-06 308", send(308, "Location", "/other.json", ""), false},
		{"CM-07 201", send(201, "", "", good), false},
		{"CM-07 204", send(204, "", "", ""), false},
		{"CM-07 206", send(206, "", "", good), false},
		{"CM-07 304", send(304, "", "", ""), false},
		{"CM-07 404", send(404, "", "", good), false},
		{"CM-07 500", send(500, "", "", good), false},
		{"CM-08 HTML", send(200, "Content-Type", "text/html", good), false},
		{"CM-08 a registered type", send(200, "Content-Type", "application/oauth-client+json", good), true},
		{"CM-08 JSON with a parameter", send(200, "Content-Type", "application/json;charset=x", good), true},
		{"CM-09 6 KiB", send(200, "", "", good[:len(good)-1]+`,"x":"`+strings.Repeat("x", 6<<10)+`"}`), false},
		{"CM-09 gzip", send(200, "Content-Encoding", "gzip", good), false},
		{"CM-10 broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(good[:10]))
		}, false},
		{"CM-12 no JSON", send(200, "", "", "notebook"), false},
		{"CM-12 garbage behind it", send(200, "", "", good+"x"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.Clock.Advance(25 * time.Hour) // nothing is remembered, the session is over
			n.alice = n.SignedIn("alice")
			n.host.answer(notebookPath, c.answer)
			var page *servertest.Page
			if fetches := n.host.fetched(func() { page = n.alice.Authorize(n.request()) }); fetches != 1 {
				t.Errorf("%d fetches", fetches)
			}
			if c.ok {
				if !page.IsConsent() {
					t.Errorf("%d\n%s", page.Status, page.Body)
				}
				return
			}
			wantRefused(t, page)
			if !strings.Contains(page.Body, n.host.address()) {
				t.Error("the page does not say whose description could not be read")
			}
			refusals[reference.ReplaceAllString(page.Body, "")] = c.name
		})
	}
	n.Clock.Advance(25 * time.Hour)
	n.alice = n.SignedIn("alice")
	n.host.Close()
	page := n.alice.Authorize(n.request())
	wantRefused(t, page)
	refusals[reference.ReplaceAllString(page.Body, "")] = "closed port"
	if len(refusals) != 1 {
		t.Errorf("CM-22: %d different pages: %v", len(refusals), refusals)
	}
}

// TestDocuments: what a document may say. CM-11 to CM-16.
func TestDocuments(t *testing.T) {
	n := newNotebook(t)
	key := newSigner(t, "k")
	private := servertest.Object{"keys": []any{servertest.Object{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}}}
	symmetric := servertest.Object{"keys": []any{servertest.Object{"kty": "oct", "k": "AAAA"}}}
	for _, c := range []struct {
		name   string
		change servertest.Object
		ok     bool
	}{
		{"as it is", nil, true},
		{"CM-11 other case", servertest.Object{"client_id": strings.ToUpper(n.url)}, false},
		{"CM-11 slash", servertest.Object{"client_id": n.url + "/"}, false},
		{"CM-11 default port", servertest.Object{"client_id": strings.Replace(n.url, n.host.address(), n.host.address()+":443", 1)}, false},
		{"CM-11 encoded", servertest.Object{"client_id": strings.Replace(n.url, "notebook", "%6eotebook", 1)}, false},
		{"CM-11 missing", servertest.Object{"client_id": nil}, false},
		{"CM-12 no name", servertest.Object{"client_name": nil}, false},
		{"CM-12 empty name", servertest.Object{"client_name": ""}, false},
		{"CM-12 invisible name", servertest.Object{"client_name": "\u2066\u2069"}, false},
		{"CM-12 no redirect URIs", servertest.Object{"redirect_uris": nil}, false},
		{"CM-12 empty redirect URIs", servertest.Object{"redirect_uris": []string{}}, false},
		{"CM-12 redirect URIs of another type", servertest.Object{"redirect_uris": webCallback}, false},
		{"CM-12 name of another type", servertest.Object{"client_name": 7}, false},
		{"CM-12 a dangerous redirect URI", servertest.Object{"redirect_uris": []string{webCallback, "javascript:alert(1)"}}, false},
		{"CM-13 secret", servertest.Object{"client_secret": "x"}, false},
		{"CM-13 empty secret", servertest.Object{"client_secret": ""}, false},
		{"CM-13 secret in other case", servertest.Object{"Client_Secret": "x"}, false},
		{"CM-13 when the secret expires", servertest.Object{"client_secret_expires_at": 0}, false},
		{"CM-13 basic", servertest.Object{"token_endpoint_auth_method": "client_secret_basic"}, false},
		{"CM-13 post", servertest.Object{"token_endpoint_auth_method": "client_secret_post"}, false},
		{"CM-13 client_secret_jwt", servertest.Object{"token_endpoint_auth_method": "client_secret_jwt"}, false},
		{"CM-14 keys inline", servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(t)}, true},
		{"CM-14 keys behind a URI", servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://keys.example.com/jwks"}, true},
		{"CM-14 no keys", servertest.Object{"token_endpoint_auth_method": "private_key_jwt"}, false},
		{"CM-14 keys twice", servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(t), "jwks_uri": "https://keys.example.com/jwks"}, false},
		{"CM-15 private key", servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks": private}, false},
		{"CM-15 private key of a public client", servertest.Object{"jwks": private}, false},
		{"CM-15 symmetric key", servertest.Object{"jwks": symmetric}, false},
		{"CM-16 keys inward", servertest.Object{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://10.0.0.1/jwks"}, false},
		{"CM-16 logo inward", servertest.Object{"logo_uri": "https://169.254.169.254/logo.png"}, false},
		{"CM-16 terms inward", servertest.Object{"tos_uri": "https://[fd00::1]/tos"}, false},
		{"CM-16 a page without a path is none of that", servertest.Object{"client_uri": "https://client.example.com"}, true},
		{"CS-12 script as a page", servertest.Object{"policy_uri": "javascript:alert(1)"}, false},
		{"Claude lists jwt-bearer", servertest.Object{"grant_types": []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"}}, true},
		{"ChatGPT prefers its key and can live without", servertest.Object{
			"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_methods_supported": []string{"private_key_jwt", "none"},
		}, true},
		{"Cursor has a private-use scheme beside", servertest.Object{"redirect_uris": []string{webCallback, "cursor://anysphere.cursor-mcp/oauth/callback"}}, true},
		{"unknown members", servertest.Object{"x_future": servertest.Object{"a": []int{1}}}, true},
		{"no method means none", servertest.Object{"token_endpoint_auth_method": nil}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.Clock.Advance(25 * time.Hour)
			n.alice = n.SignedIn("alice")
			n.host.publish(notebookPath, c.change)
			page := n.alice.Authorize(n.request())
			if c.ok != page.IsConsent() {
				t.Fatalf("%d\n%s", page.Status, page.Body)
			}
			if !c.ok {
				wantRefused(t, page)
			}
		})
	}
	t.Run("CM-12 a member twice", func(t *testing.T) {
		n.Clock.Advance(25 * time.Hour)
		n.alice = n.SignedIn("alice")
		n.host.send(notebookPath, fmt.Sprintf(`{"client_id":%q,"client_id":%q,"client_name":"Notebook","redirect_uris":[%q]}`, n.url, n.url, webCallback))
		wantRefused(t, n.alice.Authorize(n.request()))
	})
}

// TestDocumentLimits: CM-21, CM-23 and CM-26.
func TestDocumentLimits(t *testing.T) {
	t.Run("CM-21 an address causes ten fetches in a minute", func(t *testing.T) {
		n := newNotebook(t)
		if !n.alice.Authorize(n.request()).IsConsent() {
			t.Fatal("the first is not shown")
		}
		shown := 1
		var last *servertest.Page
		fetches := n.host.fetched(func() {
			for i := range 20 {
				clientID := n.host.publish(fmt.Sprint("/", i), nil)
				if last = n.alice.Authorize(n.request("client_id", clientID)); last.IsConsent() {
					shown++
				}
			}
		})
		if shown != 10 || fetches != 9 {
			t.Errorf("%d pages, %d further fetches", shown, fetches)
		}
		if last.Status != http.StatusTooManyRequests || last.Header.Get("Retry-After") == "" || last.Left != nil {
			t.Errorf("beyond the limit: %d, Retry-After %q", last.Status, last.Header.Get("Retry-After"))
		}
		if !n.alice.Authorize(n.request()).IsConsent() {
			t.Error("what is at hand counts for the limit")
		}
		n.Clock.Advance(2 * time.Minute)
		if !n.alice.Authorize(n.request("client_id", n.host.URL+"/19")).IsConsent() {
			t.Error("the limit does not end")
		}
	})
	t.Run("CM-21 many requests for one URL are one fetch", func(t *testing.T) {
		n := newNotebook(t)
		release := make(chan struct{})
		good := n.host.answers[notebookPath]
		n.host.answer(notebookPath, func(w http.ResponseWriter, r *http.Request) { <-release; good(w, r) })
		pages := make([]*servertest.Answer, racers)
		fetches := n.host.fetched(func() {
			target := "/authorize?" + url.Values(n.request()).Encode()
			done := make(chan struct{})
			go func() {
				defer close(done)
				race(racers, func(i int) { pages[i] = n.Get(target) })
			}()
			eventually(t, "a fetch", func() bool { return n.host.fetches.Load() > 0 })
			close(release)
			<-done
		})
		if fetches != 1 {
			t.Errorf("%d fetches", fetches)
		}
		for _, page := range pages {
			if page.Status != http.StatusSeeOther && page.Status != http.StatusTooManyRequests {
				t.Errorf("a page is %d", page.Status)
			}
		}
	})
	t.Run("CM-23 failures are remembered for a moment", func(t *testing.T) {
		n := newNotebook(t)
		n.host.send(notebookPath, `{}`)
		fetches := n.host.fetched(func() {
			wantRefused(t, n.alice.Authorize(n.request()))
			n.host.publish(notebookPath, nil)
			wantRefused(t, n.alice.Authorize(n.request()))
			n.Clock.Advance(time.Minute)
			if page := n.alice.Authorize(n.request()); !page.IsConsent() {
				t.Errorf("a minute later: %d", page.Status)
			}
		})
		if fetches != 2 {
			t.Errorf("%d fetches", fetches)
		}
	})
	t.Run("CM-26 documents are off", func(t *testing.T) {
		host := newDocumentHost(t)
		clientID := host.publish(notebookPath, nil)
		o := newOffice(t, servertest.WithOutboundAllow(host.address()), servertest.WithRegistration("", storage.RegistrationOff))
		fetches := host.fetched(func() {
			page := o.alice.Authorize(servertest.AuthorizationRequest(clientID, webCallback, resourceURI))
			wantRefused(t, page)
			if !strings.Contains(page.Body, "Ask your administrator") {
				t.Errorf("the page does not help:\n%s", page.Body)
			}
		})
		if fetches != 0 {
			t.Errorf("%d fetches", fetches)
		}
		if o.Get("/.well-known/oauth-authorization-server").JSON["client_id_metadata_document_supported"] == true {
			t.Error("the metadata says that documents are supported")
		}
	})
}

// TestDocumentConsent: what people see, and that nothing is automatic.
func TestDocumentConsent(t *testing.T) {
	n := newNotebook(t)
	t.Run("CS-14 hosts before the name", func(t *testing.T) {
		n.host.publish("/claude.json", servertest.Object{"client_name": "CIaude", "redirect_uris": []string{"https://xn--pple-43d.com/cb"}})
		request := n.request("client_id", n.host.URL+"/claude.json", "redirect_uri", "https://xn--pple-43d.com/cb")
		page := n.alice.Authorize(request)
		for _, want := range []string{n.host.address(), "xn--pple-43d.com", "CIaude", "Not verified by your organisation", "Name it gives itself", "describes itself at its address"} {
			if !strings.Contains(page.Body, want) {
				t.Errorf("the page does not say %q", want)
			}
		}
		login := n.Browser().Authorize(request)
		for _, want := range []string{n.host.address(), "xn--pple-43d.com", "calls itself"} {
			if !strings.Contains(login.Body, want) {
				t.Errorf("the sign-in page does not say %q", want)
			}
		}
	})
	t.Run("CS-15 a program on this computer", func(t *testing.T) {
		page := n.alice.Authorize(n.request("redirect_uri", "http://localhost:51004/callback"))
		for _, want := range []string{"localhost:51004", "a program on this computer", "Did you just start this yourself?", "published the app, not who is asking"} {
			if !strings.Contains(page.Body, want) {
				t.Errorf("the page does not say %q:\n%s", want, page.Body)
			}
		}
	})
	t.Run("CS-09 asked every time", func(t *testing.T) {
		n.use(t)
		for range 2 {
			if page := n.alice.Authorize(n.request()); !page.IsConsent() {
				t.Errorf("the approval is remembered: %d, left for %v", page.Status, page.Left)
			}
		}
	})
	t.Run("HR-7 no redirect before the person has signed in", func(t *testing.T) {
		for name, pairs := range map[string][]string{
			"an error":            {"code_challenge", ""},
			"prompt=none":         {"prompt", "none"},
			"prompt=none, error":  {"prompt", "none", "scope", "unknown"},
			"another scope":       {"scope", "unknown"},
			"a response type":     {"response_type", "token"},
			"unknown resource":    {"resource", "https://elsewhere.example/"},
			"two values of state": {"response_mode", "fragment"},
		} {
			page := n.Browser().Authorize(n.request(pairs...))
			wantRefused(t, page)
			if !slices.ContainsFunc(page.Links(), func(link string) bool { return strings.HasPrefix(link, webCallback) }) {
				t.Errorf("%s: no link to the application", name)
			}
		}
		page := n.alice.Authorize(n.request("prompt", "none"))
		wantRefused(t, page)
		if page := n.alice.Deny(n.alice.Authorize(n.request())); page.Left != nil || page.Status != http.StatusOK {
			t.Errorf("denying led to %v", page.Left)
		}
	})
	t.Run("CM-24 another redirect URI than the document has", func(t *testing.T) {
		wantRefused(t, n.alice.Authorize(n.request("redirect_uri", "https://evil.example/cb")))
	})
}
