// Package notes is a small protected MCP server: an in-memory notebook for each
// person, behind two scopes. It shows what an MCP server owes an authorization
// server, and nothing more:
//
//   - it says where tokens come from (RFC 9728, Protected Resource Metadata),
//   - it takes only access tokens made for itself (RFC 9068, RFC 8707),
//   - it asks for more permission only when a tool needs it (RFC 6750 §3.1),
//   - it asks the issuer whether a token was revoked (RFC 7662), if it may.
//
// Transport and tools come from the official Go MCP SDK.
package notes

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// The scopes of the notebook.
const (
	ScopeRead  = "notes:read"
	ScopeWrite = "notes:write"
)

// The tools of the notebook.
const (
	ToolList = "list_notes"
	ToolRead = "read_note"
	ToolAdd  = "add_note"
)

// Scope is a permission of this server, with the sentence a person reads before
// giving it and the tools it unlocks.
type Scope struct {
	Name        string
	Description string
	Tools       []string
}

// Scopes returns what to register this server's Resource with.
func Scopes() []Scope {
	return []Scope{
		{Name: ScopeRead, Description: "Read your notes", Tools: []string{ToolList, ToolRead}},
		{Name: ScopeWrite, Description: "Add notes", Tools: []string{ToolAdd}},
	}
}

const (
	metadataPath = "/.well-known/oauth-protected-resource"
	// Clocks of two machines are rarely equal.
	clockLeeway = 60 * time.Second
	maxRequest  = 64 << 10 // bytes
)

// Config says who this server is and whom it trusts.
type Config struct {
	// ResourceURI is the URL of this MCP server as clients use it: the path it
	// answers at, and the only audience it takes.
	ResourceURI string
	// Issuer is the authorization server, exactly as it names itself.
	Issuer string
	// ClientID and ClientSecret let this server introspect tokens. Without them a
	// revoked token is taken until it expires.
	ClientID     string
	ClientSecret string
	// HTTPClient talks to the issuer; nil for one with short timeouts.
	HTTPClient *http.Client
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// New returns the server: the MCP endpoint at the path of ResourceURI, and its
// Protected Resource Metadata. It contacts the issuer only when the first token
// comes. The error says what is wrong with the Config.
func New(config Config) (http.Handler, error) {
	resource, err := url.Parse(config.ResourceURI)
	if err != nil || resource.Host == "" || resource.Fragment != "" || resource.RawQuery != "" || !usableURL(config.ResourceURI) {
		return nil, errors.New("the resource URI must be an https URL (http for loopback) without query or fragment")
	}
	if !usableURL(config.Issuer) {
		return nil, errors.New("the issuer must be an https URL (http for loopback)")
	}
	if (config.ClientID == "") != (config.ClientSecret == "") {
		return nil, errors.New("introspection needs both a client id and its secret")
	}
	if config.HTTPClient == nil {
		config.HTTPClient = &http.Client{Timeout: 5 * time.Second, CheckRedirect: noRedirect}
	}
	if config.Now == nil {
		config.Now = time.Now
	}

	path := resource.EscapedPath()
	metadataURL := resource.Scheme + "://" + resource.Host + metadataPath
	if path != "/" {
		metadataURL += path
	}
	server := newMCPServer(config.Now)
	s := &handler{
		path:        cmp.Or(path, "/"),
		metadataURL: metadataURL,
		verifier:    &verifier{resource: config.ResourceURI, issuer: newIssuer(config), now: config.Now},
		metadata: auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
			Resource:               config.ResourceURI,
			AuthorizationServers:   []string{config.Issuer},
			ScopesSupported:        []string{ScopeRead, ScopeWrite},
			BearerMethodsSupported: []string{"header"},
			ResourceName:           "Notes",
		}),
	}
	// Sessions would add nothing here: every request carries its token, and
	// clients of the 2026-07-28 protocol do without.
	transport := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, MaxRequestBodyBytes: maxRequest})
	s.mcp = auth.RequireBearerToken(verified, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: metadataURL,
		Scopes:              nil, // decided for each tool, below
		ClockSkew:           clockLeeway,
	})(s.requireToolScopes(transport))
	return s, nil
}

type handler struct {
	path        string
	metadataURL string
	metadata    http.Handler
	mcp         http.Handler
	verifier    *verifier
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.EscapedPath() {
	case metadataPath, metadataPath + h.path:
		h.metadata.ServeHTTP(w, r)
	case h.path:
		h.serveMCP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serveMCP judges the token before the SDK does, because the SDK's middleware
// can say neither error="invalid_token" nor 503. An outage must never look like
// a bad token: clients throw their credentials away on a 401.
func (h *handler) serveMCP(w http.ResponseWriter, r *http.Request) {
	// Clients in a browser are welcome: there are no cookies here to abuse.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate")
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "POST")
		w.Header().Set("Access-Control-Allow-Headers", "*, Authorization")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	token, given := bearerToken(r)
	if !given {
		h.refuse(w, http.StatusUnauthorized, "", []string{ScopeRead})
		return
	}
	info, err := h.verifier.verify(r.Context(), token)
	switch {
	case errors.Is(err, errUnavailable):
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the authorization server cannot be asked right now", http.StatusServiceUnavailable)
	case err != nil:
		h.refuse(w, http.StatusUnauthorized, "invalid_token", []string{ScopeRead})
	default:
		h.mcp.ServeHTTP(w, r.WithContext(withTokenInfo(r.Context(), info)))
	}
}

// refuse answers with a challenge (RFC 6750 §3, RFC 9728 §5.1). code is empty
// when the request carried no token at all.
func (h *handler) refuse(w http.ResponseWriter, status int, code string, scopes []string) {
	challenge := "Bearer "
	if code != "" {
		challenge += "error=" + strconv.Quote(code) + ", "
	}
	challenge += fmt.Sprintf("resource_metadata=%q, scope=%q", h.metadataURL, strings.Join(scopes, " "))
	w.Header().Set("WWW-Authenticate", challenge)
	message := map[int]string{
		http.StatusUnauthorized: "an access token for this server is needed",
		http.StatusForbidden:    "the access token lacks a scope that this tool needs",
	}[status]
	http.Error(w, message, status)
}

func bearerToken(r *http.Request) (token string, given bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// usableURL reports whether raw is https, or http on a loopback host.
func usableURL(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	loopback := slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && loopback
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
