package keys_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grantd/server/keys"
	"grantd/storage"
)

// kids are the kids of the JWK set.
func kids(t *testing.T, s *keys.Signing) (all []string) {
	t.Helper()
	for _, key := range readJWKS(t, s.JWKS()).Keys {
		all = append(all, key.KeyID)
	}
	return all
}

func signsWith(t *testing.T, s *keys.Signing) (kid, algorithm string) {
	t.Helper()
	header := decode(t, strings.Split(sign(t, s), ".")[0])
	return header["kid"].(string), header["alg"].(string)
}

func tend(t *testing.T, s *keys.Signing) {
	t.Helper()
	if err := s.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestMD07Schedule follows the keys over half a year of rotation every 90 days.
func TestMD07Schedule(t *testing.T) {
	const every = 90 * 24 * time.Hour
	signing, now := newSigning(newRoot(t, 1), &store{}, "ES256")
	signing.RotateEvery = every
	first, _ := signsWith(t, load(t, signing))
	published := kids(t, signing)
	if len(published) != 2 || published[0] != first {
		t.Fatalf("at the start the set has %v, want the active key %s and a next one", published, first)
	}
	second := published[1]
	token := sign(t, signing)
	for _, c := range []struct {
		at     time.Duration
		signer string
	}{{0, first}, {every - time.Second, first}, {every, second}, {2*every - time.Second, second}} {
		*now = start.Add(c.at)
		tend(t, signing)
		if kid, _ := signsWith(t, signing); kid != c.signer {
			t.Errorf("after %v %s signs, want %s", c.at, kid, c.signer)
		}
	}

	*now = start.Add(every + storage.KeyRetention)
	tend(t, signing)
	if !verifies(signing, token) || !slices.Contains(kids(t, signing), first) {
		t.Error("the retired key left while tokens of it could live")
	}
	*now = start.Add(every + storage.KeyRetention + time.Second)
	tend(t, signing)
	if verifies(signing, token) || slices.Contains(kids(t, signing), first) || len(kids(t, signing)) != 2 {
		t.Errorf("the set has %v after the retired key's time, want the active and the next one", kids(t, signing))
	}

	signing.RotateEvery = 0
	*now = start.Add(100 * every)
	tend(t, signing)
	if kid, _ := signsWith(t, signing); kid != second {
		t.Error("rotated although the schedule is off")
	}
}

// TestMD07AYoungKeyWaits: whatever the schedule, no key signs before every cache
// can know it.
func TestMD07AYoungKeyWaits(t *testing.T) {
	signing, now := newSigning(newRoot(t, 1), &store{}, "ES256")
	signing.RotateEvery = time.Minute
	first, _ := signsWith(t, load(t, signing))
	for _, c := range []struct {
		at      time.Duration
		rotated bool
	}{{time.Minute, false}, {storage.KeyPublication - time.Second, false}, {storage.KeyPublication, true}} {
		*now = start.Add(c.at)
		tend(t, signing)
		if kid, _ := signsWith(t, signing); (kid != first) != c.rotated {
			t.Errorf("after %v rotated is %v", c.at, kid != first)
		}
	}
}

// TestMD09ReplicasTendAtOnce: however many see that it is time, one rotates.
func TestMD09ReplicasTendAtOnce(t *testing.T) {
	rows := &store{}
	replicas := make([]*keys.Signing, 8)
	for i := range replicas {
		var now *time.Time
		replicas[i], now = newSigning(newRoot(t, 1), rows, "ES256")
		replicas[i].RotateEvery = time.Hour
		load(t, replicas[i])
		*now = start.Add(time.Hour)
	}
	var all sync.WaitGroup
	for _, s := range replicas {
		all.Go(func() { _ = s.Tend(t.Context()) })
	}
	all.Wait()
	if len(rows.rows) != 3 {
		t.Errorf("%d keys, want a retired, an active and a next one", len(rows.rows))
	}
	for _, s := range replicas {
		if !verifies(s, sign(t, replicas[0])) {
			t.Error("replicas have different keys")
		}
	}
}

func TestLoadChangesTheAlgorithm(t *testing.T) {
	root, rows := newRoot(t, 1), &store{}
	before, _ := newSigning(root, rows, "ES256")
	token := sign(t, load(t, before))
	after, now := newSigning(root, rows, "EdDSA")
	load(t, after)
	if _, alg := signsWith(t, after); alg != "ES256" {
		t.Errorf("signs with %s, by a key that no cache knows", alg)
	}
	if set := readJWKS(t, after.JWKS()); len(set.Keys) != 2 || set.Keys[1].Algorithm != "EdDSA" {
		t.Errorf("the set is %+v, want the next key to be of the new algorithm", set)
	}
	*now = start.Add(storage.KeyPublication)
	tend(t, after)
	if _, alg := signsWith(t, after); alg != "EdDSA" {
		t.Errorf("signs with %s when the new key is ready", alg)
	}
	if !verifies(after, token) {
		t.Error("tokens signed before are refused")
	}
	load(t, after)
	if len(rows.rows) != 3 {
		t.Errorf("loading again made a key: %d rows", len(rows.rows))
	}
	// A replica that still has the old setting does not turn it back.
	stale, clock := newSigning(root, rows, "ES256")
	if err := stale.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	*clock = start.Add(time.Hour)
	tend(t, stale)
	if _, alg := signsWith(t, stale); alg != "EdDSA" {
		t.Error("replicas take turns with the algorithm")
	}
}

// TestMD08Revoke takes a key out of each of its three places.
func TestMD08Revoke(t *testing.T) {
	rows := &store{}
	signing, _ := newSigning(newRoot(t, 1), rows, "ES256")
	load(t, signing)
	revoke := func(kid string) error {
		all, _ := rows.SigningKeys(t.Context())
		i := slices.IndexFunc(all, func(k *storage.SigningKey) bool { return k.KID == kid })
		return signing.Revoke(t.Context(), all, all[i], storage.AuditEvent{})
	}
	stolen := sign(t, signing)
	published := kids(t, signing)
	if err := revoke(published[0]); err != nil {
		t.Fatal(err)
	}
	if verifies(signing, stolen) || slices.Contains(kids(t, signing), published[0]) {
		t.Error("the revoked key still counts")
	}
	if kid, _ := signsWith(t, signing); kid != published[1] || len(kids(t, signing)) != 2 {
		t.Errorf("%s signs of %v, want the one that was next and a new next one", kid, kids(t, signing))
	}
	next := kids(t, signing)[1]
	if err := revoke(next); err != nil {
		t.Fatal(err)
	}
	if now := kids(t, signing); slices.Contains(now, next) || len(now) != 2 {
		t.Errorf("after the next key was revoked the set has %v", now)
	}

	all, _ := rows.SigningKeys(t.Context())
	if err := signing.Rotate(t.Context(), all[0], all[1], storage.AuditEvent{}); err != nil {
		t.Fatal(err)
	}
	if err := signing.Rotate(t.Context(), all[0], all[1], storage.AuditEvent{}); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("rotating what was rotated: %v", err)
	}
	if err := revoke(all[0].KID); err != nil {
		t.Fatal(err)
	}
	if now := kids(t, signing); slices.Contains(now, all[0].KID) || len(now) != 2 {
		t.Errorf("after the retired key was revoked the set has %v", now)
	}
}

