package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"grantd/examples/mcp-server/notes"
	"grantd/internal/freeport"
)

// TestGoSDKClientThroughChromium has the official Go SDK's client call a tool of a
// protected MCP server, for each way of becoming a client: 401, discovery,
// authorization in Chromium with a sign-in and an approval, token, tool call, a
// refresh, and the step-up to a second scope.
func TestGoSDKClientThroughChromium(t *testing.T) {
	documents := startDocumentHost(t)
	at := startPlace(t, documents.flags()...)
	at.admin.openRegistration()
	for _, introduction := range []struct {
		name string
		as   func(c *auth.AuthorizationCodeHandlerConfig)
	}{
		{"registers itself", func(c *auth.AuthorizationCodeHandlerConfig) {
			c.DynamicClientRegistrationConfig = &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName: "Go SDK", RedirectURIs: []string{c.RedirectURL}, TokenEndpointAuthMethod: "none", GrantTypes: []string{"authorization_code", "refresh_token"},
			}}
		}},
		{"registers itself, with a secret", func(c *auth.AuthorizationCodeHandlerConfig) {
			c.DynamicClientRegistrationConfig = &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
				ClientName: "Go SDK with a secret", RedirectURIs: []string{c.RedirectURL}, GrantTypes: []string{"authorization_code", "refresh_token"},
			}}
		}},
		{"metadata document", func(c *auth.AuthorizationCodeHandlerConfig) {
			c.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: documents.publish(map[string]any{
				"client_name": "Go SDK", "redirect_uris": []string{c.RedirectURL}, "token_endpoint_auth_method": "none",
			})}
		}},
		{"public", func(c *auth.AuthorizationCodeHandlerConfig) {
			c.PreregisteredClient = at.preregister(c.RedirectURL, "none")
		}},
		{"secret", func(c *auth.AuthorizationCodeHandlerConfig) {
			c.PreregisteredClient = at.preregister(c.RedirectURL, "client_secret_basic")
		}},
	} {
		t.Run(introduction.name, func(t *testing.T) { goSDKUsesTheServer(t, at, introduction.as) })
	}
}

// preregister has an administrator register a client.
func (p *place) preregister(redirectURI, method string) *oauthex.ClientCredentials {
	registered := p.admin.create("clients", map[string]any{"client_name": "Go SDK", "redirect_uris": []string{redirectURI}, "token_endpoint_auth_method": method})
	credentials := &oauthex.ClientCredentials{ClientID: registered["client_id"].(string), Issuer: p.issuer}
	if secret, ok := registered["client_secret"].(string); ok {
		credentials.ClientSecretAuth = &oauthex.ClientSecretAuth{ClientSecret: secret}
	}
	return credentials
}

func goSDKUsesTheServer(t *testing.T, at *place, introduce func(*auth.AuthorizationCodeHandlerConfig)) {
	browser := newBrowser(t)
	// The browser lives as long as the context of its first action.
	if err := chromedp.Do(browser, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	alice, callback, wire := &person{browser: browser, username: at.username, password: at.password}, startCallback(t), new(wire)
	approvals := 0
	config := &auth.AuthorizationCodeHandlerConfig{
		RedirectURL: callback.url, Client: &http.Client{Transport: wire},
		AuthorizationCodeFetcher: func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			approvals++
			alice.decide(t, args.URL, "approve")
			return callback.wait(ctx)
		},
		// Each token is taken for an old one, so that the SDK refreshes at once.
		NewTokenSource: func(ctx context.Context, c *oauth2.Config, token *oauth2.Token) (oauth2.TokenSource, error) {
			token.Expiry = time.Now()
			return c.TokenSource(ctx, token), nil
		},
	}
	introduce(config)
	handler, err := auth.NewAuthorizationCodeHandler(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).
		Connect(ctx, &mcp.StreamableClientTransport{Endpoint: at.endpoint, OAuthHandler: handler}, nil)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = session.Close() }()
	call := func(tool string, arguments map[string]any) {
		t.Helper()
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
		if err != nil || result.IsError {
			t.Fatalf("%s: %v %+v", tool, err, result)
		}
	}
	call(notes.ToolList, map[string]any{})
	if approvals != 1 {
		t.Fatalf("%d approvals for the first tool, want 1", approvals)
	}
	refreshed := func(sent string) bool {
		return strings.HasPrefix(sent, "refresh_token ") && strings.HasSuffix(sent, " 200")
	}
	if sent := wire.take(); !slices.ContainsFunc(sent, refreshed) {
		t.Errorf("no token was refreshed: %q", sent)
	}
	call(notes.ToolAdd, map[string]any{"title": "From the SDK", "text": "Written after a step-up."})
	if approvals != 2 {
		t.Errorf("%d approvals after the step-up, want 2", approvals)
	}
}

