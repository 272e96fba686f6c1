package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"grantd/storage"
)

var storeContracts = []contract{
	{"the pool tells how busy it is", storePool},
	{"the version moves with what is cached", heartbeatMoves},
	{"the version stays with everything else", heartbeatStays},
	{"the sweep deletes what is past its time and nothing live", sweepBoundaries},
	{"the sweep deletes unused dynamic clients only", sweepClients},
	{"the sweep deletes the unused clients of documents", sweepDocumentClients},
	{"the sweep keeps to its limit", sweepLimit},
	{"a closed store is unavailable", closed},
	{"an abandoned call is unavailable", abandoned},
}

// unused is how long a dynamic client may go without a grant in these tests.
const unused = 24 * time.Hour

func heartbeatMoves(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	ctx, secret, resource, provider := t.Context(), NewClientSecret(), NewResource(), NewProvider()
	first, second, third := NewSigningKey(), NewNextKey(), NewNextKey()
	adminKey := NewAdminKey()
	createAdminKey(t, s, adminKey)
	policy, err := s.RegistrationPolicy(ctx)
	want(t, err, nil)
	asked := NewRegistrationRequest()
	asked.Source = storage.SourceDynamic
	want(t, s.AskRegistration(ctx, asked, f.User.ID, RequestLimits, Event("registration_request.created", asked.ClientID)), nil)
	moved := *asked
	moved.RedirectURIs = moved.RedirectURIs[1:]
	rule := NewPolicy()
	signInPolicy, err := s.SignInPolicy(ctx)
	want(t, err, nil)
	version := catalogVersion(t, s)
	_, databaseTime, err := s.Heartbeat(ctx)
	want(t, err, nil)
	if databaseTime.IsZero() {
		t.Error("the database has no time")
	}
	for _, change := range []act{
		{"CreateClient", func(e storage.AuditEvent) error { return s.CreateClient(ctx, NewClient(), e) }},
		{"UpdateClient", func(e storage.AuditEvent) error { return s.UpdateClient(ctx, f.Client, e) }},
		{"AddClientSecret", func(e storage.AuditEvent) error { return s.AddClientSecret(ctx, f.Client.ID, secret, e) }},
		{"DeleteClientSecret", func(e storage.AuditEvent) error { return s.DeleteClientSecret(ctx, f.Client.ID, secret.ID, e) }},
		{"DeleteClient", func(e storage.AuditEvent) error { return s.DeleteClient(ctx, f.Client.ID, storage.AnyVersion, e) }},
		{"CreateResource", func(e storage.AuditEvent) error { return s.CreateResource(ctx, resource, e) }},
		{"UpdateResource", func(e storage.AuditEvent) error { return s.UpdateResource(ctx, resource, e) }},
		{"DeleteResource", func(e storage.AuditEvent) error { return s.DeleteResource(ctx, resource.ID, storage.AnyVersion, e) }},
		{"MoveSigningKeys, the first", func(e storage.AuditEvent) error { return s.MoveSigningKeys(ctx, storage.KeyMove{Insert: first}, e) }},
		{"MoveSigningKeys, the next", func(e storage.AuditEvent) error {
			return s.MoveSigningKeys(ctx, storage.KeyMove{Insert: second}, e)
		}},
		{"ResealSigningKey", func(e storage.AuditEvent) error {
			return s.ResealSigningKey(ctx, first.KID, first.SealedPrivateKey, []byte("anew"), e)
		}},
		{"MoveSigningKeys, rotate", func(e storage.AuditEvent) error {
			return s.MoveSigningKeys(ctx, storage.KeyMove{Retire: first.KID, Activate: second.KID, Insert: third, At: Now}, e)
		}},
		{"MoveSigningKeys, withdraw", func(e storage.AuditEvent) error {
			return s.MoveSigningKeys(ctx, storage.KeyMove{Withdraw: third}, e)
		}},
		{"DeleteAdminKey", func(e storage.AuditEvent) error { return s.DeleteAdminKey(ctx, adminKey.ID, e) }},
		{"UpdateRegistrationPolicy", func(e storage.AuditEvent) error { return s.UpdateRegistrationPolicy(ctx, policy, e) }},
		{"DecideRegistration", func(e storage.AuditEvent) error {
			return s.DecideRegistration(ctx, asked.ID, storage.RegistrationDecision{Allowed: true, At: Now}, e)
		}},
		{"AskRegistration, for another client of that name", func(e storage.AuditEvent) error {
			return s.AskRegistration(ctx, &moved, f.User.ID, RequestLimits, e)
		}},
		{"CreateProvider", func(e storage.AuditEvent) error { return s.CreateProvider(ctx, provider, e) }},
		{"UpdateProvider", func(e storage.AuditEvent) error { return s.UpdateProvider(ctx, provider, e) }},
		{"ResealProvider", func(e storage.AuditEvent) error {
			return s.ResealProvider(ctx, provider.ID, provider.SealedClientSecret, []byte("anew"), e)
		}},
		{"DeleteProvider", func(e storage.AuditEvent) error { return s.DeleteProvider(ctx, provider.ID, storage.AnyVersion, e) }},
		{"DeleteRegistrationRequest", func(e storage.AuditEvent) error { return s.DeleteRegistrationRequest(ctx, asked.ID, e) }},
		{"UpdateSignInPolicy", func(e storage.AuditEvent) error { return s.UpdateSignInPolicy(ctx, signInPolicy, e) }},
		{"CreatePolicy", func(e storage.AuditEvent) error { return s.CreatePolicy(ctx, rule, e) }},
		{"UpdatePolicy", func(e storage.AuditEvent) error { return s.UpdatePolicy(ctx, rule, e) }},
		{"DeletePolicy", func(e storage.AuditEvent) error { return s.DeletePolicy(ctx, rule.ID, storage.AnyVersion, e) }},
	} {
		if err := change.do(Event("test.change", "")); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		now := catalogVersion(t, s)
		if now <= version {
			t.Errorf("%s left the version at %d", change.name, now)
		}
		version = now
	}
}

