package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"grantd/internal/pgtest"
)

const racers = 40

// TestTwoProcessesShareOnePostgres runs two grantd processes as replicas. Forty
// redemptions of one code race over both, then forty refreshes of one token.
func TestTwoProcessesShareOnePostgres(t *testing.T) {
	rootKey := filepath.Join(t.TempDir(), "root-key")
	if err := os.WriteFile(rootKey, []byte(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := []string{"--database-url", pgtest.URL(t), "--root-key-file", rootKey, "--migrate"}
	first := startGrantd(t, shared...)
	second := startGrantd(t, append(shared, "--issuer", first.issuer)...)
	tokenEndpoints := []string{first.issuer + "/token", second.address + "/token"}

	first.create("users", map[string]any{"username": "alice", "email": "alice@example.com", "name": "Alice", "password": userPassword})
	first.create("resources", map[string]any{"uri": "https://mcp.example.com/mcp", "name": "Notes", "scopes": []map[string]any{{"name": "notes:read", "description": "Read notes"}}})
	clientID := first.create("clients", map[string]any{
		"client_name": "Race", "redirect_uris": []string{"http://127.0.0.1/callback"}, "token_endpoint_auth_method": "none",
	})["client_id"].(string)
	verifier := rand.Text() + rand.Text()
	code := approvedCode(t, first, clientID, verifier)

	var won map[string]any
	for _, answer := range race(t, tokenEndpoints, url.Values{
		"grant_type": {"authorization_code"}, "client_id": {clientID}, "code": {code}, "code_verifier": {verifier},
	}) {
		switch {
		case answer.status == http.StatusOK && won == nil:
			won = answer.body
		case answer.status == http.StatusOK:
			t.Error("the code was redeemed twice")
		case answer.status != http.StatusBadRequest || answer.body["error"] != "invalid_grant":
			t.Errorf("a loser was told %d %v", answer.status, answer.body)
		}
	}
	if won == nil {
		t.Fatal("nobody redeemed the code")
	}

	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {won["refresh_token"].(string)}}
	successors := map[any]bool{}
	for _, answer := range race(t, tokenEndpoints, refresh) {
		if answer.status != http.StatusOK {
			t.Errorf("a refresh was told %d %v", answer.status, answer.body)
			continue
		}
		successors[answer.body["refresh_token"]] = true
	}
	if len(successors) != 1 {
		t.Fatalf("%d successors of one refresh token, want 1", len(successors))
	}
	for successor := range successors {
		refresh.Set("refresh_token", successor.(string))
		if answer := post(t, tokenEndpoints[1], refresh); answer.status != http.StatusOK {
			t.Errorf("the successor was told %d %v", answer.status, answer.body)
		}
	}
}

// tokenAnswer is a token endpoint's response.
type tokenAnswer struct {
	status int
	body   map[string]any
}

// race posts one form at once from many, to the endpoints in turn.
func race(t *testing.T, endpoints []string, form url.Values) []tokenAnswer {
	t.Helper()
	answers := make([]tokenAnswer, racers)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range answers {
		running.Go(func() {
			<-start
			answers[i] = post(t, endpoints[i%len(endpoints)], form)
		})
	}
	close(start)
	running.Wait()
	return answers
}

func post(t *testing.T, endpoint string, form url.Values) tokenAnswer {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Error(err)
		return tokenAnswer{}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return tokenAnswer{}
	}
	defer func() { _ = response.Body.Close() }()
	answer := tokenAnswer{status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&answer.body); err != nil {
		t.Errorf("the answer is no JSON: %v", err)
	}
	return answer
}

var (
	formAction   = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	formApproval = regexp.MustCompile(`name="approval" value="([^"]+)"`)
	formScopes   = regexp.MustCompile(`name="scope" value="([^"]+)"`)
)

// approvedCode goes through the real pages without a browser: sign-in, consent,
// redirect.
func approvedCode(t *testing.T, g *grantd, clientID, verifier string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), g.issuer) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	send := func(method, target string, form url.Values) (location, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		page, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.Header.Get("Location"), string(page)
	}
	found := func(pattern *regexp.Regexp, page string) string {
		match := pattern.FindStringSubmatch(page)
		if match == nil {
			t.Fatalf("no %s on the page:\n%s", pattern, page)
		}
		return html.UnescapeString(match[1])
	}
	challenge := sha256.Sum256([]byte(verifier))
	_, page := send(http.MethodGet, g.issuer+"/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {"http://127.0.0.1:1/callback"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	_, page = send(http.MethodPost, g.issuer+found(formAction, page), url.Values{"username": {"alice"}, "password": {userPassword}})
	location, _ := send(http.MethodPost, g.issuer+found(formAction, page), url.Values{
		"decision": {"approve"}, "approval": {found(formApproval, page)}, "scope": {found(formScopes, page)},
	})
	back, err := url.Parse(location)
	if err != nil || back.Query().Get("code") == "" {
		t.Fatalf("the approval led to %q", location)
	}
	return back.Query().Get("code")
}
