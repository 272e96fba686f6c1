package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"grantd/server/servertest"
)

// loopback is where the public client of a house listens: its registered
// redirect has no port.
const loopback = "http://127.0.0.1:49152/callback"

// credentials are what a confidential client proves itself with.
type credentials struct{ id, secret string }

func (c credentials) basic() string { return c.id + ":" + c.secret }

// office is a house in which alice has signed in, with a client of each kind and
// the resource's own server, which may introspect its tokens.
type office struct {
	*house
	alice   *servertest.Browser
	web     credentials // uses the code flow
	machine credentials // uses client_credentials
	guard   credentials // introspects
}

func newOffice(t testing.TB, opts ...servertest.Option) *office {
	t.Helper()
	h := newHouse(t, opts...)
	o := &office{house: h, alice: h.SignedIn("alice")}
	o.staff(t)
	return o
}

// staff registers the clients, except the public one.
func (o *office) staff(t testing.TB) {
	t.Helper()
	o.web, o.machine, o.guard = credentialsOf(o.SecretClient(webCallback)), credentialsOf(o.MachineClient()), credentialsOf(o.MachineClient())
	o.Must(http.MethodPatch, "/resources/"+o.find(t, "/resources", "uri", resourceURI),
		servertest.Object{"introspection_clients": []string{o.guard.id}})
}

// renew makes everything anew in the same database, so that nothing an earlier
// case has done is in the way. Alice stays if she is still signed in.
func (o *office) renew(t testing.TB) {
	t.Helper()
	kinds := []string{"/resources", "/clients"}
	gone := o.alice.Get(o.URL + "/account").IsLogin()
	if gone {
		kinds = append(kinds, "/users")
	}
	for _, kind := range kinds {
		for _, item := range o.list(t, kind) {
			o.Must(http.MethodDelete, kind+"/"+item.String("id"), nil)
		}
	}
	o.Resource(resourceURI, nil, "notes:read", "notes:write")
	if gone {
		o.User("alice")
		o.alice = o.SignedIn("alice")
	}
	o.clientID = o.PublicClient(callback).String("client_id")
	o.staff(t)
}

func credentialsOf(client servertest.Object) credentials {
	return credentials{id: client.String("client_id"), secret: client.String("client_secret")}
}

// find returns the opaque id of the one thing in an admin list whose member has
// this value.
func (h *house) find(t testing.TB, path, member, value string) string {
	t.Helper()
	for _, item := range h.list(t, path) {
		if item[member] == value {
			return item.String("id")
		}
	}
	t.Fatalf("nothing in %s has %s %q", path, member, value)
	return ""
}

// list reads an admin list to its end.
func (h *house) list(t testing.TB, path string) []servertest.Object {
	t.Helper()
	var all []servertest.Object
	cursor := ""
	for range 100 {
		answer := h.Must(http.MethodGet, path+"?limit=100&cursor="+url.QueryEscape(cursor), nil)
		for _, item := range answer["items"].([]any) {
			all = append(all, servertest.Object(item.(map[string]any)))
		}
		if cursor = answer.String("next_cursor"); cursor == "" {
			return all
		}
	}
	t.Fatalf("%s has no end", path)
	return nil
}

// audited counts the audit events of an action.
func (h *house) audited(t testing.TB, action string) int {
	t.Helper()
	n := 0
	for _, event := range h.list(t, "/audit-events") {
		if event["action"] == action {
			n++
		}
	}
	return n
}

// code has alice approve the public client, with the request changed by pairs,
// and returns the code.
func (o *office) code(t testing.TB, pairs ...string) string {
	t.Helper()
	return o.approved(t, changed(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI), pairs...))
}

// webCode is code for the confidential client.
func (o *office) webCode(t testing.TB) string {
	t.Helper()
	return o.approved(t, servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI))
}

// approved has alice approve a request, signing in again if a test has let much
// time pass.
func (o *office) approved(t testing.TB, request url.Values) string {
	t.Helper()
	if o.alice.Authorize(request).IsLogin() {
		o.alice = o.SignedIn("alice")
	}
	return o.alice.Code(request)
}

// tokens has alice approve the public client and redeems the code.
func (o *office) tokens(t testing.TB, pairs ...string) issued {
	t.Helper()
	return wantTokens(t, o.Redeem(o.clientID, o.code(t, pairs...)))
}

// active asks, as the resource's server does, whether an access token is good.
func (o *office) active(t testing.TB, token string) bool {
	t.Helper()
	answer := o.introspect(token)
	if answer.Status != http.StatusOK {
		t.Fatalf("introspect: %d %s", answer.Status, answer.Body)
	}
	if answer.JSON["active"] != true && strings.TrimSpace(answer.Body) != `{"active":false}` {
		t.Errorf("the answer about a token that is not active says more: %s", answer.Body)
	}
	return answer.JSON["active"] == true
}

