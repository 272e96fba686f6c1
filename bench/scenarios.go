package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
)

// scenario is one kind of work. Its limits are those the README states: CPU time
// of server and database together, as a ratio to the floor's or in milliseconds.
type scenario struct {
	name       string
	limit, aim float64
	absolute   bool // limit and aim are milliseconds
	noFloor    bool // the floor does not do it

	offered func(p *Profile) bool
	prepare func(ctx context.Context, t *target) error // before each run, not measured
	// start makes the operation of one of several connections.
	start func(t *target, a *agent, connection, connections int) (operation, error)
}

var scenarios = []scenario{
	{name: "client_credentials", limit: 2, aim: 1.6, offered: hasMachine, start: clientCredentials},
	{name: "refresh", limit: 1.8, aim: 1.4, offered: hasInstalled, prepare: freshTokens, start: refresh},
	{name: "introspect", limit: 2, aim: 1.6, offered: hasIntrospector, prepare: freshTokens, start: introspect},
	{name: "metadata", limit: 1.5, aim: 1.5, offered: func(*Profile) bool { return true }, start: document(func(p *Profile) string { return p.Metadata }, "issuer")},
	{name: "JWKS", limit: 1.5, aim: 1.5, offered: func(p *Profile) bool { return p.endpoints.JWKS != "" }, start: document(func(p *Profile) string { return p.endpoints.JWKS }, "keys")},
	{name: "issue + revoke", offered: func(p *Profile) bool { return hasMachine(p) && p.endpoints.Revocation != "" }, start: issueAndRevoke},
	{name: "register", offered: func(p *Profile) bool { return p.endpoints.Registration != "" }, prepare: roomToRegister, start: register},
	{name: "code flow", limit: 2, aim: 1.5, absolute: true, noFloor: true, offered: hasPages, start: codeFlow},
	{name: "mixed", noFloor: true, offered: func(p *Profile) bool { return hasMachine(p) && hasPages(p) && hasIntrospector(p) }, prepare: freshTokens, start: mixed},
}

func scenarioNamed(name string) scenario {
	for _, s := range scenarios {
		if s.name == name {
			return s
		}
	}
	panic("there is no scenario " + name)
}

func hasMachine(p *Profile) bool   { return p.Machine.ClientID != "" && p.endpoints.Token != "" }
func hasInstalled(p *Profile) bool { return p.Installed.ClientID != "" && p.endpoints.Token != "" }
func hasPages(p *Profile) bool {
	return hasInstalled(p) && len(p.Users) > 0 && p.endpoints.Authorization != ""
}

func hasIntrospector(p *Profile) bool {
	return p.Introspector.ClientID != "" && p.endpoints.Introspection != "" && hasInstalled(p)
}

// installations is how many refresh tokens, each of its own installation, the
// scenarios work with.
const installations = 256

// tokens is what one installation holds.
type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	Type      string `json:"token_type"`
	ExpiresIn int64  `json:"expires_in"`
}

// read takes a token response (RFC 6749 §5.1) and makes sure that it is new.
func (t *tokens) read(got answer, wantRefresh bool) error {
	if got.status != http.StatusOK {
		return fmt.Errorf("a token response has status %d: %.200s", got.status, got.body)
	}
	var n tokens
	if err := json.Unmarshal(got.body, &n); err != nil {
		return err
	}
	if n.Access == "" || n.Access == t.Access || !strings.EqualFold(n.Type, "bearer") || n.ExpiresIn <= 0 {
		return errors.New("a token response has no new access token")
	}
	if wantRefresh && (n.Refresh == "" || n.Refresh == t.Refresh) {
		return errors.New("a token response has no new refresh token")
	}
	*t = n
	return nil
}

func clientCredentials(t *target, a *agent, _, _ int) (operation, error) {
	at, err := url.Parse(t.endpoints.Token)
	h, body := t.Machine.authorize(targeted("client_credentials", t.Machine.Scope, t.Machine.Resource))
	var held tokens
	return func() error {
		got, err := a.send(http.MethodPost, at, h, body)
		if err != nil {
			return err
		}
		return held.read(got, false)
	}, err
}

