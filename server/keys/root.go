package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"grantd/storage"
)

// RootKeySize is the size of a root key, in bytes.
const RootKeySize = 32

// KeyIDSize is the size of a root key's id, in bytes.
const KeyIDSize = 4

// MACSize is the size of what MAC returns, in bytes.
const MACSize = sha256.Size

var (
	// ErrUnknownKey: made by a root key that this server was not given. Nobody
	// outside is to blame, so it counts as storage.ErrUnavailable.
	ErrUnknownKey = fmt.Errorf("made by an unknown root key: %w", storage.ErrUnavailable)
	// ErrForged: not made by grantd, or changed since.
	ErrForged = errors.New("not authentic")
)

// KeyID names a root key without telling anything of it.
type KeyID [KeyIDSize]byte

// Root is the set of root keys: the first makes, all check.
type Root struct {
	order []KeyID
	keys  map[KeyID]*rootKey
}

// rootKey derives one subkey for each purpose, so that a value made for one
// purpose means nothing for another. It remembers them, so no purpose may hold
// anything that a stranger chose.
type rootKey struct {
	secret  []byte
	aeads   sync.Map // purpose -> cipher.AEAD
	macKeys sync.Map // purpose -> []byte
}

// NewRoot takes root keys of RootKeySize bytes, the one that makes first.
func NewRoot(keys ...[]byte) (*Root, error) {
	if len(keys) == 0 {
		return nil, errors.New("no root key")
	}
	root := &Root{keys: make(map[KeyID]*rootKey)}
	for _, secret := range keys {
		if len(secret) != RootKeySize {
			return nil, fmt.Errorf("a root key has %d bytes, not %d", len(secret), RootKeySize)
		}
		var id KeyID
		copy(id[:], derive(secret, "grantd root key id", KeyIDSize))
		if _, twice := root.keys[id]; twice {
			return nil, errors.New("a root key is given twice")
		}
		root.keys[id] = &rootKey{secret: append([]byte(nil), secret...)}
		root.order = append(root.order, id)
	}
	return root, nil
}

// Seal encrypts and authenticates plaintext for a purpose, as text that is safe
// in URLs and forms.
func (r *Root) Seal(purpose string, plaintext []byte) string {
	return base64.RawURLEncoding.EncodeToString(r.SealBytes(purpose, plaintext))
}

// Open returns what Seal sealed for the same purpose. ErrUnknownKey, ErrForged.
func (r *Root) Open(purpose, sealed string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return nil, ErrForged
	}
	return r.OpenBytes(purpose, raw)
}

// SealBytes is Seal without the text encoding.
func (r *Root) SealBytes(purpose string, plaintext []byte) []byte {
	id := r.order[0]
	aead := r.keys[id].aead(purpose)
	out := make([]byte, KeyIDSize+aead.NonceSize(), KeyIDSize+aead.NonceSize()+len(plaintext)+aead.Overhead())
	copy(out, id[:])
	nonce := out[KeyIDSize:]
	_, _ = rand.Read(nonce) // never fails: it would end the process
	return aead.Seal(out, nonce, plaintext, []byte(purpose))
}

// OpenBytes is Open without the text encoding.
func (r *Root) OpenBytes(purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) < KeyIDSize {
		return nil, ErrForged
	}
	key, ok := r.keys[KeyID(sealed[:KeyIDSize])]
	if !ok {
		return nil, ErrUnknownKey
	}
	aead := key.aead(purpose)
	rest := sealed[KeyIDSize:]
	if len(rest) < aead.NonceSize()+aead.Overhead() {
		return nil, ErrForged
	}
	plaintext, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], []byte(purpose))
	if err != nil {
		return nil, ErrForged
	}
	return plaintext, nil
}

// SealedByFirst reports whether SealBytes made sealed with the key that makes now.
func (r *Root) SealedByFirst(sealed []byte) bool {
	return len(sealed) >= KeyIDSize && KeyID(sealed[:KeyIDSize]) == r.order[0]
}

// MAC authenticates message for a purpose and returns the id of the key it used.
func (r *Root) MAC(purpose string, message []byte) (KeyID, [MACSize]byte) {
	id := r.order[0]
	return id, r.keys[id].mac(purpose, message)
}

// Fingerprints are what message may be stored under for a purpose, so that only
// who has a root key can say what is stored: one for each root key, with its id
// before it. The first is that of the key which makes.
func (r *Root) Fingerprints(purpose string, message []byte) [][]byte {
	all := make([][]byte, len(r.order))
	for i, id := range r.order {
		mac := r.keys[id].mac(purpose, message)
		all[i] = append(id[:], mac[:]...)
	}
	return all
}

// CheckMAC checks what MAC returned. ErrUnknownKey, ErrForged.
func (r *Root) CheckMAC(purpose string, id KeyID, message, mac []byte) error {
	key, ok := r.keys[id]
	if !ok {
		return ErrUnknownKey
	}
	want := key.mac(purpose, message)
	if !hmac.Equal(want[:], mac) {
		return ErrForged
	}
	return nil
}

func (k *rootKey) aead(purpose string) cipher.AEAD {
	if aead, ok := k.aeads.Load(purpose); ok {
		return aead.(cipher.AEAD)
	}
	block, err := aes.NewCipher(derive(k.secret, "grantd seal "+purpose, 32))
	if err != nil {
		panic(err) // a 32-byte key is always accepted
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size GCM needs
	}
	k.aeads.Store(purpose, aead)
	return aead
}

func (k *rootKey) mac(purpose string, message []byte) [MACSize]byte {
	key, ok := k.macKeys.Load(purpose)
	if !ok {
		key, _ = k.macKeys.LoadOrStore(purpose, derive(k.secret, "grantd mac "+purpose, 32))
	}
	h := hmac.New(sha256.New, key.([]byte))
	h.Write(message)
	var out [MACSize]byte
	h.Sum(out[:0])
	return out
}

func derive(secret []byte, info string, length int) []byte {
	out, err := hkdf.Key(sha256.New, secret, nil, info, length)
	if err != nil {
		panic(err) // the length is far below HKDF's limit
	}
	return out
}
