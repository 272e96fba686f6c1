package clientauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/clientauth"
	"grantd/server/web"
	"grantd/storage"
)

const issuer = "https://auth.example/tenant"

var assertionTime = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// signer signs with the standard library alone, so that go-jose does not vouch
// for itself.
type signer struct {
	alg    string
	public crypto.PublicKey
	sign   func(input []byte) []byte
}

func (s *signer) jwk(kid string) jose.JSONWebKey { return jose.JSONWebKey{Key: s.public, KeyID: kid} }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func rsaSigner(alg string, bits int) *signer {
	key := must(rsa.GenerateKey(rand.Reader, bits))
	return &signer{alg, &key.PublicKey, func(input []byte) []byte {
		digest := sha256.Sum256(input)
		if alg == "PS256" {
			return must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]))
	}}
}

func ecSigner(curve elliptic.Curve) *signer {
	key := must(ecdsa.GenerateKey(curve, rand.Reader))
	return &signer{"ES256", &key.PublicKey, func(input []byte) []byte {
		digest := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		size := (curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}}
}

func edSigner() *signer {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &signer{"EdDSA", public, func(input []byte) []byte { return ed25519.Sign(key, input) }}
}

func hmacSigner(secret []byte) *signer {
	return &signer{"HS256", nil, func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}}
}

var signers = sync.OnceValue(func() map[string]*signer {
	return map[string]*signer{
		"RS256": rsaSigner("RS256", 2048), "PS256": rsaSigner("PS256", 2048), "ES256": ecSigner(elliptic.P256()), "EdDSA": edSigner(),
	}
})

type object = map[string]any

// goodClaims are accepted from the client "app" at assertionTime.
func goodClaims(changes object) object {
	claims := object{
		"iss": "app", "sub": "app", "aud": issuer, "jti": "j1",
		"iat": assertionTime.Unix(), "exp": assertionTime.Add(time.Minute).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == absent })
	return claims
}

// absent takes a claim away.
const absent = "\x00absent"

// assertion makes one; header changes what the signer would put there.
func (s *signer) assertion(header, claims object) string {
	full := object{"alg": s.alg}
	maps.Copy(full, header)
	return s.raw(string(must(json.Marshal(full))), string(must(json.Marshal(claims))))
}

func (s *signer) raw(header, claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	return input + "." + encode(s.sign([]byte(input)))
}

// keySource has JWK sets by client_id; the last of a client is what a refresh finds.
type keySource struct {
	mu        sync.Mutex
	sets      map[string][]jose.JSONWebKeySet
	err       error // of any read
	refreshed error // of a refresh
	reads     int
	refreshes int
}

func (k *keySource) Keys(_ context.Context, client *storage.Client, refresh bool) (jose.JSONWebKeySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	sets := k.sets[client.ClientID]
	if refresh {
		k.refreshes++
		if k.refreshed != nil {
			return jose.JSONWebKeySet{}, k.refreshed
		}
		if len(sets) > 1 {
			sets = sets[1:]
			k.sets[client.ClientID] = sets
		}
	}
	if k.err != nil {
		return jose.JSONWebKeySet{}, k.err
	}
	return sets[0], nil
}

// usedAssertions is storage.ClientAssertionStore in memory.
type usedAssertions struct {
	mu    sync.Mutex
	until map[[2]string]time.Time
	err   error
}

func (u *usedAssertions) UseClientAssertion(_ context.Context, clientID, jti string, expiresAt, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return u.err
	}
	maps.DeleteFunc(u.until, func(k [2]string, until time.Time) bool { return k[0] == clientID && !now.Before(until) })
	if _, ok := u.until[[2]string{clientID, jti}]; ok {
		return storage.ErrConsumed
	}
	u.until[[2]string{clientID, jti}] = expiresAt.Truncate(time.Second) // as a database may
	return nil
}

var _ clientauth.UsedAssertions = storage.ClientAssertionStore(nil)

type world struct {
	*clientauth.Assertions
	keys *keySource
	used *usedAssertions
	now  time.Time
}

// newWorld has the clients app and other, both with these keys.
func newWorld(keys ...jose.JSONWebKey) *world {
	set := jose.JSONWebKeySet{Keys: keys}
	w := &world{
		keys: &keySource{sets: map[string][]jose.JSONWebKeySet{"app": {set}, "other": {set}}},
		used: &usedAssertions{until: map[[2]string]time.Time{}},
		now:  assertionTime,
	}
	w.Assertions = &clientauth.Assertions{Issuer: issuer, Keys: w.keys, Used: w.used, Now: func() time.Time { return w.now }}
	return w
}

func jwtClient(clientID string) *storage.Client {
	return &storage.Client{
		ID: "cl_" + clientID, ClientID: clientID, TokenEndpointAuthMethod: storage.AuthMethodPrivateKeyJWT,
		JWKSURI: "https://app.example/jwks",
	}
}

// refused fails the test unless err is the 401 of RFC 6749 §5.2, without a
// challenge and without anything from the assertion.
func refused(t testing.TB, err error) {
	t.Helper()
	var oauth *web.OAuthError
	if !errors.As(err, &oauth) || oauth.Status != http.StatusUnauthorized || oauth.Code != "invalid_client" || oauth.Challenge {
		t.Fatalf("error is %v, want invalid_client", err)
	}
}
