// Package registration lets clients that nobody has registered introduce
// themselves by dynamic registration (RFC 7591), which MCP keeps for
// compatibility.
//
// Only public clients register here. What a client asks for beyond that is
// narrowed, and the answer says to what. Rows that nobody uses expire.
package registration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"grantd/server/web"
	"grantd/storage"
)

const (
	// MaxUnused is how many registered clients that nobody has approved may
	// exist at once.
	MaxUnused = 10_000
	// UnusedLifetime is how long such a client is kept.
	UnusedLifetime = 24 * time.Hour

	maxRedirectURIs = 10
	maxNameLength   = 200
	maxScopeLength  = 2048
)

// Store keeps the clients.
type Store interface {
	CreateDynamicClient(ctx context.Context, c *storage.Client, maxUnused int, event storage.AuditEvent) error
}

// Registration serves /register.
type Registration struct {
	Store     Store
	Addresses web.Addresses
	Limit     *web.FailureLimit // registrations per address
	Now       func() time.Time
}

// request is the client metadata that is understood (RFC 7591 §2). Everything
// else in a request is ignored, as the RFC asks.
type request struct {
	RedirectURIs            []string `json:"redirect_uris"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	ClientName              string   `json:"client_name"`
	ClientURI               string   `json:"client_uri"`
	LogoURI                 string   `json:"logo_uri"`
	TosURI                  string   `json:"tos_uri"`
	PolicyURI               string   `json:"policy_uri"`
	Scope                   string   `json:"scope"`
	Contacts                []string `json:"contacts"`
	ApplicationType         string   `json:"application_type"`
	SoftwareID              string   `json:"software_id"`
	SoftwareVersion         string   `json:"software_version"`
}

// response is the client as registered (RFC 7591 §3.2.1). Absent members are
// left out: some clients stumble over null.
type response struct {
	ClientID                string   `json:"client_id"`
	ClientIDIssuedAt        int64    `json:"client_id_issued_at"`
	RedirectURIs            []string `json:"redirect_uris"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	ClientName              string   `json:"client_name,omitempty"`
	ClientURI               string   `json:"client_uri,omitempty"`
	LogoURI                 string   `json:"logo_uri,omitempty"`
	TosURI                  string   `json:"tos_uri,omitempty"`
	PolicyURI               string   `json:"policy_uri,omitempty"`
	Scope                   string   `json:"scope,omitempty"`
	Contacts                []string `json:"contacts,omitempty"`
	ApplicationType         string   `json:"application_type,omitempty"`
	SoftwareID              string   `json:"software_id,omitempty"`
	SoftwareVersion         string   `json:"software_version,omitempty"`
}

// Register serves POST /register.
func (g *Registration) Register(w http.ResponseWriter, r *http.Request) error {
	key := g.Addresses.Key(r)
	if wait := g.Limit.Blocked(key); wait > 0 {
		return &web.OAuthError{
			Status: http.StatusTooManyRequests, Code: "temporarily_unavailable",
			Description: "Too many registrations from this address; wait before trying again.", RetryAfter: wait,
		}
	}
	asked, err := read(r)
	if err != nil {
		return err
	}
	client, err := g.client(asked)
	if err != nil {
		return err
	}
	g.Limit.Fail(key)
	event := storage.NewAuditEvent(client.CreatedAt, "client:"+client.ClientID, "client.registered", client.ID).
		With("client_name", client.ClientName).With("redirect_uris", strings.Join(client.RedirectURIs, " "))
	if err := g.Store.CreateDynamicClient(r.Context(), client, MaxUnused, event); errors.Is(err, storage.ErrFull) {
		return &web.OAuthError{
			Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
			Description: "Too many clients are registered and not used; try again later.", Err: err, RetryAfter: 3600,
		}
	} else if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusCreated, response{
		ClientID: client.ClientID, ClientIDIssuedAt: client.CreatedAt.Unix(), RedirectURIs: client.RedirectURIs,
		TokenEndpointAuthMethod: client.TokenEndpointAuthMethod, GrantTypes: client.GrantTypes, ResponseTypes: client.ResponseTypes,
		ClientName: client.ClientName, ClientURI: client.ClientURI, LogoURI: client.LogoURI, TosURI: client.TosURI, PolicyURI: client.PolicyURI,
		Scope: strings.Join(client.Scope, " "), Contacts: client.Contacts, ApplicationType: client.ApplicationType,
		SoftwareID: client.SoftwareID, SoftwareVersion: client.SoftwareVersion,
	})
	return nil
}

func read(r *http.Request) (*request, error) {
	if mediaType := r.Header.Get("Content-Type"); !strings.HasPrefix(strings.ToLower(mediaType), "application/json") {
		return nil, invalidMetadata("The content type must be application/json.")
	}
	body, err := web.ReadBody(r)
	if err != nil {
		return nil, web.OAuthFormError(err)
	}
	if !utf8.Valid(body) {
		return nil, invalidMetadata("The body is not UTF-8.")
	}
	if err := noDuplicateMembers(body); err != nil {
		return nil, err
	}
	var asked request
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, invalidMetadata("The body is not a JSON object of client metadata.")
	}
	return &asked, nil
}

