package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"grantd/internal/pgtest"
)

const (
	organisation    = "../examples/organisation"
	codeURI         = "https://code.example.com/mcp"
	payrollURI      = "https://payroll.example.com/mcp"
	wikiURI         = "https://wiki.example.com/mcp"
	deskCallback    = "http://127.0.0.1:1/callback"
	reportsCallback = "https://reports.example.com/callback"
)

// TestOrganisation sets up the organisation of examples/organisation with grantd apply,
// and has its people and programs do what they may and what they may not.
func TestOrganisation(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testOrganisation(t, startGrantd(t)) })
	t.Run("postgres", func(t *testing.T) {
		rootKey := filepath.Join(t.TempDir(), "root-key")
		if err := os.WriteFile(rootKey, []byte(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))), 0o600); err != nil {
			t.Fatal(err)
		}
		testOrganisation(t, startGrantd(t, "--database-url", pgtest.URL(t), "--root-key-file", rootKey, "--migrate"))
	})
}

func testOrganisation(t *testing.T, g *grantd) {
	o := setUp(t, g)
	o.allowed()
	o.refused()
	o.disabledInTheMiddle()
	o.rotatedUnderLoad()
	o.audited()
}

// company is a server with the organisation.
type company struct {
	t       *testing.T
	g       *grantd
	secrets map[string]string // by client_id
	// refreshToken is alice's for the desk agent at the code server.
	refreshToken string
}

// setUp makes people and secrets as the example's README says, and applies the files.
func setUp(t *testing.T, g *grantd) *company {
	t.Helper()
	o := &company{t: t, g: g, secrets: map[string]string{}}
	for _, name := range []string{"alice", "bob", "carol"} {
		g.create("users", map[string]any{"username": name, "password": userPassword})
	}
	var environ []string
	for clientID, variable := range map[string]string{
		"reports": "REPORTS_SECRET", "nightly": "NIGHTLY_SECRET", "code-server": "CODE_SERVER_SECRET", "payroll-server": "PAYROLL_SERVER_SECRET",
	} {
		o.secrets[clientID] = strings.TrimSpace(g.run(0, nil, "", "client", "secret", "generate"))
		environ = append(environ, variable+"="+o.secrets[clientID])
	}
	g.run(7, environ, "", "apply", "-f", organisation, "--dry-run")
	applied := g.run(0, environ, "", "apply", "-f", organisation)
	if want := "17 to create, 0 to change, 0 to delete, 0 unchanged"; !strings.Contains(applied, want) {
		t.Fatalf("the first time does not say %q:\n%s", want, applied)
	}
	before := len(o.events())
	for _, again := range [][]string{{"apply", "-f", organisation}, {"apply", "-f", organisation, "--prune"}, {"apply", "-f", organisation, "--dry-run"}} {
		if said := g.run(0, environ, "", again...); !strings.Contains(said, "0 to create, 0 to change, 0 to delete, 17 unchanged") {
			t.Errorf("%q again:\n%s", again, said)
		}
	}
	g.run(0, nil, g.run(0, nil, "", "export"), "apply", "-f", "-", "--dry-run")
	if after := len(o.events()); after != before {
		t.Errorf("applying again is recorded: %d events, before %d", after, before)
	}
	g.run(0, nil, "", "policy", "delete", "Everyone may approve every MCP server", "--yes")
	return o
}

// events are the actions of all audit events.
func (o *company) events() []string {
	o.t.Helper()
	var actions []string
	for _, line := range lines(o.g.run(0, nil, "", "audit", "list", "--json")) {
		var event struct{ Action string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			o.t.Fatalf("%v: %s", err, line)
		}
		actions = append(actions, event.Action)
	}
	return actions
}

// token posts a form to the token endpoint, with the secret of the client if it has one.
func (o *company) token(clientID string, form url.Values) tokenAnswer {
	o.t.Helper()
	form.Set("client_id", clientID)
	if secret := o.secrets[clientID]; secret != "" {
		form.Set("client_secret", secret)
	}
	return post(o.t, o.g.issuer+"/token", form)
}

// approved has a person sign in and approve scopes for a client, and redeems the code.
func (o *company) approved(username, clientID, callback, resource, scope string) map[string]any {
	o.t.Helper()
	verifier := rand.Text() + rand.Text()
	v := newVisitor(o.t, o.g)
	_, page := v.ask(verifier, url.Values{"client_id": {clientID}, "redirect_uri": {callback}, "resource": {resource}, "scope": {scope}})
	_, page = v.signIn(page, username)
	if got := offered(page); !slices.Equal(got, strings.Fields(scope)) {
		o.t.Fatalf("%s is offered %q by %s at %s, want %q", username, got, clientID, resource, scope)
	}
	location, _ := v.approve(page)
	answer := o.token(clientID, url.Values{
		"grant_type": {"authorization_code"}, "code": {location.Query().Get("code")}, "code_verifier": {verifier}, "redirect_uri": {callback},
	})
	if answer.status != http.StatusOK || answer.body["scope"] != scope {
		o.t.Fatalf("%s with %s at %s: %d %v", username, clientID, resource, answer.status, answer.body)
	}
	return answer.body
}

