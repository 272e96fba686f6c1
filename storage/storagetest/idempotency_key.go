package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var idempotencyKeyContracts = []contract{
	{"the first claim stands until it expires", idempotencyKeyStands},
	{"an expired key is swept", idempotencyKeySwept},
}

func idempotencyKeyStands(t *testing.T, s storage.Store) {
	first := NewIdempotencyKey()
	stored := *first
	claim := func(at time.Time) *storage.IdempotencyKey {
		k := NewIdempotencyKey()
		k.ID, k.ExpiresAt = first.ID, at.Add(storage.IdempotencyLifetime)
		want(t, s.ClaimIdempotencyKey(t.Context(), k, at), nil)
		return k
	}
	want(t, s.ClaimIdempotencyKey(t.Context(), first, Now), nil)
	if diff := cmp.Diff(&stored, first); diff != "" {
		t.Errorf("the first claim (-want +got):\n%s", diff)
	}
	for _, at := range []time.Time{Now, Now.Add(time.Hour), stored.ExpiresAt.Add(-time.Microsecond)} {
		if diff := cmp.Diff(&stored, claim(at)); diff != "" {
			t.Errorf("claimed again at %v (-want +got):\n%s", at, diff)
		}
	}
	if second := claim(stored.ExpiresAt); second.Target == stored.Target || !second.ExpiresAt.After(stored.ExpiresAt) {
		t.Errorf("after it expired it still stands: %+v", second)
	}
}

func idempotencyKeySwept(t *testing.T, s storage.Store) {
	k := NewIdempotencyKey()
	want(t, s.ClaimIdempotencyKey(t.Context(), k, Now), nil)
	for _, c := range []struct {
		at   time.Time
		want int
	}{{k.ExpiresAt.Add(-time.Microsecond), 0}, {k.ExpiresAt, 1}, {k.ExpiresAt, 0}} {
		n, err := s.Sweep(t.Context(), c.at, unused, 100)
		want(t, err, nil)
		if n != c.want {
			t.Errorf("%d rows swept at %v, want %d", n, c.at, c.want)
		}
	}
}

func raceIdempotencyKey(t *testing.T, s storage.Store) {
	id := NewIdempotencyKey().ID
	for round := range rounds {
		// Each round finds the key of the round before expired.
		at := Now.Add(time.Duration(round) * storage.IdempotencyLifetime)
		claims := make([]*storage.IdempotencyKey, racers)
		wantWinners(t, race(racers, func(i int) error {
			claims[i] = NewIdempotencyKey()
			claims[i].ID, claims[i].ExpiresAt = id, at.Add(storage.IdempotencyLifetime)
			return s.ClaimIdempotencyKey(t.Context(), claims[i], at)
		}), racers, nil)
		for _, k := range claims {
			if diff := cmp.Diff(claims[0], k); diff != "" {
				t.Fatalf("two claims of one key stand (-one +another):\n%s", diff)
			}
		}
	}
}
