package clientauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// The bounds of a client's JWK set, and of the keys in it.
const (
	maxJWKSSize = 64 << 10 // bytes
	maxJWKSKeys = 30
	maxKeyID    = 256 // bytes
	minRSABits  = 2048
)

// The ways in which a JWK set is refused. None repeats what is in it.
var (
	errJWKSSize       = errors.New("the JWK set is too large: 64 KiB and 30 keys are allowed")
	errJWKSForm       = errors.New(`the JWK set must be a JSON object whose "keys" is a list of objects, with no member twice`)
	errJWKSPrivate    = errors.New("the JWK set contains private or symmetric keys; replace them, and send only the public ones")
	errJWKSKeyID      = errors.New("a kid in the JWK set is not a string of at most 256 bytes without control characters")
	errJWKSRepeated   = errors.New("two keys of the JWK set have the same kid")
	errJWKSNothingFit = errors.New("no key of the JWK set can verify signatures here: " +
		"it takes RSA of 2048 to 4096 bits (RS256, PS256), P-256 (ES256) or Ed25519 (EdDSA), and no use but sig")
)

// ParseJWKS reads the JWK set of a client (RFC 7517 §5), inline or fetched. It
// returns the keys that assertions can be verified with, reduced to what that
// takes; others are left out, as RFC 7517 has it. It refuses a set with private or
// symmetric keys, or with none of use. Errors say what to mend and repeat nothing
// of raw.
func ParseJWKS(raw []byte) (jose.JSONWebKeySet, error) {
	keys, err := splitJWKS(raw)
	if err != nil {
		return jose.JSONWebKeySet{}, err
	}
	var set jose.JSONWebKeySet
	seen := make(map[string]bool)
	for _, members := range keys {
		if isPrivate(members) {
			return jose.JSONWebKeySet{}, errJWKSPrivate
		}
		if kid, ok := members["kid"]; ok && !isKeyID(kid) {
			return jose.JSONWebKeySet{}, errJWKSKeyID
		}
		key, ok := parseKey(members)
		if !ok {
			continue
		}
		if key.KeyID != "" && seen[key.KeyID] {
			return jose.JSONWebKeySet{}, errJWKSRepeated
		}
		seen[key.KeyID] = true
		set.Keys = append(set.Keys, key)
	}
	if len(set.Keys) == 0 {
		return jose.JSONWebKeySet{}, errJWKSNothingFit
	}
	return set, nil
}

// splitJWKS returns the keys as their members. It goes through the decoder of
// go-jose, which refuses a member that occurs twice, however deep.
func splitJWKS(raw []byte) ([]map[string]any, error) {
	if len(raw) > maxJWKSSize {
		return nil, errJWKSSize
	}
	var document map[string]any
	if err := json.Unmarshal(raw, &document); err != nil {
		return nil, errJWKSForm
	}
	list, ok := document["keys"].([]any)
	if !ok {
		return nil, errJWKSForm
	}
	if len(list) > maxJWKSKeys {
		return nil, errJWKSSize
	}
	keys := make([]map[string]any, len(list))
	for i, item := range list {
		if keys[i], ok = item.(map[string]any); !ok {
			return nil, errJWKSForm
		}
	}
	return keys, nil
}

// HasPrivateKeys reports whether a JWK set has private or symmetric keys. What is no
// JWK set has none.
func HasPrivateKeys(raw []byte) bool {
	keys, err := splitJWKS(raw)
	return err == nil && slices.ContainsFunc(keys, isPrivate)
}

// isPrivate reports whether a JWK has key material that no server may know
// (RFC 7518 §6, RFC 8037 §2, RFC 9964).
func isPrivate(members map[string]any) bool {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := members[name]; ok {
			return true
		}
	}
	return members["kty"] == "oct"
}

func isKeyID(kid any) bool {
	name, ok := kid.(string)
	return ok && len(name) <= maxKeyID && !strings.ContainsFunc(name, unicode.IsControl)
}

// parseKey returns the key if it can verify assertions. Only the members that
// make the key are read: certificates prove nothing here.
func parseKey(members map[string]any) (jose.JSONWebKey, bool) {
	public := make(map[string]any)
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"} {
		if value, ok := members[name]; ok {
			public[name] = value
		}
	}
	raw, err := json.Marshal(public)
	if err != nil {
		return jose.JSONWebKey{}, false
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return jose.JSONWebKey{}, false
	}
	if operations, ok := members["key_ops"]; ok {
		if list, _ := operations.([]any); !slices.Contains(list, any("verify")) {
			return jose.JSONWebKey{}, false
		}
	}
	ok := slices.ContainsFunc(assertionAlgorithms, func(a jose.SignatureAlgorithm) bool { return fits(&key, a) })
	return key, ok
}

// fits reports whether key is a public key for signatures of this algorithm. It
// is the one place where algorithms and types of keys meet.
func fits(key *jose.JSONWebKey, algorithm jose.SignatureAlgorithm) bool {
	if (key.Use != "" && key.Use != "sig") || (key.Algorithm != "" && key.Algorithm != string(algorithm)) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return (algorithm == jose.RS256 || algorithm == jose.PS256) && public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return algorithm == jose.ES256 && public.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA && len(public) == ed25519.PublicKeySize
	}
	return false
}