// active asks as an MCP server does whether a token counts.
func (o *company) active(server, token string) bool {
	o.t.Helper()
	answer := post(o.t, o.g.issuer+"/introspect", url.Values{"client_id": {server}, "client_secret": {o.secrets[server]}, "token": {token}})
	if answer.status != http.StatusOK {
		o.t.Errorf("introspection as %s: %d %v", server, answer.status, answer.body)
	}
	return answer.body["active"] == true
}

func (o *company) allowed() {
	alice := o.approved("alice", "desk", deskCallback, codeURI, "code:read code:write")
	o.refreshToken = alice["refresh_token"].(string)
	if !o.active("code-server", alice["access_token"].(string)) {
		o.t.Error("the code server does not take alice's token")
	}
	if o.active("payroll-server", alice["access_token"].(string)) {
		o.t.Error("the payroll server takes a token for the code")
	}
	o.approved("alice", "reader", deskCallback, wikiURI, "wiki:read")
	bob := o.approved("bob", "reports", reportsCallback, payrollURI, "payroll:read payroll:pay")
	if !o.active("payroll-server", bob["access_token"].(string)) {
		o.t.Error("the payroll server does not take bob's token")
	}
	if answer := o.token("nightly", url.Values{"grant_type": {"client_credentials"}, "resource": {wikiURI}}); answer.status != http.StatusOK || answer.body["scope"] != "wiki:read" {
		o.t.Errorf("the nightly index: %d %v", answer.status, answer.body)
	}
}

func (o *company) refused() {
	for _, c := range []struct{ name, username, clientID, callback, resource, scope string }{
		{"beyond the client's ceiling", "alice", "reader", deskCallback, codeURI, "code:write"},
		{"of a group that is not hers", "alice", "reports", reportsCallback, payrollURI, "payroll:read"},
		{"with a client that the policy does not name", "bob", "desk", deskCallback, payrollURI, "payroll:read"},
		{"destructive, and named by no policy", "alice", "desk", deskCallback, codeURI, "code:admin"},
	} {
		v := newVisitor(o.t, o.g)
		location, page := v.ask(rand.Text()+rand.Text(), url.Values{"client_id": {c.clientID}, "redirect_uri": {c.callback}, "resource": {c.resource}, "scope": {c.scope}})
		if location.Host == "" {
			location, page = v.signIn(page, c.username)
		}
		if location.Query().Has("code") || len(offered(page)) > 0 || formApproval.MatchString(page) {
			o.t.Errorf("%s: %s is asked to approve, or has: %s\n%s", c.name, c.username, location, page)
		}
	}
	for _, c := range []struct {
		name, error string
		form        url.Values
	}{
		{"a resource that is not the client's", "invalid_target", url.Values{"resource": {codeURI}}},
		{"a scope beyond its ceiling", "invalid_scope", url.Values{"resource": {wikiURI}, "scope": {"code:read"}}},
	} {
		c.form.Set("grant_type", "client_credentials")
		if answer := o.token("nightly", c.form); answer.status != http.StatusBadRequest || answer.body["error"] != c.error {
			o.t.Errorf("%s: %d %v", c.name, answer.status, answer.body)
		}
	}
	wrong := url.Values{"grant_type": {"client_credentials"}, "client_id": {"nightly"}, "client_secret": {o.secrets["reports"]}}
	if answer := post(o.t, o.g.issuer+"/token", wrong); answer.status != http.StatusUnauthorized || answer.body["error"] != "invalid_client" {
		o.t.Errorf("another client's secret: %d %v", answer.status, answer.body)
	}
}

// disabledInTheMiddle disables carol while she has a page open, a code that is not
// redeemed, and a token.
func (o *company) disabledInTheMiddle() {
	verifier := rand.Text() + rand.Text()
	held := o.approved("carol", "desk", deskCallback, codeURI, "code:read")
	v := newVisitor(o.t, o.g)
	request := url.Values{"client_id": {"desk"}, "redirect_uri": {deskCallback}, "resource": {wikiURI}, "scope": {"wiki:read"}}
	_, page := v.ask(verifier, request)
	_, page = v.signIn(page, "carol")
	location, _ := v.approve(page)
	code := location.Query().Get("code")
	_, open := v.ask(verifier, url.Values{"client_id": {"reports"}, "redirect_uri": {reportsCallback}, "resource": {wikiURI}, "scope": {"wiki:read"}})
	if code == "" || len(offered(open)) != 1 {
		o.t.Fatalf("carol has the code %q and is offered %q", code, offered(open))
	}

	o.g.run(0, nil, "", "user", "disable", "carol", "--yes")
	if location, next := v.approve(open); location.Query().Has("code") || formApproval.MatchString(next) {
		o.t.Errorf("carol approves although she is disabled: %s", location)
	}
	answer := o.token("desk", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {deskCallback}})
	if answer.status != http.StatusBadRequest || answer.body["error"] != "invalid_grant" {
		o.t.Errorf("carol's code: %d %v", answer.status, answer.body)
	}
	answer = o.token("desk", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {held["refresh_token"].(string)}})
	if answer.status != http.StatusBadRequest || answer.body["error"] != "invalid_grant" {
		o.t.Errorf("carol's refresh token: %d %v", answer.status, answer.body)
	}
	if o.active("code-server", held["access_token"].(string)) {
		o.t.Error("carol's access token still counts")
	}
	_, page = newVisitor(o.t, o.g).ask(verifier, request)
	if _, page = newVisitor(o.t, o.g).signIn(page, "carol"); formApproval.MatchString(page) {
		o.t.Error("carol signs in although she is disabled")
	}
	// Nothing revives when she comes back.
	o.g.run(0, nil, "", "user", "enable", "carol")
	answer = o.token("desk", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {held["refresh_token"].(string)}})
	if answer.status != http.StatusBadRequest {
		o.t.Errorf("carol's refresh token revives: %d %v", answer.status, answer.body)
	}
}

