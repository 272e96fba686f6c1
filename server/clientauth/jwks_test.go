package clientauth_test

import (
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"grantd/server/clientauth"
)

// members is the JWK of a signer as a client publishes it, with changes.
func members(s *signer, changes object) object {
	key := object{}
	if err := json.Unmarshal(must(json.Marshal(s.jwk(""))), &key); err != nil {
		panic(err)
	}
	maps.Copy(key, changes)
	maps.DeleteFunc(key, func(_ string, v any) bool { return v == absent })
	return key
}

func jwks(keys ...object) string { return string(must(json.Marshal(object{"keys": keys}))) }

// TestParseJWKS lists the kids of the keys that are kept.
func TestParseJWKS(t *testing.T) {
	rs, es, ed := signers()["RS256"], signers()["ES256"], signers()["EdDSA"]
	p384 := ecSigner(elliptic.P384())
	rsa1024 := rsaSigner("RS256", 1024)
	for _, c := range []struct {
		name string
		raw  string
		want []string
	}{
		{"each type", jwks(members(rs, object{"kid": "rs"}), members(es, object{"kid": "es"}), members(ed, object{"kid": "ed"})), []string{"rs", "es", "ed"}},
		{"no kid, twice", jwks(members(rs, nil), members(es, nil)), []string{"", ""}},
		{"use and alg", jwks(members(rs, object{"kid": "a", "use": "sig", "alg": "PS256"}), members(es, object{"kid": "b", "alg": "ES256"})), []string{"a", "b"}},
		{"key_ops", jwks(members(es, object{"kid": "a", "key_ops": []string{"encrypt", "verify"}})), []string{"a"}},
		{"unknown members", jwks(members(es, object{"kid": "a", "exp": 1, "oauth": object{"b": []int{1}}})), []string{"a"}},
		{"unknown members of the set", `{"x":{"y":1},"keys":[` + string(must(json.Marshal(members(es, object{"kid": "a"})))) + `]}`, []string{"a"}},
		{"certificates are not looked at", jwks(members(es, object{"kid": "a", "x5c": []string{"AAAA"}, "x5u": "::", "x5t": "?"})), []string{"a"}},
		{
			"what is of no use is left out",
			jwks(
				members(es, object{"kid": "a"}), members(es, object{"kid": "enc", "use": "enc"}), members(rsa1024, object{"kid": "small"}),
				members(p384, object{"kid": "p384"}), members(rs, object{"kid": "oaep", "alg": "RSA-OAEP"}), members(rs, object{"kid": "mix", "alg": "ES256"}),
				members(es, object{"kid": "ops", "key_ops": []string{"deriveKey"}}), members(es, object{"kid": "noops", "key_ops": []string{}}),
				members(es, object{"kid": "oddops", "key_ops": "verify"}), members(es, object{"kid": "curve", "crv": "P-384"}),
				members(es, object{"kid": "point", "x": members(es, nil)["y"]}), members(es, object{"kid": "y", "y": absent}),
				members(ed, object{"kid": "x25519", "crv": "X25519"}), members(ed, object{"kid": "short", "x": "AAAA"}),
				members(rs, object{"kid": "e", "e": "AQ"}), members(rs, object{"kid": "b64", "n": "+/=="}),
				object{"kid": "new", "kty": "NEW"}, object{"kid": "nokty"}, object{"kid": "kty", "kty": 1}, object{},
				object{"kid": "huge", "kty": "RSA", "e": "AQAB", "n": strings.Repeat("_", 1400)},
			),
			[]string{"a"},
		},
		{"a kid may return on a key that is left out", jwks(members(es, object{"kid": "a"}), members(rs, object{"kid": "a", "use": "enc"})), []string{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := clientauth.ParseJWKS([]byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, key := range set.Keys {
				got = append(got, key.KeyID)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestParseJWKSRefused: RG-05 and CM-15. The error says nothing of what was sent.
func TestParseJWKSRefused(t *testing.T) {
	rs, es, ed := signers()["RS256"], signers()["ES256"], signers()["EdDSA"]
	plain := members(es, object{"kid": "marker-kid"})
	one := string(must(json.Marshal(plain)))
	var many []object
	for range 31 {
		many = append(many, members(es, nil))
	}
	type row struct{ name, raw, mentions string }
	rows := []row{
		{"symmetric", jwks(plain, object{"kty": "oct", "k": "marker-secret"}), "symmetric"},
		{"symmetric without its key", jwks(plain, object{"kty": "oct"}), "symmetric"},
		{"symmetric in disguise", jwks(members(es, object{"k": "marker-secret"})), "symmetric"},
		{"private among those of no use", jwks(plain, members(rs, object{"use": "enc", "d": "marker-secret"})), "private"},
		{"private of an unknown type", jwks(plain, object{"kty": "AKP", "priv": "marker-secret"}), "private"},

		{"kid twice", jwks(members(es, object{"kid": "marker-kid"}), members(ed, object{"kid": "marker-kid"})), "same kid"},
		{"kid is a number", jwks(members(es, object{"kid": 1})), "kid"},
		{"kid is null", jwks(members(es, object{"kid": nil})), "kid"},
		{"kid of 257 bytes", jwks(members(es, object{"kid": strings.Repeat("k", 257)})), "kid"},
		{"kid with a NUL", jwks(members(es, object{"kid": "a\x00"})), "kid"},

		{"no keys", `{"keys":[]}`, "no key"},
		{"only keys of no use", jwks(members(es, object{"use": "enc"})), "2048"},
		{"31 keys", jwks(many...), "30 keys"},
		{"64 KiB and more", jwks(members(es, object{"x5c": strings.Repeat("A", 64<<10)})), "64 KiB"},

		{"nothing", "", "JSON"},
		{"null", "null", "JSON"},
		{"list", "[" + one + "]", "JSON"},
		{"one key", one, "JSON"},
		{"keys null", `{"keys":null}`, "JSON"},
		{"keys is an object", `{"keys":` + one + `}`, "JSON"},
		{"keys in other case", `{"Keys":[` + one + `]}`, "JSON"},
		{"a key is a string", `{"keys":["marker-kid"]}`, "JSON"},
		{"a key is null", `{"keys":[null]}`, "JSON"},
		{"more after it", jwks(plain) + "{}", "JSON"},
		{"cut off", strings.TrimSuffix(jwks(plain), "}"), "JSON"},
		{"deep", `{"keys":` + strings.Repeat("[", 60000) + strings.Repeat("]", 1000) + `}`, "JSON"},
		{"keys twice", `{"keys":[` + one + `],"keys":[` + one + `]}`, "twice"},
		{"kty twice", `{"keys":[{"kty":"oct",` + one[1:] + `]}`, "twice"},
		{"kid twice in a key", `{"keys":[{"kid":"marker-kid",` + one[1:] + `]}`, "twice"},
		{"kid twice, once escaped", `{"keys":[{"\u006bid":"marker-kid",` + one[1:] + `]}`, "twice"},
		{"twice below a member of no use", `{"keys":[` + one + `],"x":{"marker-kid":1,"marker-kid":2}}`, "twice"},
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		rows = append(rows, row{"private RSA " + name, jwks(plain, members(rs, object{name: "marker-secret"})), "private"})
	}
	rows = append(
		rows, row{"private RSA oth", jwks(members(rs, object{"oth": []object{{"d": "marker-secret"}}})), "private"},
		row{"private EC", jwks(members(es, object{"d": "marker-secret"})), "private"}, row{"private OKP", jwks(members(ed, object{"d": "marker-secret"})), "private"},
		row{"private null", jwks(members(ed, object{"d": nil})), "private"},
	)
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			set, err := clientauth.ParseJWKS([]byte(c.raw))
			if err == nil || len(set.Keys) != 0 {
				t.Fatalf("%d keys, error %v", len(set.Keys), err)
			}
			if !strings.Contains(err.Error(), c.mentions) {
				t.Errorf("error is %q, want one that mentions %q", err, c.mentions)
			}
			if strings.Contains(err.Error(), "marker") {
				t.Errorf("error repeats what was sent: %q", err)
			}
		})
	}
}

// TestParseJWKSVerifies: what was parsed verifies what the client signs.
func TestParseJWKSVerifies(t *testing.T) {
	for alg, s := range signers() {
		set, err := clientauth.ParseJWKS([]byte(jwks(members(s, object{"kid": "k1", "alg": alg, "use": "sig", "key_ops": []string{"verify"}}))))
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if err := newWorld(set.Keys...).Verify(t.Context(), jwtClient("app"), s.assertion(object{"kid": "k1"}, goodClaims(nil))); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// FuzzParseJWKS: keys that are kept are public, named apart, and survive being
// written down and read again.
func FuzzParseJWKS(f *testing.F) {
	for alg, s := range signers() {
		f.Add(jwks(members(s, object{"kid": alg, "use": "sig"})))
		f.Add(jwks(members(s, object{"d": "AAAA"}), members(s, object{"key_ops": []any{object{}, nil}})))
	}
	f.Add(`{"keys":[{"kty":"oct","k":"AA"},{"kty":"RSA","n":"","e":""},{"kty":"OKP","crv":"Ed25519","x":""}]}`)
	f.Add(`{"keys":[1e999,{"kid":"\ud800"}]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		set, err := clientauth.ParseJWKS([]byte(raw))
		if err != nil {
			return
		}
		kids := map[string]bool{}
		for _, key := range set.Keys {
			if !key.IsPublic() || !key.Valid() || (key.KeyID != "" && kids[key.KeyID]) {
				t.Errorf("key %q was kept: %+v", key.KeyID, key)
			}
			kids[key.KeyID] = true
		}
		again, err := clientauth.ParseJWKS(must(json.Marshal(set)))
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		same := cmp.Comparer(func(a, b jose.JSONWebKey) bool {
			return fmt.Sprint(a.KeyID, a.Algorithm, a.Use) == fmt.Sprint(b.KeyID, b.Algorithm, b.Use) &&
				a.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(b.Key)
		})
		if diff := cmp.Diff(set, again, same); diff != "" {
			t.Error(diff)
		}
	})
}
