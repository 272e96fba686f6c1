package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// openIDProvider is a running oidc-provider (provider/provider.mjs).
type openIDProvider struct {
	t      *testing.T
	issuer string
	input  io.Writer
	output *bufio.Scanner
	stop   func() // ends it, if nothing has
}

// startProvider runs the provider until the test ends or stops it.
func startProvider(t *testing.T) *openIDProvider {
	t.Helper()
	// Not the test's context: it ends by itself when its input does.
	command := exec.CommandContext(context.Background(), "node", filepath.Join(need(t, provider), "provider.mjs"))
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	messages := new(lockedBuffer)
	command.Stderr = messages
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &openIDProvider{t: t, input: stdin, output: bufio.NewScanner(stdout)}
	p.stop = sync.OnceFunc(func() {
		_ = stdin.Close()
		late := time.AfterFunc(10*time.Second, func() { _ = command.Process.Kill() })
		defer late.Stop()
		if err := command.Wait(); err != nil {
			t.Errorf("the provider ended with %v", err)
		}
	})
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the provider printed:\n%s", messages.String())
		}
	})
	p.issuer = p.next()
	return p
}

// next returns the issuer, which is in each line that the provider prints.
func (p *openIDProvider) next() (issuer string) {
	p.t.Helper()
	var line struct {
		Issuer string `json:"issuer"`
	}
	if !p.output.Scan() {
		p.t.Fatalf("the provider says nothing more: %v", p.output.Err())
	}
	if err := json.Unmarshal(p.output.Bytes(), &line); err != nil {
		p.t.Fatal(err)
	}
	return line.Issuer
}

// register tells the provider who grantd is.
func (p *openIDProvider) register(clientID, secret, redirectURI string) {
	p.t.Helper()
	client := map[string]string{"client_id": clientID, "client_secret": secret, "redirect_uri": redirectURI}
	if err := json.NewEncoder(p.input).Encode(client); err != nil {
		p.t.Fatal(err)
	}
	p.next()
}

// signInAt fills in the provider's own pages, with any password, and allows grantd there.
func signInAt(username string) chromedp.Action[chromedp.Void] {
	return steps(
		chromedp.WaitVisible(chromedp.CSS(`input[name="login"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="login"]`), username),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), "anything"),
		chromedp.Click(chromedp.CSS(`button.login-submit`)),
		chromedp.WaitVisible(chromedp.CSS(`input[name="prompt"][value="consent"] + button, form button[autofocus]`)),
		chromedp.Click(chromedp.CSS(`button.login-submit`)),
	)
}

// TestSignInWithARealProvider has a person sign in with a provider that is not ours,
// in Chromium: from the button to grantd's consent, the tokens, and the account page.
// Then the provider is gone, and the local account still signs in.
func TestSignInWithARealProvider(t *testing.T) {
	idp := startProvider(t)
	browser := newBrowser(t)
	g := startGrantd(t, "--outbound-allow", strings.TrimPrefix(idp.issuer, "http://"))
	const resource = "https://mcp.example.com/mcp"
	g.create("users", map[string]any{"username": "rescue", "name": "Rescue", "password": userPassword})
	g.create("resources", map[string]any{"uri": resource, "name": "Notes", "scopes": []map[string]any{{"name": "notes:read", "description": "Read notes"}}})
	callback := startCallback(t)
	client := g.create("clients", map[string]any{"client_name": "Desk", "redirect_uris": []string{callback.url}, "token_endpoint_auth_method": "none"})
	made := g.create("providers", map[string]any{
		"name": "Example", "label": "Example Inc.", "issuer": idp.issuer, "client_id": "grantd", "client_secret": "a secret of the test's provider",
		"scopes": []string{"profile", "email", "groups"},
	})
	idp.register("grantd", "a secret of the test's provider", made["redirect_uri"].(string))
	if report := g.run(0, nil, "", "provider", "test", "Example"); strings.Contains(report, "WRONG") {
		t.Errorf("grantd provider test:\n%s", report)
	}

	verifier := strings.Repeat("v", 43)
	challenge := sha256.Sum256([]byte(verifier))
	authorize := g.issuer + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {callback.url}, "resource": {resource},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	var page string
	err := chromedp.Do(browser, steps(
		chromedp.Navigate(authorize),
		chromedp.WaitVisible(chromedp.CSS(`.providers a`)),
		chromedp.Click(chromedp.CSS(`.providers a`)),
		signInAt("bea"),
		chromedp.WaitVisible(chromedp.CSS(`button[name="decision"][value="approve"]`)),
	))
	if err != nil {
		t.Fatal(err)
	}
	if page, err = chromedp.Run(browser, chromedp.Evaluate[string](`document.body.innerText`)); err != nil || !strings.Contains(page, "Bea Okafor") {
		t.Fatalf("the consent page is not Bea's: %v\n%s", err, page)
	}
	if err := chromedp.Do(browser, press("approve")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := callback.wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tokens := post(t, g.issuer+"/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {result.Code}, "code_verifier": {verifier},
		"client_id": {client["client_id"].(string)}, "redirect_uri": {callback.url},
	})
	if tokens.body["access_token"] == nil {
		t.Fatalf("no token: %d %v", tokens.status, tokens.body)
	}
	bea := beaOf(t, g)
	if sub := claimsOf(t, tokens.body["access_token"].(string)).Subject; sub != bea["id"] {
		t.Errorf("the token is %q's, Bea is %v", sub, bea["id"])
	}
	if groups, _ := json.Marshal(bea["groups"]); string(groups) != `["staff"]` || bea["email"] != "bea@example.com" {
		t.Errorf("Bea is %v", bea)
	}

	err = chromedp.Do(browser, steps(chromedp.Navigate(g.issuer+"/account"), chromedp.WaitVisible(chromedp.CSS(`#who`))))
	if err != nil {
		t.Fatal(err)
	}
	if page, err = chromedp.Run(browser, chromedp.Evaluate[string](`document.body.innerText`)); err != nil || !strings.Contains(page, "You sign in with Example Inc.") {
		t.Errorf("the account page does not name the provider: %v\n%s", err, page)
	}

	idp.stop()
	nobody := newVisitor(t, g)
	_, page = nobody.send(http.MethodGet, g.issuer+"/login/local", nil)
	if _, page = nobody.signIn(page, "rescue"); !strings.Contains(page, "Rescue") {
		t.Errorf("the local account does not sign in without the provider:\n%s", page)
	}
}

// beaOf returns the one user that the provider made.
func beaOf(t *testing.T, g *grantd) map[string]any {
	t.Helper()
	var user map[string]any
	if err := json.Unmarshal([]byte(g.run(0, nil, "", "user", "show", "bea@example.com", "--json")), &user); err != nil {
		t.Fatal(err)
	}
	return user
}
