//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// hardenProcess keeps secrets from other users of the machine: no core dumps,
// and files that only this user can read (database, journal, sockets).
func hardenProcess() error {
	syscall.Umask(0o077)
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	return nil
}

// readableByOthers reports whether a secret's file is open to more people than
// it should be. Nobody but the owner may read it; only when root owns it, and
// grantd is not root, may grantd's group, because that is how a container
// platform hands a secret to a plain user.
func readableByOthers(info fs.FileInfo) bool {
	forbidden := fs.FileMode(0o077)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == 0 && os.Geteuid() != 0 {
		forbidden = 0o027
	}
	return info.Mode().Perm()&forbidden != 0
}

// syncDir makes a new name in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the folder of the operator's database
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
