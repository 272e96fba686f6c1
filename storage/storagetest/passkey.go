package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var passkeyContracts = []contract{
	{"a passkey comes back as it was", passkeyRoundTrip},
	{"a passkey is renamed and taken by its user alone", passkeyOfUser},
	{"a credential belongs to one user", passkeyTaken},
	{"a user has at most twenty", passkeyFull},
	{"a challenge older than the last is not accepted", passkeyUse},
	{"a count that does not grow is told and changes nothing", passkeyCloned},
	{"a passkey needs an enabled user and goes with the user", passkeyUser},
	{"a reset takes passkeys", passkeyReset},
	{"a link makes a passkey and ends what a new password ends", passkeyByLink},
	{"the first administrator's link makes a passkey", passkeyByFirstAdminLink},
	{"forty uses of one challenge race", passkeyRace},
	{"forty passkeys of one user race for twenty places", passkeyFullRace},
	{"sixteen passkeys race for one link", passkeyLinkRace},
}

// NewPasskey returns a passkey of the user, made at Now and never used, that is not
// stored.
func NewPasskey(userID string) *storage.Passkey {
	return &storage.Passkey{
		ID: storage.NewID(storage.PrefixPasskey), UserID: userID, CredentialID: Digest(), PublicKey: []byte{0xa5, 0, 1}, SignCount: 7,
		Transports: []string{"hybrid", "internal"}, Name: "Täst", CreatedAt: Now, ChallengedAt: Now.Add(-step),
	}
}

// NewPasskeyUse is a use of the passkey with a challenge that was made at Now.
func NewPasskeyUse(p *storage.Passkey) storage.PasskeyUse {
	return storage.PasskeyUse{ID: p.ID, UserID: p.UserID, ChallengedAt: Now, SignCount: p.SignCount + 1, At: Now.Add(step)}
}

func createPasskey(t testing.TB, s storage.Store, p *storage.Passkey) *storage.Passkey {
	t.Helper()
	want(t, s.CreatePasskey(t.Context(), p, Event("passkey.created", p.ID)), nil)
	return p
}

func usePasskey(t testing.TB, s storage.Store, use storage.PasskeyUse, sentinel error) {
	t.Helper()
	want(t, s.UsePasskey(t.Context(), use, Event("passkey.cloned", use.ID)), sentinel)
}

func passkeyRoundTrip(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	first := createPasskey(t, s, NewPasskey(f.User.ID))
	second := NewPasskey(f.User.ID)
	second.BackupEligible, second.BackedUp, second.SignCount, second.Transports, second.LastUsedAt = true, true, 0, []string{}, Now
	createPasskey(t, s, second)
	totp := NewTOTP(f.User.ID)
	want(t, s.CreateTOTP(t.Context(), totp, Event("totp.created", f.User.ID)), nil)
	wantFactors(t, s, f.User.ID, &storage.Factors{TOTP: totp, Passkeys: []*storage.Passkey{first, second}})
	wantFactors(t, s, other.User.ID, &storage.Factors{})
	for _, p := range []*storage.Passkey{first, second} {
		got, err := s.PasskeyByCredential(t.Context(), p.CredentialID)
		want(t, err, nil)
		if diff := cmp.Diff(p, got); diff != "" {
			t.Errorf("passkey (-want +got):\n%s", diff)
		}
	}
	_, err := s.PasskeyByCredential(t.Context(), Digest())
	want(t, err, storage.ErrNotFound)
}

func passkeyOfUser(t *testing.T, s storage.Store) {
	ctx := t.Context()
	f, other := NewFixture(t, s), NewFixture(t, s)
	first, second := createPasskey(t, s, NewPasskey(f.User.ID)), createPasskey(t, s, NewPasskey(f.User.ID))
	for _, userID := range []string{other.User.ID, "usr_none"} {
		want(t, s.RenamePasskey(ctx, userID, first.ID, "Mine", Event("passkey.renamed", "")), storage.ErrNotFound)
		want(t, s.DeletePasskey(ctx, userID, first.ID, Event("passkey.deleted", "")), storage.ErrNotFound)
	}
	want(t, s.RenamePasskey(ctx, f.User.ID, second.ID, "鍵", Event("passkey.renamed", "")), nil)
	want(t, s.DeletePasskey(ctx, f.User.ID, first.ID, Event("passkey.deleted", "")), nil)
	want(t, s.DeletePasskey(ctx, f.User.ID, first.ID, Event("passkey.deleted", "")), storage.ErrNotFound)
	second.Name = "鍵"
	wantFactors(t, s, f.User.ID, &storage.Factors{Passkeys: []*storage.Passkey{second}})
}

