package postgres_test

import (
	"context"
	"errors"
	"testing"

	"grantd/internal/pgtest"
	"grantd/storage"
	"grantd/storage/storagetest"
)

// While the database is stuck, as many calls wait as may; those beyond are refused
// at once, and what has waited is done.
func TestTooManyWaiting(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL), database(t, databaseURL)
	stuck := hold(t, db, `UPDATE catalog_version SET version = version`)
	if _, err := stuck.Exec(t.Context(), `LOCK TABLE audit_events`); err != nil {
		t.Fatal(err)
	}
	const beyond = 50
	results := make(chan error)
	for range storage.MaxWaiting + beyond {
		go func() {
			results <- s.RecordAuditEvent(context.Background(), storagetest.Event("test.waited", ""))
		}()
	}
	for range beyond {
		if err := <-results; !errors.Is(err, storage.ErrBusy) || !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("beyond the limit: %v", err)
		}
	}
	release(t, stuck)
	for range storage.MaxWaiting {
		if err := <-results; err != nil {
			t.Errorf("it waited in vain: %v", err)
		}
	}
	if _, _, err := s.Heartbeat(t.Context()); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
}
