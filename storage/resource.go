package storage

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The bounds of Resource.AccessTokenLifetime, and its default.
const (
	DefaultAccessTokenLifetime = 10 * time.Minute
	MinAccessTokenLifetime     = time.Minute
	MaxAccessTokenLifetime     = 15 * time.Minute
)

// Resource is a protected MCP server. Its URI is fixed for its life.
type Resource struct {
	ID      string // PrefixResource
	URI     string // canonical (RFC 8707 §2, CanonicalResourceURI); the aud of its tokens
	Version int64

	Name   string
	Scopes []Scope // in the order people see them; names are unique
	// IntrospectionClients are the client_ids that may introspect this
	// Resource's tokens (RFC 7662 §4).
	IntrospectionClients []string
	AccessTokenLifetime  time.Duration
	ManagedBy            string // the set that "grantd apply" keeps it in; empty: none

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Scope is a permission of a Resource.
type Scope struct {
	Name        string
	Description string   // the sentence shown to people
	Tools       []string // the MCP tools it unlocks
	Risk        ScopeRisk
}

// ScopeRisk says what can be done with a Scope at worst.
type ScopeRisk string

// The risks. Nobody gets a destructive Scope unless a Policy names it.
const (
	RiskRead        ScopeRisk = "read"
	RiskWrite       ScopeRisk = "write" // the default
	RiskDestructive ScopeRisk = "destructive"
)

// IsScopeName reports whether name has only the characters of RFC 6749 §3.3.
func IsScopeName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return name != ""
}

// ScopeNames returns the names of the Resource's scopes, in order.
func (r *Resource) ScopeNames() []string {
	names := make([]string, len(r.Scopes))
	for i, s := range r.Scopes {
		names[i] = s.Name
	}
	return names
}

// Names reports whether uri, as a client sent it, names this Resource: the same
// string once scheme and host are lower-case and one trailing slash is ignored.
func (r *Resource) Names(uri string) bool {
	canonical, err := CanonicalResourceURI(uri)
	return err == nil && strings.TrimSuffix(canonical, "/") == strings.TrimSuffix(r.URI, "/")
}

// ErrResourceURI says why a resource indicator is refused (RFC 8707 §2).
var ErrResourceURI = errors.New("must be an absolute https URI (http only for loopback) without user information or fragment")

// CanonicalResourceURI returns uri with its scheme and host in lower case and
// nothing else changed. It refuses with ErrResourceURI what cannot be the URI of
// an MCP server: relative, with fragment or user information, not https (http
// only for a loopback host), or with characters outside RFC 3986.
func CanonicalResourceURI(uri string) (string, error) {
	if len(uri) > MaxURILength || !plainURI(uri) || strings.Contains(uri, "#") {
		return "", ErrResourceURI
	}
	u, err := url.Parse(uri)
	if err != nil || u.Opaque != "" || !plainHost(u.Hostname()) || u.User != nil {
		return "", ErrResourceURI
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !IsLoopbackHost(u.Hostname())) {
		return "", ErrResourceURI
	}
	rest := uri[strings.Index(uri, "://")+3:]
	host := rest
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		host, rest = rest[:end], rest[end:]
	} else {
		rest = ""
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(host) + rest, nil
}

// IsLoopbackHost reports whether host (no port, no brackets) is a loopback
// literal or exactly "localhost". "*.localhost" is not: a resolver may send it
// anywhere.
func IsLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() && !addr.Is4In6()
}

// Intersect returns those of a that are in b, in a's order. Scopes compare by
// byte.
func Intersect(a, b []string) []string {
	out := make([]string, 0, len(a))
	for _, s := range a {
		if slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

// ResourceStore keeps Resources with their Scopes. The built-in one is not among them.
type ResourceStore interface {
	// CreateResource inserts r. ErrExists: a Resource with that URI, a trailing
	// slash aside, is there.
	CreateResource(ctx context.Context, r *Resource, event AuditEvent) error
	// Resource returns the resource with this opaque id. ErrNotFound.
	Resource(ctx context.Context, id string) (*Resource, error)
	// ResourceByURI returns the resource with this URI, a trailing slash aside.
	// ErrNotFound.
	ResourceByURI(ctx context.Context, uri string) (*Resource, error)
	// Resources lists by ID.
	Resources(ctx context.Context, page Page) ([]*Resource, error)
	// UpdateResource writes every field except ID, URI and CreatedAt, and sets
	// r.Version. A scope that is gone is stripped from Grants, Families and
	// AuthorizationCodes; a Grant or Family left with no scope is deleted.
	// ErrNotFound; ErrConflict when r.Version is not the row's.
	UpdateResource(ctx context.Context, r *Resource, event AuditEvent) error
	// DeleteResource deletes the resource and every Grant for it, and takes it out of
	// the Policies that name it; one that named nothing else is deleted. ErrNotFound;
	// ErrConflict when version is neither AnyVersion nor the row's.
	DeleteResource(ctx context.Context, id string, version int64, event AuditEvent) error
}