func heartbeatStays(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	ctx, user := t.Context(), NewUser()
	stale, staleResource := *f.Client, *f.Resource
	stale.Version += 100
	staleResource.Version += 100
	version := catalogVersion(t, s)
	check := func(name string, err error) {
		t.Helper()
		want(t, err, nil)
		if got := catalogVersion(t, s); got != version {
			t.Errorf("%s moved the version", name)
			version = got
		}
	}
	check("CreateDynamicClient", register(ctx, s, NewDynamicClient(), 100, Event("client.created", "")))
	adminKey := NewAdminKey()
	check("CreateAdminKey", s.CreateAdminKey(ctx, adminKey, Event("admin_key.created", "")))
	check("TouchAdminKey", s.TouchAdminKey(ctx, adminKey.ID, Now))
	check("CreateUser", s.CreateUser(ctx, user, Event("user.created", "")))
	check("UpdateUser", s.UpdateUser(ctx, user, Event("user.updated", "")))
	group := NewGroup()
	check("CreateGroup", s.CreateGroup(ctx, group, Event("group.created", "")))
	check("AddGroupMember", s.AddGroupMember(ctx, group.ID, user.ID, Event("group.member_added", "")))
	check("DeleteGroup", s.DeleteGroup(ctx, group.ID, storage.AnyVersion, Event("group.deleted", "")))
	check("DeleteUser", s.DeleteUser(ctx, user.ID, storage.AnyVersion, Event("user.deleted", "")))
	check("CreateSession", s.CreateSession(ctx, NewSession(f.User.ID), Event("session.created", "")))
	check("Approve", s.Approve(ctx, f.NewApproval("files:read"), Event("grant.approved", "")))
	check("RedeemCode", s.RedeemCode(ctx, f.Code.ID, NewFamily(f.Code)))
	check("ExchangeCode", f.Exchange(ctx, f.Approve(t, "files:read")))
	check("RotateFamily", s.RotateFamily(ctx, storage.Rotation{FamilyID: f.Code.FamilyID(), Presented: 1, Request: []byte("r"), Now: Now}))
	pushed := f.NewPushedRequest()
	check("CreatePushedRequest", s.CreatePushedRequest(ctx, pushed, 1))
	check("DenyPushedRequest", s.DenyPushedRequest(ctx, f.NewDenial(pushed)))
	_, _, _, err := s.RenewFamily(ctx, f.renewal(f.Code.FamilyID(), 2))
	check("RenewFamily", err)
	check("DeleteGrant", s.DeleteGrant(ctx, f.Grant.ID, Event("grant.deleted", "")))
	check("AskRegistration", s.AskRegistration(ctx, NewRegistrationRequest(), f.User.ID, RequestLimits, Event("registration_request.created", "")))
	check("RevokeAccessToken", s.RevokeAccessToken(ctx, "tok_a", Now, Event("token.revoked", "")))
	_, err = s.Sweep(ctx, Now, unused, 100)
	check("a sweep of what nobody caches", err)

	want(t, s.UpdateClient(ctx, &stale, Event("client.updated", "")), storage.ErrConflict)
	want(t, s.UpdateResource(ctx, &staleResource, Event("resource.updated", "")), storage.ErrConflict)
	want(t, s.DeleteClient(ctx, "cl_none", storage.AnyVersion, Event("client.deleted", "")), storage.ErrNotFound)
	check("a change that failed", nil)
}

