package postgres_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"grantd/internal/pgtest"
	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/storagetest"
)

// counter counts the statements of those calls whose context carries a number.
type counter struct{}

type countKey struct{}

func (counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if n, ok := ctx.Value(countKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
	return ctx
}

func (counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// What a request does is one statement, and one that only looks commits nothing.
func TestBudgets(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL, postgres.WithTracer(counter{})), database(t, databaseURL)
	f := storagetest.NewFixture(t, s)
	now, event := storagetest.Now, storagetest.Event
	family := f.Redeem(t, f.Approve(t, "files:read"))
	usual, ofMember, untouched := f.Approve(t, "files:read"), f.Approve(t, "files:read"), f.Approve(t, "files:read")
	session := storagetest.NewSession(f.User.ID)
	remembered := f.NewCode("files:read")
	remembered.GrantID = f.Grant.ID
	page := f.NewApproval("files:read")
	pushed := f.NewPushedRequest()
	device := f.Device(t, "files:read")
	documented := f.NewDocumentApproval(storagetest.NewDocumentClient())
	changed := *documented.Document
	changed.DocumentFetchedAt = now.Add(time.Hour)
	rotation := storage.Rotation{FamilyID: family.ID, Presented: 1, Request: []byte("r"), Now: now}

	for _, test := range []struct {
		name   string
		writes bool
		call   func(ctx context.Context) error
	}{
		{"CreateSession", true, func(ctx context.Context) error { return s.CreateSession(ctx, session, event("session.created", "")) }},
		{"SignIn", false, func(ctx context.Context) error {
			_, err := s.SignIn(ctx, f.Session.TokenHash, f.Look(), now)
			return err
		}},
		{"Approve", true, func(ctx context.Context) error { return s.Approve(ctx, page, event("grant.approved", "")) }},
		{"Approve a document", true, func(ctx context.Context) error { return s.Approve(ctx, documented, event("grant.approved", "")) }},
		{"UpdateClientDocument", true, func(ctx context.Context) error {
			return s.UpdateClientDocument(ctx, &changed, event("client.document_changed", ""))
		}},
		{"ConfirmClientDocument", true, func(ctx context.Context) error {
			return s.ConfirmClientDocument(ctx, changed.ID, now.Add(2*time.Hour))
		}},
		{"CreateCode", true, func(ctx context.Context) error { return s.CreateCode(ctx, remembered, f.Session.ID) }},
		{"Code", false, func(ctx context.Context) error { _, _, err := s.Code(ctx, f.Code.ID); return err }},
		{"FailCode", true, func(ctx context.Context) error { return s.FailCode(ctx, f.Code.ID) }},
		{"RedeemCode", true, func(ctx context.Context) error {
			return s.RedeemCode(ctx, f.Code.ID, storagetest.NewFamily(f.Code))
		}},
		{"ExchangeCode", true, func(ctx context.Context) error {
			_, _, _, err := s.ExchangeCode(ctx, f.NewExchange(usual))
			return err
		}},
		{"ExchangeCode by a member of a group", true, func(ctx context.Context) error {
			e := f.NewExchange(ofMember)
			e.Allowed, e.AllowedTo = nil, []storage.GroupScope{{Group: "staff", Scope: "files:read"}}
			_, _, _, err := s.ExchangeCode(ctx, e)
			return err
		}},
		{"ExchangeCode of a redeemed code", false, func(ctx context.Context) error {
			_, _, _, err := s.ExchangeCode(ctx, f.NewExchange(usual))
			return err
		}},
		{"ExchangeCode by a wrong verifier", false, func(ctx context.Context) error {
			e := f.NewExchange(untouched)
			e.CodeChallenge = "wrong"
			_, _, _, err := s.ExchangeCode(ctx, e)
			return err
		}},
		{"Family", false, func(ctx context.Context) error { _, _, err := s.Family(ctx, family.ID); return err }},
		{"RotateFamily", true, func(ctx context.Context) error { return s.RotateFamily(ctx, rotation) }},
		{"RotateFamily for the loser of a race", true, func(ctx context.Context) error { return s.RotateFamily(ctx, rotation) }},
		{"CreatePushedRequest", true, func(ctx context.Context) error { return s.CreatePushedRequest(ctx, pushed, 10) }},
		{"PushedRequest", false, func(ctx context.Context) error { _, err := s.PushedRequest(ctx, pushed.ID); return err }},
		{"DenyPushedRequest", true, func(ctx context.Context) error { return s.DenyPushedRequest(ctx, f.NewDenial(pushed)) }},
		{"AccessTokenLive", false, func(ctx context.Context) error {
			_, _, err := s.AccessTokenLive(ctx, "tok_a", family.ID, now)
			return err
		}},
		{"AccessTokenScopes", false, func(ctx context.Context) error {
			_, _, err := s.AccessTokenScopes(ctx, "tok_a", family.ID, now)
			return err
		}},
		{"DeviceAuthorization", false, func(ctx context.Context) error { _, _, err := s.DeviceAuthorization(ctx, device.ID); return err }},
		{"PendingDeviceAuthorization", false, func(ctx context.Context) error {
			_, err := s.PendingDeviceAuthorization(ctx, [][]byte{device.UserCodeHash}, now)
			return err
		}},
		{"PollDeviceAuthorization", true, func(ctx context.Context) error {
			return s.PollDeviceAuthorization(ctx, storage.DevicePoll{ID: device.ID, PollInterval: device.PollInterval, Now: now})
		}},
		{"ApproveDeviceAuthorization", true, func(ctx context.Context) error {
			return s.ApproveDeviceAuthorization(ctx, f.NewDeviceApproval(device), event("grant.approved", ""))
		}},
		{"RedeemDeviceAuthorization", true, func(ctx context.Context) error {
			device.GrantID, device.UserID = f.Grant.ID, f.User.ID
			return s.RedeemDeviceAuthorization(ctx, device.ID, storagetest.NewDeviceFamily(device))
		}},
		{"DenyDeviceAuthorization", true, func(ctx context.Context) error {
			return s.DenyDeviceAuthorization(ctx, f.Device(t, "files:read").ID, f.Session.ID, now, event("device.denied", ""))
		}},
		{"RenewFamily", true, func(ctx context.Context) error {
			_, _, _, err := s.RenewFamily(ctx, storage.Renewal{
				Rotation: storage.Rotation{FamilyID: family.ID, Presented: 2, Request: []byte("r"), Now: now},
				ClientID: f.Client.ID, ResourceID: f.Resource.ID, Allowed: f.Resource.ScopeNames(),
			})
			return err
		}},
		{"RenewFamily of a group's member", true, func(ctx context.Context) error {
			_, _, _, err := s.RenewFamily(ctx, storage.Renewal{
				Rotation: storage.Rotation{FamilyID: family.ID, Presented: 3, Request: []byte("r"), Now: now},
				ClientID: f.Client.ID, ResourceID: f.Resource.ID, AllowedTo: []storage.GroupScope{{Group: "staff", Scope: "files:read"}},
			})
			return err
		}},
		{"RevokeAccessToken", true, func(ctx context.Context) error {
			return s.RevokeAccessToken(ctx, "tok_a", now.Add(time.Minute), event("token.revoked", ""))
		}},
		{"EndFamily", true, func(ctx context.Context) error { return s.EndFamily(ctx, family.ID, event("family.ended", "")) }},
		{"DeleteGrant", true, func(ctx context.Context) error { return s.DeleteGrant(ctx, f.Grant.ID, event("grant.deleted", "")) }},
		{"DeleteSession", true, func(ctx context.Context) error {
			return s.DeleteSession(ctx, session.ID, event("session.deleted", ""))
		}},
		{"Client", false, func(ctx context.Context) error { _, err := s.Client(ctx, f.Client.ID); return err }},
		{"ClientByClientID", false, func(ctx context.Context) error { _, err := s.ClientByClientID(ctx, f.Client.ClientID); return err }},
		{"Resources", false, func(ctx context.Context) error { _, err := s.Resources(ctx, storage.Page{Limit: 9}); return err }},
		{"UserByUsername", false, func(ctx context.Context) error { _, err := s.UserByUsername(ctx, f.User.Username); return err }},
		{"Heartbeat", false, func(ctx context.Context) error { _, _, err := s.Heartbeat(ctx); return err }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var statements atomic.Int64
			ctx := context.WithValue(t.Context(), countKey{}, &statements)
			before := nextTransaction(t, db)
			if err := test.call(ctx); err != nil {
				t.Fatal(err)
			}
			if n := statements.Load(); n != 1 {
				t.Errorf("%d statements, want 1", n)
			}
			wrote := nextTransaction(t, db) != before
			// Somebody else on the server may have written, but not every time.
			for try := 0; wrote && !test.writes && try < 5; try++ {
				before = nextTransaction(t, db)
				if err := test.call(t.Context()); err != nil {
					t.Fatal(err)
				}
				wrote = nextTransaction(t, db) != before
			}
			if wrote != test.writes {
				t.Errorf("it committed a write: %t, want %t", wrote, test.writes)
			}
		})
	}
}