// TestGoSDKClientCredentials has the Go SDK act for itself. It sends no resource,
// and knows no other proof than a secret.
func TestGoSDKClientCredentials(t *testing.T) {
	at := startPlace(t)
	registered := at.admin.create("clients", map[string]any{
		"client_name": "Go SDK, a machine", "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_basic",
	})
	handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{Credentials: &oauthex.ClientCredentials{
		ClientID: registered["client_id"].(string), Issuer: at.issuer,
		ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: registered["client_secret"].(string)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).
		Connect(ctx, &mcp.StreamableClientTransport{Endpoint: at.endpoint, OAuthHandler: handler}, nil)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = session.Close() }()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: notes.ToolList, Arguments: map[string]any{}})
	if err != nil || result.IsError {
		t.Fatalf("%v %+v", err, result)
	}
}

// TestConsentReachesEveryKindOfCallback is row CS-21: the answer arrives at a
// loopback port, and at a site that itself sends the browser on to a third one.
func TestConsentReachesEveryKindOfCallback(t *testing.T) {
	g := startGrantd(t)
	g.create("resources", map[string]any{"uri": "https://mcp.example.com/mcp", "name": "Notes", "scopes": []map[string]any{{"name": "notes:read", "description": "Read notes", "tools": []string{"read"}}}})
	g.create("users", map[string]any{"username": "alice", "email": "alice@example.com", "name": "Alice", "password": userPassword})
	third := startCallback(t)
	hop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, third.url+"?"+r.URL.RawQuery, http.StatusFound)
	}))
	t.Cleanup(hop.Close)
	direct := startCallback(t)
	for _, kind := range []struct {
		name, redirectURI, decision string
		arrives                     *callback
	}{
		{"loopback port", direct.url, "approve", direct},
		{"a callback that redirects again", hop.URL + "/callback", "approve", third},
		{"a denial", direct.url, "deny", direct},
	} {
		t.Run(kind.name, func(t *testing.T) {
			browser := newBrowser(t)
			client := g.create("clients", map[string]any{"client_name": kind.name, "redirect_uris": []string{kind.redirectURI}, "token_endpoint_auth_method": "none"})
			query := url.Values{
				"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {kind.redirectURI},
				"code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"}, "state": {"s"},
			}
			err := chromedp.Do(browser, signIn(g.issuer+"/authorize?"+query.Encode(), "alice", userPassword), press(kind.decision))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			result, err := kind.arrives.wait(ctx)
			if err != nil {
				t.Fatalf("nothing arrived: %v", err)
			}
			if result.State != "s" || result.Iss != g.issuer || (kind.decision == "approve") != strings.HasPrefix(result.Code, "ac_") {
				t.Errorf("what arrived is %+v", result)
			}
		})
	}
}

// startNotes runs the example MCP server, registered with g.
func startNotes(t *testing.T, g *grantd) (endpoint string) {
	t.Helper()
	guard := g.create("clients", map[string]any{
		"client_name": "Notes server", "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_basic",
	})
	endpoint = "http://" + freeport.For(t) + "/mcp"
	scopes := []map[string]any{}
	for _, scope := range notes.Scopes() {
		scopes = append(scopes, map[string]any{"name": scope.Name, "description": scope.Description, "tools": scope.Tools})
	}
	g.create("resources", map[string]any{"uri": endpoint, "name": "Notes", "scopes": scopes, "introspection_clients": []any{guard["client_id"]}})
	handler, err := notes.New(notes.Config{
		ResourceURI: endpoint, Issuer: g.issuer, ClientID: guard["client_id"].(string), ClientSecret: guard["client_secret"].(string),
	})
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return endpoint
}

// callback is a client's redirect URI that waits for a browser.
type callback struct {
	url     string
	arrived chan *auth.AuthorizationResult
}

func startCallback(t *testing.T) *callback {
	t.Helper()
	c := &callback{arrived: make(chan *auth.AuthorizationResult, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/callback" {
			http.NotFound(w, r)
			return
		}
		q := r.URL.Query()
		c.arrived <- &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}
		_, _ = io.WriteString(w, "You can close this page.")
	}))
	t.Cleanup(server.Close)
	c.url = server.URL + "/callback"
	return c
}

func (c *callback) wait(ctx context.Context) (*auth.AuthorizationResult, error) {
	select {
	case result := <-c.arrived:
		return result, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
