// Package registration lets clients that nobody has registered introduce
// themselves by dynamic registration (RFC 7591), which MCP keeps for
// compatibility, and lets those that got a secret or have a key of their own manage
// what they registered (RFC 7592).
//
// What a client asks for beyond what it may have is narrowed, and the answer says to
// what. A public client that registers again is folded into its row, which nobody
// but an admin manages, since everyone who says the same shares it. Rows that nobody
// uses expire.
package registration

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
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
	// foldRenewsAfter is how old a row is when registering again gives it more time:
	// late, so that few registrations write, and early enough for who has just
	// registered to be approved.
	foldRenewsAfter = UnusedLifetime / 2
	// maxJWKS bounds the keys that a stranger may have stored, in bytes.
	maxJWKS = 16 << 10
)

// Store keeps the clients.
type Store interface {
	FoldClient(ctx context.Context, r *storage.Registration, renewBefore time.Time) (renewed bool, err error)
	CreateDynamicClient(ctx context.Context, r *storage.Registration, event storage.AuditEvent) (folded bool, err error)
	ClientByClientID(ctx context.Context, clientID string) (*storage.Client, error)
	UpdateDynamicClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error
	DeleteClient(ctx context.Context, id string, version int64, event storage.AuditEvent) error
}

// Registration serves /register and what is below it.
type Registration struct {
	Store     Store
	Issuer    web.Issuer
	Addresses web.Addresses
	Trust     *Trust
	// KnownScopes returns those of scopes that exist here.
	KnownScopes func(ctx context.Context, scopes []string) ([]string, error)
	// CheckJWKS refuses a client's JWK set, CheckURL a URL that no document may be
	// fetched from. Neither uses the network. The error of the first is told.
	CheckJWKS  func(raw []byte) error
	CheckURL   func(url string) error
	Algorithms []string // of signatures that a client may have
	// PerAddress and Together count rows that are written, not those who register.
	PerAddress, Together *web.FailureLimit
	Now                  func() time.Time

	writing sync.Mutex
}

// response is the client as registered (RFC 7591 §3.2.1, RFC 7592 §3). Absent
// members are left out: some clients stumble over null.
type response struct {
	ClientID         string `json:"client_id"`
	ClientIDIssuedAt int64  `json:"client_id_issued_at"`
	ClientSecret     string `json:"client_secret,omitempty"`
	// ClientSecretExpiresAt is there whenever the secret is, and 0: never.
	ClientSecretExpiresAt       *int64          `json:"client_secret_expires_at,omitempty"`
	RegistrationAccessToken     string          `json:"registration_access_token,omitempty"`
	RegistrationClientURI       string          `json:"registration_client_uri,omitempty"`
	RedirectURIs                []string        `json:"redirect_uris"`
	PostLogoutRedirectURIs      []string        `json:"post_logout_redirect_uris,omitempty"`
	TokenEndpointAuthMethod     string          `json:"token_endpoint_auth_method"`
	TokenEndpointAuthSigningAlg string          `json:"token_endpoint_auth_signing_alg,omitempty"`
	GrantTypes                  []string        `json:"grant_types"`
	ResponseTypes               []string        `json:"response_types"`
	ClientName                  string          `json:"client_name,omitempty"`
	ClientURI                   string          `json:"client_uri,omitempty"`
	LogoURI                     string          `json:"logo_uri,omitempty"`
	TosURI                      string          `json:"tos_uri,omitempty"`
	PolicyURI                   string          `json:"policy_uri,omitempty"`
	Scope                       string          `json:"scope,omitempty"`
	Contacts                    []string        `json:"contacts,omitempty"`
	ApplicationType             string          `json:"application_type,omitempty"`
	SoftwareID                  string          `json:"software_id,omitempty"`
	SoftwareVersion             string          `json:"software_version,omitempty"`
	JWKS                        json.RawMessage `json:"jwks,omitempty"`
	JWKSURI                     string          `json:"jwks_uri,omitempty"`
}

