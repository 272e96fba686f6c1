package server_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// push pushes a request, which must be accepted, and returns its request_uri.
func (h *house) push(t testing.TB, request url.Values, basic string) string {
	t.Helper()
	return wantPushed(t, h.Post("/par", request, basic))
}

// wantPushed checks everything about the answer to a push (RFC 9126 §2.2) and returns
// the request_uri.
func wantPushed(t testing.TB, answer *servertest.Answer) string {
	t.Helper()
	if answer.Status != http.StatusCreated {
		t.Fatalf("pushing: %d %s", answer.Status, answer.Body)
	}
	wantJSON(t, answer)
	wantNoCORS(t, answer)
	uri := answer.JSON.String("request_uri")
	reference, ok := strings.CutPrefix(uri, requestURIPrefix)
	if len(answer.JSON) != 2 || answer.JSON["expires_in"] != float64(90) || !ok || len(reference) < 43 {
		t.Fatalf("pushing was answered with %s", answer.Body)
	}
	return uri
}

// pushedAs are the parameters with which a client sends a browser to /authorize.
func pushedAs(clientID, requestURI string) url.Values {
	return servertest.Form("client_id", clientID, "request_uri", requestURI)
}

// pushed pushes a request of the front's registered client, changed by pairs.
func (f *front) pushed(t testing.TB, pairs ...string) url.Values {
	t.Helper()
	return pushedAs(f.web, f.push(t, f.ask(pairs...), f.web+":"+f.secret))
}

// pushedByWeb is pushed for an office.
func (o *office) pushedByWeb(t testing.TB, pairs ...string) url.Values {
	t.Helper()
	request := changed(servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI), pairs...)
	return pushedAs(o.web.id, o.push(t, request, o.web.basic()))
}

// signIn signs alice in on the page a browser has come to.
func signIn(t testing.TB, b *servertest.Browser, page *servertest.Page) *servertest.Page {
	t.Helper()
	if !page.IsLogin() {
		t.Fatalf("no sign-in page: %d at %s, left for %v\n%s", page.Status, page.URL, page.Left, page.Body)
	}
	form := page.Fields()
	form.Set("username", "alice")
	form.Set("password", servertest.Password)
	return b.Post(page.Action(), form)
}

// TestPushedRequests goes from a pushed request to tokens, with each kind of client
// on both databases.
func TestPushedRequests(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h := newHouse(t, servertest.WithStore(open(t)), servertest.WithIssuerPath("/tenant"))
		key := newSigner(t, "")
		withKey := h.Must(http.MethodPost, "/clients", servertest.Object{
			"client_name": "Key", "redirect_uris": []string{webCallback}, "token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(t),
		}).String("client_id")
		basic, post := credentialsOf(h.SecretClient(webCallback)), credentialsOf(h.Must(http.MethodPost, "/clients", servertest.Object{
			"client_name": "Post", "redirect_uris": []string{webCallback}, "token_endpoint_auth_method": "client_secret_post",
		}))
		signed := func(audience string) []string {
			return []string{
				"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
				"client_assertion", key.assertion(t, withKey, audience, h.Clock.Now()),
			}
		}
		public := h.PublicClient(webCallback).String("client_id")
		for _, c := range []struct {
			name, clientID, basic string
			authentication        func() []string
		}{
			{"none", public, "", func() []string { return nil }},
			{"client_secret_basic", basic.id, basic.basic(), func() []string { return []string{"client_id", ""} }},
			{"client_secret_basic and client_id", basic.id, basic.basic(), func() []string { return nil }},
			{"client_secret_post", post.id, "", func() []string { return []string{"client_secret", post.secret} }},
			{"private_key_jwt for the issuer", withKey, "", func() []string { return signed(h.URL) }},
			{"private_key_jwt for the token endpoint", withKey, "", func() []string { return signed(h.URL + "/token") }},
			{"private_key_jwt for /par", withKey, "", func() []string { return signed(h.URL + "/par") }},
		} {
			t.Run(c.name, func(t *testing.T) {
				request := changed(servertest.AuthorizationRequest(c.clientID, webCallback, resourceURI), "scope", "notes:read", "prompt", "consent")
				uri := h.push(t, changed(request, c.authentication()...), c.basic)
				browser := h.Browser()
				page := browser.Authorize(pushedAs(c.clientID, uri))
				if !strings.Contains(page.Body, "Resource "+resourceURI) {
					t.Errorf("the sign-in page does not say what for:\n%s", page.Body)
				}
				page = signIn(t, browser, page)
				wantAsked(t, page)
				if !strings.Contains(page.Body, "Use notes:read.") || strings.Contains(page.Body, "Use notes:write.") {
					t.Errorf("the page does not show just the scope pushed:\n%s", page.Body)
				}
				page = browser.Approve(page)
				code := wantCode(t, page)
				if got := h.responseParameters(t, page.Left.String(), webCallback); got.Get("state") != "state-of-the-client" {
					t.Errorf("the response is %v", got)
				}
				redemption := h.redemption(code, append([]string{"client_id", c.clientID}, c.authentication()...)...)
				if got := wantTokens(t, h.Post("/token", redemption, c.basic)); got.scope != "notes:read" {
					t.Errorf("the scope is %q", got.scope)
				}
			})
		}
	})
}

