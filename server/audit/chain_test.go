package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"grantd/server/audit"
	"grantd/server/keys"
	"grantd/server/servertest"
	"grantd/storage"
	"grantd/storage/storagetest"
)

func newChain(t testing.TB, store audit.Store, now func() time.Time) *audit.Chain {
	t.Helper()
	root, err := keys.NewRoot(servertest.RootKey)
	if err != nil {
		t.Fatal(err)
	}
	return &audit.Chain{Store: store, Root: root, Now: now}
}

func at(moment time.Time) func() time.Time { return func() time.Time { return moment } }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantWhole verifies all of the chain, which must be whole and have so many events.
func wantWhole(t testing.TB, c *audit.Chain, events int) {
	t.Helper()
	found, after := 0, int64(0)
	for {
		r, err := c.Verify(t.Context(), after, nil)
		must(t, err)
		if len(r.Faults) > 0 {
			t.Fatalf("the chain has the faults %+v", r.Faults)
		}
		if found += r.Events; r.Next == 0 {
			if found != events || r.Unsealed != 0 {
				t.Errorf("%d events are sealed and %d not, want %d", found, r.Unsealed, events)
			}
			return
		}
		after = r.Next
	}
}

// Two sealers on one database, while acts commit: each event is sealed once, and the
// chain is whole at every moment.
func TestTwoSealers(t *testing.T) {
	test := func(t *testing.T, stores ...storage.Store) {
		const writers, each = 6, 25
		ctx := t.Context()
		var writing, sealing sync.WaitGroup
		done := make(chan struct{})
		for i := range 4 {
			c := newChain(t, stores[i%len(stores)], at(storagetest.Now))
			sealing.Go(func() {
				for {
					if err := c.Seal(ctx); err != nil {
						t.Error(err)
						return
					}
					if r, err := c.Verify(ctx, 0, nil); err != nil || len(r.Faults) > 0 {
						t.Errorf("while it is sealed: %v, %+v", err, r)
						return
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		for i := range writers {
			writing.Go(func() {
				for n := range each {
					if err := stores[0].RecordAuditEvent(ctx, storagetest.Event("test.raced", fmt.Sprint(i, n)).With("n", fmt.Sprint(n))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		close(done)
		sealing.Wait()
		c := newChain(t, stores[0], at(storagetest.Now))
		must(t, c.Seal(ctx))
		wantWhole(t, c, writers*each)
	}
	t.Run("sqlite", func(t *testing.T) { test(t, servertest.SQLite(t)) })
	t.Run("postgres, two replicas", func(t *testing.T) {
		url := servertest.MigratedPostgres(t)
		test(t, servertest.OpenPostgres(t, url), servertest.OpenPostgres(t, url))
	})
}

// An act that commits after others with higher ids were sealed is in a later seal.
func TestLateCommit(t *testing.T) {
	url := servertest.MigratedPostgres(t)
	store := servertest.OpenPostgres(t, url)
	c := newChain(t, store, at(storagetest.Now))
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	late := storagetest.Event("test.late", "")
	tx, err := conn.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `INSERT INTO audit_events (id, at, actor, action, target, detail) VALUES ($1, $2, 'a', 'b', 'c', '{}')`, late.ID, late.At)
	must(t, err)
	must(t, store.RecordAuditEvent(t.Context(), storagetest.Event("test.early", "")))
	must(t, c.Seal(t.Context()))
	must(t, tx.Commit(t.Context()))
	must(t, c.Seal(t.Context()))
	wantWhole(t, c, 2)
	events, err := store.SealedAuditEvents(t.Context(), 0, 0, 10)
	must(t, err)
	if len(events) != 2 || events[1].ID != late.ID || events[1].Seal.Number != 2 {
		t.Errorf("in the chain are %+v", events)
	}
}

// A clock that is set back does not let a later seal look older.
func TestClockSetBack(t *testing.T) {
	store := servertest.SQLite(t)
	for _, moment := range []time.Time{storagetest.Now, storagetest.Now.Add(-5 * time.Minute)} {
		must(t, store.RecordAuditEvent(t.Context(), storagetest.Event("test.recorded", "")))
		must(t, newChain(t, store, at(moment)).Seal(t.Context()))
	}
	last, err := store.LastAuditSeal(t.Context())
	must(t, err)
	if !last.SealedAt.Equal(storagetest.Now) {
		t.Errorf("the last seal is of %v", last.SealedAt)
	}
	wantWhole(t, newChain(t, store, at(storagetest.Now)), 2)
}

// More events than one seal takes, and more than one part of a verification.
func TestManyEvents(t *testing.T) {
	path := t.TempDir() + "/grantd.db"
	store := servertest.SQLiteFile(t, path)
	const many = 6100
	c := newChain(t, store, at(storagetest.Now))
	db, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=5000")
	must(t, err)
	_, err = db.ExecContext(t.Context(), `WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO audit_events (id, at, actor, action, target, detail) SELECT format('evt_%05d', i), i, 'a', 'b', 'c', '{"n":"1"}' FROM n`, many)
	must(t, errors.Join(err, db.Close()))
	must(t, c.Seal(t.Context()))
	first, err := c.Verify(t.Context(), 0, nil)
	must(t, err)
	if first.Next == 0 || first.Events >= many {
		t.Errorf("the first part has %d events of %d", first.Events, many)
	}
	wantWhole(t, c, many)
}

func TestHead(t *testing.T) {
	for _, text := range []string{"", "1", "1.", "0.AAAA", "-1.AAAA", "1.AAAA", "x.q8Zb1m0JxkY3v7Qd5nT2uRw9sHf4gLcE6aPiVoXtKzM", "1.q8Zb1m0JxkY3v7Qd5nT2uRw9sHf4gLcE6aPiVoXtKzM="} {
		if _, err := audit.ParseHead(text); !errors.Is(err, audit.ErrHead) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"0.", "12.q8Zb1m0JxkY3v7Qd5nT2uRw9sHf4gLcE6aPiVoXtKzM"} {
		if head, err := audit.ParseHead(text); err != nil || head.String() != text {
			t.Errorf("%q is read as %v, %v", text, head, err)
		}
	}
}

// A running sealer seals, and once more when it is stopped.
func TestRun(t *testing.T) {
	store := servertest.SQLite(t)
	c := newChain(t, store, at(storagetest.Now))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx, time.Millisecond) })
	must(t, store.RecordAuditEvent(t.Context(), storagetest.Event("test.recorded", "")))
	for unsealed := 1; unsealed > 0; {
		var err error
		unsealed, err = store.CountUnsealedAuditEvents(t.Context())
		must(t, err)
	}
	stop()
	running.Wait()
	must(t, store.RecordAuditEvent(t.Context(), storagetest.Event("test.recorded", "")))
	c.Run(ctx, time.Hour) // stopped already
	wantWhole(t, c, 2)
}
