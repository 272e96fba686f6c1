package postgres_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"grantd/internal/pgtest"
	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return open(t, pgtest.MigratedURL(t)) })
}

// A pooler in transaction mode gives every statement another connection, so none
// may be prepared.
func TestContractWithoutPreparedStatements(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		return open(t, with(t, pgtest.MigratedURL(t), "default_query_exec_mode", "exec"))
	})
}

// A replica keeps its prepared statements while another one migrates.
func TestMigrationUnderneath(t *testing.T) {
	databaseURL := pgtest.MigratedURL(t)
	s, db := open(t, databaseURL), database(t, databaseURL)
	f := storagetest.NewFixture(t, s)
	if _, err := s.Client(t.Context(), f.Client.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `ALTER TABLE clients ALTER COLUMN client_name TYPE varchar`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client(t.Context(), f.Client.ID); err != nil {
		t.Errorf("after the schema changed: %v", err)
	}
}

// Ids are compared and ordered by byte whatever the database's own collation is.
func TestIndexedTextComparesByByte(t *testing.T) {
	db := database(t, pgtest.MigratedURL(t))
	const sql = `
SELECT c.relname || '.' || a.attname
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'schema_migrations'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
WHERE a.atttypid = 'text'::regtype AND a.attcollation <> '"C"'::regcollation`
	rows, err := db.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(columns) != 0 {
		t.Errorf("indexed and not COLLATE \"C\": %v", columns)
	}
}

func TestTextThatNoRowCanHold(t *testing.T) {
	s := open(t, pgtest.MigratedURL(t))
	for _, text := range []string{"a\x00b", "a\xffb"} {
		if _, err := s.ClientByClientID(t.Context(), text); !errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("a client_id %q: %v, want that it is not found", text, err)
		}
		// What happened is recorded all the same.
		event := storagetest.Event("noun.verb", text).With(text, text)
		if err := s.RecordAuditEvent(t.Context(), event); err != nil {
			t.Fatalf("an event with %q: %v", text, err)
		}
	}
	events, err := s.AuditEvents(t.Context(), storage.AuditFilter{}, storage.Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		if diff := cmp.Diff(map[string]string{"a\uFFFDb": "a\uFFFDb"}, event.Detail); diff != "" || event.Target != "a\uFFFDb" {
			t.Errorf("target %q, detail (-want +got):\n%s", event.Target, diff)
		}
	}
}

func TestOpenFailsWithoutTellingThePassword(t *testing.T) {
	for name, test := range map[string]struct {
		url  string
		want error // nil: any
	}{
		"not a URL":      {"postgres://grantd:hunter2@[::1/grantd", nil},
		"a wrong port":   {"postgres://grantd:hunter2@127.0.0.1:hunter2/grantd", nil},
		"nobody answers": {"postgres://grantd:hunter2@127.0.0.1:1/grantd", storage.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := postgres.Open(t.Context(), test.url)
			if err == nil {
				_ = s.Close()
				t.Fatal("it opened")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func open(t testing.TB, databaseURL string, options ...postgres.Option) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), databaseURL, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// database looks at a Store's rows behind its back.
func database(t testing.TB, databaseURL string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// with returns the URL with one more parameter.
func with(t testing.TB, databaseURL, name, value string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}
