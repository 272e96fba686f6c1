// Package sqlite keeps the storage contract in one SQLite file, for a single
// server: another one on the same file is refused.
//
// All writes go through one connection, one at a time, each as one transaction
// that is on disk when it returns (WAL, synchronous=FULL). SQLite has a single
// writer anyway; queueing for it here is fair, where several connections would
// wait for each other by sleeping. Reads have connections of their own, cannot
// write, and see every write that has returned.
//
// A statement of SQLite changes one table, and a write has few of them, so what
// follows from disabling a user, changing a password or removing a scope is in
// the schema, as triggers (migrations/sqlite).
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the database driver "sqlite"

	"grantd/internal/sqlitefile"
	"grantd/storage"
)

// busyTimeout is how long SQLite itself waits for another program that has the
// file locked, such as a backup.
const busyTimeout = 5 * time.Second

// Store is the contract on one file. It is safe for concurrent use.
type Store struct {
	writer  *pool
	readers *pool
	// turn holds one token: who has put it there may write.
	turn    chan struct{}
	queue   storage.Queue
	observe func(ctx context.Context, statement string)
	close   func() error
}

var _ storage.Store = (*Store)(nil)

// Option changes how Open opens a Store.
type Option func(*Store)

// WithObserver has observe called before each statement, BEGIN and COMMIT
// included, with the context that the caller gave to the Store's method. It is
// for tests that count.
func WithObserver(observe func(ctx context.Context, statement string)) Option {
	return func(s *Store) { s.observe = observe }
}

// Open opens the file at path, which must have been migrated (migrations.Up). It
// is made readable by its owner only if it is new. sqlitefile.ErrInUse: another
// server has it open. Close the Store to release it.
func Open(ctx context.Context, path string, options ...Option) (*Store, error) {
	path, err := sqlitefile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("open the SQLite file: %w", err)
	}
	unlock, err := sqlitefile.Lock(path)
	if err != nil {
		return nil, err
	}
	writer, err := open(path, 1, url.Values{"mode": {"rw"}, "_txlock": {"immediate"}})
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	readers, err := open(path, max(4, 2*runtime.GOMAXPROCS(0)), url.Values{"mode": {"ro"}, "_query_only": {"1"}})
	if err != nil {
		return nil, errors.Join(err, writer.close(), unlock())
	}
	s := &Store{
		writer:  writer,
		readers: readers,
		turn:    make(chan struct{}, 1),
		observe: func(context.Context, string) {},
	}
	// The writer goes last: closing it is what moves the WAL into the file.
	s.close = sync.OnceValue(func() error { return errors.Join(readers.close(), writer.close(), unlock()) })
	for _, option := range options {
		option(s)
	}
	if err := checkSchema(ctx, writer.db); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// Close implements storage.Store. A second call does nothing.
func (s *Store) Close() error { return s.close() }

// Pool implements storage.Store.
func (s *Store) Pool() storage.Pool {
	writer, readers := s.writer.db.Stats(), s.readers.db.Stats()
	calls, refused := s.queue.Load()
	return storage.Pool{
		Max: writer.MaxOpenConnections + readers.MaxOpenConnections, Open: writer.OpenConnections + readers.OpenConnections,
		InUse: writer.InUse + readers.InUse, Calls: calls, Waits: writer.WaitCount + readers.WaitCount, Refused: refused,
	}
}

const selectCatalogVersion = `SELECT version FROM catalog_version`

// Heartbeat implements storage.Store. It never counts as one too many: caches that
// nobody vouches for would make yet more work.
func (s *Store) Heartbeat(ctx context.Context) (version int64, databaseTime time.Time, err error) {
	err = s.readNow(ctx, selectCatalogVersion, nil, &version)
	if err != nil {
		return 0, time.Time{}, err
	}
	return version, time.Now().UTC(), nil
}

const bumpCatalogVersion = `UPDATE catalog_version SET version = version + 1`

// sweeps are the statements of Sweep. The order is that of the indexes; a family
// or session is idle only if it is at least that old.
var sweeps = []string{
	`DELETE FROM authorization_codes WHERE id IN (
		SELECT id FROM authorization_codes WHERE created_at <= @now - @code_retention
		ORDER BY created_at LIMIT @limit)`,
	`DELETE FROM pushed_requests WHERE id IN (
		SELECT id FROM pushed_requests WHERE expires_at <= @now - @pushed_request_grace
		ORDER BY expires_at LIMIT @limit)`,
	`DELETE FROM device_authorizations WHERE id IN (
		SELECT id FROM device_authorizations
		WHERE expires_at <= @now AND (state <> 'redeemed' OR expires_at <= @now - @device_retention)
		ORDER BY expires_at LIMIT @limit)`,
	`DELETE FROM families WHERE id IN (
		SELECT id FROM families WHERE expires_at <= @now
			OR (created_at <= @now - @family_idle AND rotated_at <= @now - @family_idle)
		LIMIT @limit)`,
	`DELETE FROM sessions WHERE id IN (
		SELECT id FROM sessions WHERE created_at <= @now - @session_lifetime
			OR (created_at <= @now - @session_idle AND last_seen_at <= @now - @session_idle)
		LIMIT @limit)`,
	`DELETE FROM user_links WHERE id IN (
		SELECT id FROM user_links WHERE expires_at <= @now
		ORDER BY expires_at LIMIT @limit)`,
	`DELETE FROM revoked_access_tokens WHERE jti IN (
		SELECT jti FROM revoked_access_tokens WHERE expires_at <= @now
		ORDER BY expires_at LIMIT @limit)`,
	`DELETE FROM idempotency_keys WHERE id IN (
		SELECT id FROM idempotency_keys WHERE expires_at <= @now
		ORDER BY expires_at LIMIT @limit)`,
}

