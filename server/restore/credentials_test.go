package restore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"grantd/storage"
	"grantd/storage/storagetest"
)

// ST-08: what people proved themselves with, and was used up, replaced or taken away
// after the backup, stays so.
func TestEventsOfCredentials(t *testing.T) {
	onEach(t, func(t *testing.T, f *storagetest.Fixture) {
		s, ctx := f.Store, t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		// person is somebody with a password, a second factor, a link and a session.
		type person struct {
			*storage.User
			link    *storage.UserLink
			session *storage.Session
			code    []byte
		}
		person1 := func() person {
			u := storagetest.NewUser()
			u.PasswordHash, u.Groups = "$argon2id$old", []string{"admins", "staff"}
			must(s.CreateUser(ctx, u, storagetest.Event("user.created", u.ID)))
			p := person{User: u, session: storagetest.NewSession(u.ID), link: storagetest.NewUserLink(u.ID), code: storagetest.Digest()}
			must(s.CreateSession(ctx, p.session, storagetest.Event("user.signed_in", p.session.ID)))
			must(s.CreateTOTP(ctx, &storage.TOTP{UserID: u.ID, SealedSecret: []byte("s"), CreatedAt: now, LastUsedAt: now}, storagetest.Event("totp.created", u.ID)))
			must(s.ReplaceRecoveryCodes(ctx, u.ID, [][]byte{p.code, storagetest.Digest()}, storagetest.Event("recovery_codes.created", u.ID)))
			must(s.CreateUserLink(ctx, p.link, storagetest.Event("user_link.created", u.ID)))
			return p
		}
		reset, used, replaced, linkUsed, joined, verified, other := person1(), person1(), person1(), person1(), person1(), person1(), person1()
		invited := storagetest.NewUser()
		invited.PasswordHash = ""
		must(s.CreateUser(ctx, invited, storagetest.Event("user.created", invited.ID)))
		invitation := storagetest.NewUserLink(invited.ID)
		must(s.CreateUserLink(ctx, invitation, storagetest.Event("user_link.created", invited.ID)))

		keep, gone := storagetest.NewPasskey(other.ID), storagetest.NewPasskey(other.ID)
		must(s.CreatePasskey(ctx, keep, storagetest.Event("passkey.created", other.ID)))
		must(s.CreatePasskey(ctx, gone, storagetest.Event("passkey.created", other.ID)))

		report := replay(t, s,
			lost("user.factors_reset", reset.ID),
			lost("recovery_code.used", used.ID),
			lost("recovery_code.used", used.ID),
			lost("recovery_codes.created", replaced.ID),
			lost("user_link.used", linkUsed.ID, "purpose", "password_reset"),
			lost("user_link.used", invited.ID, "purpose", "invitation"),
			lost("user_link.deleted", other.ID),
			lost("user.linked", joined.ID, "groups", `["staff"]`),
			lost("user.verified", verified.ID, "groups", `["staff","new"]`),
			lost("totp.deleted", other.ID),
			lost("passkey.deleted", other.ID, "passkey_id", gone.ID),
		)
		factors := func(p person) *storage.Factors {
			t.Helper()
			found, err := s.Factors(ctx, p.ID)
			must(err)
			return found
		}
		user := func(id string) *storage.User {
			t.Helper()
			u, err := s.User(ctx, id)
			must(err)
			return u
		}
		if found := factors(reset); found.TOTP != nil || found.RecoveryCodes != 0 {
			t.Errorf("after the reset: %+v", found)
		}
		wantErr(t, "the session that the reset ended", s.DeleteSession(ctx, reset.session.ID, storagetest.Event("user.signed_out", "")), storage.ErrNotFound)
		for name, p := range map[string]person{"spent": used, "replaced": replaced} {
			if found := factors(p); found.TOTP == nil || found.RecoveryCodes != 0 {
				t.Errorf("%s codes: %+v", name, found)
			}
			wantErr(t, name, s.UseRecoveryCode(ctx, p.ID, p.code, storagetest.Event("recovery_code.used", p.ID)), storage.ErrConsumed)
		}
		for name, u := range map[string]*storage.User{"by a link": linkUsed.User, "by a provider": joined.User} {
			if user(u.ID).PasswordHash != "" {
				t.Errorf("the password that was replaced %s is back", name)
			}
		}
		for name, l := range map[string]*storage.UserLink{"reset": linkUsed.link, "invitation": invitation, "withdrawn": other.link} {
			if _, _, err := s.UserLink(ctx, l.TokenHash, now.Add(-time.Hour)); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("the %s link: %v", name, err)
			}
		}
		for name, u := range map[string]*storage.User{"linked": joined.User, "verified": verified.User} {
			if groups := strings.Join(user(u.ID).Groups, " "); groups != "staff" {
				t.Errorf("who was %s is in %q", name, groups)
			}
		}
		if u := user(verified.ID); u.PasswordHash == "" || factors(other).TOTP == nil || factors(other).RecoveryCodes != 2 {
			t.Error("somebody has lost what nobody took away")
		}
		if left := factors(other).Passkeys; len(left) != 1 || left[0].ID != keep.ID {
			t.Errorf("the passkeys are %+v", left)
		}
		byHand := strings.Join(report.ByHand, "; ")
		for _, part := range []string{"user.factors_reset " + reset.ID, "recovery_codes.created " + used.ID, "user.updated " + linkUsed.ID, "totp.deleted " + other.ID} {
			if !strings.Contains(byHand, part) {
				t.Errorf("%q is not among what is left: %s", part, byHand)
			}
		}
		if strings.Contains(byHand, "user_link") || report.UserLinks == 0 {
			t.Errorf("the report is %+v", report)
		}
	})
}
