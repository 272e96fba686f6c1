package sqlite

import (
	"context"

	"grantd/storage"
)

const selectGroup = `SELECT id, name, version, description, managed_by,
	(SELECT count(*) FROM user_groups WHERE group_name = groups.name)
	FROM groups `

const (
	selectGroupByID   = selectGroup + `WHERE id = ?`
	selectGroupByName = selectGroup + `WHERE name = ?`
	selectGroups      = selectGroup + `WHERE name > ? ORDER BY name LIMIT ?`
)

const insertGroup = `INSERT INTO groups (id, name, version, description, managed_by) VALUES (?, ?, ?, ?, ?)`

// CreateGroup implements storage.GroupStore.
func (s *Store) CreateGroup(ctx context.Context, g *storage.Group, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(insertGroup, g.ID, g.Name, g.Version, g.Description, g.ManagedBy); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// Group implements storage.GroupStore.
func (s *Store) Group(ctx context.Context, id string) (*storage.Group, error) {
	return readOne(ctx, s, selectGroupByID, []any{id}, scanGroup)
}

// GroupByName implements storage.GroupStore.
func (s *Store) GroupByName(ctx context.Context, name string) (*storage.Group, error) {
	return readOne(ctx, s, selectGroupByName, []any{name}, scanGroup)
}

// Groups implements storage.GroupStore.
func (s *Store) Groups(ctx context.Context, page storage.Page) ([]*storage.Group, error) {
	return readRows(ctx, s, selectGroups, []any{page.After, page.Limit}, scanGroup)
}

const (
	updateGroup = `UPDATE groups SET version = version + 1, description = ?, managed_by = ?
		WHERE id = ? AND version = ? RETURNING version`
	existsGroup = `SELECT 1 FROM groups WHERE id = ?`
	deleteGroup = `DELETE FROM groups WHERE id = ?1 AND ?2 IN (-1, version) RETURNING id`
)

// UpdateGroup implements storage.GroupStore.
func (s *Store) UpdateGroup(ctx context.Context, g *storage.Group, event storage.AuditEvent) error {
	var version int64
	err := s.write(ctx, func(tx *tx) error {
		if err := tx.row(updateGroup, []any{g.Description, g.ManagedBy, g.ID, g.Version}, &version); err != nil {
			return tx.conflictOrNotFound(err, existsGroup, g.ID)
		}
		return tx.record(event)
	})
	if err == nil {
		g.Version = version
	}
	return err
}

const touchGroupMembers = `UPDATE users SET version = version + 1 WHERE id IN
	(SELECT user_id FROM user_groups JOIN groups ON groups.name = group_name WHERE groups.id = ?)`

// DeleteGroup implements storage.GroupStore. The foreign key takes everybody out.
func (s *Store) DeleteGroup(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(touchGroupMembers, id); err != nil {
			return err
		}
		if _, err := tx.deleteVersion(deleteGroup, existsGroup, id, version); err != nil {
			return err
		}
		return tx.record(event)
	})
}

const (
	touchUser = `UPDATE users SET version = version + 1 WHERE id = ?`
	// joinGroup meets a member who is there already as a key that is taken.
	joinGroup  = `INSERT INTO user_groups (user_id, group_name) SELECT ?, name FROM groups WHERE id = ?`
	leaveGroup = `DELETE FROM user_groups WHERE user_id = ? AND group_name = (SELECT name FROM groups WHERE id = ?)`
)

// AddGroupMember implements storage.GroupStore.
func (s *Store) AddGroupMember(ctx context.Context, id, userID string, event storage.AuditEvent) error {
	return s.changeMember(ctx, joinGroup, id, userID, event)
}

// RemoveGroupMember implements storage.GroupStore.
func (s *Store) RemoveGroupMember(ctx context.Context, id, userID string, event storage.AuditEvent) error {
	return s.changeMember(ctx, leaveGroup, id, userID, event)
}

func (s *Store) changeMember(ctx context.Context, statement, id, userID string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(touchUser, userID); err != nil {
			return err
		}
		if err := tx.mustExec(statement, userID, id); err != nil {
			return err
		}
		return tx.record(event)
	})
}

func scanGroup(row scanner) (*storage.Group, error) {
	var g storage.Group
	err := row.Scan(&g.ID, &g.Name, &g.Version, &g.Description, &g.ManagedBy, &g.Members)
	return &g, err
}
