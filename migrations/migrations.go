// Package migrations holds the schema of grantd's database and moves a database
// from one version of it to another. The two histories, postgres/ and sqlite/,
// have the same file names and lead to the same tables and columns.
//
// What to know before adding a migration:
//
//   - A file runs as one transaction. It must not contain BEGIN or COMMIT, nor
//     what Postgres refuses inside a transaction (CREATE INDEX CONCURRENTLY).
//   - golang-migrate marks the version dirty before a file runs and clears the
//     mark in a statement of its own afterwards. When a file fails, nothing of it
//     stays, and Up and Down take the mark back. Only a process killed between
//     the two leaves it (ErrDirty): then a person has to look which one it was.
//   - The servers of a rolling upgrade run on the new schema with the old
//     program: add first, remove one release later. Up refuses to touch a schema
//     that is newer than this program (ErrNewerSchema).
//   - On Postgres the lock that keeps two processes apart belongs to the session,
//     so the URL must lead to the database itself and not to a pooler in
//     transaction mode. A lock is awaited for 15 seconds at most, also by the
//     statements of the migration: a schema change that queues behind a long
//     transaction holds up everyone who comes after it.
//   - On SQLite foreign keys are not enforced while migrating, so that a table
//     can be made anew. Files must leave none broken.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// ErrNewerSchema: the database was migrated by a later release than this one.
var ErrNewerSchema = errors.New("the database schema is newer than this program")

// ErrDirty: a process died while it migrated. The error says at which version.
var ErrDirty = errors.New("a migration was interrupted")

// ErrLocked: another process has held the lock for too long.
var ErrLocked = errors.New("another process is migrating this database")

// ErrURL: the database URL is neither sqlite:PATH nor postgres://.
var ErrURL = errors.New(`the database URL must be "sqlite:PATH" or "postgres://USER@HOST/NAME"`)

//go:embed postgres/*.sql sqlite/*.sql
var files embed.FS

// State is where a database stands.
type State struct {
	Version uint // of the schema; 0: empty
	Latest  uint // the last version this program knows
	Dirty   bool // see ErrDirty
	Pending int  // how many migrations Up would run
}

// Up runs every migration that the database at databaseURL has not had yet.
// Several processes may do so at once: one migrates, the others wait and find
// nothing left to do. ErrNewerSchema, ErrDirty, ErrLocked, ErrURL; on SQLite
// sqlitefile.ErrInUse while a server has the file open.
func Up(ctx context.Context, databaseURL string) error {
	return up(ctx, databaseURL, files)
}

// Down takes back the last steps migrations, and with them the data that only
// they gave a place to. Its errors are those of Up.
func Down(ctx context.Context, databaseURL string, steps int) error {
	if steps < 1 {
		return errors.New("migrate down: at least one step")
	}
	return change(ctx, databaseURL, files, func(m *migrate.Migrate, at int) error {
		if at == database.NilVersion {
			return nil
		}
		// More steps than there are versions mean all of them: golang-migrate
		// would take those back and fail afterwards.
		known, err := versions(files, databaseURL)
		if err != nil {
			return err
		}
		return m.Steps(-min(steps, slices.Index(known, at)+1))
	})
}

// Status tells where the database stands, and changes nothing, not even when
// it is empty or its file does not exist. With ErrNewerSchema the State is filled in
// too.
func Status(ctx context.Context, databaseURL string) (State, error) {
	known, err := versions(files, databaseURL)
	if err != nil {
		return State{}, err
	}
	at, dirty, err := readVersion(ctx, databaseURL)
	if err != nil {
		return State{}, err
	}
	state := State{Latest: uint(known[len(known)-1]), Dirty: dirty}
	for _, version := range known {
		if version > at {
			state.Pending++
		}
	}
	if at > 0 {
		state.Version = uint(at)
	}
	if state.Version > state.Latest {
		return state, newer(at, known)
	}
	return state, nil
}

func up(ctx context.Context, databaseURL string, files fs.FS) error {
	return change(ctx, databaseURL, files, func(m *migrate.Migrate, _ int) error { return m.Up() })
}

