package storagetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var auditEventContracts = []contract{
	{"an event comes back as it was", auditEventRoundTrip},
	{"lists go by id, a page at a time", auditEventPages},
	{"the events about a user are found, newest first", auditEventsOfUser},
	{"each act writes its event", auditEventOfActs},
	{"an act that fails writes none", auditEventOfFailures},
	{"an act whose event cannot be written does not happen", auditEventFails},
}

func auditEventRoundTrip(t *testing.T, s storage.Store) {
	event := storage.NewAuditEvent(Now, "admin:key-1", "client.created", "cl_1").
		With("client_id", "https://client.example/ä").With("empty", "").With(`quo"te`, "line\nbreak <&> \\")
	want(t, s.RecordAuditEvent(t.Context(), event), nil)
	want(t, s.RecordAuditEvent(t.Context(), event), storage.ErrExists)
	if diff := cmp.Diff([]*storage.AuditEvent{&event}, events(t, s)); diff != "" {
		t.Errorf("events (-recorded +read):\n%s", diff)
	}
}

func auditEventPages(t *testing.T, s storage.Store) {
	var stored []*storage.AuditEvent
	for i := range 5 {
		event := storage.NewAuditEvent(Now.Add(-time.Duration(i)*time.Hour), "system", "noun.verb", "target")
		want(t, s.RecordAuditEvent(t.Context(), event), nil)
		stored = append(stored, &event)
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.AuditEvent, error) {
		return s.AuditEvents(t.Context(), storage.AuditFilter{}, page)
	},
		func(e *storage.AuditEvent) string { return e.ID })
}

