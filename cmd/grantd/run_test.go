package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	grantd "grantd/cmd/grantd"
)

const (
	// goodKey is a root key, and long enough for an admin key.
	goodKey  = "q8Zb1m0JxkY3v7Qd5nT2uRw9sHf4gLcE6aPiVoXtKzM="
	otherKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// result is what a finished command line left behind.
type result struct {
	code           int
	stdout, stderr string
}

// run executes a command line in an empty folder, or in the one the test has
// changed to.
func run(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := grantd.Run(t.Context(), args, environ, &stdout, &stderr)
	return result{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

// shown is the output of grantd config --json.
type shown struct {
	Settings []struct {
		Setting string
		Value   []string
		From    string
	}
	Faults []struct{ Where, Problem, Mend string }
}

// config runs grantd config --json.
func config(t *testing.T, environ []string, args ...string) (shown, result) {
	t.Helper()
	r := run(t, environ, append([]string{"config", "--json"}, args...)...)
	var s shown
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("output is not JSON: %v\n%s%s", err, r.stdout, r.stderr)
	}
	return s, r
}

// setting returns a setting's values, joined, and where they came from.
func (s shown) setting(t *testing.T, name string) (value, from string) {
	t.Helper()
	for _, line := range s.Settings {
		if line.Setting == name {
			return strings.Join(line.Value, " "), line.From
		}
	}
	t.Fatalf("no setting %q in the output", name)
	return "", ""
}

// faults are the places that are at fault.
func (s shown) faults() []string {
	where := []string{}
	for _, f := range s.Faults {
		where = append(where, f.Where)
	}
	return where
}

// write makes a file that only this user may read.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// started is a grantd serve under way.
type started struct {
	lines <-chan map[string]any // the log, closed at its end
	code  <-chan int
	stop  context.CancelFunc
}

// serve starts grantd serve and returns it with its start line, or fails the
// test with what it said instead.
func serve(t *testing.T, args ...string) (*started, map[string]any) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	lines, code := make(chan map[string]any, 100), make(chan int, 1)
	go func() {
		code <- grantd.Run(ctx, append([]string{"serve"}, args...), nil, io.Discard, writer)
		_ = writer.Close()
	}()
	var said bytes.Buffer
	go func() {
		defer close(lines)
		decoder := json.NewDecoder(io.TeeReader(reader, &said))
		for {
			var line map[string]any
			if err := decoder.Decode(&line); err != nil {
				_, _ = io.Copy(&said, reader)
				return
			}
			lines <- line
		}
	}()
	s := &started{lines: lines, code: code, stop: stop}
	for line := range lines {
		if line["msg"] == "grantd is serving" {
			t.Cleanup(func() { s.end(t) })
			return s, line
		}
	}
	stop()
	t.Fatalf("grantd serve ended with code %d: %s", <-code, said.String())
	return nil, nil
}

// end stops the server and expects that it stops cleanly. It may be called twice.
func (s *started) end(t *testing.T) {
	t.Helper()
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	for range s.lines { // drained, so that the server can write its last lines
	}
	if code := <-s.code; code != 0 {
		t.Errorf("grantd serve ended with code %d, want 0", code)
	}
}

// inFolder changes to a new empty folder for the rest of the test.
func inFolder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return dir
}