// A refresh that is not the usual one is asked about once more, and that is all.
func TestBudgetOfAnUnusualRenewal(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL, postgres.WithTracer(counter{})), database(t, databaseURL)
	f := storagetest.NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	renewal := func(presented int64, allowed ...string) storage.Renewal {
		return storage.Renewal{
			Rotation: storage.Rotation{FamilyID: family.ID, Presented: presented, Request: []byte("r"), Now: storagetest.Now},
			ClientID: f.Client.ID, ResourceID: f.Resource.ID, Allowed: allowed,
		}
	}
	for _, test := range []struct {
		name    string
		renewal storage.Renewal
		renewed bool
	}{
		{"by a token ahead of the row", renewal(6, "files:read"), true},
		{"by a spent token", renewal(5, "files:read"), false},
		{"without a scope", renewal(7), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			wrote := true
			for try := 0; wrote && try < 6; try++ {
				var statements atomic.Int64
				before := nextTransaction(t, db)
				_, _, renewed, err := s.RenewFamily(context.WithValue(t.Context(), countKey{}, &statements), test.renewal)
				if n := statements.Load(); n != 2 || renewed != test.renewed || err != nil {
					t.Fatalf("%d statements, want 2; renewed: %t, %v", n, renewed, err)
				}
				if test.renewed {
					return
				}
				// Somebody else on the server may have written, but not every time.
				wrote = nextTransaction(t, db) != before
			}
			if wrote {
				t.Error("it committed a write")
			}
		})
	}
}

