package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"grantd/internal/pgtest"
	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/storagetest"
)

// making is something that gives a person's client more than it had.
type making struct {
	name string
	// hold keeps call from committing until the transaction it returns ends.
	hold func(t *testing.T, c *crossing) pgx.Tx
	call func(c *crossing) error
}

// ending is something after which nothing of it may be left.
type ending struct {
	name string
	call func(c *crossing, event storage.AuditEvent) error
	left func(t *testing.T, c *crossing) // fails the test if something is
}

// crossing is one meeting of the two.
type crossing struct {
	*storagetest.Fixture
	db      *pgxpool.Pool
	event   storage.AuditEvent         // of what is made
	session *storage.Session           // what is made
	page    *storage.Approval          // of files:delete, which nothing else is of
	code    *storage.AuthorizationCode // under the remembered approval
	waiting *storage.DeviceAuthorization
	device  *storage.DeviceAuthorization // approved
}

var makings = []making{
	{
		"Approve",
		func(t *testing.T, c *crossing) pgx.Tx { return holdEvent(t, c.db, c.event) },
		func(c *crossing) error { return c.Store.Approve(context.Background(), c.page, c.event) },
	},
	{
		"CreateSession",
		func(t *testing.T, c *crossing) pgx.Tx { return holdEvent(t, c.db, c.event) },
		func(c *crossing) error { return c.Store.CreateSession(context.Background(), c.session, c.event) },
	},
	{
		"CreateCode",
		func(t *testing.T, c *crossing) pgx.Tx {
			const sql = `
INSERT INTO authorization_codes
SELECT $1, NULL, user_id, client_id, resource_id, '{}', '', '', created_at, expires_at, NULL, 0
FROM authorization_codes WHERE id = $2`
			return hold(t, c.db, sql, c.code.ID, c.Code.ID)
		},
		func(c *crossing) error { return c.Store.CreateCode(context.Background(), c.code, c.Session.ID) },
	},
	{
		"RedeemCode",
		func(t *testing.T, c *crossing) pgx.Tx { return holdFamily(t, c.db, c.Code.FamilyID(), c.Grant.ID) },
		func(c *crossing) error {
			return c.Store.RedeemCode(context.Background(), c.Code.ID, storagetest.NewFamily(c.Code))
		},
	},
	{
		"ExchangeCode",
		func(t *testing.T, c *crossing) pgx.Tx { return holdFamily(t, c.db, c.Code.FamilyID(), c.Grant.ID) },
		func(c *crossing) error {
			return c.Exchange(context.Background(), c.Code)
		},
	},
	{
		"ApproveDeviceAuthorization",
		func(t *testing.T, c *crossing) pgx.Tx { return holdEvent(t, c.db, c.event) },
		func(c *crossing) error {
			return c.Store.ApproveDeviceAuthorization(context.Background(), c.NewDeviceApproval(c.waiting), c.event)
		},
	},
	{
		"RedeemDeviceAuthorization",
		func(t *testing.T, c *crossing) pgx.Tx { return holdFamily(t, c.db, c.device.FamilyID(), c.Grant.ID) },
		func(c *crossing) error {
			return c.Store.RedeemDeviceAuthorization(context.Background(), c.device.ID, storagetest.NewDeviceFamily(c.device))
		},
	},
}

var endings = []ending{
	{"disabling the user", func(c *crossing, event storage.AuditEvent) error {
		c.User.Disabled = true
		return c.Store.UpdateUser(context.Background(), c.User, event)
	}, nothingOfUser},
	{"changing the password", func(c *crossing, event storage.AuditEvent) error {
		c.User.PasswordHash = "another"
		return c.Store.UpdateUser(context.Background(), c.User, event)
	}, noSessionFamilyOrCode},
	{"deleting the user", func(c *crossing, event storage.AuditEvent) error {
		return c.Store.DeleteUser(context.Background(), c.User.ID, storage.AnyVersion, event)
	}, nothingOfUser},
	{"disabling the client", func(c *crossing, event storage.AuditEvent) error {
		c.Client.Disabled = true
		return c.Store.UpdateClient(context.Background(), c.Client, event)
	}, nothingGranted},
	{"deleting the client", func(c *crossing, event storage.AuditEvent) error {
		return c.Store.DeleteClient(context.Background(), c.Client.ID, storage.AnyVersion, event)
	}, nothingGranted},
	{"deleting the resource", func(c *crossing, event storage.AuditEvent) error {
		return c.Store.DeleteResource(context.Background(), c.Resource.ID, storage.AnyVersion, event)
	}, nothingGranted},
	{"removing scopes", func(c *crossing, event storage.AuditEvent) error {
		c.Resource.Scopes = c.Resource.Scopes[1:2] // files:write stays
		return c.Store.UpdateResource(context.Background(), c.Resource, event)
	}, noRemovedScope},
	{"revoking the grant", func(c *crossing, event storage.AuditEvent) error {
		return c.Store.DeleteGrant(context.Background(), c.Grant.ID, event)
	}, func(t *testing.T, c *crossing) {
		wantNone(t, c.db, "families", `grant_id = $1`, c.Grant.ID)
		wantNone(t, c.db, "authorization_codes", `grant_id = $1`, c.Grant.ID)
		wantNone(t, c.db, "device_authorizations", `grant_id = $1`, c.Grant.ID)
	}},
	{"signing out", func(c *crossing, event storage.AuditEvent) error {
		return c.Store.DeleteSession(context.Background(), c.Session.ID, event)
	}, func(t *testing.T, c *crossing) { wantNone(t, c.db, "sessions", `id = $1`, c.Session.ID) }},
}

