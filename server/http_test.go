package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// canaries are the secrets that a test has seen or made up, by what they are.
type canaries map[string]string

// TestHT01NoSecretIsLogged goes through every flow, the failing ones too, at debug
// level, and then looks for each secret in the log, the audit and the metrics.
func TestHT01NoSecretIsLogged(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		log := captureLogs(t)
		o := newOffice(t, servertest.WithStore(open(t)), servertest.WithDynamicRegistration())
		seen := canaries{
			"admin key": servertest.AdminKey, "password": servertest.Password, "root key": string(servertest.RootKey), "code_verifier": servertest.Verifier,
			"secret of a client": o.web.secret, "secret of a machine": o.machine.secret, "secret of a guard": o.guard.secret,
		}
		o.signInFlows(t, seen)
		o.consentFlows(t, seen)
		o.tokenFlows(t, seen)
		o.adminFlows(t, seen)

		places := map[string]string{"log": log.String(), "metrics": o.metrics(t), "audit": ""}
		for _, event := range o.list(t, "/audit-events") {
			encoded, err := json.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			places["audit"] += string(encoded) + "\n"
		}
		if len(seen) < 45 {
			t.Errorf("only %d canaries: the flows did not happen", len(seen))
		}
		for place, text := range places {
			if strings.Count(text, "\n") < 10 {
				t.Errorf("the %s has hardly anything in it:\n%s", place, text)
			}
			for what, secret := range seen {
				if len(secret) < 12 {
					t.Fatalf("%s is too short to look for: %q", what, secret)
				}
				for _, spelled := range []string{secret, url.QueryEscape(secret), strings.ReplaceAll(url.QueryEscape(secret), "+", "%20")} {
					if i := strings.Index(text, spelled); i >= 0 {
						start, end := strings.LastIndexByte(text[:i], '\n')+1, i+strings.IndexByte(text[i:]+"\n", '\n')
						t.Errorf("%s is in the %s: %s", what, place, text[start:end])
						break
					}
				}
			}
		}
	})
}

// signInFlows signs in and out, and fails to.
func (o *office) signInFlows(t *testing.T, seen canaries) {
	t.Helper()
	for _, cookie := range o.alice.Cookies() {
		seen["cookie "+cookie.Name] = cookie.Value
	}
	seen["wrong password"], seen["password typed as user name"] = "canary-wrong-password", "canary-password-as-user-name"
	seen["password in a URL"], seen["password of nobody"] = "canary-password-in-url", "canary-password-of-nobody"
	o.Post("/login", servertest.Form("username", "alice", "password", seen["wrong password"]), "")
	o.Post("/login", servertest.Form("username", "nobody", "password", seen["password of nobody"]), "")
	for range 12 { // until it is blocked, which is logged and audited
		o.Post("/login", servertest.Form("username", seen["password typed as user name"], "password", "x"), "")
	}
	o.Get("/login?username=alice&password=" + seen["password in a URL"])
	o.Post("/login", servertest.Form("username", "alice", "password", "a", "password", seen["wrong password"]), "")
	seen["tampered cookie"] = "canary-tampered-cookie"
	tampered := http.Header{"Cookie": {"grantd_session=" + seen["tampered cookie"] + "; grantd_device=" + seen["tampered cookie"]}}
	for _, path := range []string{"/account", "/logout", "/authorize"} {
		o.Do(o.Request(http.MethodGet, path, "", tampered))
	}
	away := o.SignedIn("alice")
	for _, cookie := range away.Cookies() {
		seen["ended "+cookie.Name] = cookie.Value
	}
	away.Post(o.URL+"/logout", nil)
}

