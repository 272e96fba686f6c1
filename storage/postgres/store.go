// Package postgres keeps grantd's rows in PostgreSQL, with pgx and SQL written
// by hand. It proves the contract of package storage with storage/storagetest.
//
// What the SQL relies on, in every file:
//
//   - Isolation is READ COMMITTED. A statement sees one snapshot, but a row it
//     locks or updates is read again as it is now, and no longer counts when it
//     no longer fits the condition. Whatever must not race is therefore a
//     condition on a row that the same statement locks or updates.
//   - What a request does (sign in, approve, redeem, refresh, revoke) is one
//     statement without BEGIN and COMMIT: a round trip, a commit.
//   - A statement that creates a child locks the parents it checked, and an end
//     (disable, delete) locks the parent first and then removes children with
//     fresh snapshots. So one of the two always sees the other.
//   - Locks are taken in one order: providers, users, user_identities, user_links, clients,
//     resources, scopes, sessions, grants, authorization_codes, device_authorizations, families,
//     registration_policy and _requests, policies, catalog_version. A pending device
//     authorization has no Grant, so it is locked before the one that it gets.
//     Where rows of one
//     table are locked in no order, Postgres may end one of two statements; it
//     is then run again.
//
// No statement needs a session of its own, so a pooler in transaction mode may
// stand between, with default_query_exec_mode=exec in the URL.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"grantd/storage"
)

const (
	// defaultMaxConns is the size of the pool unless the URL has pool_max_conns:
	// more connections made a single server no faster.
	defaultMaxConns = 16
	// defaultConnectTimeout holds unless the URL has connect_timeout.
	defaultConnectTimeout = 5 * time.Second
	// statementCache is how many prepared statements a connection keeps: there is no
	// more SQL than that in this package, and little of it is asked often.
	statementCache = 256
	// callTimeout bounds every call, so that a database which accepts statements
	// and never answers is an outage and not a standstill.
	callTimeout = 10 * time.Second
)

// preferIndexes is said once on each connection (docs/adr/0037). A startup parameter
// would be refused by poolers; this one may forget it, and only speed is lost.
const preferIndexes = `SET random_page_cost = 1.1`

// Store is a storage.Store on PostgreSQL. It is safe for concurrent use, also by
// several processes on one database.
type Store struct {
	pool  *pgxpool.Pool
	queue storage.Queue
}

var _ storage.Store = (*Store)(nil)

// Option changes how Open connects.
type Option func(*pgxpool.Config)

// WithTracer has the tracer told of every statement, BEGIN and COMMIT included.
func WithTracer(tracer pgx.QueryTracer) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer }
}

// Open connects to the database at databaseURL (postgres://...; pgx's pool_
// parameters are understood), which must have been migrated. It fails with
// storage.ErrUnavailable when the database does not answer.
func Open(ctx context.Context, databaseURL string, options ...Option) (*Store, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		// The cause may repeat the URL, and with it the password.
		return nil, errors.New("open Postgres: the database URL cannot be parsed")
	}
	if !names(databaseURL, "pool_max_conns") {
		config.MaxConns = defaultMaxConns
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = defaultConnectTimeout
	}
	// pgx makes room for 512 statements per connection, and once more for a way of
	// asking that is off unless the URL asks for it.
	if !names(databaseURL, "statement_cache_capacity") {
		config.ConnConfig.StatementCacheCapacity = statementCache
	}
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		config.ConnConfig.DescriptionCacheCapacity = 0
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		conn.TypeMap().RegisterType(&pgtype.Type{
			Name: "timestamptz", OID: pgtype.TimestamptzOID,
			Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
		})
		_, err := conn.Exec(ctx, preferIndexes)
		return err
	}
	for _, option := range options {
		option(config)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, mapError("open Postgres", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, mapError("open Postgres", err)
	}
	return &Store{pool: pool}, nil
}

// Close waits for running calls and closes the connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// Pool implements storage.Store.
func (s *Store) Pool() storage.Pool {
	at := s.pool.Stat()
	calls, refused := s.queue.Load()
	return storage.Pool{
		Max: int(at.MaxConns()), Open: int(at.TotalConns()), InUse: int(at.AcquiredConns()),
		Calls: calls, Waits: at.EmptyAcquireCount(), Refused: refused,
	}
}