// rotatedUnderLoad rotates the signing keys while tokens are made, refreshed and
// verified, by signature and by introspection, and no verification fails.
func (o *company) rotatedUnderLoad() {
	const (
		rotations = 3
		// perRotation is how many tokens are verified before the next rotation.
		perRotation = 20
	)
	keys := &publishedKeys{url: o.g.issuer + "/jwks"}
	var (
		verified atomic.Int64
		done     = make(chan struct{})
		load     sync.WaitGroup
	)
	work := func(token func() string) {
		load.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				access := token()
				if access == "" {
					return
				}
				if err := keys.verify(o.t.Context(), access, o.g.issuer); err != nil {
					o.t.Errorf("a token is not verified: %v", err)
				}
				verified.Add(1)
			}
		})
	}
	access := func(clientID string, form url.Values) map[string]any {
		answer := o.token(clientID, form)
		if answer.status != http.StatusOK {
			o.t.Errorf("a token for %s: %d %v", clientID, answer.status, answer.body)
			return map[string]any{"access_token": ""}
		}
		return answer.body
	}
	for range 2 {
		work(func() string {
			return access("nightly", url.Values{"grant_type": {"client_credentials"}, "resource": {wikiURI}})["access_token"].(string)
		})
	}
	work(func() string {
		body := access("desk", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {o.refreshToken}})
		token := body["access_token"].(string)
		if token == "" {
			return ""
		}
		o.refreshToken = body["refresh_token"].(string)
		if !o.active("code-server", token) {
			o.t.Error("a fresh token is not active")
		}
		return token
	})
	reach := func(n int64) {
		for verified.Load() < n && !o.t.Failed() {
			response, err := get(o.t.Context(), o.g.issuer+"/healthz") // any request: it passes the time
			if err != nil {
				o.t.Error(err)
				return
			}
			if err := response.Body.Close(); err != nil {
				o.t.Error(err)
			}
		}
	}
	for range rotations {
		reach(verified.Load() + perRotation)
		o.g.run(0, nil, "", "key", "rotate", "--now")
	}
	reach(verified.Load() + perRotation)
	close(done)
	load.Wait()
	if seen := keys.signed(); len(seen) != rotations+1 {
		o.t.Errorf("the tokens were signed by %d keys, want %d", len(seen), rotations+1)
	}
}

// audited verifies the chain of audit events, against a head that was kept elsewhere
// while more was done.
func (o *company) audited() {
	o.t.Helper()
	head := strings.TrimSpace(o.g.run(0, nil, "", "audit", "head"))
	o.g.run(0, nil, "", "group", "remove-member", "support", "carol")
	o.g.run(0, nil, "", "audit", "verify", "--head", head)
	actions := o.events()
	for _, action := range []string{
		"client.created", "resource.created", "group.created", "group.member_added", "group.member_removed", "policy.created", "policy.deleted", "grant.approved", "user.updated", "signing_key.activated",
	} {
		if !slices.Contains(actions, action) {
			o.t.Errorf("no event is a %s", action)
		}
	}
}

// publishedKeys verifies tokens as an MCP server does: with a copy of the JWKS that it
// renews when it meets a key that it does not know.
type publishedKeys struct {
	url  string
	mu   sync.Mutex
	set  jose.JSONWebKeySet
	used []string
}

func (k *publishedKeys) verify(ctx context.Context, token, issuer string) error {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	kid := parsed.Headers[0].KeyID
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.set.Key(kid)) == 0 {
		response, err := get(ctx, k.url)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if err := json.NewDecoder(response.Body).Decode(&k.set); err != nil {
			return err
		}
	}
	known := k.set.Key(kid)
	if len(known) != 1 {
		return fmt.Errorf("%d keys are published as %s", len(known), kid)
	}
	var claims jwt.Claims
	if err := parsed.Claims(known[0].Key, &claims); err != nil {
		return err
	}
	if !slices.Contains(k.used, kid) {
		k.used = append(k.used, kid)
	}
	if claims.Issuer != issuer {
		return fmt.Errorf("the issuer is %s", claims.Issuer)
	}
	return nil
}

// signed are the keys that have signed what was verified.
func (k *publishedKeys) signed() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.used
}
