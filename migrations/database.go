package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"grantd/internal/sqlitefile"
)

const (
	lockTimeout = 15 * time.Second
	// A database that does not answer at all is reported after this time.
	connectTimeout = 10 * time.Second

	lockNotAvailableState = "55P03" // SQLSTATE lock_not_available
)

// opened is a database ready to be migrated.
type opened struct {
	driver database.Driver
	unlock func() error
}

func (o opened) close() error { return errors.Join(o.driver.Close(), o.unlock()) }

// folder names the migrations that a database URL calls for; empty: none do.
func folder(databaseURL string) string {
	switch {
	case strings.HasPrefix(databaseURL, "postgres://"), strings.HasPrefix(databaseURL, "postgresql://"):
		return "postgres"
	case strings.HasPrefix(databaseURL, "sqlite:") && databaseURL != "sqlite:":
		return "sqlite"
	default:
		return ""
	}
}

func open(ctx context.Context, databaseURL string) (opened, error) {
	if folder(databaseURL) == "sqlite" {
		return openSQLite(ctx, strings.TrimPrefix(databaseURL, "sqlite:"))
	}
	return openPostgres(ctx, databaseURL)
}

func openSQLite(ctx context.Context, path string) (_ opened, err error) {
	path, err = sqlitefile.Create(path)
	if err != nil {
		return opened{}, err
	}
	unlock, err := sqlitefile.Lock(path)
	if err != nil {
		return opened{}, err
	}
	db, err := sqliteDB(ctx, path)
	if err != nil {
		return opened{}, errors.Join(err, unlock())
	}
	driver, err := migratesqlite.WithInstance(db, &migratesqlite.Config{})
	if err != nil {
		return opened{}, errors.Join(explain(err), db.Close(), unlock())
	}
	return opened{driver: driver, unlock: unlock}, nil
}

func openPostgres(ctx context.Context, databaseURL string) (opened, error) {
	db, err := postgresDB(ctx, databaseURL)
	if err != nil {
		return opened{}, err
	}
	driver, err := migratepgx.WithInstance(db, &migratepgx.Config{})
	if err != nil {
		return opened{}, errors.Join(explain(err), db.Close())
	}
	return opened{driver: driver, unlock: func() error { return nil }}, nil
}

// sqliteDB opens the file, which must exist, and reads from it: golang-migrate
// would take one it cannot read for an empty one.
func sqliteDB(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", sqlitefile.URI(path, url.Values{
		"mode":          {"rw"},
		"_txlock":       {"immediate"},
		"_busy_timeout": {"5000"},
	}))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master`).Scan(&tables); err != nil {
		return nil, errors.Join(fmt.Errorf("open the SQLite file: %w", err), db.Close())
	}
	return db, nil
}

// postgresDB connects. Its errors never repeat the URL, which may hold a password.
func postgresDB(ctx context.Context, databaseURL string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, ErrURL
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	wait := lockTimeout
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(deadline), time.Millisecond))
	}
	// golang-migrate waits for its lock without a limit and without a context, so
	// the session has to have one.
	setLockTimeout := func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", wait.Milliseconds()))
		return err
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(setLockTimeout))
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to Postgres: %w", err), db.Close())
	}
	return db, nil
}

// readVersion reads what golang-migrate wrote, without its driver, which creates
// its table on opening.
func readVersion(ctx context.Context, databaseURL string) (version int, dirty bool, err error) {
	var (
		db    *sql.DB
		table string
	)
	if folder(databaseURL) == "sqlite" {
		path := strings.TrimPrefix(databaseURL, "sqlite:")
		if exists, err := sqlitefile.Exists(path); err != nil || !exists {
			return 0, false, err
		}
		if path, err = sqlitefile.Create(path); err != nil {
			return 0, false, err
		}
		db, err = sqliteDB(ctx, path)
		table = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'`
	} else {
		db, err = postgresDB(ctx, databaseURL)
		table = `SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_migrations'`
	}
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	var tables int
	if err := db.QueryRowContext(ctx, table).Scan(&tables); err != nil || tables == 0 {
		return 0, false, wrap(err)
	}
	err = db.QueryRowContext(ctx, `SELECT version, dirty FROM schema_migrations`).Scan(&version, &dirty)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return version, dirty, wrap(err)
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read the schema version: %w", err)
}

func lockNotAvailable(err error) bool {
	if failed, ok := databaseError(err); ok {
		err = failed.OrigErr
	}
	var state *pgconn.PgError
	return errors.As(err, &state) && state.Code == lockNotAvailableState
}
