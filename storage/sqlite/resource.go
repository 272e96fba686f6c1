package sqlite

import (
	"context"
	"strings"
	"time"

	"grantd/storage"
)

const insertResource = `INSERT INTO resources
	(id, uri, uri_key, version, name, introspection_clients, access_token_lifetime, created_at, updated_at, managed_by)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// writeScopes inserts scopes and changes those that are there.
const writeScopes = `INSERT INTO scopes (resource_id, position, name, description, tools, risk)
	SELECT ?, key, value ->> 'name', value ->> 'description', value -> 'tools', value ->> 'risk' FROM json_each(?) WHERE true
	ON CONFLICT (resource_id, name) DO UPDATE
	SET position = excluded.position, description = excluded.description, tools = excluded.tools, risk = excluded.risk`

// CreateResource implements storage.ResourceStore.
func (s *Store) CreateResource(ctx context.Context, r *storage.Resource, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(insertResource, resourceArgs(r)...); err != nil {
			return err
		}
		if _, err := tx.exec(writeScopes, r.ID, scopesJSON(r.Scopes)); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

// listed is the condition on a resource that it is not one of grantd's own.
const listed = `id NOT IN ('` + storage.IdentityResourceID + `', '` + storage.AdminResourceID + `')`

// resourceArgs returns the values of insertResource.
func resourceArgs(r *storage.Resource) []any {
	return []any{
		r.ID, r.URI, strings.TrimSuffix(r.URI, "/"), r.Version, r.Name, list(r.IntrospectionClients),
		r.AccessTokenLifetime.Microseconds(), micros(r.CreatedAt), micros(r.UpdatedAt), r.ManagedBy,
	}
}

const selectResource = `SELECT id, uri, version, name, introspection_clients, access_token_lifetime, created_at, updated_at, managed_by,
	(SELECT json_group_array(json_object('name', name, 'description', description, 'tools', json(tools), 'risk', risk) ORDER BY position)
	 FROM scopes WHERE resource_id = resources.id)
	FROM resources `

const (
	selectResourceByID  = selectResource + `WHERE id = ? AND ` + listed
	selectResourceByURI = selectResource + `WHERE uri_key = ? AND ` + listed
	selectResources     = selectResource + `WHERE id > ? AND ` + listed + ` ORDER BY id LIMIT ?`
)

// Resource implements storage.ResourceStore.
func (s *Store) Resource(ctx context.Context, id string) (*storage.Resource, error) {
	return readOne(ctx, s, selectResourceByID, []any{id}, scanResource)
}

// ResourceByURI implements storage.ResourceStore.
func (s *Store) ResourceByURI(ctx context.Context, uri string) (*storage.Resource, error) {
	return readOne(ctx, s, selectResourceByURI, []any{strings.TrimSuffix(uri, "/")}, scanResource)
}

// Resources implements storage.ResourceStore.
func (s *Store) Resources(ctx context.Context, page storage.Page) ([]*storage.Resource, error) {
	return readRows(ctx, s, selectResources, []any{page.After, page.Limit}, scanResource)
}

const updateResource = `UPDATE resources SET version = version + 1,
	name = ?, introspection_clients = ?, access_token_lifetime = ?, updated_at = ?, managed_by = ?
	WHERE id = ? AND version = ? AND ` + listed + ` RETURNING version`

const deleteOtherScopes = `DELETE FROM scopes WHERE resource_id = ?
	AND name NOT IN (SELECT value ->> 'name' FROM json_each(?))`

// UpdateResource implements storage.ResourceStore. The trigger scope_removed
// strips a scope that is gone from what has it.
func (s *Store) UpdateResource(ctx context.Context, r *storage.Resource, event storage.AuditEvent) error {
	var version int64
	err := s.write(ctx, func(tx *tx) error {
		err := tx.row(updateResource, []any{
			r.Name, list(r.IntrospectionClients), r.AccessTokenLifetime.Microseconds(), micros(r.UpdatedAt), r.ManagedBy,
			r.ID, r.Version,
		}, &version)
		if err != nil {
			return tx.conflictOrNotFound(err, existsResource, r.ID)
		}
		scopes := scopesJSON(r.Scopes)
		if _, err := tx.exec(deleteOtherScopes, r.ID, scopes); err != nil {
			return err
		}
		if _, err := tx.exec(writeScopes, r.ID, scopes); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
	if err == nil {
		r.Version = version
	}
	return err
}

const (
	existsResource = `SELECT 1 FROM resources WHERE id = ? AND ` + listed
	deleteResource = `DELETE FROM resources WHERE id = ?1 AND ` + listed + ` AND ?2 IN (-1, version) RETURNING uri`
)

// DeleteResource implements storage.ResourceStore. Foreign keys take the Grants.
func (s *Store) DeleteResource(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		uri, err := tx.deleteVersion(deleteResource, existsResource, id, version)
		if err != nil {
			return err
		}
		if err := tx.unname(uri, "", event); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

// scopeRow is a scopes row as JSON.
type scopeRow struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Tools       []string          `json:"tools"`
	Risk        storage.ScopeRisk `json:"risk"`
}

func scopesJSON(scopes []storage.Scope) string {
	rows := make([]scopeRow, len(scopes))
	for i, scope := range scopes {
		rows[i] = scopeRow(scope)
		if scope.Tools == nil {
			rows[i].Tools = []string{}
		}
	}
	return asJSON(rows)
}

func scanResource(row scanner) (*storage.Resource, error) {
	var (
		r        storage.Resource
		lifetime int64
		scopes   []scopeRow
	)
	err := row.Scan(&r.ID, &r.URI, &r.Version, &r.Name, intoList{&r.IntrospectionClients}, &lifetime,
		intoTime{&r.CreatedAt}, intoTime{&r.UpdatedAt}, &r.ManagedBy, intoJSON{&scopes})
	if err != nil {
		return nil, err
	}
	r.AccessTokenLifetime = time.Duration(lifetime) * time.Microsecond
	r.Scopes = make([]storage.Scope, len(scopes))
	for i, row := range scopes {
		r.Scopes[i] = storage.Scope(row)
	}
	return &r, nil
}
