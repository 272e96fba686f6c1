package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var signingKeyContracts = []contract{
	{"a key becomes active and is retired by the next", signingKeyActivated},
	{"a key replaces what is active or nothing", signingKeyConflict},
}

func signingKeyActivated(t *testing.T, s storage.Store) {
	keys, err := s.SigningKeys(t.Context())
	want(t, err, nil)
	if len(keys) != 0 {
		t.Fatalf("%d keys in an empty store", len(keys))
	}
	first := NewSigningKey()
	want(t, s.ActivateSigningKey(t.Context(), first, "", Event("key.activated", first.KID)), nil)
	wantKeys(t, s, first)

	second := NewSigningKey()
	second.CreatedAt = Now.Add(time.Hour)
	event := storage.NewAuditEvent(second.CreatedAt, "system", "key.activated", second.KID)
	want(t, s.ActivateSigningKey(t.Context(), second, first.KID, event), nil)
	first.State, first.RetiredAt = storage.KeyRetired, second.CreatedAt
	wantKeys(t, s, first, second)
}

func signingKeyConflict(t *testing.T, s storage.Store) {
	retired, active := NewSigningKey(), NewSigningKey()
	active.CreatedAt = Now.Add(time.Hour)
	want(t, s.ActivateSigningKey(t.Context(), NewSigningKey(), "no such key", Event("key.activated", "")), storage.ErrConflict)
	want(t, s.ActivateSigningKey(t.Context(), retired, "", Event("key.activated", "")), nil)
	event := storage.NewAuditEvent(active.CreatedAt, "system", "key.activated", active.KID)
	want(t, s.ActivateSigningKey(t.Context(), active, retired.KID, event), nil)
	retired.State, retired.RetiredAt = storage.KeyRetired, active.CreatedAt

	for _, replaces := range []string{"", retired.KID, "no such key"} {
		want(t, s.ActivateSigningKey(t.Context(), NewSigningKey(), replaces, Event("key.activated", "")), storage.ErrConflict)
		wantKeys(t, s, retired, active)
	}
}

func wantKeys(t testing.TB, s storage.Store, keys ...*storage.SigningKey) {
	t.Helper()
	got, err := s.SigningKeys(t.Context())
	want(t, err, nil)
	if diff := cmp.Diff(keys, append([]*storage.SigningKey(nil), got...)); diff != "" {
		t.Errorf("signing keys (-want +got):\n%s", diff)
	}
}
