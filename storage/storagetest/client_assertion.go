package storagetest

import (
	"testing"
	"time"

	"grantd/storage"
)

var clientAssertionContracts = []contract{
	{"an assertion is used once", clientAssertionUsedOnce},
	{"forty uses of one assertion race", clientAssertionRace},
}

func clientAssertionUsedOnce(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	expires := Now.Add(10 * time.Minute)
	use := func(clientID, jti string, now time.Time) error {
		return s.UseClientAssertion(t.Context(), clientID, jti, expires, now)
	}
	want(t, use(f.Client.ID, "jti", Now), nil)
	want(t, use(f.Client.ID, "jti", Now), storage.ErrConsumed)
	want(t, use(f.Client.ID, "JTI", Now), nil)
	want(t, use(other.Client.ID, "jti", Now), nil) // a jti is the client's own
	want(t, use("cl_none", "jti", Now), storage.ErrNotFound)
	want(t, use(f.Client.ID, "jti", expires.Add(-step)), storage.ErrConsumed)
	// Whoever presents it later is refused for its age: the mark is not needed.
	want(t, use(f.Client.ID, "another", expires), nil)
	want(t, use(f.Client.ID, "jti", expires), nil)

	want(t, s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, Event("client.deleted", f.Client.ID)), nil)
	want(t, use(f.Client.ID, "jti", Now), storage.ErrNotFound)
}

func clientAssertionRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	errs := race(racers, func(int) error {
		return s.UseClientAssertion(t.Context(), f.Client.ID, "jti", Now.Add(time.Minute), Now)
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
}
