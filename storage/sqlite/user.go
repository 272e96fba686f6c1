package sqlite

import (
	"context"
	"database/sql"
	"strings"

	"grantd/storage"
)

const insertUser = `INSERT INTO users
	(id, username, username_key, version, email, name, password_hash, disabled, created_at, updated_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

const (
	insertGroups = `INSERT INTO groups (id, name, version) SELECT value ->> 'id', value ->> 'name', 1 FROM json_each(?) WHERE true
		ON CONFLICT (name) DO NOTHING`
	insertUserGroups = `INSERT INTO user_groups (user_id, group_name) SELECT ?, value FROM json_each(?) WHERE true
		ON CONFLICT (user_id, group_name) DO NOTHING`
)

// CreateUser implements storage.UserStore.
func (s *Store) CreateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.insertUser(u); err != nil {
			return err
		}
		return tx.record(event)
	})
}

func (t *tx) insertUser(u *storage.User) error {
	_, err := t.exec(insertUser, u.ID, u.Username, usernameKey(u.Username), u.Version, u.Email, u.Name,
		u.PasswordHash, u.Disabled, micros(u.CreatedAt), micros(u.UpdatedAt))
	if err != nil {
		return err
	}
	return t.writeGroups(u)
}

const selectUser = `SELECT id, username, version, email, name, password_hash, disabled, verified_until, created_at, updated_at,
	(SELECT json_group_array(group_name ORDER BY group_name) FROM user_groups WHERE user_id = users.id)
	FROM users `

const (
	selectUserByID  = selectUser + `WHERE id = ?`
	selectUserByKey = selectUser + `WHERE username_key = ?`
	selectUsers     = selectUser + `WHERE id > @after AND (@disabled IS NULL OR disabled = @disabled)
		AND (@group = '' OR id IN (SELECT user_id FROM user_groups WHERE group_name = @group))
		ORDER BY id LIMIT @limit`
)

// User implements storage.UserStore.
func (s *Store) User(ctx context.Context, id string) (*storage.User, error) {
	return readOne(ctx, s, selectUserByID, []any{id}, scanUser)
}

// UserByUsername implements storage.UserStore.
func (s *Store) UserByUsername(ctx context.Context, username string) (*storage.User, error) {
	return readOne(ctx, s, selectUserByKey, []any{usernameKey(username)}, scanUser)
}

// Users implements storage.UserStore.
func (s *Store) Users(ctx context.Context, filter storage.UserFilter, page storage.Page) ([]*storage.User, error) {
	return readRows(ctx, s, selectUsers, []any{
		sql.Named("after", page.After), sql.Named("limit", page.Limit),
		sql.Named("disabled", filter.Disabled), sql.Named("group", filter.Group),
	}, scanUser)
}

const updateUser = `UPDATE users SET version = version + 1,
	username = ?, username_key = ?, email = ?3, email_verified = email_verified OR email <> ?3, name = ?, password_hash = ?5, disabled = ?, updated_at = ?,
	verified_until = iif(?5 <> '' AND NOT EXISTS (SELECT 1 FROM user_identities WHERE user_id = users.id), NULL, verified_until)
	WHERE id = ? AND version = ? RETURNING version`

const deleteOtherUserGroups = `DELETE FROM user_groups WHERE user_id = ?
	AND group_name NOT IN (SELECT value FROM json_each(?))`

// UpdateUser implements storage.UserStore. The triggers user_disabled,
// user_password_changed and user_link_ended end what must end.
func (s *Store) UpdateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error {
	var version int64
	err := s.write(ctx, func(tx *tx) error {
		err := tx.row(updateUser, []any{
			u.Username, usernameKey(u.Username), u.Email, u.Name, u.PasswordHash, u.Disabled, micros(u.UpdatedAt),
			u.ID, u.Version,
		}, &version)
		if err != nil {
			return tx.conflictOrNotFound(err, existsUser, u.ID)
		}
		if _, err := tx.exec(deleteOtherUserGroups, u.ID, list(u.Groups)); err != nil {
			return err
		}
		if err := tx.writeGroups(u); err != nil {
			return err
		}
		return tx.record(event)
	})
	if err == nil {
		u.Version = version
	}
	return err
}

const (
	existsUser = `SELECT 1 FROM users WHERE id = ?`
	deleteUser = `DELETE FROM users WHERE id = ?1 AND ?2 IN (-1, version) RETURNING id`
)

// DeleteUser implements storage.UserStore. Foreign keys take Sessions, Grants and
// Families.
func (s *Store) DeleteUser(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.deleteVersion(deleteUser, existsUser, id, version); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// writeGroups puts the user into the groups it names.
func (t *tx) writeGroups(u *storage.User) error {
	if len(u.Groups) == 0 {
		return nil
	}
	if err := t.makeGroups(u.Groups); err != nil {
		return err
	}
	_, err := t.exec(insertUserGroups, u.ID, list(u.Groups))
	return err
}

// makeGroups makes the groups with these names that are not there yet.
func (t *tx) makeGroups(names []string) error {
	made := make([]map[string]string, len(names))
	for i, name := range names {
		made[i] = map[string]string{"id": storage.NewID(storage.PrefixGroup), "name": name}
	}
	_, err := t.exec(insertGroups, asJSON(made))
	return err
}

// usernameKey is what two usernames have in common that are the same but for
// case. It is Go's doing because SQLite knows the case of ASCII only.
func usernameKey(username string) string { return strings.ToLower(username) }

func scanUser(row scanner) (*storage.User, error) {
	var u storage.User
	err := row.Scan(&u.ID, &u.Username, &u.Version, &u.Email, &u.Name, &u.PasswordHash, &u.Disabled,
		intoTime{&u.VerifiedUntil}, intoTime{&u.CreatedAt}, intoTime{&u.UpdatedAt}, intoList{&u.Groups})
	return &u, err
}
