package pgtest_test

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"grantd/internal/pgtest"
)

// tables connects and counts the tables.
func tables(t *testing.T, databaseURL string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // the database is dropped
	var n int
	err = conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestURL(t *testing.T) {
	first, second := pgtest.URL(t), pgtest.URL(t)
	if first == second {
		t.Fatal("two calls gave one database")
	}
	if n := tables(t, first); n != 0 {
		t.Errorf("%d tables in an empty database", n)
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	var databaseURL string
	t.Run("inner", func(t *testing.T) {
		databaseURL = pgtest.URL(t)
		// Left open: that must not keep the database.
		if _, err := pgx.Connect(t.Context(), databaseURL); err != nil {
			t.Fatal(err)
		}
	})
	if databaseURL == "" {
		t.Skip("there is no PostgreSQL")
	}
	if _, err := pgx.Connect(t.Context(), databaseURL); err == nil {
		t.Error("the database is still there")
	}
}

func TestMigratedURL(t *testing.T) {
	first, second := pgtest.MigratedURL(t), pgtest.MigratedURL(t)
	if n := tables(t, first); n == 0 || n != tables(t, second) {
		t.Errorf("%d tables, then %d", n, tables(t, second))
	}
}

func TestStopAndStart(t *testing.T) {
	server := pgtest.Start(t)
	before := tables(t, server.URL())
	server.Stop()
	if _, err := pgx.Connect(t.Context(), server.URL()); err == nil {
		t.Error("a stopped server answers")
	}
	server.Start()
	if after := tables(t, server.URL()); after != before {
		t.Errorf("%d tables before, %d after", before, after)
	}
}

// childVariable makes TestKilledProcess the process that is killed.
const childVariable = "GRANTD_PGTEST_CHILD"

func TestKilledProcess(t *testing.T) {
	if os.Getenv(childVariable) == "1" {
		fmt.Println(pgtest.Start(t).URL())
		select {}
	}
	pgtest.Start(t) // or skip
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$")
	child.Env = append(os.Environ(), childVariable+"=1")
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	databaseURL, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(strings.TrimSpace(databaseURL))
	if err != nil {
		t.Fatal(err)
	}
	folder := u.Query().Get("host")
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(folder)
		if os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there: %v", folder, err)
		}
	}
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the server has outlived its process")
	}
}
