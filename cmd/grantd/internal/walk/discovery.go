package walk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

const (
	protocolVersion = "2026-07-28"
	maxBody         = 1 << 20 // bytes of any answer
)

// provokeChallenge sends what every MCP client sends first.
func (w *walker) provokeChallenge(ctx context.Context) error {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{}}}`, w.ReadTool.Name)
	answer, err := w.postMCP(ctx, body, "")
	if err != nil {
		return err
	}
	w.say("POST %s → %s", w.MCPURL, answer.status())
	challenge, err := answer.challenge(http.StatusUnauthorized)
	if err != nil {
		return err
	}
	w.say("it points to %s", challenge["resource_metadata"])
	w.say("and asks for scope %s", scopes(strings.Fields(challenge["scope"])))
	w.metadataURL, w.wanted = challenge["resource_metadata"], strings.Fields(challenge["scope"])
	if w.metadataURL == "" {
		w.metadataURL, err = insertWellKnown(w.MCPURL, "oauth-protected-resource")
		if err != nil {
			return err
		}
	}
	return nil
}

// readResourceMetadata learns which authorization server to go to.
func (w *walker) readResourceMetadata(ctx context.Context) error {
	var metadata struct {
		Resource             string   `json:"resource"`
		AuthorizationServers []string `json:"authorization_servers"`
		ScopesSupported      []string `json:"scopes_supported"`
	}
	answer, err := w.get(ctx, w.metadataURL)
	if err != nil {
		return err
	}
	w.say("GET %s → %s", w.metadataURL, answer.status())
	if err := answer.decode(http.StatusOK, &metadata); err != nil {
		return err
	}
	w.say("resource              %s", metadata.Resource)
	w.say("authorization_servers %s", strings.Join(metadata.AuthorizationServers, " "))
	w.say("scopes_supported      %s", scopes(metadata.ScopesSupported))
	switch {
	case metadata.Resource != w.MCPURL:
		return failed("metadata of "+w.MCPURL, "it is of %q", metadata.Resource)
	case len(metadata.AuthorizationServers) == 0:
		return failed("an authorization server", "none is named")
	}
	w.resource, w.issuer = metadata.Resource, metadata.AuthorizationServers[0]
	if len(w.wanted) == 0 {
		w.wanted = metadata.ScopesSupported
	}
	return nil
}

// serverMetadata is what a client uses of RFC 8414.
type serverMetadata struct {
	Issuer                        string   `json:"issuer"`
	AuthorizationEndpoint         string   `json:"authorization_endpoint"`
	TokenEndpoint                 string   `json:"token_endpoint"`
	RegistrationEndpoint          string   `json:"registration_endpoint"`
	RevocationEndpoint            string   `json:"revocation_endpoint"`
	CodeChallengeMethodsSupported []string `json:"code_challenge_methods_supported"`
	ResponseTypesSupported        []string `json:"response_types_supported"`
	IssParameterSupported         bool     `json:"authorization_response_iss_parameter_supported"`
}

// readServerMetadata tries every place in the order clients do. One is enough
// for a client; what is served must be right everywhere.
func (w *walker) readServerMetadata(ctx context.Context) error {
	locations, err := metadataLocations(w.issuer)
	if err != nil {
		return err
	}
	found := false
	for _, location := range locations {
		answer, err := w.get(ctx, location)
		if err != nil {
			return err
		}
		w.say("GET %s → %s", location, answer.status())
		if answer.code == http.StatusNotFound {
			continue
		}
		var metadata serverMetadata
		if err := answer.decode(http.StatusOK, &metadata); err != nil {
			return err
		}
		if err := metadata.check(w.issuer); err != nil {
			return err
		}
		if !found {
			w.server, found = metadata, true
		}
	}
	if !found {
		return failed("metadata in one of these places", "there is none")
	}
	w.say("issuer                 %s", w.server.Issuer)
	w.say("authorization_endpoint %s", w.server.AuthorizationEndpoint)
	w.say("token_endpoint         %s", w.server.TokenEndpoint)
	w.say("registration_endpoint  %s", w.server.RegistrationEndpoint)
	w.say("code challenge methods %s", strings.Join(w.server.CodeChallengeMethodsSupported, " "))
	return nil
}

func (m *serverMetadata) check(issuer string) error {
	switch {
	case m.Issuer != issuer:
		return failed("issuer "+issuer+", byte for byte", "it was %q", m.Issuer)
	case !slices.Contains(m.CodeChallengeMethodsSupported, "S256"):
		return failed("code_challenge_methods_supported with S256", "it was %q", m.CodeChallengeMethodsSupported)
	case !slices.Contains(m.ResponseTypesSupported, "code"):
		return failed("response_types_supported with code", "it was %q", m.ResponseTypesSupported)
	}
	for name, endpoint := range map[string]string{
		"authorization_endpoint": m.AuthorizationEndpoint,
		"token_endpoint":         m.TokenEndpoint,
		"registration_endpoint":  m.RegistrationEndpoint,
		"revocation_endpoint":    m.RevocationEndpoint,
	} {
		if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return failed("a URL as "+name, "it was %q", endpoint)
		}
	}
	return nil
}

// metadataLocations lists where an issuer's metadata may be: RFC 8414 §3.1, and
// OpenID Connect Discovery inserted and appended.
func metadataLocations(issuer string) ([]string, error) {
	var locations []string
	for _, name := range []string{"oauth-authorization-server", "openid-configuration"} {
		location, err := insertWellKnown(issuer, name)
		if err != nil {
			return nil, err
		}
		locations = append(locations, location)
	}
	if appended := issuer + "/.well-known/openid-configuration"; !slices.Contains(locations, appended) {
		locations = append(locations, appended)
	}
	return locations, nil
}

// insertWellKnown puts /.well-known/NAME between the host and the path of a URL.
func insertWellKnown(raw, name string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", failed("an http or https URL", "it was %q", raw)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return u.Scheme + "://" + u.Host + "/.well-known/" + name + path, nil
}

// answer is a whole HTTP response.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

func (a *answer) status() string { return fmt.Sprintf("%d %s", a.code, http.StatusText(a.code)) }

// decode checks the status and reads the JSON of an answer. OAuth errors are
// told; nothing else of a body is, since it may hold a token.
func (a *answer) decode(status int, into any) error {
	want := fmt.Sprintf("%d %s with JSON", status, http.StatusText(status))
	if a.code != status {
		return failed(want, "it was %s%s", a.status(), a.oauthError())
	}
	if media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); media != "application/json" {
		return failed(want, "the Content-Type was %q", a.header.Get("Content-Type"))
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return failed(want, "the body was not the JSON expected")
	}
	return nil
}

// oauthError is ": error (description)" when the body has them.
func (a *answer) oauthError() string {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.body, &e) != nil || e.Error == "" {
		return ""
	}
	return fmt.Sprintf(": %s (%s)", e.Error, e.Description)
}

// challenge returns the parameters of the Bearer challenge of an answer that
// must have this status.
func (a *answer) challenge(status int) (map[string]string, error) {
	want := fmt.Sprintf("%d %s with a Bearer challenge", status, http.StatusText(status))
	if a.code != status {
		return nil, failed(want, "it was %s", a.status())
	}
	challenges, err := oauthex.ParseWWWAuthenticate(a.header.Values("WWW-Authenticate"))
	if err != nil {
		return nil, failed(want, "WWW-Authenticate could not be understood")
	}
	for _, challenge := range challenges {
		if challenge.Scheme == "bearer" {
			return challenge.Params, nil
		}
	}
	return nil, failed(want, "there was none")
}

func (w *walker) get(ctx context.Context, location string) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("MCP-Protocol-Version", protocolVersion)
	return w.do(request)
}

// postMCP sends one JSON-RPC message, with a token unless it is empty.
func (w *walker) postMCP(ctx context.Context, body, token string) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.MCPURL, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := w.do(request)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// postForm sends a form, as all of OAuth does.
func (w *walker) postForm(ctx context.Context, location string, form url.Values) (*answer, error) {
	return w.post(ctx, location, "application/x-www-form-urlencoded", []byte(form.Encode()))
}

func (w *walker) post(ctx context.Context, location, contentType string, body []byte) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, location, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	return w.do(request)
}

func (w *walker) do(request *http.Request) (*answer, error) {
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "application/json")
	}
	response, err := w.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return &answer{code: response.StatusCode, header: response.Header, body: body}, nil
}
