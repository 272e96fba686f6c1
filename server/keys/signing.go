package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/storage"
)

// Algorithms are the JWS algorithms that --signing-alg may name. None is
// symmetric and "none" is none of them.
var Algorithms = []string{string(jose.ES256), string(jose.EdDSA), string(jose.RS256), string(jose.PS256)}

// rsaBits is the size of RSA keys: 4096 costs six times the time per token.
const rsaBits = 2048

// sealPurpose is the purpose under which private keys are sealed; the kid is
// added, so that a row's sealed key fits no other row.
const sealPurpose = "signing key "

// tokenType is the typ of access tokens (RFC 9068 §2.1).
const tokenType = "at+jwt"

// ErrToken: not an access token signed by one of the published keys.
var ErrToken = errors.New("not an access token of this server")

// Signing signs and verifies access tokens with the SigningKeys of the database.
// It is safe for concurrent use; the keys in use are replaced as a whole.
type Signing struct {
	Store     storage.SigningKeyStore
	Root      *Root
	Algorithm string // one of Algorithms
	Now       func() time.Time

	set atomic.Pointer[keySet]
}

// keySet is the parsed state of all SigningKeys at one moment.
type keySet struct {
	signer   *signer
	verify   map[string]verifier // by kid
	document []byte              // the JWK set as served
	verified verified            // goes with the keys that verified
}

type verifier struct {
	algorithm jose.SignatureAlgorithm
	key       any
}

// retiredFor is how long a retired key stays published: the longest life of a
// token it may have signed, with room for clocks.
const retiredFor = storage.MaxAccessTokenLifetime + 5*time.Minute

// Load reads the keys, makes the first one if there is none for the configured
// algorithm, and puts them to use. Replicas that start at once agree on one.
func (s *Signing) Load(ctx context.Context) error {
	for range 3 {
		rows, err := s.Store.SigningKeys(ctx)
		if err != nil {
			return fmt.Errorf("load signing keys: %w", err)
		}
		active := ""
		for _, row := range rows {
			if row.State == storage.KeyActive {
				active = row.KID
				if row.Algorithm == s.Algorithm {
					return s.use(rows)
				}
			}
		}
		if err := s.activate(ctx, active); err != nil && !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("activate a signing key: %w", err)
		}
	}
	return errors.New("other replicas keep activating signing keys of another algorithm: give all the same --signing-alg")
}

// Refresh reads the keys again, without making any. Keys in use stay so when
// that fails.
func (s *Signing) Refresh(ctx context.Context) error {
	rows, err := s.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("refresh signing keys: %w", err)
	}
	return s.use(rows)
}

// Sign returns claims as a compact JWS with typ at+jwt.
func (s *Signing) Sign(claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	token, err := s.set.Load().signer.sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return token, nil
}

// maxTokenSize bounds what Verify looks at, in bytes.
const maxTokenSize = 16 << 10

// Verify checks the signature and the header of an access token and decodes its
// claims into v. It does not look at the claims. ErrToken.
func (s *Signing) Verify(token string, v any) error {
	if len(token) > maxTokenSize {
		return ErrToken
	}
	set := s.set.Load()
	payload, known := set.verified.get(token)
	if !known {
		var err error
		if payload, err = set.check(token); err != nil {
			return err
		}
		set.verified.add(token, payload)
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return ErrToken
	}
	return nil
}

// check verifies a token that was not seen before and returns its payload.
func (set *keySet) check(token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256})
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrToken
	}
	header := jws.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != tokenType {
		return nil, ErrToken
	}
	known, ok := set.verify[header.KeyID]
	if !ok || string(known.algorithm) != header.Algorithm {
		return nil, ErrToken
	}
	payload, err := jws.Verify(known.key)
	if err != nil {
		return nil, ErrToken
	}
	return payload, nil
}

// JWKS is the JWK set document of all published keys.
func (s *Signing) JWKS() []byte { return s.set.Load().document }

// otherRootKey says to whoever starts the server what ErrUnknownKey means there.
type otherRootKey struct{ cause error }

func (e *otherRootKey) Error() string {
	return "none of the root keys given opens this database's keys; give the one it was made with by --root-key-file"
}

func (e *otherRootKey) Unwrap() error { return e.cause }

// activate makes a key of the configured algorithm active in place of another.
func (s *Signing) activate(ctx context.Context, replaces string) error {
	row, err := s.generate()
	if err != nil {
		return err
	}
	event := storage.NewAuditEvent(s.Now(), "system", "signing_key.activated", row.KID).With("algorithm", row.Algorithm)
	return s.Store.ActivateSigningKey(ctx, row, replaces, event)
}

func (s *Signing) generate() (*storage.SigningKey, error) {
	var (
		private crypto.Signer
		err     error
	)
	switch jose.SignatureAlgorithm(s.Algorithm) {
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case jose.RS256, jose.PS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("unknown signing algorithm %q", s.Algorithm)
	}
	if err != nil {
		return nil, err
	}
	kid := rand.Text()
	public, err := json.Marshal(jose.JSONWebKey{Key: private.Public(), KeyID: kid, Algorithm: s.Algorithm, Use: "sig"})
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return &storage.SigningKey{
		KID: kid, Algorithm: s.Algorithm, State: storage.KeyActive, PublicJWK: public,
		SealedPrivateKey: s.Root.SealBytes(sealPurpose+kid, der), CreatedAt: s.Now(),
	}, nil
}

// use parses rows and makes them the keys in use.
func (s *Signing) use(rows []*storage.SigningKey) error {
	set := &keySet{verify: make(map[string]verifier)}
	published := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, row := range rows {
		if row.State == storage.KeyRetired && s.Now().After(row.RetiredAt.Add(retiredFor)) {
			continue
		}
		var public jose.JSONWebKey
		if err := json.Unmarshal(row.PublicJWK, &public); err != nil || !public.IsPublic() {
			return fmt.Errorf("signing key %s: its public part is unreadable", row.KID)
		}
		published.Keys = append(published.Keys, public)
		set.verify[row.KID] = verifier{algorithm: jose.SignatureAlgorithm(row.Algorithm), key: public.Key}
		if row.State != storage.KeyActive {
			continue
		}
		signer, err := s.open(row)
		if err != nil {
			return fmt.Errorf("signing key %s: %w", row.KID, err)
		}
		set.signer = signer
	}
	if set.signer == nil {
		return errors.New("there is no active signing key")
	}
	document, err := json.Marshal(published)
	if err != nil {
		return fmt.Errorf("encode the JWK set: %w", err)
	}
	set.document = document
	s.set.Store(set)
	return nil
}

// open returns the signer of a row.
func (s *Signing) open(row *storage.SigningKey) (*signer, error) {
	der, err := s.Root.OpenBytes(sealPurpose+row.KID, row.SealedPrivateKey)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, &otherRootKey{err}
	case err != nil:
		return nil, fmt.Errorf("its private part cannot be opened: %w", err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	return newSigner(jose.SignatureAlgorithm(row.Algorithm), row.KID, private)
}
