package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// Backup copies the file at path to a new file, readable by its owner only, as it
// is at one moment; a server may have it open. fs.ErrNotExist: there is none at path.
// fs.ErrExist: there is one at to, which is left alone.
func Backup(ctx context.Context, path, to string) (err error) {
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("back up the SQLite file: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	// VACUUM INTO takes an empty file as it is, and so its mode.
	made, err := os.OpenFile(filepath.Clean(to), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, made.Close(), os.Remove(made.Name()))
			return
		}
		// What SQLite wrote is on disk when this returns, and so is the name.
		err = errors.Join(made.Sync(), made.Close(), syncFolder(filepath.Dir(to)))
	}()
	from, err := open(path, 1, url.Values{"mode": {"ro"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	if err := checkSchema(ctx, from.db); err != nil {
		return err
	}
	if _, err := from.db.ExecContext(ctx, `VACUUM INTO ?`, made.Name()); err != nil {
		return fmt.Errorf("back up the SQLite file: %w", err)
	}
	return checkBackup(ctx, made.Name())
}

// checkBackup reads the copy, so that a bad one is known today.
func checkBackup(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	db, err := open(path, 1, url.Values{"mode": {"ro"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	var result string
	if err := db.db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&result); err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	if result != "ok" {
		return errors.New("the backup is not whole, and so perhaps the database: " + result)
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
