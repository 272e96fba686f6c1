package storage

import (
	"context"
	"slices"
	"time"
)

// ClientSource says how grantd came to know a Client.
type ClientSource string

// The three sources of a Client. Only registered ones are trusted: the other two
// describe themselves.
const (
	SourceRegistered       ClientSource = "registered"        // by an admin
	SourceDynamic          ClientSource = "dynamic"           // RFC 7591
	SourceMetadataDocument ClientSource = "metadata_document" // its client_id is the URL of its document
)

// The token endpoint authentication methods (RFC 7591 §2) grantd knows.
const (
	AuthMethodNone              = "none"
	AuthMethodClientSecretBasic = "client_secret_basic"
	AuthMethodClientSecretPost  = "client_secret_post"
	AuthMethodPrivateKeyJWT     = "private_key_jwt"
)

// The grant types grantd knows (RFC 7591 §2).
const (
	GrantTypeAuthorizationCode = "authorization_code"
	GrantTypeRefreshToken      = "refresh_token"
	GrantTypeClientCredentials = "client_credentials"
	GrantTypeDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628 §3.4
)

// Client is an OAuth client. Fields that RFC 7591 knows have its names.
type Client struct {
	ID       string // opaque, PrefixClient; names the client in admin paths and foreign keys
	ClientID string // the OAuth client_id: equal to ID unless chosen, or the URL of a document
	Source   ClientSource
	Version  int64 // grows with every change; see ErrConflict

	ClientName              string
	RedirectURIs            []string
	PostLogoutRedirectURIs  []string // where people may be sent who have signed out
	GrantTypes              []string
	ResponseTypes           []string
	TokenEndpointAuthMethod string
	ApplicationType         string // "web" or "native"
	// Scope is a ceiling for a registered client and only a hint otherwise.
	// Empty means no ceiling.
	Scope []string
	// Resources limits a registered client to these Resource URIs. Empty means
	// every Resource.
	Resources       []string
	ClientURI       string
	LogoURI         string
	TosURI          string
	PolicyURI       string
	Contacts        []string
	SoftwareID      string
	SoftwareVersion string
	// JWKS or JWKSURI hold the public keys of a private_key_jwt client; at most
	// one of the two is set.
	JWKS                        string // a JWK set (RFC 7517), as JSON
	JWKSURI                     string
	TokenEndpointAuthSigningAlg string // JWS alg; empty: any that is supported
	// RegistrationAccessTokenHash is the SHA-256 of the token that manages the
	// client's registration (RFC 7592). Nil: only an admin does.
	RegistrationAccessTokenHash []byte

	// Vouched: a dynamic client that somebody registered with an InitialAccessToken,
	// which an admin gave them.
	Vouched bool

	// RequirePushedAuthorizationRequests: its authorization requests count only
	// when they were pushed (RFC 9126 §6).
	RequirePushedAuthorizationRequests bool

	// DocumentFetchedAt is when a metadata_document client's document was fetched;
	// zero for others.
	DocumentFetchedAt time.Time

	// ManagedBy is the set that "grantd apply" keeps the client in; empty: none.
	ManagedBy string
	// AdminAccess: it may get administrators a token for the built-in Resource. Only
	// registered clients have it.
	AdminAccess bool

	Disabled  bool
	Secrets   []ClientSecret // oldest first, expired ones included
	CreatedAt time.Time
	UpdatedAt time.Time
	// LastUsedAt is when it last got a token, to about ClientUse. Zero: not yet, or
	// before grantd took note.
	LastUsedAt time.Time
}

// ClientUse is how much younger LastUsedAt must become to be written anew.
const ClientUse = time.Hour

// ClientSecret is one of a Client's secrets. The secret itself is shown once
// and never stored.
type ClientSecret struct {
	ID        string // PrefixClientSecret
	Hash      []byte // SHA-256 of the whole secret, 32 bytes
	CreatedAt time.Time
	ExpiresAt time.Time // zero: does not expire
}

// Public reports whether the client has no credential to authenticate with
// (OAuth 2.1 §2.1).
func (c *Client) Public() bool { return c.TokenEndpointAuthMethod == AuthMethodNone }

// SelfAsserted reports whether the client's name and redirects are only its own
// word, so that nothing is sent there before a person has signed in.
func (c *Client) SelfAsserted() bool { return c.Source != SourceRegistered }

// MayUse reports whether the client registered this grant type.
func (c *Client) MayUse(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }

// MayReach reports whether the client's tokens may be for this Resource. The identity
// of people is limited by the ceiling alone.
func (c *Client) MayReach(r *Resource) bool {
	if r.BuiltIn() && (!c.AdminAccess || c.Source != SourceRegistered) {
		return false
	}
	return len(c.Resources) == 0 || r.Identity() || slices.ContainsFunc(c.Resources, r.Names)
}

