package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

// Groups implements storage.GroupStore.
func (s *Store) Groups(ctx context.Context, page storage.Page) ([]*storage.Group, error) {
	const sql = `
SELECT g.name, (SELECT count(*) FROM user_groups WHERE group_name = g.name)
FROM groups g WHERE g.name > $1 ORDER BY g.name LIMIT $2`
	return rows(ctx, s, "list groups", each(scanGroup), sql, page.After, page.Limit)
}

func scanGroup(row pgx.CollectableRow) (*storage.Group, error) {
	var g storage.Group
	err := row.Scan(&g.Name, &g.Members)
	return &g, err
}
