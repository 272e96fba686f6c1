package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The bounds of talking to the authorization server.
const (
	flowTimeout    = 30 * time.Second // for one answer
	flowBody       = 1 << 20
	callbackPath   = "/callback"
	signInPatience = 10 * time.Minute
)

// form is the body of a request, with one value for each name.
type form map[string]string

func (f form) values() url.Values {
	values := url.Values{}
	for name, value := range f {
		values.Set(name, value)
	}
	return values
}

// authorizationServer is what its metadata say (RFC 8414 §2).
type authorizationServer struct {
	Issuer                      string `json:"issuer"`
	AuthorizationEndpoint       string `json:"authorization_endpoint"`
	TokenEndpoint               string `json:"token_endpoint"`
	RevocationEndpoint          string `json:"revocation_endpoint"`
	DeviceAuthorizationEndpoint string `json:"device_authorization_endpoint"`
}

type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"` // seconds
}

// oauthError is an error that the authorization server answered (RFC 6749 §5.2).
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *oauthError) Error() string {
	if e.Description != "" {
		return printable(e.Description)
	}
	return printable(e.Code)
}

// readServer reads the metadata of an issuer (RFC 8414 §3), which must be its own.
func readServer(ctx context.Context, issuer string) (*authorizationServer, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("the admin API names an issuer that is not https")
	}
	at := u.Scheme + "://" + u.Host + "/.well-known/oauth-authorization-server" + u.EscapedPath()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	var server authorizationServer
	if err := converse(r, &server); err != nil {
		return nil, err
	}
	if server.Issuer != issuer || server.TokenEndpoint == "" || server.AuthorizationEndpoint == "" {
		return nil, fmt.Errorf("%s answers, but not as the authorization server of that name", printable(issuer))
	}
	return &server, nil
}

// askForTokens sends a token request (RFC 6749 §4.1.3, §6).
func askForTokens(ctx context.Context, endpoint string, request form) (*tokenAnswer, error) {
	var tokens tokenAnswer
	if err := post(ctx, endpoint, request, &tokens); err != nil {
		return nil, err
	}
	if tokens.AccessToken == "" {
		return nil, errors.New("the authorization server answered without an access token")
	}
	return &tokens, nil
}

