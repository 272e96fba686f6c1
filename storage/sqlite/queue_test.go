package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"grantd/migrations"
	"grantd/storage"
	"grantd/storage/sqlite"
	"grantd/storage/storagetest"
)

// While the database is stuck, as many calls wait as may; those beyond are refused
// at once, the heartbeat is not, and what has waited is done.
func TestTooManyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grantd.db")
	if err := migrations.Up(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	stuck := make(chan struct{})
	s, err := sqlite.Open(t.Context(), path, sqlite.WithObserver(func(_ context.Context, statement string) {
		if strings.HasPrefix(statement, "BEGIN") {
			<-stuck
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
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
	if _, _, err := s.Heartbeat(t.Context()); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
	close(stuck)
	for range storage.MaxWaiting {
		if err := <-results; err != nil {
			t.Errorf("it waited in vain: %v", err)
		}
	}
}
