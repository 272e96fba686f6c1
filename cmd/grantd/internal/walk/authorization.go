package walk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// register makes this walk a public, native client of its own.
func (w *walker) register(ctx context.Context) error {
	if w.server.RegistrationEndpoint == "" {
		return failed("a registration_endpoint in the metadata", "there is none")
	}
	body, err := json.Marshal(map[string]any{
		"client_name":                "grantd walk",
		"redirect_uris":              []string{w.callback.uri},
		"grant_types":                []string{"authorization_code", "refresh_token"},
		"response_types":             []string{"code"},
		"token_endpoint_auth_method": "none",
		"application_type":           "native",
	})
	if err != nil {
		return err
	}
	answer, err := w.post(ctx, w.server.RegistrationEndpoint, "application/json", body)
	if err != nil {
		return err
	}
	w.say("POST %s → %s", w.server.RegistrationEndpoint, answer.status())
	var client struct {
		ClientID     string   `json:"client_id"`
		ClientSecret string   `json:"client_secret"`
		RedirectURIs []string `json:"redirect_uris"`
		AuthMethod   string   `json:"token_endpoint_auth_method"`
	}
	if err := answer.decode(http.StatusCreated, &client); err != nil {
		return err
	}
	switch {
	case client.ClientID == "":
		return failed("a client_id", "there was none")
	case client.AuthMethod != "none" || client.ClientSecret != "":
		return failed("a public client", "the method was %q", client.AuthMethod)
	case !slices.Equal(client.RedirectURIs, []string{w.callback.uri}):
		return failed("the redirect URI echoed", "it was %q", client.RedirectURIs)
	}
	w.say("client_id    %s (public)", client.ClientID)
	w.say("redirect_uri %s", w.callback.uri)
	w.clientID = client.ClientID
	return nil
}

// pendingApproval is what a client remembers while a person decides.
type pendingApproval struct {
	state    string
	verifier string // RFC 7636
	code     string
}

// askForApproval sends a browser to the authorization endpoint and waits for it
// to come back.
func (w *walker) askForApproval(ctx context.Context) error {
	w.pending = pendingApproval{state: random(), verifier: random()}
	challenge := sha256.Sum256([]byte(w.pending.verifier))
	target, err := url.Parse(w.server.AuthorizationEndpoint)
	if err != nil {
		return err
	}
	query := target.Query()
	for name, value := range map[string]string{
		"response_type":         "code",
		"client_id":             w.clientID,
		"redirect_uri":          w.callback.uri,
		"scope":                 strings.Join(w.wanted, " "),
		"state":                 w.pending.state,
		"code_challenge":        base64.RawURLEncoding.EncodeToString(challenge[:]),
		"code_challenge_method": "S256",
		"resource":              w.resource,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	target.RawQuery = query.Encode()
	w.say("scope    %s", scopes(w.wanted))
	w.say("resource %s (RFC 8707)", w.resource)

	ctx, cancel := context.WithTimeout(ctx, approvalTimeout)
	defer cancel()
	w.callback.expect(w.pending.state)
	err = w.Approver.Approve(ctx, AuthorizationRequest{URL: target.String(), RedirectURI: w.callback.uri},
		func(line string) { w.say("%s", line) })
	if err != nil {
		return err
	}
	response, err := w.callback.wait(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return failed("the browser back within "+approvalTimeout.String(), "it did not come")
	case err != nil:
		return err
	}
	return w.acceptApproval(response)
}

// acceptApproval checks an authorization response as RFC 9207 §2.4 asks. That
// its state is ours the callback has checked already.
func (w *walker) acceptApproval(response url.Values) error {
	for _, name := range []string{"code", "error", "iss", "state"} {
		if len(response[name]) > 1 {
			return failed("every parameter once", "%s came %d times", name, len(response[name]))
		}
	}
	iss := response.Get("iss")
	switch {
	case w.server.IssParameterSupported && iss != w.issuer:
		return failed("iss "+w.issuer+" (RFC 9207)", "it was %q", iss)
	case !w.server.IssParameterSupported && iss != "":
		return failed("no iss, since the metadata promises none", "it was %q", iss)
	case response.Get("error") != "":
		return failed("a code", "the answer was %s (%s)", response.Get("error"), response.Get("error_description"))
	case response.Get("code") == "":
		return failed("a code", "there was none")
	}
	w.pending.code = response.Get("code")
	w.say("the browser is back with code %s, our state, and iss %s", masked(w.pending.code), iss)
	return nil
}

// tokenResponse is RFC 6749 §5.1.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
}

func (w *walker) redeemCode(ctx context.Context) error {
	return w.getTokens(ctx, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {w.pending.code},
		"redirect_uri":  {w.callback.uri},
		"code_verifier": {w.pending.verifier},
		"client_id":     {w.clientID},
		"resource":      {w.resource},
	})
}

