package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"grantd/examples/mcp-server/notes"
)

// TestOAuth2Module has golang.org/x/oauth2, which knows nothing of MCP, get
// tokens as it is used by default: it finds out by trial how to authenticate, and
// names no resource when it refreshes.
func TestOAuth2Module(t *testing.T) {
	browser := newBrowser(t)
	// The browser lives as long as the context of its first action.
	if err := chromedp.Do(browser, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	at := startPlace(t)
	alice := &person{browser: browser, username: at.username, password: at.password}
	for _, kind := range []struct {
		name, method string
		// exchange is what is sent until the code is redeemed.
		exchange []string
	}{
		// It tries an empty password first. The code must survive that.
		{"public", "none", []string{"authorization_code client_secret_basic 401", "authorization_code none 200"}},
		{"secret by Basic", "client_secret_basic", []string{"authorization_code client_secret_basic 200"}},
		// It may use the other method than the registered one.
		{"secret in the body", "client_secret_post", []string{"authorization_code client_secret_basic 200"}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			wire := new(wire)
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: wire}), time.Minute)
			defer cancel()
			callback := startCallback(t)
			registered := at.admin.create("clients", map[string]any{
				"client_name": t.Name(), "redirect_uris": []string{callback.url}, "token_endpoint_auth_method": kind.method,
			})
			secret, _ := registered["client_secret"].(string)
			config := &oauth2.Config{
				ClientID: registered["client_id"].(string), ClientSecret: secret, RedirectURL: callback.url, Scopes: []string{notes.ScopeRead},
				Endpoint: oauth2.Endpoint{AuthURL: at.issuer + "/authorize", TokenURL: at.issuer + "/token"},
			}
			verifier := oauth2.GenerateVerifier()
			alice.decide(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("resource", at.endpoint)), "approve")
			answer, err := callback.wait(ctx)
			if err != nil || answer.State != "s" || answer.Iss != at.issuer {
				t.Fatalf("the answer is %+v, error %v", answer, err)
			}
			token, err := config.Exchange(ctx, answer.Code, oauth2.VerifierOption(verifier))
			wire.expect(t, kind.exchange...)
			if err != nil {
				t.Fatal(err)
			}
			useNotes(ctx, t, at, oauth2.StaticTokenSource(token))

			// The way that worked is remembered, and the token is for the same server.
			refreshed, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
			wire.expect(t, "refresh_token "+map[bool]string{true: "none", false: "client_secret_basic"}[secret == ""]+" 200")
			if err != nil {
				t.Fatal(err)
			}
			if audience := claimsOf(t, refreshed.AccessToken).Audience; !slices.Equal(audience, jwt.Audience{at.endpoint}) {
				t.Errorf("the refreshed token is for %v, want %s", audience, at.endpoint)
			}
			if refreshed.RefreshToken == token.RefreshToken {
				t.Error("the refresh token did not rotate")
			}
			useNotes(ctx, t, at, oauth2.StaticTokenSource(refreshed))
		})
	}

	t.Run("client credentials", func(t *testing.T) {
		wire := new(wire)
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: wire}), time.Minute)
		defer cancel()
		registered := at.admin.create("clients", map[string]any{
			"client_name": t.Name(), "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_basic",
		})
		config := &clientcredentials.Config{
			ClientID: registered["client_id"].(string), ClientSecret: registered["client_secret"].(string), TokenURL: at.issuer + "/token",
		}
		// Neither resource nor scope: there is only one MCP server it could mean.
		useNotes(ctx, t, at, config.TokenSource(ctx))
		wire.expect(t, "client_credentials client_secret_basic 200")
	})
}

// useNotes calls a tool with the source's tokens.
func useNotes(ctx context.Context, t *testing.T, at *place, source oauth2.TokenSource) {
	t.Helper()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: at.endpoint, HTTPClient: oauth2.NewClient(context.WithValue(ctx, oauth2.HTTPClient, http.DefaultClient), source),
	}, nil)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = session.Close() }()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: notes.ToolList, Arguments: map[string]any{}})
	if err != nil || result.IsError {
		t.Fatalf("%s: %v %+v", notes.ToolList, err, result)
	}
}

// wire carries requests and remembers the forms among them.
type wire struct {
	mu   sync.Mutex
	sent []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var form url.Values
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		defer func() { _ = body.Close() }()
		copied := &http.Request{Method: r.Method, Header: r.Header, Body: body}
		if err := copied.ParseForm(); err != nil {
			return nil, err
		}
		form = copied.PostForm
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && form != nil {
		sent := sentForm{Authorization: r.Header.Get("Authorization"), Form: map[string]string{"client_secret": form.Get("client_secret")}}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, fmt.Sprint(form.Get("grant_type"), " ", sent.authentication(), " ", response.StatusCode))
	}
	return response, err
}

// expect compares what was sent since the last time, each request as "grant_type
// authentication status".
func (w *wire) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := w.take(); !slices.Equal(got, want) {
		t.Fatalf("the token requests are %q, want %q", got, want)
	}
}

// take is what was sent since the last time.
func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}
