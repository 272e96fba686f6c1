package main_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	grantd "grantd/cmd/grantd"
	"grantd/internal/freeport"
	"grantd/internal/pgtest"
)

// anyDemoPort lets the machine choose the demo's ports.
var anyDemoPort = []string{"--listen=127.0.0.1:0", "--mcp-listen=127.0.0.1:0"}

func TestDemoWalk(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	r := run(t, nil, append([]string{"demo", "--walk", "--headless"}, anyDemoPort...)...)
	if r.code != 0 || !strings.Contains(r.stdout, "All 14 steps passed.") {
		t.Errorf("code %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind, error %v", left, err)
	}
}

// TestDemoTwiceOnOneDatabase starts again where an earlier demo has been.
func TestDemoTwiceOnOneDatabase(t *testing.T) {
	databases := map[string]func(t *testing.T) string{
		"SQLite":   func(*testing.T) string { return "sqlite:kept.db" },
		"Postgres": func(t *testing.T) string { return pgtest.URL(t) },
	}
	for name, database := range databases {
		t.Run(name, func(t *testing.T) {
			url := database(t)
			inFolder(t)
			args := []string{
				"demo", "--walk", "--headless", "--listen=127.0.0.1:0", "--mcp-listen=" + freeport.For(t), "--database-url=" + url,
			}
			for _, which := range []string{"first", "second"} {
				if r := run(t, nil, args...); r.code != 0 {
					t.Fatalf("%s: code %d\n%s\n%s", which, r.code, r.stdout, r.stderr)
				}
			}
		})
	}
}

func TestDemoUntilStopped(t *testing.T) {
	stop, lines, code := startDemo(t, anyDemoPort...)
	url := lines["MCP server"]
	if lines["Sign in as"] != "demo" || len(lines["Password"]) < 16 || lines["Issuer"] == "" {
		t.Errorf("the demo does not tell how to sign in: %v", lines)
	}
	if got := status(t, http.DefaultClient, url); got != http.StatusUnauthorized {
		t.Errorf("GET %s: %d, want 401", url, got)
	}
	if got := status(t, http.DefaultClient, lines["Issuer"]+"/.well-known/oauth-authorization-server"); got != http.StatusOK {
		t.Errorf("metadata: %d, want 200", got)
	}
	if want := "claude mcp add --transport http notes " + url; lines["Claude Code"] != want {
		t.Errorf("for Claude Code: %q, want %q", lines["Claude Code"], want)
	}
	stop()
	if got := <-code; got != 0 {
		t.Errorf("code %d, want 0", got)
	}
}

// TestDemoDefaultPortsAreTaken: newcomers have something on 8080 already.
func TestDemoDefaultPortsAreTaken(t *testing.T) {
	for _, address := range []string{"127.0.0.1:8080", "127.0.0.1:8090"} {
		if listener, err := net.Listen("tcp", address); err == nil { //nolint:noctx // at once or not at all
			t.Cleanup(func() { _ = listener.Close() })
		}
	}
	stop, lines, code := startDemo(t)
	issuer := lines["Issuer"]
	if strings.HasSuffix(issuer, ":8080") {
		t.Errorf("the issuer is %s", issuer)
	}
	if got := status(t, http.DefaultClient, issuer+"/.well-known/oauth-authorization-server"); got != http.StatusOK {
		t.Errorf("metadata: %d, want 200", got)
	}
	stop()
	if got := <-code; got != 0 {
		t.Errorf("code %d, want 0", got)
	}
}

func TestDemoRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once or not at all
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	tests := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"headless without walk", []string{"--headless"}, 2, "add --walk"},
		{"every address", []string{"--listen=0.0.0.0:0"}, 2, "opens the demo to the network"},
		{"MCP server on every address", []string{"--mcp-listen=:0"}, 2, "opens the demo to the network"},
		{"no address", []string{"--mcp-listen=8090"}, 2, "write HOST:PORT"},
		{"a port that is taken", []string{"--listen=" + taken.Addr().String()}, 1, "choose another --listen"},
		{"an MCP port that is taken", []string{"--listen=127.0.0.1:0", "--mcp-listen=" + taken.Addr().String()}, 1, "choose another --mcp-listen"},
		{"an unknown database", []string{"--listen=127.0.0.1:0", "--database-url=mysql://x"}, 2, "--database-url"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := run(t, nil, append([]string{"demo"}, test.args...)...)
			if r.code != test.code || !strings.Contains(r.stderr, test.says) {
				t.Errorf("code %d, want %d, and %q in: %s", r.code, test.code, test.says, r.stderr)
			}
		})
	}
}

// startDemo starts grantd demo and returns what its welcome says, by label.
func startDemo(t *testing.T, args ...string) (stop context.CancelFunc, lines map[string]string, code <-chan int) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	var stderr strings.Builder
	go func() {
		ended <- grantd.Run(ctx, append([]string{"demo"}, args...), nil, writer, &stderr)
		_ = writer.Close()
	}()
	t.Cleanup(stop)
	lines = make(map[string]string)
	scanner := bufio.NewScanner(reader)
	for scanner.Scan() {
		if label, rest, ok := strings.Cut(strings.TrimSpace(scanner.Text()), "  "); ok {
			lines[label] = strings.TrimSpace(rest)
		}
		if strings.HasPrefix(scanner.Text(), "Press Ctrl-C") {
			go func() { _, _ = io.Copy(io.Discard, reader) }() // until the end
			return stop, lines, ended
		}
	}
	t.Fatalf("grantd demo ended with code %d: %s", <-ended, stderr.String())
	return nil, nil, nil
}
