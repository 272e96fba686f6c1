package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"grantd/storage"
	"grantd/storage/span"
)

// The SQLSTATEs that mean something to grantd (PostgreSQL, appendix A).
const (
	foreignKeyViolation  = "23503"
	uniqueViolation      = "23505"
	invalidCharacter     = "22021" // text that no row can hold: a zero byte, or not UTF-8
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	featureNotSupported  = "0A000" // also: a prepared statement's result changed by a migration
)

// attempts is how often a statement is tried in all when Postgres ends it for
// the sake of another.
const attempts = 4

// mapError turns what pgx reports into one of storage's sentinels. Everything
// that is not known to be an answer is an outage; its cause stays in the chain.
func mapError(doing string, err error) error {
	for _, sentinel := range []error{storage.ErrNotFound, storage.ErrExists, storage.ErrConflict, storage.ErrConsumed, storage.ErrFull} {
		if errors.Is(err, sentinel) {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", doing, storage.ErrNotFound)
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return fmt.Errorf("%s: %w: %w", doing, storage.ErrUnavailable, err)
	}
	switch {
	case pgErr.Code == uniqueViolation && singleUse(pgErr.ConstraintName):
		return fmt.Errorf("%s: %w", doing, storage.ErrConsumed)
	case pgErr.Code == uniqueViolation:
		return fmt.Errorf("%s: %w", doing, storage.ErrExists)
	case pgErr.Code == foreignKeyViolation, pgErr.Code == invalidCharacter:
		return fmt.Errorf("%s: %w", doing, storage.ErrNotFound)
	}
	return fmt.Errorf("%s: %w: %w", doing, storage.ErrUnavailable, &quiet{pgErr})
}

// singleUse reports whether a constraint guards an id that is used once: a code's,
// that of the family a code becomes, a client assertion's, or who a person is at a
// provider.
func singleUse(constraint string) bool {
	return constraint == "authorization_codes_pkey" || constraint == "families_pkey" || constraint == "used_client_assertions_pkey" ||
		constraint == "user_identities_pkey"
}

// quiet is a PgError without its message where that repeats a value.
type quiet struct{ err *pgconn.PgError }

func (q *quiet) Error() string {
	if strings.HasPrefix(q.err.Code, "22") || strings.HasPrefix(q.err.Code, "23") {
		return "SQLSTATE " + q.err.Code
	}
	return q.err.Error()
}

func (q *quiet) Unwrap() error { return q.err }

// retry is insist for those who may be told to come back when too many wait.
func (s *Store) retry(ctx context.Context, doing string, act func(context.Context) error) (err error) {
	ctx, end := span.Start(ctx, "postgresql", doing)
	defer func() { end(err) }()
	if err := s.queue.Enter(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer s.queue.Leave()
	return insist(ctx, doing, act)
}

// insist runs act, within callTimeout, until it succeeds, fails for good, or has
// been tried often enough, and maps its error. act must be atomic.
func insist(ctx context.Context, doing string, act func(context.Context) error) error {
	// A request ends no later, and needs no second timer.
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > callTimeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	for attempt := 1; ; attempt++ {
		err := act(ctx)
		if err == nil {
			return nil
		}
		if attempt == attempts || !nothingHappened(err) {
			return mapError(doing, err)
		}
		// Those that met once should not meet again in the same instant.
		pause := time.NewTimer(rand.N(time.Duration(attempt) * 20 * time.Millisecond)) //nolint:gosec // jitter
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return mapError(doing, errors.Join(err, ctx.Err()))
		}
	}
}

// nothingHappened reports whether trying again is safe and may help.
func nothingHappened(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch pgErr.Code {
		case serializationFailure, deadlockDetected, featureNotSupported:
			return true
		}
		return false
	}
	// Nothing was sent, for instance on a connection that the server had closed.
	return pgconn.SafeToRetry(err)
}
