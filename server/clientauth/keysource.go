package clientauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/outbound"
	"grantd/storage"
)

// Fetcher gets documents from hosts that clients name; *outbound.Fetcher is one.
type Fetcher interface {
	Get(ctx context.Context, url string, kind outbound.Kind) (outbound.Document, error)
	Renew(ctx context.Context, url string, kind outbound.Kind) (outbound.Document, error)
	Cached(url string, kind outbound.Kind) (outbound.Document, bool)
	Check(url string) error
}

// oldestKeys is how old a copy of a client's keys may be when its host is down: a
// key that was withdrawn is believed no longer than that.
const oldestKeys = 24 * time.Hour

// ClientKeys is the KeySource of all clients: what they registered or their document
// says, or what their jwks_uri has.
type ClientKeys struct {
	Fetcher   Fetcher
	Documents Documents // nil: there are none
	Now       func() time.Time
}

// Documents renews a metadata_document client from its document.
type Documents interface {
	// Renewed returns the client as its document says it now. storage.ErrUnavailable:
	// the document cannot be had at the moment.
	Renewed(ctx context.Context, client *storage.Client) (*storage.Client, error)
}

// keySets are the documents at a jwks_uri. One that is no JWK set counts as a
// failed fetch and is not kept.
var keySets = func() outbound.Kind {
	kind := outbound.JWKS
	kind.Valid = func(_ string, body []byte) error {
		_, err := ParseJWKS(body)
		return err
	}
	return kind
}()

// Keys implements KeySource.
func (k ClientKeys) Keys(ctx context.Context, client *storage.Client, refresh bool) (jose.JSONWebKeySet, error) {
	if refresh && client.Source == storage.SourceMetadataDocument && k.Documents != nil {
		renewed, err := k.Documents.Renewed(ctx, client)
		if err != nil {
			return jose.JSONWebKeySet{}, fmt.Errorf("the client's document: %w", err)
		}
		if renewed.TokenEndpointAuthMethod != storage.AuthMethodPrivateKeyJWT {
			return jose.JSONWebKeySet{}, fmt.Errorf("the client's document has no keys now: %w", storage.ErrNotFound)
		}
		client = renewed
	}
	if client.JWKSURI == "" {
		set, err := ParseJWKS([]byte(client.JWKS))
		if err != nil {
			return set, fmt.Errorf("the client's keys: %w: %w", storage.ErrNotFound, err)
		}
		return set, nil
	}
	get := k.Fetcher.Get
	if refresh {
		get = k.Fetcher.Renew
	}
	document, err := get(ctx, client.JWKSURI, keySets)
	switch {
	// Only what the URL itself says is for good: which address a name leads to may
	// be another one in a moment.
	case errors.Is(err, outbound.ErrRefused) && k.Fetcher.Check(client.JWKSURI) != nil:
		return jose.JSONWebKeySet{}, fmt.Errorf("the client's jwks_uri: %w: %w", storage.ErrNotFound, err)
	case err != nil && !refresh:
		if copied, ok := k.Fetcher.Cached(client.JWKSURI, keySets); ok && k.Now().Sub(copied.FetchedAt) < oldestKeys {
			return ParseJWKS(copied.Body)
		}
		fallthrough
	case err != nil:
		return jose.JSONWebKeySet{}, fmt.Errorf("the client's jwks_uri: %w: %w", storage.ErrUnavailable, err)
	}
	return ParseJWKS(document.Body)
}
