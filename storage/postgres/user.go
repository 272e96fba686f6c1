package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

const selectUser = `
SELECT u.id, u.username, u.version, u.email, u.name, u.password_hash,
	ARRAY(SELECT group_name FROM user_groups WHERE user_id = u.id ORDER BY group_name),
	u.disabled, u.verified_until, u.created_at, u.updated_at
FROM users u `

// User implements storage.UserStore.
func (s *Store) User(ctx context.Context, id string) (*storage.User, error) {
	const sql = selectUser + `WHERE u.id = $1`
	return only(rows(ctx, s, "read a user", each(scanUser), sql, id))
}

// UserByUsername implements storage.UserStore.
func (s *Store) UserByUsername(ctx context.Context, username string) (*storage.User, error) {
	const sql = selectUser + `WHERE u.username_key = $1`
	return only(rows(ctx, s, "read a user", each(scanUser), sql, usernameKey(username)))
}

// Users implements storage.UserStore.
func (s *Store) Users(ctx context.Context, filter storage.UserFilter, page storage.Page) ([]*storage.User, error) {
	const sql = selectUser + `
WHERE u.id > $1 AND ($3::boolean IS NULL OR u.disabled = $3)
	AND ($4 = '' OR u.id IN (SELECT user_id FROM user_groups WHERE group_name = $4))
ORDER BY u.id LIMIT $2`
	return rows(ctx, s, "list users", each(scanUser), sql, page.After, page.Limit, filter.Disabled, filter.Group)
}