// TestPR01Refused: what is no pushed request of an authenticated client is not kept.
func TestPR01Refused(t *testing.T) {
	f := newFront(t)
	key := newSigner(t, "")
	withKey := f.Must(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Key", "redirect_uris": []string{webCallback}, "token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(t),
	}).String("client_id")
	assertion := func(audience string) []string {
		return []string{
			"client_id", withKey, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			"client_assertion", key.assertion(t, withKey, audience, f.Clock.Now()),
		}
	}
	right := f.web + ":" + f.secret
	machine := credentialsOf(f.MachineClient())
	form := http.Header{"Content-Type": {formType}, "Authorization": {basicHeader(right)}}
	raw := func(body string, header http.Header) *servertest.Answer {
		return f.Do(f.Request(http.MethodPost, "/par", body, header))
	}
	f.quiet(t, func() {
		for _, c := range []struct {
			name   string
			answer *servertest.Answer
			status int
			code   string
		}{
			{"PR-01 unauthenticated", f.Post("/par", f.ask(), ""), 401, "invalid_client"},
			{"PR-01 nobody", f.Post("/par", f.ask("client_id", ""), ""), 400, "invalid_request"},
			{"PR-01 an unknown client", f.Post("/par", f.ask("client_id", "cl_nobody"), ""), 401, "invalid_client"},
			{"TK-09 wrong secret by Basic", f.Post("/par", f.ask(), f.web+":guess"), 401, "invalid_client"},
			{"TK-09 wrong secret in the body", f.Post("/par", f.ask("client_secret", "guess"), ""), 401, "invalid_client"},
			{"TK-10 Basic and a secret in the body", f.Post("/par", f.ask("client_secret", f.secret), right), 400, "invalid_request"},
			{"TK-11 Basic for one client, client_id of another", f.Post("/par", f.ask("client_id", f.dynamic), right), 400, "invalid_request"},
			{"TK-12 public client with a secret", f.Post("/par", f.askDynamic("client_secret", "any"), ""), 401, "invalid_client"},
			{"TK-20 an assertion for somebody else", f.Post("/par", f.ask(assertion("https://elsewhere.example/par")...), ""), 401, "invalid_client"},
			{"PR-01 for machines only", f.Post("/par", f.ask("client_id", machine.id), machine.basic()), 400, "unauthorized_client"},
			{"PR-01 request_uri inside", f.Post("/par", f.ask("request_uri", requestURIPrefix+"x"), right), 400, "invalid_request"},
			{"PR-01 request_uri of another kind inside", f.Post("/par", f.ask("request_uri", "https://evil.example/"), right), 400, "invalid_request"},
			{"AZ-41 request object inside", f.Post("/par", f.ask("request", "e30.e30."), right), 400, "request_not_supported"},
			{"PR-05 unregistered redirect_uri", f.Post("/par", f.ask("redirect_uri", "https://evil.example/cb"), right), 400, "invalid_request"},
			{"TK-06 redirect_uri twice", raw(f.ask().Encode()+"&redirect_uri="+url.QueryEscape(webCallback), form), 400, "invalid_request"},
			{"TK-03 JSON", raw(`{"response_type":"code"}`, http.Header{"Content-Type": {"application/json"}, "Authorization": form["Authorization"]}), 400, "invalid_request"},
			{"TK-02 everything in the URL", f.Do(f.Request(http.MethodPost, "/par?"+f.ask().Encode(), "", form)), 400, "invalid_request"},
			{"PR-05 1 MiB", raw(f.ask().Encode()+"&x="+strings.Repeat("x", 1<<20), form), 413, "invalid_request"},
			{"PR-05 longer than a URL may be", f.Post("/par", f.ask("x", strings.Repeat("x", 17<<10)), right), 413, "invalid_request"},
			{"TK-24 many parameters", raw(f.ask().Encode()+manyParameters(), form), 413, "invalid_request"},
		} {
			t.Run(c.name, func(t *testing.T) {
				wantError(t, c.answer, c.status, c.code)
				wantNoCORS(t, c.answer)
				if strings.Contains(c.answer.Body, "evil.example") || strings.Contains(c.answer.Body, "guess") {
					t.Errorf("the answer repeats what was sent: %s", c.answer.Body)
				}
			})
		}
	})
	t.Run("TK-02 a secret in the URL is audited", func(t *testing.T) {
		before := f.audited(t, "client.secret_in_url")
		wantError(t, f.Post("/par?client_id="+f.web+"&client_secret="+f.secret, f.ask("client_id", ""), ""), 400, "invalid_request")
		if f.audited(t, "client.secret_in_url") != before+1 {
			t.Error("nothing was audited")
		}
	})
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete} {
		t.Run("PR-01 "+method, func(t *testing.T) {
			answer := f.Do(f.Request(method, "/par?"+f.ask().Encode(), "", http.Header{"Origin": {"https://evil.example"}, "Authorization": form["Authorization"]}))
			if answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "POST" {
				t.Errorf("%d, Allow %q", answer.Status, answer.Header.Get("Allow"))
			}
			wantNoCORS(t, answer)
		})
	}
}

