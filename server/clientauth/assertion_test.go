package clientauth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"grantd/server/clientauth"
	"grantd/server/web"
	"grantd/storage"
)

// TestAssertionAccepted: each algorithm, each shape that real clients send.
func TestAssertionAccepted(t *testing.T) {
	for alg, s := range signers() {
		w := newWorld(s.jwk("k1"))
		header := object{"kid": "k1", "typ": "JWT"}
		if err := w.Verify(t.Context(), jwtClient("app"), s.assertion(header, goodClaims(nil))); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	s := signers()["ES256"]
	at := func(d time.Duration) int64 { return assertionTime.Add(d).Unix() }
	decoy := ecSigner(elliptic.P256())
	decoyJWK := decoy.jwk("k1")
	certificate := selfSigned()
	for _, c := range []struct {
		name           string
		header, claims object
	}{
		{"item 17: no kid", nil, nil},
		{"item 17: the token endpoint as audience", nil, object{"aud": issuer + "/token"}},
		{"TK-20 issuer in a list of one", nil, object{"aud": []string{issuer}}},
		{"token endpoint in a list of one", nil, object{"aud": []string{issuer + "/token"}}},
		{"its own type", object{"typ": "client-authentication+jwt"}, nil},
		{"its own type in full", object{"typ": "application/Client-Authentication+JWT"}, nil},
		{"empty kid", object{"kid": ""}, nil},
		{"no iat", nil, object{"iat": absent}},
		{"old iat", nil, object{"iat": at(-24 * time.Hour)}},
		{"nbf 60 s ahead", nil, object{"nbf": at(time.Minute)}},
		{"iat 60 s ahead", nil, object{"iat": at(time.Minute)}},
		{"expired 59 s ago", nil, object{"exp": at(-59 * time.Second)}},
		{"ten minutes and the skew", nil, object{"exp": at(11 * time.Minute)}},
		{"ST-12 exp with a fraction", nil, object{"exp": float64(at(time.Minute)) + 0.25}},
		{"ST-12 exp with an exponent", nil, object{"exp": json.Number(fmt.Sprintf("%de-3", at(time.Minute)*1000))}},
		{"jti of 256 bytes", nil, object{"jti": strings.Repeat("j", 256)}},
		{"unknown claims", nil, object{"scope": "a", "nested": object{"a": 1}}},
		{"TK-18 jwk of another key is ignored", object{"jwk": decoyJWK}, nil},
		{"TK-18 x5c of another key is ignored", object{"x5c": []string{certificate}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(s.jwk("k1"))
			assertion := s.assertion(c.header, goodClaims(c.claims))
			if got, err := w.ClientID(assertion); got != "app" || err != nil {
				t.Errorf("ClientID is %q, %v", got, err)
			}
			if err := w.Verify(t.Context(), jwtClient("app"), assertion); err != nil {
				t.Error(err)
			}
		})
	}
}

func selfSigned() string {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{NotAfter: assertionTime}
	return base64.StdEncoding.EncodeToString(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)))
}

// TestAssertionRegisteredAlgorithm: RFC 7591's token_endpoint_auth_signing_alg.
func TestAssertionRegisteredAlgorithm(t *testing.T) {
	rs := signers()["RS256"]
	client := jwtClient("app")
	client.TokenEndpointAuthSigningAlg = "PS256"
	w := newWorld(rs.jwk("k1"))
	refused(t, w.Verify(t.Context(), client, rs.assertion(nil, goodClaims(nil))))
	if w.keys.reads != 0 {
		t.Errorf("keys were read %d times", w.keys.reads)
	}
	client.TokenEndpointAuthSigningAlg = "RS256"
	if err := w.Verify(t.Context(), client, rs.assertion(nil, goodClaims(nil))); err != nil {
		t.Error(err)
	}
}

// TestAssertionFetchesNothing: TK-18, places to fetch keys from are not visited.
func TestAssertionFetchesNothing(t *testing.T) {
	visits := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { visits <- r.URL.Path }))
	defer server.Close()
	es, stranger := signers()["ES256"], ecSigner(elliptic.P256())
	for _, name := range []string{"jku", "x5u", "jwk"} {
		var value any = server.URL + "/" + name
		if name == "jwk" {
			value = object{"kty": "EC", "crv": "P-256", "x5u": server.URL + "/jwk"}
		}
		w := newWorld(es.jwk("k1"))
		refused(t, w.Verify(t.Context(), jwtClient("app"), stranger.assertion(object{name: value}, goodClaims(nil))))
		if name == "jwk" {
			continue
		}
		if err := w.Verify(t.Context(), jwtClient("app"), es.assertion(object{name: value}, goodClaims(nil))); err != nil {
			t.Errorf("%s beside a good signature: %v", name, err)
		}
	}
	server.Close()
	close(visits)
	for path := range visits {
		t.Errorf("%s was fetched", path)
	}
}

