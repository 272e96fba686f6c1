package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"grantd/internal/freeport"
	"grantd/internal/pgserver"
)

// target is a server that is measured.
type target struct {
	*Profile
	pid                int           // 0: unknown, and its CPU time with it
	child              *exec.Cmd     // nil: it was there before
	database           *database     // nil: it has none here
	clearRegistrations []string      // statements that take registered clients away
	installations      []tokens      // each is used by one connection at a time
	ready              time.Duration // from its start to its first answer

	browsing sync.Mutex
	browsers map[int]*cookiejar.Jar // by connection
}

// place is where everything of one invocation lives: a PostgreSQL with its own
// default durability, and a folder.
type place struct {
	folder   string
	postgres *pgserver.Server
	pid      int // the postmaster
	ending   []func()
}

func newPlace(_ context.Context) (*place, error) {
	folder, err := os.MkdirTemp("", "grantd-bench-")
	if err != nil {
		return nil, err
	}
	p := &place{folder: folder}
	p.atEnd(func() { _ = os.RemoveAll(folder) })
	// Only what decides nothing: WAL for the million families without checkpoints on
	// the way, and no vacuum of its own in the middle of one run but not the next.
	p.postgres, err = pgserver.Start(pgserver.Options{Settings: []string{"autovacuum=off", "max_wal_size=8GB", "checkpoint_timeout=30min"}})
	if err != nil {
		p.close()
		return nil, err
	}
	p.atEnd(p.postgres.Remove)
	if p.pid, err = p.postgres.PID(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *place) atEnd(do func()) { p.ending = append(p.ending, do) }

// close ends everything, the last first.
func (p *place) close() {
	for _, end := range slices.Backward(p.ending) {
		end()
	}
	p.ending = nil
}

// newDatabase makes an empty database and returns its URL.
func (p *place) newDatabase(ctx context.Context, name string) (string, error) {
	host, err := openDatabase(ctx, p.postgres.URL("postgres"), p.pid)
	if err != nil {
		return "", err
	}
	defer host.conn.Close(ctx) //nolint:errcheck // only asked for this
	return p.postgres.URL(name), host.exec(ctx, "CREATE DATABASE "+name)
}

// watch opens the measuring connection to a target's database.
func (p *place) watch(ctx context.Context, t *target, databaseURL string) (err error) {
	if t.database, err = openDatabase(ctx, databaseURL, p.pid); err != nil {
		return err
	}
	p.atEnd(func() { _ = t.database.conn.Close(context.WithoutCancel(ctx)) })
	return nil
}

// start runs a profile's command until it serves its metadata.
func (p *place) start(ctx context.Context, profile *Profile, databaseURL string) (*target, error) {
	t := &target{Profile: profile, pid: profile.PID}
	profile.withDatabase(databaseURL)
	for _, words := range profile.Prepare {
		prepare := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // what the profile says
		prepare.Env, prepare.Dir = profile.env(), p.folder
		if output, err := prepare.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %v: %w: %s", profile.Name, words, err, output)
		}
	}
	if databaseURL != "" {
		if err := p.watch(ctx, t, databaseURL); err != nil {
			return nil, err
		}
	}
	return t, p.run(t)
}

// run starts the target's process, if it is ours to start, and waits for it.
func (p *place) run(t *target) error {
	if len(t.Command) > 0 {
		log, err := os.Create(filepath.Join(p.folder, t.Name+".log"))
		if err != nil {
			return err
		}
		defer log.Close()                                      //nolint:errcheck // the child has its own
		t.child = exec.Command(t.Command[0], t.Command[1:]...) //nolint:gosec,noctx // what the profile says; it is ended by stop
		t.child.Env, t.child.Dir = t.env(), p.folder
		t.child.Stdout, t.child.Stderr = log, log
		// A terminal's Ctrl-C is for this process, which ends the others in order;
		// when it is killed, so are they.
		t.child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		began := time.Now()
		if err := t.child.Start(); err != nil {
			return err
		}
		t.pid = t.child.Process.Pid
		p.atEnd(t.stop)
		if err := t.discover(30 * time.Second); err != nil {
			output, _ := os.ReadFile(log.Name())
			return errors.Join(err, fmt.Errorf("it said: %s", output))
		}
		t.ready = time.Since(began)
		return nil
	}
	return t.discover(5 * time.Second)
}

// stop ends the target's process, by its id.
func (t *target) stop() {
	if t.child == nil {
		return
	}
	_ = t.child.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(15*time.Second, func() { _ = t.child.Process.Kill() })
	_ = t.child.Wait()
	late.Stop()
	t.child = nil
}

// startFloor runs this very program as the floor.
func (p *place) startFloor(ctx context.Context) (*target, error) {
	databaseURL, err := p.newDatabase(ctx, "floor")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	listen, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	profile := &Profile{
		Name: "floor", Metadata: "http://" + listen + "/.well-known/oauth-authorization-server",
		Command:      []string{self, "-floor", listen, "-floor-database", databaseURL},
		Machine:      Confidential{ClientID: "machine", Secret: "cs_0000000000000000000000000000000000000000000", Resource: "http://127.0.0.1:9000/mcp"},
		Introspector: Confidential{ClientID: "machine", Secret: "cs_0000000000000000000000000000000000000000000"},
		Installed:    Public{ClientID: "cl_00000000000000000000000000", Resource: "http://127.0.0.1:9000/mcp"},
	}
	t := &target{Profile: profile, clearRegistrations: []string{"TRUNCATE clients"}}
	if err := p.watch(ctx, t, databaseURL); err != nil {
		return nil, err
	}
	const families = `INSERT INTO families SELECT 'fa_' || lpad(i::text, 26, '0'), 'us_00000000000000000000000000', 1, '2026-01-01' FROM generate_series(0, $1) i`
	if err := t.database.exec(ctx, floorSchema); err != nil {
		return nil, err
	}
	if _, err := t.database.conn.Exec(ctx, families, installations-1); err != nil {
		return nil, err
	}
	for i := range installations {
		t.installations = append(t.installations, tokens{Refresh: fmt.Sprintf("rt_fa_%026d.1", i)})
	}
	return t, p.run(t)
}

// progress is told to people while they wait; the report alone goes to standard
// output.
func progress(format string, args ...any) {
	_, _ = fmt.Fprintf(io.Writer(os.Stderr), format+"\n", args...)
}