// CreateUser implements storage.UserStore.
func (s *Store) CreateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error {
	return s.tx(ctx, "create a user", func(ctx context.Context, tx pgx.Tx) error {
		if err := insertUser(ctx, tx, u); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

func insertUser(ctx context.Context, tx pgx.Tx, u *storage.User) error {
	const insert = `
INSERT INTO users (id, username, username_key, version, email, name, password_hash, disabled, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	_, err := tx.Exec(ctx, insert, u.ID, u.Username, usernameKey(u.Username), u.Version, u.Email, u.Name,
		u.PasswordHash, u.Disabled, u.CreatedAt, u.UpdatedAt)
	if err != nil {
		return err
	}
	return joinGroups(ctx, tx, u)
}

// What ends with a User's permission to be here, and with a User's password, in the
// order of locks. Codes go before families: a code that is being redeemed is
// waited for, and the family it became is found.
const (
	deleteUserLink = `DELETE FROM user_links WHERE user_id = $1`
	deleteSessions = `DELETE FROM sessions WHERE user_id = $1`
	deleteGrants   = `DELETE FROM grants WHERE user_id = $1` // and, by foreign key, what hangs on them
	killCodes      = `UPDATE authorization_codes SET grant_id = NULL WHERE user_id = $1 AND redeemed_at IS NULL`
	killDevices    = `UPDATE device_authorizations SET grant_id = NULL WHERE user_id = $1 AND redeemed_at IS NULL`
	deleteFamilies = `DELETE FROM families USING grants WHERE grants.id = families.grant_id AND grants.user_id = $1`
)

var (
	endsOfDisabled = []string{deleteUserLink, deleteSessions, deleteGrants}
	endsOfPassword = []string{deleteUserLink, deleteSessions, killCodes, killDevices, deleteFamilies}
)

// endAll runs the statements for a user whose row the transaction has locked.
func endAll(ctx context.Context, tx pgx.Tx, userID string, ends []string) error {
	for _, sql := range ends {
		if _, err := tx.Exec(ctx, sql, userID); err != nil {
			return err
		}
	}
	return nil
}

// UpdateUser implements storage.UserStore.
func (s *Store) UpdateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error {
	const (
		lock   = `SELECT version, password_hash FROM users WHERE id = $1 FOR NO KEY UPDATE`
		update = `
UPDATE users SET version = $2, username = $3, username_key = $4, email = $5, name = $6, password_hash = $7,
	email_verified = email_verified OR email <> $5, disabled = $8, updated_at = $9, verified_until = CASE
		WHEN $7 <> '' AND NOT EXISTS (SELECT 1 FROM user_identities WHERE user_id = $1) THEN NULL ELSE verified_until END
WHERE id = $1`
		leaveGroups = `DELETE FROM user_groups WHERE user_id = $1 AND group_name <> ALL ($2)`
	)
	err := s.tx(ctx, "update a user", func(ctx context.Context, tx pgx.Tx) error {
		var (
			version      int64
			passwordHash string
		)
		if err := tx.QueryRow(ctx, lock, u.ID).Scan(&version, &passwordHash); err != nil {
			return err
		}
		if version != u.Version {
			return storage.ErrConflict
		}
		_, err := tx.Exec(ctx, update, u.ID, u.Version+1, u.Username, usernameKey(u.Username), u.Email, u.Name,
			u.PasswordHash, u.Disabled, u.UpdatedAt)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, leaveGroups, u.ID, list(u.Groups)); err != nil {
			return err
		}
		if err := joinGroups(ctx, tx, u); err != nil {
			return err
		}
		switch {
		case u.Disabled:
			err = endAll(ctx, tx, u.ID, endsOfDisabled)
		case u.PasswordHash != passwordHash:
			err = endAll(ctx, tx, u.ID, endsOfPassword)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
	if err == nil {
		u.Version++
	}
	return err
}

// DeleteUser implements storage.UserStore.
func (s *Store) DeleteUser(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	const (
		lock = `SELECT version FROM users WHERE id = $1 FOR UPDATE`
		sql  = `DELETE FROM users WHERE id = $1`
	)
	return s.tx(ctx, "delete a user", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockVersion(ctx, tx, lock, id, version); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sql, id); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// joinGroups puts the user into the Groups it names, making those that are not
// there. They are sorted so that two who make the same ones do not wait for each
// other. One that is deleted in between is made again; ErrConflict if that goes on.
func joinGroups(ctx context.Context, tx pgx.Tx, u *storage.User) error {
	const join = `INSERT INTO user_groups (user_id, group_name) SELECT $1::text, unnest($2::text[]) ON CONFLICT DO NOTHING`
	if len(u.Groups) == 0 {
		return nil
	}
	groups := slices.Compact(slices.Sorted(slices.Values(u.Groups)))
	if err := makeGroups(ctx, tx, groups); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, join, u.ID, groups)
	return err
}

// makeGroups makes the groups with these names, sorted and each once, that are not
// there yet, and keeps them all until the transaction ends.
func makeGroups(ctx context.Context, tx pgx.Tx, groups []string) error {
	const (
		create = `
INSERT INTO groups (id, name, version) SELECT id, name, 1 FROM unnest($1::text[], $2::text[]) AS g (id, name) ON CONFLICT (name) DO NOTHING`
		lock = `SELECT name FROM groups WHERE name = ANY ($1) ORDER BY name FOR KEY SHARE`
	)
	ids := make([]string, len(groups))
	for i := range ids {
		ids[i] = storage.NewID(storage.PrefixGroup)
	}
	for range attempts {
		if _, err := tx.Exec(ctx, create, ids, groups); err != nil {
			return err
		}
		locked, err := tx.Exec(ctx, lock, groups)
		if err != nil {
			return err
		}
		if int(locked.RowsAffected()) == len(groups) {
			return nil
		}
	}
	return storage.ErrConflict
}

// usernameKey is what usernames are compared by.
func usernameKey(username string) string { return strings.ToLower(username) }

func scanUser(row pgx.CollectableRow) (*storage.User, error) {
	var u storage.User
	err := row.Scan(&u.ID, &u.Username, &u.Version, &u.Email, &u.Name, &u.PasswordHash, &u.Groups, &u.Disabled,
		(*zeronull.Timestamptz)(&u.VerifiedUntil), &u.CreatedAt, &u.UpdatedAt)
	return &u, err
}