// consentFlows approves, denies, and sends what is not right.
func (o *office) consentFlows(t *testing.T, seen canaries) {
	t.Helper()
	seen["state"], seen["code_challenge"] = "canary-state-of-the-client", servertest.ChallengeOf("canary-verifier-canary-verifier-canary-verif")
	request := changed(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI), "state", seen["state"], "code_challenge", seen["code_challenge"])
	page := o.alice.Authorize(request)
	seen["approval"] = page.Fields().Get("approval")
	seen["code"] = wantCode(t, o.alice.Approve(page))
	o.alice.Approve(page) // a conflict
	o.alice.Post(page.Action(), approval(page, "approval", forged(seen["approval"])))
	o.alice.Post(page.Action(), approval(page, "scope", "canary-not-shown"))
	o.SignedIn("alice").Post(page.Action(), approval(page))
	seen["step"] = o.alice.Authorize(changed(request, "prompt", "login")).URL.Query().Get("grantd_step")
	for i, pairs := range [][]string{
		{"response_type", "canary-response-type"},
		{"scope", "canary-scope\r\nx"},
		{"resource", "https://canary-resource.example/"},
		{"client_id", "canary-client-id"},
		{"redirect_uri", "https://canary-redirect.example/"},
		{"code_challenge", "canary-code-challenge"},
		{"request", "canary-request-object"},
		{"request_uri", "https://canary-request-uri.example/"},
		{"max_age", "canary-max-age"},
	} {
		o.alice.Authorize(changed(request, pairs...))
		seen["bad parameter "+strconv.Itoa(i)] = strings.TrimSuffix(pairs[1], "\r\nx")
	}
	o.alice.Get(o.URL + "/authorize?" + request.Encode() + "&state=%zz")
	o.alice.Deny(o.alice.Authorize(request))
	seen["request_uri"], seen["denied request_uri"] = o.push(t, request, ""), o.push(t, request, "")
	seen["secret pushed"], seen["secret in the URL of a push"] = "cs_canary-pushed-secret", "cs_canary-pushed-in-url"
	o.Post("/par", changed(request, "client_id", o.web.id, "client_secret", seen["secret pushed"]), "")
	o.Post("/par?client_id="+o.web.id+"&client_secret="+seen["secret in the URL of a push"], request, "")
	o.alice.Authorize(pushedAs(o.web.id, seen["request_uri"])) // another's
	o.alice.Authorize(pushedAs(o.clientID, forged(seen["request_uri"])))
	page = o.alice.Authorize(pushedAs(o.clientID, seen["request_uri"]))
	seen["code of a pushed request"] = wantCode(t, o.alice.Approve(page))
	o.alice.Approve(page)
	o.alice.Deny(o.alice.Authorize(pushedAs(o.clientID, seen["denied request_uri"])))
}

// tokenFlows uses every endpoint of clients, well and badly.
func (o *office) tokenFlows(t *testing.T, seen canaries) {
	t.Helper()
	first := o.tokens(t)
	seen["access token"], seen["refresh token"] = first.access, first.refresh
	second := wantTokens(t, o.Refresh(o.clientID, first.refresh))
	seen["rotated access token"], seen["rotated refresh token"] = second.access, second.refresh
	third := wantTokens(t, o.Refresh(o.clientID, second.refresh))
	seen["third access token"], seen["third refresh token"] = third.access, third.refresh
	wantError(t, o.Refresh(o.clientID, first.refresh), http.StatusBadRequest, "invalid_grant") // reuse
	machine := wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()))
	seen["machine's access token"] = machine.access
	o.introspect(machine.access)
	o.introspect(first.refresh)

	seen["wrong verifier"] = strings.Repeat("canary-wrong-verifier", 3)
	seen["redeemed code"] = o.code(t)
	o.Post("/token", o.redemption(seen["redeemed code"], "code_verifier", seen["wrong verifier"]), "")
	o.Post("/token", o.redemption(seen["redeemed code"], "redirect_uri", "https://canary-other.example/"), "")
	wantTokens(t, o.Redeem(o.clientID, seen["redeemed code"]))
	o.Clock.Advance(storage.CodeLifetime / 2)
	o.Redeem(o.clientID, seen["redeemed code"]) // a replay that ends the family
	for i, form := range []url.Values{
		servertest.Form("grant_type", "canary-grant-type"),
		o.redemption("ac_canary-garbage-code"),
		servertest.Form("grant_type", "refresh_token", "client_id", o.clientID, "refresh_token", "rt_canary-garbage-token"),
		servertest.Form("grant_type", "refresh_token", "client_id", "canary-unknown-client", "refresh_token", first.refresh),
		servertest.Form("grant_type", "client_credentials", "client_id", o.machine.id, "client_secret", "cs_canary-wrong-secret"),
		servertest.Form("grant_type", "client_credentials", "client_id", o.machine.id, "client_assertion", "canary-assertion", "client_assertion_type", "x"),
		servertest.Form("grant_type", "password", "username", "alice", "password", "canary-password-grant"),
	} {
		o.Post("/token", form, "")
		for _, name := range []string{"grant_type", "code", "refresh_token", "client_id", "client_secret", "client_assertion", "password"} {
			if value := form.Get(name); strings.Contains(value, "canary") {
				seen["bad form "+strconv.Itoa(i)+" "+name] = value
			}
		}
	}
	seen["wrong Basic secret"], seen["secret in a URL"] = "cs_canary-basic-secret", "cs_canary-secret-in-url"
	o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.id+":"+seen["wrong Basic secret"])
	o.Post("/introspect", servertest.Form("token", machine.access), o.guard.id+":"+seen["wrong Basic secret"])
	o.Post("/token?client_id="+o.machine.id+"&client_secret="+seen["secret in a URL"], servertest.Form("grant_type", "client_credentials"), "")
	seen["bearer at the wrong door"] = "canary-bearer-at-the-wrong-door"
	o.Do(o.Request(http.MethodPost, "/introspect", "token=x", http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Bearer " + seen["bearer at the wrong door"]},
	}))
	seen["revoked unknown token"] = "canary-unknown-token"
	for _, token := range []string{third.access, third.refresh, machine.access, seen["revoked unknown token"]} {
		o.Post("/revoke", servertest.Form("token", token, "client_id", o.clientID), "")
	}
	seen["registered secret"] = "canary-registered-secret"
	for _, body := range []string{`{"redirect_uris":["` + webCallback + `"],"client_secret":"%"}`, `{"client_secret":"%"}`, `{"%`, `{"redirect_uris":["javascript:%"]}`} {
		o.Do(o.Request(http.MethodPost, "/register", strings.ReplaceAll(body, "%", seen["registered secret"]), http.Header{"Content-Type": {"application/json"}}))
	}
	for _, path := range []string{"/token", "/revoke", "/introspect", "/register", "/nothing", "/account"} {
		o.Get(path + "?code=" + seen["code"] + "&token=" + first.access)
	}
}

