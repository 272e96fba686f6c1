package migrations_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/google/go-cmp/cmp"

	"grantd/internal/pgtest"
	"grantd/internal/sqlitefile"
	"grantd/migrations"
)

// databases gives an empty one of each kind.
var databases = map[string]func(t *testing.T) string{
	"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "grantd.db") },
	"postgres": func(t *testing.T) string { return pgtest.URL(t) },
}

// onEach runs the test on both kinds of database.
func onEach(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Helper()
	for kind, databaseURL := range databases {
		t.Run(kind, func(t *testing.T) { test(t, databaseURL(t)) })
	}
}

func TestUpDownUp(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		last, err := migrations.LastVersion(databaseURL)
		must(t, err)
		latest := uint(last)
		empty := migrations.State{Latest: latest, Pending: count(t, databaseURL)}
		whole := migrations.State{Version: latest, Latest: latest}

		wantState(t, databaseURL, empty)
		must(t, migrations.Up(t.Context(), databaseURL))
		wantState(t, databaseURL, whole)
		schema := columns(t, databaseURL)
		must(t, migrations.Up(t.Context(), databaseURL)) // nothing to do is no error
		wantState(t, databaseURL, whole)

		must(t, migrations.Down(t.Context(), databaseURL, count(t, databaseURL)))
		wantState(t, databaseURL, empty)
		if left := columns(t, databaseURL); len(left) != 0 {
			t.Errorf("left after Down: %v", left)
		}
		must(t, migrations.Down(t.Context(), databaseURL, 1))

		must(t, migrations.Up(t.Context(), databaseURL))
		if diff := cmp.Diff(schema, columns(t, databaseURL)); diff != "" {
			t.Errorf("schema after Up, Down, Up (-first +second):\n%s", diff)
		}
		// More steps than there are take all of them.
		must(t, migrations.Down(t.Context(), databaseURL, 1000))
		wantState(t, databaseURL, empty)
		if migrations.Down(t.Context(), databaseURL, 0) == nil {
			t.Error("Down by no step succeeded")
		}
	})
}

func TestBothDatabasesHaveTheSameSchema(t *testing.T) {
	schemas := map[string]map[string][]string{}
	names := map[string][]string{}
	for kind, databaseURL := range databases {
		databaseURL := databaseURL(t)
		must(t, migrations.Up(t.Context(), databaseURL))
		schemas[kind] = columns(t, databaseURL)
		files, err := fs.Glob(os.DirFS("."), kind+"/*")
		must(t, err)
		for _, file := range files {
			names[kind] = append(names[kind], filepath.Base(file))
		}
	}
	if diff := cmp.Diff(schemas["sqlite"], schemas["postgres"]); diff != "" {
		t.Errorf("tables and columns (-sqlite +postgres):\n%s", diff)
	}
	if diff := cmp.Diff(names["sqlite"], names["postgres"]); diff != "" {
		t.Errorf("files (-sqlite +postgres):\n%s", diff)
	}
	if len(schemas["sqlite"]) == 0 || len(names["sqlite"]) == 0 {
		t.Error("there is no schema to compare")
	}
}

// TestRacingUp is run a few times: a racer may look while another is between mark
// and file.
func TestRacingUp(t *testing.T) {
	for range 5 {
		databaseURL := pgtest.URL(t)
		const racers = 6
		errs := make(chan error, racers)
		for range racers {
			go func() { errs <- migrations.Up(context.WithoutCancel(t.Context()), databaseURL) }()
		}
		for range racers {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		last, err := migrations.LastVersion(databaseURL)
		must(t, err)
		wantState(t, databaseURL, migrations.State{Version: uint(last), Latest: uint(last)})
	}
}

func TestNewerSchema(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		must(t, migrations.Up(t.Context(), databaseURL))
		execute(t, databaseURL, `UPDATE schema_migrations SET version = 9999`)

		state, err := migrations.Status(t.Context(), databaseURL)
		wantErr(t, err, migrations.ErrNewerSchema)
		if state.Version != 9999 || state.Pending != 0 {
			t.Errorf("state %+v, want version 9999 and nothing pending", state)
		}
		before := columns(t, databaseURL)
		wantErr(t, migrations.Up(t.Context(), databaseURL), migrations.ErrNewerSchema)
		wantErr(t, migrations.Down(t.Context(), databaseURL, 1), migrations.ErrNewerSchema)
		if diff := cmp.Diff(before, columns(t, databaseURL)); diff != "" {
			t.Errorf("a newer schema was touched (-before +after):\n%s", diff)
		}
	})
}

