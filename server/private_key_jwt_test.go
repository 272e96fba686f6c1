package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"grantd/server/servertest"
	"grantd/storage"
)

// signer is a client's key, and the JWK set with its public part.
type signer struct {
	key *ecdsa.PrivateKey
	kid string
}

func newSigner(t testing.TB, kid string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key: key, kid: kid}
}

func (s signer) jwks(t testing.TB) map[string]any {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: s.kid, Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	var set map[string]any
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// assertion signs a client assertion as the MCP SDKs do: no kid unless the key has
// one.
func (s signer) assertion(t testing.TB, clientID, audience string, now time.Time) string {
	t.Helper()
	signing, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: s.kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signing).Claims(map[string]any{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func machineWithKey(s *servertest.Server, keys servertest.Object) string {
	body := servertest.Object{"client_name": "Machine", "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "private_key_jwt"}
	for name, value := range keys {
		body[name] = value
	}
	created := s.Must(http.MethodPost, "/clients", body)
	if _, has := created["client_secret"]; has {
		panic("a private_key_jwt client got a secret")
	}
	return created.String("client_id")
}

func assertionForm(assertion string) url.Values {
	return servertest.Form("grant_type", "client_credentials", "resource", resourceURI,
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion)
}

// TestPrivateKeyJWT has a machine prove who it is with its own key (RFC 7523), on
// both databases.
func TestPrivateKeyJWT(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		s := servertest.New(t, servertest.WithStore(open(t)))
		s.Resource(resourceURI, nil, "notes:read")
		key := newSigner(t, "")
		clientID := machineWithKey(s, servertest.Object{"jwks": key.jwks(t)})

		used := key.assertion(t, clientID, s.URL, s.Clock.Now())
		for _, c := range []struct {
			name   string
			form   url.Values
			basic  string
			status int
			code   string
		}{
			{"the issuer is the audience", assertionForm(used), "", http.StatusOK, ""},
			{"TK-21 an assertion is used once", assertionForm(used), "", http.StatusUnauthorized, "invalid_client"},
			{"the token endpoint is the audience", assertionForm(key.assertion(t, clientID, s.URL+"/token", s.Clock.Now())), "", http.StatusOK, ""},
			{"another audience", assertionForm(key.assertion(t, clientID, "https://elsewhere.example", s.Clock.Now())), "", http.StatusUnauthorized, "invalid_client"},
			{"another key", assertionForm(newSigner(t, "").assertion(t, clientID, s.URL, s.Clock.Now())), "", http.StatusUnauthorized, "invalid_client"},
			{"TK-22 too old", assertionForm(key.assertion(t, clientID, s.URL, s.Clock.Now().Add(-time.Hour))), "", http.StatusUnauthorized, "invalid_client"},
			{"TK-10 with Basic beside it", assertionForm(key.assertion(t, clientID, s.URL, s.Clock.Now())), clientID + ":secret", http.StatusBadRequest, "invalid_request"},
			{"CM-14 without the assertion", servertest.Form("grant_type", "client_credentials", "client_id", clientID), "", http.StatusUnauthorized, "invalid_client"},
			{"a secret instead", servertest.Form("grant_type", "client_credentials"), clientID + ":secret", http.StatusUnauthorized, "invalid_client"},
			{"no type", servertest.Form("grant_type", "client_credentials", "client_assertion", used), "", http.StatusUnauthorized, "invalid_client"},
		} {
			t.Run(c.name, func(t *testing.T) {
				answer := s.Post("/token", c.form, c.basic)
				if answer.Status != c.status || (c.code != "" && answer.JSON["error"] != c.code) {
					t.Fatalf("%d %s, want %d %s", answer.Status, answer.Body, c.status, c.code)
				}
				if claims := servertest.Claims(answer.JSON.String("access_token")); c.status == http.StatusOK && claims["sub"] != clientID {
					t.Errorf("the token's sub is %v", claims["sub"])
				}
			})
		}

		metadata := s.Get("/.well-known/oauth-authorization-server").JSON
		for member, want := range map[string]string{
			"token_endpoint_auth_methods_supported": "private_key_jwt", "token_endpoint_auth_signing_alg_values_supported": "ES256",
		} {
			if list, _ := metadata[member].([]any); !slices.Contains(list, any(want)) {
				t.Errorf("%s is %v, without %s", member, metadata[member], want)
			}
		}
	})
}

// TestPrivateKeyJWTKeyRotation is row TK-23: a client that publishes a new key
// behind its jwks_uri is understood at once, and its host is asked only for that.
func TestPrivateKeyJWTKeyRotation(t *testing.T) {
	var published atomic.Pointer[map[string]any]
	var fetches atomic.Int32
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(published.Load())
	}))
	t.Cleanup(host.Close)
	address := strings.TrimPrefix(host.URL, "http://")
	s := servertest.New(t, servertest.WithOutboundAllow(address))
	s.Resource(resourceURI, nil, "notes:read")
	old, fresh := newSigner(t, "old"), newSigner(t, "fresh")
	set := old.jwks(t)
	published.Store(&set)
	clientID := machineWithKey(s, servertest.Object{"jwks_uri": host.URL + "/jwks"})
	ask := func(key signer) int {
		s.Clock.Advance(2 * time.Minute)
		return s.Post("/token", assertionForm(key.assertion(t, clientID, s.URL, s.Clock.Now())), "").Status
	}
	if got := ask(old); got != http.StatusOK {
		t.Fatalf("the first key: %d", got)
	}
	if got := ask(fresh); got != http.StatusUnauthorized {
		t.Fatalf("a key that is not published: %d", got)
	}
	set = fresh.jwks(t)
	published.Store(&set)
	if got := ask(fresh); got != http.StatusOK {
		t.Errorf("a key published since: %d", got)
	}
	if got := ask(old); got != http.StatusUnauthorized {
		t.Errorf("a key withdrawn since: %d", got)
	}
	host.Close()
	if got := ask(fresh); got != http.StatusOK {
		t.Errorf("with the host gone: %d", got)
	}
	s.Clock.Advance(24 * time.Hour)
	if got := ask(fresh); got != http.StatusServiceUnavailable {
		t.Errorf("with the host gone for a day: %d; the client is not to blame", got)
	}
	if n := fetches.Load(); n > 6 {
		t.Errorf("%d fetches for five requests", n)
	}
}

// TestJWKSURIInward is row RG-06: an internal jwks_uri is refused at once and never
// asked.
func TestJWKSURIInward(t *testing.T) {
	asked := make(chan struct{}, 1)
	host := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	t.Cleanup(host.Close)
	s := servertest.New(t)
	port := host.URL[strings.LastIndex(host.URL, ":")+1:]
	for _, inward := range []string{"https://127.0.0.1:" + port, "https://localhost:" + port, "https://[::1]:" + port, "http://127.0.0.1:" + port, "https://2130706433:" + port} {
		status, answer := s.Call(http.MethodPost, "/clients", servertest.Object{
			"grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": inward + "/jwks",
		})
		if status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", inward, status, answer)
		}
	}
	select {
	case <-asked:
		t.Error("the internal address was asked")
	default:
	}
}