func manyParameters() string {
	var more strings.Builder
	for i := range 300 {
		fmt.Fprintf(&more, "&x%d=1", i)
	}
	return more.String()
}

// TestPR02OthersRequest: a request_uri is its client's alone, and nobody else spoils it.
func TestPR02OthersRequest(t *testing.T) {
	f := newFront(t)
	pushed, second := f.pushed(t), f.pushed(t)
	f.quiet(t, func() {
		for _, b := range []*servertest.Browser{f.alice, f.Browser()} {
			for name, query := range map[string]string{
				"another client":                    changed(pushed, "client_id", f.dynamic).Encode(),
				"an unknown client":                 changed(pushed, "client_id", "cl_nobody").Encode(),
				"no client":                         changed(pushed, "client_id", "").Encode(),
				"two clients":                       pushed.Encode() + "&client_id=" + f.dynamic,
				"one client twice":                  pushed.Encode() + "&client_id=" + f.web,
				"two requests":                      pushed.Encode() + "&request_uri=" + url.QueryEscape(second.Get("request_uri")),
				"a URL behind it":                   pushed.Encode() + "&request_uri=https%3A%2F%2Fevil.example%2F",
				"a whole request of another client": changed(f.askDynamic(), "request_uri", pushed.Get("request_uri")).Encode(),
			} {
				page := b.Get(f.URL + "/authorize?" + query)
				wantRefusalPage(t, page)
				if strings.Contains(page.Body, "app.example.com") || strings.Contains(page.Body, "dynamic.example") {
					t.Errorf("%s: the page leads to a client", name)
				}
			}
		}
	})
	wantCode(t, f.alice.Approve(f.alice.Authorize(pushed)))
}

