package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// client is an application that knows its way: the place it goes to, and as whom.
type client struct {
	*application
	at            *place
	connect       map[string]any // what it is told to connect with
	secret        string
	authenticates string
	machine       bool
}

// client starts an application. metadata is what it is registered with; nil: it
// will register itself.
func (s *suite) client(t *testing.T, at *place, metadata map[string]any, machine bool) *client {
	t.Helper()
	c := &client{
		application: startApplication(t, s.folder, s.sdk.script, &person{browser: s.browser, username: at.username, password: at.password}),
		at:          at,
		connect:     map[string]any{"endpoint": at.endpoint, "issuer": at.issuer, "machine": machine},
		machine:     machine,
	}
	if metadata == nil {
		return c
	}
	metadata = maps.Clone(metadata)
	metadata["client_name"] = t.Name()
	if _, given := metadata["redirect_uris"]; !given && !machine {
		metadata["redirect_uris"] = []string{c.redirectURI}
	}
	registered := at.admin.create("clients", metadata)
	information := map[string]any{"client_id": registered["client_id"], "issuer": at.issuer, "token_endpoint_auth_method": metadata["token_endpoint_auth_method"]}
	if secret, ok := registered["client_secret"].(string); ok {
		c.secret = secret
		information["client_secret"] = secret
	}
	if metadata["token_endpoint_auth_method"] == "private_key_jwt" {
		information["private_key"] = testKey()
	}
	c.connect["client"] = information
	return c
}

// publish gives the application a metadata document, which is its client id.
func (c *client) publish(host *documentHost, says map[string]any) {
	document := maps.Clone(says)
	document["client_name"], document["redirect_uris"] = c.t.Name(), []string{c.redirectURI}
	c.connect["metadata_url"] = host.publish(document)
	if says["token_endpoint_auth_method"] == "private_key_jwt" {
		c.connect["private_key"] = testKey()
	}
}

// expectSent compares the token requests, each as "grant_type status".
func (c *client) expectSent(want ...string) {
	c.t.Helper()
	got := []string{}
	for _, sent := range c.sent {
		got = append(got, fmt.Sprint(sent.Form["grant_type"], " ", sent.Status))
	}
	if !slices.Equal(got, want) {
		c.t.Fatalf("the token requests are %q, want %q", got, want)
	}
}

// expectBothScopes: the second authorization request asked for both scopes, and
// the access token has them.
func (c *client) expectBothScopes() {
	c.t.Helper()
	if len(c.opened) != 2 {
		c.t.Fatalf("%d authorization requests, want 2", len(c.opened))
	}
	if asked := strings.Fields(c.opened[1].Get("scope")); !sameScopes(asked, bothScopes) {
		c.t.Errorf("the second asks for %v, want %v", asked, bothScopes)
	}
	if got := strings.Fields(claimsOf(c.t, c.held().Tokens.AccessToken).Scope); !sameScopes(got, bothScopes) {
		c.t.Errorf("the access token's scopes are %v, want %v", got, bothScopes)
	}
}

func sameScopes(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// credentials are what the application keeps for the SDK.
type credentials struct {
	Client struct {
		ClientID string `json:"client_id"`
	} `json:"client"`
	Tokens struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	} `json:"tokens"`
}

func (c *client) held() credentials {
	c.t.Helper()
	var held credentials
	if err := json.Unmarshal(c.must("credentials", nil), &held); err != nil {
		c.t.Fatal(err)
	}
	return held
}

// revoke ends a token of the client's (RFC 7009).
func (c *client) revoke(token string) {
	c.t.Helper()
	form := url.Values{"token": {token}}
	if c.authenticates == "private_key_jwt" {
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion(c.t, c.held().Client.ClientID, c.at.issuer))
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.at.issuer+"/revoke", strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.secret != "" {
		r.SetBasicAuth(c.held().Client.ClientID, c.secret)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		c.t.Fatalf("the revocation was answered with %d", response.StatusCode)
	}
}
