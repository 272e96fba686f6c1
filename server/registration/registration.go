// Package registration lets clients that nobody has registered introduce
// themselves by dynamic registration (RFC 7591), which MCP keeps for
// compatibility.
//
// Only public clients register here. What a client asks for beyond that is
// narrowed, and the answer says to what. Rows that nobody uses expire.
package registration

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"grantd/server/web"
	"grantd/storage"
)

const (
	// MaxUnused is how many registered clients that nobody has approved may
	// exist at once.
	MaxUnused = 10_000
	// UnusedLifetime is how long such a client is kept.
	UnusedLifetime = 24 * time.Hour
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
	Trust     *Trust
	Now       func() time.Time
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

// WhileOn serves next unless the policy has switched dynamic registration off;
// then there is no such path, whatever the method.
func (g *Registration) WhileOn(next, notFound http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// When the policy cannot be read, next says so in the words of the endpoint.
		if mode, err := g.Trust.Dynamic(r.Context()); err == nil && mode == storage.RegistrationOff {
			notFound.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Register serves POST /register.
func (g *Registration) Register(w http.ResponseWriter, r *http.Request) error {
	switch mode, err := g.Trust.Dynamic(r.Context()); {
	case err != nil:
		return err
	case mode == storage.RegistrationToken:
		w.Header().Set("WWW-Authenticate", "Bearer")
		return &web.OAuthError{
			Status: http.StatusUnauthorized, Code: "invalid_token",
			Description: "Registering here takes an initial access token of this server's administrators.",
		}
	}
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
	client, err := g.client(r.Context(), asked)
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

func read(r *http.Request) (*Metadata, error) {
	if mediaType := r.Header.Get("Content-Type"); !strings.HasPrefix(strings.ToLower(mediaType), "application/json") {
		return nil, invalidMetadata("The content type must be application/json.")
	}
	body, err := web.ReadBody(r)
	if err != nil {
		return nil, web.OAuthFormError(err)
	}
	return ParseMetadata(body)
}

// rules are those of RFC 7591 here: only public clients register themselves.
var rules = Rules{AuthMethods: []string{storage.AuthMethodNone}, DefaultAuthMethod: storage.AuthMethodNone}

// client turns what was asked into the client that is registered. A client that
// asks for a secret or a key of its own is registered as a public one, and told.
func (g *Registration) client(ctx context.Context, asked *Metadata) (*storage.Client, error) {
	privateUse, err := g.Trust.PrivateUse(ctx)
	if err != nil {
		return nil, err
	}
	rules := rules
	rules.PrivateUse = privateUse
	asked.TokenEndpointAuthMethod = storage.AuthMethodNone
	client, err := rules.Client(asked)
	if err != nil {
		return nil, err
	}
	client.ID = storage.NewID(storage.PrefixClient)
	client.ClientID, client.Source = client.ID, storage.SourceDynamic
	client.CreatedAt = g.Now()
	client.UpdatedAt = client.CreatedAt
	return client, nil
}