// answer is what is told of a client. token manages it; empty: nothing does.
func (g *Registration) answer(c *storage.Client, token string) response {
	a := response{
		ClientID: c.ClientID, ClientIDIssuedAt: c.CreatedAt.Unix(), RedirectURIs: c.RedirectURIs,
		PostLogoutRedirectURIs:  c.PostLogoutRedirectURIs,
		TokenEndpointAuthMethod: c.TokenEndpointAuthMethod, TokenEndpointAuthSigningAlg: c.TokenEndpointAuthSigningAlg,
		GrantTypes: c.GrantTypes, ResponseTypes: c.ResponseTypes,
		ClientName: c.ClientName, ClientURI: c.ClientURI, LogoURI: c.LogoURI, TosURI: c.TosURI, PolicyURI: c.PolicyURI,
		Scope: strings.Join(c.Scope, " "), Contacts: c.Contacts, ApplicationType: c.ApplicationType,
		SoftwareID: c.SoftwareID, SoftwareVersion: c.SoftwareVersion, JWKS: json.RawMessage(c.JWKS), JWKSURI: c.JWKSURI,
	}
	if token != "" {
		a.RegistrationAccessToken, a.RegistrationClientURI = token, g.Issuer.URL("/register/"+c.ClientID)
	}
	return a
}

// Register serves POST /register.
func (g *Registration) Register(w http.ResponseWriter, r *http.Request) error {
	initial, err := g.admit(r)
	if err != nil {
		return err
	}
	asked, err := read(r)
	if err != nil {
		return err
	}
	client, err := g.client(r.Context(), asked, authMethods)
	if err != nil {
		return err
	}
	client.ID = storage.NewID(storage.PrefixClient)
	client.ClientID, client.Source = client.ID, storage.SourceDynamic
	client.CreatedAt = g.Now()
	client.UpdatedAt, client.Vouched = client.CreatedAt, initial != nil

	registration := &storage.Registration{Client: client, InitialAccessTokenHash: initial, MaxUnused: MaxUnused}
	if client.Public() {
		// The row is everyone's who says the same: it has nobody's port.
		shared := *client
		shared.RedirectURIs = foldedURIs(client)
		registration.Client, registration.Digest = &shared, digestOf(&shared)
		if err := g.store(r, registration); err != nil {
			return err
		}
		client.ID, client.ClientID, client.CreatedAt = shared.ID, shared.ClientID, shared.CreatedAt
		web.WriteJSON(w, http.StatusCreated, g.answer(client, ""))
		return nil
	}

	token, hash := storage.NewSecret(storage.SecretPrefixRegistrationAccess)
	client.RegistrationAccessTokenHash = hash
	var secret string
	if client.TokenEndpointAuthMethod != storage.AuthMethodPrivateKeyJWT {
		secret, hash = storage.NewSecret(storage.SecretPrefixClient)
		client.Secrets = []storage.ClientSecret{{ID: storage.NewID(storage.PrefixClientSecret), Hash: hash, CreatedAt: client.CreatedAt}}
	}
	if err := g.store(r, registration); err != nil {
		return err
	}
	a := g.answer(client, token)
	if secret != "" {
		a.ClientSecret, a.ClientSecretExpiresAt = secret, new(int64)
	}
	web.WriteJSON(w, http.StatusCreated, a)
	return nil
}

// admit reports whether the request may register, and the hash of the initial
// access token it came with, nil if none.
func (g *Registration) admit(r *http.Request) ([]byte, error) {
	mode, err := g.Trust.Dynamic(r.Context())
	if err != nil {
		return nil, err
	}
	token := bearer(r, storage.SecretPrefixInitialAccess)
	switch {
	case mode == storage.RegistrationOff:
		return nil, &web.OAuthError{
			Status: http.StatusNotFound, Code: "invalid_request",
			Description: "Clients cannot register themselves with this server; ask its administrator for a client_id.",
		}
	case token != "":
		return storage.HashSecret(token), nil
	case mode == storage.RegistrationAllow, mode == storage.RegistrationAskAdmin:
		return nil, nil
	}
	return nil, invalidToken("Registering a client with this server takes an initial access token; ask its administrator for one.")
}

