package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grantd/internal/freeport"
)

// binary is the grantd that the tests drive, built once with the race detector.
var binary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "grantd-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "grantd")
	build := exec.CommandContext(context.Background(), "go", "build", "-race", "-o", path, "grantd/cmd/grantd")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	for _, folder := range installed {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

const (
	adminKey     = "an-admin-key-for-the-tests-of-the-whole-program"
	userPassword = "correct horse battery staple"
)

// grantd is a running `grantd serve`.
type grantd struct {
	t       *testing.T
	issuer  string
	address string // of its public listener, also where another has the issuer
	admin   string
	keyFile string // of the admin key
}

// startGrantd runs `grantd serve` until the test ends. The flags come on top of
// listeners, issuer, admin key and a SQLite file in a temporary folder.
func startGrantd(t *testing.T, flags ...string) *grantd {
	t.Helper()
	return startGrantdAs(t, "127.0.0.1", flags...)
}

// startGrantdAs is startGrantd with an issuer of that loopback host.
func startGrantdAs(t *testing.T, host string, flags ...string) *grantd {
	t.Helper()
	g := &grantd{t: t, address: "http://" + freeport.For(t), admin: "http://" + freeport.For(t)}
	g.issuer = strings.Replace(g.address, "127.0.0.1", host, 1)
	key := filepath.Join(t.TempDir(), "admin-key")
	if err := os.WriteFile(key, []byte(adminKey), 0o600); err != nil {
		t.Fatal(err)
	}
	g.keyFile = key
	args := append([]string{
		"serve", "--issuer", g.issuer, "--listen", strings.TrimPrefix(g.address, "http://"), "--admin-listen", strings.TrimPrefix(g.admin, "http://"),
		"--admin-key-file", key, "--database-url", "sqlite:" + filepath.Join(t.TempDir(), "grantd.db"),
	}, flags...)
	output, exited := startProcess(t, args...)
	deadline := time.Now().Add(30 * time.Second)
	for {
		response, err := get(t.Context(), g.address+"/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return g
			}
		}
		select {
		case err := <-exited:
			exited <- nil
			t.Fatalf("grantd ended at once: %v\n%s", err, output.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("grantd does not become ready\n%s", output.String())
		}
	}
}

// startProcess runs grantd with these arguments until the test ends. It returns
// what the process prints, and where it is told if it ends before.
func startProcess(t *testing.T, args ...string) (output *lockedBuffer, exited chan error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	output = new(lockedBuffer)
	command := exec.CommandContext(context.Background(), path, args...)
	command.Stdout, command.Stderr = output, output
	command.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited = make(chan error, 1)
	go func() { exited <- command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		select {
		case err := <-exited:
			if err != nil {
				t.Errorf("grantd ended with %v\n%s", err, output.String())
			}
		case <-time.After(15 * time.Second):
			_ = command.Process.Kill()
			t.Errorf("grantd did not end when interrupted\n%s", output.String())
		}
	})
	return output, exited
}

// run runs an admin command against the server, with these further variables in its
// environment, and returns what it printed. It fails the test unless it ends with this
// code.
func (g *grantd) run(code int, environ []string, stdin string, args ...string) string {
	g.t.Helper()
	path, err := binary()
	if err != nil {
		g.t.Fatal(err)
	}
	command := exec.CommandContext(g.t.Context(), path, args...)
	command.Env = slices.Concat(os.Environ(), environ, []string{"GRANTD_ADMIN_URL=" + g.admin, "GRANTD_ADMIN_KEY_FILE=" + g.keyFile})
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	if got := command.ProcessState.ExitCode(); got != code {
		g.t.Fatalf("grantd %q ended with %d, want %d\n%s%s", args, got, code, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// create makes something by the admin API and returns it.
func (g *grantd) create(noun string, body map[string]any) map[string]any {
	g.t.Helper()
	return g.administer(http.MethodPost, noun, "application/json", body, http.StatusCreated)
}

// openRegistration lets every client introduce itself, as the demo does.
func (g *grantd) openRegistration() {
	g.t.Helper()
	g.administer(http.MethodPatch, "registration-policy", "application/merge-patch+json",
		map[string]any{"dynamic": "allow", "metadata_documents": "allow"}, http.StatusOK)
}

// administer sends a request to the admin API and returns the object it answers
// with.
func (g *grantd) administer(method, path, contentType string, body map[string]any, want int) map[string]any {
	g.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		g.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.admin+"/admin/v1/"+path, bytes.NewReader(encoded))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminKey)
	r.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	var object map[string]any
	if response.StatusCode != want || json.Unmarshal(answer, &object) != nil {
		g.t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, answer)
	}
	return object
}

func get(ctx context.Context, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(r)
}

// lockedBuffer keeps what a process prints.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// lines are the non-empty lines of s.
func lines(s string) []string {
	var out []string
	for scanner := bufio.NewScanner(strings.NewReader(s)); scanner.Scan(); {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			out = append(out, line)
		}
	}
	return out
}
