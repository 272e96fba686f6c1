// Package clientauth is the one client authenticator for every endpoint
// (OAuth 2.1 §2.4, RFC 6749 §2.3, RFC 7523).
//
// A request uses exactly one method: none, a secret, or an assertion signed with
// the client's own key. A client with a secret may send it by HTTP Basic or in the
// body, whichever of the two it registered: real clients do either. A failed
// authentication changes nothing.
package clientauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"grantd/server/web"
	"grantd/storage"
)

// Clients finds clients by their OAuth client_id. storage.ErrNotFound.
type Clients interface {
	Client(ctx context.Context, clientID string) (*storage.Client, error)
}

// Authenticator authenticates clients.
type Authenticator struct {
	Clients    Clients
	Assertions *Assertions
	Addresses  web.Addresses
	Failures   *web.FailureLimit // per client and address
	Now        func() time.Time
}

// credentials are what a request says of its client.
type credentials struct {
	clientID  string
	secret    string
	hasBasic  bool
	sent      bool   // a secret was sent, by either method
	assertion string // empty: none was sent
}

// Authenticate returns the client that sent this request. form is its body.
// Errors are *web.OAuthError: invalid_request (more than one method, two client
// ids, no client id at all), invalid_client (401), 429 after too many failures;
// or an outage.
func (a *Authenticator) Authenticate(r *http.Request, form web.Parameters) (*storage.Client, error) {
	sent, err := a.read(r, form)
	if err != nil {
		return nil, err
	}
	limitKey := sent.clientID + " " + a.Addresses.Key(r)
	if wait := a.Failures.Blocked(limitKey); wait > 0 {
		return nil, &web.OAuthError{
			Status: http.StatusTooManyRequests, Code: "temporarily_unavailable",
			Description: "Too many failed authentications of this client; wait before trying again.", RetryAfter: wait,
		}
	}
	client, err := a.Clients.Client(r.Context(), sent.clientID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	if err := a.prove(r.Context(), client, sent); err != nil {
		// Only a guess counts. There is nothing to guess of a public client, and
		// an empty secret guesses nothing: Go's SDK sends one before it sends none.
		guessed := sent.secret != "" || sent.assertion != ""
		if guessed && !web.Unavailable(err) && (client == nil || !client.Public()) {
			a.Failures.Fail(limitKey)
		}
		return nil, err
	}
	return client, nil
}

// Present reports whether the request names a client at all.
func Present(r *http.Request, form web.Parameters) bool {
	return len(r.Header.Values("Authorization")) > 0 || form.Has("client_id") || form.Has("client_secret") || form.Has("client_assertion")
}

func (a *Authenticator) read(r *http.Request, form web.Parameters) (credentials, error) {
	sent := credentials{clientID: form.Get("client_id"), secret: form.Get("client_secret")}
	// An empty client_secret in the body counts as not sent (OAuth 2.1 §3.2).
	sent.sent = form.Has("client_secret")
	switch headers := r.Header.Values("Authorization"); {
	case len(headers) > 1:
		return sent, web.NewOAuthError("invalid_request", "Send one Authorization header.")
	case len(headers) == 1:
		id, secret, ok := parseBasic(headers[0])
		switch {
		case !ok:
			return sent, web.InvalidClient("The Authorization header is not valid HTTP Basic.", true)
		case form.Has("client_secret"), form.Has("client_assertion"):
			return sent, web.NewOAuthError("invalid_request", "Use one client authentication method, not several.")
		case sent.clientID != "" && sent.clientID != id:
			return sent, web.NewOAuthError("invalid_request", "The Authorization header and client_id name different clients.")
		}
		sent = credentials{clientID: id, secret: secret, hasBasic: true, sent: true}
	}
	if sent.sent && form.Has("client_assertion") {
		return sent, web.NewOAuthError("invalid_request", "Use one client authentication method, not several.")
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		return a.readAssertion(sent, form)
	}
	if sent.clientID == "" {
		return sent, web.NewOAuthError("invalid_request", "The client must authenticate, or send its client_id.")
	}
	return sent, nil
}

// readAssertion finds out whom a client assertion claims to be from. client_id need
// not be sent with it (RFC 7521 §4.2).
func (a *Authenticator) readAssertion(sent credentials, form web.Parameters) (credentials, error) {
	if form.Get("client_assertion_type") != AssertionType || !form.Has("client_assertion") {
		return sent, web.InvalidClient("Send client_assertion together with client_assertion_type="+AssertionType+".", false)
	}
	named := sent.clientID
	sent.assertion = form.Get("client_assertion")
	var err error
	if sent.clientID, err = a.Assertions.ClientID(sent.assertion); err != nil {
		return sent, err
	}
	if named != "" && named != sent.clientID {
		return sent, web.NewOAuthError("invalid_request", "The client assertion and client_id name different clients.")
	}
	return sent, nil
}

// parseBasic reads HTTP Basic with both parts form-encoded (RFC 6749 §2.3.1).
// grantd's own ids and secrets read the same encoded or not.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(raw), ":")
	if !ok || id == "" {
		return "", "", false
	}
	if id, err = url.QueryUnescape(id); err != nil {
		return "", "", false
	}
	if secret, err = url.QueryUnescape(secret); err != nil {
		return "", "", false
	}
	return id, secret, true
}

// unknownHash stands in for the secret of a client that does not exist, so that
// both cases do the same work.
var unknownHash = sha256.Sum256([]byte("no such client"))

// prove checks what was sent against the client, nil if there is none by that
// name. *web.OAuthError invalid_client, or an outage.
func (a *Authenticator) prove(ctx context.Context, client *storage.Client, sent credentials) error {
	refused := web.InvalidClient("The client is unknown, disabled, or its credentials are wrong.", sent.hasBasic)
	if sent.assertion != "" {
		if client == nil || client.Disabled || client.TokenEndpointAuthMethod != storage.AuthMethodPrivateKeyJWT {
			return refused
		}
		return a.Assertions.Verify(ctx, client, sent.assertion)
	}
	if !a.proves(client, sent) {
		return refused
	}
	return nil
}

// proves reports whether a secret, or its absence, is that of the client.
func (a *Authenticator) proves(client *storage.Client, sent credentials) bool {
	got := sha256.Sum256([]byte(sent.secret))
	if client == nil {
		_ = subtle.ConstantTimeCompare(got[:], unknownHash[:])
		return false
	}
	matches := 0
	now := a.Now()
	for _, secret := range client.Secrets {
		if len(secret.Hash) != sha256.Size || (!secret.ExpiresAt.IsZero() && !now.Before(secret.ExpiresAt)) {
			continue
		}
		matches |= subtle.ConstantTimeCompare(got[:], secret.Hash)
	}
	switch {
	case client.Disabled:
		return false
	case client.Public():
		return !sent.sent
	case client.TokenEndpointAuthMethod == storage.AuthMethodPrivateKeyJWT:
		return false
	default:
		return sent.sent && sent.secret != "" && matches == 1
	}
}