func TestInterruptedMigration(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		must(t, migrations.Up(t.Context(), databaseURL))
		execute(t, databaseURL, `UPDATE schema_migrations SET dirty = true`)
		state, err := migrations.Status(t.Context(), databaseURL)
		must(t, err)
		if !state.Dirty {
			t.Error("the state does not say so")
		}
		wantErr(t, migrations.Up(t.Context(), databaseURL), migrations.ErrDirty)
		wantErr(t, migrations.Down(t.Context(), databaseURL, 1), migrations.ErrDirty)
	})
}

// TestFailedMigration has a second file fail half-way: the first one stays, nothing
// of the second does, and once it is mended Up goes on from there.
func TestFailedMigration(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		kind, _, _ := strings.Cut(databaseURL, ":")
		files := fstest.MapFS{
			kind + "/0001_one.up.sql":   {Data: []byte(`CREATE TABLE one (a INTEGER NOT NULL);`)},
			kind + "/0001_one.down.sql": {Data: []byte(`DROP TABLE one;`)},
			kind + "/0002_two.up.sql": {Data: []byte(
				`CREATE TABLE two (secret_column INTEGER NOT NULL); INSERT INTO no_such_table VALUES (1);`)},
			kind + "/0002_two.down.sql": {Data: []byte(`DROP TABLE two;`)},
		}
		err := migrations.UpFrom(t.Context(), databaseURL, files)
		if err == nil {
			t.Fatal("a broken migration succeeded")
		}
		if !strings.Contains(err.Error(), "no_such_table") || strings.Contains(err.Error(), "secret_column") {
			t.Errorf("the error should give the cause and not the whole file: %v", err)
		}
		if diff := cmp.Diff(map[string][]string{"one": {"a"}}, columns(t, databaseURL)); diff != "" {
			t.Errorf("schema after the failure (-want +got):\n%s", diff)
		}
		state, err := migrations.Status(t.Context(), databaseURL)
		must(t, err)
		if state.Version != 1 || state.Dirty {
			t.Errorf("state %+v, want version 1 and not dirty", state)
		}

		files[kind+"/0002_two.up.sql"] = &fstest.MapFile{Data: []byte(`CREATE TABLE two (b INTEGER NOT NULL);`)}
		must(t, migrations.UpFrom(t.Context(), databaseURL, files))
		if diff := cmp.Diff(map[string][]string{"one": {"a"}, "two": {"b"}}, columns(t, databaseURL)); diff != "" {
			t.Errorf("schema once it is mended (-want +got):\n%s", diff)
		}
	})
}

func TestFirstMigrationFails(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		kind, _, _ := strings.Cut(databaseURL, ":")
		files := fstest.MapFS{kind + "/0001_one.up.sql": {Data: []byte(`NOT SQL`)}}
		if migrations.UpFrom(t.Context(), databaseURL, files) == nil {
			t.Fatal("a broken migration succeeded")
		}
		must(t, migrations.Up(t.Context(), databaseURL))
	})
}

func TestLockIsHeldTooLong(t *testing.T) {
	databaseURL := pgtest.URL(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := migrations.PostgresDB(ctx, databaseURL)
	must(t, err)
	defer db.Close() //nolint:errcheck // the database is dropped
	conn, err := db.Conn(ctx)
	must(t, err)
	var name, schema string
	must(t, conn.QueryRowContext(ctx, `SELECT current_database(), current_schema()`).Scan(&name, &schema))
	id, err := database.GenerateAdvisoryLockId(name, schema, "schema_migrations")
	must(t, err)
	_, err = conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, id)
	must(t, err)

	// The caller's deadline shortens the wait. It ends by the lock's timeout, which
	// Postgres keeps, or by the deadline; both are told apart from success.
	short, cancelShort := context.WithTimeout(ctx, 2*time.Second)
	defer cancelShort()
	wantErr(t, migrations.Up(short, databaseURL), migrations.ErrLocked)

	must(t, conn.Close())
	must(t, db.Close())
	must(t, migrations.Up(ctx, databaseURL))
}

func TestSQLiteFileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grantd.db")
	path, err := sqlitefile.Create(path)
	must(t, err)
	unlock, err := sqlitefile.Lock(path)
	must(t, err)
	wantErr(t, migrations.Up(t.Context(), "sqlite:"+path), sqlitefile.ErrInUse)
	wantErr(t, migrations.Down(t.Context(), "sqlite:"+path, 1), sqlitefile.ErrInUse)
	// One may look meanwhile.
	_, err = migrations.Status(t.Context(), "sqlite:"+path)
	must(t, err)
	must(t, unlock())
	must(t, migrations.Up(t.Context(), "sqlite:"+path))
}

func TestStatusLeavesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grantd.db")
	_, err := migrations.Status(t.Context(), "sqlite:"+path)
	must(t, err)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("asking for the status made the file: %v", err)
	}
}

func TestNewSQLiteFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grantd.db")
	must(t, migrations.Up(t.Context(), "sqlite:"+path))
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
}

func TestUnreachable(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	must(t, os.WriteFile(garbage, []byte(strings.Repeat("this is no database ", 100)), 0o600))
	for name, test := range map[string]struct {
		databaseURL string
		want        error // nil: any
	}{
		"no kind":               {"grantd.db", migrations.ErrURL},
		"another kind":          {"mysql://u:hunter2@localhost/x", migrations.ErrURL},
		"sqlite without a path": {"sqlite:", migrations.ErrURL},
		"a broken postgres url": {"postgres://u:hunter2@[/x", migrations.ErrURL},
		"nobody listens":        {"postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable", nil},
		"no such folder":        {"sqlite:" + filepath.Join(t.TempDir(), "no", "such", "folder.db"), nil},
		"no database":           {"sqlite:" + garbage, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, statusErr := migrations.Status(t.Context(), test.databaseURL)
			for method, err := range map[string]error{
				"Up":     migrations.Up(t.Context(), test.databaseURL),
				"Down":   migrations.Down(t.Context(), test.databaseURL, 1),
				"Status": statusErr,
			} {
				if method == "Status" && name == "no such folder" {
					must(t, err) // where nothing is, everything is pending
					continue
				}
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("%s: error %v, want %v", method, err, test.want)
				}
				if err != nil && strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s: the error tells the password: %v", method, err)
				}
			}
		})
	}
}

// columns returns the columns of each table, sorted, golang-migrate's aside.
func columns(t *testing.T, databaseURL string) map[string][]string {
	t.Helper()
	query := `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name <> 'schema_migrations' ORDER BY table_name, column_name COLLATE "C"`
	if strings.HasPrefix(databaseURL, "sqlite:") {
		query = `SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
			WHERE t.type = 'table' AND t.name NOT IN ('schema_migrations') AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.name`
	}
	db := connect(t, databaseURL)
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer rows.Close() //nolint:errcheck // Err tells
	found := map[string][]string{}
	for rows.Next() {
		var table, column string
		must(t, rows.Scan(&table, &column))
		found[table] = append(found[table], column)
	}
	must(t, rows.Err())
	must(t, db.Close())
	return found
}

func execute(t *testing.T, databaseURL, statement string) {
	t.Helper()
	db := connect(t, databaseURL)
	_, err := db.ExecContext(t.Context(), statement)
	must(t, err)
	must(t, db.Close())
}

func connect(t *testing.T, databaseURL string) *sql.DB {
	t.Helper()
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		db, err := migrations.SQLiteDB(t.Context(), path)
		must(t, err)
		return db
	}
	db, err := migrations.PostgresDB(t.Context(), databaseURL)
	must(t, err)
	return db
}

// count returns how many migrations there are for the database.
func count(t *testing.T, databaseURL string) int {
	t.Helper()
	kind, _, _ := strings.Cut(databaseURL, ":")
	names, err := fs.Glob(os.DirFS("."), kind+"/*.up.sql")
	must(t, err)
	return len(names)
}

func wantState(t *testing.T, databaseURL string, want migrations.State) {
	t.Helper()
	got, err := migrations.Status(t.Context(), databaseURL)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGroupsOfTheVersionBefore: a server that does not know that groups have ids goes on
// making them, and they get one.
func TestGroupsOfTheVersionBefore(t *testing.T) {
	onEach(t, func(t *testing.T, databaseURL string) {
		must(t, migrations.Up(t.Context(), databaseURL))
		execute(t, databaseURL, `INSERT INTO groups (name) VALUES ('staff'), ('admins')`)
		db := connect(t, databaseURL)
		defer db.Close() //nolint:errcheck // it was only read
		rows, err := db.QueryContext(t.Context(), `SELECT id, version FROM groups`)
		must(t, err)
		defer rows.Close() //nolint:errcheck // Err tells
		seen := map[string]bool{}
		for rows.Next() {
			var id string
			var version int
			must(t, rows.Scan(&id, &version))
			if !strings.HasPrefix(id, "grp_") || len(id) != len("grp_")+26 || version != 1 || seen[id] {
				t.Errorf("a group has the id %q and the version %d", id, version)
			}
			seen[id] = true
		}
		must(t, rows.Err())
		if len(seen) != 2 {
			t.Errorf("%d groups have ids, want 2", len(seen))
		}
	})
}
