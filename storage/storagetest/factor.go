package storagetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var factorContracts = []contract{
	{"somebody without factors has none", factorsNone},
	{"a user has one authenticator app", totpRoundTrip},
	{"each time step is accepted once", totpStep},
	{"forty uses of one time step race", totpRace},
	{"a recovery code is used once", recoveryCodes},
	{"forty uses of one recovery code race", recoveryCodeRace},
	{"factors need an enabled user and go with the user", factorsUser},
	{"a reset takes every factor and ends the sessions", factorsReset},
}

// NewTOTP returns an authenticator app of the user, set up at Now, that is not stored.
func NewTOTP(userID string) *storage.TOTP {
	return &storage.TOTP{UserID: userID, SealedSecret: []byte{0, 1, 0xfe}, LastStep: 100, CreatedAt: Now, LastUsedAt: Now}
}

func factorsOf(t testing.TB, s storage.Store, userID string) *storage.Factors {
	t.Helper()
	f, err := s.Factors(t.Context(), userID)
	want(t, err, nil)
	return f
}

func wantFactors(t testing.TB, s storage.Store, userID string, expected *storage.Factors) {
	t.Helper()
	if diff := cmp.Diff(expected, factorsOf(t, s, userID)); diff != "" {
		t.Errorf("factors (-want +got):\n%s", diff)
	}
}

func factorsNone(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	for _, id := range []string{f.User.ID, "usr_none"} {
		wantFactors(t, s, id, &storage.Factors{})
	}
	want(t, s.DeleteTOTP(t.Context(), f.User.ID, Event("totp.deleted", "")), storage.ErrNotFound)
	want(t, s.UseTOTP(t.Context(), storage.TOTPUse{UserID: f.User.ID, Step: 1, At: Now}), storage.ErrConsumed)
	want(t, s.UseRecoveryCode(t.Context(), f.User.ID, Digest(), Event("recovery_code.used", "")), storage.ErrConsumed)
}

func totpRoundTrip(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	totp := NewTOTP(f.User.ID)
	want(t, s.CreateTOTP(t.Context(), totp, Event("totp.created", f.User.ID)), nil)
	want(t, s.CreateTOTP(t.Context(), totp, Event("totp.created", f.User.ID)), storage.ErrExists)
	wantFactors(t, s, f.User.ID, &storage.Factors{TOTP: totp})
	wantFactors(t, s, other.User.ID, &storage.Factors{})
	want(t, s.DeleteTOTP(t.Context(), f.User.ID, Event("totp.deleted", f.User.ID)), nil)
	wantFactors(t, s, f.User.ID, &storage.Factors{})
}

func totpStep(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	totp := NewTOTP(f.User.ID)
	want(t, s.CreateTOTP(t.Context(), totp, Event("totp.created", f.User.ID)), nil)
	for _, use := range []struct {
		step     int64
		sentinel error
	}{{100, storage.ErrConsumed}, {99, storage.ErrConsumed}, {101, nil}, {101, storage.ErrConsumed}, {103, nil}, {102, storage.ErrConsumed}} {
		want(t, s.UseTOTP(t.Context(), storage.TOTPUse{UserID: f.User.ID, Step: use.step, SealedSecret: []byte("anew"), At: Now.Add(step)}), use.sentinel)
	}
	totp.LastStep, totp.SealedSecret, totp.LastUsedAt = 103, []byte("anew"), Now.Add(step)
	wantFactors(t, s, f.User.ID, &storage.Factors{TOTP: totp})
}

func totpRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	want(t, s.CreateTOTP(t.Context(), NewTOTP(f.User.ID), Event("totp.created", f.User.ID)), nil)
	errs := race(racers, func(int) error {
		return s.UseTOTP(t.Context(), storage.TOTPUse{UserID: f.User.ID, Step: 101, SealedSecret: []byte{1}, At: Now})
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
}

func recoveryCodes(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	first, second := [][]byte{Digest(), Digest()}, [][]byte{Digest(), Digest(), Digest()}
	replace := func(userID string, hashes [][]byte) {
		t.Helper()
		want(t, s.ReplaceRecoveryCodes(t.Context(), userID, hashes, Event("recovery_codes.created", userID)), nil)
	}
	use := func(userID string, hash []byte, sentinel error) {
		t.Helper()
		want(t, s.UseRecoveryCode(t.Context(), userID, hash, Event("recovery_code.used", userID)), sentinel)
	}
	replace(f.User.ID, first)
	replace(f.User.ID, second)
	wantFactors(t, s, f.User.ID, &storage.Factors{RecoveryCodes: 3})
	use(f.User.ID, first[0], storage.ErrConsumed)
	use(other.User.ID, second[0], storage.ErrConsumed)
	use(f.User.ID, second[0], nil)
	use(f.User.ID, second[0], storage.ErrConsumed)
	wantFactors(t, s, f.User.ID, &storage.Factors{RecoveryCodes: 2})
}

func recoveryCodeRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	hash := Digest()
	want(t, s.ReplaceRecoveryCodes(t.Context(), f.User.ID, [][]byte{hash}, Event("recovery_codes.created", f.User.ID)), nil)
	errs := race(racers, func(int) error {
		return s.UseRecoveryCode(t.Context(), f.User.ID, hash, Event("recovery_code.used", f.User.ID))
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
}

func factorsUser(t *testing.T, s storage.Store) {
	ctx := t.Context()
	nobody := NewUser()
	disabled := NewUser()
	disabled.Disabled = true
	want(t, s.CreateUser(ctx, disabled, Event("user.created", disabled.ID)), nil)
	for _, id := range []string{nobody.ID, disabled.ID} {
		want(t, s.CreateTOTP(ctx, NewTOTP(id), Event("totp.created", "")), storage.ErrNotFound)
		want(t, s.ReplaceRecoveryCodes(ctx, id, [][]byte{Digest()}, Event("recovery_codes.created", "")), storage.ErrNotFound)
	}
	want(t, s.ResetFactors(ctx, nobody.ID, Event("user.factors_reset", "")), storage.ErrNotFound)
	f := NewFixture(t, s)
	want(t, s.CreateTOTP(ctx, NewTOTP(f.User.ID), Event("totp.created", "")), nil)
	want(t, s.ReplaceRecoveryCodes(ctx, f.User.ID, [][]byte{Digest()}, Event("recovery_codes.created", "")), nil)
	want(t, s.DeleteUser(ctx, f.User.ID, storage.AnyVersion, Event("user.deleted", f.User.ID)), nil)
	wantFactors(t, s, f.User.ID, &storage.Factors{})
}

func factorsReset(t *testing.T, s storage.Store) {
	ctx := t.Context()
	f, other := NewFixture(t, s), NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	for _, id := range []string{f.User.ID, other.User.ID} {
		want(t, s.CreateTOTP(ctx, NewTOTP(id), Event("totp.created", id)), nil)
		want(t, s.ReplaceRecoveryCodes(ctx, id, [][]byte{Digest()}, Event("recovery_codes.created", id)), nil)
	}
	want(t, s.ResetFactors(ctx, f.User.ID, Event("user.factors_reset", f.User.ID)), nil)
	wantFactors(t, s, f.User.ID, &storage.Factors{})
	_, err := s.SignIn(ctx, f.Session.TokenHash, storage.Look{}, Now)
	want(t, err, storage.ErrNotFound)
	_, _, err = s.Family(ctx, family.ID) // what was approved stays
	want(t, err, nil)
	if left := factorsOf(t, s, other.User.ID); !left.Any() || left.RecoveryCodes != 1 {
		t.Errorf("another user's factors: %+v", left)
	}
	_, err = s.SignIn(ctx, other.Session.TokenHash, storage.Look{}, Now)
	want(t, err, nil)
}