// Within returns those of scopes that lie under the client's ceiling, in order.
func (c *Client) Within(scopes []string) []string {
	if c.Source != SourceRegistered || len(c.Scope) == 0 {
		return scopes
	}
	return Intersect(scopes, c.Scope)
}

// ClientFilter narrows a list of Clients. Zero fields narrow nothing.
type ClientFilter struct {
	Source      ClientSource
	Disabled    *bool
	AdminAccess *bool
}

// Leaves reports whether c is one of those that the filter leaves.
func (f ClientFilter) Leaves(c *Client) bool {
	return (f.Source == "" || f.Source == c.Source) && is(f.Disabled, c.Disabled) && is(f.AdminAccess, c.AdminAccess)
}

// is reports whether a filter, which may be nil, leaves a value.
func is(wanted *bool, value bool) bool { return wanted == nil || *wanted == value }

// ClientStore keeps Clients.
type ClientStore interface {
	// CreateClient inserts c with its Secrets. ErrExists: ID or ClientID is taken.
	CreateClient(ctx context.Context, c *Client, event AuditEvent) error
	// FoldClient turns r into the client that registered with the same Digest
	// before, disabled or not, and changes nothing else. If that one was last
	// renewed at renewBefore or earlier it is renewed as of r.Client.CreatedAt.
	// ErrNotFound: there is none.
	FoldClient(ctx context.Context, r *Registration, renewBefore time.Time) (renewed bool, err error)
	// CreateDynamicClient inserts r.Client with its Secrets and records the event,
	// or does what FoldClient does, renewing, if one with its Digest is there.
	// ErrFull: there are r.MaxUnused already; ErrConsumed: the initial access
	// token is unknown, has expired, or was used as often as it may be; ErrExists:
	// ID or ClientID is taken.
	CreateDynamicClient(ctx context.Context, r *Registration, event AuditEvent) (folded bool, err error)
	// Client returns the client with this opaque id, its Secrets included.
	// ErrNotFound.
	Client(ctx context.Context, id string) (*Client, error)
	// ClientByClientID is Client by the OAuth client_id. ErrNotFound.
	ClientByClientID(ctx context.Context, clientID string) (*Client, error)
	// ClientBySecret is Client by the hash of one of its Secrets, expired or not.
	// ErrNotFound.
	ClientBySecret(ctx context.Context, hash []byte) (*Client, error)
	// Clients lists by ID those that the filter leaves.
	Clients(ctx context.Context, filter ClientFilter, page Page) ([]*Client, error)
	// UpdateClient writes every field of c except ID, ClientID, Source, Secrets,
	// RegistrationAccessTokenHash, Vouched, CreatedAt, DocumentFetchedAt and LastUsedAt, and sets c.Version
	// to the new version. A client that becomes
	// disabled loses its Grants (and with them Families) in the same transaction.
	// ErrNotFound; ErrConflict when c.Version is not the row's.
	UpdateClient(ctx context.Context, c *Client, event AuditEvent) error
	// UpdateDynamicClient is UpdateClient for a client that changes its own
	// registration (RFC 7592 §2.2). Grants whose RedirectURI it gives up end, and
	// codes on their way there.
	UpdateDynamicClient(ctx context.Context, c *Client, event AuditEvent) error
	// DeleteClient deletes the client and everything it was granted, and takes it out
	// of the Policies that name it; one that named nothing else is deleted.
	// ErrNotFound; ErrConflict when version is neither AnyVersion nor the row's.
	DeleteClient(ctx context.Context, id string, version int64, event AuditEvent) error
	// AddClientSecret adds a secret to the client. ErrNotFound: no such client;
	// ErrExists: the secret's id is taken, or the client has this secret already.
	AddClientSecret(ctx context.Context, id string, secret ClientSecret, event AuditEvent) error
	// RotateClientSecret is AddClientSecret, after which the client's other secrets
	// expire at until, those that would expire sooner then; those that have expired
	// by secret.CreatedAt are deleted. ErrNotFound.
	RotateClientSecret(ctx context.Context, id string, secret ClientSecret, until time.Time, event AuditEvent) error
	// NoteClientsUsed sets LastUsedAt of those of the clients where it is ClientUse
	// behind at, or unset. It does not move the version row; unknown ids are no
	// error.
	NoteClientsUsed(ctx context.Context, ids []string, at time.Time) error
	// DeleteClientSecret deletes one secret of the client. ErrNotFound.
	DeleteClientSecret(ctx context.Context, id, secretID string, event AuditEvent) error
}
