package notes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

const (
	// A key that was withdrawn is taken no longer than this.
	keysMaxAge = 5 * time.Minute
	// A key that is not known is looked for no more often than this, so that
	// made-up key ids cannot be turned into a flood of requests; after a failure,
	// no more often than the second.
	keysMinAge  = 10 * time.Second
	keysRetryIn = time.Second
	// The issuer's documents are not larger than this, in bytes.
	maxDocument = 256 << 10
	// A request to the issuer is not cut short by the client that caused it:
	// others may be waiting for the same answer.
	fetchTimeout = 5 * time.Second
)

// issuer is the authorization server as seen from here.
type issuer struct {
	name         string
	clientID     string
	clientSecret string
	client       *http.Client
	now          func() time.Time

	fetching singleflight.Group

	mu       sync.Mutex
	held     documents
	failedAt time.Time // of the last fetch; zero: it succeeded
}

// documents are the issuer's, as fetched at one time.
type documents struct {
	metadata  issuerMetadata
	keys      jose.JSONWebKeySet
	fetchedAt time.Time // zero: never
}

// issuerMetadata is what is needed of RFC 8414.
type issuerMetadata struct {
	Issuer                string `json:"issuer"`
	JWKSURI               string `json:"jwks_uri"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
}

func newIssuer(config Config) *issuer {
	return &issuer{
		name:         config.Issuer,
		clientID:     config.ClientID,
		clientSecret: config.ClientSecret,
		client:       config.HTTPClient,
		now:          config.Now,
	}
}

// key returns the public key named kid for this algorithm. errInvalid: the
// issuer has no such key; errUnavailable.
func (i *issuer) key(ctx context.Context, kid, algorithm string) (*jose.JSONWebKey, error) {
	if kid == "" {
		return nil, errInvalid
	}
	held, err := i.documents(ctx, keysMaxAge)
	if err != nil {
		return nil, err
	}
	if key := held.find(kid, algorithm); key != nil {
		return key, nil
	}
	if held, err = i.documents(ctx, keysMinAge); err != nil {
		return nil, err
	}
	if key := held.find(kid, algorithm); key != nil {
		return key, nil
	}
	return nil, errInvalid
}

func (d *documents) find(kid, algorithm string) *jose.JSONWebKey {
	for _, key := range d.keys.Key(kid) {
		if key.Algorithm == algorithm && (key.Use == "" || key.Use == "sig") && key.IsPublic() && key.Valid() {
			return &key
		}
	}
	return nil
}

// documents are metadata and keys no older than maxAge. Whoever can be answered
// from those at hand does not wait for a fetch, and a fetch is everybody's: a
// caller who leaves does not cut it short.
func (i *issuer) documents(ctx context.Context, maxAge time.Duration) (*documents, error) {
	i.mu.Lock()
	held, failedAt, now := i.held, i.failedAt, i.now()
	i.mu.Unlock()
	switch {
	case !held.fetchedAt.IsZero() && now.Sub(held.fetchedAt) < maxAge:
		return &held, nil
	case !failedAt.IsZero() && now.Sub(failedAt) < keysRetryIn:
		return nil, errUnavailable
	}
	answer := i.fetching.DoChan("documents", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		fetched, err := i.fetch(ctx)
		i.mu.Lock()
		defer i.mu.Unlock()
		if err != nil {
			i.failedAt = i.now()
			return nil, err
		}
		i.held, i.failedAt = *fetched, time.Time{}
		return fetched, nil
	})
	select {
	case result := <-answer:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*documents), nil
	case <-ctx.Done():
		return nil, errUnavailable
	}
}

func (i *issuer) fetch(ctx context.Context) (*documents, error) {
	metadata, err := i.discover(ctx)
	if err != nil {
		return nil, err
	}
	var keys jose.JSONWebKeySet
	if err := i.getJSON(ctx, metadata.JWKSURI, &keys); err != nil {
		return nil, err
	}
	return &documents{metadata: metadata, keys: keys, fetchedAt: i.now()}, nil
}

// discover finds the metadata in the order MCP clients look for it.
func (i *issuer) discover(ctx context.Context) (issuerMetadata, error) {
	err := error(errUnavailable)
	for _, location := range metadataURLs(i.name) {
		var m issuerMetadata
		if err = i.getJSON(ctx, location, &m); err != nil {
			continue
		}
		if m.Issuer != i.name || !usableURL(m.JWKSURI) {
			return m, fmt.Errorf("%w: its metadata is not for this issuer", errUnavailable)
		}
		return m, nil
	}
	return issuerMetadata{}, err
}

// introspect asks whether the token is still good (RFC 7662). errInvalid: it was
// revoked; errUnavailable. Nothing is remembered, so that a revocation counts
// from the next call on.
func (i *issuer) introspect(ctx context.Context, token string) error {
	if i.clientID == "" {
		return nil
	}
	i.mu.Lock()
	endpoint := i.held.metadata.IntrospectionEndpoint
	i.mu.Unlock()
	if !usableURL(endpoint) {
		return fmt.Errorf("%w: it offers no introspection", errUnavailable)
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode())) //nolint:gosec // named by the issuer itself
	if err != nil {
		return errUnavailable
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(i.clientID), url.QueryEscape(i.clientSecret))
	// A pointer: a response without "active" is no answer, least of all "no".
	var answer struct {
		Active *bool `json:"active"`
	}
	if err := i.doJSON(request, &answer); err != nil {
		return err
	}
	switch {
	case answer.Active == nil:
		return fmt.Errorf("%w: it did not say whether the token is active", errUnavailable)
	case !*answer.Active:
		return errInvalid
	}
	return nil
}

func (i *issuer) getJSON(ctx context.Context, location string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return errUnavailable
	}
	return i.doJSON(request, into)
}

// doJSON answers errUnavailable for everything but a 200 with the JSON expected.
func (i *issuer) doJSON(request *http.Request, into any) error {
	request.Header.Set("Accept", "application/json")
	response, err := i.client.Do(request) //nolint:gosec // URLs that the issuer itself names
	if err != nil {
		return errUnavailable
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil || len(body) > maxDocument {
		return errUnavailable
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: status %d", errUnavailable, response.StatusCode)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.Join(errUnavailable, errors.New("its answer is not the JSON expected"))
	}
	return nil
}

// metadataURLs lists the places of an issuer's metadata: RFC 8414 §3.1 and
// OpenID Connect Discovery §4, for an issuer with a path inserted and appended.
func metadataURLs(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	urls := []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + "/.well-known/openid-configuration" + path,
	}
	if path != "" {
		urls = append(urls, origin+path+"/.well-known/openid-configuration")
	}
	return urls
}
