package walk_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	username         = "alice"
	password         = "correct horse battery staple"
	notesClient      = "notes-server"
	notesClientProof = "cs_only-for-this-test"
)

// fakeServer is a small authorization server with pages like grantd's, and with
// switches that make it wrong.
type fakeServer struct {
	*httptest.Server
	t     *testing.T
	key   *ecdsa.PrivateKey
	fault string // "" for none; see TestFaultsAreSeen

	mu            sync.Mutex
	sessions      map[string]bool
	registrations int
	codes         map[string]url.Values // the authorization request each was given for
	families      map[string]*family    // by refresh token
	byAccess      map[string]*family
	secrets       []string // everything that must not be shown
}

type family struct {
	scope string
	ended bool
}

func newFakeServer(t *testing.T, fault string) *fakeServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{
		t: t, key: key, fault: fault, sessions: map[string]bool{}, codes: map[string]url.Values{},
		families: map[string]*family{}, byAccess: map[string]*family{}, secrets: []string{password, notesClientProof},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/tenant", s.metadata)
	mux.HandleFunc("GET /tenant/.well-known/openid-configuration", s.metadata)
	mux.HandleFunc("GET /tenant/jwks", s.jwks)
	mux.HandleFunc("POST /tenant/register", s.register)
	mux.HandleFunc("GET /tenant/authorize", s.authorize)
	mux.HandleFunc("POST /tenant/authorize", s.decide)
	mux.HandleFunc("GET /tenant/login", s.loginPage)
	mux.HandleFunc("POST /tenant/login", s.login)
	mux.HandleFunc("POST /tenant/token", s.token)
	mux.HandleFunc("POST /tenant/revoke", s.revoke)
	mux.HandleFunc("POST /tenant/introspect", s.introspect)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *fakeServer) issuer() string { return s.URL + "/tenant" }

func (s *fakeServer) is(fault string) bool { return s.fault == fault }

// secret makes a random value that the walk must not show whole.
func (s *fakeServer) secret(prefix string) string {
	value := prefix + rand.Text()
	s.secrets = append(s.secrets, value)
	return value
}

func (s *fakeServer) metadata(w http.ResponseWriter, _ *http.Request) {
	metadata := map[string]any{
		"issuer":                           s.issuer(),
		"authorization_endpoint":           s.issuer() + "/authorize",
		"token_endpoint":                   s.issuer() + "/token",
		"registration_endpoint":            s.issuer() + "/register",
		"revocation_endpoint":              s.issuer() + "/revoke",
		"introspection_endpoint":           s.issuer() + "/introspect",
		"jwks_uri":                         s.issuer() + "/jwks",
		"response_types_supported":         []string{"code"},
		"code_challenge_methods_supported": []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	switch s.fault {
	case "issuer with a slash":
		metadata["issuer"] = s.issuer() + "/"
	case "no S256":
		delete(metadata, "code_challenge_methods_supported")
	case "no registration":
		delete(metadata, "registration_endpoint")
	case "iss not advertised":
		delete(metadata, "authorization_response_iss_parameter_supported")
	}
	reply(w, http.StatusOK, metadata)
}

func (s *fakeServer) jwks(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: s.key.Public(), KeyID: "1", Algorithm: string(jose.ES256), Use: "sig"},
	}})
}

func (s *fakeServer) register(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var client map[string]any
	if err := json.NewDecoder(r.Body).Decode(&client); err != nil || client["application_type"] != "native" {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_client_metadata"})
		return
	}
	s.registrations++
	client["client_id"] = fmt.Sprintf("client-%d", s.registrations)
	status := http.StatusCreated
	switch s.fault {
	case "registration answers 200":
		status = http.StatusOK
	case "registration gives a secret":
		client["client_secret"] = s.secret("cs_")
	case "registration forgets the redirect":
		delete(client, "redirect_uris")
	}
	reply(w, status, client)
}

var loginForm = template.Must(template.New("").Parse(`<!doctype html><title>Sign in</title>
{{if .Wrong}}<div role="alert"><p>That is not <b>right</b>.</p></div>{{end}}
<form action="/search"><input name="q"></form>
<form method="post" action="{{.Action}}"><input name="username"><input type="password" name="password"><button>Sign in</button></form>`))

func (s *fakeServer) loginPage(w http.ResponseWriter, r *http.Request) { s.showLogin(w, r, false) }

func (s *fakeServer) showLogin(w http.ResponseWriter, r *http.Request, wrong bool) {
	w.Header().Set("Content-Type", "text/html")
	if wrong {
		w.WriteHeader(http.StatusUnauthorized)
	}
	_ = loginForm.Execute(w, map[string]any{"Action": "/tenant/login?" + r.URL.RawQuery, "Wrong": wrong})
}

func (s *fakeServer) login(w http.ResponseWriter, r *http.Request) {
	if !s.sameOrigin(w, r) {
		return
	}
	if r.PostFormValue("username") != username || r.PostFormValue("password") != password {
		s.showLogin(w, r, true)
		return
	}
	s.mu.Lock()
	session := s.secret("session_")
	s.sessions[session] = true
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "session", Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/tenant/authorize?"+r.URL.RawQuery, http.StatusSeeOther)
}

// sameOrigin refuses posts that do not look like a browser's own.
func (s *fakeServer) sameOrigin(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Origin") == s.URL && r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		return true
	}
	http.Error(w, "cross-origin", http.StatusForbidden)
	return false
}

