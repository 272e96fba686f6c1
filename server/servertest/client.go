package servertest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Verifier is a code_verifier; Challenge is its S256 code_challenge.
const Verifier = "a-code-verifier-of-sufficient-length-0123456789-abc"

// Challenge is the S256 code_challenge of Verifier (RFC 7636 §4.2).
var Challenge = ChallengeOf(Verifier)

// ChallengeOf is the S256 code_challenge of a verifier.
func ChallengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Answer is a response as a client sees it.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	JSON   Object // nil if the body is no JSON object
}

// Do sends a request without following redirects.
func (s *Server) Do(r *http.Request) *Answer {
	s.t.Helper()
	client := &http.Client{Transport: s.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	answer := &Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	if err := json.Unmarshal(body, &answer.JSON); err != nil {
		answer.JSON = nil
	}
	return answer
}

// Request builds a request to a path below the issuer, or to an absolute URL.
func (s *Server) Request(method, target, body string, header http.Header) *http.Request {
	s.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.URL + target
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	return r
}

// Get gets a path below the issuer, or an absolute URL.
func (s *Server) Get(target string) *Answer {
	s.t.Helper()
	return s.Do(s.Request(http.MethodGet, target, "", nil))
}

// Post posts a form. basic is "id:secret" for HTTP Basic, or empty.
func (s *Server) Post(path string, form url.Values, basic string) *Answer {
	s.t.Helper()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if basic != "" {
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(basic)))
	}
	return s.Do(s.Request(http.MethodPost, path, form.Encode(), header))
}

// Form is a short way to write url.Values: name, value, name, value.
func Form(pairs ...string) url.Values {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values
}

// AuthorizationRequest is a complete one for the client; change what the test is
// about.
func AuthorizationRequest(clientID, redirectURI, resource string) url.Values {
	return Form("response_type", "code", "client_id", clientID, "redirect_uri", redirectURI, "resource", resource,
		"code_challenge", Challenge, "code_challenge_method", "S256", "state", "state-of-the-client")
}

// Redeem exchanges a code of a public client with the right verifier.
func (s *Server) Redeem(clientID, code string) *Answer {
	s.t.Helper()
	return s.Post("/token", Form("grant_type", "authorization_code", "client_id", clientID, "code", code, "code_verifier", Verifier), "")
}

// Refresh refreshes for a public client.
func (s *Server) Refresh(clientID, refreshToken string, more ...string) *Answer {
	s.t.Helper()
	form := Form(append([]string{"grant_type", "refresh_token", "client_id", clientID, "refresh_token", refreshToken}, more...)...)
	return s.Post("/token", form, "")
}

// DeviceGrantType is the grant type of RFC 8628 §3.4.
const DeviceGrantType = "urn:ietf:params:oauth:grant-type:device_code"

// DeviceAuthorization asks for a device code as a public client does.
func (s *Server) DeviceAuthorization(clientID string, more ...string) *Answer {
	s.t.Helper()
	return s.Post("/device_authorization", Form(append([]string{"client_id", clientID}, more...)...), "")
}

// Poll asks for the tokens of a device code as a public client does.
func (s *Server) Poll(clientID, deviceCode string, more ...string) *Answer {
	s.t.Helper()
	form := Form(append([]string{"grant_type", DeviceGrantType, "client_id", clientID, "device_code", deviceCode}, more...)...)
	return s.Post("/token", form, "")
}

// Claims decodes the claims of a JWT without verifying it.
func Claims(token string) Object {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims Object
	_ = json.Unmarshal(raw, &claims)
	return claims
}