func sweepBoundaries(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	now := Now.Add(storage.FamilyLifetime)
	sweep := func(expected int) {
		t.Helper()
		n, err := s.Sweep(t.Context(), now, unused, 100)
		want(t, err, nil)
		if n != expected {
			t.Errorf("swept %d rows, want %d", n, expected)
		}
	}
	sweep(2) // the fixture's session and code
	want(t, s.DeleteSession(t.Context(), f.Session.ID, Event("session.deleted", "")), storage.ErrNotFound)

	// One session that lives to see it all.
	live := NewSession(f.User.ID)
	live.CreatedAt, live.LastSeenAt = now, now
	want(t, s.CreateSession(t.Context(), live, Event("session.created", live.ID)), nil)
	f.Session = live

	session := func(created, seen time.Time) *storage.Session {
		session := NewSession(f.User.ID)
		session.CreatedAt, session.LastSeenAt = created, seen
		want(t, s.CreateSession(t.Context(), session, Event("session.created", session.ID)), nil)
		return session
	}
	oldest, idlest := now.Add(-storage.SessionLifetime), now.Add(-storage.SessionIdle)
	session(oldest, now)
	session(idlest, idlest)
	young, seen := session(oldest.Add(step), now), session(idlest.Add(-time.Hour), idlest.Add(step))

	code := func(created time.Time) *storage.AuthorizationCode {
		a := f.NewApproval("files:read", "files:write")
		a.Code.CreatedAt, a.Code.ExpiresAt = created, created.Add(storage.CodeLifetime)
		want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
		return &a.Code
	}
	spent, retained := code(now.Add(-storage.CodeRetention)), code(now.Add(-storage.CodeRetention+step))

	family := func(rotated, expires time.Time) *storage.Family {
		code := code(now)
		family := NewFamily(code)
		family.CreatedAt, family.RotatedAt, family.ExpiresAt = rotated, rotated, expires
		want(t, s.RedeemCode(t.Context(), code.ID, family), nil)
		return family
	}
	expired := family(now, now)
	idle := family(now.Add(-storage.FamilyIdle), now.Add(time.Hour))
	active := family(now.Add(-storage.FamilyIdle+step), now.Add(step))

	pushed := func(expires time.Time) *storage.PushedRequest {
		p := f.NewPushedRequest()
		p.ExpiresAt = expires
		want(t, s.CreatePushedRequest(t.Context(), p, 100), nil)
		return p
	}
	past, graced := pushed(now.Add(-storage.PushedRequestGrace)), pushed(now.Add(-storage.PushedRequestGrace+step))

	want(t, s.RevokeAccessToken(t.Context(), "tok_past", now, Event("token.revoked", "")), nil)
	want(t, s.RevokeAccessToken(t.Context(), "tok_live", now.Add(step), Event("token.revoked", "")), nil)

	sweep(2 + 1 + 1 + 2 + 1)
	for _, s2 := range []*storage.Session{live, young, seen} {
		if _, err := s.SignIn(t.Context(), s2.TokenHash, storage.Look{}, now); err != nil {
			t.Errorf("a live session: %v", err)
		}
	}
	_, _, err := s.Code(t.Context(), spent.ID)
	want(t, err, storage.ErrNotFound)
	_, _, err = s.Code(t.Context(), retained.ID)
	want(t, err, nil)
	_, err = s.PushedRequest(t.Context(), past.ID)
	want(t, err, storage.ErrNotFound)
	_, err = s.PushedRequest(t.Context(), graced.ID)
	want(t, err, nil)
	familyGone(t, s, expired.ID)
	familyGone(t, s, idle.ID)
	_, _, err = s.Family(t.Context(), active.ID)
	want(t, err, nil)
	wantLive(t, s, "tok_live", "", now, false)
	// What was approved has no end of its own.
	if grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID) == nil {
		t.Error("the grant was swept")
	}
	sweep(0)
}