// Every SessionTouch a look at a session is followed by writing down that it was seen.
func TestBudgetOfASessionSeen(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s := open(t, databaseURL, postgres.WithTracer(counter{}))
	f := storagetest.NewFixture(t, s)
	for _, test := range []struct {
		name       string
		after      time.Duration
		statements int64
	}{
		{"long ago", storage.SessionTouch, 2},
		{"just now", storage.SessionTouch + time.Minute, 1},
		{"long ago again", 2 * storage.SessionTouch, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var statements atomic.Int64
			_, err := s.SignIn(context.WithValue(t.Context(), countKey{}, &statements), f.Session.TokenHash, f.Look(), storagetest.Now.Add(test.after))
			if n := statements.Load(); n != test.statements || err != nil {
				t.Errorf("%d statements, want %d; %v", n, test.statements, err)
			}
		})
	}
}

// nextTransaction returns the number that the next transaction which writes will
// get; looking takes none.
func nextTransaction(t *testing.T, db querier) string {
	t.Helper()
	var number string
	if err := db.QueryRow(t.Context(), `SELECT pg_snapshot_xmax(pg_current_snapshot())::text`).Scan(&number); err != nil {
		t.Fatal(err)
	}
	return number
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Refreshing for ever takes no more room than refreshing once. A server that is
// not ours may look at the database meanwhile (autovacuum does), which keeps row
// versions; but not each time.
func TestRotationsAreInPlace(t *testing.T) {
	var grown string
	for range 3 {
		if grown = rotateManyTimes(t); grown == "" {
			return
		}
	}
	t.Error(grown)
}

// rotateManyTimes returns what has grown.
func rotateManyTimes(t *testing.T) string {
	t.Helper()
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL), database(t, databaseURL)
	f := storagetest.NewFixture(t, s)
	const families, rotations = 50, 20
	var ids []string
	for range families {
		ids = append(ids, f.Redeem(t, f.Approve(t, "files:read", "files:write")).ID)
	}
	before := room(t, db)
	for generation := int64(1); generation <= rotations; generation++ {
		for _, id := range ids {
			err := s.RotateFamily(t.Context(), storage.Rotation{
				FamilyID: id, Presented: generation, Request: []byte("01234567890123456789012345678901"),
				Now: storagetest.Now.Add(time.Duration(generation) * time.Minute),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return cmp.Diff(before, room(t, db))
}

// taken is what a table takes up.
type taken struct {
	Table, Indexes int64  // bytes
	Pages          string // on which page of the table each row lies
}

func room(t *testing.T, db *pgxpool.Pool) taken {
	t.Helper()
	const sql = `
SELECT pg_relation_size('families'), pg_indexes_size('families'),
	(SELECT string_agg((ctid::text::point)[0]::text, ' ' ORDER BY id) FROM families)`
	if _, err := db.Exec(t.Context(), `VACUUM families`); err != nil {
		t.Fatal(err)
	}
	var out taken
	if err := db.QueryRow(t.Context(), sql).Scan(&out.Table, &out.Indexes, &out.Pages); err != nil {
		t.Fatal(err)
	}
	return out
}

// What an account page shows of the audit log is found by its index: with the
// planner told to avoid scans, none is left in the plan.
func TestUserAuditEventsUsesItsIndex(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	var planned statements
	s, db := open(t, databaseURL, postgres.WithTracer(&planned)), database(t, databaseURL)
	if _, err := s.UserAuditEvents(t.Context(), "usr_x", "", 10); err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), "SET LOCAL enable_seqscan = off"); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(t.Context(), "EXPLAIN "+planned.last(), "usr_x", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "audit_events_of_user") || !strings.Contains(text, "Index Cond: (COALESCE(") {
		t.Errorf("the plan:\n%s", text)
	}
}

// statements remembers what was sent.
type statements struct {
	mu   sync.Mutex
	sent []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, data.SQL)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[len(s.sent)-1]
}
