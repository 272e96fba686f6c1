package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// signer makes compact JWS (RFC 7515 §3.1) with one key. go-jose would encode the
// same header for each token again; here it is made once. Verifying, where
// strangers choose the bytes, is go-jose's.
type signer struct {
	algorithm jose.SignatureAlgorithm
	header    string // of access tokens; protected, encoded, with the dot after it
	idHeader  string // likewise, of ID tokens
	signature func(signed []byte) ([]byte, error)
}

// newSigner fails when the key is not of the algorithm.
func newSigner(algorithm jose.SignatureAlgorithm, kid string, private any) (*signer, error) {
	s := &signer{algorithm: algorithm}
	for typ, encoded := range map[string]*string{tokenType: &s.header, idTokenType: &s.idHeader} {
		header, err := json.Marshal(map[string]string{"alg": string(algorithm), "kid": kid, "typ": typ})
		if err != nil {
			return nil, err
		}
		*encoded = base64.RawURLEncoding.EncodeToString(header) + "."
	}
	switch key := private.(type) {
	case *ecdsa.PrivateKey:
		if algorithm == jose.ES256 && key.Curve.Params().BitSize == 256 {
			s.signature = func(signed []byte) ([]byte, error) { return signES256(key, signed) }
		}
	case ed25519.PrivateKey:
		if algorithm == jose.EdDSA {
			s.signature = func(signed []byte) ([]byte, error) { return key.Sign(nil, signed, crypto.Hash(0)) }
		}
	case *rsa.PrivateKey:
		var options crypto.SignerOpts
		switch algorithm {
		case jose.RS256:
			options = crypto.SHA256
		case jose.PS256:
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		default:
			return nil, fmt.Errorf("an RSA key does not sign %s", algorithm)
		}
		s.signature = func(signed []byte) ([]byte, error) {
			digest := sha256.Sum256(signed)
			return key.Sign(rand.Reader, digest[:], options)
		}
	}
	if s.signature == nil {
		return nil, fmt.Errorf("a %T does not sign %s", private, algorithm)
	}
	return s, nil
}

// signES256 signs as RFC 7518 §3.4 has it: both numbers at full length.
func signES256(key *ecdsa.PrivateKey, signed []byte) ([]byte, error) {
	digest := sha256.Sum256(signed)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

// sign returns payload as a compact JWS under one of the headers.
func (s *signer) sign(header string, payload []byte) (string, error) {
	encoding := base64.RawURLEncoding
	const roomForSignature = 344 // of RSA 2048, the longest, with its dot
	out := make([]byte, 0, len(header)+encoding.EncodedLen(len(payload))+roomForSignature)
	out = encoding.AppendEncode(append(out, header...), payload)
	signature, err := s.signature(out)
	if err != nil {
		return "", err
	}
	return string(encoding.AppendEncode(append(out, '.'), signature)), nil
}
