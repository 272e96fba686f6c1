package storage

import "errors"

// The sentinel errors of the Store contract. Implementations wrap them with
// context; callers compare with errors.Is.
var (
	// ErrNotFound: the row does not exist, or it no longer qualifies (expired,
	// disabled, deleted). It never stands for an outage.
	ErrNotFound = errors.New("not found")
	// ErrExists: a unique name, URI or id is taken.
	ErrExists = errors.New("already exists")
	// ErrConflict: the row changed since it was read (its Version moved on).
	ErrConflict = errors.New("changed in the meantime")
	// ErrConsumed: a single-use thing was used before, or a race for it was lost.
	ErrConsumed = errors.New("already used")
	// ErrFull: a cap on the number of rows is reached.
	ErrFull = errors.New("limit reached")
	// ErrUnavailable: the database did not answer as it should. The state of
	// things is unknown, so no caller may be blamed for it.
	ErrUnavailable = errors.New("storage unavailable")
)
