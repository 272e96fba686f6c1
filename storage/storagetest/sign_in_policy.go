package storagetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var signInPolicyContracts = []contract{
	{"a new database leaves it to each person", signInPolicyDefault},
	{"an updated policy comes back", signInPolicyRoundTrip},
	{"forty updates of one version race", signInPolicyRace},
}

func signInPolicyDefault(t *testing.T, s storage.Store) {
	got, err := s.SignInPolicy(t.Context())
	want(t, err, nil)
	expected := &storage.SignInPolicy{Version: 1, SecondFactor: storage.SecondFactorNone, DestructiveScopes: storage.DestructiveScopesNone}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

func signInPolicyRoundTrip(t *testing.T, s storage.Store) {
	p, err := s.SignInPolicy(t.Context())
	want(t, err, nil)
	stale := *p
	p.SecondFactor, p.DestructiveScopes, p.UpdatedAt = storage.SecondFactorRequired, storage.DestructiveScopesSecondFactor, Now
	want(t, s.UpdateSignInPolicy(t.Context(), p, Event("sign_in_policy.updated", "")), nil)
	want(t, s.UpdateSignInPolicy(t.Context(), &stale, Event("sign_in_policy.updated", "")), storage.ErrConflict)
	got, err := s.SignInPolicy(t.Context())
	want(t, err, nil)
	if diff := cmp.Diff(p, got); diff != "" || got.Version != 2 {
		t.Errorf("policy (-stored +read):\n%s", diff)
	}
	p.SecondFactor = storage.SecondFactorPasskeysOnly
	want(t, s.UpdateSignInPolicy(t.Context(), p, Event("sign_in_policy.updated", "")), nil)
	if got, err = s.SignInPolicy(t.Context()); err != nil || got.SecondFactor != storage.SecondFactorPasskeysOnly {
		t.Errorf("%+v, %v", got, err)
	}
}

func signInPolicyRace(t *testing.T, s storage.Store) {
	p, err := s.SignInPolicy(t.Context())
	want(t, err, nil)
	errs := race(racers, func(int) error {
		mine := *p
		mine.SecondFactor = storage.SecondFactorRequired
		return s.UpdateSignInPolicy(t.Context(), &mine, Event("sign_in_policy.updated", ""))
	})
	wantWinners(t, errs, 1, storage.ErrConflict)
}
