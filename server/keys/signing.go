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
	"slices"
	"sync"
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
	// RotateEvery is how long a key signs until Tend rotates it away. Zero: for
	// ever.
	RotateEvery time.Duration
	Now         func() time.Time

	// reading is held from reading the rows to putting them to use, so that what
	// was read earlier is never put to use later.
	reading sync.Mutex
	set     atomic.Pointer[keySet]

	hits, misses atomic.Int64 // tokens to verify
}

// Verified returns how many of the tokens to verify had been verified before, and
// how many had not.
func (s *Signing) Verified() (hits, misses int64) { return s.hits.Load(), s.misses.Load() }

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

// Load reads the keys, makes those that are missing, seals anew what an older
// root key sealed, and puts them to use. Replicas that start at once agree.
//
// Under another algorithm than the configured one the active key goes on
// signing: a new next key is published, and Tend rotates to it once it is ready.
func (s *Signing) Load(ctx context.Context) error {
	for range 5 {
		rows, err := s.Store.SigningKeys(ctx)
		if err != nil {
			return fmt.Errorf("load signing keys: %w", err)
		}
		whole, err := s.complete(ctx, rows)
		if err != nil && !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("make the signing keys: %w", err)
		}
		if whole {
			return s.Refresh(ctx)
		}
	}
	return errors.New("other replicas keep making signing keys of another algorithm: give all the same --signing-alg")
}

// complete makes one thing that is missing; true when nothing was. ErrConflict:
// another replica was first.
func (s *Signing) complete(ctx context.Context, rows []*storage.SigningKey) (whole bool, err error) {
	active, next := inState(rows, storage.KeyActive), inState(rows, storage.KeyNext)
	switch {
	case active == nil:
		return false, s.insert(ctx, storage.KeyActive, nil)
	case next == nil || next.Algorithm != s.Algorithm:
		return false, s.insert(ctx, storage.KeyNext, next)
	}
	for _, row := range []*storage.SigningKey{active, next} {
		if s.Root.SealedByFirst(row.SealedPrivateKey) {
			continue
		}
		return false, s.reseal(ctx, row)
	}
	return true, nil
}

// insert makes a key, in place of one in the same state if there is one.
func (s *Signing) insert(ctx context.Context, state storage.KeyState, replaces *storage.SigningKey) error {
	k, err := s.generate(state)
	if err != nil {
		return err
	}
	action := "signing_key.published"
	if state == storage.KeyActive {
		action = "signing_key.activated"
	}
	event := storage.NewAuditEvent(k.CreatedAt, "system", action, k.KID).With("algorithm", k.Algorithm)
	return s.Store.MoveSigningKeys(ctx, storage.KeyMove{Withdraw: replaces, Insert: k, At: k.CreatedAt}, event)
}

func (s *Signing) reseal(ctx context.Context, row *storage.SigningKey) error {
	der, err := s.open(row)
	if err != nil {
		return fmt.Errorf("signing key %s: %w", row.KID, err)
	}
	event := storage.NewAuditEvent(s.Now(), "system", "signing_key.resealed", row.KID)
	return s.Store.ResealSigningKey(ctx, row.KID, row.SealedPrivateKey, s.Root.SealBytes(sealPurpose+row.KID, der), event)
}

// Refresh reads the keys again, without making any. Keys in use stay so when
// that fails.
func (s *Signing) Refresh(ctx context.Context) error {
	s.reading.Lock()
	defer s.reading.Unlock()
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
	signer := s.set.Load().signer
	token, err := signer.sign(signer.header, payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return token, nil
}

// maxTokenSize bounds what Verify looks at, in bytes.
const maxTokenSize = 16 << 10

// Verify checks the signature and the header of an access token and returns its
// claims. It does not look at them. They are shared with who verifies the token
// next and must not be changed. ErrToken.
func Verify[Claims any](s *Signing, token string) (*Claims, error) {
	if len(token) > maxTokenSize {
		return nil, ErrToken
	}
	set := s.set.Load()
	if claims, ok := set.verified.get(token).(*Claims); ok {
		s.hits.Add(1)
		return claims, nil
	}
	s.misses.Add(1)
	payload, err := set.check(token, tokenType)
	if err != nil {
		return nil, err
	}
	claims := new(Claims)
	if err := json.Unmarshal(payload, claims); err != nil {
		return nil, ErrToken
	}
	set.verified.add(token, claims)
	return claims, nil
}

// check verifies a token of this typ that was not seen before and returns its payload.
func (set *keySet) check(token, wanted string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256})
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrToken
	}
	header := jws.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != wanted {
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

func (s *Signing) generate(state storage.KeyState) (*storage.SigningKey, error) {
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
	k := &storage.SigningKey{
		KID: kid, Algorithm: s.Algorithm, State: state, PublicJWK: public,
		SealedPrivateKey: s.Root.SealBytes(sealPurpose+kid, der), CreatedAt: s.Now(),
	}
	if state == storage.KeyActive {
		k.ActivatedAt = k.CreatedAt
	}
	return k, nil
}

// use parses rows and makes them the keys in use.
func (s *Signing) use(rows []*storage.SigningKey) error {
	set := &keySet{verify: make(map[string]verifier)}
	published := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, row := range rows {
		if !row.Published(s.Now()) {
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
		signer, err := s.signer(row)
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

// signer returns the signer of a row.
func (s *Signing) signer(row *storage.SigningKey) (*signer, error) {
	der, err := s.open(row)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	return newSigner(jose.SignatureAlgorithm(row.Algorithm), row.KID, private)
}

// open returns the private part of a key, in PKCS #8.
func (s *Signing) open(row *storage.SigningKey) ([]byte, error) {
	der, err := s.Root.OpenBytes(sealPurpose+row.KID, row.SealedPrivateKey)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, &otherRootKey{err}
	case err != nil:
		return nil, fmt.Errorf("its private part cannot be opened: %w", err)
	}
	return der, nil
}

// inState is the one key that is active or next, or nil.
func inState(rows []*storage.SigningKey, state storage.KeyState) *storage.SigningKey {
	i := slices.IndexFunc(rows, func(k *storage.SigningKey) bool { return k.State == state })
	if i < 0 {
		return nil
	}
	return rows[i]
}
