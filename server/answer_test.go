package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"grantd/server/servertest"
	"grantd/storage"
)

// AZ-43: a client that registered itself must not use the server as an open
// redirector; what it may do once the person has signed in is in
// TestAuthorizationRequests.
func TestAZ43NoOpenRedirect(t *testing.T) {
	f := newFront(t)
	bad := f.askDynamic("scope", "nothing:known")
	f.quiet(t, func() { f.wantReturnButton(t, f.Browser().Authorize(bad), "state-of-the-client", "invalid_scope") })
	signedOut := f.SignedIn("alice")
	signedOut.Post(f.URL+"/logout", nil)
	f.wantReturnButton(t, signedOut.Authorize(bad), "state-of-the-client", "invalid_scope")
	f.wantRedirectError(t, f.alice.Authorize(bad), dynamicCallback, "state-of-the-client", "invalid_scope")
}

// AZ-44: iss in every answer is the issuer of the metadata, byte for byte, below a
// path too.
func TestAZ44Issuer(t *testing.T) {
	for _, path := range []string{"", "/tenant"} {
		f := newFront(t, servertest.WithIssuerPath(path))
		if got := f.Get(f.Origin + "/.well-known/oauth-authorization-server" + path).JSON["issuer"]; got != f.URL {
			t.Fatalf("the metadata's issuer is %v, want %s", got, f.URL)
		}
		// responseParameters compares iss with it.
		page := f.alice.Approve(f.alice.Authorize(f.ask()))
		f.responseParameters(t, page.Left.String(), webCallback)
		f.responseParameters(t, f.alice.Authorize(f.ask()).Left.String(), webCallback) // remembered
		f.wantRedirectError(t, f.alice.Deny(f.alice.Authorize(f.ask("prompt", "consent"))), webCallback, "state-of-the-client", "access_denied")
		f.wantRedirectError(t, f.alice.Authorize(f.ask("response_type", "token")), webCallback, "state-of-the-client", "unsupported_response_type")
	}
}

// AZ-45: a code is worth nothing at another issuer, and that other issuer cannot
// spoil it.
func TestAZ45MixUp(t *testing.T) {
	honest := newFront(t)
	code := honest.alice.Code(servertest.AuthorizationRequest(honest.clientID, callback, resourceURI))
	for name, other := range map[string]*house{
		"with the same root key": newHouse(t),
		"with its own root key":  newHouse(t, servertest.WithRootKeys([]byte("another root key of 32 bytes....")), servertest.WithIssuerPath("/tenant")),
	} {
		t.Run(name, func(t *testing.T) {
			// The attacker has given its client the same id.
			client, err := honest.Store.ClientByClientID(t.Context(), honest.clientID)
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Store.CreateClient(t.Context(), client, storage.NewAuditEvent(other.Clock.Now(), "system", "client.created", client.ID)); err != nil {
				t.Fatal(err)
			}
			answer := other.Redeem(honest.clientID, code)
			if name == "with the same root key" {
				wantError(t, answer, http.StatusBadRequest, "invalid_grant")
			} else {
				wantError(t, answer, http.StatusServiceUnavailable, "temporarily_unavailable") // an unknown key is never the caller's fault
			}
		})
	}
	wantTokens(t, honest.Redeem(honest.clientID, code))
}

// AZ-46 and AZ-54: credentials posted anywhere are answered with 303 or an error,
// and no other spelling of a path is the path.
func TestPaths(t *testing.T) {
	for _, root := range []string{"", "/tenant"} {
		f := newFront(t, servertest.WithIssuerPath(root))
		query := "?" + f.ask().Encode()
		for _, path := range []string{
			"//authorize", "/authorize/", "/x/../authorize", "/./authorize", "/%61uthorize", "/AUTHORIZE", "/authorize//", "/authorize;x", "/authorize%2f", "/authorize%20",
			"//login", "/login/", "/x/../login", "/%6cogin", "//token", "/token/", "/x/../token", "/consent", "/admin/v1/clients", "/metrics", "/debug/pprof/", "/assets/", "/assets/../authorize",
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				answer := rawRequest(t, f.Server, method+" "+root+path+query+" HTTP/1.1", "Host: "+hostOf(t, f.URL), "Content-Length: 0")
				// /assets/ has files for GET alone.
				if want := answer.Status == http.StatusNotFound || (strings.HasPrefix(path, "/assets/") && answer.Status == http.StatusMethodNotAllowed); !want || answer.Header.Get("Location") != "" {
					t.Errorf("%s %s: %d, Location %q", method, root+path, answer.Status, answer.Header.Get("Location"))
				}
			}
		}
		page := f.alice.Authorize(f.ask())
		form := changed(page.Fields(), "decision", "approve")
		own := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {f.Origin}}
		if answer := f.alice.Send(http.MethodPost, page.Action(), form.Encode(), own); answer.Status != http.StatusSeeOther {
			t.Errorf("approving: %d", answer.Status)
		}
		login := servertest.Form("username", "alice", "password", servertest.Password).Encode()
		if answer := f.Browser().Send(http.MethodPost, f.URL+"/login"+query, login, own); answer.Status != http.StatusSeeOther || answer.Header.Get("Location") != root+"/authorize"+query {
			t.Errorf("signing in: %d to %q", answer.Status, answer.Header.Get("Location"))
		}
	}
}

