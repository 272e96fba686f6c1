package discover

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"grantd/storage"
)

const (
	wellKnown = "/.well-known/oauth-protected-resource"
	maxNamed  = 20 // authorization servers; more are not looked at
)

// metadata is what is used of protected-resource metadata (RFC 9728 §2).
type metadata struct {
	Resource             string   `json:"resource"`
	ResourceName         string   `json:"resource_name"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported"`
}

// readMetadata looks for the metadata in the order MCP clients do: where the 401
// points to, then at the well-known place with the path inserted, then at the
// root.
func (r *reader) readMetadata(ctx context.Context, pointer string) error {
	for _, location := range r.metadataLocations(pointer) {
		found, err := r.fetchMetadata(ctx, location)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			r.note("there is no metadata to be had at %s: it %s", clean(location, maxText), asError(err, errNoMetadata).Problem)
		case found != nil:
			return r.takeMetadata(location, found)
		case location == pointer:
			r.note("its 401 points to metadata that is not there, or is no metadata: %s", clean(pointer, maxText))
		}
	}
	return nil
}

func (r *reader) metadataLocations(pointer string) []string {
	root := origin(r.target) + wellKnown
	locations := []string{WellKnown(r.uri), root}
	if pointer != "" {
		// Only the host that the administrator named is asked: a server must not
		// have this machine ask others.
		if u, err := url.Parse(pointer); err == nil && origin(u) == origin(r.target) && u.User == nil {
			locations = append([]string{pointer}, locations...)
		} else {
			r.note("its 401 points to metadata at another host, where it was not read: %s", clean(pointer, maxText))
		}
	}
	var unique []string
	for _, location := range locations {
		if !slices.Contains(unique, location) {
			unique = append(unique, location)
		}
	}
	return unique
}

// WellKnown returns where clients look for the metadata of a Resource with this
// canonical URI: the well-known path put between host and path (RFC 9728 §3.1).
func WellKnown(uri string) string {
	start := strings.Index(uri, "://") + 3
	host, rest := uri[start:], ""
	if end := strings.IndexAny(host, "/?"); end >= 0 {
		host, rest = host[:end], host[end:]
	}
	if path, query, hasQuery := strings.Cut(rest, "?"); path == "/" {
		rest = ""
		if hasQuery {
			rest = "?" + query
		}
	}
	return uri[:start] + host + wellKnown + rest
}

var errNoMetadata = &Error{Problem: "breaks off"}

// fetchMetadata returns the metadata at location, or nil when there is none.
func (r *reader) fetchMetadata(ctx context.Context, location string) (*metadata, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := newFetcher(r.target, stop)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, nil //nolint:nilerr // what cannot be asked for is not there
	}
	request.Header.Set("Accept", "application/json")
	response, err := f.client().Do(request)
	if errors.Is(err, errUnauthorized) {
		return nil, nil // it has to be public: then nobody finds it
	} else if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	found := new(metadata)
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, found) != nil || found.Resource == "" {
		return nil, nil
	}
	return found, nil
}

// takeMetadata checks that the metadata is about this server (RFC 9728 §3.3) and
// keeps what can be shown to people.
func (r *reader) takeMetadata(location string, found *metadata) error {
	uri, err := r.ownResource(location, found.Resource)
	if err != nil {
		return err
	}
	if uri != r.server.URI {
		r.note("its metadata calls it %s, and so will clients: tokens are for that", uri)
	}
	r.server.URI, r.server.MetadataURL = uri, clean(location, storage.MaxURILength)
	if name := clean(found.ResourceName, maxText); name != "" {
		r.server.Name = name
	}
	for _, issuer := range found.AuthorizationServers[:min(len(found.AuthorizationServers), maxNamed)] {
		if issuer = clean(issuer, maxText); issuer != "" && !slices.Contains(r.server.AuthorizationServers, issuer) {
			r.server.AuthorizationServers = append(r.server.AuthorizationServers, issuer)
		}
	}
	r.server.ScopesSupported = scopeNames(found.ScopesSupported)
	if kept := len(r.server.ScopesSupported); kept < len(found.ScopesSupported) {
		r.note("of its %d scopes %d cannot be a resource's (openid, offline_access, profile and email are grantd's own), are there twice or are too many", len(found.ScopesSupported), len(found.ScopesSupported)-kept)
	}
	return nil
}

// ownResource is the canonical form of what metadata says its resource is: this
// server's URI, a trailing slash aside, or for a document at the root the
// origin, which is what clients that find it there go by.
func (r *reader) ownResource(location, claimed string) (string, error) {
	canonical, err := storage.CanonicalResourceURI(claimed)
	if err == nil {
		same := func(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }
		root := origin(r.target)
		if same(canonical, r.uri) || location == root+wellKnown && same(canonical, root) {
			return canonical, nil
		}
	}
	return "", &Error{
		Problem: "has metadata (" + clean(location, maxText) + ") that calls it " + clean(claimed, maxText) + ".\n" +
			"        Clients refuse metadata that is not about the URL they use (RFC 9728, section 3.3), and so does grantd",
		Mend: "if that is its right URL, add it by that; otherwise its owner has to correct \"resource\"",
	}
}

// scopeNames are those of names that can be scopes of a Resource, each once.
func scopeNames(names []string) []string {
	var kept []string
	for _, name := range names {
		if len(kept) == maxScopes {
			break
		}
		if len(name) <= maxScopeName && storage.IsScopeName(name) && !slices.Contains(reservedScopes, name) && !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// What the admin API takes (ResourceFields and Scope in api/openapi.yaml).
const (
	maxScopes    = 128
	maxScopeName = 128
)

// reservedScopes are grantd's own.
var reservedScopes = []string{"openid", "offline_access", "profile", "email"}