// change opens the database, checks that its schema is one this program knows,
// and runs act with the version it is at.
func change(ctx context.Context, databaseURL string, files fs.FS, act func(*migrate.Migrate, int) error) (err error) {
	known, err := versions(files, databaseURL)
	if err != nil {
		return err
	}
	opened, err := open(ctx, databaseURL)
	if err != nil {
		return err
	}
	// Close comes from golang-migrate once it is there: it closes the driver, and
	// that the pool underneath.
	driver := &watched{Driver: opened.driver}
	source, err := iofs.New(files, folder(databaseURL))
	if err != nil {
		return errors.Join(err, opened.close())
	}
	m, err := migrate.NewWithInstance("iofs", source, "database", driver)
	if err != nil {
		return errors.Join(err, opened.close())
	}
	defer func() {
		sourceErr, driverErr := m.Close()
		err = errors.Join(err, sourceErr, driverErr, opened.unlock())
	}()
	m.LockTimeout = 2 * lockTimeout // the session's own timeout comes first, and leaves no goroutine behind

	stop := context.AfterFunc(ctx, func() { m.GracefulStop <- true })
	defer stop()

	at, dirty, err := driver.Version()
	switch {
	case err != nil:
		return explain(err)
	case at > known[len(known)-1]:
		return newer(at, known)
	case dirty && at == database.NilVersion:
		return interrupted(0)
	}
	// Any other mark is looked at once the lock is held, by golang-migrate: until
	// then it may be that of another process, which is about to take it back.
	if err := act(m, at); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return explain(err)
	}
	return ctx.Err()
}

// watched takes the mark back that announced a file when the file fails: it was
// rolled back whole, so the schema is what it was before.
type watched struct {
	database.Driver
	current int
	before  int // the version when the file began
}

// Run is called with the lock held, so nobody else sees the mark of a failure.
func (w *watched) Run(migration io.Reader) error {
	err := w.Driver.Run(migration)
	if err == nil {
		return nil
	}
	return errors.Join(err, w.SetVersion(w.before, false))
}

func (w *watched) Version() (int, bool, error) {
	version, dirty, err := w.Driver.Version()
	w.current = version
	return version, dirty, err
}

func (w *watched) SetVersion(version int, dirty bool) error {
	if dirty {
		w.before = w.current
	}
	w.current = version
	return w.Driver.SetVersion(version, dirty)
}

// versions returns the versions of the database's kind in files, ascending.
func versions(files fs.FS, databaseURL string) ([]int, error) {
	kind := folder(databaseURL)
	if kind == "" {
		return nil, ErrURL
	}
	names, err := fs.Glob(files, kind+"/*.up.sql")
	if err != nil {
		return nil, err
	}
	var known []int
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, kind+"/"), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("migration %s: its name must begin with a number", name)
		}
		known = append(known, version)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no migrations for %s", kind)
	}
	slices.Sort(known)
	return known, nil
}

func newer(at int, known []int) error {
	return fmt.Errorf("%w: it is at version %d, this program knows versions up to %d: run the release that migrated it, or take the schema back with that release's \"grantd migrate down\"", ErrNewerSchema, at, known[len(known)-1])
}

func interrupted(at int) error {
	return fmt.Errorf("%w at version %d: restore the database from a backup, or make the schema whole and clear the mark in schema_migrations", ErrDirty, at)
}

// explain turns golang-migrate's errors into this package's.
func explain(err error) error {
	if dirty := (migrate.ErrDirty{}); errors.As(err, &dirty) {
		return interrupted(dirty.Version)
	}
	if errors.Is(err, migrate.ErrLockTimeout) || errors.Is(err, database.ErrLocked) || lockNotAvailable(err) {
		return fmt.Errorf("%w: waited up to %s for its lock", ErrLocked, lockTimeout)
	}
	// golang-migrate's own error repeats the whole file, and does not unwrap.
	if failed, ok := databaseError(err); ok {
		return fmt.Errorf("migrate: %s: %w", failed.Err, failed.OrigErr)
	}
	return fmt.Errorf("migrate: %w", err)
}

func databaseError(err error) (database.Error, bool) {
	if pointer := (*database.Error)(nil); errors.As(err, &pointer) {
		return *pointer, true
	}
	value := database.Error{}
	return value, errors.As(err, &value)
}