func TestAZ47Methods(t *testing.T) {
	f := newFront(t)
	f.alice.Approve(f.alice.Authorize(f.ask())) // so that a GET would make a code
	target := f.URL + "/authorize?" + f.ask().Encode()
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	f.quiet(t, func() {
		if answer := f.alice.Send(http.MethodHead, target, "", nil); answer.Status != http.StatusOK || answer.Header.Get("Location") != "" || answer.Body != "" {
			t.Errorf("HEAD: %d %v", answer.Status, answer.Header)
		}
		for _, method := range []string{http.MethodOptions, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace, "PROPFIND"} {
			answer := f.alice.Send(method, target, "", nil)
			if answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("%s: %d, Allow %q", method, answer.Status, answer.Header.Get("Allow"))
			}
			wantNoCORS(t, answer)
		}
		for name, body := range map[string]string{"nothing": "", "the request itself": f.ask().Encode(), "only a seal": "approval=x"} {
			answer := f.alice.Send(http.MethodPost, target, body, form)
			if answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") == "" {
				t.Errorf("POST of %s: %d, Allow %q", name, answer.Status, answer.Header.Get("Allow"))
			}
		}
		for _, path := range []string{"/token", "/revoke", "/introspect", "/par", "/register", "/jwks", "/.well-known/oauth-authorization-server", "/login", "/logout", "/account", "/healthz", "/"} {
			answer := f.alice.Send(http.MethodDelete, path, "", nil)
			if answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") == "" {
				t.Errorf("DELETE %s: %d, Allow %q", path, answer.Status, answer.Header.Get("Allow"))
			}
		}
	})
}

// AZ-48: no browser program of another origin may read what people see.
func TestAZ48NoCORS(t *testing.T) {
	f := newFront(t)
	for _, path := range []string{"/authorize?" + f.ask().Encode(), "/login", "/logout", "/account", "/introspect", "/nothing"} {
		for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodPost} {
			answer := f.alice.Send(method, f.URL+path, "", http.Header{
				"Origin": {"https://evil.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"},
			})
			wantNoCORS(t, answer)
		}
	}
}

// AZ-49, AZ-50, HT-07: every page, whatever it says, has the headers of pages and
// nothing of another site.
func TestPages(t *testing.T) {
	f := newFront(t)
	b := f.alice
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	target := f.URL + "/authorize?" + f.ask().Encode()
	for _, c := range []struct {
		name       string
		answer     *servertest.Answer
		status     int
		formAction bool
	}{
		{"consent", b.Send(http.MethodGet, target, "", nil), 200, false},
		{"sign-in", f.Get("/login?" + f.ask().Encode()), 200, true},
		{"sign-in failed", f.Post("/login", servertest.Form("username", "alice", "password", "wrong"), ""), 401, true},
		{"refusal", f.Get("/authorize"), 400, true},
		{"button", f.Get("/authorize?" + f.askDynamic("scope", "x").Encode()), 400, true},
		{"account", b.Send(http.MethodGet, f.URL+"/account", "", nil), 200, true},
		{"sign-out", b.Send(http.MethodGet, f.URL+"/logout", "", nil), 200, true},
		{"signed out", f.Get("/logout"), 200, true},
		{"unknown path", f.Get("/nothing"), 404, true},
		{"cross-origin", b.Send(http.MethodPost, target, "", http.Header{"Origin": {"https://evil.example"}}), 403, true},
		{"prefetch", b.Send(http.MethodGet, target, "", http.Header{"Sec-Purpose": {"prefetch"}}), 403, true},
		{"foreign approval", b.Send(http.MethodPost, target, "decision=approve&approval=x", form), 403, true},
		{"no decision", b.Send(http.MethodPost, target, "", form), 405, true},
		{"no form", b.Send(http.MethodPost, target, "{}", http.Header{"Content-Type": {"application/json"}}), 415, true},
		{"malformed", b.Send(http.MethodPost, target, "%zz", form), 400, true},
		{"denied", f.alice.Deny(f.alice.Authorize(f.askDynamic())).Answer, 200, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.answer.Status != c.status {
				t.Errorf("status %d, want %d\n%s", c.answer.Status, c.status, c.answer.Body)
			}
			wantPageHeaders(t, c.answer, c.formAction)
			wantOwnContent(t, c.answer.Body)
			if c.answer.Header.Get("Content-Encoding") != "" {
				t.Error("HT-06: a page with a secret is compressed")
			}
		})
	}
}

