package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
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
