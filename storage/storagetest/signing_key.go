package storagetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var signingKeyContracts = []contract{
	{"keys move on by one place", signingKeysRotate},
	{"a key is withdrawn from any place", signingKeyWithdrawn},
	{"a move takes nothing for granted", signingKeyConflict},
	{"a key is resealed once", signingKeyResealed},
}

// fillKeys stores an active and a next key.
func fillKeys(t testing.TB, s storage.Store) (active, next *storage.SigningKey) {
	t.Helper()
	active, next = NewSigningKey(), NewNextKey()
	for _, k := range []*storage.SigningKey{active, next} {
		want(t, s.MoveSigningKeys(t.Context(), storage.KeyMove{Insert: k, At: Now}, Event("key.created", k.KID)), nil)
	}
	return active, next
}

func signingKeysRotate(t *testing.T, s storage.Store) {
	keys, err := s.SigningKeys(t.Context())
	want(t, err, nil)
	if len(keys) != 0 {
		t.Fatalf("%d keys in an empty store", len(keys))
	}
	active, next := fillKeys(t, s)
	wantKeys(t, s, active, next)

	third := NewNextKey()
	at := Now.Add(time.Hour)
	third.CreatedAt = at
	move := storage.KeyMove{Retire: active.KID, Activate: next.KID, Insert: third, At: at}
	want(t, s.MoveSigningKeys(t.Context(), move, Event("key.rotated", next.KID)), nil)
	active.State, active.RetiredAt, active.SealedPrivateKey = storage.KeyRetired, at, []byte{}
	next.State, next.ActivatedAt = storage.KeyActive, at
	wantKeys(t, s, active, next, third)
}

func signingKeyWithdrawn(t *testing.T, s storage.Store) {
	active, next := fillKeys(t, s)
	third, fourth := NewNextKey(), NewNextKey()
	third.CreatedAt, fourth.CreatedAt = Now.Add(time.Minute), Now.Add(time.Hour)

	withdrawNext := storage.KeyMove{Withdraw: next, Insert: third, At: Now}
	want(t, s.MoveSigningKeys(t.Context(), withdrawNext, Event("key.revoked", next.KID)), nil)
	wantKeys(t, s, active, third)

	withdrawActive := storage.KeyMove{Withdraw: active, Activate: third.KID, Insert: fourth, At: Now}
	want(t, s.MoveSigningKeys(t.Context(), withdrawActive, Event("key.revoked", active.KID)), nil)
	third.State, third.ActivatedAt = storage.KeyActive, Now
	wantKeys(t, s, third, fourth)

	rotate := storage.KeyMove{Retire: third.KID, Activate: fourth.KID, At: Now}
	want(t, s.MoveSigningKeys(t.Context(), rotate, Event("key.rotated", third.KID)), nil)
	third.State = storage.KeyRetired
	want(t, s.MoveSigningKeys(t.Context(), storage.KeyMove{Withdraw: third, At: Now}, Event("key.revoked", third.KID)), nil)
	fourth.State, fourth.ActivatedAt = storage.KeyActive, Now
	wantKeys(t, s, fourth)
}

func signingKeyConflict(t *testing.T, s storage.Store) {
	active, next := fillKeys(t, s)
	asNext, asActive, retired := *active, *next, *active
	asNext.State, asActive.State, retired.State = storage.KeyNext, storage.KeyActive, storage.KeyRetired
	version, before := catalogVersion(t, s), len(events(t, s))
	for name, move := range map[string]storage.KeyMove{
		"a second active key":              {Insert: NewSigningKey()},
		"a second next key":                {Insert: NewNextKey()},
		"a kid that is taken":              {Retire: active.KID, Insert: active},
		"retire what is next":              {Retire: next.KID},
		"retire what is not there":         {Retire: "no such key", Activate: next.KID, Insert: NewNextKey()},
		"activate what is active":          {Activate: active.KID},
		"activate beside the active one":   {Activate: next.KID},
		"rotate to what is not there":      {Retire: active.KID, Activate: "no such key", Insert: NewNextKey()},
		"rotate without a place for next":  {Retire: active.KID, Insert: NewNextKey()},
		"withdraw what is active as next":  {Withdraw: &asNext, Insert: NewNextKey()},
		"withdraw what is next as active":  {Withdraw: &asActive, Activate: next.KID},
		"withdraw as retired what is not":  {Withdraw: &retired},
		"withdraw what is not there":       {Withdraw: NewNextKey()},
		"withdraw and keep no place empty": {Withdraw: next, Insert: NewSigningKey()},
	} {
		move.At = Now
		if err := s.MoveSigningKeys(t.Context(), move, Event("key.moved", "")); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			want(t, err, storage.ErrConflict)
		}
		wantKeys(t, s, active, next)
	}
	if len(events(t, s)) != before || catalogVersion(t, s) != version {
		t.Error("a move that did not happen left an event, or moved the catalog")
	}
}