// adminFlows changes secrets and passwords, and knocks with a wrong key.
func (o *office) adminFlows(t *testing.T, seen canaries) {
	t.Helper()
	client := o.SecretClient(webCallback)
	seen["another client's secret"] = client.String("client_secret")
	seen["second secret"] = o.Must(http.MethodPost, "/clients/"+client.String("id")+"/secrets", servertest.Object{}).String("client_secret")
	seen["new password"] = "canary-new-password"
	o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), servertest.Object{"password": seen["new password"]})
	seen["refused password"] = strings.Repeat("canary-refused-password", 100)
	o.Call(http.MethodPost, "/users", servertest.Object{"username": "carol", "password": seen["refused password"]})
	o.Call(http.MethodPost, "/users", servertest.Object{"username": "alice", "password": seen["new password"]})
	seen["wrong admin key"] = "canary-wrong-admin-key-canary-wrong-admin-key"
	for _, key := range []string{seen["wrong admin key"], "short"} {
		r := o.Request(http.MethodGet, o.Admin+"/admin/v1/clients?x="+seen["wrong admin key"], "", http.Header{"Authorization": {"Bearer " + key}})
		if answer := o.Do(r); answer.Status != http.StatusUnauthorized {
			t.Errorf("wrong admin key: %d", answer.Status)
		}
	}
}

func (h *house) metrics(t testing.TB) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.Admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestHT02LogForging: whatever callers send, one event is one line of JSON of
// bounded length.
func TestHT02LogForging(t *testing.T) {
	log := captureLogs(t)
	f := newFront(t)
	const nasty = "a\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\x1b[2J\x1b]0;x\a\u2028\u202e"
	big := strings.Repeat("x", 12<<10)
	for _, value := range []string{nasty, big} {
		escaped := url.QueryEscape(value)
		f.Get("/nothing/" + url.PathEscape(value))
		f.Get("/authorize?client_id=" + escaped)
		f.alice.Authorize(f.ask("state", value, "scope", value))
		f.Post("/login", servertest.Form("username", value, "password", value), "")
		f.Post("/token", servertest.Form("grant_type", value, "client_id", value), value+":"+value)
		f.register(`{"client_name":` + strconv.Quote(big) + `}`)
		f.Do(f.Request(http.MethodGet, "/nothing", "", http.Header{"User-Agent": {strings.Map(printable, value)}, "Referer": {strings.Map(printable, value)}, "X-Request-Id": {strings.Map(printable, value)}}))
	}
	lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	if len(lines) < 10 {
		t.Fatalf("only %d lines: nothing was logged", len(lines))
	}
	for _, line := range lines {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil || event["time"] == nil {
			t.Errorf("not one event: %q", line)
		}
		if event["msg"] == "forged" || len(line) > 20<<10 || strings.ContainsAny(line, "\r\x1b\a") {
			t.Errorf("forged, or too long: %.200q", line)
		}
	}
}