func auditEventsOfUser(t *testing.T, s storage.Store) {
	alice, bob := storage.NewID(storage.PrefixUser), storage.NewID(storage.PrefixUser)
	record := func(actor, target, detail string) *storage.AuditEvent {
		event := storage.NewAuditEvent(Now, actor, "noun.verb", target).With("a", "b")
		if detail != "" {
			event = event.With(storage.DetailUser, detail)
		}
		want(t, s.RecordAuditEvent(t.Context(), event), nil)
		return &event
	}
	about := []*storage.AuditEvent{
		record("user:"+alice, "ses_1", ""),
		record("admin:1", alice, ""),
		record("client:c", "fam_1", alice),
		record("user:"+bob, alice, bob), // who it is done to comes before who did it
		record("user:"+bob, "grt_1", alice),
	}
	record("user:"+bob, "ses_2", "")
	record("user:"+alice, bob, "")
	record("user:"+alice, "grt_2", bob)
	record("client:"+alice, "fam_2", "")
	record("system", "", "")
	slices.Reverse(about)
	read := func(before string, limit int) []*storage.AuditEvent {
		t.Helper()
		got, err := s.UserAuditEvents(t.Context(), alice, before, limit)
		want(t, err, nil)
		return got
	}
	for _, limit := range []int{1, 2, 5, 9} {
		var all []*storage.AuditEvent
		for before := ""; ; before = all[len(all)-1].ID {
			page := read(before, limit)
			if len(page) > limit {
				t.Fatalf("%d events on a page of %d", len(page), limit)
			}
			if all = append(all, page...); len(page) == 0 {
				break
			}
		}
		if diff := cmp.Diff(about, all); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
}

// act is a change that takes an event.
type act struct {
	name string
	do   func(event storage.AuditEvent) error
}

// acts returns every change that takes an event, in an order in which all of them
// succeed on the fixture's store.
func acts(t testing.TB, f *Fixture) []act {
	s, ctx := f.Store, t.Context()
	client, resource, user, group, session := NewClient(), NewResource(), NewUser(), NewGroup(), NewSession(f.User.ID)
	secret, rotated, key, token := NewClientSecret(), NewClientSecret(), NewSigningKey(), NewInitialAccessToken()
	leaked, link := f.Approve(t, "files:read"), NewUserLink(f.User.ID)
	adminKey := NewAdminKey()
	wanted, unwanted := f.Device(t, "files:read"), f.Device(t, "files:read")
	policy, err := s.RegistrationPolicy(ctx)
	want(t, err, nil)
	asked, rule := NewRegistrationRequest(), NewPolicy()
	signIn, err := s.SignInPolicy(ctx)
	want(t, err, nil)
	other := NewUser()
	want(t, s.CreateUser(ctx, other, Event("user.created", other.ID)), nil)
	code, passkey := Digest(), NewPasskey(f.User.ID)
	return []act{
		{"CreateClient", func(e storage.AuditEvent) error { return s.CreateClient(ctx, client, e) }},
		{"CreateDynamicClient", func(e storage.AuditEvent) error { return register(ctx, s, NewDynamicClient(), 100, e) }},
		{"UpdateClient", func(e storage.AuditEvent) error { return s.UpdateClient(ctx, client, e) }},
		{"UpdateDynamicClient", func(e storage.AuditEvent) error { return s.UpdateDynamicClient(ctx, client, e) }},
		{"AddClientSecret", func(e storage.AuditEvent) error { return s.AddClientSecret(ctx, client.ID, secret, e) }},
		{"RotateClientSecret", func(e storage.AuditEvent) error {
			return s.RotateClientSecret(ctx, client.ID, rotated, Now.Add(step), e)
		}},
		{"DeleteClientSecret", func(e storage.AuditEvent) error { return s.DeleteClientSecret(ctx, client.ID, secret.ID, e) }},
		{"RevokeCode", func(e storage.AuditEvent) error { return s.RevokeCode(ctx, leaked.ID, e) }},
		{"DeleteClient", func(e storage.AuditEvent) error { return s.DeleteClient(ctx, client.ID, storage.AnyVersion, e) }},
		{"CreateResource", func(e storage.AuditEvent) error { return s.CreateResource(ctx, resource, e) }},
		{"UpdateResource", func(e storage.AuditEvent) error { return s.UpdateResource(ctx, resource, e) }},
		{"DeleteResource", func(e storage.AuditEvent) error { return s.DeleteResource(ctx, resource.ID, storage.AnyVersion, e) }},
		{"CreateUser", func(e storage.AuditEvent) error { return s.CreateUser(ctx, user, e) }},
		{"UpdateUser", func(e storage.AuditEvent) error { return s.UpdateUser(ctx, user, e) }},
		{"DeleteUser", func(e storage.AuditEvent) error { return s.DeleteUser(ctx, user.ID, storage.AnyVersion, e) }},
		{"CreateGroup", func(e storage.AuditEvent) error { return s.CreateGroup(ctx, group, e) }},
		{"UpdateGroup", func(e storage.AuditEvent) error { return s.UpdateGroup(ctx, group, e) }},
		{"AddGroupMember", func(e storage.AuditEvent) error { return s.AddGroupMember(ctx, group.ID, f.User.ID, e) }},
		{"RemoveGroupMember", func(e storage.AuditEvent) error { return s.RemoveGroupMember(ctx, group.ID, f.User.ID, e) }},
		{"DeleteGroup", func(e storage.AuditEvent) error { return s.DeleteGroup(ctx, group.ID, storage.AnyVersion, e) }},
		{"CreateUserLink", func(e storage.AuditEvent) error { return s.CreateUserLink(ctx, link, e) }},
		{"DeleteUserLink", func(e storage.AuditEvent) error { return s.DeleteUserLink(ctx, f.User.ID, e) }},
		{"CreateTOTP", func(e storage.AuditEvent) error { return s.CreateTOTP(ctx, NewTOTP(f.User.ID), e) }},
		{"DeleteTOTP", func(e storage.AuditEvent) error { return s.DeleteTOTP(ctx, f.User.ID, e) }},
		{"ReplaceRecoveryCodes", func(e storage.AuditEvent) error { return s.ReplaceRecoveryCodes(ctx, f.User.ID, [][]byte{code}, e) }},
		{"UseRecoveryCode", func(e storage.AuditEvent) error { return s.UseRecoveryCode(ctx, f.User.ID, code, e) }},
		{"CreatePasskey", func(e storage.AuditEvent) error { return s.CreatePasskey(ctx, passkey, e) }},
		{"RenamePasskey", func(e storage.AuditEvent) error { return s.RenamePasskey(ctx, f.User.ID, passkey.ID, "Other", e) }},
		{"DeletePasskey", func(e storage.AuditEvent) error { return s.DeletePasskey(ctx, f.User.ID, passkey.ID, e) }},
		{"ResetFactors", func(e storage.AuditEvent) error { return s.ResetFactors(ctx, other.ID, e) }},
		{"UpdateSignInPolicy", func(e storage.AuditEvent) error { return s.UpdateSignInPolicy(ctx, signIn, e) }},
		{"CreateSession", func(e storage.AuditEvent) error { return s.CreateSession(ctx, session, e) }},
		{"DeleteSession", func(e storage.AuditEvent) error { return s.DeleteSession(ctx, session.ID, e) }},
		{"Approve", func(e storage.AuditEvent) error {
			u, err := s.User(ctx, f.User.ID) // who has been in and out of groups
			if err != nil {
				return err
			}
			f.User = u
			return s.Approve(ctx, f.NewApproval("files:read"), e)
		}},
		{"ApproveDeviceAuthorization", func(e storage.AuditEvent) error {
			return s.ApproveDeviceAuthorization(ctx, f.NewDeviceApproval(wanted), e)
		}},
		{"DenyDeviceAuthorization", func(e storage.AuditEvent) error {
			return s.DenyDeviceAuthorization(ctx, unwanted.ID, f.Session.ID, Now, e)
		}},
		{"EndFamily", func(e storage.AuditEvent) error { return s.EndFamily(ctx, f.Code.FamilyID(), e) }},
		{"DeleteGrant", func(e storage.AuditEvent) error { return s.DeleteGrant(ctx, f.Grant.ID, e) }},
		{"RevokeAccessToken", func(e storage.AuditEvent) error {
			return s.RevokeAccessToken(ctx, "tok_a", Now.Add(time.Minute), e)
		}},
		{"CreateInitialAccessToken", func(e storage.AuditEvent) error { return s.CreateInitialAccessToken(ctx, token, e) }},
		{"DeleteInitialAccessToken", func(e storage.AuditEvent) error { return s.DeleteInitialAccessToken(ctx, token.ID, e) }},
		{"CreateAdminKey", func(e storage.AuditEvent) error { return s.CreateAdminKey(ctx, adminKey, e) }},
		{"DeleteAdminKey", func(e storage.AuditEvent) error { return s.DeleteAdminKey(ctx, adminKey.ID, e) }},
		{"MoveSigningKeys", func(e storage.AuditEvent) error { return s.MoveSigningKeys(ctx, storage.KeyMove{Insert: key}, e) }},
		{"ResealSigningKey", func(e storage.AuditEvent) error {
			return s.ResealSigningKey(ctx, key.KID, key.SealedPrivateKey, []byte("anew"), e)
		}},
		{"EndAfterRestore", func(e storage.AuditEvent) error { _, err := s.EndAfterRestore(ctx, false, e); return err }},
		{"WithdrawSigningKeys", func(e storage.AuditEvent) error { return s.WithdrawSigningKeys(ctx, e) }},
		{"RecordAuditEvent", func(e storage.AuditEvent) error { return s.RecordAuditEvent(ctx, e) }},
		{"UpdateRegistrationPolicy", func(e storage.AuditEvent) error { return s.UpdateRegistrationPolicy(ctx, policy, e) }},
		{"AskRegistration", func(e storage.AuditEvent) error { return s.AskRegistration(ctx, asked, f.User.ID, RequestLimits, e) }},
		{"DecideRegistration", func(e storage.AuditEvent) error {
			return s.DecideRegistration(ctx, asked.ID, storage.RegistrationDecision{Allowed: true, At: Now, Host: "tool.example"}, e)
		}},
		{"DeleteRegistrationRequest", func(e storage.AuditEvent) error { return s.DeleteRegistrationRequest(ctx, asked.ID, e) }},
		{"CreatePolicy", func(e storage.AuditEvent) error { return s.CreatePolicy(ctx, rule, e) }},
		{"UpdatePolicy", func(e storage.AuditEvent) error { return s.UpdatePolicy(ctx, rule, e) }},
		{"DeletePolicy", func(e storage.AuditEvent) error { return s.DeletePolicy(ctx, rule.ID, storage.AnyVersion, e) }},
	}
}

func auditEventOfActs(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	f.Redeem(t, f.Code)
	all := acts(t, f)
	before := len(events(t, s))
	var expected []*storage.AuditEvent
	for _, act := range all {
		event := Event("test."+act.name, act.name).With("name", act.name)
		if err := act.do(event); err != nil {
			t.Fatalf("%s: %v", act.name, err)
		}
		switch act.name {
		case "DeleteGrant": // it says whose grant it was
			event = f.Grant.Record(event)
		case "EndAfterRestore": // it says how much has ended
			event = storage.Ended{DeviceAuthorizations: 2}.Record(event)
		}
		expected = append(expected, &event)
	}
	if diff := cmp.Diff(expected, events(t, s)[before:]); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func auditEventOfFailures(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	f.Redeem(t, f.Code)
	f.Approve(t, "files:read", "files:write")
	ctx, unknown := t.Context(), "no such id"
	group, empty := NewGroup(), NewGroup()
	for _, g := range []*storage.Group{group, empty} {
		want(t, s.CreateGroup(ctx, g, Event("group.created", g.ID)), nil)
	}
	want(t, s.AddGroupMember(ctx, group.ID, f.User.ID, Event("group.member_added", group.ID)), nil)
	before := events(t, s)
	staleGroup := *group
	staleGroup.Version += 100
	stale := *f.Client
	stale.Version += 100
	stalePolicy, err := s.RegistrationPolicy(ctx)
	want(t, err, nil)
	stalePolicy.Version += 100
	staleResource, staleUser := *f.Resource, *f.User
	staleResource.Version += 100
	staleUser.Version += 100
	used := f.NewApproval("files:read")
	used.Code.ID = f.Code.ID
	for _, failing := range []act{
		{"CreateClient", func(e storage.AuditEvent) error { return s.CreateClient(ctx, f.Client, e) }},
		{"CreateDynamicClient", func(e storage.AuditEvent) error { return register(ctx, s, NewDynamicClient(), 0, e) }},
		{"UpdateClient", func(e storage.AuditEvent) error { return s.UpdateClient(ctx, &stale, e) }},
		{"UpdateDynamicClient", func(e storage.AuditEvent) error { return s.UpdateDynamicClient(ctx, &stale, e) }},
		{"AddClientSecret", func(e storage.AuditEvent) error { return s.AddClientSecret(ctx, unknown, NewClientSecret(), e) }},
		{"RotateClientSecret", func(e storage.AuditEvent) error { return s.RotateClientSecret(ctx, unknown, NewClientSecret(), Now, e) }},
		{"DeleteClientSecret", func(e storage.AuditEvent) error { return s.DeleteClientSecret(ctx, f.Client.ID, unknown, e) }},
		{"RevokeCode", func(e storage.AuditEvent) error { return s.RevokeCode(ctx, unknown, e) }},
		{"DeleteClient", func(e storage.AuditEvent) error { return s.DeleteClient(ctx, unknown, storage.AnyVersion, e) }},
		{"CreateResource", func(e storage.AuditEvent) error { return s.CreateResource(ctx, f.Resource, e) }},
		{"UpdateResource", func(e storage.AuditEvent) error { return s.UpdateResource(ctx, &staleResource, e) }},
		{"DeleteResource", func(e storage.AuditEvent) error { return s.DeleteResource(ctx, unknown, storage.AnyVersion, e) }},
		{"CreateUser", func(e storage.AuditEvent) error { return s.CreateUser(ctx, f.User, e) }},
		{"UpdateUser", func(e storage.AuditEvent) error { return s.UpdateUser(ctx, &staleUser, e) }},
		{"DeleteUser", func(e storage.AuditEvent) error { return s.DeleteUser(ctx, unknown, storage.AnyVersion, e) }},
		{"CreateGroup", func(e storage.AuditEvent) error { return s.CreateGroup(ctx, group, e) }},
		{"UpdateGroup", func(e storage.AuditEvent) error { return s.UpdateGroup(ctx, &staleGroup, e) }},
		{"AddGroupMember", func(e storage.AuditEvent) error { return s.AddGroupMember(ctx, group.ID, f.User.ID, e) }},
		{"RemoveGroupMember", func(e storage.AuditEvent) error { return s.RemoveGroupMember(ctx, empty.ID, f.User.ID, e) }},
		{"DeleteGroup", func(e storage.AuditEvent) error { return s.DeleteGroup(ctx, unknown, storage.AnyVersion, e) }},
		{"CreateUserLink", func(e storage.AuditEvent) error { return s.CreateUserLink(ctx, NewUserLink(unknown), e) }},
		{"UseUserLink", func(e storage.AuditEvent) error { return s.UseUserLink(ctx, useOf(NewUserLink(f.User.ID)), e) }},
		{"UseFirstAdminLink", func(e storage.AuditEvent) error { return s.UseFirstAdminLink(ctx, Digest(), NewUser(), nil, e) }},
		{"DeleteUserLink", func(e storage.AuditEvent) error { return s.DeleteUserLink(ctx, f.User.ID, e) }},
		{"CreateTOTP", func(e storage.AuditEvent) error { return s.CreateTOTP(ctx, NewTOTP(unknown), e) }},
		{"DeleteTOTP", func(e storage.AuditEvent) error { return s.DeleteTOTP(ctx, unknown, e) }},
		{"ReplaceRecoveryCodes", func(e storage.AuditEvent) error { return s.ReplaceRecoveryCodes(ctx, unknown, [][]byte{Digest()}, e) }},
		{"UseRecoveryCode", func(e storage.AuditEvent) error { return s.UseRecoveryCode(ctx, f.User.ID, Digest(), e) }},
		{"CreatePasskey", func(e storage.AuditEvent) error { return s.CreatePasskey(ctx, NewPasskey(unknown), e) }},
		{"UsePasskey", func(e storage.AuditEvent) error { return s.UsePasskey(ctx, NewPasskeyUse(NewPasskey(f.User.ID)), e) }},
		{"RenamePasskey", func(e storage.AuditEvent) error { return s.RenamePasskey(ctx, f.User.ID, unknown, "Other", e) }},
		{"DeletePasskey", func(e storage.AuditEvent) error { return s.DeletePasskey(ctx, f.User.ID, unknown, e) }},
		{"ResetFactors", func(e storage.AuditEvent) error { return s.ResetFactors(ctx, unknown, e) }},
		{"UpdateSignInPolicy", func(e storage.AuditEvent) error {
			return s.UpdateSignInPolicy(ctx, &storage.SignInPolicy{SecondFactor: storage.SecondFactorNone, DestructiveScopes: storage.DestructiveScopesNone}, e)
		}},
		{"CreateSession", func(e storage.AuditEvent) error { return s.CreateSession(ctx, NewSession(unknown), e) }},
		{"DeleteSession", func(e storage.AuditEvent) error { return s.DeleteSession(ctx, unknown, e) }},
		{"Approve", func(e storage.AuditEvent) error { return s.Approve(ctx, used, e) }},
		{"ApproveDeviceAuthorization", func(e storage.AuditEvent) error {
			return s.ApproveDeviceAuthorization(ctx, f.NewDeviceApproval(f.NewDevice("files:read")), e)
		}},
		{"DenyDeviceAuthorization", func(e storage.AuditEvent) error {
			return s.DenyDeviceAuthorization(ctx, unknown, f.Session.ID, Now, e)
		}},
		{"EndFamily", func(e storage.AuditEvent) error { return s.EndFamily(ctx, unknown, e) }},
		{"DeleteGrant", func(e storage.AuditEvent) error { return s.DeleteGrant(ctx, unknown, e) }},
		{"DeleteAdminKey", func(e storage.AuditEvent) error { return s.DeleteAdminKey(ctx, unknown, e) }},
		{"MoveSigningKeys", func(e storage.AuditEvent) error {
			return s.MoveSigningKeys(ctx, storage.KeyMove{Retire: unknown, Insert: NewSigningKey(), At: Now}, e)
		}},
		{"ResealSigningKey", func(e storage.AuditEvent) error { return s.ResealSigningKey(ctx, unknown, []byte("a"), []byte("b"), e) }},
		{"UpdateRegistrationPolicy", func(e storage.AuditEvent) error { return s.UpdateRegistrationPolicy(ctx, stalePolicy, e) }},
		{"AskRegistration", func(e storage.AuditEvent) error {
			return s.AskRegistration(ctx, NewRegistrationRequest(), unknown, RequestLimits, e)
		}},
		{"DecideRegistration", func(e storage.AuditEvent) error {
			return s.DecideRegistration(ctx, unknown, storage.RegistrationDecision{At: Now, Host: "tool.example"}, e)
		}},
		{"DeleteRegistrationRequest", func(e storage.AuditEvent) error { return s.DeleteRegistrationRequest(ctx, unknown, e) }},
	} {
		if err := failing.do(Event("test.failed", failing.name)); err == nil {
			t.Fatalf("%s did not fail", failing.name)
		}
		if diff := cmp.Diff(before, events(t, s)); diff != "" {
			t.Fatalf("events after a failed %s (-before +after):\n%s", failing.name, diff)
		}
	}
}

func auditEventFails(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	taken := events(t, s)[0]
	version := catalogVersion(t, s)
	for _, act := range acts(t, f) {
		switch act.name {
		// These act on what another of them would have had to make first.
		case "UpdateClient", "AddClientSecret", "RotateClientSecret", "DeleteClientSecret", "DeleteClient",
			"UpdateResource", "DeleteResource", "UpdateUser", "DeleteUser", "DeleteUserLink", "DeleteSession",
			"DeleteTOTP", "UseRecoveryCode", "RenamePasskey", "DeletePasskey",
			"UpdateGroup", "DeleteGroup", "AddGroupMember", "RemoveGroupMember",
			"DecideRegistration", "DeleteRegistrationRequest", "UpdatePolicy", "DeletePolicy":
			continue
		}
		// An id that is taken is the one way to make an event fail on purpose.
		if err := act.do(*taken); err == nil {
			t.Fatalf("%s succeeded without its event", act.name)
		}
	}
	client := *f.Client
	client.ClientName = "Changed"
	for name, err := range map[string]error{
		"UpdateClient":       s.UpdateClient(t.Context(), &client, *taken),
		"AddClientSecret":    s.AddClientSecret(t.Context(), f.Client.ID, NewClientSecret(), *taken),
		"RotateClientSecret": s.RotateClientSecret(t.Context(), f.Client.ID, NewClientSecret(), Now, *taken),
		"DeleteClient":       s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, *taken),
		"DeleteResource":     s.DeleteResource(t.Context(), f.Resource.ID, storage.AnyVersion, *taken),
		"DeleteUser":         s.DeleteUser(t.Context(), f.User.ID, storage.AnyVersion, *taken),
		"DeleteSession":      s.DeleteSession(t.Context(), f.Session.ID, *taken),
	} {
		if err == nil {
			t.Errorf("%s succeeded without its event", name)
		}
	}

	signIn, err := s.SignIn(t.Context(), f.Session.TokenHash, f.Look(), Now)
	want(t, err, nil)
	if diff := cmp.Diff(f.Grant, signIn.Grant); diff != "" {
		t.Errorf("grant (-before +after):\n%s", diff)
	}
	wantFamily(t, s, family)
	got, err := s.Client(t.Context(), f.Client.ID)
	want(t, err, nil)
	if diff := cmp.Diff(f.Client, got, emptyIsNil); diff != "" {
		t.Errorf("client (-before +after):\n%s", diff)
	}
	clients, err := s.Clients(t.Context(), storage.ClientFilter{}, storage.Page{Limit: 10})
	want(t, err, nil)
	if len(clients) != 1 {
		t.Errorf("%d clients, want the fixture's", len(clients))
	}
	wantLive(t, s, "tok_a", "", Now, true)
	wantKeys(t, s)
	if got := catalogVersion(t, s); got != version {
		t.Errorf("catalog version %d, want %d as before", got, version)
	}
}