// Nothing of the URL joins what was pushed (RFC 9126 §4).
func TestPushedParametersAlone(t *testing.T) {
	f := newFront(t)
	f.Resource("https://files.example.com/mcp", nil, "files:read")
	for _, more := range []string{
		"&resource=" + url.QueryEscape("https://files.example.com/mcp"), "&resource=x&resource=y", "&scope=notes%3Awrite", "&state=attacker",
		"&redirect_uri=https%3A%2F%2Fevil.example%2Fcb", "&code_challenge=" + servertest.ChallengeOf(strings.Repeat("x", 43)), "&code_challenge_method=plain",
		"&prompt=none", "&prompt=login", "&max_age=0", "&response_type=token", "&response_mode=form_post", "&request=e30.e30.", "&scope=" + strings.Repeat("s", 5000),
		"&state=a&state=b",
	} {
		t.Run(more[:min(len(more), 40)], func(t *testing.T) {
			pushed := f.pushed(t, "scope", "notes:read", "prompt", "consent")
			page := f.alice.Get(f.URL + "/authorize?" + pushed.Encode() + more)
			wantAsked(t, page)
			if !strings.Contains(page.Body, "Use notes:read.") || strings.Contains(page.Body, "Use notes:write.") || strings.Contains(page.Body, "files.example.com/mcp<") {
				t.Errorf("the page shows something else:\n%s", page.Body)
			}
			page = f.alice.Approve(page)
			code := wantCode(t, page)
			if got := f.responseParameters(t, page.Left.String(), webCallback); got.Get("state") != "state-of-the-client" {
				t.Errorf("the response is %v", got)
			}
			got := wantTokens(t, f.Post("/token", f.redemption(code, "client_id", ""), f.web+":"+f.secret))
			if claims := servertest.Claims(got.access); claims["aud"] != resourceURI || got.scope != "notes:read" {
				t.Errorf("the token is for %v with %q", claims["aud"], got.scope)
			}
		})
	}
	t.Run("the page of one request answers no other", func(t *testing.T) {
		page, other := f.alice.Authorize(f.pushed(t, "scope", "notes:read", "prompt", "consent")), f.pushed(t, "prompt", "consent")
		wantAsked(t, f.alice.Post(f.URL+"/authorize?"+other.Encode(), approval(page)))
		wantCode(t, f.alice.Approve(page))
	})
}

// TestPR04Guessing: a request_uri that was not given out is worth nothing, however it
// is made.
func TestPR04Guessing(t *testing.T) {
	f, twin := newFront(t), newFront(t)
	pushed := f.pushed(t)
	uri := pushed.Get("request_uri")
	reference := strings.TrimPrefix(uri, requestURIPrefix)
	code := f.alice.Code(f.ask("prompt", "consent"))
	raw, err := base64.RawURLEncoding.DecodeString(reference)
	if err != nil {
		t.Fatal(err)
	}
	next := append([]byte(nil), raw...)
	next[4+15] ^= 1 // the id of another row
	f.quiet(t, func() {
		for name, guess := range map[string]string{
			"nothing":                        requestURIPrefix,
			"forged":                         forged(uri),
			"cut":                            uri[:len(uri)-4],
			"longer":                         uri + "AAAA",
			"padded":                         uri + "=",
			"another row":                    requestURIPrefix + base64.RawURLEncoding.EncodeToString(next),
			"without its MAC":                requestURIPrefix + base64.RawURLEncoding.EncodeToString(raw[:20]),
			"a code":                         requestURIPrefix + strings.TrimPrefix(code, "ac_"),
			"odd bytes":                      requestURIPrefix + "\x00\xff",
			"long":                           requestURIPrefix + strings.Repeat("A", 8<<10),
			"of a copy before it was pushed": twin.pushed(t).Get("request_uri"),
		} {
			for _, b := range []*servertest.Browser{f.alice, f.Browser()} {
				page := b.Authorize(pushedAs(f.web, guess))
				if wantRefusalPage(t, page); !strings.Contains(page.Body, "not known here") {
					t.Errorf("%s: %s", name, page.Body)
				}
			}
		}
		for _, other := range []string{strings.ToUpper(requestURIPrefix) + reference, reference, "par_00000000000000000000000000"} {
			// AZ-41: not one of ours, so a request object by reference.
			page := f.alice.Authorize(f.ask("request_uri", other))
			f.wantRedirectError(t, page, webCallback, "state-of-the-client", "request_uri_not_supported")
		}
	})
	wantError(t, f.Post("/token", f.redemption("ac_"+reference, "client_id", ""), f.web+":"+f.secret), http.StatusBadRequest, "invalid_grant")
	wantCode(t, f.alice.Authorize(pushed))
	t.Run("an unknown root key is nobody's fault", func(t *testing.T) {
		other := newFront(t, servertest.WithRootKeys([]byte("another root key of 32 bytes....")))
		wantOutage(t, f.alice.Authorize(pushedAs(f.web, other.pushed(t).Get("request_uri"))).Answer)
	})
}

