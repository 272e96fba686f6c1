package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// The prefixes of the secrets that are shown once. They let scanners find leaked
// ones.
const (
	SecretPrefixClient             = "cs_"
	SecretPrefixAdmin              = "ak_"
	SecretPrefixInitialAccess      = "iat_"
	SecretPrefixRegistrationAccess = "rat_"
	SecretPrefixUserLink           = "ult_"
)

// secretBytes is how many random bytes a secret has.
const secretBytes = 32

// NewSecret returns prefix followed by 256 random bits, and the hash that is kept of
// it. Secrets have only characters that read the same form-encoded or not.
func NewSecret(prefix string) (secret string, hash []byte) {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails: it ends the program instead
	secret = prefix + base64.RawURLEncoding.EncodeToString(random)
	return secret, HashSecret(secret)
}

// minDistinct is how many different characters a chosen secret must have. A random
// one has some 32 of the 64; that it has fewer than 16 happens to nobody.
const minDistinct = 16

// IsSecret reports whether text looks like what NewSecret makes: prefix, then 256
// bits as base64url that are not a few characters repeated.
func IsSecret(prefix, text string) bool {
	text, ok := strings.CutPrefix(text, prefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(raw) != secretBytes {
		return false
	}
	distinct := make(map[rune]bool)
	for _, c := range text {
		distinct[c] = true
	}
	return len(distinct) >= minDistinct
}

// Fingerprint tells one kept secret from another. Nobody gets back to the secret
// from it, which has 256 random bits, nor can it be used instead.
func Fingerprint(hash []byte) string { return hex.EncodeToString(hash[:8]) }

// HashSecret is the SHA-256 under which a secret made by NewSecret is kept: it is
// too random to be guessed from that.
func HashSecret(secret string) []byte {
	hash := sha256.Sum256([]byte(secret))
	return hash[:]
}