func passkeyTaken(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	p := createPasskey(t, s, NewPasskey(f.User.ID))
	for _, userID := range []string{f.User.ID, other.User.ID} {
		taken := NewPasskey(userID)
		taken.CredentialID = p.CredentialID
		want(t, s.CreatePasskey(t.Context(), taken, Event("passkey.created", "")), storage.ErrExists)
	}
	wantFactors(t, s, f.User.ID, &storage.Factors{Passkeys: []*storage.Passkey{p}})
}

func passkeyFull(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	for range storage.MaxPasskeys {
		createPasskey(t, s, NewPasskey(f.User.ID))
	}
	want(t, s.CreatePasskey(t.Context(), NewPasskey(f.User.ID), Event("passkey.created", "")), storage.ErrFull)
	createPasskey(t, s, NewPasskey(other.User.ID))
	if n := len(factorsOf(t, s, f.User.ID).Passkeys); n != storage.MaxPasskeys {
		t.Errorf("%d passkeys", n)
	}
}

func passkeyUse(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	p := createPasskey(t, s, NewPasskey(f.User.ID))
	use := NewPasskeyUse(p)
	foreign := use
	foreign.UserID = other.User.ID
	usePasskey(t, s, foreign, storage.ErrConsumed)
	use.ChallengedAt = p.ChallengedAt // it signed that one when it was made
	usePasskey(t, s, use, storage.ErrConsumed)
	use.ChallengedAt, use.BackedUp = Now, true
	usePasskey(t, s, use, nil)
	p.SignCount, p.BackedUp, p.ChallengedAt, p.LastUsedAt = use.SignCount, true, use.ChallengedAt, use.At
	wantFactors(t, s, f.User.ID, &storage.Factors{Passkeys: []*storage.Passkey{p}})
	for _, at := range []time.Time{Now, Now.Add(-time.Minute)} {
		use.ChallengedAt, use.SignCount, use.At = at, use.SignCount+1, Now.Add(time.Minute)
		usePasskey(t, s, use, storage.ErrConsumed)
	}
	wantFactors(t, s, f.User.ID, &storage.Factors{Passkeys: []*storage.Passkey{p}})
	use.ChallengedAt = Now.Add(step)
	usePasskey(t, s, use, nil)
	if cloned := countEvents(t, s, "passkey.cloned"); cloned != 0 {
		t.Errorf("%d events of a copy", cloned)
	}
}

func passkeyCloned(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := createPasskey(t, s, NewPasskey(f.User.ID))
	use := NewPasskeyUse(p)
	for i, count := range []int64{p.SignCount, p.SignCount - 1, 0} {
		use.SignCount, use.ChallengedAt, use.BackedUp = count, use.ChallengedAt.Add(step), true
		usePasskey(t, s, use, storage.ErrConflict)
		usePasskey(t, s, use, storage.ErrConsumed) // told once: the challenge is spent
		p.ChallengedAt = use.ChallengedAt
		wantFactors(t, s, f.User.ID, &storage.Factors{Passkeys: []*storage.Passkey{p}})
		if told := countEvents(t, s, "passkey.cloned"); told != i+1 {
			t.Errorf("%d events after %d uses", told, i+1)
		}
	}
	silent := NewPasskey(f.User.ID)
	silent.SignCount = 0
	use = NewPasskeyUse(createPasskey(t, s, silent))
	for range 2 { // one that does not count may go on not counting
		use.SignCount, use.ChallengedAt = 0, use.ChallengedAt.Add(step)
		usePasskey(t, s, use, nil)
	}
}

func passkeyUser(t *testing.T, s storage.Store) {
	ctx := t.Context()
	disabled := NewUser()
	disabled.Disabled = true
	want(t, s.CreateUser(ctx, disabled, Event("user.created", disabled.ID)), nil)
	for _, id := range []string{"usr_none", disabled.ID} {
		want(t, s.CreatePasskey(ctx, NewPasskey(id), Event("passkey.created", "")), storage.ErrNotFound)
	}
	f := NewFixture(t, s)
	p := createPasskey(t, s, NewPasskey(f.User.ID))
	f.User.Disabled = true
	want(t, s.UpdateUser(ctx, f.User, Event("user.updated", f.User.ID)), nil)
	usePasskey(t, s, NewPasskeyUse(p), storage.ErrConsumed)
	wantFactors(t, s, f.User.ID, &storage.Factors{Passkeys: []*storage.Passkey{p}})
	want(t, s.DeleteUser(ctx, f.User.ID, storage.AnyVersion, Event("user.deleted", f.User.ID)), nil)
	wantFactors(t, s, f.User.ID, &storage.Factors{})
	_, err := s.PasskeyByCredential(ctx, p.CredentialID)
	want(t, err, storage.ErrNotFound)
}