func signingKeyResealed(t *testing.T, s storage.Store) {
	active, next := fillKeys(t, s)
	was := active.SealedPrivateKey
	want(t, s.ResealSigningKey(t.Context(), active.KID, []byte("another"), []byte("anew"), Event("key.resealed", active.KID)), storage.ErrConflict)
	want(t, s.ResealSigningKey(t.Context(), "no such key", was, []byte("anew"), Event("key.resealed", "")), storage.ErrConflict)
	wantKeys(t, s, active, next)
	want(t, s.ResealSigningKey(t.Context(), active.KID, was, []byte("anew"), Event("key.resealed", active.KID)), nil)
	active.SealedPrivateKey = []byte("anew")
	wantKeys(t, s, active, next)
	want(t, s.ResealSigningKey(t.Context(), active.KID, was, []byte("again"), Event("key.resealed", active.KID)), storage.ErrConflict)
}

func raceRotateKeys(t *testing.T, s storage.Store) {
	active, next := fillKeys(t, s)
	for range rounds {
		inserts := make([]*storage.SigningKey, racers/4)
		errs := race(len(inserts), func(i int) error {
			inserts[i] = NewNextKey()
			move := storage.KeyMove{Retire: active.KID, Activate: next.KID, Insert: inserts[i], At: Now}
			return s.MoveSigningKeys(t.Context(), move, Event("key.rotated", next.KID))
		})
		wantWinners(t, errs, 1, storage.ErrConflict)
		active, next = next, inserts[slices.Index(errs, nil)]
		wantOneOfEach(t, s, active.KID, next.KID)
	}
}

func raceWithdrawKey(t *testing.T, s storage.Store) {
	active, next := fillKeys(t, s)
	for range rounds {
		inserts := []*storage.SigningKey{NewNextKey(), NewNextKey(), NewNextKey()}
		moves := []storage.KeyMove{
			{Retire: active.KID, Activate: next.KID, Insert: inserts[0], At: Now},
			{Withdraw: active, Activate: next.KID, Insert: inserts[1], At: Now},
			{Withdraw: next, Insert: inserts[2], At: Now},
		}
		errs := race(len(moves), func(i int) error { return s.MoveSigningKeys(t.Context(), moves[i], Event("key.moved", "")) })
		wantWinners(t, errs, 1, storage.ErrConflict)
		won := slices.Index(errs, nil)
		if won != 2 {
			next.State, active = storage.KeyActive, next
		}
		next = inserts[won]
		wantOneOfEach(t, s, active.KID, next.KID)
	}
}

// wantOneOfEach fails the test unless these two keys, and no others, are active
// and next.
func wantOneOfEach(t testing.TB, s storage.Store, active, next string) {
	t.Helper()
	keys, err := s.SigningKeys(t.Context())
	want(t, err, nil)
	got := map[storage.KeyState][]string{}
	for _, k := range keys {
		got[k.State] = append(got[k.State], k.KID)
	}
	if !slices.Equal(got[storage.KeyActive], []string{active}) || !slices.Equal(got[storage.KeyNext], []string{next}) {
		t.Fatalf("keys are %v, want %s active and %s next", got, active, next)
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