func post(ctx context.Context, endpoint string, request form, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(request.values().Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return converse(r, into)
}

// converse sends one request to the authorization server and decodes its answer. Its
// refusals are *oauthError. What was asked is in no error: it may be a secret.
func converse(r *http.Request, into any) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if isLoopback(r.URL.Hostname()) {
		transport.Proxy = nil
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: flowTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.Header.Set("Accept", "application/json")
	response, err := client.Do(r)
	if err != nil {
		var urlErr *url.Error
		if errors.As(err, &urlErr) {
			err = urlErr.Err
		}
		return &exitError{exitUnreachable, fmt.Errorf("the authorization server at %s does not answer: %w", r.URL.Host, err)}
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(response.Body, flowBody))
	if err != nil {
		return &exitError{exitUnreachable, fmt.Errorf("the answer of %s did not arrive whole: %w", r.URL.Host, err)}
	}
	switch {
	case response.StatusCode >= http.StatusInternalServerError:
		return &exitError{exitUnreachable, fmt.Errorf("the authorization server at %s cannot answer at the moment (%d)", r.URL.Host, response.StatusCode)}
	case response.StatusCode != http.StatusOK:
		var refused oauthError
		if json.Unmarshal(body, &refused) != nil || refused.Code == "" {
			return fmt.Errorf("%s answered %d; is this the authorization server?", r.URL.Host, response.StatusCode)
		}
		return &refused
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the answer of %s is not understood", r.URL.Host)
	}
	return nil
}

// random is 256 random bits for a state or a code verifier.
func random() string {
	bits := make([]byte, 32)
	_, _ = rand.Read(bits) // never fails: it would end the process
	return base64.RawURLEncoding.EncodeToString(bits)
}

// signInByBrowser gets tokens with a code (OAuth 2.1 §4.1) that a browser on this
// machine brings to a port that only this process listens on (RFC 8252 §7.3). open is
// given the address to open.
func signInByBrowser(ctx context.Context, server *authorizationServer, l *login, scope string, open func(address string)) (*tokenAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, signInPatience)
	defer cancel()
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the browser's return: %w", err)
	}
	redirectURI, state, verifier := "http://"+listener.Addr().String()+callbackPath, random(), random()
	challenge := sha256.Sum256([]byte(verifier))
	returned := make(chan url.Values, 1)
	callback := &http.Server{ReadHeaderTimeout: flowTimeout, Handler: callbackHandler(state, returned)}
	go func() { _ = callback.Serve(listener) }() // ends with Shutdown
	defer func() { _ = callback.Shutdown(context.WithoutCancel(ctx)) }()

	open(server.AuthorizationEndpoint + "?" + form{
		"response_type": "code", "client_id": l.ClientID, "redirect_uri": redirectURI, "resource": l.Resource, "scope": scope,
		"state": state, "code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "code_challenge_method": "S256",
	}.values().Encode())
	var answer url.Values
	select {
	case answer = <-returned:
	case <-ctx.Done():
		return nil, errors.New("nobody came back from the browser; nothing was done")
	}
	switch {
	case answer.Get("iss") != server.Issuer: // RFC 9207
		return nil, errors.New("the answer is from another authorization server; nothing was done")
	case answer.Get("error") != "":
		return nil, &oauthError{Code: answer.Get("error"), Description: answer.Get("error_description")}
	}
	return askForTokens(ctx, server.TokenEndpoint, form{
		"grant_type": "authorization_code", "code": answer.Get("code"), "code_verifier": verifier,
		"redirect_uri": redirectURI, "client_id": l.ClientID, "resource": l.Resource,
	})
}

// callbackHandler takes the one answer that has the state; whatever else comes along
// is somebody else's.
func callbackHandler(state string, returned chan<- url.Values) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != callbackPath || query.Get("state") != state {
			http.NotFound(w, r)
			return
		}
		said := "You are signed in."
		if query.Get("error") != "" {
			said = "You are not signed in."
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'")
		_, _ = io.WriteString(w, "<!doctype html><html lang=en><title>grantd</title><p>"+html.EscapeString(said)+" You can close this page and go back to the terminal.")
		select {
		case returned <- query:
		default: // the browser loaded the page again
		}
	})
}

type deviceAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int    `json:"expires_in"` // seconds
	Interval        int    `json:"interval"`   // seconds
}

// signInByDevice gets tokens with a code that a person enters on another machine (RFC
// 8628). show tells them.
func signInByDevice(ctx context.Context, server *authorizationServer, l *login, scope string, show func(address, userCode string)) (*tokenAnswer, error) {
	if server.DeviceAuthorizationEndpoint == "" {
		return nil, errors.New("the authorization server has no device grant")
	}
	var device deviceAnswer
	if err := post(ctx, server.DeviceAuthorizationEndpoint, form{"client_id": l.ClientID, "resource": l.Resource, "scope": scope}, &device); err != nil {
		return nil, err
	}
	show(device.VerificationURI, device.UserCode)
	interval := max(time.Duration(device.Interval)*time.Second, time.Second)
	ctx, cancel := context.WithTimeout(ctx, min(max(time.Duration(device.ExpiresIn)*time.Second, interval), signInPatience))
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil, errors.New("nobody entered the code in time; nothing was done")
		case <-time.After(interval):
		}
		tokens, err := askForTokens(ctx, server.TokenEndpoint, form{
			"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": device.DeviceCode, "client_id": l.ClientID, "resource": l.Resource,
		})
		var refused *oauthError
		switch {
		case errors.As(err, &refused) && refused.Code == "authorization_pending":
		case errors.As(err, &refused) && refused.Code == "slow_down":
			interval += 5 * time.Second // RFC 8628 §3.5
		default:
			return tokens, err
		}
	}
}