func (s *fakeServer) signedIn(r *http.Request) bool {
	cookie, err := r.Cookie("session")
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && s.sessions[cookie.Value]
}

// The button that a browser presses on Enter denies, and one checkbox is not
// ticked: who approves must choose.
var consentForm = template.Must(template.New("").Parse(`<!doctype html><title>Allow?</title>
<form method="post" id="consent"><input type="hidden" name="approval" value="sealed">
<button name="decision" value="deny">Deny</button>
{{range .}}<input type="checkbox" name="scope" value="{{.}}">{{end}}
<input type="checkbox" name="scope" value="notes:admin" disabled></form>
<button form="consent" name="decision" value="approve">Allow</button>`))

func (s *fakeServer) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if r.Header.Get("Origin") != "" {
		http.Error(w, "a browser sends no Origin when it navigates", http.StatusBadRequest)
		return
	}
	if query.Get("code_challenge_method") != "S256" || query.Get("resource") == "" || query.Get("response_type") != "code" {
		http.Error(w, "invalid_request", http.StatusBadRequest)
		return
	}
	if !s.signedIn(r) {
		http.Redirect(w, r, "/tenant/login?"+r.URL.RawQuery, http.StatusSeeOther)
		return
	}
	if s.is("consent cannot be approved") {
		_, _ = fmt.Fprint(w, `<title>No</title><form method="post"><input name="approval" value="x"><button name="decision" value="deny"></form>`)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_ = consentForm.Execute(w, strings.Fields(query.Get("scope")))
}

func (s *fakeServer) decide(w http.ResponseWriter, r *http.Request) {
	if !s.sameOrigin(w, r) {
		return
	}
	query := r.URL.Query()
	if err := r.ParseForm(); err != nil || r.PostForm.Get("approval") != "sealed" || !s.signedIn(r) {
		http.Error(w, "not what was shown", http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {query.Get("state")}, "iss": {s.issuer()}}
	if r.PostForm.Get("decision") != "approve" || s.is("denied") {
		answer.Set("error", "access_denied")
	} else {
		s.mu.Lock()
		code := s.secret("ac_")
		query.Set("scope", strings.Join(r.PostForm["scope"], " "))
		s.codes[code] = query
		s.mu.Unlock()
		answer.Set("code", code)
	}
	switch s.fault {
	case "wrong iss":
		answer.Set("iss", s.URL)
	case "no iss":
		answer.Del("iss")
	case "wrong state":
		answer.Set("state", "forged")
	case "two codes":
		answer.Add("code", "ac_forged")
	}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+answer.Encode(), http.StatusSeeOther)
}

func (s *fakeServer) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func() { reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"}) }
	var f *family
	refresh := ""
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		asked, ok := s.codes[r.PostFormValue("code")]
		proof := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !ok || base64.RawURLEncoding.EncodeToString(proof[:]) != asked.Get("code_challenge") ||
			asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") || asked.Get("client_id") != r.PostFormValue("client_id") {
			refuse()
			return
		}
		delete(s.codes, r.PostFormValue("code"))
		f = &family{scope: asked.Get("scope")}
	case "refresh_token":
		refresh = r.PostFormValue("refresh_token")
		if f = s.families[refresh]; f == nil || f.ended {
			refuse()
			return
		}
		if s.is("refresh token stays") {
			break
		}
		delete(s.families, refresh)
		refresh = ""
	}
	if f == nil {
		refuse()
		return
	}
	if s.is("scope ignored") {
		f.scope = "notes:read notes:write"
	}
	if refresh == "" {
		refresh = s.secret("rt_")
	}
	s.families[refresh] = f
	access := s.accessToken(r.PostFormValue("resource"), f.scope)
	s.byAccess[access] = f
	response := map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": 600, "refresh_token": refresh, "scope": f.scope,
	}
	switch s.fault {
	case "no refresh token":
		delete(response, "refresh_token")
	case "narrower scope":
		response["scope"] = ""
	}
	if !s.is("token response may be cached") {
		w.Header().Set("Cache-Control", "no-store")
	}
	reply(w, http.StatusOK, response)
}

func (s *fakeServer) accessToken(resource, scope string) string {
	if s.is("wrong audience") {
		resource = "https://other.example/mcp"
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "1"))
	if err != nil {
		s.t.Error(err)
		return ""
	}
	payload, err := json.Marshal(map[string]any{
		"iss": s.issuer(), "aud": resource, "sub": "u_alice", "client_id": "client-1", "jti": rand.Text(), "scope": scope,
		"iat": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
	})
	if err != nil {
		s.t.Error(err)
		return ""
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		s.t.Error(err)
		return ""
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		s.t.Error(err)
	}
	s.secrets = append(s.secrets, token)
	return token
}

func (s *fakeServer) revoke(_ http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.families[r.PostFormValue("token")]; f != nil && !s.is("revocation does nothing") {
		f.ended = true
	}
}

func (s *fakeServer) introspect(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, proof, _ := r.BasicAuth(); id != notesClient || proof != notesClientProof {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	f := s.byAccess[r.PostFormValue("token")]
	reply(w, http.StatusOK, map[string]any{"active": f != nil && !f.ended})
}

// hidden returns everything that must not have been shown.
func (s *fakeServer) hidden() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.secrets)
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
