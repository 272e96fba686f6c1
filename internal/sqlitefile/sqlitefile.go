// Package sqlitefile holds what storage/sqlite and migrations must agree on
// about a SQLite database file: who may read it, who may open it, and how its
// name becomes a data source name.
package sqlitefile

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// ErrInUse: another grantd has the file open. The caches of two servers on one
// file would not follow each other, so the second one refuses.
var ErrInUse = errors.New("the database file is in use by another grantd: stop that one, or name another file with --database-url")

// Create makes an empty file at path unless there is one, readable by its owner
// only (SQLite gives -wal and -shm the same mode), and returns its absolute path
// with symbolic links resolved: one file has one name, and so one lock.
func Create(path string) (string, error) {
	file, err := os.OpenFile(filepath.Clean(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(resolved)
}

// Exists reports whether there is a file at path.
func Exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Lock takes the lock beside the file, or fails at once with ErrInUse. It is held
// until the returned function is called or the process ends; the lock file itself
// stays, since deleting it would let two processes hold two different ones.
func Lock(path string) (unlock func() error, err error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the database file: %w", err)
	}
	if !locked {
		return nil, ErrInUse
	}
	return lock.Unlock, nil
}

// URI returns the data source name of the file with the given parameters. As a
// "file:" URI it lets SQLite read parameters of its own (mode), and escapes what
// the path has of "?" and "#".
func URI(path string, parameters url.Values) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: parameters.Encode()}
	return u.String()
}
