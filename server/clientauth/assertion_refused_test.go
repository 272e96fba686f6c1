package clientauth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestAssertionRefused: rows TK-17 to TK-22 and ST-12. Nothing that is refused is
// used up, so the same jti may come again in a good assertion.
func TestAssertionRefused(t *testing.T) {
	var (
		rs, ps, es, ed = signers()["RS256"], signers()["PS256"], signers()["ES256"], signers()["EdDSA"]
		stranger       = ecSigner(elliptic.P256())
		strangerJWK    = stranger.jwk("k1")
		der            = must(x509.MarshalPKIXPublicKey(rs.public))
		pemBlock       = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		modulus        = rs.public.(*rsa.PublicKey).N.Bytes()
		jwk            = must(json.Marshal(rs.jwk("rs")))
		good           = goodClaims(nil)
		payload        = string(must(json.Marshal(good)))
		at             = func(d time.Duration) int64 { return assertionTime.Add(d).Unix() }
		claim          = func(name string, value any) string { return es.assertion(nil, goodClaims(object{name: value})) }
		rawClaim       = func(member string) string {
			return es.raw(`{"alg":"ES256"}`, strings.TrimSuffix(payload, "}")+","+member+"}")
		}
	)
	none := (&signer{"none", nil, func([]byte) []byte { return nil }}).assertion(nil, good)
	parts := strings.Split(es.assertion(nil, good), ".")
	unencoded := &signer{"ES256", nil, func(input []byte) []byte {
		header, payload, _ := strings.Cut(string(input), ".")
		return es.sign([]byte(header + "." + string(must(base64.RawURLEncoding.DecodeString(payload)))))
	}}
	hmacWith := func(secret []byte) string { return hmacSigner(secret).assertion(nil, good) }
	for _, c := range []struct{ name, assertion string }{
		{"TK-17 none", none},
		{"TK-17 NONE in other case", (&signer{"nOnE", nil, func([]byte) []byte { return nil }}).assertion(nil, good)},
		{"TK-17 no alg", es.raw(`{"typ":"JWT"}`, payload)},
		{"TK-17 alg is a list", es.raw(`{"alg":["ES256"]}`, payload)},
		{"TK-17 alg in other case", es.raw(`{"alg":"es256"}`, payload)},
		{"TK-17 alg twice", es.raw(`{"alg":"ES256","alg":"ES256"}`, payload)},
		{"TK-17 HS256 with the public key in PEM", hmacWith(pemBlock)},
		{"TK-17 HS256 with the public key in PEM, trimmed", hmacWith(bytes.TrimSpace(pemBlock))},
		{"TK-17 HS256 with the public key in DER", hmacWith(der)},
		{"TK-17 HS256 with the modulus", hmacWith(modulus)},
		{"TK-17 HS256 with the JWK", hmacWith(jwk)},
		{"TK-17 HS256 with nothing", hmacWith(nil)},
		{"TK-17 HS256 by the kid of an RSA key", hmacSigner(pemBlock).assertion(object{"kid": "rs"}, good)},
		{"TK-17 ES256 signature under RS256", es.assertion(object{"alg": "RS256"}, good)},
		{"TK-17 RS256 signature under ES256", rs.assertion(object{"alg": "ES256"}, good)},
		{"TK-17 RS256 signature under ES256 by its kid", rs.assertion(object{"alg": "ES256", "kid": "rs"}, good)},
		{"TK-17 RS256 signature under PS256", rs.assertion(object{"alg": "PS256"}, good)},
		{"TK-17 PS256 signature under RS256", ps.assertion(object{"alg": "RS256"}, good)},
		{"TK-17 EdDSA signature under ES256", ed.assertion(object{"alg": "ES256"}, good)},
		{"TK-17 unlisted alg RS512", rs.assertion(object{"alg": "RS512"}, good)},
		{"TK-17 unlisted alg ES384", es.assertion(object{"alg": "ES384"}, good)},
		{"TK-17 kid of a key of another type", es.assertion(object{"kid": "rs"}, good)},

		{"TK-18 signed with the key in jwk", stranger.assertion(object{"jwk": strangerJWK}, good)},
		{"TK-18 signed with the key in jwk, by a known kid", stranger.assertion(object{"jwk": strangerJWK, "kid": "es"}, good)},
		{"TK-18 private jwk", es.assertion(object{"jwk": object{"kty": "oct", "k": "AAAA"}}, good)},
		{"TK-18 malformed jwk", es.assertion(object{"jwk": 1}, good)},
		{"TK-18 malformed x5c", es.assertion(object{"x5c": []string{"AAAA"}}, good)},
		{"TK-18 crit", es.assertion(object{"crit": []string{"exp"}, "exp": 1}, good)},
		{"TK-18 crit of what go-jose knows", es.assertion(object{"crit": []string{"b64"}, "b64": true}, good)},
		{"TK-18 empty crit", es.assertion(object{"crit": []string{}}, good)},
		{"TK-18 crit is no list", es.assertion(object{"crit": "exp"}, good)},
		{"RFC 7797 b64", es.assertion(object{"b64": false}, good)},
		{"RFC 7797 b64, signed accordingly", unencoded.assertion(object{"b64": false}, good)},

		{"TK-19 kid is a path", es.assertion(object{"kid": "../../etc/passwd"}, good)},
		{"TK-19 kid is SQL", es.assertion(object{"kid": "es' OR '1'='1"}, good)},
		{"TK-19 kid is a number", es.assertion(object{"kid": 1}, good)},
		{"TK-19 kid of 7 KiB", es.assertion(object{"kid": strings.Repeat("k", 7<<10)}, good)},
		{"TK-19 kid of 1 MiB", es.assertion(object{"kid": strings.Repeat("k", 1<<20)}, good)},
		{"TK-19 kid in other case", es.assertion(object{"kid": "ES"}, good)},

		{"access token", es.assertion(object{"typ": "at+jwt"}, good)},
		{"DPoP proof", es.assertion(object{"typ": "dpop+jwt"}, good)},
		{"typ is no string", es.assertion(object{"typ": 1}, good)},

		{"TK-20 list of two", claim("aud", []string{issuer, issuer + "/token"})},
		{"TK-20 issuer and another", claim("aud", []string{issuer, "https://else.example"})},
		{"TK-20 issuer twice", claim("aud", []string{issuer, issuer})},
		{"empty list", claim("aud", []string{})},
		{"no aud", claim("aud", absent)},
		{"aud null", claim("aud", nil)},
		{"aud is a number", claim("aud", 1)},
		{"aud is a list in a list", claim("aud", [][]string{{issuer}})},
		{"aud is an object", claim("aud", object{issuer: 1})},
		{"another server", claim("aud", "https://else.example")},
		{"issuer and a slash", claim("aud", issuer+"/")},
		{"another endpoint", claim("aud", issuer+"/revoke")},
		{"issuer without its path", claim("aud", "https://auth.example")},
		{"issuer in other case", claim("aud", strings.ToUpper(issuer))},
		{"prefix of the issuer", claim("aud", issuer[:len(issuer)-1])},

		{"TK-22 expired by the skew", claim("exp", at(-time.Minute))},
		{"TK-22 expired", claim("exp", at(-time.Hour))},
		{"TK-22 exp too far", claim("exp", at(11*time.Minute+time.Second))},
		{"TK-22 exp in a hundred years", claim("exp", at(100*365*24*time.Hour))},
		{"TK-22 no exp", claim("exp", absent)},
		{"TK-22 nbf ahead", claim("nbf", at(61*time.Second))},
		{"TK-22 iat ahead", claim("iat", at(61*time.Second))},
		{"TK-22 no jti", claim("jti", absent)},
		{"TK-22 empty jti", claim("jti", "")},
		{"TK-22 jti null", claim("jti", nil)},
		{"TK-22 jti is a number", claim("jti", 7)},
		{"TK-22 jti of 257 bytes", claim("jti", strings.Repeat("j", 257))},
		{"jti with a NUL", claim("jti", "a\x00b")},
		{"TK-22 iss is another", claim("iss", "other")},
		{"TK-22 sub is another", claim("sub", "other")},
		{"TK-22 iss and sub are another", es.assertion(nil, goodClaims(object{"iss": "other", "sub": "other"}))},
		{"TK-22 no iss", claim("iss", absent)},
		{"TK-22 no sub", claim("sub", absent)},
		{"TK-22 neither", es.assertion(nil, goodClaims(object{"iss": "", "sub": ""}))},
		{"iss is a list", claim("iss", []string{"app"})},

		{"ST-12 exp is a string", claim("exp", fmt.Sprint(at(time.Minute)))},
		{"ST-12 exp is a date", claim("exp", "2026-05-04T03:03:01Z")},
		{"ST-12 exp is negative", claim("exp", -at(time.Minute))},
		{"ST-12 exp is 0", claim("exp", 0)},
		{"ST-12 exp is -0.0", claim("exp", json.Number("-0.0"))},
		{"ST-12 exp null", claim("exp", nil)},
		{"ST-12 exp is a list", claim("exp", []int64{at(time.Minute)})},
		{"ST-12 exp in milliseconds", claim("exp", at(time.Minute)*1000)},
		{"ST-12 exp year 9999", claim("exp", 253402300799)},
		{"ST-12 exp is 2^63", claim("exp", json.Number("9223372036854775808"))},
		{"ST-12 exp is 2^64 and a minute", claim("exp", json.Number(fmt.Sprintf("1844674407%d", 3709551616+at(time.Minute))))},
		{"ST-12 exp is 1e308", claim("exp", json.Number("1e308"))},
		{"ST-12 exp is 1e400", claim("exp", json.Number("1e400"))},
		{"ST-12 exp with 5,000 digits", claim("exp", json.Number(strings.Repeat("9", 5000)))},
		{"ST-12 nbf is 1e300", claim("nbf", json.Number("1e300"))},
		{"ST-12 nbf is -1e300", claim("nbf", json.Number("-1e300"))},
		{"ST-12 nbf is a string", claim("nbf", "0")},
		{"ST-12 iat is true", claim("iat", true)},

		{"exp twice", rawClaim(fmt.Sprintf(`"exp":%d`, at(time.Minute)))},
		{"aud twice", rawClaim(`"aud":"https://else.example"`)},
		{"exp in other case only", es.assertion(nil, goodClaims(object{"exp": absent, "EXP": at(time.Minute)}))},
		{"claims are null", es.raw(`{"alg":"ES256"}`, "null")},
		{"claims are a list", es.raw(`{"alg":"ES256"}`, "["+payload+"]")},
		{"claims are empty", es.raw(`{"alg":"ES256"}`, "")},
		{"claims and more", es.raw(`{"alg":"ES256"}`, payload+"{}")},
		{"header is no JSON", es.raw("ES256", payload)},

		{"empty", ""},
		{"dots", ".."},
		{"two parts", parts[0] + "." + parts[1]},
		{"four parts", strings.Join(parts, ".") + "."},
		{"no signature", parts[0] + "." + parts[1] + "."},
		{"no payload", parts[0] + ".." + parts[2]},
		{"padding", parts[0] + "." + parts[1] + "=." + parts[2]},
		{"spaces around it", " " + strings.Join(parts, ".") + " "},
		{"signature of another payload", parts[0] + "." + strings.Split(claim("jti", "j2"), ".")[1] + "." + parts[2]},
		{"signed by a stranger", stranger.assertion(nil, good)},
		{"JSON serialization", fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])},
		{"8 KiB and more", es.assertion(nil, goodClaims(object{"x": strings.Repeat("x", 8<<10)}))},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(rs.jwk("rs"), ps.jwk("ps"), es.jwk("es"), ed.jwk("ed"))
			err := w.Verify(t.Context(), jwtClient("app"), c.assertion)
			refused(t, err)
			if len(c.assertion) > 100 && strings.Contains(err.Error(), c.assertion[:50]) {
				t.Errorf("the error repeats the assertion: %v", err)
			}
			if len(w.used.until) != 0 {
				t.Errorf("%d assertions were used up", len(w.used.until))
			}
			if w.keys.refreshes > 1 {
				t.Errorf("%d refreshes", w.keys.refreshes)
			}
			if err := w.Verify(t.Context(), jwtClient("app"), es.assertion(nil, good)); err != nil {
				t.Errorf("a good one afterwards: %v", err)
			}
		})
	}
}