// Heartbeat implements storage.Store. However many wait, it waits with them: caches
// that nobody vouches for would make yet more work.
func (s *Store) Heartbeat(ctx context.Context) (int64, time.Time, error) {
	const sql = `SELECT version, clock_timestamp() FROM catalog_version`
	var (
		version int64
		at      time.Time
	)
	err := insist(ctx, "read the catalog version", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sql).Scan(&version, &at)
	})
	return version, at, err
}

// The sweeps skip rows that another replica holds: it is sweeping too, or the row
// is in use.
const (
	sweepCodes = `
WITH doomed AS (
	SELECT id FROM authorization_codes
	WHERE created_at <= $1
	ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM authorization_codes USING doomed WHERE authorization_codes.id = doomed.id`

	sweepPushedRequests = `
WITH doomed AS (
	SELECT id FROM pushed_requests
	WHERE expires_at <= $1
	ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM pushed_requests USING doomed WHERE pushed_requests.id = doomed.id`

	sweepDevices = `
WITH doomed AS (
	SELECT id FROM device_authorizations
	WHERE expires_at <= $1 AND (state <> 'redeemed' OR expires_at <= $2)
	ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
DELETE FROM device_authorizations USING doomed WHERE device_authorizations.id = doomed.id`

	// An idle family was created at least that long ago, which is indexed.
	sweepFamilies = `
WITH doomed AS (
	SELECT id FROM families
	WHERE expires_at <= $1 OR (created_at <= $2 AND rotated_at <= $2)
	LIMIT $3 FOR UPDATE SKIP LOCKED
)
DELETE FROM families USING doomed WHERE families.id = doomed.id`

	sweepSessions = `
WITH doomed AS (
	SELECT id FROM sessions
	WHERE created_at <= $1 OR (created_at <= $2 AND last_seen_at <= $2)
	LIMIT $3 FOR UPDATE SKIP LOCKED
)
DELETE FROM sessions USING doomed WHERE sessions.id = doomed.id`

	sweepUserLinks = `
WITH doomed AS (
	SELECT id FROM user_links
	WHERE expires_at <= $1
	ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM user_links USING doomed WHERE user_links.id = doomed.id`

	sweepRevokedAccessTokens = `
WITH doomed AS (
	SELECT jti FROM revoked_access_tokens
	WHERE expires_at <= $1
	ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM revoked_access_tokens USING doomed WHERE revoked_access_tokens.jti = doomed.jti`

	sweepIdempotencyKeys = `
WITH doomed AS (
	SELECT id FROM idempotency_keys
	WHERE expires_at <= $1
	ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM idempotency_keys USING doomed WHERE idempotency_keys.id = doomed.id`

	// What is marked has no row to prove it any more once its last Grant is gone.
	markUsedClients = `
WITH used AS (
	SELECT id FROM clients
	WHERE source = 'dynamic' AND (used_at IS NULL OR used_at <= $2)
		AND EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
	LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE clients SET used_at = $1 FROM used WHERE clients.id = used.id`

	// A client was not renewed before it was created, which is indexed.
	lockUnusedClients = `
SELECT id FROM clients
WHERE source = 'dynamic' AND NOT disabled AND created_at <= $2 AND COALESCE(renewed_at, created_at) <= $2
	AND (used_at IS NULL OR used_at <= $3)
	AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
	AND NOT EXISTS (SELECT 1 FROM registration_requests r WHERE r.client_id = clients.client_id
		AND (r.state = 'pending' OR r.state = 'allowed' AND r.decided_at > $4))
	AND NOT EXISTS (SELECT 1 FROM policies WHERE clients.client_id = ANY (policies.clients))
ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED`

	// A disabled one stays, so that it stays disabled.
	lockUnusedDocumentClients = `
SELECT id FROM clients
WHERE source = 'metadata_document' AND NOT disabled AND document_fetched_at <= $2
	AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
ORDER BY document_fetched_at LIMIT $1 FOR UPDATE SKIP LOCKED`

	deleteUnusedClients = `
DELETE FROM clients
WHERE id = ANY($1) AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
	AND (source <> 'dynamic' OR NOT EXISTS (SELECT 1 FROM policies WHERE clients.client_id = ANY (policies.clients)))`

	sweepRequests = `
WITH doomed AS (
	SELECT id FROM registration_requests
	WHERE state = 'pending' AND created_at <= $1
		OR source = 'dynamic' AND NOT EXISTS (SELECT 1 FROM clients WHERE clients.client_id = registration_requests.client_id)
	LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM registration_requests USING doomed WHERE registration_requests.id = doomed.id`
)