func targeted(grantType, scope, resource string) url.Values {
	values := url.Values{"grant_type": {grantType}}
	if scope != "" {
		values.Set("scope", scope)
	}
	if resource != "" {
		values.Set("resource", resource)
	}
	return values
}

// refresh rotates the tokens of a share of the installations in turn.
func refresh(t *target, a *agent, connection, connections int) (operation, error) {
	at, err := url.Parse(t.endpoints.Token)
	rest := "&client_id=" + url.QueryEscape(t.Installed.ClientID)
	if t.Installed.Resource != "" {
		rest += "&resource=" + url.QueryEscape(t.Installed.Resource)
	}
	next := connection
	return func() error {
		held := &t.installations[next]
		if next += connections; next >= len(t.installations) {
			next = connection
		}
		got, err := a.send(http.MethodPost, at, formType, "grant_type=refresh_token&refresh_token="+url.QueryEscape(held.Refresh)+rest)
		if err != nil {
			return err
		}
		return held.read(got, true)
	}, err
}

// freshTokens refreshes every installation once, so that no access token expires
// during a run.
func freshTokens(_ context.Context, t *target) error {
	a := newAgent()
	defer a.close()
	again, err := refresh(t, a, 0, 1)
	for range t.installations {
		if err == nil {
			err = again()
		}
	}
	return err
}

func introspect(t *target, a *agent, connection, connections int) (operation, error) {
	at, err := url.Parse(t.endpoints.Introspection)
	next := connection
	return func() error {
		h, body := t.Introspector.authorize(url.Values{"token": {t.installations[next].Access}})
		if next += connections; next >= len(t.installations) {
			next = connection
		}
		got, err := a.send(http.MethodPost, at, h, body)
		if err != nil {
			return err
		}
		var said struct {
			Active  bool   `json:"active"`
			Subject string `json:"sub"`
		}
		if err := json.Unmarshal(got.body, &said); err != nil || got.status != http.StatusOK || !said.Active || said.Subject == "" {
			return fmt.Errorf("introspection of a live token has status %d: %.200s", got.status, got.body)
		}
		return nil
	}, err
}

// document gets a public document and checks that it has a member.
func document(where func(*Profile) string, member string) func(*target, *agent, int, int) (operation, error) {
	return func(t *target, a *agent, _, _ int) (operation, error) {
		at, err := url.Parse(where(t.Profile))
		want := []byte(`"` + member + `"`)
		return func() error {
			got, err := a.send(http.MethodGet, at, "", "")
			if err != nil {
				return err
			}
			if got.status != http.StatusOK || !json.Valid(got.body) || !strings.Contains(string(got.body), string(want)) {
				return fmt.Errorf("the document at %s has status %d: %.200s", at.Path, got.status, got.body)
			}
			return nil
		}, err
	}
}

// issueAndRevoke is two requests: a machine gets a token and ends it.
func issueAndRevoke(t *target, a *agent, _, _ int) (operation, error) {
	token, err := url.Parse(t.endpoints.Token)
	if err != nil {
		return nil, err
	}
	revocation, err := url.Parse(t.endpoints.Revocation)
	h, body := t.Machine.authorize(targeted("client_credentials", t.Machine.Scope, t.Machine.Resource))
	var held tokens
	return func() error {
		got, err := a.send(http.MethodPost, token, h, body)
		if err != nil {
			return err
		}
		if err := held.read(got, false); err != nil {
			return err
		}
		h, body := t.Machine.authorize(url.Values{"token": {held.Access}})
		if got, err = a.send(http.MethodPost, revocation, h, body); err != nil {
			return err
		}
		if got.status != http.StatusOK {
			return fmt.Errorf("revocation has status %d: %.200s", got.status, got.body)
		}
		return nil
	}, err
}

// roomToRegister takes away the clients of earlier runs: a server may cap them.
func roomToRegister(ctx context.Context, t *target) error {
	return t.database.exec(ctx, t.clearRegistrations...)
}