// refresh rotates the refresh token and uses the new access token once.
func (w *walker) refresh(ctx context.Context) error {
	old := w.tokens
	if err := w.getTokens(ctx, w.refreshForm()); err != nil {
		return err
	}
	switch {
	case w.tokens.RefreshToken == old.RefreshToken:
		return failed("a new refresh token: those of public clients rotate", "it was the old one")
	case w.tokens.AccessToken == old.AccessToken:
		return failed("a new access token", "it was the old one")
	}
	w.say("both differ from those before")
	return w.callTool(ctx, w.ReadTool)
}

func (w *walker) refreshForm() url.Values {
	return url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {w.tokens.RefreshToken},
		"client_id":     {w.clientID},
		"resource":      {w.resource},
	}
}

// getTokens asks the token endpoint and shows what the access token says. A
// client must not look into it; this one does to show it.
func (w *walker) getTokens(ctx context.Context, form url.Values) error {
	answer, err := w.postForm(ctx, w.server.TokenEndpoint, form)
	if err != nil {
		return err
	}
	w.say("POST %s grant_type=%s → %s", w.server.TokenEndpoint, form.Get("grant_type"), answer.status())
	var tokens tokenResponse
	if err := answer.decode(http.StatusOK, &tokens); err != nil {
		return err
	}
	granted := strings.Fields(tokens.Scope)
	switch {
	case tokens.AccessToken == "" || !strings.EqualFold(tokens.TokenType, "Bearer"):
		return failed("a Bearer access token", "token_type was %q", tokens.TokenType)
	case tokens.RefreshToken == "":
		return failed("a refresh token, as registered", "there was none")
	case !strings.Contains(answer.header.Get("Cache-Control"), "no-store"):
		return failed("Cache-Control: no-store", "it was %q", answer.header.Get("Cache-Control"))
	}
	for _, scope := range w.wanted {
		if !slices.Contains(granted, scope) {
			return failed("the scopes approved: "+scopes(w.wanted), "they were %s", scopes(granted))
		}
	}
	w.tokens = tokens
	w.say("access token  %s, for %s", masked(tokens.AccessToken), time.Duration(tokens.ExpiresIn)*time.Second)
	w.say("refresh token %s", masked(tokens.RefreshToken))
	return w.showClaims(tokens.AccessToken)
}

// showClaims decodes a JWT access token, and checks the one thing that keeps it
// from being used elsewhere.
func (w *walker) showClaims(token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		w.say("it is opaque to a client")
		return nil
	}
	var claims struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
		ClientID string          `json:"client_id"`
		Scope    string          `json:"scope"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return failed("a JWT", "its claims could not be read")
	}
	audience := strings.Trim(string(claims.Audience), `[]"`)
	w.say("its claims    iss=%s", claims.Issuer)
	w.say("              aud=%s", audience)
	w.say("              sub=%s client_id=%s", claims.Subject, claims.ClientID)
	w.say("              scope=%q", claims.Scope)
	if audience != w.resource {
		return failed("an access token for "+w.resource+" alone", "its audience was %s", audience)
	}
	return nil
}

// revoke ends what the refresh token stands for.
func (w *walker) revoke(ctx context.Context) error {
	answer, err := w.postForm(ctx, w.server.RevocationEndpoint, url.Values{
		"token":           {w.tokens.RefreshToken},
		"token_type_hint": {"refresh_token"},
		"client_id":       {w.clientID},
	})
	if err != nil {
		return err
	}
	w.say("POST %s → %s", w.server.RevocationEndpoint, answer.status())
	if answer.code != http.StatusOK {
		return failed("200 OK", "it was %s%s", answer.status(), answer.oauthError())
	}
	return nil
}

// confirmRevoked tries both tokens again.
func (w *walker) confirmRevoked(ctx context.Context) error {
	answer, err := w.postMCP(ctx, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, w.tokens.AccessToken)
	if err != nil {
		return err
	}
	w.say("POST %s with the access token → %s", w.MCPURL, answer.status())
	challenge, err := answer.challenge(http.StatusUnauthorized)
	if err != nil {
		return err
	}
	if challenge["error"] != "invalid_token" {
		return failed("the challenge error invalid_token", "it was %q", challenge["error"])
	}
	answer, err = w.postForm(ctx, w.server.TokenEndpoint, w.refreshForm())
	if err != nil {
		return err
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if err := answer.decode(http.StatusBadRequest, &refusal); err != nil {
		return err
	}
	w.say("POST %s with the refresh token → %s %s", w.server.TokenEndpoint, answer.status(), refusal.Error)
	if refusal.Error != "invalid_grant" {
		return failed("invalid_grant", "it was %q", refusal.Error)
	}
	return nil
}

// random returns 256 bits as text.
func random() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: it would end the process
	return base64.RawURLEncoding.EncodeToString(raw)
}