func (o *office) introspect(token string) *servertest.Answer {
	return o.Post("/introspect", servertest.Form("token", token), o.guard.basic())
}

// redemption is the form that redeems a code of the public client, changed by
// pairs.
func (h *house) redemption(code string, pairs ...string) url.Values {
	return changed(servertest.Form("grant_type", "authorization_code", "client_id", h.clientID, "code", code,
		"code_verifier", servertest.Verifier), pairs...)
}

// changed returns a copy of form with each name set to its value, or without it
// where the value is empty.
func changed(form url.Values, pairs ...string) url.Values {
	form = maps.Clone(form)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			form.Del(pairs[i])
		} else {
			form.Set(pairs[i], pairs[i+1])
		}
	}
	return form
}

// issued is what a token response hands out.
type issued struct{ access, refresh, scope string }

// wantTokens checks everything about a successful token response that holds for
// every grant (OAuth 2.1 §3.2.3).
func wantTokens(t testing.TB, answer *servertest.Answer) issued {
	t.Helper()
	if answer.Status != http.StatusOK {
		t.Fatalf("no tokens: %d %s", answer.Status, answer.Body)
	}
	wantJSON(t, answer)
	for name := range answer.JSON {
		if !slices.Contains([]string{"access_token", "token_type", "expires_in", "scope", "refresh_token"}, name) {
			t.Errorf("the token response has %q", name)
		}
	}
	if answer.JSON["token_type"] != "Bearer" {
		t.Errorf("token_type is %v", answer.JSON["token_type"])
	}
	got := issued{access: answer.JSON.String("access_token"), refresh: answer.JSON.String("refresh_token"), scope: answer.JSON.String("scope")}
	claims := servertest.Claims(got.access)
	if claims == nil || claims["scope"] != got.scope {
		t.Fatalf("the access token's claims are %v, the response's scope is %q", claims, got.scope)
	}
	lives, _ := claims["exp"].(float64)
	since, _ := claims["iat"].(float64)
	if want := fmt.Sprintf(`"expires_in":%.0f,`, lives-since); lives == 0 || !strings.Contains(answer.Body, want) {
		t.Errorf("the response does not say %s: %v", want, answer.JSON["expires_in"])
	}
	return got
}

// wantError checks an OAuth error response: its status and code, and everything
// that holds for all of them (OAuth 2.1 §3.2.4).
func wantError(t testing.TB, answer *servertest.Answer, status int, code string) {
	t.Helper()
	if answer.Status != status || answer.JSON["error"] != code {
		t.Errorf("the answer is %d %s, want %d %s", answer.Status, strings.TrimSpace(answer.Body), status, code)
	}
	wantJSON(t, answer)
	for name := range answer.JSON {
		if name != "error" && name != "error_description" {
			t.Errorf("the error response has %q", name)
		}
	}
	for _, c := range answer.JSON.String("error_description") {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			t.Errorf("error_description has %q", c)
		}
	}
}

// wantJSON checks the headers of a JSON answer, and that nothing in it is null.
func wantJSON(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	wantNoNull(t, answer.Body)
}

// wantNoNull fails if a JSON text has a null anywhere: MCP clients refuse it
// where they allow the member to be absent.
func wantNoNull(t testing.TB, body string) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(body))
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			t.Errorf("no JSON: %v: %s", err, body)
			return
		}
		if token == nil {
			t.Errorf("a null in %s", body)
			return
		}
	}
}

// wantGone fails if a refresh token of the public client still works.
func (o *office) wantGone(t testing.TB, refresh string) {
	t.Helper()
	wantError(t, o.Refresh(o.clientID, refresh), http.StatusBadRequest, "invalid_grant")
}

// forged returns a token of the same shape whose last part is another: for a code
// or refresh token the end of its MAC, for a JWT the end of its signature.
func forged(token string) string {
	last := token[len(token)-8]
	other := byte('A')
	if last == other {
		other = 'B'
	}
	return token[:len(token)-8] + string(other) + token[len(token)-7:]
}

// logs collects what is logged, at every level, until the test ends.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func captureLogs(t testing.TB) *logs {
	t.Helper()
	l := new(logs)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(before) })
	return l
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// race runs n acts at one moment and returns when all are done.
func race(n int, act func(i int)) {
	var done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		done.Go(func() {
			<-start
			act(i)
		})
	}
	close(start)
	done.Wait()
}