// printable drops what net/http would not send in a header.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// TestHT03ForwardedFor: the header counts from trusted proxies alone, for limits
// and for the audit.
func TestHT03ForwardedFor(t *testing.T) {
	for name, c := range map[string]struct {
		proxies []netip.Prefix
		audited string
		allowed int // of 25 registrations, each from another claimed address
	}{
		"no proxy is trusted":      {nil, "127.0.0.1", 20},
		"another proxy is trusted": {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "127.0.0.1", 20},
		"the peer is trusted":      {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "198.51.100.7", 25},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, servertest.WithDynamicRegistration(), servertest.WithTrustedProxies(c.proxies...))
			header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Forwarded-For": {"203.0.113.9, 198.51.100.7"}}
			if answer := h.Do(h.Request(http.MethodPost, "/login", servertest.Form("username", "alice", "password", servertest.Password).Encode(), header)); answer.Status != http.StatusSeeOther {
				t.Fatalf("sign-in: %d", answer.Status)
			}
			for _, event := range h.list(t, "/audit-events") {
				if event["action"] != "user.signed_in" {
					continue
				}
				if detail, _ := event["detail"].(map[string]any); detail["address"] != c.audited {
					t.Errorf("the audit says %v, want %s", detail, c.audited)
				}
			}
			created := 0
			for i := range 25 {
				answer := h.Do(h.Request(http.MethodPost, "/register", `{"redirect_uris":["`+webCallback+`"]}`, http.Header{
					"Content-Type": {"application/json"}, "X-Forwarded-For": {"198.51.100." + strconv.Itoa(i)},
				}))
				switch {
				case answer.Status == http.StatusCreated:
					created++
				case answer.Status != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "":
					t.Errorf("%d %s", answer.Status, answer.Body)
				}
			}
			if created != c.allowed {
				t.Errorf("%d registrations passed, want %d", created, c.allowed)
			}
		})
	}
}

func TestHT04Limits(t *testing.T) {
	f := newFront(t)
	for name, c := range map[string]struct {
		path   string
		header http.Header
		status int
	}{
		"longest request line":  {"/authorize?x=" + strings.Repeat("x", 16<<10-len("/authorize?x=")), nil, http.StatusBadRequest},
		"too long request line": {"/authorize?x=" + strings.Repeat("x", 16<<10-len("/authorize?x=")+1), nil, http.StatusRequestURITooLong},
		"too long at /token":    {"/token?x=" + strings.Repeat("x", 17<<10), nil, http.StatusRequestURITooLong},
		"many parameters":       {"/authorize?" + strings.Repeat("a=1&", 3000), nil, http.StatusBadRequest},
		"header of 2 MiB":       {"/login", http.Header{"X-Long": {strings.Repeat("x", 2<<20)}}, http.StatusRequestHeaderFieldsTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			f.quiet(t, func() {
				if answer := f.Do(f.Request(http.MethodGet, c.path, "", c.header)); answer.Status != c.status || answer.Header.Get("Location") != "" {
					t.Errorf("%d, want %d", answer.Status, c.status)
				}
			})
		})
	}
	t.Run("body", func(t *testing.T) {
		for _, path := range []string{"/authorize?" + f.ask().Encode(), "/login", "/token", "/revoke", "/introspect", "/par"} {
			form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
			answer := f.alice.Send(http.MethodPost, f.URL+path, "a="+strings.Repeat("x", 1<<20), form)
			if answer.Status != http.StatusRequestEntityTooLarge && answer.Status != http.StatusBadRequest {
				t.Errorf("%s: %d", path, answer.Status)
			}
		}
	})
}

// TestHT05NothingIsReflected: nothing that a link can say is said by a page.
func TestHT05NothingIsReflected(t *testing.T) {
	f := newFront(t)
	const canary = "canary<script>alert(1)</script>"
	query := url.Values{}
	for _, name := range []string{"error", "error_description", "error_uri", "message", "notice", "problem", "title", "client_name", "next", "return_to", "state", "username", "login_hint", "ui_locales", "display", "id_token_hint"} {
		query.Set(name, canary)
	}
	for _, base := range []url.Values{{}, f.ask("state", ""), f.askDynamic("scope", "x", "state", "")} {
		all := changed(base)
		for name := range query {
			all.Set(name, canary)
		}
		for _, path := range []string{"/authorize", "/login", "/logout", "/account", "/nothing", "/" + url.PathEscape(canary)} {
			for _, b := range []*servertest.Browser{f.Browser(), f.alice} {
				page := b.Get(f.URL + path + "?" + all.Encode())
				if text := shownText(t, page); strings.Contains(text, "canary") || strings.Contains(page.Body, "<script") {
					t.Errorf("%s repeats what the link says:\n%s", path, text)
				}
			}
		}
	}
}

