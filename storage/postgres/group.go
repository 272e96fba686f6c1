package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

const selectGroup = `
SELECT g.id, g.name, g.version, g.description, g.managed_by, (SELECT count(*) FROM user_groups WHERE group_name = g.name)
FROM groups g `

// CreateGroup implements storage.GroupStore.
func (s *Store) CreateGroup(ctx context.Context, g *storage.Group, event storage.AuditEvent) error {
	const sql = `
WITH made AS (
	INSERT INTO groups (id, name, version, description, managed_by) VALUES ($7, $8, $9, $10, $11) RETURNING id
), recorded AS (` + recordEvent + `made)
SELECT id FROM made`
	return s.act(ctx, "create a group", storage.ErrExists, sql, withEvent(event, g.ID, g.Name, g.Version, g.Description, g.ManagedBy)...)
}

// Group implements storage.GroupStore.
func (s *Store) Group(ctx context.Context, id string) (*storage.Group, error) {
	const sql = selectGroup + `WHERE g.id = $1`
	return only(rows(ctx, s, "read a group", each(scanGroup), sql, id))
}

// GroupByName implements storage.GroupStore.
func (s *Store) GroupByName(ctx context.Context, name string) (*storage.Group, error) {
	const sql = selectGroup + `WHERE g.name = $1`
	return only(rows(ctx, s, "read a group", each(scanGroup), sql, name))
}

// Groups implements storage.GroupStore.
func (s *Store) Groups(ctx context.Context, page storage.Page) ([]*storage.Group, error) {
	const sql = selectGroup + `WHERE g.name > $1 ORDER BY g.name LIMIT $2`
	return rows(ctx, s, "list groups", each(scanGroup), sql, page.After, page.Limit)
}

// UpdateGroup implements storage.GroupStore.
func (s *Store) UpdateGroup(ctx context.Context, g *storage.Group, event storage.AuditEvent) error {
	const (
		lock   = `SELECT version FROM groups WHERE id = $1 FOR NO KEY UPDATE`
		update = `UPDATE groups SET version = $2, description = $3, managed_by = $4 WHERE id = $1`
	)
	err := s.tx(ctx, "update a group", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockVersion(ctx, tx, lock, g.ID, g.Version); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, update, g.ID, g.Version+1, g.Description, g.ManagedBy); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
	if err == nil {
		g.Version++
	}
	return err
}

// DeleteGroup implements storage.GroupStore. Users are locked before the group, as
// everywhere. Whoever joins between the two locks is found by leave.
func (s *Store) DeleteGroup(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	const (
		lockUsers = `
SELECT u.id FROM users u JOIN user_groups m ON m.user_id = u.id JOIN groups g ON g.name = m.group_name
WHERE g.id = $1 ORDER BY u.id FOR NO KEY UPDATE OF u`
		lock  = `SELECT name, version FROM groups WHERE id = $1 FOR UPDATE`
		leave = `
WITH gone AS (DELETE FROM user_groups WHERE group_name = $1 RETURNING user_id)
UPDATE users SET version = version + 1 FROM gone WHERE users.id = gone.user_id`
		remove = `DELETE FROM groups WHERE id = $1`
	)
	return s.tx(ctx, "delete a group", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockUsers, id); err != nil {
			return err
		}
		var (
			name   string
			locked int64
		)
		if err := tx.QueryRow(ctx, lock, id).Scan(&name, &locked); err != nil {
			return err
		}
		if version != storage.AnyVersion && version != locked {
			return storage.ErrConflict
		}
		if _, err := tx.Exec(ctx, leave, name); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, remove, id); err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// touchUser moves a user's version and locks the row. ErrNotFound.
func touchUser(ctx context.Context, tx pgx.Tx, id string) error {
	const sql = `UPDATE users SET version = version + 1 WHERE id = $1`
	tag, err := tx.Exec(ctx, sql, id)
	if err == nil && tag.RowsAffected() == 0 {
		return storage.ErrNotFound
	}
	return err
}

// AddGroupMember implements storage.GroupStore.
func (s *Store) AddGroupMember(ctx context.Context, id, userID string, event storage.AuditEvent) error {
	const (
		lock = `SELECT name FROM groups WHERE id = $1 FOR KEY SHARE`
		join = `INSERT INTO user_groups (user_id, group_name) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	)
	return s.tx(ctx, "add a member to a group", func(ctx context.Context, tx pgx.Tx) error {
		if err := touchUser(ctx, tx, userID); err != nil {
			return err
		}
		var name string
		if err := tx.QueryRow(ctx, lock, id).Scan(&name); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, join, userID, name)
		if err == nil && tag.RowsAffected() == 0 {
			err = storage.ErrExists
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

// RemoveGroupMember implements storage.GroupStore.
func (s *Store) RemoveGroupMember(ctx context.Context, id, userID string, event storage.AuditEvent) error {
	const leave = `
DELETE FROM user_groups m USING groups g WHERE g.name = m.group_name AND g.id = $1 AND m.user_id = $2`
	return s.tx(ctx, "remove a member from a group", func(ctx context.Context, tx pgx.Tx) error {
		if err := touchUser(ctx, tx, userID); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, leave, id, userID)
		if err == nil && tag.RowsAffected() == 0 {
			err = storage.ErrNotFound
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, event)
	})
}

func scanGroup(row pgx.CollectableRow) (*storage.Group, error) {
	var g storage.Group
	err := row.Scan(&g.ID, &g.Name, &g.Version, &g.Description, &g.ManagedBy, &g.Members)
	return &g, err
}
