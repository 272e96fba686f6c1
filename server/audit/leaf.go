package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"grantd/server/keys"
	"grantd/storage"
)

// The purposes of the MAC keys.
const (
	eventPurpose   = "audit event"
	sealPurpose    = "audit seal"
	removalPurpose = "audit removal"
	erasurePurpose = "audit erasure"
)

const saltSize = 16

// message is what is authenticated: every part with its length before it, so that
// no two lists of parts are the same bytes.
type message []byte

func (m *message) bytes(part []byte) *message {
	*m = append(*m.number(int64(len(part))), part...)
	return m
}

func (m *message) text(part string) *message {
	*m = append(*m.number(int64(len(part))), part...)
	return m
}

func (m *message) number(n int64) *message {
	*m = binary.BigEndian.AppendUint64(*m, uint64(n)) //nolint:gosec // the same bits
	return m
}

// erasure is what an event keeps of values that were erased. The salts are of the
// values that are left: from the salt of the event, those of the others would
// follow.
type erasure struct {
	Salts       map[string][]byte `json:"salts,omitempty"`
	Commitments map[string][]byte `json:"commitments"`
	KeyID       []byte            `json:"key_id"`
	MAC         []byte            `json:"mac"`
}

// readErasure is the event's erasure; nil: nothing was erased, or it is not one.
func readErasure(e *storage.AuditEvent) *erasure {
	var x erasure
	if e.Seal.Erasure == "" || json.Unmarshal([]byte(e.Seal.Erasure), &x) != nil {
		return nil
	}
	return &x
}

// saltsOf tells the salt of each detail.
func saltsOf(e *storage.AuditEvent, x *erasure) func(name string) []byte {
	if x != nil {
		return func(name string) []byte { return x.Salts[name] }
	}
	h := hmac.New(sha256.New, e.Seal.Salt)
	return func(name string) []byte {
		h.Reset()
		h.Write([]byte(name))
		return h.Sum(nil)[:saltSize]
	}
}

func hash(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// leaf is a digest of all that an event says, which erasing does not change.
func leaf(e *storage.AuditEvent) []byte {
	x := readErasure(e)
	commitments := make(map[string][]byte, len(e.Detail))
	if x != nil {
		maps.Copy(commitments, x.Commitments)
	}
	salt := saltsOf(e, x)
	for name, value := range e.Detail {
		commitments[name] = hash(salt(name), []byte(value))
	}
	m := make(message, 0, 1024) // more than most events say
	m.text("grantd audit event 1").text(e.ID).number(e.At.UnixMicro()).text(e.Actor).text(e.Action).text(e.Target)
	for _, name := range slices.Sorted(maps.Keys(commitments)) {
		m.text(name).bytes(commitments[name])
	}
	sum := sha256.Sum256(m)
	return sum[:]
}

// placed is what an event's MAC authenticates: that it stands in this place.
func placed(e *storage.AuditEvent, leaf []byte) []byte {
	var m message
	return *m.number(e.Seal.Number).number(int64(e.Seal.Position)).bytes(leaf)
}

// sealed is what a seal's MAC authenticates.
func sealed(s *storage.AuditSeal) []byte {
	var m message
	return *m.number(s.Number).bytes(s.Previous).number(int64(s.Events)).bytes(s.Digest).number(s.SealedAt.UnixMicro()).bytes(s.KeyID)
}

// digest is that of a batch.
func digest(leaves [][]byte) []byte {
	h := sha256.New()
	for _, leaf := range leaves {
		h.Write(leaf)
	}
	return h.Sum(nil)
}

// removed is what a seal's Removal authenticates.
func removed(s *storage.AuditSeal) []byte {
	var m message
	return *m.bytes(s.MAC).number(s.RemovedAt.UnixMicro())
}

// erased is what an erasure's MAC authenticates: which values are gone.
func erased(leaf []byte, x *erasure) []byte {
	var m message
	m.bytes(leaf)
	for _, name := range slices.Sorted(maps.Keys(x.Commitments)) {
		m.text(name)
	}
	return m
}

// check checks a MAC whose key is named as bytes. keys.ErrForged, keys.ErrUnknownKey.
func (c *Chain) check(purpose string, keyID, message, mac []byte) error {
	if len(keyID) != keys.KeyIDSize {
		return keys.ErrForged
	}
	return c.Root.CheckMAC(purpose, keys.KeyID(keyID), message, mac)
}