func register(t *target, a *agent, connection, _ int) (operation, error) {
	at, err := url.Parse(t.endpoints.Registration)
	const body = `{"client_name":"Benchmark","redirect_uris":["http://127.0.0.1:7777/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}`
	count := 0
	return func() error {
		// Registrations are limited by address. These come through a proxy, each from
		// an address of its own.
		count++
		h := headers(fmt.Sprintf("Content-Type: application/json\r\nX-Forwarded-For: 10.%d.%d.%d\r\n", connection, count>>8&0xff, count&0xff))
		got, err := a.send(http.MethodPost, at, h, body)
		if err != nil {
			return err
		}
		var made struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(got.body, &made); err != nil || got.status != http.StatusCreated || made.ClientID == "" {
			return fmt.Errorf("registration has status %d: %.200s", got.status, got.body)
		}
		return nil
	}, err
}

// codeFlow is one installation from the authorization request to its tokens: the
// consent page, its form, and the code. Its user has signed in before.
func codeFlow(t *target, a *agent, connection, _ int) (operation, error) {
	u := t.Users[connection%len(t.Users)]
	a.jar = t.browser(connection)
	var held tokens
	if err := t.install(a, u, &held); err != nil { // signs in, the first time
		return nil, err
	}
	return func() error { return t.install(a, u, &held) }, nil
}

// install goes through the code flow with PKCE (OAuth 2.1 §4.1).
func (t *target) install(a *agent, u User, held *tokens) error {
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {t.Installed.ClientID}, "redirect_uri": {t.Installed.RedirectURI}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	for name, value := range map[string]string{"scope": t.Installed.Scope, "resource": t.Installed.Resource} {
		if value != "" {
			query.Set(name, value)
		}
	}
	at, err := url.Parse(t.endpoints.Authorization + "?" + query.Encode())
	if err != nil {
		return err
	}
	parameters, _, err := a.approve(t.Profile, u, at)
	if err != nil {
		return err
	}
	if parameters.Get("state") != state || parameters.Get("code") == "" {
		return fmt.Errorf("the authorization response has no code: %s", parameters.Get("error"))
	}
	form := targeted("authorization_code", "", t.Installed.Resource)
	form.Set("code", parameters.Get("code"))
	form.Set("client_id", t.Installed.ClientID)
	form.Set("redirect_uri", t.Installed.RedirectURI)
	form.Set("code_verifier", verifier)
	token, err := url.Parse(t.endpoints.Token)
	if err != nil {
		return err
	}
	got, err := a.send(http.MethodPost, token, formType, form.Encode())
	if err != nil {
		return err
	}
	return held.read(got, true)
}

// browser returns the cookies of a connection's browser. They stay from run to
// run, so that people sign in once.
func (t *target) browser(connection int) *cookiejar.Jar {
	t.browsing.Lock()
	defer t.browsing.Unlock()
	if t.browsers[connection] == nil {
		if t.browsers == nil {
			t.browsers = make(map[int]*cookiejar.Jar)
		}
		t.browsers[connection] = newAgent().jar
	}
	return t.browsers[connection]
}

// installAll makes the installations that the other scenarios work with.
func (t *target) installAll() error {
	t.installations = make([]tokens, installations)
	errs := make([]error, min(len(t.Users), 4))
	var installing sync.WaitGroup
	for i := range errs {
		installing.Go(func() {
			a := newAgent()
			a.jar = t.browser(i)
			defer a.close()
			for j := i; j < len(t.installations) && errs[i] == nil; j += len(errs) {
				errs[i] = t.install(a, t.Users[i], &t.installations[j])
			}
		})
	}
	installing.Wait()
	return errors.Join(errs...)
}

// mixture is what agents and services ask for in a day, out of twenty: mostly
// refreshes and the introspection of what came of them.
var mixture = "rircirimriircjrirfcr"

func mixed(t *target, a *agent, connection, connections int) (operation, error) {
	var operations [256]operation
	for letter, start := range map[rune]func(*target, *agent, int, int) (operation, error){
		'r': refresh, 'i': introspect, 'c': clientCredentials, 'f': codeFlow,
		'm': document(func(p *Profile) string { return p.Metadata }, "issuer"),
		'j': document(func(p *Profile) string { return p.endpoints.JWKS }, "keys"),
	} {
		var err error
		if operations[letter], err = start(t, a, connection, connections); err != nil {
			return nil, err
		}
	}
	next := connection
	return func() error {
		next = (next + 1) % len(mixture)
		return operations[mixture[next]]()
	}, nil
}
