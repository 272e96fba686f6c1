package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/keys"
	"grantd/storage"
)

var start = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func newSigning(root *keys.Root, s storage.SigningKeyStore, algorithm string) (*keys.Signing, *time.Time) {
	now := start
	return &keys.Signing{Store: s, Root: root, Algorithm: algorithm, Now: func() time.Time { return now }}, &now
}

func load(t *testing.T, s *keys.Signing) *keys.Signing {
	t.Helper()
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

type claims struct {
	Subject string `json:"sub"`
}

func sign(t *testing.T, s *keys.Signing) string {
	t.Helper()
	token, err := s.Sign(claims{Subject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func verifies(s *keys.Signing, token string) bool {
	got, err := keys.Verify[claims](s, token)
	return err == nil && got.Subject == "alice"
}

func TestEveryAlgorithmSignsAndVerifies(t *testing.T) {
	for _, algorithm := range keys.Algorithms {
		t.Run(algorithm, func(t *testing.T) {
			signing, _ := newSigning(newRoot(t, 1), &store{}, algorithm)
			token := sign(t, load(t, signing))
			if !verifies(signing, token) {
				t.Error("its own token does not verify")
			}
			header := decode(t, strings.Split(token, ".")[0])
			if header["alg"] != algorithm || header["typ"] != "at+jwt" || header["kid"] == "" || len(header) != 3 {
				t.Errorf("header %v", header)
			}
			// Another program that knows no more than the JWK set.
			set := readJWKS(t, signing.JWKS())
			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jws.Verify(set); err != nil {
				t.Errorf("does not verify with the published set: %v", err)
			}
		})
	}
}

func TestMD04JWKS(t *testing.T) {
	for _, algorithm := range keys.Algorithms {
		t.Run(algorithm, func(t *testing.T) {
			rows := &store{}
			other := "ES256"
			if algorithm == other {
				other = "EdDSA"
			}
			first, _ := newSigning(newRoot(t, 1), rows, other)
			load(t, first)
			signing, _ := newSigning(newRoot(t, 1), rows, algorithm)
			var set struct {
				Keys []map[string]any `json:"keys"`
			}
			if err := json.Unmarshal(load(t, signing).JWKS(), &set); err != nil {
				t.Fatal(err)
			}
			seen := map[any]bool{}
			for _, key := range set.Keys {
				for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
					if _, there := key[private]; there {
						t.Errorf("the set has the private member %q", private)
					}
				}
				if key["use"] != "sig" || !slices.Contains(keys.Algorithms, key["alg"].(string)) || key["kty"] == "oct" || key["kid"] == "" || seen[key["kid"]] {
					t.Errorf("key %v", key)
				}
				seen[key["kid"]] = true
			}
			if len(set.Keys) != 2 {
				t.Errorf("%d keys, want the active one and the next one", len(set.Keys))
			}
		})
	}
}

// TestMD05ForgedTokens tries every way in which a token could come from somebody
// else than this server.
func TestMD05ForgedTokens(t *testing.T) {
	root := newRoot(t, 1)
	ours, theirs := newECKey(t), newECKey(t)
	rows := &store{rows: []*storage.SigningKey{row(t, root, "ours", ours, storage.KeyActive)}}
	signing, _ := newSigning(root, rows, "ES256")
	good := sign(t, load(t, signing))
	parts := strings.Split(good, ".")
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"alice"}`))
	public, err := x509.MarshalPKIXPublicKey(ours.Public())
	if err != nil {
		t.Fatal(err)
	}
	published := readJWKS(t, signing.JWKS()).Keys[0]
	asJSON, err := json.Marshal(published)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) string {
		input := encode(`{"alg":"HS256","typ":"at+jwt","kid":"ours"}`) + "." + payload
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	embedded := jose.JSONWebKey{Key: theirs.Public(), KeyID: "ours", Algorithm: "ES256"}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, token string }{
		{"alg none, no signature", encode(`{"alg":"none","typ":"at+jwt","kid":"ours"}`) + "." + payload + "."},
		{"alg None", encode(`{"alg":"None","typ":"at+jwt","kid":"ours"}`) + "." + payload + "."},
		{"alg none with our signature", encode(`{"alg":"none","typ":"at+jwt","kid":"ours"}`) + "." + parts[1] + "." + parts[2]},
		{"no alg", encode(`{"typ":"at+jwt","kid":"ours"}`) + "." + payload + "." + parts[2]},
		{"HS256 with the public key in DER", hs256(public)},
		{"HS256 with the public key in PEM", hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))},
		{"HS256 with the published JWK", hs256(asJSON)},
		{"HS256 with the JWK set", hs256(signing.JWKS())},
		{"HS256 with nothing", hs256(nil)},
		{"typ JWT", mint(t, ours, jose.ES256, "ours", "JWT")},
		{"typ of an assertion", mint(t, ours, jose.ES256, "ours", "oauth-id-jag+jwt")},
		{"no typ", mint(t, ours, jose.ES256, "ours", "")},
		{"foreign key, our kid", mint(t, theirs, jose.ES256, "ours", "at+jwt")},
		{"foreign key, unknown kid", mint(t, theirs, jose.ES256, "theirs", "at+jwt")},
		{"our key, unknown kid", mint(t, ours, jose.ES256, "theirs", "at+jwt")},
		{"our key, no kid", mint(t, ours, jose.ES256, "", "at+jwt")},
		{"other algorithm, our kid", mint(t, edKey, jose.EdDSA, "ours", "at+jwt")},
		{"embedded jwk", mintWith(t, theirs, jose.ES256, map[jose.HeaderKey]any{"kid": "ours", "typ": "at+jwt", "jwk": &embedded})},
		{"jku", mintWith(t, theirs, jose.ES256, map[jose.HeaderKey]any{"kid": "ours", "typ": "at+jwt", "jku": "https://evil.example/jwks"})},
		{"a critical header nobody knows", mintWith(t, ours, jose.ES256, map[jose.HeaderKey]any{"kid": "ours", "typ": "at+jwt", "crit": []string{"x"}, "x": 1})},
		{"other claims under our signature", parts[0] + "." + encode(`{"sub":"mallory"}`) + "." + parts[2]},
		{"other header under our signature", encode(`{"alg":"ES256","kid":"ours","typ":"at+jwt" }`) + "." + parts[1] + "." + parts[2]},
		{"signature cut", good[:len(good)-2]},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))},
		{"no signature", parts[0] + "." + parts[1] + "."},
		{"padded", good + "="},
		{"JSON serialization", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`},
		{"not a token", "rt_something"},
		{"nothing", ""},
		{"MD-11 ten thousand dots", strings.Repeat(".", 10_000)},
		{"MD-11 larger than any token", good + strings.Repeat("A", 16<<10)},
		{"MD-11 encrypted, with costly key derivation", encode(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA","zip":"DEF"}`) + ".AAAA.AAAA.AAAA.AAAA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := keys.Verify[claims](signing, c.token); !errors.Is(err, keys.ErrToken) {
				t.Errorf("error %v, claims %v", err, got)
			}
		})
	}
	if !verifies(signing, mint(t, ours, jose.ES256, "ours", "at+jwt")) {
		t.Error("what the forgeries were made from does not verify either: they prove nothing")
	}
}