// wantOwnContent fails if a page loads anything of another site, or has script.
func wantOwnContent(t testing.TB, body string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for node := range root.Descendants() {
		if node.Type != html.ElementNode {
			continue
		}
		if slices.Contains([]string{"script", "iframe", "object", "embed", "base"}, node.Data) {
			t.Errorf("the page has a %s element", node.Data)
		}
		for _, a := range node.Attr {
			loads := a.Key == "src" || a.Key == "srcset" || a.Key == "action" || a.Key == "formaction" || (a.Key == "href" && node.Data != "a")
			if loads && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//")) || strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("<%s %s=%q>", node.Data, a.Key, a.Val)
			}
		}
	}
}

// AZ-51: what a browser or a scanner fetches in advance has no effect.
func TestAZ51Prefetch(t *testing.T) {
	f := newFront(t)
	first := f.alice.Authorize(f.ask())
	target := f.URL + "/authorize?" + f.ask().Encode()
	f.quiet(t, func() {
		for range 2 { // a scanner opens a link again, without our cookies
			if page := f.Browser().Get(target); !page.IsLogin() {
				t.Errorf("a stranger gets %d", page.Status)
			}
		}
	})
	if page := f.alice.Approve(first); page.Left == nil {
		t.Fatalf("the first page's form is dead: %d\n%s", page.Status, page.Body)
	}
	f.quiet(t, func() { // now a GET would make a code
		for _, header := range []http.Header{{"Sec-Purpose": {"prefetch"}}, {"Sec-Purpose": {"prefetch;prerender"}}, {"Purpose": {"prefetch"}}} {
			if answer := f.alice.Send(http.MethodGet, target, "", header); answer.Status != http.StatusForbidden || answer.Header.Get("Location") != "" {
				t.Errorf("%v: %d, Location %q", header, answer.Status, answer.Header.Get("Location"))
			}
		}
	})
}

// AZ-52: a finished URL opened again is a new question or a new code.
func TestAZ52Reload(t *testing.T) {
	f := newFront(t)
	seen := map[string]bool{}
	for i := range 3 {
		page := f.alice.Authorize(f.ask())
		if i == 0 {
			page = f.alice.Approve(page)
		}
		code := f.responseParameters(t, page.Left.String(), webCallback).Get("code")
		if code == "" || seen[code] {
			t.Errorf("visit %d: code %q", i+1, code)
		}
		seen[code] = true
	}
	public := servertest.AuthorizationRequest(f.clientID, callback, resourceURI)
	f.alice.Approve(f.alice.Authorize(public))
	if page := f.alice.Authorize(public); !page.IsConsent() {
		t.Errorf("a public client's URL opened again: %d, left for %v", page.Status, page.Left)
	}
}