// noDuplicateMembers refuses a JSON text whose object names a member twice: two
// readers could then see two clients.
func noDuplicateMembers(body []byte) error {
	const maxDepth = 16
	decoder := json.NewDecoder(bytes.NewReader(body))
	type level struct {
		object  bool
		wantKey bool
		seen    map[string]bool
	}
	var stack []level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || len(stack) > maxDepth {
			return invalidMetadata("The body is not a JSON object of client metadata.")
		}
		if delimiter, ok := token.(json.Delim); ok && (delimiter == '}' || delimiter == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if len(stack) > 0 {
			if top := &stack[len(stack)-1]; top.object {
				if top.wantKey {
					name, _ := token.(string)
					name = strings.ToLower(strings.ToUpper(name)) // json takes any case
					if top.seen[name] {
						return invalidMetadata("A member is given twice.")
					}
					top.seen[name] = true
					top.wantKey = false
					continue
				}
				top.wantKey = true
			}
		}
		if delimiter, ok := token.(json.Delim); ok {
			stack = append(stack, level{object: delimiter == '{', wantKey: true, seen: map[string]bool{}})
		}
	}
}

// client turns what was asked into the client that is registered.
func (g *Registration) client(asked *request) (*storage.Client, error) {
	if len(asked.RedirectURIs) == 0 || len(asked.RedirectURIs) > maxRedirectURIs {
		return nil, web.NewOAuthError("invalid_redirect_uri", "Register between 1 and 10 redirect_uris.")
	}
	for _, uri := range asked.RedirectURIs {
		if storage.ValidateRedirectURI(uri) != nil {
			return nil, web.NewOAuthError("invalid_redirect_uri", "A redirect URI "+storage.ErrRedirectURI.Error()+".")
		}
		if asked.ApplicationType == "web" && storage.LoopbackRedirect(uri) {
			return nil, web.NewOAuthError("invalid_redirect_uri", "A loopback redirect URI belongs to application_type native, not web.")
		}
	}
	for _, uri := range []string{asked.ClientURI, asked.LogoURI, asked.TosURI, asked.PolicyURI} {
		if uri != "" && !webPage(uri) {
			return nil, invalidMetadata("client_uri, logo_uri, tos_uri and policy_uri must be https URLs.")
		}
	}
	if len(asked.ResponseTypes) > 0 && !slices.Contains(asked.ResponseTypes, "code") {
		return nil, invalidMetadata("This server supports response_type code.")
	}
	if len(asked.GrantTypes) > 0 && !slices.Contains(asked.GrantTypes, storage.GrantTypeAuthorizationCode) {
		return nil, invalidMetadata("A client that registers itself needs grant type authorization_code.")
	}
	if len(asked.ClientName) > maxNameLength || len(asked.Scope) > maxScopeLength || hasControls(asked.ClientName) || hasControls(asked.Scope) {
		return nil, invalidMetadata("client_name or scope is too long or has control characters.")
	}
	contacts, software := strings.Join(asked.Contacts, ""), asked.SoftwareID+asked.SoftwareVersion
	if len(asked.Contacts) > 10 || len(contacts) > 1024 || len(software) > 512 || hasControls(contacts) || hasControls(software) {
		return nil, invalidMetadata("contacts, software_id or software_version is too long or has control characters.")
	}
	now := g.Now()
	id := storage.NewID(storage.PrefixClient)
	client := &storage.Client{
		ID: id, ClientID: id, Source: storage.SourceDynamic,
		ClientName: asked.ClientName, RedirectURIs: asked.RedirectURIs, ResponseTypes: []string{"code"},
		GrantTypes:              []string{storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken},
		TokenEndpointAuthMethod: storage.AuthMethodNone, ApplicationType: applicationType(asked),
		Scope: strings.Fields(asked.Scope), Resources: []string{}, ClientURI: asked.ClientURI, LogoURI: asked.LogoURI, TosURI: asked.TosURI, PolicyURI: asked.PolicyURI,
		Contacts: asked.Contacts, SoftwareID: asked.SoftwareID, SoftwareVersion: asked.SoftwareVersion, CreatedAt: now, UpdatedAt: now,
	}
	if len(asked.GrantTypes) > 0 {
		client.GrantTypes = storage.Intersect(client.GrantTypes, asked.GrantTypes)
	}
	return client, nil
}

func applicationType(asked *request) string {
	if asked.ApplicationType == "native" || slices.ContainsFunc(asked.RedirectURIs, storage.LoopbackRedirect) {
		return "native"
	}
	return "web"
}

func webPage(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && len(uri) <= storage.MaxURILength && u.Scheme == "https" && u.Host != "" && u.User == nil && !hasControls(uri)
}

func hasControls(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

func invalidMetadata(description string) error {
	return web.NewOAuthError("invalid_client_metadata", description)
}
