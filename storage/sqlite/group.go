package sqlite

import (
	"context"

	"grantd/storage"
)

const (
	selectGroups = `SELECT name, (SELECT count(*) FROM user_groups WHERE group_name = groups.name)
		FROM groups WHERE name > ? ORDER BY name LIMIT ?`
)

// Groups implements storage.GroupStore.
func (s *Store) Groups(ctx context.Context, page storage.Page) ([]*storage.Group, error) {
	return readRows(ctx, s, selectGroups, []any{page.After, page.Limit}, scanGroup)
}

func scanGroup(row scanner) (*storage.Group, error) {
	var g storage.Group
	err := row.Scan(&g.Name, &g.Members)
	return &g, err
}