// AZ-53: what a request says of the server's name changes nothing the server says.
func TestAZ53Host(t *testing.T) {
	f := newFront(t)
	host := hostOf(t, f.URL)
	paths := []string{"/authorize?" + f.ask().Encode(), "/login", "/", "/.well-known/oauth-authorization-server", "/token"}
	for name, lines := range map[string][]string{
		"another name":           {"GET %s HTTP/1.1", "Host: evil.example"},
		"another name, our port": {"GET %s HTTP/1.1", "Host: evil.example:" + portOf(t, f.URL)},
		"our name as a label":    {"GET %s HTTP/1.1", "Host: 127.0.0.1.evil.example"},
		"our name, a dot behind": {"GET %s HTTP/1.1", "Host: 127.0.0.1."},
		"localhost is not ours":  {"GET %s HTTP/1.1", "Host: localhost"},
		"empty":                  {"GET %s HTTP/1.1", "Host:"},
		"none, as in HTTP/1.0":   {"GET %s HTTP/1.0"},
		"absolute form":          {"GET http://evil.example%s HTTP/1.1", "Host: " + host},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range paths {
				answer := rawRequest(t, f.Server, append([]string{fmt.Sprintf(lines[0], path)}, lines[1:]...)...)
				if answer.Status != http.StatusMisdirectedRequest || answer.Header.Get("Location") != "" || answer.Header.Get("Set-Cookie") != "" {
					t.Errorf("%s: %d %v", path, answer.Status, answer.Header)
				}
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				answer := rawRequest(t, f.Server, append([]string{fmt.Sprintf(lines[0], path)}, lines[1:]...)...)
				if answer.Status != http.StatusOK {
					t.Errorf("%s: %d", path, answer.Status)
				}
			}
		})
	}
	t.Run("our name, any port and case", func(t *testing.T) {
		for _, spelled := range []string{"127.0.0.1", "127.0.0.1:1", host} {
			if answer := rawRequest(t, f.Server, "GET /login HTTP/1.1", "Host: "+spelled); answer.Status != http.StatusOK {
				t.Errorf("Host %s: %d", spelled, answer.Status)
			}
		}
	})
	t.Run("forwarded names", func(t *testing.T) {
		header := http.Header{
			"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Port": {"1"}, "X-Forwarded-Prefix": {"/evil"},
			"Forwarded": {"host=evil.example;proto=http"}, "X-Original-Url": {"/evil"}, "X-Rewrite-Url": {"/evil"}, "X-Http-Method-Override": {"DELETE"},
		}
		for _, path := range paths[:4] {
			plain, claimed := f.alice.Send(http.MethodGet, f.URL+path, "", nil), f.alice.Send(http.MethodGet, f.URL+path, "", header)
			if claimed.Status != plain.Status || claimed.Header.Get("Location") != plain.Header.Get("Location") || strings.Contains(claimed.Body, "evil") {
				t.Errorf("%s: %d %v\n%s", path, claimed.Status, claimed.Header, claimed.Body)
			}
		}
	})
}

// AZ-55: a client's id is never a user's.
func TestAZ55Subjects(t *testing.T) {
	f := newFront(t)
	user := f.User("bob").String("id")
	status, answer := f.Call(http.MethodPost, "/clients", servertest.Object{
		"client_id": user, "client_name": "X", "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_basic",
	})
	if status < 400 && answer["client_id"] == user {
		t.Errorf("a client took a user's id: %d %v", status, answer)
	}
	wantError(t, f.register(`{"redirect_uris":["`+webCallback+`"],"client_id":"`+user+`","client_id":"x"}`), http.StatusBadRequest, "invalid_client_metadata")
	if got := f.registered(t, `{"redirect_uris":["`+webCallback+`"],"client_id":"`+user+`","client_secret":"mine"}`); got["client_id"] == user || got["client_secret"] == "mine" {
		t.Errorf("registered %v", got)
	}
	machine := credentialsOf(f.MachineClient())
	claims := servertest.Claims(wantTokens(t, f.Post("/token", servertest.Form("grant_type", "client_credentials"), machine.basic())).access)
	if claims["sub"] != machine.id || claims["client_id"] != machine.id || claims["family"] != nil {
		t.Errorf("a machine's claims: %v", claims)
	}
	person := servertest.Claims(f.tokens(t).JSON.String("access_token"))
	if !strings.HasPrefix(person.String("sub"), storage.PrefixUser) || person["family"] == nil || strings.HasPrefix(machine.id, storage.PrefixUser) {
		t.Errorf("a person's claims: %v", person)
	}
}

