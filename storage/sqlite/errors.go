package sqlite

import (
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"grantd/storage"
)

// mapError turns whatever went wrong into the contract's errors: what a method
// has decided stays, no row is ErrNotFound, a value that is taken ErrExists, and
// all else (a full disk, a closed database, a caller who left) ErrUnavailable.
func mapError(err error) error {
	switch {
	case err == nil:
		return nil
	case isDecided(err):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return storage.ErrNotFound
	case isTaken(err):
		return storage.ErrExists
	default:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
}

func isDecided(err error) bool {
	for _, sentinel := range []error{
		storage.ErrNotFound, storage.ErrExists, storage.ErrConflict,
		storage.ErrConsumed, storage.ErrFull, storage.ErrUnavailable,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// isTaken reports whether a unique value or primary key is there already.
func isTaken(err error) bool {
	switch code(err) {
	case codes.SQLITE_CONSTRAINT_UNIQUE, codes.SQLITE_CONSTRAINT_PRIMARYKEY, codes.SQLITE_CONSTRAINT_ROWID:
		return true
	default:
		return false
	}
}

// isOrphan reports whether a row names another one that is not there.
func isOrphan(err error) bool { return code(err) == codes.SQLITE_CONSTRAINT_FOREIGNKEY }

// isBusy reports whether another program has the file locked.
func isBusy(err error) bool {
	primary := code(err) & 0xff
	return primary == codes.SQLITE_BUSY || primary == codes.SQLITE_LOCKED
}

// code returns SQLite's extended result code, or 0.
func code(err error) int {
	var sqliteErr *driver.Error
	if errors.As(err, &sqliteErr) {
		return sqliteErr.Code()
	}
	return 0
}

// consumedIfTaken is for ids that can be used once.
func consumedIfTaken(err error) error {
	if isTaken(err) {
		return storage.ErrConsumed
	}
	return err
}
