package storage

import (
	"context"
	"time"
)

// The bounds of Provider.ReverifyAfter, and its default.
const (
	DefaultReverifyAfter = 7 * 24 * time.Hour
	MinReverifyAfter     = time.Hour
	MaxReverifyAfter     = 90 * 24 * time.Hour
)

// Provider is an OpenID Provider that people sign in with. Its Issuer and Preset are
// fixed for its life, because they say who its people are.
type Provider struct {
	ID       string // PrefixProvider
	Version  int64
	Name     string // unique
	Issuer   string // as its metadata has it; for Entra ID perhaps of all tenants
	Preset   Preset
	ClientID string
	// SealedClientSecret is sealed by the root key; empty: a public client.
	SealedClientSecret []byte
	ClientSecretSetAt  time.Time // zero: there is none, or nobody knows
	Scopes             []string  // asked for, openid aside
	Label              string    // of the button; empty: Name
	Automatic          bool      // the sign-in page leads straight there
	// LinkByEmail lets a first sign-in take over the one local User with the same
	// verified e-mail address.
	LinkByEmail bool
	Claims      ProviderClaims
	// Each of the three restricts who may sign in, unless it is empty.
	AllowedTenants []string // Entra ID: the tenants' ids
	AllowedDomains []string // of verified e-mail addresses; Google: of the organisation
	AllowedGroups  []string // of which a person must be in one
	// ACRValues are the authentication contexts of which each sign-in must meet one.
	ACRValues []string
	// ReverifyAfter is how long after signing in there a person's tokens are
	// refreshed.
	ReverifyAfter time.Duration
	SecondFactor  ProviderSecondFactor
	Enabled       bool
	ManagedBy     string // the set that "grantd apply" keeps it in; empty: none
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// Preset is a make of provider with ways of its own.
type Preset string

// The presets. PresetNone is a provider that keeps to OpenID Connect.
const (
	PresetNone     Preset = ""
	PresetOkta     Preset = "okta"
	PresetEntra    Preset = "entra"
	PresetGoogle   Preset = "google"
	PresetKeycloak Preset = "keycloak"
)

// ProviderSecondFactor is whose affair a second factor is after a sign-in.
type ProviderSecondFactor string

// What a sign-in that names no second factor in its amr counts for. ProviderTrusted: it
// is enough, as far as what it is for needs no two. ProviderRequired: a second factor is
// proved here.
const (
	ProviderTrusted  ProviderSecondFactor = "trusted"
	ProviderRequired ProviderSecondFactor = "required"
)

// ProviderClaims are the names of the claims that a User's fields come from; an empty
// one is not read.
type ProviderClaims struct {
	Name, Email, Groups string
}

// ButtonLabel is what the sign-in page calls the provider.
func (p *Provider) ButtonLabel() string {
	if p.Label != "" {
		return p.Label
	}
	return p.Name
}

// ProviderStore keeps Providers.
type ProviderStore interface {
	// CreateProvider inserts p. ErrExists: the name is taken.
	CreateProvider(ctx context.Context, p *Provider, event AuditEvent) error
	// Provider returns the provider with this id. ErrNotFound.
	Provider(ctx context.Context, id string) (*Provider, error)
	// Providers lists by ID.
	Providers(ctx context.Context, page Page) ([]*Provider, error)
	// UpdateProvider writes every field except ID, Issuer, Preset and CreatedAt, and
	// sets p.Version. The people of a provider that is disabled are no longer
	// verified. ErrNotFound; ErrExists: the name is taken; ErrConflict when
	// p.Version is not the row's.
	UpdateProvider(ctx context.Context, p *Provider, event AuditEvent) error
	// ResealProvider replaces the sealed secret, and nothing else, if it is still the
	// one given. ErrConflict.
	ResealProvider(ctx context.Context, id string, sealed, resealed []byte, event AuditEvent) error
	// DeleteProvider deletes the provider with the UserIdentities and memberships that
	// came from it. Its people stay, but are no longer verified. ErrNotFound;
	// ErrConflict when version is neither AnyVersion nor the row's.
	DeleteProvider(ctx context.Context, id string, version int64, event AuditEvent) error
}