// A token that was verified is remembered, byte for byte and nothing near it.
func TestVerifiedTokensAreRemembered(t *testing.T) {
	root, rows := newRoot(t, 1), &store{}
	signing, _ := newSigning(root, rows, "ES256")
	token := sign(t, load(t, signing))
	verify := func() float64 {
		return testing.AllocsPerRun(100, func() {
			if !verifies(signing, token) {
				t.Fatal("its own token does not verify")
			}
		})
	}
	if n := verify(); n > 1 {
		t.Errorf("a token that was verified before is verified again: %.0f allocations", n)
	}
	for i := range len(token) {
		altered := token[:i] + string(token[i]^1) + token[i+1:]
		// One that remembers nothing decides: base64 can spell some bytes in two ways.
		forgetful, _ := newSigning(root, rows, "ES256")
		if want := verifies(load(t, forgetful), altered); verifies(signing, altered) != want {
			t.Errorf("with character %d altered, it verifies: %t, want %t", i, !want, want)
		}
	}
	for _, near := range []string{token[:len(token)-1], token + "A", token + ".", " " + token} {
		if verifies(signing, near) {
			t.Errorf("%q verifies", near)
		}
	}
}

func TestKeyStates(t *testing.T) {
	root := newRoot(t, 1)
	retired, active, next := newECKey(t), newECKey(t), newECKey(t)
	old := row(t, root, "retired", retired, storage.KeyRetired)
	old.RetiredAt = start
	rows := &store{rows: []*storage.SigningKey{old, row(t, root, "active", active, storage.KeyActive), row(t, root, "next", next, storage.KeyNext)}}
	signing, now := newSigning(root, rows, "ES256")
	load(t, signing)
	if kid := decode(t, strings.Split(sign(t, signing), ".")[0])["kid"]; kid != "active" {
		t.Errorf("%v signs", kid)
	}
	refresh := func() {
		if err := signing.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	published := func() (kids []string) {
		for _, key := range readJWKS(t, signing.JWKS()).Keys {
			kids = append(kids, key.KeyID)
		}
		return kids
	}
	byRetired := mint(t, retired, jose.ES256, "retired", "at+jwt")
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{0, []string{"retired", "active", "next"}},
		{storage.MaxAccessTokenLifetime, []string{"retired", "active", "next"}}, // its last token expires
		{storage.MaxAccessTokenLifetime + 5*time.Minute, []string{"retired", "active", "next"}},
		{storage.MaxAccessTokenLifetime + 5*time.Minute + time.Second, []string{"active", "next"}},
	} {
		*now = start.Add(c.after)
		refresh()
		if got := published(); !slices.Equal(got, c.want) {
			t.Errorf("%v after retiring, the set has %v, want %v", c.after, got, c.want)
		}
		if got := verifies(signing, byRetired); got != slices.Contains(c.want, "retired") {
			t.Errorf("%v after retiring, a token of the retired key verifies: %v", c.after, got)
		}
	}
}