// TestAssertionReplay: TK-21.
func TestAssertionReplay(t *testing.T) {
	es := signers()["ES256"]
	w := newWorld(es.jwk("k1"))
	app, other := jwtClient("app"), jwtClient("other")
	exp := float64(assertionTime.Add(time.Minute).Unix()) + 0.5
	first := es.assertion(nil, goodClaims(object{"exp": exp}))
	if err := w.Verify(t.Context(), app, first); err != nil {
		t.Fatal(err)
	}
	refused(t, w.Verify(t.Context(), app, first))
	refused(t, w.Verify(t.Context(), app, es.assertion(nil, goodClaims(nil)))) // another assertion, the same jti
	if err := w.Verify(t.Context(), app, es.assertion(nil, goodClaims(object{"jti": "j2"}))); err != nil {
		t.Errorf("another jti: %v", err)
	}
	if err := w.Verify(t.Context(), other, es.assertion(nil, goodClaims(object{"iss": "other", "sub": "other"}))); err != nil {
		t.Errorf("the same jti of another client: %v", err)
	}
	// The mark lives as long as the assertion, the skew included.
	for d := time.Duration(0); d <= 4*time.Minute; d += 250 * time.Millisecond {
		w.now = assertionTime.Add(d)
		refused(t, w.Verify(t.Context(), app, first))
	}
}

func TestAssertionReplayConcurrent(t *testing.T) {
	es := signers()["ES256"]
	w := newWorld(es.jwk("k1"))
	assertion := es.assertion(nil, goodClaims(nil))
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = w.Verify(t.Context(), jwtClient("app"), assertion) })
	}
	wg.Wait()
	accepted := 0
	for _, err := range errs {
		if err == nil {
			accepted++
			continue
		}
		refused(t, err)
	}
	if accepted != 1 {
		t.Errorf("%d of %d were accepted", accepted, len(errs))
	}
}

// TestAssertionRotation: TK-23 and TK-19, when keys are fetched again.
func TestAssertionRotation(t *testing.T) {
	former, current, stranger := ecSigner(elliptic.P256()), ecSigner(elliptic.P256()), ecSigner(elliptic.P256())
	for _, c := range []struct {
		name      string
		signer    *signer
		kid       string
		inline    bool
		accepted  bool
		refreshes int
	}{
		{"the key that is cached", former, "k1", false, true, 0},
		{"the key that is cached, unnamed", former, "", false, true, 0},
		{"a new kid", current, "k2", false, true, 1},
		{"a new key, unnamed", current, "", false, true, 1},
		{"an unknown kid", stranger, "k3", false, false, 1},
		{"an unknown key, unnamed", stranger, "", false, false, 1},
		{"a known kid, badly signed", stranger, "k1", false, false, 0},
		{"a new kid, badly signed", stranger, "k2", false, false, 1},
		{"the kid of another key", former, "k2", false, false, 1},
		{"nothing to fetch", current, "k2", true, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.keys.sets["app"] = []jose.JSONWebKeySet{
				{Keys: []jose.JSONWebKey{former.jwk("k1")}}, {Keys: []jose.JSONWebKey{former.jwk("k1"), current.jwk("k2")}},
			}
			client := jwtClient("app")
			if c.inline {
				client.JWKSURI = ""
			}
			err := w.Verify(t.Context(), client, c.signer.assertion(object{"kid": c.kid}, goodClaims(nil)))
			if c.accepted && err != nil {
				t.Error(err)
			}
			if !c.accepted {
				refused(t, err)
			}
			if w.keys.refreshes != c.refreshes {
				t.Errorf("%d refreshes, want %d", w.keys.refreshes, c.refreshes)
			}
		})
	}

	t.Run("a withdrawn key", func(t *testing.T) {
		w := newWorld(current.jwk("k2"))
		refused(t, w.Verify(t.Context(), jwtClient("app"), former.assertion(object{"kid": "k1"}, goodClaims(nil))))
	})
}

// TestAssertionUnnamedKey: without a kid every key of the type is tried, up to a
// bound; keys of other types do not count.
func TestAssertionUnnamedKey(t *testing.T) {
	es, others := signers()["ES256"], []jose.JSONWebKey{}
	for range 9 {
		others = append(others, signers()["RS256"].jwk(""), ecSigner(elliptic.P256()).jwk(""))
	}
	w := newWorld(append(others, es.jwk(""))...)
	if err := w.Verify(t.Context(), jwtClient("app"), es.assertion(nil, goodClaims(nil))); err != nil {
		t.Errorf("the tenth: %v", err)
	}
	w = newWorld(append(others, ecSigner(elliptic.P256()).jwk(""), es.jwk(""))...)
	refused(t, w.Verify(t.Context(), jwtClient("app"), es.assertion(nil, goodClaims(nil))))
}

