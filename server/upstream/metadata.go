package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"grantd/server/outbound"
	"grantd/storage"
)

// Fetcher gets the documents of providers; *outbound.Fetcher is one.
type Fetcher interface {
	Get(ctx context.Context, url string, kind outbound.Kind) (outbound.Document, error)
	Renew(ctx context.Context, url string, kind outbound.Kind) (outbound.Document, error)
	Check(url string) error
}

// The documents of a provider. Renew fetches neither more often than each minute,
// whatever key ids tokens name.
var (
	metadataKind = outbound.Kind{Name: "provider metadata", MaxBytes: 128 << 10, MinFresh: 10 * time.Minute, MaxFresh: 24 * time.Hour}
	keysKind     = outbound.Kind{Name: "provider keys", MaxBytes: 256 << 10, MinFresh: time.Minute, MaxFresh: time.Hour}
)

// metadata is what grantd reads of a provider's metadata (OpenID Connect Discovery
// §3, RFC 9207 §3).
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	NamesIssuer           bool     `json:"authorization_response_iss_parameter_supported"`
}

// signatures are the algorithms that an ID token may be signed by: asymmetric ones.
var signatures = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// discover returns the provider's metadata. An error says in words of ours what is
// wrong, and wraps outbound's if there is none to be had.
func discover(ctx context.Context, fetcher Fetcher, p *storage.Provider) (*metadata, error) {
	document, err := fetcher.Get(ctx, strings.TrimSuffix(p.Issuer, "/")+"/.well-known/openid-configuration", metadataKind)
	if err != nil {
		return nil, fmt.Errorf("the metadata: %w", err)
	}
	var m metadata
	if err := json.Unmarshal(document.Body, &m); err != nil {
		return nil, errors.New("the metadata is not that of a provider")
	}
	if m.Issuer != metadataIssuer(p) {
		return nil, errors.New("the metadata names another issuer; write the issuer exactly as the metadata has it")
	}
	for name, endpoint := range map[string]string{"token_endpoint": m.TokenEndpoint, "jwks_uri": m.JWKSURI} {
		if fetcher.Check(endpoint) != nil {
			return nil, errors.New("the metadata has no " + name + " that may be asked")
		}
	}
	if m.UserinfoEndpoint != "" && fetcher.Check(m.UserinfoEndpoint) != nil {
		m.UserinfoEndpoint = ""
	}
	authorize, err := url.Parse(m.AuthorizationEndpoint)
	if err != nil || authorize.Host == "" || authorize.Fragment != "" || authorize.Scheme != "https" && fetcher.Check(m.AuthorizationEndpoint) != nil {
		return nil, errors.New("the metadata has no authorization_endpoint that may be used")
	}
	if len(m.ChallengeMethods) > 0 && !slices.Contains(m.ChallengeMethods, "S256") {
		return nil, errors.New("the provider does not take PKCE with S256")
	}
	if m.Algorithms = storage.Intersect(signatures, m.Algorithms); len(m.Algorithms) == 0 {
		m.Algorithms = []string{"RS256"} // which every provider must have (Discovery §3)
	}
	return &m, nil
}

// client is grantd as the provider's client. Without a secret it is a public one.
func (m *metadata) client(p *storage.Provider, secret, redirectURI string) *oauth2.Config {
	style := oauth2.AuthStyleInHeader
	if secret == "" || len(m.AuthMethods) > 0 && !slices.Contains(m.AuthMethods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: secret, RedirectURL: redirectURI, Scopes: append([]string{"openid"}, p.Scopes...),
		Endpoint: oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: style},
	}
}

// keySet is the keys of a provider; it implements oidc.KeySet.
type keySet struct {
	fetcher    Fetcher
	uri        string
	algorithms []jose.SignatureAlgorithm
}

func newKeySet(fetcher Fetcher, m *metadata) *keySet {
	k := &keySet{fetcher: fetcher, uri: m.JWKSURI}
	for _, name := range m.Algorithms {
		k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(name))
	}
	return k
}

var errSignature = errors.New("no key of the provider's made the signature")

// VerifySignature returns the payload of a token that one of the keys signed. A token
// that none of those at hand has signed makes it look for newer ones.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, errSignature
	}
	for _, get := range []func(context.Context, string, outbound.Kind) (outbound.Document, error){k.fetcher.Get, k.fetcher.Renew} {
		document, err := get(ctx, k.uri, keysKind)
		if err != nil {
			return nil, fmt.Errorf("the keys: %w", err)
		}
		header := jws.Signatures[0].Protected
		for _, key := range parseKeys(document.Body) {
			if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
				continue
			}
			if payload, err := jws.Verify(key.Key); err == nil {
				return payload, nil
			}
		}
	}
	return nil, errSignature
}

// parseKeys returns the public keys for signatures; what is no such key is left out
// (RFC 7517 §5).
func parseKeys(body []byte) []jose.JSONWebKey {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil {
		return nil
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			keys = append(keys, key)
		}
	}
	return keys
}