// shownText is a page without the addresses of its forms and links, which carry
// the request.
func shownText(t testing.TB, page *servertest.Page) string {
	t.Helper()
	text := page.Body
	for _, address := range append(page.Links(), page.URL.RawQuery) {
		for _, part := range strings.Split(address, "?") {
			text = strings.ReplaceAll(text, strings.ReplaceAll(part, "&", "&amp;"), "")
		}
	}
	_, action, _ := strings.Cut(page.Action(), "?")
	return strings.ReplaceAll(text, strings.ReplaceAll(action, "&", "&amp;"), "")
}

// TestHT06NoCompression: no answer is compressed, whatever the caller takes.
func TestHT06NoCompression(t *testing.T) {
	f := newFront(t)
	for _, path := range []string{"/authorize?" + f.ask().Encode(), "/login?x=1", "/account", "/jwks", oauthName} {
		answer := f.alice.Send(http.MethodGet, f.URL+path, "", http.Header{"Accept-Encoding": {"gzip, deflate, br, zstd"}})
		if answer.Status != http.StatusOK || answer.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d, Content-Encoding %q", path, answer.Status, answer.Header.Get("Content-Encoding"))
		}
	}
}

// TestHT07HSTS: with an https issuer every page says so; with one on loopback none
// does, or it would lock people out of everything else there.
func TestHT07HSTS(t *testing.T) {
	for name, opts := range map[string][]servertest.Option{"max-age=31536000": {servertest.WithTLS()}, "": nil} {
		f := newFront(t, opts...)
		for path, b := range map[string]*servertest.Browser{"/login": f.Browser(), "/authorize?" + f.ask().Encode(): f.alice, "/nothing": f.alice, "/account": f.alice} {
			answer := b.Send(http.MethodGet, f.URL+path, "", nil)
			if got := answer.Header.Get("Strict-Transport-Security"); got != name {
				t.Errorf("%s%s: Strict-Transport-Security %q, want %q", f.Origin, path, got, name)
			}
		}
	}
}

// TestHT08Unknown: what is not there is said shortly, and nothing more.
func TestHT08Unknown(t *testing.T) {
	f := newFront(t)
	for name, c := range map[string]struct {
		method, path string
		status       int
	}{
		"path":               {http.MethodGet, "/nothing", http.StatusNotFound},
		"method of a page":   {http.MethodDelete, "/login", http.StatusMethodNotAllowed},
		"method of a path":   {http.MethodGet, "/token", http.StatusMethodNotAllowed},
		"folder of files":    {http.MethodGet, "/assets/", http.StatusNotFound},
		"file":               {http.MethodGet, "/assets/nothing.css", http.StatusNotFound},
		"out of the folder":  {http.MethodGet, "/assets/..%2f..%2fgo.mod", http.StatusNotFound},
		"templates' sources": {http.MethodGet, "/assets/../html/login.html", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			answer := f.Do(f.Request(c.method, c.path, "", nil))
			if answer.Status != c.status || len(answer.Body) > 4<<10 {
				t.Errorf("%d with %d bytes, want %d", answer.Status, len(answer.Body), c.status)
			}
			for _, banner := range []string{"Server", "X-Powered-By", "Via", "X-Aspnet-Version"} {
				if answer.Header.Get(banner) != "" {
					t.Errorf("%s: %s", banner, answer.Header.Get(banner))
				}
			}
			for _, word := range []string{"gorilla", "fosite", "golang", ".go:", "goroutine"} {
				if strings.Contains(strings.ToLower(answer.Body), word) {
					t.Errorf("the answer says %q:\n%s", word, answer.Body)
				}
			}
		})
	}
	t.Run("the front page leads to the account", func(t *testing.T) {
		if answer := f.Get(f.URL + "/"); answer.Status != http.StatusSeeOther || answer.Header.Get("Location") != "/account" || answer.Body != "" {
			t.Errorf("%d to %q\n%s", answer.Status, answer.Header.Get("Location"), answer.Body)
		}
	})
	t.Run("files are kept and not sniffed", func(t *testing.T) {
		page := f.alice.Authorize(f.ask())
		i := strings.Index(page.Body, "/assets/")
		if i < 0 {
			t.Fatal("the page has no file")
		}
		answer := f.Get(f.Origin + page.Body[i:i+strings.IndexByte(page.Body[i:], '"')])
		if answer.Status != http.StatusOK || answer.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(answer.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	})
}
