// Package pgtest gives tests a real PostgreSQL.
//
// URL and MigratedURL give a fresh database each, on the server that
// GRANTD_TEST_DATABASE_URL names (its user must be allowed to create databases)
// or else on a private one: started on first use from the PostgreSQL binaries of
// this machine, reached through a Unix socket in a temporary folder, shared by
// the tests of one process, and gone with that process, however it ends. Start
// gives a test a server to itself, which it may stop and start.
//
// Where there is neither, tests are skipped; with GRANTD_TEST_REQUIRE_POSTGRES=1
// they fail instead.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"grantd/internal/pgserver"
	"grantd/migrations"
)

const (
	databaseURLVariable = "GRANTD_TEST_DATABASE_URL"
	requireVariable     = "GRANTD_TEST_REQUIRE_POSTGRES"

	// setupTimeout is for making or dropping one database.
	setupTimeout = 30 * time.Second
)

// URL returns the URL of a new, empty database that is dropped when the test
// ends, whoever is still connected to it.
func URL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, hostURL(t), "")
}

// MigratedURL is URL with grantd's schema in the database.
func MigratedURL(t testing.TB) string {
	t.Helper()
	host := hostURL(t)
	if !private() {
		// A template would be left behind on a server that is not ours.
		databaseURL := newDatabase(t, host, "")
		if err := migrations.Up(t.Context(), databaseURL); err != nil {
			t.Fatalf("pgtest: %v", err)
		}
		return databaseURL
	}
	if err := template(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return newDatabase(t, host, templateName)
}

// Server is a PostgreSQL of a single test.
type Server struct {
	t      testing.TB
	server *pgserver.Server
}

// Start starts a server for this test alone, with a migrated database in it. It
// is stopped and deleted when the test ends. It is always a private one: without
// PostgreSQL binaries the test is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := startServer()
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(s.Remove)
	if err := migrations.Up(t.Context(), s.URL("postgres")); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return &Server{t: t, server: s}
}

// URL returns the URL of the server's database. It stays the same.
func (s *Server) URL() string { return s.server.URL("postgres") }

// Stop ends the server at once, as a crash would: open connections break, new
// ones are refused, what was committed stays.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.server.Stop(); err != nil {
		s.t.Fatalf("pgtest: stop: %v", err)
	}
}

// Start starts a stopped server again and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.server.Start(); err != nil {
		s.t.Fatalf("pgtest: start: %v", err)
	}
}

// startServer starts one that forgets everything in a crash, which no test minds.
func startServer() (*pgserver.Server, error) {
	return pgserver.Start(pgserver.Options{InMemory: true, Settings: []string{
		"max_connections=300", "shared_buffers=32MB", "fsync=off", "full_page_writes=off", "autovacuum=off",
	}})
}

// shared is the private server of this process. Nobody stops it: it sees when
// the process is no more.
var shared = sync.OnceValues(startServer)

const templateName = "grantd_template"

// template makes the database that migrated ones are copies of.
var template = sync.OnceValue(func() error {
	s, err := shared()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if err := execute(ctx, s.URL("postgres"), "CREATE DATABASE "+templateName); err != nil {
		return err
	}
	return migrations.Up(ctx, s.URL(templateName))
})

// copyFiles is what makes CREATE DATABASE copy files, as it did before version 15:
// without fsync that is many times faster than going through the log.
var copyFiles = sync.OnceValue(func() string {
	s, err := shared()
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	var version int
	err = query(ctx, s.URL("postgres"), "SELECT current_setting('server_version_num')::int", &version)
	if err != nil || version < 150000 {
		return ""
	}
	return " STRATEGY FILE_COPY"
})

func private() bool { return os.Getenv(databaseURLVariable) == "" }

// hostURL returns a URL of the server that databases are made on.
func hostURL(t testing.TB) string {
	t.Helper()
	if !private() {
		return os.Getenv(databaseURLVariable)
	}
	s, err := shared()
	if err != nil {
		missing(t, err)
	}
	return s.URL("postgres")
}

func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv(requireVariable) == "1" {
		t.Fatalf("pgtest: %s=1 and no PostgreSQL: %v", requireVariable, err)
	}
	t.Skipf("NO POSTGRES, NOTHING TESTED: %v. Install PostgreSQL's server binaries or set %s.", err, databaseURLVariable)
}

func newDatabase(t testing.TB, host, template string) string {
	t.Helper()
	name := "grantd_test_" + strings.ToLower(rand.Text())
	create := "CREATE DATABASE " + name
	if template != "" {
		create += " TEMPLATE " + template
	}
	if private() {
		create += copyFiles()
	}
	ctx, cancel := context.WithTimeout(t.Context(), setupTimeout)
	defer cancel()
	if err := execute(ctx, host, create); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
		defer cancel()
		if err := execute(ctx, host, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	u, err := url.Parse(host)
	if err != nil {
		t.Fatalf("pgtest: %s is no URL", databaseURLVariable)
	}
	u.Path = "/" + name
	return u.String()
}

func execute(ctx context.Context, databaseURL, sql string) error {
	return connected(ctx, databaseURL, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
		return nil
	})
}

func query(ctx context.Context, databaseURL, sql string, into any) error {
	return connected(ctx, databaseURL, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(into) })
}

func connected(ctx context.Context, databaseURL string, act func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing depends on it
	return act(conn)
}
