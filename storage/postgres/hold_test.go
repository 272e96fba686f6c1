package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"grantd/storage"
)

// holdEvent makes whoever writes this event wait.
func holdEvent(t *testing.T, db *pgxpool.Pool, event storage.AuditEvent) pgx.Tx {
	t.Helper()
	const sql = `INSERT INTO audit_events (id, at, actor, action, target, detail) VALUES ($1, $2, '', '', '', '{}')`
	return hold(t, db, sql, event.ID, event.At)
}

// holdFamily makes whoever makes this family of the grant wait.
func holdFamily(t *testing.T, db *pgxpool.Pool, familyID, grantID string) pgx.Tx {
	t.Helper()
	const sql = `
INSERT INTO families
SELECT $1, id, '', '', '', '{}', 1, '', created_at, created_at, created_at FROM grants WHERE id = $2`
	return hold(t, db, sql, familyID, grantID)
}

// hold runs a statement in a transaction that stays open.
func hold(t *testing.T, db *pgxpool.Pool, sql string, args ...any) pgx.Tx {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tag, err := tx.Exec(t.Context(), sql, args...)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%d rows held, %v", tag.RowsAffected(), err)
	}
	// Rolling back what is over already does nothing.
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

func release(t *testing.T, held pgx.Tx) {
	t.Helper()
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func start(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

// awaitBlocked returns once n statements on the database wait for a lock.
func awaitBlocked(t *testing.T, db querier, n int) {
	t.Helper()
	if err := awaitBlockedOr(t, db, n, nil); !errors.Is(err, errBlocked) {
		t.Fatal(err)
	}
}

// awaitNoneBlocked returns once no statement on the database waits for a lock.
func awaitNoneBlocked(t *testing.T, db querier) {
	t.Helper()
	for deadline := time.Now().Add(patience); countBlocked(t, db) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("statements still wait")
		}
	}
}

func countBlocked(t *testing.T, db querier) int {
	t.Helper()
	const sql = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	var blocked int
	if err := db.QueryRow(t.Context(), sql).Scan(&blocked); err != nil {
		t.Fatal(err)
	}
	return blocked
}

// patience is how long a test waits for something before it fails; less than a
// call of the Store lasts at most.
const patience = 8 * time.Second

var errBlocked = errors.New("it waits")

// awaitBlockedOr is awaitBlocked unless the call is done before: some need not
// wait, because what ends has not come to what they lock. It returns errBlocked
// or the call's error.
func awaitBlockedOr(t *testing.T, db querier, n int, done <-chan error) error {
	t.Helper()
	deadline := time.After(patience)
	for {
		blocked := countBlocked(t, db)
		if blocked >= n {
			return errBlocked
		}
		select {
		case err := <-done:
			return err
		case <-deadline:
			t.Fatalf("%d statements wait, want %d: one does not see the other", blocked, n)
		case <-time.After(time.Millisecond):
		}
	}
}
