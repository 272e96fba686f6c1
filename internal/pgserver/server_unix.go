//go:build linux || darwin

package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// startTimeout is generous: many packages' tests may start at once.
	startTimeout = 60 * time.Second
	// maxSocketPath is what a Unix socket's path may be long on every system.
	maxSocketPath = 100
	sharedMemory  = "/dev/shm"
)

// keeper runs PostgreSQL ("$@") until its standard input says "stop" or ends,
// which it does when the process holding the other end is gone, even by SIGKILL.
// Then nobody is left to use the folder ($0) either.
const keeper = `
"$@" & postgres=$!
read -r order
kill -QUIT "$postgres" 2>/dev/null
wait "$postgres"
[ "$order" = stop ] || rm -rf "$0"
`

// Server is a PostgreSQL of this process.
type Server struct {
	options Options

	bin    string
	folder string // holds the data, the socket and the log
	as     *syscall.Credential

	keeper   *exec.Cmd // nil: stopped
	lifeline io.WriteCloser
}

// Start makes a database cluster in a temporary folder and starts it. Remove ends
// both.
func Start(options Options) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(as, options.InMemory)
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, bin: bin, folder: folder, as: as}
	initdb := s.command(filepath.Join(bin, "initdb"), "--pgdata="+s.data(), "--username=postgres",
		"--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	if output, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(output)), os.RemoveAll(folder))
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, nil
}

// URL returns the URL of one of the databases; "postgres" is always there.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/" + database,
		RawQuery: url.Values{"host": {s.folder}}.Encode(),
	}
	return u.String()
}

// Start runs a stopped PostgreSQL again and waits until it answers.
func (s *Server) Start() (err error) {
	if s.keeper != nil {
		return errors.New("it is running")
	}
	log, err := os.Create(s.log())
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	args := []string{"-c", keeper, s.folder, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.folder, "-c", "listen_addresses="}
	for _, setting := range s.options.Settings {
		args = append(args, "-c", setting)
	}
	command := s.command("/bin/sh", args...)
	command.Stdout, command.Stderr = log, log
	lifeline, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return errors.Join(err, lifeline.Close())
	}
	s.keeper, s.lifeline = command, lifeline
	if err := s.await(); err != nil {
		output, readErr := os.ReadFile(s.log())
		return errors.Join(fmt.Errorf("PostgreSQL does not start: %w: %s", err, bytes.TrimSpace(output)), readErr, s.Stop())
	}
	return nil
}

// await tries to connect until it works.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// Stop ends PostgreSQL at once, as a crash would, and keeps its folder.
func (s *Server) Stop() error {
	if s.keeper == nil {
		return errors.New("it is not running")
	}
	_, err := io.WriteString(s.lifeline, "stop\n")
	err = errors.Join(err, s.lifeline.Close())
	// The keeper answers with PostgreSQL's exit status, which is that of a crash.
	var exit *exec.ExitError
	if waitErr := s.keeper.Wait(); !errors.As(waitErr, &exit) {
		err = errors.Join(err, waitErr)
	}
	s.keeper = nil
	return err
}

// Remove ends PostgreSQL if it runs, and deletes its folder.
func (s *Server) Remove() {
	if s.keeper != nil {
		_ = s.Stop()
	}
	_ = os.RemoveAll(s.folder)
}

// PID is the process id of the running postmaster, the parent of all others.
func (s *Server) PID() (int, error) {
	content, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	return strconv.Atoi(first)
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }
func (s *Server) log() string  { return filepath.Join(s.folder, "log") }

// command is a child that a terminal's Ctrl-C does not reach, so that the keeper
// can do its work, and that gets nothing from this process's environment.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(name, args...) //nolint:gosec,noctx // found by binaries; it must outlive any one test
	command.Dir = s.folder
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.folder, "LC_ALL=C", "TZ=UTC"}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
	return command
}

// newFolder makes a folder for the server alone, short enough for a socket in it.
func newFolder(as *syscall.Credential, inMemory bool) (string, error) {
	parent := os.TempDir()
	if len(parent) > maxSocketPath-40 {
		parent = "/tmp"
	}
	if inMemory && os.Getenv("TMPDIR") == "" && roomy(sharedMemory) {
		parent = sharedMemory
	}
	folder, err := os.MkdirTemp(parent, "grantd-postgres-")
	if err != nil {
		return "", err
	}
	if as != nil {
		if err := os.Chown(folder, int(as.Uid), int(as.Gid)); err != nil {
			return "", errors.Join(err, os.Remove(folder))
		}
	}
	return folder, nil
}

// roomy reports whether the file system of a folder has enough space left for the
// servers of several packages' tests.
func roomy(folder string) bool {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil {
		return false
	}
	const enough = 2 << 30
	return stat.Bavail*uint64(stat.Bsize) > enough //nolint:gosec // sizes are not negative
}

// unprivileged returns whom to run PostgreSQL as: it refuses to run as root. Nil
// is this process's own user.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// binaries returns the folder of PostgreSQL's server programs, the newest if
// there are several.
func binaries() (string, error) {
	var folders []string
	for _, name := range []string{"initdb", "postgres"} {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				folders = append(folders, filepath.Dir(path))
			}
		}
	}
	if config, err := exec.LookPath("pg_config"); err == nil {
		if output, err := exec.Command(config, "--bindir").Output(); err == nil { //nolint:gosec,noctx // from PATH, and quick
			folders = append(folders, string(bytes.TrimSpace(output)))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		slices.SortFunc(found, newestFirst)
		folders = append(folders, found...)
	}
	for _, folder := range folders {
		if executable(filepath.Join(folder, "initdb")) && executable(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", errors.New("no folder with PostgreSQL's initdb and postgres was found")
}

// newestFirst orders paths by the number in them: 16 before 9.
func newestFirst(a, b string) int { return version(b) - version(a) }

func version(path string) int {
	n := 0
	for _, c := range path {
		if c >= '0' && c <= '9' {
			n = n*10 + int(c-'0')
		}
	}
	return n
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}
