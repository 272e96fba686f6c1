package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"grantd/internal/pgtest"
	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/storagetest"
)

// While the database is away every call says so, and nothing else; afterwards the
// same Store works, without a restart.
func TestOutage(t *testing.T) {
	server := pgtest.Start(t)
	s := open(t, server.URL())
	f := storagetest.NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	waiting := f.Approve(t, "files:read")

	server.Stop()
	event := storagetest.Event
	for name, call := range map[string]func() error{
		"ClientByClientID": func() error { _, err := s.ClientByClientID(t.Context(), f.Client.ClientID); return err },
		"ClientByClientID of nobody": func() error {
			_, err := s.ClientByClientID(t.Context(), "nobody")
			return err
		},
		"SignIn": func() error {
			_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, storagetest.Now)
			return err
		},
		"Approve":    func() error { return s.Approve(t.Context(), f.NewApproval("files:read"), event("grant.approved", "")) },
		"Code":       func() error { _, _, err := s.Code(t.Context(), waiting.ID); return err },
		"RedeemCode": func() error { return s.RedeemCode(t.Context(), waiting.ID, storagetest.NewFamily(waiting)) },
		"Family":     func() error { _, _, err := s.Family(t.Context(), family.ID); return err },
		"RotateFamily": func() error {
			return s.RotateFamily(t.Context(), storage.Rotation{FamilyID: family.ID, Presented: 1, Now: storagetest.Now})
		},
		"EndFamily": func() error { return s.EndFamily(t.Context(), family.ID, event("family.ended", "")) },
		"AccessTokenLive": func() error {
			_, _, err := s.AccessTokenLive(t.Context(), "tok_a", family.ID, storagetest.Now)
			return err
		},
		"UpdateUser": func() error { return s.UpdateUser(t.Context(), f.User, event("user.updated", "")) },
		"Heartbeat":  func() error { _, _, err := s.Heartbeat(t.Context()); return err },
		"Sweep":      func() error { _, err := s.Sweep(t.Context(), storagetest.Now, time.Hour, 1); return err },
		"Open": func() error {
			s, err := postgres.Open(t.Context(), server.URL())
			if err == nil {
				err = s.Close()
			}
			return err
		},
	} {
		wantOutage(t, name, call())
	}

	server.Start()
	awaitAnswer(t, s)
	f.Redeem(t, waiting)
	if err := s.EndFamily(t.Context(), family.ID, event("family.ended", "")); err != nil {
		t.Errorf("EndFamily after the outage: %v", err)
	}
}

// A database that stands still is an outage too, and so is a caller who gives up:
// both stay recognisable.
func TestGivingUp(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL), database(t, databaseURL)
	f := storagetest.NewFixture(t, s)
	tx := hold(t, db, `SELECT 1 FROM authorization_codes WHERE id = $1 FOR UPDATE`, f.Code.ID)

	ctx, cancel := context.WithCancel(t.Context())
	redeemed := start(func() error { return s.RedeemCode(ctx, f.Code.ID, storagetest.NewFamily(f.Code)) })
	awaitBlocked(t, db, 1)
	cancel()
	err := <-redeemed
	wantOutage(t, "a cancelled call", err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v, want context.Canceled in it", err)
	}

	awaitNoneBlocked(t, db)
	overdue := &late{Context: t.Context(), done: make(chan struct{})}
	failed := start(func() error { return s.FailCode(overdue, f.Code.ID) })
	awaitBlocked(t, db, 1)
	close(overdue.done)
	err = <-failed
	wantOutage(t, "a call out of time", err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call out of time: %v, want context.DeadlineExceeded in it", err)
	}

	// Nor do their statements stay behind and happen later.
	awaitNoneBlocked(t, db)
	release(t, tx)
	code, _, err := s.Code(t.Context(), f.Code.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !code.RedeemedAt.IsZero() || code.FailedProofs != 0 {
		t.Error("a call that was given up has changed the code")
	}
}

// late is a context whose deadline comes when done is closed: never before its call
// has got where the test wants it.
type late struct {
	context.Context

	done chan struct{}
}

func (l *late) Done() <-chan struct{} { return l.done }

func (l *late) Err() error {
	select {
	case <-l.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A schema that is not there is nobody's fault who asks.
func TestNoSchema(t *testing.T) {
	s := open(t, pgtest.URL(t))
	_, err := s.ClientByClientID(t.Context(), "cl_any")
	wantOutage(t, "a read", err)
	wantOutage(t, "a write", s.FailCode(t.Context(), "cod_any"))
}

func wantOutage(t *testing.T, name string, err error) {
	t.Helper()
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("%s: %v, want ErrUnavailable", name, err)
	}
	for _, sentinel := range []error{storage.ErrNotFound, storage.ErrExists, storage.ErrConflict, storage.ErrConsumed, storage.ErrFull} {
		if errors.Is(err, sentinel) {
			t.Errorf("%s: %v is an answer and an outage at once", name, err)
		}
	}
}

// awaitAnswer calls until no connection of the pool is one from before.
func awaitAnswer(t *testing.T, s storage.Store) {
	t.Helper()
	var err error
	for range 100 {
		if _, _, err = s.Heartbeat(t.Context()); err == nil {
			return
		}
	}
	t.Fatalf("the database is back and the Store does not see it: %v", err)
}
