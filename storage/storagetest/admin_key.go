package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var adminKeyContracts = []contract{
	{"an admin key comes back by its id and its hash", adminKeyRoundTrip},
	{"an id, hash or name of an admin key is taken once", adminKeyExists},
	{"admin keys are listed by id, a page at a time", adminKeyPages},
	{"the use of an admin key is written once in a while", adminKeyTouch},
	{"a deleted admin key is gone", adminKeyDeleted},
}

// NewAdminKey returns a key that may write, made at Now for a day, that is not stored.
func NewAdminKey() *storage.AdminKey {
	return &storage.AdminKey{
		ID: storage.NewID(storage.PrefixAdminKey), Hash: Digest(), Name: fmt.Sprintf("key-%d", next()),
		Scope: storage.AdminScopeWrite, CreatedAt: Now, ExpiresAt: Now.Add(24 * time.Hour),
	}
}

func createAdminKey(t testing.TB, s storage.Store, k *storage.AdminKey) {
	t.Helper()
	want(t, s.CreateAdminKey(t.Context(), k, Event("admin_key.created", k.ID)), nil)
}

func wantAdminKey(t testing.TB, s storage.Store, k *storage.AdminKey) {
	t.Helper()
	got, err := s.AdminKey(t.Context(), k.ID)
	want(t, err, nil)
	if diff := cmp.Diff(k, got); diff != "" {
		t.Errorf("AdminKey (-stored +read):\n%s", diff)
	}
}

func adminKeyRoundTrip(t *testing.T, s storage.Store) {
	plain, full := NewAdminKey(), NewAdminKey()
	full.Scope, full.LastUsedAt = storage.AdminScopeRead, Now.Add(step)
	for _, k := range []*storage.AdminKey{plain, full} {
		createAdminKey(t, s, k)
		wantAdminKey(t, s, k)
		got, err := s.AdminKeyByHash(t.Context(), k.Hash)
		want(t, err, nil)
		if diff := cmp.Diff(k, got); diff != "" {
			t.Errorf("AdminKeyByHash (-stored +read):\n%s", diff)
		}
	}
	_, err := s.AdminKey(t.Context(), storage.NewID(storage.PrefixAdminKey))
	want(t, err, storage.ErrNotFound)
	_, err = s.AdminKeyByHash(t.Context(), Digest())
	want(t, err, storage.ErrNotFound)
	_, err = s.AdminKeyByHash(t.Context(), nil)
	want(t, err, storage.ErrNotFound)
}

func adminKeyExists(t *testing.T, s storage.Store) {
	stored := NewAdminKey()
	createAdminKey(t, s, stored)
	for name, taken := range map[string]func(*storage.AdminKey){
		"id":   func(k *storage.AdminKey) { k.ID = stored.ID },
		"hash": func(k *storage.AdminKey) { k.Hash = stored.Hash },
		"name": func(k *storage.AdminKey) { k.Name = stored.Name },
	} {
		t.Run(name, func(t *testing.T) {
			k := NewAdminKey()
			taken(k)
			want(t, s.CreateAdminKey(t.Context(), k, Event("admin_key.created", k.ID)), storage.ErrExists)
		})
	}
}

func adminKeyPages(t *testing.T, s storage.Store) {
	var stored []*storage.AdminKey
	for range 4 {
		k := NewAdminKey()
		createAdminKey(t, s, k)
		stored = append(stored, k)
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.AdminKey, error) { return s.AdminKeys(t.Context(), page) },
		func(k *storage.AdminKey) string { return k.ID })
}

func adminKeyTouch(t *testing.T, s storage.Store) {
	k := NewAdminKey()
	createAdminKey(t, s, k)
	for _, c := range []struct{ at, after time.Time }{
		{Now, Now},
		{Now.Add(storage.AdminKeyTouch - step), Now},
		{Now.Add(storage.AdminKeyTouch), Now.Add(storage.AdminKeyTouch)},
		{Now, Now.Add(storage.AdminKeyTouch)}, // by a server whose clock is behind
	} {
		want(t, s.TouchAdminKey(t.Context(), k.ID, c.at), nil)
		k.LastUsedAt = c.after
		wantAdminKey(t, s, k)
	}
	want(t, s.TouchAdminKey(t.Context(), storage.NewID(storage.PrefixAdminKey), Now), nil)
}

func adminKeyDeleted(t *testing.T, s storage.Store) {
	gone, kept := NewAdminKey(), NewAdminKey()
	createAdminKey(t, s, gone)
	createAdminKey(t, s, kept)
	want(t, s.DeleteAdminKey(t.Context(), gone.ID, Event("admin_key.deleted", gone.ID)), nil)
	want(t, s.DeleteAdminKey(t.Context(), gone.ID, Event("admin_key.deleted", gone.ID)), storage.ErrNotFound)
	_, err := s.AdminKeyByHash(t.Context(), gone.Hash)
	want(t, err, storage.ErrNotFound)
	wantAdminKey(t, s, kept)
	again := NewAdminKey()
	again.Name = gone.Name
	createAdminKey(t, s, again)
}
