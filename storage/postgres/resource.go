package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// Resources are read with their scopes, a row for each, in one statement.
const (
	selectResources = `
SELECT r.id, r.uri, r.version, r.name, r.introspection_clients, r.access_token_lifetime, r.created_at, r.updated_at, r.managed_by,
	s.name, s.description, s.tools, s.risk
FROM `
	withScopes = ` r
LEFT JOIN scopes s ON s.resource_id = r.id
ORDER BY r.id, s.position`
	// listed is the condition on a resource that it is not one of grantd's own.
	listed = `id NOT IN ('` + storage.IdentityResourceID + `', '` + storage.AdminResourceID + `')`
)

// Resource implements storage.ResourceStore.
func (s *Store) Resource(ctx context.Context, id string) (*storage.Resource, error) {
	const sql = selectResources + `(SELECT * FROM resources WHERE id = $1 AND ` + listed + `)` + withScopes
	return only(rows(ctx, s, "read a resource", scanResources, sql, id))
}

// ResourceByURI implements storage.ResourceStore.
func (s *Store) ResourceByURI(ctx context.Context, uri string) (*storage.Resource, error) {
	const sql = selectResources + `(SELECT * FROM resources WHERE uri_key = $1 AND ` + listed + `)` + withScopes
	return only(rows(ctx, s, "read a resource", scanResources, sql, strings.TrimSuffix(uri, "/")))
}

// Resources implements storage.ResourceStore.
func (s *Store) Resources(ctx context.Context, page storage.Page) ([]*storage.Resource, error) {
	const sql = selectResources + `(SELECT * FROM resources WHERE id > $1 AND ` + listed + ` ORDER BY id LIMIT $2)` + withScopes
	return rows(ctx, s, "list resources", scanResources, sql, page.After, page.Limit)
}