func passkeyReset(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	createPasskey(t, s, NewPasskey(f.User.ID))
	theirs := createPasskey(t, s, NewPasskey(other.User.ID))
	want(t, s.ResetFactors(t.Context(), f.User.ID, Event("user.factors_reset", f.User.ID)), nil)
	wantFactors(t, s, f.User.ID, &storage.Factors{})
	wantFactors(t, s, other.User.ID, &storage.Factors{Passkeys: []*storage.Passkey{theirs}})
}

// passkeyUseOf is the use of a link for a passkey at Now.
func passkeyUseOf(l *storage.UserLink) storage.UserLinkUse {
	use := useOf(l)
	use.PasswordHash, use.Passkey = "", NewPasskey(l.UserID)
	return use
}

func passkeyByLink(t *testing.T, s storage.Store) {
	ctx := t.Context()
	f := NewFixture(t, s)
	for _, round := range []string{"with a password", "without one"} {
		f.SignInAgain(t)
		family, unredeemed := f.Redeem(t, f.Approve(t, "files:read")), f.Approve(t, "files:read")
		l := createLink(t, s, f.User.ID)
		taken := passkeyUseOf(l)
		taken.Passkey.CredentialID = createPasskey(t, s, NewPasskey(f.User.ID)).CredentialID
		want(t, s.UseUserLink(ctx, taken, Event("user_link.used", f.User.ID)), storage.ErrExists)

		use := passkeyUseOf(l)
		want(t, s.UseUserLink(ctx, use, Event("user_link.used", f.User.ID)), nil)
		wantSpent(t, s, l)
		if got, err := s.User(ctx, f.User.ID); err != nil || got.PasswordHash != "" {
			t.Errorf("%s: the user is %+v, %v", round, got, err)
		}
		got, err := s.PasskeyByCredential(ctx, use.Passkey.CredentialID)
		want(t, err, nil)
		if diff := cmp.Diff(use.Passkey, got); diff != "" {
			t.Errorf("%s: passkey (-want +got):\n%s", round, diff)
		}
		_, err = s.SignIn(ctx, f.Session.TokenHash, storage.Look{}, Now)
		want(t, err, storage.ErrNotFound)
		familyGone(t, s, family.ID)
		codeDead(t, s, unredeemed)
	}
}

func passkeyByFirstAdminLink(t *testing.T, s storage.Store) {
	l := createLink(t, s, "")
	u := NewUser()
	u.CreatedAt, u.PasswordHash = Now, ""
	p := NewPasskey(u.ID)
	want(t, s.UseFirstAdminLink(t.Context(), l.TokenHash, u, p, Event("user.created", u.ID)), nil)
	wantFactors(t, s, u.ID, &storage.Factors{Passkeys: []*storage.Passkey{p}})
	wantSpent(t, s, l)
}

func passkeyRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := NewPasskey(f.User.ID)
	p.SignCount = 0 // so that the count has no say
	use := NewPasskeyUse(createPasskey(t, s, p))
	use.SignCount = 0
	errs := race(racers, func(int) error { return s.UsePasskey(t.Context(), use, Event("passkey.cloned", p.ID)) })
	wantWinners(t, errs, 1, storage.ErrConsumed)
}

func passkeyFullRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	errs := race(racers, func(int) error {
		return s.CreatePasskey(t.Context(), NewPasskey(f.User.ID), Event("passkey.created", f.User.ID))
	})
	wantWinners(t, errs, storage.MaxPasskeys, storage.ErrFull)
}

func passkeyLinkRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	l := createLink(t, s, f.User.ID)
	errs := race(16, func(int) error {
		return s.UseUserLink(t.Context(), passkeyUseOf(l), Event("user_link.used", f.User.ID))
	})
	wantWinners(t, errs, 1, storage.ErrConsumed)
	if n := len(factorsOf(t, s, f.User.ID).Passkeys); n != 1 {
		t.Errorf("%d passkeys", n)
	}
}