// store folds or inserts the client.
func (g *Registration) store(r *http.Request, registration *storage.Registration) error {
	ctx, key, now := r.Context(), g.Addresses.Key(r), g.Now()
	if registration.InitialAccessTokenHash == nil {
		if registration.Digest != nil {
			var renewBefore time.Time
			if g.PerAddress.Blocked(key) == 0 {
				renewBefore = now.Add(-foldRenewsAfter)
			}
			renewed, err := g.Store.FoldClient(ctx, registration, renewBefore)
			if renewed {
				g.PerAddress.Fail(key)
			}
			if !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		if err := g.count(key); err != nil {
			return err
		}
	}
	client := registration.Client
	event := storage.NewAuditEvent(now, "client:"+client.ClientID, "client.registered", client.ID).
		With("client_name", client.ClientName).With("redirect_uris", strings.Join(client.RedirectURIs, " ")).
		With("token_endpoint_auth_method", client.TokenEndpointAuthMethod)
	err := g.insert(ctx, registration, event)
	switch {
	case errors.Is(err, storage.ErrFull):
		return &web.OAuthError{
			Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
			Description: "Too many clients are registered and not used; try again later.", Err: err, RetryAfter: 3600,
		}
	case errors.Is(err, storage.ErrConsumed):
		return invalidToken("The initial access token is unknown, has expired, or was used as often as it may be.")
	}
	return err
}

// insert writes the client's row. Those who insert count what is there, one after
// another. They wait here, where they keep no connection from anybody else.
func (g *Registration) insert(ctx context.Context, registration *storage.Registration, event storage.AuditEvent) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	_, err := g.Store.CreateDynamicClient(ctx, registration, event)
	return err
}

// count counts a row that is about to be written, or refuses to. Those who come at
// once cannot write more than there is room for.
func (g *Registration) count(key string) error {
	wait := g.PerAddress.Take(key)
	if wait == 0 {
		if wait = g.Together.Take(""); wait > 0 {
			g.PerAddress.Give(key)
		}
	}
	if wait > 0 {
		return &web.OAuthError{
			Status: http.StatusTooManyRequests, Code: "temporarily_unavailable",
			Description: "Too many registrations; wait before trying again.", RetryAfter: wait,
		}
	}
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

// bearer returns the bearer token of the request (RFC 6750 §2.1) if it has that
// prefix. Others are not for us: "" as if there were none.
func bearer(r *http.Request, prefix string) string {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(token, prefix) {
		return ""
	}
	return token
}

func invalidToken(description string) error {
	return &web.OAuthError{Status: http.StatusUnauthorized, Code: "invalid_token", Description: description, Bearer: true}
}

// confidential are the methods of clients that prove who they are; authMethods all
// that can be registered.
var (
	confidential = []string{storage.AuthMethodClientSecretBasic, storage.AuthMethodClientSecretPost, storage.AuthMethodPrivateKeyJWT}
	authMethods  = append(slices.Clone(confidential), storage.AuthMethodNone)
)

// client turns what was asked into a client without identity. software_statement,
// sector_identifier_uri and whatever else is not understood are ignored.
func (g *Registration) client(ctx context.Context, asked *Metadata, methods []string) (*storage.Client, error) {
	if err := g.checkLinks(asked); err != nil {
		return nil, err
	}
	rules := Rules{
		AuthMethods: methods, DefaultAuthMethod: storage.AuthMethodClientSecretBasic,
		CheckKeys: func(*Metadata) error { return nil }, // they have been, whatever the method
	}
	privateUse, err := g.Trust.PrivateUse(ctx)
	if err != nil {
		return nil, err
	}
	rules.PrivateUse = privateUse
	client, err := rules.Client(asked)
	if err != nil {
		return nil, err
	}
	client.Scope, err = g.KnownScopes(ctx, client.Scope)
	return client, err
}

// checkLinks judges what a server might be made to fetch or keep: it is refused at
// once even where it would not be looked at.
func (g *Registration) checkLinks(m *Metadata) error {
	switch {
	case len(m.JWKS) > 0 && m.JWKSURI != "":
		return invalidMetadata("Send jwks or jwks_uri, not both.")
	case len(m.JWKS) > maxJWKS:
		return invalidMetadata("The jwks is too large.")
	case m.AuthSigningAlg != "" && !slices.Contains(g.Algorithms, m.AuthSigningAlg):
		return invalidMetadata("token_endpoint_auth_signing_alg must be one of " + strings.Join(g.Algorithms, ", ") + ".")
	case m.JWKSURI != "" && g.CheckURL(m.JWKSURI) != nil:
		return invalidMetadata("jwks_uri must be an https URL of a public host.")
	case m.LogoURI != "" && storage.ValidateWebPage(m.LogoURI) == nil && g.CheckURL(m.LogoURI) != nil:
		return invalidMetadata("logo_uri must be an https URL of a public host.")
	}
	if len(m.JWKS) > 0 {
		if err := g.CheckJWKS(m.JWKS); err != nil {
			// A description has no quotes (RFC 6749 §5.2).
			return invalidMetadata("jwks: " + strings.ReplaceAll(err.Error(), `"`, "") + ".")
		}
	}
	return nil
}
