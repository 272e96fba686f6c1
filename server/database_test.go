package server_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the database driver "sqlite"
)

// backUp copies a SQLite database that is in use, as an operator would.
func backUp(t testing.TB, from, to string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), `VACUUM INTO ?`, to); err != nil {
		t.Fatal(err)
	}
}

// rowsInSQLite counts the rows of each table behind the server's back.
func rowsInSQLite(t testing.TB, path string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	return countRows(t, `SELECT group_concat(name, ' ') FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`,
		func(query string, into any) error { return db.QueryRowContext(t.Context(), query).Scan(into) })
}

// rowsInPostgres is rowsInSQLite for Postgres.
func rowsInPostgres(t testing.TB, databaseURL string) map[string]int {
	t.Helper()
	conn := connect(t, databaseURL)
	return countRows(t, `SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace`,
		func(query string, into any) error { return conn.QueryRow(t.Context(), query).Scan(into) })
}

func countRows(t testing.TB, list string, read func(query string, into any) error) map[string]int {
	t.Helper()
	var tables string
	if err := read(list, &tables); err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for table := range strings.FieldsSeq(tables) {
		var n int
		if err := read(`SELECT count(*) FROM `+table, &n); err != nil {
			t.Fatal(err)
		}
		counts[table] = n
	}
	if len(counts) < 10 {
		t.Fatalf("only these tables: %s", tables)
	}
	return counts
}

// connect opens a connection to Postgres that ends with the test.
func connect(t testing.TB, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