// RFC 9126 §6: a client may be held to pushing.
func TestPushingRequired(t *testing.T) {
	f := newFront(t)
	require := func(value any) {
		f.Must(http.MethodPatch, "/clients/"+f.web, servertest.Object{"require_pushed_authorization_requests": value})
	}
	wantAsked(t, f.alice.Authorize(f.ask()))
	require(true)
	if got := f.Must(http.MethodGet, "/clients/"+f.web, nil)["require_pushed_authorization_requests"]; got != true {
		t.Errorf("the client says %v", got)
	}
	f.wantRedirectError(t, f.alice.Authorize(f.ask()), webCallback, "state-of-the-client", "invalid_request")
	f.wantRedirectError(t, f.alice.Authorize(f.ask("request_uri", "https://evil.example/")), webCallback, "state-of-the-client", "invalid_request")
	page := f.alice.Authorize(f.pushed(t))
	wantAsked(t, page)
	wantCode(t, f.alice.Approve(page))
	wantAsked(t, f.alice.Authorize(servertest.AuthorizationRequest(f.clientID, callback, resourceURI))) // another client
	require(nil)
	wantCode(t, f.alice.Authorize(f.ask()))

	created := f.Must(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Strict", "redirect_uris": []string{webCallback}, "token_endpoint_auth_method": "none", "require_pushed_authorization_requests": true,
	}).String("client_id")
	f.wantRedirectError(t, f.alice.Authorize(f.ask("client_id", created)), webCallback, "state-of-the-client", "invalid_request")
}