// Sweep implements storage.Store. Each kind is a transaction of its own.
func (s *Store) Sweep(ctx context.Context, now time.Time, unusedClientLifetime time.Duration, limit int) (int, error) {
	sweeps := []struct {
		doing, sql string
		args       []any
	}{
		{"sweep codes", sweepCodes, []any{now.Add(-storage.CodeRetention), limit}},
		{"sweep pushed requests", sweepPushedRequests, []any{now.Add(-storage.PushedRequestGrace), limit}},
		{"sweep device authorizations", sweepDevices, []any{now, now.Add(-storage.DeviceRetention), limit}},
		{"sweep families", sweepFamilies, []any{now, now.Add(-storage.FamilyIdle), limit}},
		{"sweep sessions", sweepSessions, []any{now.Add(-storage.SessionLifetime), now.Add(-storage.SessionIdle), limit}},
		{"sweep user links", sweepUserLinks, []any{now, limit}},
		{"sweep revoked access tokens", sweepRevokedAccessTokens, []any{now, limit}},
		{"sweep idempotency keys", sweepIdempotencyKeys, []any{now, limit}},
	}
	total := 0
	for _, sweep := range sweeps {
		n, err := s.exec(ctx, sweep.doing, sweep.sql, sweep.args...)
		total += n
		if err != nil {
			return total, err
		}
	}
	if _, err := s.exec(ctx, "mark clients in use", markUsedClients, now, now.Add(-storage.ClientMark), limit); err != nil {
		return total, err
	}
	n, err := s.sweepClients(ctx, lockUnusedClients, limit, now.Add(-unusedClientLifetime), now.Add(-storage.ClientIdle), now.Add(-storage.RequestLifetime))
	if total += n; err != nil {
		return total, err
	}
	n, err = s.sweepClients(ctx, lockUnusedDocumentClients, limit, now.Add(-storage.UnusedDocument))
	if total += n; err != nil {
		return total, err
	}
	n, err = s.exec(ctx, "sweep registration requests", sweepRequests, now.Add(-storage.RequestLifetime), limit)
	return total + n, err
}

// sweepClients looks at the Grants and policies twice: one that was committed between the
// first look and the lock is seen by the second, and none can come after it.
func (s *Store) sweepClients(ctx context.Context, lockUnused string, limit int, before ...any) (int, error) {
	deleted := 0
	err := s.tx(ctx, "sweep clients", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, lockUnused, append([]any{limit}, before...)...)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			deleted = 0
			return nil
		}
		tag, err := tx.Exec(ctx, deleteUnusedClients, ids)
		if err != nil {
			return err
		}
		if deleted = int(tag.RowsAffected()); deleted == 0 {
			return nil
		}
		_, err = tx.Exec(ctx, moveCatalog)
		return err
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}

// moveCatalog tells every replica's caches that something changed. It is the last
// lock of its transaction, since all changes of the catalog meet in this row.
const moveCatalog = `UPDATE catalog_version SET version = version + 1`

// catalogChanged ends a transaction that changed a Client or a Resource.
func catalogChanged(ctx context.Context, tx pgx.Tx, event storage.AuditEvent) error {
	const sql = `WITH moved AS (` + moveCatalog + ` RETURNING version) ` + recordEvent + `moved`
	_, err := tx.Exec(ctx, sql, withEvent(event)...)
	return err
}