// TestSignInAgain: prompt=login and max_age make a person sign in once more, once.
func TestSignInAgain(t *testing.T) {
	f := newFront(t)
	signIn := func(t *testing.T, b *servertest.Browser, page *servertest.Page) *servertest.Page {
		t.Helper()
		if !page.IsLogin() {
			t.Fatalf("no sign-in is asked for: %d at %s", page.Status, page.URL)
		}
		return b.Post(page.Action(), servertest.Form("username", "alice", "password", servertest.Password))
	}
	wantConsent := func(t *testing.T, page *servertest.Page) {
		t.Helper()
		if !page.IsConsent() {
			t.Errorf("no consent page: %d at %s", page.Status, page.URL)
		}
	}
	for _, pairs := range [][]string{{"prompt", "login"}, {"prompt", "login consent"}, {"prompt", "select_account"}, {"max_age", "0"}, {"max_age", "60"}} {
		t.Run(strings.Join(pairs, "="), func(t *testing.T) {
			b := f.SignedIn("alice")
			f.Clock.Advance(2 * time.Minute)
			request := f.askDynamic(pairs...)
			page := signIn(t, b, b.Authorize(request))
			wantConsent(t, page)
			if reloaded := b.Get(page.URL.String()); !reloaded.IsConsent() {
				t.Errorf("reloading asks to sign in again: %s", reloaded.URL)
			}
			if approved := b.Approve(page); approved.Left == nil {
				t.Errorf("approving: %d\n%s", approved.Status, approved.Body)
			}
			f.Clock.Advance(61 * time.Second)
			if again := b.Authorize(request); !again.IsLogin() {
				t.Errorf("the next request like it is not asked: %d at %s", again.Status, again.URL)
			}
		})
	}
	t.Run("a page of a request that asks for less", func(t *testing.T) {
		for _, pairs := range [][]string{{"prompt", "login"}, {"prompt", "select_account"}, {"max_age", "60"}} {
			b := f.SignedIn("alice")
			f.Clock.Advance(2 * time.Minute)
			form := changed(b.Authorize(f.askDynamic()).Fields(), "decision", "approve")
			if page := b.Post(f.URL+"/authorize?"+f.askDynamic(pairs...).Encode(), form); !page.IsLogin() {
				t.Errorf("%s: no sign-in is asked for: %d at %s", pairs, page.Status, page.URL)
			}
		}
	})
	t.Run("max_age that is kept", func(t *testing.T) {
		b := f.SignedIn("alice")
		f.Clock.Advance(time.Minute)
		wantConsent(t, b.Authorize(f.askDynamic("max_age", "60")))
	})
	b := f.SignedIn("alice")
	first := b.Authorize(f.askDynamic("prompt", "login"))
	step := first.URL.Query().Get("grantd_step")
	f.Clock.Advance(time.Second)
	wantConsent(t, signIn(t, b, first))
	for name, c := range map[string]struct {
		request url.Values
		step    string
		after   time.Duration
	}{
		"a note of another request": {f.askDynamic("prompt", "login", "state", "other"), step, 0},
		"a forged note":             {f.askDynamic("prompt", "login"), forged(step), 0},
		"a cut note":                {f.askDynamic("prompt", "login"), step[:40], 0},
		"garbage":                   {f.askDynamic("prompt", "login"), "x", 0},
		"a note of long ago":        {f.askDynamic("prompt", "login"), step, 10*time.Minute + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if c.after == 0 {
				wantConsent(t, b.Get(f.URL+"/authorize?"+f.askDynamic("prompt", "login").Encode()+"&grantd_step="+step))
			}
			f.Clock.Advance(c.after)
			page := b.Get(f.URL + "/authorize?" + c.request.Encode() + "&grantd_step=" + c.step)
			wantConsent(t, signIn(t, f.Browser(), page))
			f.Clock.Advance(-c.after)
		})
	}
	t.Run("the note is not the client's", func(t *testing.T) {
		page := b.Get(f.URL + "/authorize?" + f.ask("prompt", "consent").Encode() + "&grantd_step=" + step)
		if approved := b.Approve(page); approved.Left == nil || approved.Left.Query().Has("grantd_step") || strings.Contains(page.Action(), "grantd_step") {
			t.Errorf("it went on to %v by %s", approved.Left, page.Action())
		}
	})
}

// AZ-30: however many requests strangers invent, nothing of them stays in memory.
func TestAZ30MemoryStaysFlat(t *testing.T) {
	f := newFront(t)
	step := f.Browser().Authorize(f.askDynamic("prompt", "login")).URL.Query().Get("grantd_step")
	send := func(n int) {
		for i := range n {
			query := f.askDynamic("prompt", "login", "state", fmt.Sprint(n, i, strings.Repeat("s", 4000))).Encode() + "&grantd_step=" + step
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/authorize?"+query, nil)
			f.Public.ServeHTTP(w, r)
			if w.Code != http.StatusSeeOther {
				t.Fatalf("%d\n%s", w.Code, w.Body)
			}
		}
	}
	held := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	send(100)
	before := held()
	send(2000)
	if grown := held() - before; grown > 4<<20 {
		t.Errorf("2000 requests of 4 KiB hold %d KiB", grown>>10)
	}
}

// rawRequest sends a request as it is written, which no client library would, and
// returns the answer's head.
func rawRequest(t testing.TB, s *servertest.Server, lines ...string) *servertest.Answer {
	t.Helper()
	var dialer net.Dialer
	c, err := dialer.DialContext(t.Context(), "tcp", hostOf(t, s.Origin))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte(strings.Join(lines, "\r\n") + "\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", lines, err)
	}
	_ = response.Body.Close()
	return &servertest.Answer{Status: response.StatusCode, Header: response.Header}
}

func hostOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func portOf(t testing.TB, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(hostOf(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
