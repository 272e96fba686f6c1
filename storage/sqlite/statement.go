package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"grantd/storage"
	"grantd/storage/span"
)

// A statement that found the file locked is tried again this often, after a
// pause of up to busyPause.
const (
	busyRetries = 3
	busyPause   = 20 * time.Millisecond
)

// statement is a prepared one. It lives as long as its pool, or as the transaction
// it is bound to, which close it.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// pool is a set of connections with the statements prepared on them.
type pool struct {
	db         *sql.DB
	mu         sync.RWMutex
	statements map[string]*sql.Stmt
}

// prepared returns the statement, or nil if it has not been prepared.
func (p *pool) prepared(query string) *sql.Stmt {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.statements[query]
}

// prepare returns the statement, prepared once. The number of different texts is
// that of the constants in this package.
func (p *pool) prepare(ctx context.Context, query string) (statement, error) {
	if stmt := p.prepared(query); stmt != nil {
		return stmt, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if stmt := p.statements[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p.statements[query] = stmt
	return stmt, nil
}

func (p *pool) close() error { return p.db.Close() }

// tx is a write transaction. Its methods return SQLite's errors as they are;
// write maps them.
type tx struct {
	ctx   context.Context // it lives as long as the transaction
	store *Store
	tx    *sql.Tx
	fresh []string // statements that were not prepared before
}

// write runs act as one transaction that is durable when write returns nil, and
// has not happened when it does not. It may run act again after SQLITE_BUSY, so
// what act returns to its caller is set only afterwards.
func (s *Store) write(ctx context.Context, act func(*tx) error) (err error) {
	ctx, end := span.Start(ctx, "sqlite", "write")
	defer func() { end(err) }()
	if err := ctx.Err(); err != nil {
		return mapError(err)
	}
	if err := s.queue.Enter(); err != nil {
		return err
	}
	defer s.queue.Leave()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return mapError(ctx.Err())
	}
	// From here on the caller's leaving no longer counts: a transaction is short,
	// and one that was interrupted would cost the only connection.
	return mapError(retry(ctx, func() error { return s.transact(context.WithoutCancel(ctx), act) }))
}

func (s *Store) transact(ctx context.Context, act func(*tx) error) (err error) {
	s.observe(ctx, "BEGIN IMMEDIATE")
	sqlTx, err := s.writer.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// Without effect after Commit. A panic in act must not keep the only connection.
	defer func() { _ = sqlTx.Rollback() }()
	t := &tx{ctx: ctx, store: s, tx: sqlTx}
	if err := act(t); err != nil {
		s.observe(ctx, "ROLLBACK")
		// What act found is the answer. If there is nothing to roll back, SQLite
		// has done so itself, as on a full disk.
		return err
	}
	s.observe(ctx, "COMMIT")
	if err := sqlTx.Commit(); err != nil {
		return err
	}
	// Preparing takes the connection, which the transaction had. It is done, so
	// a failure here is nobody's: the next one will meet it.
	for _, query := range t.fresh {
		_, _ = s.writer.prepare(ctx, query)
	}
	return nil
}

// exec runs a statement and returns how many rows it changed, not counting those
// that foreign keys and triggers did.
func (t *tx) exec(query string, args ...any) (int64, error) {
	t.store.observe(t.ctx, query)
	var result sql.Result
	var err error
	if stmt := t.stmt(query); stmt != nil {
		result, err = stmt.ExecContext(t.ctx, args...)
	} else {
		result, err = t.tx.ExecContext(t.ctx, query, args...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row runs a statement that returns at most one row. sql.ErrNoRows: none.
func (t *tx) row(query string, args []any, dest ...any) error {
	t.store.observe(t.ctx, query)
	if stmt := t.stmt(query); stmt != nil {
		return stmt.QueryRowContext(t.ctx, args...).Scan(dest...)
	}
	return t.tx.QueryRowContext(t.ctx, query, args...).Scan(dest...)
}

// stmt returns the prepared statement bound to the transaction, or nil.
func (t *tx) stmt(query string) statement {
	if stmt := t.store.writer.prepared(query); stmt != nil {
		return t.tx.StmtContext(t.ctx, stmt)
	}
	t.fresh = append(t.fresh, query)
	return nil
}

// readRow reads one row. ErrNotFound.
func (s *Store) readRow(ctx context.Context, query string, args []any, dest ...any) (err error) {
	ctx, end := span.Start(ctx, "sqlite", "read")
	defer func() { end(err) }()
	if err := s.queue.Enter(); err != nil {
		return err
	}
	defer s.queue.Leave()
	return s.readNow(ctx, query, args, dest...)
}

// readNow is readRow for what nobody may be turned away from.
func (s *Store) readNow(ctx context.Context, query string, args []any, dest ...any) error {
	return mapError(retry(ctx, func() error {
		s.observe(ctx, query)
		stmt, err := s.readers.prepare(ctx, query)
		if err != nil {
			return err
		}
		return stmt.QueryRowContext(ctx, args...).Scan(dest...)
	}))
}

// readRows reads a list, which may be empty.
func readRows[T any](ctx context.Context, s *Store, query string, args []any, scan func(scanner) (*T, error)) (_ []*T, err error) {
	ctx, end := span.Start(ctx, "sqlite", "read")
	defer func() { end(err) }()
	if err := s.queue.Enter(); err != nil {
		return nil, err
	}
	defer s.queue.Leave()
	var list []*T
	err = retry(ctx, func() error {
		list = []*T{}
		s.observe(ctx, query)
		stmt, err := s.readers.prepare(ctx, query)
		if err != nil {
			return err
		}
		rows, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // its error, if any, is that of Err
		for rows.Next() {
			item, err := scan(rows)
			if err != nil {
				return err
			}
			list = append(list, item)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, mapError(err)
	}
	return list, nil
}

// scanner is a row, or one of rows.
type scanner interface{ Scan(dest ...any) error }

// retry runs act again while it finds the file locked by another program.
func retry(ctx context.Context, act func() error) error {
	for attempt := 0; ; attempt++ {
		err := act()
		if !isBusy(err) || attempt == busyRetries {
			return err
		}
		pause := time.NewTimer(rand.N(busyPause)) //nolint:gosec // a pause needs no secrecy
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

// readOne reads one row as a noun. ErrNotFound.
func readOne[T any](ctx context.Context, s *Store, query string, args []any, scan func(scanner) (*T, error)) (*T, error) {
	list, err := readRows(ctx, s, query, args, scan)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, storage.ErrNotFound
	}
	return list[0], nil
}

// mustExec runs a statement that changes a row. ErrNotFound: there was none.
func (t *tx) mustExec(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		return storage.ErrNotFound
	}
	return err
}

// conflictOrNotFound says why an update of one version of a row returned err: if
// it met no row, exists tells whether there is another version.
func (t *tx) conflictOrNotFound(err error, exists, id string) error {
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var found int
	if err := t.row(exists, []any{id}, &found); err != nil {
		return err
	}
	return storage.ErrConflict
}

// deleteVersion deletes one version of a row, or whichever it has, and returns the
// value that the query returns of it. ErrNotFound, ErrConflict.
func (t *tx) deleteVersion(query, exists, id string, version int64) (returned string, err error) {
	if err := t.row(query, []any{id, version}, &returned); err != nil {
		return "", t.conflictOrNotFound(err, exists, id)
	}
	return returned, nil
}

// changedCatalog records a change to what servers cache.
func (t *tx) changedCatalog(event storage.AuditEvent) error {
	if _, err := t.exec(bumpCatalogVersion); err != nil {
		return err
	}
	return t.record(event)
}