// TestAssertionOutage: an outage blames nobody and uses nothing up.
func TestAssertionOutage(t *testing.T) {
	es := signers()["ES256"]
	assertion := es.assertion(nil, goodClaims(nil))
	newKid := es.assertion(object{"kid": "k2"}, goodClaims(nil))
	down := fmt.Errorf("connection refused: %w", storage.ErrUnavailable)
	for _, c := range []struct {
		name      string
		assertion string
		fail      func(*world, error)
	}{
		{"keys", assertion, func(w *world, err error) { w.keys.err = err }},
		{"refreshing keys", newKid, func(w *world, err error) { w.keys.refreshed = err }},
		{"marks", assertion, func(w *world, err error) { w.used.err = err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(es.jwk("k1"))
			w.keys.sets["app"] = append(w.keys.sets["app"], jose.JSONWebKeySet{Keys: []jose.JSONWebKey{es.jwk("k2"), es.jwk("k1")}})
			for _, cause := range []error{down, context.DeadlineExceeded} {
				c.fail(w, cause)
				err := w.Verify(t.Context(), jwtClient("app"), c.assertion)
				if face := web.OAuthErrorOf(err); face.Status != http.StatusServiceUnavailable || face.Code != "temporarily_unavailable" {
					t.Errorf("%v is answered with %d %s", err, face.Status, face.Code)
				}
			}
			c.fail(w, errors.New("a fault of our own"))
			if face := web.OAuthErrorOf(w.Verify(t.Context(), jwtClient("app"), c.assertion)); face.Status != http.StatusInternalServerError {
				t.Errorf("an unknown error is answered with %d %s", face.Status, face.Code)
			}
			c.fail(w, nil)
			if err := w.Verify(t.Context(), jwtClient("app"), c.assertion); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	t.Run("no keys", func(t *testing.T) {
		w := newWorld()
		w.keys.err = storage.ErrNotFound
		refused(t, w.Verify(t.Context(), jwtClient("app"), assertion))
	})
	t.Run("the client is gone", func(t *testing.T) {
		w := newWorld(es.jwk("k1"))
		w.used.err = storage.ErrNotFound
		refused(t, w.Verify(t.Context(), jwtClient("app"), assertion))
	})
}

func TestAssertionClientID(t *testing.T) {
	es := signers()["ES256"]
	for _, c := range []struct {
		name, assertion, want string
	}{
		{"opaque", es.assertion(nil, object{"iss": "cl_1", "sub": "cl_1"}), "cl_1"},
		{"metadata document", es.assertion(nil, object{"iss": "https://app.example/c", "sub": "https://app.example/c"}), "https://app.example/c"},
		{"differ", es.assertion(nil, object{"iss": "a", "sub": "b"}), ""},
		{"none", es.assertion(nil, object{}), ""},
		{"with a NUL", es.assertion(nil, object{"iss": "a\x00", "sub": "a\x00"}), ""},
		{"HS256", hmacSigner(nil).assertion(nil, goodClaims(nil)), ""},
		{"no claims", es.raw(`{"alg":"ES256"}`, "null"), ""},
		{"too long", es.assertion(nil, object{"iss": "a", "sub": "a", "x": strings.Repeat("x", 8<<10)}), ""},
		{"no JWT", "a.b.c", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := newWorld().ClientID(c.assertion)
			if got != c.want {
				t.Errorf("ClientID is %q, want %q", got, c.want)
			}
			if c.want == "" {
				refused(t, err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAssertionAlgorithms(t *testing.T) {
	got := map[string]bool{}
	for _, alg := range clientauth.AssertionAlgorithms() {
		got[alg] = true
	}
	if diff := cmp.Diff(map[string]bool{"RS256": true, "PS256": true, "ES256": true, "EdDSA": true}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzAssertion: only what the client signed is accepted, and every refusal is
// invalid_client.
func FuzzAssertion(f *testing.F) {
	var keys []jose.JSONWebKey
	signed := map[string]bool{}
	add := func(s *signer, header, claims object) {
		assertion := s.assertion(header, claims)
		signed[string(must(base64.RawURLEncoding.DecodeString(strings.Split(assertion, ".")[1])))] = true
		f.Add(assertion)
	}
	for _, alg := range clientauth.AssertionAlgorithms() {
		s := signers()[alg]
		keys = append(keys, s.jwk(alg))
		add(s, object{"kid": alg}, goodClaims(nil))
		add(s, nil, goodClaims(object{"aud": []string{issuer}, "nbf": 1.5}))
		add(s, object{"kid": "unknown", "typ": "JWT"}, goodClaims(object{"exp": -1e300}))
	}
	f.Add(hmacSigner(nil).assertion(object{"crit": []string{"b64"}, "b64": false}, goodClaims(nil)))
	for _, seed := range []string{"", ".", "..", "e30.e30.", "eyJhbGciOiJFUzI1NiJ9..AAAA", "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, assertion string) {
		w := newWorld(keys...)
		clientID, idErr := w.ClientID(assertion)
		if idErr != nil {
			refused(t, idErr)
		}
		if err := w.Verify(t.Context(), jwtClient("app"), assertion); err != nil {
			refused(t, err)
			return
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(assertion, ".")[1])
		if err != nil || !signed[string(payload)] || clientID != "app" {
			t.Errorf("accepted, for %q: %q", clientID, assertion)
		}
		refused(t, w.Verify(t.Context(), jwtClient("app"), assertion))
	})
}
