package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// The prefixes of the secrets that are shown once. They let scanners find leaked
// ones.
const (
	SecretPrefixClient             = "cs_"
	SecretPrefixAdmin              = "ak_"
	SecretPrefixInitialAccess      = "iat_"
	SecretPrefixRegistrationAccess = "rat_"
)

// NewSecret returns prefix followed by 256 random bits, and the hash that is kept of
// it. Secrets have only characters that read the same form-encoded or not.
func NewSecret(prefix string) (secret string, hash []byte) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails: it ends the program instead
	secret = prefix + base64.RawURLEncoding.EncodeToString(random)
	return secret, HashSecret(secret)
}

// HashSecret is the SHA-256 under which a secret made by NewSecret is kept: it is
// too random to be guessed from that.
func HashSecret(secret string) []byte {
	hash := sha256.Sum256([]byte(secret))
	return hash[:]
}