func sweepClients(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	now := Now.Add(unused + time.Second)
	client := func(c *storage.Client, created time.Time) *storage.Client {
		t.Helper()
		c.CreatedAt = created
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
		return c
	}
	unusedOld := client(NewDynamicClient(), Now)
	unusedNew := client(NewDynamicClient(), Now.Add(2*time.Second))
	usedOld := client(NewDynamicClient(), Now)
	a := f.NewApproval("files:read")
	a.Code.ClientID = usedOld.ID
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
	document := client(NewDocumentClient(), Now)
	registered := client(NewClient(), Now)

	version := catalogVersion(t, s)
	_, err := s.Sweep(t.Context(), now, unused, 100)
	want(t, err, nil)
	for _, kept := range []*storage.Client{unusedNew, usedOld, document, registered, f.Client} {
		if _, err := s.Client(t.Context(), kept.ID); err != nil {
			t.Errorf("a %s client made at %s: %v", kept.Source, kept.CreatedAt, err)
		}
	}
	_, err = s.Client(t.Context(), unusedOld.ID)
	want(t, err, storage.ErrNotFound)
	if catalogVersion(t, s) <= version {
		t.Error("a client was swept and the version stayed")
	}
}

func sweepDocumentClients(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	now := Now.Add(storage.UnusedDocument)
	client := func(fetched time.Time) *storage.Client {
		t.Helper()
		c := NewDocumentClient()
		c.DocumentFetchedAt = fetched
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
		return c
	}
	unusedOld, unusedNew, usedOld, disabled := client(Now), client(Now.Add(step)), client(Now), client(Now)
	a := f.NewApproval("files:read")
	a.Code.ClientID = usedOld.ID
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), nil)
	disabled.Disabled = true
	want(t, s.UpdateClient(t.Context(), disabled, Event("client.updated", "")), nil)

	version := catalogVersion(t, s)
	_, err := s.Sweep(t.Context(), now, 1000*time.Hour, 100)
	want(t, err, nil)
	for name, kept := range map[string]*storage.Client{"newer": unusedNew, "used": usedOld, "disabled": disabled} {
		if _, err := s.Client(t.Context(), kept.ID); err != nil {
			t.Errorf("the %s client: %v", name, err)
		}
	}
	_, err = s.Client(t.Context(), unusedOld.ID)
	want(t, err, storage.ErrNotFound)
	if catalogVersion(t, s) <= version {
		t.Error("a client was swept and the version stayed")
	}
	want(t, s.DeleteGrant(t.Context(), a.Code.GrantID, Event("grant.deleted", "")), nil)
	_, err = s.Sweep(t.Context(), now, 1000*time.Hour, 100)
	want(t, err, nil)
	_, err = s.Client(t.Context(), usedOld.ID)
	want(t, err, storage.ErrNotFound)
}

