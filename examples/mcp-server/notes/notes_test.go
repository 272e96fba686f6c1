package notes_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"grantd/examples/mcp-server/notes"
)

const (
	listNotes = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_notes","arguments":{}}}`
	addNote   = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note","arguments":{"title":"Milk","text":"two bottles"}}}`
)

// clock is the time of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type fixture struct {
	*fakeIssuer
	*clock
	resource string
	server   *httptest.Server
}

// newFixture starts a fake issuer and the Notes server that trusts it. The
// clock starts at the present because the SDK's middleware has its own.
func newFixture(t *testing.T, introspects bool) *fixture {
	t.Helper()
	f := &fixture{fakeIssuer: newFakeIssuer(t), clock: &clock{now: time.Now()}}
	var handler http.Handler
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(f.server.Close)
	f.resource = f.server.URL + "/mcp"
	config := notes.Config{ResourceURI: f.resource, Issuer: f.URL, Now: f.Now}
	if introspects {
		config.ClientID, config.ClientSecret = introspectionClient, introspectionSecret
	}
	var err error
	if handler, err = notes.New(config); err != nil {
		t.Fatal(err)
	}
	return f
}

// good is a token this server takes, after the changes perhaps not.
func (f *fixture) good(changes ...func(*tokenSpec)) string {
	return f.token(f.resource, f.Now(), changes...)
}

type answer struct {
	status    int
	challenge map[string]string
	body      string
}

func (f *fixture) post(t *testing.T, token, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.resource, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: response.StatusCode, body: string(raw)}
	challenges, err := oauthex.ParseWWWAuthenticate(response.Header.Values("WWW-Authenticate"))
	if err != nil || len(challenges) > 1 {
		t.Fatalf("challenges %v, error %v", challenges, err)
	}
	if len(challenges) == 1 {
		a.challenge = challenges[0].Params
	}
	return a
}

func TestNoTokenIsChallenged(t *testing.T) {
	f := newFixture(t, false)
	got := f.post(t, "", listNotes)
	want := map[string]string{
		"resource_metadata": f.server.URL + "/.well-known/oauth-protected-resource/mcp",
		"scope":             "notes:read",
	}
	if got.status != http.StatusUnauthorized {
		t.Errorf("status %d", got.status)
	}
	if diff := cmp.Diff(want, got.challenge); diff != "" {
		t.Errorf("challenge (-want +got):\n%s", diff)
	}
}

