package restore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"grantd/server/restore"
	"grantd/server/servertest"
	"grantd/storage"
	"grantd/storage/storagetest"
)

var now = storagetest.Now.Add(time.Hour)

func onEach(t *testing.T, test func(t *testing.T, f *storagetest.Fixture)) {
	t.Helper()
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		test(t, storagetest.NewFixture(t, open(t)))
	})
}

// lost is an event of the lost time.
func lost(action, target string, pairs ...string) *storage.AuditEvent {
	e := storage.NewAuditEvent(now, "admin:key", action, target)
	for i := 0; i < len(pairs); i += 2 {
		e = e.With(pairs[i], pairs[i+1])
	}
	return &e
}

// replay replays events, twice: the second time does nothing.
func replay(t *testing.T, s storage.Store, events ...*storage.AuditEvent) *restore.Report {
	t.Helper()
	run := func() *restore.Report {
		rest := events
		report, err := restore.Events(t.Context(), s, now, func() (*storage.AuditEvent, error) {
			if len(rest) == 0 {
				return nil, nil
			}
			e := rest[0]
			rest = rest[1:]
			return e, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	first := run()
	if again := run(); again.Replayed != 0 {
		t.Errorf("a second time %d acts were replayed: %v", again.Replayed, again.Done)
	}
	return first
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// ST-08: everything revoked after the backup stays dead.
func TestEvents(t *testing.T) {
	onEach(t, func(t *testing.T, f *storagetest.Fixture) {
		s, ctx := f.Store, t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		family := f.Redeem(t, f.Code)
		other := storagetest.NewFixture(t, s)
		otherFamily := other.Redeem(t, other.Code)
		session := storagetest.NewSession(other.User.ID)
		must(s.CreateSession(ctx, session, storagetest.Event("user.signed_in", session.ID)))
		secret, key := storagetest.NewClientSecret(), storagetest.NewSigningKey()
		must(s.AddClientSecret(ctx, other.Client.ID, secret, storagetest.Event("client.secret_created", other.Client.ID)))
		must(s.MoveSigningKeys(ctx, storage.KeyMove{Insert: key}, storagetest.Event("signing_key.activated", key.KID)))
		gone, goneClient, goneResource := storagetest.NewUser(), storagetest.NewClient(), storagetest.NewResource()
		must(s.CreateUser(ctx, gone, storagetest.Event("user.created", gone.ID)))
		must(s.CreateClient(ctx, goneClient, storagetest.Event("client.created", goneClient.ID)))
		must(s.CreateResource(ctx, goneResource, storagetest.Event("resource.created", goneResource.ID)))
		stopped := storagetest.NewClient()
		must(s.CreateClient(ctx, stopped, storagetest.Event("client.created", stopped.ID)))
		third := storagetest.NewFixture(t, s)
		adminKey, flagged := storagetest.NewAdminKey(), storagetest.NewClient()
		must(s.CreateAdminKey(ctx, adminKey, storagetest.Event("admin_key.created", adminKey.ID)))
		flagged.AdminAccess = true
		must(s.CreateClient(ctx, flagged, storagetest.Event("client.created", flagged.ID)))
		admin, group, goneGroup := storagetest.NewFixture(t, s), storagetest.NewGroup(), storagetest.NewGroup()
		group.Name = storage.AdminGroup
		must(s.CreateGroup(ctx, group, storagetest.Event("group.created", group.ID)))
		must(s.AddGroupMember(ctx, group.ID, admin.User.ID, storagetest.Event("group.member_added", group.ID)))
		must(s.CreateGroup(ctx, goneGroup, storagetest.Event("group.created", goneGroup.ID)))

		report := replay(t, s,
			lost("user.created", "usr_new"), // gives; nothing to do
			lost("user.updated", f.User.ID, "changed", "disabled", "disabled", "true"),
			lost("user.updated", f.User.ID, "changed", "disabled", "disabled", "false"), // gives
			lost("user.updated", third.User.ID, "changed", "groups password", "groups", `["other"]`),
			lost("user.deleted", gone.ID),
			lost("client.deleted", goneClient.ID),
			lost("client.updated", stopped.ID, "changed", "disabled", "disabled", "true"),
			lost("client.secret_deleted", other.Client.ID, "secret_id", secret.ID),
			lost("resource.deleted", goneResource.ID),
			lost("resource.updated", third.Resource.ID, "changed", "scopes", "scopes_removed", "files:write"),
			lost("resource.updated", other.Resource.ID, "changed", "name", "name", "New"),
			lost("family.ended", otherFamily.ID, "reason", "refresh token reused"),
			lost("user.signed_out", session.ID),
			lost("access_token.revoked", "tok_lost"),
			lost("grant.revoked", "grt_of_the_lost_time"),
			lost("grant.revoked", third.Grant.ID),
			lost("signing_key.revoked", key.KID),
			lost("user.erased", "usr_erased"),
			lost("user.password_changed", other.User.ID),
			lost("authorization_code.revoked", "cod_a"),
			lost("policy.deleted", "pol_a"),
			lost("admin_key.deleted", adminKey.ID, "name", adminKey.Name),
			lost("client.updated", flagged.ID, "changed", "admin_access", "admin_access", ""),
			lost("group.member_removed", group.ID, "name", group.Name, "user_id", admin.User.ID),
			lost("group.deleted", goneGroup.ID, "name", goneGroup.Name),
		)
		if _, err := s.AdminKey(ctx, adminKey.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the deleted admin key: %v", err)
		}
		if c, err := s.Client(ctx, flagged.ID); err != nil || c.AdminAccess {
			t.Errorf("the client that lost its admin access is %+v, %v", c, err)
		}
		if u, err := s.User(ctx, admin.User.ID); err != nil || u.MayAdminister() {
			t.Errorf("who left the administrators is %+v, %v", u, err)
		}
		if _, err := s.Group(ctx, goneGroup.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the deleted group: %v", err)
		}
		u, err := s.User(ctx, f.User.ID)
		must(err)
		_, _, familyErr := s.Family(ctx, family.ID)
		if !u.Disabled || !errors.Is(familyErr, storage.ErrNotFound) {
			t.Errorf("the disabled user is %+v, their family: %v", u, familyErr)
		}
		u, err = s.User(ctx, third.User.ID)
		must(err)
		if u.PasswordHash != "" || len(u.Groups) != 0 {
			t.Errorf("who got another password and group is %+v", u)
		}
		_, err = s.User(ctx, gone.ID)
		wantErr(t, "the deleted user", err, storage.ErrNotFound)
		_, err = s.Client(ctx, goneClient.ID)
		wantErr(t, "the deleted client", err, storage.ErrNotFound)
		_, err = s.Resource(ctx, goneResource.ID)
		wantErr(t, "the deleted resource", err, storage.ErrNotFound)
		_, _, err = s.Family(ctx, otherFamily.ID)
		wantErr(t, "the ended family", err, storage.ErrNotFound)
		wantErr(t, "the ended session", s.DeleteSession(ctx, session.ID, storagetest.Event("user.signed_out", "")), storage.ErrNotFound)
		c, err := s.Client(ctx, stopped.ID)
		must(err)
		if !c.Disabled {
			t.Error("the disabled client is enabled")
		}
		c, err = s.Client(ctx, other.Client.ID)
		must(err)
		if len(c.Secrets) != 0 {
			t.Error("the deleted secret works")
		}
		r, err := s.Resource(ctx, third.Resource.ID)
		must(err)
		if strings.Contains(strings.Join(r.ScopeNames(), " "), "files:write") || len(r.Scopes) != 2 {
			t.Errorf("the scopes are %v", r.ScopeNames())
		}
		if live, _, err := s.AccessTokenLive(ctx, "tok_lost", "", now); live || err != nil {
			t.Errorf("the revoked token is live: %v, %v", live, err)
		}
		grants, err := s.Grants(ctx, storage.GrantFilter{UserID: third.User.ID}, storage.Page{Limit: 10})
		must(err)
		if len(grants) != 0 {
			t.Error("the revoked grant is there")
		}
		keys, err := s.SigningKeys(ctx)
		must(err)
		if len(keys) != 0 {
			t.Error("the revoked key is there")
		}
		byHand := strings.Join(report.ByHand, "; ")
		for _, part := range []string{"user.updated " + third.User.ID, "resource.updated " + other.Resource.ID, "user.updated " + other.User.ID, "user.erased usr_erased", "policy.deleted pol_a"} {
			if !strings.Contains(byHand, part) {
				t.Errorf("%q is not among what is left: %s", part, byHand)
			}
		}
		if strings.Contains(byHand, "user.created") || strings.Contains(byHand, "cod_a") || report.Replayed != 18 || !report.Last.Equal(now) {
			t.Errorf("the report is %+v", report)
		}
		// Others have lost nothing.
		if grants, err = s.Grants(ctx, storage.GrantFilter{UserID: other.User.ID}, storage.Page{Limit: 10}); err != nil || len(grants) != 1 {
			t.Errorf("somebody else has the grants %v, %v", grants, err)
		}
	})
}

// What the backup has already is not done again: whoever was enabled since stays so.
func TestEventsOfBeforeTheBackup(t *testing.T) {
	onEach(t, func(t *testing.T, f *storagetest.Fixture) {
		before := lost("user.updated", f.User.ID, "changed", "disabled", "disabled", "true")
		if err := f.Store.RecordAuditEvent(t.Context(), *before); err != nil {
			t.Fatal(err)
		}
		if report := replay(t, f.Store, before); report.Replayed != 0 {
			t.Errorf("replayed %v", report.Done)
		}
		if u, err := f.Store.User(t.Context(), f.User.ID); err != nil || u.Disabled {
			t.Errorf("the user is %+v, %v", u, err)
		}
	})
}

func TestAll(t *testing.T) {
	onEach(t, func(t *testing.T, f *storagetest.Fixture) {
		family := f.Redeem(t, f.Code)
		for _, want := range []storage.Ended{{Sessions: 1, Families: 1, Approvals: 1}, {}} {
			report, err := restore.All(t.Context(), f.Store, now)
			if err != nil {
				t.Fatal(err)
			}
			if report.Ended != want {
				t.Errorf("ended %+v, want %+v", report.Ended, want)
			}
		}
		_, _, err := f.Store.Family(t.Context(), family.ID)
		wantErr(t, "the family", err, storage.ErrNotFound)
	})
}

func TestEventsThatCannotBeRead(t *testing.T) {
	onEach(t, func(t *testing.T, f *storagetest.Fixture) {
		broken := errors.New("broken")
		_, err := restore.Events(t.Context(), f.Store, now, func() (*storage.AuditEvent, error) { return nil, broken })
		wantErr(t, "replaying", err, broken)
	})
}