func sweepLimit(t *testing.T, s storage.Store) {
	for i := range 5 {
		want(t, s.RevokeAccessToken(t.Context(), fmt.Sprintf("tok_%d", i), Now, Event("token.revoked", "")), nil)
		c := NewDynamicClient()
		want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
	}
	for _, expected := range []int{4, 4, 2, 0} { // of each kind two at most
		n, err := s.Sweep(t.Context(), Now.Add(unused+time.Second), unused, 2)
		want(t, err, nil)
		if n != expected {
			t.Errorf("swept %d rows, want %d", n, expected)
		}
	}
}

func closed(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	changes := acts(t, f)
	want(t, s.Close(), nil)
	for _, change := range changes {
		if err := change.do(Event("test.closed", "")); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s on a closed store: %v", change.name, err)
		}
	}
	wantUnavailable(t, t.Context(), f)
}

func abandoned(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantUnavailable(t, ctx, f)
	if err := s.DeleteGrant(ctx, f.Grant.ID, Event("grant.deleted", "")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("DeleteGrant: %v", err)
	}
	f.Redeem(t, f.Code) // nothing of it has happened
}

// wantUnavailable fails the test unless every method that takes no event fails as
// an outage, though what it asks for is there.
func wantUnavailable(t testing.TB, ctx context.Context, f *Fixture) {
	t.Helper()
	s, page := f.Store, storage.Page{Limit: 1}
	code := f.NewCode("files:read")
	code.GrantID = f.Grant.ID
	pushed := f.NewPushedRequest()
	for name, call := range map[string]func() error{
		"Client":                func() error { _, err := s.Client(ctx, f.Client.ID); return err },
		"ClientByClientID":      func() error { _, err := s.ClientByClientID(ctx, f.Client.ClientID); return err },
		"ConfirmClientDocument": func() error { return s.ConfirmClientDocument(ctx, f.Client.ID, Now) },
		"Clients":               func() error { _, err := s.Clients(ctx, storage.ClientFilter{}, page); return err },
		"Resource":              func() error { _, err := s.Resource(ctx, f.Resource.ID); return err },
		"Resources":             func() error { _, err := s.Resources(ctx, page); return err },
		"User":                  func() error { _, err := s.User(ctx, f.User.ID); return err },
		"UserByUsername":        func() error { _, err := s.UserByUsername(ctx, f.User.Username); return err },
		"Users":                 func() error { _, err := s.Users(ctx, storage.UserFilter{}, page); return err },
		"SignIn": func() error {
			_, err := s.SignIn(ctx, f.Session.TokenHash, f.Look(), Now)
			return err
		},
		"Grants":                     func() error { _, err := s.Grants(ctx, storage.GrantFilter{}, page); return err },
		"CreateCode":                 func() error { return s.CreateCode(ctx, code, f.Session.ID) },
		"Code":                       func() error { _, _, err := s.Code(ctx, f.Code.ID); return err },
		"RedeemCode":                 func() error { return s.RedeemCode(ctx, f.Code.ID, NewFamily(f.Code)) },
		"ExchangeCode":               func() error { _, _, _, err := s.ExchangeCode(ctx, f.NewExchange(f.Code)); return err },
		"FailCode":                   func() error { return s.FailCode(ctx, f.Code.ID) },
		"Family":                     func() error { _, _, err := s.Family(ctx, f.Code.FamilyID()); return err },
		"RotateFamily":               func() error { return s.RotateFamily(ctx, storage.Rotation{FamilyID: f.Code.FamilyID(), Now: Now}) },
		"DeviceAuthorization":        func() error { _, _, err := s.DeviceAuthorization(ctx, "dev_a"); return err },
		"PendingDeviceAuthorization": func() error { _, err := s.PendingDeviceAuthorization(ctx, [][]byte{{1}}, Now); return err },
		"PollDeviceAuthorization":    func() error { return s.PollDeviceAuthorization(ctx, storage.DevicePoll{ID: "dev_a", Now: Now}) },
		"CreateDeviceAuthorization": func() error {
			return s.CreateDeviceAuthorization(ctx, f.NewDevice("files:read"), storage.DeviceCaps{PerClient: 1, InAll: 1})
		},
		"RedeemDeviceAuthorization": func() error { return s.RedeemDeviceAuthorization(ctx, "dev_a", NewFamily(f.Code)) },
		"CreatePushedRequest":       func() error { return s.CreatePushedRequest(ctx, pushed, 1) },
		"PushedRequest":             func() error { _, err := s.PushedRequest(ctx, pushed.ID); return err },
		"DenyPushedRequest":         func() error { return s.DenyPushedRequest(ctx, f.NewDenial(pushed)) },
		"AccessTokenLive":           func() error { _, _, err := s.AccessTokenLive(ctx, "tok_a", "", Now); return err },
		"AccessTokenScopes":         func() error { _, _, err := s.AccessTokenScopes(ctx, "tok_a", "fam_a", Now); return err },
		"SigningKeys":               func() error { _, err := s.SigningKeys(ctx); return err },
		"AuditEvents":               func() error { _, err := s.AuditEvents(ctx, storage.AuditFilter{}, page); return err },
		"Heartbeat":                 func() error { _, _, err := s.Heartbeat(ctx); return err },
		"Sweep":                     func() error { _, err := s.Sweep(ctx, Now, unused, 1); return err },
		"FoldClient": func() error {
			_, err := s.FoldClient(ctx, &storage.Registration{Client: NewDynamicClient(), Digest: Digest()}, Now)
			return err
		},
		"Group":               func() error { _, err := s.Group(ctx, "grp_none"); return err },
		"GroupByName":         func() error { _, err := s.GroupByName(ctx, "staff"); return err },
		"Groups":              func() error { _, err := s.Groups(ctx, page); return err },
		"InitialAccessToken":  func() error { _, err := s.InitialAccessToken(ctx, "reg_none"); return err },
		"AdminKey":            func() error { _, err := s.AdminKey(ctx, "adk_none"); return err },
		"AdminKeyByHash":      func() error { _, err := s.AdminKeyByHash(ctx, []byte{1}); return err },
		"AdminKeys":           func() error { _, err := s.AdminKeys(ctx, page); return err },
		"TouchAdminKey":       func() error { return s.TouchAdminKey(ctx, "adk_none", Now) },
		"AdminTokenLive":      func() error { _, _, err := s.AdminTokenLive(ctx, "tok_a", "fam_none", Now); return err },
		"InitialAccessTokens": func() error { _, err := s.InitialAccessTokens(ctx, page); return err },
		"Policy":              func() error { _, err := s.Policy(ctx, "pol_none"); return err },
		"Policies":            func() error { _, err := s.Policies(ctx, page); return err },
		"Factors":             func() error { _, err := s.Factors(ctx, f.User.ID); return err },
		"PasskeyByCredential": func() error { _, err := s.PasskeyByCredential(ctx, Digest()); return err },
		"UsePasskey": func() error {
			return s.UsePasskey(ctx, NewPasskeyUse(NewPasskey(f.User.ID)), Event("passkey.cloned", ""))
		},
		"UseTOTP":               func() error { return s.UseTOTP(ctx, storage.TOTPUse{UserID: f.User.ID, Step: 1, At: Now}) },
		"SignInPolicy":          func() error { _, err := s.SignInPolicy(ctx); return err },
		"RegistrationPolicy":    func() error { _, err := s.RegistrationPolicy(ctx); return err },
		"RegistrationRequest":   func() error { _, err := s.RegistrationRequest(ctx, "req_none"); return err },
		"RegistrationRequestOf": func() error { _, _, err := s.RegistrationRequestOf(ctx, "none", f.User.ID); return err },
		"RegistrationRequests":  func() error { _, err := s.RegistrationRequests(ctx, "", page); return err },
		"RenewFamily": func() error {
			_, _, _, err := s.RenewFamily(ctx, storage.Renewal{Rotation: storage.Rotation{FamilyID: f.Code.FamilyID(), Now: Now}})
			return err
		},
	} {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func storePool(t *testing.T, s storage.Store) {
	NewFixture(t, s)
	pool := s.Pool()
	if pool.Max < 1 || pool.Open < 1 || pool.Open > pool.Max || pool.InUse != 0 || pool.Calls != 0 || pool.Refused != 0 {
		t.Errorf("at rest the pool is %+v", pool)
	}
}