func TestProtectedResourceMetadata(t *testing.T) {
	f := newFixture(t, false)
	for _, path := range []string{"/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"} {
		got, err := oauthex.GetProtectedResourceMetadata(t.Context(), f.server.URL+path, f.resource, http.DefaultClient)
		if err != nil {
			t.Fatal(err)
		}
		want := &oauthex.ProtectedResourceMetadata{
			Resource: f.resource, AuthorizationServers: []string{f.URL}, ResourceName: "Notes",
			ScopesSupported: []string{"notes:read", "notes:write"}, BearerMethodsSupported: []string{"header"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// TestTokens are the rows MD-05, MD-06 and MD-10: which tokens are taken.
func TestTokens(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, false)
	f.set(func(i *fakeIssuer) {
		i.published.Keys = append(i.published.Keys, jose.JSONWebKey{
			Key: rsaKey.Public(), KeyID: "rsa", Algorithm: string(jose.RS256), Use: "sig",
		})
	})
	now := f.Now()
	der, err := x509.MarshalPKIXPublicKey(f.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	parts := strings.Split(f.good(), ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"key-1"}`)) + "." + parts[1] + "."

	tests := []struct {
		name  string
		token string
		want  int
	}{
		{"good", f.good(), http.StatusOK},
		{"typ as a full media type", f.good(header("typ", "application/AT+JWT")), http.StatusOK},
		{"just expired, within the leeway", f.good(claim("exp", now.Add(-30*time.Second).Unix())), http.StatusOK},
		{"audience in an array of one", f.good(claim("aud", []string{f.resource})), http.StatusOK},
		{"RS256", f.good(header("kid", "rsa"), signedWith(jose.RS256, rsaKey)), http.StatusOK},
		{"PS256 with a key for RS256", f.good(header("kid", "rsa"), signedWith(jose.PS256, rsaKey)), http.StatusUnauthorized},
		{"typ JWT", f.good(header("typ", "JWT")), http.StatusUnauthorized},
		{"no typ", f.good(header("typ", nil)), http.StatusUnauthorized},
		{"expired", f.good(claim("exp", now.Add(-61*time.Second).Unix())), http.StatusUnauthorized},
		{"no exp", f.good(claim("exp", nil)), http.StatusUnauthorized},
		{"issued in the future", f.good(claim("iat", now.Add(2*time.Minute).Unix())), http.StatusUnauthorized},
		{"no iat", f.good(claim("iat", nil)), http.StatusUnauthorized},
		{"not yet valid", f.good(claim("nbf", now.Add(2*time.Minute).Unix())), http.StatusUnauthorized},
		{"another resource's", f.good(claim("aud", "https://other.example/mcp")), http.StatusUnauthorized},
		{"two audiences", f.good(claim("aud", []string{f.resource, "https://other.example/mcp"})), http.StatusUnauthorized},
		{"audience with a slash more", f.good(claim("aud", f.resource+"/")), http.StatusUnauthorized},
		{"no audience", f.good(claim("aud", nil)), http.StatusUnauthorized},
		{"another issuer's", f.good(claim("iss", f.URL+"/tenant")), http.StatusUnauthorized},
		{"no subject", f.good(claim("sub", nil)), http.StatusUnauthorized},
		{"no client_id", f.good(claim("client_id", nil)), http.StatusUnauthorized},
		{"no jti", f.good(claim("jti", nil)), http.StatusUnauthorized},
		{"unknown kid", f.good(header("kid", "key-9")), http.StatusUnauthorized},
		{"no kid", f.good(header("kid", nil)), http.StatusUnauthorized},
		{"signed by somebody else", f.good(signedWith(jose.ES256, other)), http.StatusUnauthorized},
		{"alg none", unsigned, http.StatusUnauthorized},
		{"HS256 with the public key", f.good(signedWith(jose.HS256, publicPEM)), http.StatusUnauthorized},
		{"HS256 with the public key's DER", f.good(signedWith(jose.HS256, der)), http.StatusUnauthorized},
		{"payload changed", parts[0] + "." + parts[1] + "x." + parts[2], http.StatusUnauthorized},
		{"not a JWT", "rt_0123456789", http.StatusUnauthorized},
		{"enormous", f.good(claim("padding", strings.Repeat("a", 10_000))), http.StatusUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := f.post(t, test.token, listNotes)
			if got.status != test.want {
				t.Fatalf("status %d, want %d: %s", got.status, test.want, got.body)
			}
			if got.status == http.StatusUnauthorized {
				want := map[string]string{
					"error":             "invalid_token",
					"resource_metadata": f.server.URL + "/.well-known/oauth-protected-resource/mcp",
					"scope":             "notes:read",
				}
				if diff := cmp.Diff(want, got.challenge); diff != "" {
					t.Errorf("challenge (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestStepUp(t *testing.T) {
	f := newFixture(t, false)
	escaped := strings.Replace(addNote, "add_note", `add\u005fnote`, 1)
	tests := []struct {
		name, scope, body string
		want              int
		wantScope         string
	}{
		{"read with read", "notes:read", listNotes, http.StatusOK, ""},
		{"write with read", "notes:read", addNote, http.StatusForbidden, "notes:read notes:write"},
		{"write with read, name escaped", "notes:read", escaped, http.StatusForbidden, "notes:read notes:write"},
		{"write in a batch", "notes:read", "[" + listNotes + "," + addNote + "]", http.StatusForbidden, "notes:read notes:write"},
		{"read with write", "notes:write", listNotes, http.StatusForbidden, "notes:write notes:read"},
		{"anything with nothing", "", listNotes, http.StatusForbidden, "notes:read"},
		{"write with both", "notes:read notes:write", addNote, http.StatusOK, ""},
		{"list of tools with nothing", "", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, http.StatusOK, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := f.post(t, f.good(claim("scope", test.scope)), test.body)
			if got.status != test.want {
				t.Fatalf("status %d, want %d: %s", got.status, test.want, got.body)
			}
			if test.want == http.StatusForbidden {
				want := map[string]string{
					"error":             "insufficient_scope",
					"resource_metadata": f.server.URL + "/.well-known/oauth-protected-resource/mcp",
					"scope":             test.wantScope,
				}
				if diff := cmp.Diff(want, got.challenge); diff != "" {
					t.Errorf("challenge (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestParsersCannotBePlayedOff sends messages that JSON parsers read in
// different ways. Whatever each makes of them, no note may be written.
func TestParsersCannotBePlayedOff(t *testing.T) {
	f := newFixture(t, false)
	const arguments = `"arguments":{"title":"Milk","text":"x"}`
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note",` + arguments + `,"Name":"list_notes"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note",` + arguments + `,"name":"list_notes"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_notes",` + arguments + `,"name":"add_note"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"tools/list","params":{"name":"add_note",` + arguments + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note",` + arguments + `},"Params":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note",` + arguments + `},"PARAMS":{"name":7}}`,
	} {
		f.post(t, f.good(), body)
	}
	got := f.post(t, f.good(), listNotes)
	if got.status != http.StatusOK || strings.Contains(got.body, "Milk") || !strings.Contains(got.body, "Welcome") {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

func TestRevocationIsSeenAtOnce(t *testing.T) {
	f := newFixture(t, true)
	token := f.good()
	if got := f.post(t, token, listNotes); got.status != http.StatusOK {
		t.Fatalf("before: status %d: %s", got.status, got.body)
	}
	f.set(func(i *fakeIssuer) { i.revoked[token] = true })
	got := f.post(t, token, listNotes)
	if got.status != http.StatusUnauthorized || got.challenge["error"] != "invalid_token" {
		t.Errorf("after: status %d, challenge %v", got.status, got.challenge)
	}
}

func TestOutageIsNeverABadToken(t *testing.T) {
	tests := []struct {
		name  string
		fault func(f *fixture)
	}{
		{"introspection down", func(f *fixture) { f.set(func(i *fakeIssuer) { i.down = true }) }},
		{"introspection silent", func(f *fixture) { f.set(func(i *fakeIssuer) { i.silent = true }) }},
		{"metadata of another issuer", func(f *fixture) { f.set(func(i *fakeIssuer) { i.names = "https://other.example" }) }},
		{"issuer gone", func(f *fixture) { f.Close() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, true)
			token := f.good()
			test.fault(f)
			got := f.post(t, token, listNotes)
			if got.status != http.StatusServiceUnavailable || got.challenge != nil {
				t.Errorf("status %d, challenge %v", got.status, got.challenge)
			}
		})
	}
}

func TestKeyRotation(t *testing.T) {
	f := newFixture(t, false)
	if got := f.post(t, f.good(), listNotes); got.status != http.StatusOK {
		t.Fatalf("first key: status %d", got.status)
	}
	old := f.good()
	f.rotate("key-2")
	f.advance(11 * time.Second)
	if got := f.post(t, f.good(), listNotes); got.status != http.StatusOK {
		t.Errorf("new key: status %d: %s", got.status, got.body)
	}
	if got := f.post(t, old, listNotes); got.status != http.StatusOK {
		t.Errorf("old key: status %d: %s", got.status, got.body)
	}
}

func TestWithdrawnKeyIsForgotten(t *testing.T) {
	f := newFixture(t, false)
	compromised := f.good()
	if got := f.post(t, compromised, listNotes); got.status != http.StatusOK {
		t.Fatalf("status %d", got.status)
	}
	f.set(func(i *fakeIssuer) { i.published.Keys = nil })
	f.advance(5*time.Minute + time.Second)
	if got := f.post(t, compromised, listNotes); got.status != http.StatusUnauthorized {
		t.Errorf("status %d", got.status)
	}
}

func TestMadeUpKeyIDsCauseNoFlood(t *testing.T) {
	f := newFixture(t, false)
	for range 20 {
		f.post(t, f.good(header("kid", "made-up")), listNotes)
	}
	if got := f.reads(); got != 1 {
		t.Errorf("%d reads of the keys", got)
	}
}

// While the issuer hangs, made-up key ids must not keep tokens waiting whose key
// is known.
func TestMadeUpKeyIDsKeepNobodyWaiting(t *testing.T) {
	f := newFixture(t, false)
	good := f.good()
	if got := f.post(t, good, listNotes); got.status != http.StatusOK {
		t.Fatalf("status %d", got.status)
	}
	hang := make(chan struct{})
	f.set(func(i *fakeIssuer) { i.hang = hang })
	f.advance(15 * time.Second)
	forged := f.good(header("kid", "made-up"))
	var waiting sync.WaitGroup
	for range 4 {
		waiting.Go(func() { f.post(t, forged, listNotes) })
	}
	for f.reads() < 2 { // until the keys are being asked for again
		runtime.Gosched()
	}
	// It would hang with the forged ones, which are answered after this.
	if got := f.post(t, good, listNotes); got.status != http.StatusOK {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	close(hang)
	waiting.Wait()
	if got := f.reads(); got != 2 {
		t.Errorf("%d reads of the keys, want 2", got)
	}
}

// TestNotebook drives the tools with the SDK's own client, as two people.
func TestNotebook(t *testing.T) {
	f := newFixture(t, true)
	alice := f.connect(t, f.good(claim("scope", "notes:read notes:write")))
	bob := f.connect(t, f.good(claim("sub", "u_bob")))

	added := call(t, alice, "add_note", map[string]any{"title": "Milk", "text": "two bottles"})
	read := call(t, alice, "read_note", map[string]any{"id": added["id"]})
	if read["title"] != "Milk" || read["text"] != "two bottles" {
		t.Errorf("read %v", read)
	}
	titles := func(list map[string]any) string {
		raw, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if got, want := titles(call(t, alice, "list_notes", nil)), `{"notes":[{"id":1,"title":"Welcome"},{"id":2,"title":"Milk"}]}`; got != want {
		t.Errorf("first notebook %s, want %s", got, want)
	}
	if got, want := titles(call(t, bob, "list_notes", nil)), `{"notes":[{"id":1,"title":"Welcome"}]}`; got != want {
		t.Errorf("second notebook %s, want %s", got, want)
	}
}

func TestNewRefusesWhatIsUnsafe(t *testing.T) {
	good := notes.Config{ResourceURI: "https://notes.example/mcp", Issuer: "https://auth.example"}
	tests := []struct {
		name   string
		change func(*notes.Config)
	}{
		{"resource over http", func(c *notes.Config) { c.ResourceURI = "http://notes.example/mcp" }},
		{"resource with fragment", func(c *notes.Config) { c.ResourceURI += "#x" }},
		{"resource relative", func(c *notes.Config) { c.ResourceURI = "/mcp" }},
		{"issuer over http", func(c *notes.Config) { c.Issuer = "http://auth.example" }},
		{"id without secret", func(c *notes.Config) { c.ClientID = "c_1" }},
	}
	if _, err := notes.New(good); err != nil {
		t.Fatalf("good: %v", err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := good
			test.change(&config)
			if _, err := notes.New(config); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func (f *fixture) connect(t *testing.T, token string) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint:   f.resource,
		HTTPClient: &http.Client{Transport: bearer(token)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func call(t *testing.T, session *mcp.ClientSession, tool string, arguments map[string]any) map[string]any {
	t.Helper()
	if arguments == nil {
		arguments = map[string]any{}
	}
	result, err := session.CallTool(context.WithoutCancel(t.Context()), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	structured, ok := result.StructuredContent.(map[string]any)
	if result.IsError || !ok {
		t.Fatalf("%s: %+v", tool, result)
	}
	return structured
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}