const (
	insertResource = `
INSERT INTO resources (id, uri, uri_key, version, name, introspection_clients, access_token_lifetime, created_at, updated_at, managed_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	insertScope = `INSERT INTO scopes (resource_id, position, name, description, tools, risk) VALUES ($1, $2, $3, $4, $5, $6)`
)

// resourceArgs returns the parameters of insertResource.
func resourceArgs(r *storage.Resource) []any {
	return []any{
		r.ID, r.URI, strings.TrimSuffix(r.URI, "/"), r.Version, r.Name, list(r.IntrospectionClients),
		r.AccessTokenLifetime.Microseconds(), r.CreatedAt, r.UpdatedAt, r.ManagedBy,
	}
}

// CreateResource implements storage.ResourceStore.
func (s *Store) CreateResource(ctx context.Context, r *storage.Resource, event storage.AuditEvent) error {
	return s.tx(ctx, "create a resource", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertResource, resourceArgs(r)...); err != nil {
			return err
		}
		for i, scope := range r.Scopes {
			if _, err := tx.Exec(ctx, insertScope, r.ID, i, scope.Name, scope.Description, list(scope.Tools), scope.Risk); err != nil {
				return err
			}
		}
		return catalogChanged(ctx, tx, event)
	})
}

// What takes away the scopes in parameter 2 from all that has them for the
// Resource in parameter 1. Codes before families: a code that is being redeemed
// is waited for, and the family it became is found.
var stripScopes = []string{
	`DELETE FROM grants WHERE resource_id = $1 AND scopes && $2 AND scopes <@ $2`,
	`UPDATE grants SET scopes = ARRAY(SELECT name FROM unnest(scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ($2) ORDER BY n)
WHERE resource_id = $1 AND scopes && $2`,
	`UPDATE authorization_codes SET scopes = ARRAY(SELECT name FROM unnest(scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ($2) ORDER BY n)
WHERE resource_id = $1 AND scopes && $2`,
	`UPDATE device_authorizations SET scopes = ARRAY(SELECT name FROM unnest(scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ($2) ORDER BY n)
WHERE resource_id = $1 AND scopes && $2`,
	`DELETE FROM families USING grants
WHERE grants.id = families.grant_id AND grants.resource_id = $1 AND families.scopes && $2 AND families.scopes <@ $2`,
	`UPDATE families SET scopes = ARRAY(SELECT name FROM unnest(families.scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ($2) ORDER BY n)
FROM grants
WHERE grants.id = families.grant_id AND grants.resource_id = $1 AND families.scopes && $2`,
}

// UpdateResource implements storage.ResourceStore. The rows of scopes that stay
// are updated and not made anew, because Approve locks those it relies on.
func (s *Store) UpdateResource(ctx context.Context, r *storage.Resource, event storage.AuditEvent) error {
	const (
		lock   = `SELECT version FROM resources WHERE id = $1 AND ` + listed + ` FOR NO KEY UPDATE`
		update = `
UPDATE resources SET version = $2, name = $3, introspection_clients = $4, access_token_lifetime = $5, updated_at = $6, managed_by = $7
WHERE id = $1`
		deleteScopes = `DELETE FROM scopes WHERE resource_id = $1 AND name <> ALL ($2) RETURNING name`
		upsertScope  = `
INSERT INTO scopes (resource_id, position, name, description, tools, risk) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (resource_id, name) DO UPDATE
SET position = EXCLUDED.position, description = EXCLUDED.description, tools = EXCLUDED.tools, risk = EXCLUDED.risk`
	)
	err := s.tx(ctx, "update a resource", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockVersion(ctx, tx, lock, r.ID, r.Version); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, update, r.ID, r.Version+1, r.Name, list(r.IntrospectionClients),
			r.AccessTokenLifetime.Microseconds(), r.UpdatedAt, r.ManagedBy)
		if err != nil {
			return err
		}
		deleted, err := tx.Query(ctx, deleteScopes, r.ID, r.ScopeNames())
		if err != nil {
			return err
		}
		gone, err := pgx.CollectRows(deleted, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for i, scope := range r.Scopes {
			if _, err := tx.Exec(ctx, upsertScope, r.ID, i, scope.Name, scope.Description, list(scope.Tools), scope.Risk); err != nil {
				return err
			}
		}
		if len(gone) > 0 {
			for _, sql := range stripScopes {
				if _, err := tx.Exec(ctx, sql, r.ID, gone); err != nil {
					return err
				}
			}
		}
		return catalogChanged(ctx, tx, event)
	})
	if err == nil {
		r.Version++
	}
	return err
}

// DeleteResource implements storage.ResourceStore.
func (s *Store) DeleteResource(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	const sql = `DELETE FROM resources WHERE id = $1 AND ` + listed + ` RETURNING uri, '', version`
	return s.deleteFromCatalog(ctx, "delete a resource", sql, id, version, event)
}

// scanResources reads the rows of selectResources, those of one resource together.
func scanResources(rows pgx.Rows) ([]*storage.Resource, error) {
	resources := []*storage.Resource{}
	for rows.Next() {
		var (
			r            storage.Resource
			scope        storage.Scope
			microseconds int64
		)
		err := rows.Scan(&r.ID, &r.URI, &r.Version, &r.Name, &r.IntrospectionClients, &microseconds, &r.CreatedAt,
			&r.UpdatedAt, &r.ManagedBy, (*zeronull.Text)(&scope.Name), (*zeronull.Text)(&scope.Description), &scope.Tools, (*zeronull.Text)(&scope.Risk))
		if err != nil {
			return nil, err
		}
		if n := len(resources); n == 0 || resources[n-1].ID != r.ID {
			r.AccessTokenLifetime = time.Duration(microseconds) * time.Microsecond
			r.Scopes = []storage.Scope{}
			resources = append(resources, &r)
		}
		if scope.Name != "" {
			last := resources[len(resources)-1]
			last.Scopes = append(last.Scopes, scope)
		}
	}
	return resources, rows.Err()
}