// unrelated are the pairs of which neither has to wait for the other.
var unrelated = map[string][]string{
	"CreateSession": {"disabling the client", "deleting the client", "deleting the resource", "removing scopes", "revoking the grant", "signing out"},
	"RedeemCode":    {"signing out"},
	"ExchangeCode":  {"signing out"},

	"RedeemDeviceAuthorization": {"signing out"},
}

// Whatever gives access and whatever takes it away meet in both orders, each held
// just before it commits until the other waits for it.
func TestWhatEndsLeavesNothing(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL, postgres.WithTracer(noDeadlock{t})), database(t, databaseURL)
	for _, making := range makings {
		for _, ending := range endings {
			if slices.Contains(unrelated[making.name], ending.name) {
				continue
			}
			t.Run(fmt.Sprintf("%s, then %s", making.name, ending.name), func(t *testing.T) {
				c := newCrossing(t, s, db)
				held := making.hold(t, c)
				made := start(func() error { return making.call(c) })
				awaitBlocked(t, db, 1)
				ended := start(func() error { return ending.call(c, storagetest.Event("test.ended", "")) })
				awaitBlocked(t, db, 2)
				release(t, held)
				if err := <-made; err != nil {
					t.Errorf("%s: %v", making.name, err)
				}
				if err := <-ended; err != nil {
					t.Errorf("%s: %v", ending.name, err)
				}
				ending.left(t, c)
			})
			t.Run(fmt.Sprintf("%s, then %s", ending.name, making.name), func(t *testing.T) {
				c := newCrossing(t, s, db)
				event := storagetest.Event("test.ended", "")
				held := holdEvent(t, db, event)
				ended := start(func() error { return ending.call(c, event) })
				awaitBlocked(t, db, 1)
				made := start(func() error { return making.call(c) })
				err := awaitBlockedOr(t, db, 2, made)
				release(t, held)
				if err := <-ended; err != nil {
					t.Errorf("%s: %v", ending.name, err)
				}
				if errors.Is(err, errBlocked) {
					err = <-made
				}
				if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrConsumed) {
					t.Errorf("%s: %v", making.name, err)
				}
				ending.left(t, c)
			})
		}
	}
}

// A code that was as an exchange says when it looked, and of which only the identity is
// left when it has the row, is not exchanged.
func TestExchangeJudgesTheLockedCode(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL), database(t, databaseURL)
	c := newCrossing(t, s, db)
	code := c.Approve(t, "files:read", storage.ScopeOpenID)
	event := storagetest.Event("test.ended", "")
	held := holdEvent(t, db, event)
	without := *c.Resource
	without.Scopes = without.Scopes[1:]
	removed := start(func() error { return s.UpdateResource(context.Background(), &without, event) })
	awaitBlocked(t, db, 1)
	exchanged := start(func() error { return c.Exchange(context.Background(), code) })
	awaitBlocked(t, db, 2)
	release(t, held)
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if err := <-exchanged; !errors.Is(err, storage.ErrConsumed) {
		t.Errorf("the exchange: %v", err)
	}
	wantNone(t, db, "families", `id = $1`, code.FamilyID())
	wantNone(t, db, "authorization_codes", `id = $1 AND redeemed_at IS NOT NULL`, code.ID)
}

// noDeadlock fails the test if Postgres had to resolve a deadlock, which the Store
// would conceal by trying again.
type noDeadlock struct{ t *testing.T }

func (noDeadlock) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (n noDeadlock) TraceQueryEnd(_ context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	var pgErr *pgconn.PgError
	if errors.As(data.Err, &pgErr) && pgErr.Code == "40P01" {
		n.t.Errorf("a deadlock: %s", pgErr.Where)
	}
}

// A dynamic client that is being approved for the first time is not unused.
func TestSweepLeavesAClientThatIsBeingApproved(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL), database(t, databaseURL)
	c := newCrossing(t, s, db)
	client := storagetest.NewDynamicClient()
	if err := s.CreateClient(t.Context(), client, storagetest.Event("client.created", client.ID)); err != nil {
		t.Fatal(err)
	}
	c.page.Code.ClientID = client.ID
	held := holdEvent(t, db, c.event)
	approved := start(func() error { return s.Approve(t.Context(), c.page, c.event) })
	awaitBlocked(t, db, 1)
	if _, err := s.Sweep(t.Context(), storagetest.Now.Add(time.Hour), time.Minute, 100); err != nil {
		t.Errorf("Sweep: %v", err)
	}
	release(t, held)
	if err := <-approved; err != nil {
		t.Errorf("Approve: %v", err)
	}
	if _, err := s.Client(t.Context(), client.ID); err != nil {
		t.Errorf("the client: %v", err)
	}
}