// deleteFromCatalog deletes a row that is cached, with a statement that returns the
// URI of a Resource and the client_id of a Client, both empty for anything else, and
// the row's version, 0 where it has none. Foreign keys delete what hangs on it, and
// policies name it no more, before the catalog moves. ErrNotFound; ErrConflict when
// version is neither storage.AnyVersion nor the row's.
func (s *Store) deleteFromCatalog(ctx context.Context, doing, sql, id string, version int64, event storage.AuditEvent) error {
	return s.tx(ctx, doing, func(ctx context.Context, tx pgx.Tx) error {
		var (
			resource, client string
			deleted          int64
		)
		if err := tx.QueryRow(ctx, sql, id).Scan(&resource, &client, &deleted); err != nil {
			return err
		}
		if version != storage.AnyVersion && version != deleted {
			return storage.ErrConflict
		}
		if err := unname(ctx, tx, resource, client, event); err != nil {
			return err
		}
		return catalogChanged(ctx, tx, event)
	})
}

// lockVersion runs a statement that locks one row and returns its version.
// ErrNotFound; ErrConflict when it is not the version expected, if one is.
func lockVersion(ctx context.Context, tx pgx.Tx, sql, id string, expected int64) error {
	var version int64
	if err := tx.QueryRow(ctx, sql, id).Scan(&version); err != nil {
		return err
	}
	if expected != storage.AnyVersion && version != expected {
		return storage.ErrConflict
	}
	return nil
}

func names(databaseURL, parameter string) bool {
	u, err := url.Parse(databaseURL)
	return err == nil && u.Query().Has(parameter)
}

// exec runs one statement and returns how many rows it changed or, if it is a
// query, returned.
func (s *Store) exec(ctx context.Context, doing, sql string, args ...any) (int, error) {
	var n int64
	err := s.retry(ctx, doing, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, sql, args...)
		n = tag.RowsAffected()
		return err
	})
	return int(n), err
}

// act is exec for a statement that does one thing or nothing: then it fails with
// the sentinel.
func (s *Store) act(ctx context.Context, doing string, sentinel error, sql string, args ...any) error {
	n, err := s.exec(ctx, doing, sql, args...)
	if err == nil && n == 0 {
		return fmt.Errorf("%s: %w", doing, sentinel)
	}
	return err
}

// row runs one statement and scans its only row. ErrNotFound: it has none.
func (s *Store) row(ctx context.Context, doing, sql string, args []any, into ...any) error {
	return s.retry(ctx, doing, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sql, args...).Scan(into...)
	})
}

// rows runs one statement and reads all its rows with scan.
func rows[T any](ctx context.Context, s *Store, doing string, scan func(pgx.Rows) ([]T, error), sql string, args ...any) ([]T, error) {
	var out []T
	err := s.retry(ctx, doing, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		if out, err = scan(rows); err != nil {
			return err
		}
		return rows.Err()
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return out, nil
}

// only is the one row of a result that has at most one. ErrNotFound.
func only[T any](rows []T, err error) (T, error) {
	if err == nil && len(rows) == 0 {
		err = storage.ErrNotFound
	}
	if err != nil {
		return *new(T), err
	}
	return rows[0], nil
}

// tx runs act in a transaction, perhaps more than once.
func (s *Store) tx(ctx context.Context, doing string, act func(context.Context, pgx.Tx) error) error {
	// A database may have another default, under which later statements of the
	// transaction would not see what was committed while it waited for a lock.
	options := pgx.TxOptions{IsoLevel: pgx.ReadCommitted}
	return s.retry(ctx, doing, func(ctx context.Context) error {
		return pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error { return act(ctx, tx) })
	})
}

// each makes a scan for rows out of one that reads a single row.
func each[T any](scan func(pgx.CollectableRow) (T, error)) func(pgx.Rows) ([]T, error) {
	return func(rows pgx.Rows) ([]T, error) { return pgx.CollectRows(rows, scan) }
}

// list is what a list column holds for v: it has no NULL.
func list(v []string) []string {
	if v == nil {
		return []string{}
	}
	return v
}

// octets is list for bytes.
func octets(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}

// nullTime is NULL for the zero time.
func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
