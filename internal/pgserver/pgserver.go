// Package pgserver starts a private PostgreSQL from the server binaries of this
// machine, for tests and for the benchmark. It listens on a Unix socket in a
// folder of its own, runs as an unprivileged user when this process is root, and
// is gone with this process, however it ends.
package pgserver

// Options say what kind of server to start.
type Options struct {
	// InMemory keeps the data where Linux has a file system without a disk: making
	// and dropping databases is several times faster there.
	InMemory bool
	// Settings are PostgreSQL's own, as "fsync=off". What is not named has
	// PostgreSQL's default.
	Settings []string
}
