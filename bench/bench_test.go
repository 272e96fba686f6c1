package main

import (
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		name      string
		latencies []time.Duration
		p         float64
		want      time.Duration
	}{
		{"of none", nil, 50, 0},
		{"of one", []time.Duration{7}, 99, 7},
		{"the lower of two", []time.Duration{1, 9}, 50, 1},
		{"the higher of two", []time.Duration{1, 9}, 51, 9},
		{"p50 of a hundred", hundred, 50, 50},
		{"p95 of a hundred", hundred, 95, 95},
		{"p99 of a hundred", hundred, 99, 99},
		{"the greatest", hundred, 100, 100},
		{"the least", hundred, 0, 1},
	} {
		if got := percentile(c.latencies, c.p); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// two runs of a server and of the floor beside it.
func exampleResults() results {
	r := make(results)
	one := func(operations int, server time.Duration) *run {
		return &run{
			operations: operations, took: time.Second, server: server, db: 100 * time.Millisecond, wal: int64(operations) * 200, grown: int64(operations) * 10,
			latencies: []time.Duration{time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond},
		}
	}
	r.add("refresh", "floor", one(1000, 100*time.Millisecond))
	r.add("refresh", "grantd", one(1000, 200*time.Millisecond))
	// The machine was twice as slow: the ratio is what it was.
	r.add("refresh", "floor", one(500, 100*time.Millisecond))
	r.add("refresh", "grantd", one(500, 200*time.Millisecond))
	r.add("code flow", "grantd", one(100, 150*time.Millisecond))
	return r
}

func TestRatioIsTakenRunByRun(t *testing.T) {
	r := exampleResults()
	if got := ratio(r["refresh"]["grantd"], r["refresh"]["floor"]); math.Abs(got-1.5) > 1e-9 {
		t.Errorf("%v, want 1.5", got)
	}
	if got := ratio(nil, r["refresh"]["floor"]); got != 0 {
		t.Errorf("of no runs: %v", got)
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	writeScenarios(&out, exampleResults(), []*target{{Profile: &Profile{Name: "floor"}}, {Profile: &Profile{Name: "grantd"}}})
	got := strings.Split(strings.TrimSpace(out.String()), "\n")[2:]
	want := []string{
		"| refresh | floor | 0.15 | 0.15 | 0.3 |  |  |  | 750 | 2 | 4 | 4 | 200 | 10 |",
		"| refresh | grantd | 0.3 | 0.15 | 0.45 | **1.50** | 1.8 (1.4) x | limit met | 750 | 2 | 4 | 4 | 200 | 10 |",
		"| code flow | grantd | 1.5 | 1 | 2.5 |  | 2.0 (1.5) ms | MISSED | 100 | 2 | 4 | 4 | 200 | 10 |",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	s := scenario{limit: 2, aim: 1.6}
	for value, want := range map[float64]string{1: "aim met", 1.6: "aim met", 1.61: "limit met", 2: "limit met", 2.01: "MISSED"} {
		if got := s.verdict(value); got != want {
			t.Errorf("%v: %q, want %q", value, got, want)
		}
	}
	if got := (scenario{}).verdict(9); got != "" {
		t.Errorf("without a limit: %q", got)
	}
}

func TestParseStat(t *testing.T) {
	// The name of a process may hold anything.
	const line = "42 (a) b) (c) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 5 0 100 1 1 1"
	got, ok := parseStat([]byte(line))
	if want := (process{parent: 7, used: 2 * time.Second, ended: 500 * time.Millisecond}); !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, ok := parseStat([]byte("42 (short) S 7")); ok {
		t.Error("a short line is read")
	}
}

func TestCPUOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("CPU time is read from /proc, which Linux alone has")
	}
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; {
		after, err := cpuOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("working takes no CPU time")
		}
	}
}

func TestForms(t *testing.T) {
	const page = `<form action="/other"><input name="q"></form>
<form method="post" action="/decide?a=1&amp;b=2"><input type="hidden" name="approval" value="x&amp;y">
<input type="checkbox" name="scope" value="read" checked><input type="checkbox" name="scope" value="write">
<button name="decision" value="deny">Deny</button><button name="decision" value="approve">Allow</button></form>`
	p := &Profile{Pages: []Page{{Has: "approval", Fill: map[string]string{"decision": "approve", "who": "$username"}}}}
	at, err := url.Parse("https://auth.example.com/authorize")
	if err != nil {
		t.Fatal(err)
	}
	action, body, err := p.fill(at, []byte(page), User{Username: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if action.String() != "https://auth.example.com/decide?a=1&b=2" || body != "approval=x%26y&decision=approve&scope=read&who=alice" {
		t.Errorf("%s\n%s", action, body)
	}
	if _, _, err := p.fill(at, []byte(`<form><input name="unknown"></form>`), User{}); err == nil {
		t.Error("a form that the profile does not know is answered")
	}
}

// At a fixed rate no more arrives than that, however fast the answers are, and a
// failure ends the run.
func TestDrive(t *testing.T) {
	var done atomic.Int64
	answer := func() error { done.Add(1); return nil }
	latencies, err := drive([]operation{answer, answer, answer}, load{rate: 100, duration: 200 * time.Millisecond})
	if err != nil || len(latencies) > 20 || int64(len(latencies)) != done.Load() {
		t.Errorf("%d latencies of %d operations, want at most 20; %v", len(latencies), done.Load(), err)
	}
	fail := func() error { return os.ErrInvalid }
	if _, err := drive([]operation{answer, fail}, load{duration: time.Hour}); err == nil {
		t.Error("a failed operation spoils nothing")
	}
}

func TestReadProfile(t *testing.T) {
	read := func(content string) (*Profile, error) {
		path := filepath.Join(t.TempDir(), "profile.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return readProfile(path)
	}
	p, err := read("name: peer\nmetadata: http://127.0.0.1:4444/.well-known/openid-configuration\ncommand: [peer, serve, $DATABASE_URL]\nenv: {DSN: $DATABASE_URL}\n")
	if err != nil {
		t.Fatal(err)
	}
	p.withDatabase("postgres://x")
	if p.Command[2] != "postgres://x" || p.Env["DSN"] != "postgres://x" {
		t.Errorf("%q %q", p.Command, p.Env)
	}
	for name, content := range map[string]string{"a misspelled key": "name: a\nmetadata: b\ncomand: [c]\n", "no metadata": "name: a\n"} {
		if _, err := read(content); err == nil {
			t.Errorf("a profile with %s is read", name)
		}
	}
}

// The profile that README.md shows must be one.
func TestReadmeProfile(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```yaml\n")
	shown, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("README.md shows no profile")
	}
	path := filepath.Join(t.TempDir(), "peer.yaml")
	if err := os.WriteFile(path, []byte(shown), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := readProfile(path)
	if err != nil {
		t.Fatal(err)
	}
	if p.Installed.ClientID == "" || p.Machine.ClientID == "" || len(p.Pages) == 0 || len(p.Users) == 0 || len(p.Command) == 0 {
		t.Errorf("it leaves out something: %+v", p)
	}
}