// TestRetiredKeyKeepsNoPrivatePart: it will never sign again.
func TestRetiredKeyKeepsNoPrivatePart(t *testing.T) {
	rows := &store{}
	signing, now := newSigning(newRoot(t, 1), rows, "ES256")
	signing.RotateEvery = time.Hour
	load(t, signing)
	*now = start.Add(time.Hour)
	tend(t, signing)
	// What it does not have cannot keep a server with another root key from
	// starting, either.
	load(t, signing)
}

// TestRootKeyRotation: after one start under the new root key the old one can go.
func TestRootKeyRotationReseals(t *testing.T) {
	rows := &store{}
	before, _ := newSigning(newRoot(t, 1), rows, "ES256")
	token := sign(t, load(t, before))
	during, _ := newSigning(newRoot(t, 2, 1), rows, "ES256")
	if load(t, during); !verifies(during, token) {
		t.Error("tokens signed before are refused")
	}
	// A replica that has both keys the other way round can still read it.
	other, _ := newSigning(newRoot(t, 1, 2), rows, "ES256")
	if err := other.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	after, now := newSigning(newRoot(t, 2), rows, "ES256")
	after.RotateEvery = time.Hour
	if load(t, after); !verifies(after, token) {
		t.Error("tokens signed before are refused")
	}
	*now = start.Add(time.Hour)
	tend(t, after) // the next key was resealed too
	if len(rows.rows) != 3 {
		t.Errorf("%d keys, want none made anew but the new next one", len(rows.rows))
	}
	if gone, _ := newSigning(newRoot(t, 1), rows, "ES256"); !errors.Is(gone.Load(t.Context()), keys.ErrUnknownKey) {
		t.Error("the old root key still opens the keys")
	}
}