// Replicas that sweep at once delete each row once and do not wait for each other.
func TestSweepsTogether(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	const tokens, replicas = 500, 5
	var stores []storage.Store
	for range replicas {
		stores = append(stores, open(t, databaseURL))
	}
	for i := range tokens {
		err := stores[0].RevokeAccessToken(t.Context(), fmt.Sprintf("tok_%d", i), storagetest.Now, storagetest.Event("token.revoked", ""))
		if err != nil {
			t.Fatal(err)
		}
	}
	counts := make(chan int, replicas)
	for _, s := range stores {
		go func() {
			total := 0
			for {
				n, err := s.Sweep(t.Context(), storagetest.Now, time.Hour, 20)
				if err != nil {
					t.Errorf("Sweep: %v", err)
				}
				if total += n; n == 0 || err != nil {
					break
				}
			}
			counts <- total
		}()
	}
	total := 0
	for range replicas {
		total += <-counts
	}
	if total != tokens {
		t.Errorf("%d rows swept, want %d", total, tokens)
	}
}

// When Postgres ends a statement to resolve a deadlock, it is run again.
func TestDeadlockIsTriedAgain(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL), database(t, databaseURL)
	c := newCrossing(t, s, db)
	// It holds the client and then wants the user, against the order, and is not
	// the first to notice.
	other := hold(t, db, `SELECT set_config('deadlock_timeout', '10min', true) FROM clients WHERE id = $1 FOR UPDATE`, c.Client.ID)
	approved := start(func() error {
		return s.Approve(t.Context(), c.page, storagetest.Event("grant.approved", c.page.Code.ID))
	})
	awaitBlocked(t, db, 1)
	if _, err := other.Exec(t.Context(), `SELECT 1 FROM users WHERE id = $1 FOR UPDATE`, c.User.ID); err != nil {
		t.Fatal(err)
	}
	release(t, other)
	if err := <-approved; err != nil {
		t.Errorf("Approve: %v", err)
	}
}

func newCrossing(t *testing.T, s storage.Store, db *pgxpool.Pool) *crossing {
	t.Helper()
	f := storagetest.NewFixture(t, s)
	c := &crossing{
		Fixture: f, db: db,
		event:   storagetest.Event("test.made", ""),
		session: storagetest.NewSession(f.User.ID),
		page:    f.NewApproval("files:write", "files:delete"),
		code:    f.NewCode("files:read", "files:write"),
	}
	c.code.GrantID = f.Grant.ID
	c.device = f.ApproveDevice(t, f.Device(t, "files:read", "files:write"))
	c.waiting = f.Device(t, "files:write", "files:delete")
	return c
}

func nothingOfUser(t *testing.T, c *crossing) {
	t.Helper()
	nothingGranted(t, c)
	noSessionFamilyOrCode(t, c)
}

func nothingGranted(t *testing.T, c *crossing) {
	t.Helper()
	wantNone(t, c.db, "grants", `user_id = $1`, c.User.ID)
	wantNone(t, c.db, "families", `user_id = $1`, c.User.ID)
	wantNone(t, c.db, "authorization_codes", `user_id = $1 AND grant_id IS NOT NULL`, c.User.ID)
	wantNone(t, c.db, "device_authorizations", `user_id = $1 AND grant_id IS NOT NULL`, c.User.ID)
}

func noSessionFamilyOrCode(t *testing.T, c *crossing) {
	t.Helper()
	// A session made after the end is one of the new password.
	wantNone(t, c.db, "sessions", `user_id = $1 AND id <> $2`, c.User.ID, c.session.ID)
	wantNone(t, c.db, "families", `user_id = $1`, c.User.ID)
	wantNone(t, c.db, "authorization_codes", `user_id = $1 AND grant_id IS NOT NULL AND redeemed_at IS NULL`, c.User.ID)
	wantNone(t, c.db, "device_authorizations", `user_id = $1 AND grant_id IS NOT NULL AND redeemed_at IS NULL`, c.User.ID)
}

func noRemovedScope(t *testing.T, c *crossing) {
	t.Helper()
	for _, table := range []string{"grants", "families", "authorization_codes", "device_authorizations"} {
		wantNone(t, c.db, table, `user_id = $1 AND (scopes && '{files:read,files:delete}' OR scopes = '{}')`, c.User.ID)
	}
}

func wantNone(t *testing.T, db querier, table, condition string, args ...any) {
	t.Helper()
	var n int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM `+table+` WHERE `+condition, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Errorf("%d rows are left in %s", n, table)
	}
}