// What is marked has no row to prove it any more once its last Grant is gone.
const markUsedClients = `UPDATE clients SET used_at = @now WHERE id IN (
	SELECT id FROM clients WHERE source = 'dynamic' AND (used_at IS NULL OR used_at <= @now - @client_mark)
		AND EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
	LIMIT @limit)`

// A client was not renewed before it was created, which is indexed.
const sweepClients = `DELETE FROM clients WHERE id IN (
	SELECT id FROM (
		SELECT id FROM clients WHERE source = 'dynamic' AND NOT disabled
			AND created_at <= @now - @unused AND coalesce(renewed_at, created_at) <= @now - @unused
			AND (used_at IS NULL OR used_at <= @now - @client_idle)
			AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
			AND NOT EXISTS (SELECT 1 FROM registration_requests r WHERE r.client_id = clients.client_id
				AND (r.state = 'pending' OR r.state = 'allowed' AND r.decided_at > @now - @request_lifetime))
			AND NOT EXISTS (SELECT 1 FROM policies, json_each(policies.clients) AS named WHERE named.value = clients.client_id)
		ORDER BY created_at LIMIT @limit)
	UNION ALL
	SELECT id FROM (
		SELECT id FROM clients WHERE source = 'metadata_document' AND document_fetched_at <= @now - @unused_document
			AND NOT disabled -- it stays, so that it stays disabled
			AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
		ORDER BY document_fetched_at LIMIT @limit))`

const sweepRequests = `DELETE FROM registration_requests WHERE id IN (
	SELECT id FROM registration_requests WHERE state = 'pending' AND created_at <= @now - @request_lifetime
		OR source = 'dynamic' AND NOT EXISTS (SELECT 1 FROM clients WHERE clients.client_id = registration_requests.client_id)
	LIMIT @limit)`

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, now time.Time, unusedClientLifetime time.Duration, limit int) (int, error) {
	var swept int64
	err := s.write(ctx, func(tx *tx) error {
		swept = 0
		args := []any{
			sql.Named("now", micros(now)),
			sql.Named("limit", limit),
			sql.Named("code_retention", storage.CodeRetention.Microseconds()),
			sql.Named("pushed_request_grace", storage.PushedRequestGrace.Microseconds()),
			sql.Named("device_retention", storage.DeviceRetention.Microseconds()),
			sql.Named("family_idle", storage.FamilyIdle.Microseconds()),
			sql.Named("session_lifetime", storage.SessionLifetime.Microseconds()),
			sql.Named("session_idle", storage.SessionIdle.Microseconds()),
			sql.Named("unused", unusedClientLifetime.Microseconds()),
			sql.Named("client_mark", storage.ClientMark.Microseconds()),
			sql.Named("client_idle", storage.ClientIdle.Microseconds()),
			sql.Named("unused_document", storage.UnusedDocument.Microseconds()),
			sql.Named("request_lifetime", storage.RequestLifetime.Microseconds()),
		}
		for _, statement := range sweeps {
			n, err := tx.exec(statement, args...)
			if err != nil {
				return err
			}
			swept += n
		}
		if _, err := tx.exec(markUsedClients, args...); err != nil {
			return err
		}
		clients, err := tx.exec(sweepClients, args...)
		if err != nil {
			return err
		}
		requests, err := tx.exec(sweepRequests, args...)
		if err != nil {
			return err
		}
		swept += clients + requests
		if clients > 0 {
			_, err = tx.exec(bumpCatalogVersion)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(swept), nil
}

// checkSchema tells a file that was not migrated from a broken one.
func checkSchema(ctx context.Context, db *sql.DB) error {
	var found int
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'catalog_version'`).Scan(&found)
	if err != nil {
		return fmt.Errorf("open the SQLite file: %w", err)
	}
	if found == 0 {
		return errors.New("the SQLite file has no schema yet: run the migrations first")
	}
	return nil
}

// open opens a pool of up to size connections, which stay open.
func open(path string, size int, parameters url.Values) (*pool, error) {
	parameters.Set("_busy_timeout", fmt.Sprint(busyTimeout.Milliseconds()))
	parameters.Set("_foreign_keys", "1")
	parameters.Set("_synchronous", "FULL")
	parameters.Set("_dqs", "0")
	if parameters.Get("mode") == "rw" {
		parameters.Set("_journal_mode", "WAL")
	}
	db, err := sql.Open("sqlite", sqlitefile.URI(path, parameters))
	if err != nil {
		return nil, fmt.Errorf("open the SQLite file: %w", err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &pool{db: db, statements: map[string]*sql.Stmt{}}, nil
}