// TestPushingLimits: whoever knows a public client's id may push, so that has bounds.
// A client that has proved itself is not held up by them.
func TestPushingLimits(t *testing.T) {
	path := t.TempDir() + "/grantd.db"
	f := newFront(t, servertest.WithStore(servertest.SQLiteFile(t, path)), servertest.WithTrustedProxies(netip.MustParsePrefix("127.0.0.0/8")))
	from := func(address string, request url.Values, basic string) *servertest.Answer {
		header := http.Header{"Content-Type": {formType}, "X-Forwarded-For": {address}}
		if basic != "" {
			header.Set("Authorization", basicHeader(basic))
		}
		return f.Do(f.Request(http.MethodPost, "/par", request.Encode(), header))
	}
	public := servertest.AuthorizationRequest(f.clientID, callback, resourceURI)
	for range 10 { // mistakes do not count
		wantError(t, from("192.0.2.1", changed(public, "scope", "unknown"), ""), http.StatusBadRequest, "invalid_scope")
	}
	for i := range 60 {
		request := public
		if i%2 == 1 { // many clients make no more room
			request = f.askDynamic()
		}
		wantPushed(t, from("192.0.2.1", request, ""))
	}
	for _, request := range []url.Values{public, f.askDynamic(), changed(public, "client_id", f.PublicClient(callback).String("client_id"))} {
		answer := from("192.0.2.1", request, "")
		wantError(t, answer, http.StatusTooManyRequests, "temporarily_unavailable")
		if answer.Header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After is %q", answer.Header.Get("Retry-After"))
		}
	}
	wantPushed(t, from("192.0.2.2", public, ""))
	for range 61 {
		wantPushed(t, from("192.0.2.1", f.ask(), f.web+":"+f.secret))
	}
	f.Clock.Advance(time.Minute)
	wantPushed(t, from("192.0.2.1", public, ""))

	t.Run("rows", func(t *testing.T) {
		f.Clock.Advance(storage.PushedRequestLifetime + storage.PushedRequestGrace) // what was pushed above counts no more
		pushedBehind(t, path, f.clientID, f.Clock.Now(), 4999)
		wantPushed(t, from("192.0.2.4", public, ""))
		answer := from("192.0.2.3", public, "")
		wantError(t, answer, http.StatusTooManyRequests, "temporarily_unavailable")
		if answer.Header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After is %q", answer.Header.Get("Retry-After"))
		}
		wantPushed(t, from("192.0.2.3", f.askDynamic(), "")) // a cap is the client's own
		f.Clock.Advance(storage.PushedRequestLifetime + storage.PushedRequestGrace)
		wantPushed(t, from("192.0.2.3", public, ""))
	})
}

// pushedBehind makes n pushed requests of a client behind the server's back.
func pushedBehind(t testing.TB, path, clientID string, now time.Time, n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(), `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
		INSERT INTO pushed_requests (id, client_id, query, created_at, expires_at)
		SELECT 'par_' || n, c.id, '', ?, ? FROM numbers JOIN clients c ON c.client_id = ?`,
		n, now.UnixMicro(), now.Add(storage.PushedRequestLifetime).UnixMicro(), clientID)
	if err != nil {
		t.Fatal(err)
	}
}

// ST-01: the kept parameters have nothing that authenticated the client.
func TestST01PushedParametersHaveNoCredential(t *testing.T) {
	store := &keeping{Store: servertest.SQLite(t)}
	f := newFront(t, servertest.WithStore(store))
	key := newSigner(t, "")
	withKey := f.Must(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Key", "redirect_uris": []string{webCallback}, "token_endpoint_auth_method": "private_key_jwt", "jwks": key.jwks(t),
	}).String("client_id")
	assertion := key.assertion(t, withKey, f.URL, f.Clock.Now())
	uris := []string{
		f.push(t, f.ask("client_secret", f.secret), ""),
		f.push(t, f.ask(), f.web+":"+f.secret),
		f.push(t, f.ask("client_id", "", "client_assertion", assertion, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), ""),
	}
	if len(store.queries) != len(uris) {
		t.Fatalf("%d requests were kept", len(store.queries))
	}
	for _, query := range store.queries {
		kept, err := url.ParseQuery(query)
		if err != nil || kept.Get("state") != "state-of-the-client" {
			t.Fatalf("what is kept is %q", query)
		}
		for name := range kept {
			if strings.HasPrefix(name, "client_") && name != "client_id" {
				t.Errorf("%s is kept", name)
			}
		}
		for _, secret := range append(uris, f.secret, assertion) {
			if strings.Contains(query, secret) || strings.Contains(query, url.QueryEscape(secret)) {
				t.Errorf("a secret is kept: %s", query)
			}
		}
	}
}

// keeping remembers what was kept of pushed requests.
type keeping struct {
	storage.Store
	queries []string
}

func (k *keeping) CreatePushedRequest(ctx context.Context, p *storage.PushedRequest, maxKept int) error {
	k.queries = append(k.queries, p.Query)
	return k.Store.CreatePushedRequest(ctx, p, maxKept)
}
