package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// TestOpenIDRelyingParty signs in to an application that knows only OpenID Connect:
// go-oidc discovers grantd, verifies the ID token with its keys, of every algorithm,
// and asks userinfo; then the application signs the browser out.
func TestOpenIDRelyingParty(t *testing.T) {
	browser := newBrowser(t)
	// The browser lives as long as the context of its first action.
	if err := chromedp.Do(browser, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		t.Run(algorithm, func(t *testing.T) { relyingParty(t, browser, startPlace(t, "--signing-alg", algorithm)) })
	}
}

// claimed is what the application learns of a person.
type claimed struct {
	Name, Email string
	Username    string `json:"preferred_username"`
	Verified    bool   `json:"email_verified"`
}

func relyingParty(t *testing.T, browser context.Context, at *place) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	left := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("Goodbye.")) }))
	defer left.Close()
	callback := startCallback(t)
	registered := at.admin.create("clients", map[string]any{
		"client_name": "Wiki", "redirect_uris": []string{callback.url}, "post_logout_redirect_uris": []string{left.URL + "/bye"},
		"token_endpoint_auth_method": "client_secret_basic",
	})

	provider, err := oidc.NewProvider(ctx, at.issuer)
	if err != nil {
		t.Fatal(err)
	}
	config := &oauth2.Config{
		ClientID: registered["client_id"].(string), ClientSecret: registered["client_secret"].(string), RedirectURL: callback.url,
		Endpoint: provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}
	verifier := oauth2.GenerateVerifier()
	alice := &person{browser: browser, username: at.username, password: at.password}
	alice.decide(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oidc.Nonce("a nonce")), "approve")
	answer, err := callback.wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	token, err := config.Exchange(ctx, answer.Code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := idToken.VerifyAccessToken(token.AccessToken); err != nil || idToken.Nonce != "a nonce" {
		t.Errorf("the ID token has nonce %q, its access token is %v", idToken.Nonce, err)
	}
	want := claimed{Name: "Alice", Email: "alice@example.com", Username: "alice", Verified: true}
	var said, asked claimed
	if err := idToken.Claims(&said); err != nil || said != want {
		t.Errorf("the ID token says %+v, error %v", said, err)
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	if err := info.Claims(&asked); err != nil || asked != want || info.Subject != idToken.Subject {
		t.Errorf("userinfo says %+v of %s, error %v", asked, info.Subject, err)
	}
	if _, err := provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(ctx, token.AccessToken); err == nil {
		t.Error("an access token passes for an ID token")
	}

	var discovered struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&discovered); err != nil {
		t.Fatal(err)
	}
	leave := discovered.EndSession + "?" + url.Values{"id_token_hint": {raw}, "post_logout_redirect_uri": {left.URL + "/bye"}, "state": {"x"}}.Encode()
	tab, done := context.WithTimeout(browser, 30*time.Second)
	defer done()
	if err := chromedp.Do(tab, chromedp.Navigate(leave)); err != nil {
		t.Fatal(err)
	}
	if at, err := chromedp.Run(tab, chromedp.Evaluate[string](`location.href`)); err != nil || at != left.URL+"/bye?state=x" {
		t.Errorf("after signing out the browser is at %s, error %v", at, err)
	}
	if err := chromedp.Do(tab, chromedp.Navigate(at.issuer+"/account")); err != nil {
		t.Fatal(err)
	}
	if page, err := chromedp.Run(tab, chromedp.Evaluate[string](`location.pathname`)); err != nil || !strings.HasPrefix(page, "/login") {
		t.Errorf("the account page is shown at %s, error %v", page, err)
	}
}
