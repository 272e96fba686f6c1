package notes_test

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	introspectionClient = "notes-server"
	introspectionSecret = "cs_only-for-this-test"
)

// fakeIssuer is an authorization server of which only what a resource server
// sees exists: metadata, keys and introspection.
type fakeIssuer struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex
	key       *ecdsa.PrivateKey
	kid       string
	published jose.JSONWebKeySet
	revoked   map[string]bool
	down      bool   // introspection answers 503
	silent    bool   // introspection answers 200 without "active"
	names     string // what the metadata says the issuer is; "": the truth
	jwksReads int
	hang      chan struct{} // the keys are not answered before this is closed; nil: at once
}

func newFakeIssuer(t *testing.T) *fakeIssuer {
	t.Helper()
	f := &fakeIssuer{t: t, revoked: map[string]bool{}}
	f.rotate("key-1")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		writeJSON(w, map[string]any{
			"issuer":                 cmp.Or(f.names, f.URL),
			"jwks_uri":               f.URL + "/jwks",
			"introspection_endpoint": f.URL + "/introspect",
		})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.jwksReads++
		if hang := f.hang; hang != nil {
			f.mu.Unlock()
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			f.mu.Lock()
		}
		writeJSON(w, f.published)
	})
	mux.HandleFunc("POST /introspect", f.introspect)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeIssuer) introspect(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	switch {
	case f.down || id != introspectionClient || secret != introspectionSecret:
		w.WriteHeader(http.StatusServiceUnavailable)
	case f.silent:
		writeJSON(w, map[string]any{})
	default:
		writeJSON(w, map[string]any{"active": !f.revoked[r.PostFormValue("token")]})
	}
}

// rotate makes a new signing key and publishes it beside those before.
func (f *fakeIssuer) rotate(kid string) {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key, f.kid = key, kid
	f.published.Keys = append(f.published.Keys, jose.JSONWebKey{
		Key: key.Public(), KeyID: kid, Algorithm: string(jose.ES256), Use: "sig",
	})
}

func (f *fakeIssuer) set(change func(*fakeIssuer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeIssuer) reads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jwksReads
}

// tokenSpec is a token on its way to being signed: good unless changed.
type tokenSpec struct {
	claims    map[string]any
	header    map[jose.HeaderKey]any
	algorithm jose.SignatureAlgorithm
	key       any
}

// token signs a good access token for resource after the changes.
func (f *fakeIssuer) token(resource string, now time.Time, changes ...func(*tokenSpec)) string {
	f.t.Helper()
	f.mu.Lock()
	spec := tokenSpec{
		claims: map[string]any{
			"iss": f.URL, "sub": "u_alice", "aud": resource, "client_id": "c_1", "jti": "jti-1",
			"scope": "notes:read", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		},
		header:    map[jose.HeaderKey]any{"typ": "at+jwt", "kid": f.kid},
		algorithm: jose.ES256,
		key:       crypto.Signer(f.key),
	}
	f.mu.Unlock()
	for _, change := range changes {
		change(&spec)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: spec.algorithm, Key: spec.key},
		&jose.SignerOptions{ExtraHeaders: spec.header})
	if err != nil {
		f.t.Fatal(err)
	}
	payload, err := json.Marshal(spec.claims)
	if err != nil {
		f.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		f.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		f.t.Fatal(err)
	}
	return compact
}

// claim changes one claim; nil removes it.
func claim(name string, value any) func(*tokenSpec) {
	return func(s *tokenSpec) {
		s.claims = maps.Clone(s.claims)
		if value == nil {
			delete(s.claims, name)
			return
		}
		s.claims[name] = value
	}
}

// header changes one header parameter; nil removes it.
func header(name jose.HeaderKey, value any) func(*tokenSpec) {
	return func(s *tokenSpec) {
		if value == nil {
			delete(s.header, name)
			return
		}
		s.header[name] = value
	}
}

func signedWith(algorithm jose.SignatureAlgorithm, key any) func(*tokenSpec) {
	return func(s *tokenSpec) { s.algorithm, s.key = algorithm, key }
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