func TestMD09ReplicasAgreeOnOneKey(t *testing.T) {
	root, rows := newRoot(t, 1), &store{}
	signings := make([]*keys.Signing, 8)
	errs := make([]error, len(signings))
	var all sync.WaitGroup
	for i := range signings {
		signings[i], _ = newSigning(root, rows, "ES256")
		all.Go(func() { errs[i] = signings[i].Load(t.Context()) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, s := range signings {
		if !bytes.Equal(s.JWKS(), signings[0].JWKS()) || !verifies(s, sign(t, signings[0])) {
			t.Error("replicas have different keys")
		}
	}
	if len(rows.rows) != 2 || rows.rows[0].State == rows.rows[1].State {
		t.Errorf("%d keys were made, want an active and a next one", len(rows.rows))
	}
	rows.conflict = 100
	other, _ := newSigning(root, rows, "EdDSA")
	if err := other.Load(t.Context()); err == nil {
		t.Error("losing for ever to another replica is no error")
	}
}

func TestLoadFails(t *testing.T) {
	key := newECKey(t)
	good := func() *storage.SigningKey { return row(t, newRoot(t, 1), "ours", key, storage.KeyActive) }
	for _, c := range []struct {
		name string
		rows *store
		want error
	}{
		{"database is down", &store{down: true}, storage.ErrUnavailable},
		{"sealed by an unknown root key", &store{rows: []*storage.SigningKey{row(t, newRoot(t, 9), "ours", key, storage.KeyActive)}}, keys.ErrUnknownKey},
		{"sealed for another row", &store{rows: []*storage.SigningKey{func() *storage.SigningKey {
			r := good()
			r.KID = "renamed"
			return r
		}()}}, keys.ErrForged},
		{"public part is private", &store{rows: []*storage.SigningKey{func() *storage.SigningKey {
			r := good()
			r.PublicJWK, _ = json.Marshal(jose.JSONWebKey{Key: key, KeyID: "ours"})
			return r
		}()}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			signing, _ := newSigning(newRoot(t, 1), c.rows, "ES256")
			if err := signing.Load(t.Context()); err == nil || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestRefreshKeepsTheKeysInUseWhenItFails(t *testing.T) {
	rows := &store{}
	signing, _ := newSigning(newRoot(t, 1), rows, "ES256")
	token := sign(t, load(t, signing))
	rows.down = true
	if err := signing.Refresh(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("refresh: %v", err)
	}
	if !verifies(signing, token) || !verifies(signing, sign(t, signing)) {
		t.Error("without a database no tokens")
	}
	rows.down, rows.rows = false, nil
	if err := signing.Refresh(t.Context()); err == nil {
		t.Error("refreshed to no key at all")
	}
	if !verifies(signing, token) {
		t.Error("the keys in use are gone")
	}
}

// FuzzVerify: what this server did not sign is refused, whatever it is.
func FuzzVerify(f *testing.F) {
	root := newRoot(f, 1)
	signing, _ := newSigning(root, &store{}, "ES256")
	if err := signing.Load(context.Background()); err != nil {
		f.Fatal(err)
	}
	good, err := signing.Sign(claims{Subject: "alice"})
	if err != nil {
		f.Fatal(err)
	}
	header, rest, _ := strings.Cut(good, ".")
	f.Add("")
	f.Add("a.b.c")
	f.Add(header + "." + encode(`{}`) + "." + rest)
	f.Add(encode(`{"alg":"none","typ":"at+jwt"}`) + ".e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := keys.Verify[claims](signing, token); !errors.Is(err, keys.ErrToken) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

// The craft of making tokens by hand.

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// row is an ES256 SigningKey whose private part the test knows.
func row(t testing.TB, root *keys.Root, kid string, private crypto.Signer, state storage.KeyState) *storage.SigningKey {
	t.Helper()
	public, err := json.Marshal(jose.JSONWebKey{Key: private.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return &storage.SigningKey{
		KID: kid, Algorithm: "ES256", State: state, PublicJWK: public,
		SealedPrivateKey: root.SealBytes("signing key "+kid, der), CreatedAt: start,
	}
}

func mint(t testing.TB, private crypto.Signer, algorithm jose.SignatureAlgorithm, kid, typ string) string {
	t.Helper()
	headers := map[jose.HeaderKey]any{}
	if kid != "" {
		headers["kid"] = kid
	}
	if typ != "" {
		headers["typ"] = typ
	}
	return mintWith(t, private, algorithm, headers)
}

// mintWith signs {"sub":"alice"} under any header, by hand: a library would refuse
// some of them.
func mintWith(t testing.TB, private crypto.Signer, algorithm jose.SignatureAlgorithm, headers map[jose.HeaderKey]any) string {
	t.Helper()
	headers["alg"] = algorithm
	header, err := json.Marshal(headers)
	if err != nil {
		t.Fatal(err)
	}
	input := encode(string(header)) + "." + encode(`{"sub":"alice"}`)
	var signature []byte
	switch key := private.(type) {
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(input))
	case *rsa.PrivateKey:
		t.Fatal("no test needs it")
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(t testing.TB, encoded string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func readJWKS(t testing.TB, document []byte) *jose.JSONWebKeySet {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	return &set
}