// TestAssertionRefusedKeys: keys that would verify the signature and must not.
func TestAssertionRefusedKeys(t *testing.T) {
	small, p384, es := rsaSigner("RS256", 1024), ecSigner(elliptic.P384()), signers()["ES256"]
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	own := &signer{"ES256", &private.PublicKey, func(input []byte) []byte {
		digest := sha256.Sum256(input)
		r, s, _ := ecdsa.Sign(rand.Reader, private, digest[:])
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}}
	change := func(f func(*jose.JSONWebKey)) jose.JSONWebKey {
		key := es.jwk("k1")
		f(&key)
		return key
	}
	for _, c := range []struct {
		name   string
		signer *signer
		key    jose.JSONWebKey
	}{
		{"RSA of 1024 bits", small, small.jwk("k1")},
		{"P-384 under ES256", p384, p384.jwk("k1")},
		{"private key", own, jose.JSONWebKey{Key: private, KeyID: "k1"}},
		{"for encryption", es, change(func(k *jose.JSONWebKey) { k.Use = "enc" })},
		{"for something else", es, change(func(k *jose.JSONWebKey) { k.Use = "SIG" })},
		{"for another algorithm", es, change(func(k *jose.JSONWebKey) { k.Algorithm = "ES384" })},
		{"symmetric", hmacSigner([]byte("secret")), jose.JSONWebKey{Key: []byte("secret"), KeyID: "k1"}},
	} {
		for _, header := range []object{nil, {"kid": "k1"}} {
			t.Run(fmt.Sprint(c.name, header), func(t *testing.T) {
				w := newWorld(c.key)
				refused(t, w.Verify(t.Context(), jwtClient("app"), c.signer.assertion(header, goodClaims(nil))))
			})
		}
	}
	for _, key := range []jose.JSONWebKey{
		change(func(k *jose.JSONWebKey) { k.Use = "sig" }), change(func(k *jose.JSONWebKey) { k.Algorithm = "ES256" }),
	} {
		if err := newWorld(key).Verify(t.Context(), jwtClient("app"), es.assertion(nil, goodClaims(nil))); err != nil {
			t.Errorf("use %q, alg %q: %v", key.Use, key.Algorithm, err)
		}
	}
}
