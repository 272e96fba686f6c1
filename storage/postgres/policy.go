package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

const selectPolicies = `
SELECT id, name, version, groups, resources, scopes, clients, trust, skip_consent, managed_by, created_at, updated_at
FROM policies `

// CreatePolicy implements storage.PolicyStore.
func (s *Store) CreatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	const insert = `
INSERT INTO policies (id, name, version, groups, resources, scopes, clients, trust, skip_consent, managed_by, updated_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`
	return s.tx(ctx, "create a policy", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockNamed(ctx, tx, p); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insert, append(policyArgs(p, p.Version), p.CreatedAt)...); err != nil {
			return err
		}
		return catalogChanged(ctx, tx, event)
	})
}

// Policy implements storage.PolicyStore.
func (s *Store) Policy(ctx context.Context, id string) (*storage.Policy, error) {
	const sql = selectPolicies + `WHERE id = $1`
	return only(rows(ctx, s, "read a policy", each(scanPolicy), sql, id))
}

// Policies implements storage.PolicyStore.
func (s *Store) Policies(ctx context.Context, page storage.Page) ([]*storage.Policy, error) {
	const sql = selectPolicies + `WHERE id > $1 ORDER BY id LIMIT $2`
	return rows(ctx, s, "list policies", each(scanPolicy), sql, page.After, page.Limit)
}

// UpdatePolicy implements storage.PolicyStore. What the rule names is locked before
// the rule, as whoever deletes it does.
func (s *Store) UpdatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	const lock = `SELECT version FROM policies WHERE id = $1 FOR NO KEY UPDATE`
	err := s.tx(ctx, "update a policy", func(ctx context.Context, tx pgx.Tx) error {
		named := lockNamed(ctx, tx, p)
		if named != nil && !errors.Is(named, storage.ErrNotFound) {
			return named
		}
		// That the rule itself has changed or is gone comes first.
		if err := lockVersion(ctx, tx, lock, p.ID, p.Version); err != nil {
			return err
		}
		if named != nil {
			return named
		}
		if err := updatePolicy(ctx, tx, p); err != nil {
			return err
		}
		return catalogChanged(ctx, tx, event)
	})
	if err == nil {
		p.Version++
	}
	return err
}

// DeletePolicy implements storage.PolicyStore.
func (s *Store) DeletePolicy(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	const sql = `DELETE FROM policies WHERE id = $1 RETURNING '', '', version`
	return s.deleteFromCatalog(ctx, "delete a policy", sql, id, version, event)
}

// lockNamed locks the Resources and the Clients that the rule names against
// deletion. ErrNotFound: one of them is not there.
func lockNamed(ctx context.Context, tx pgx.Tx, p *storage.Policy) error {
	clients := p.StoredClients()
	for _, named := range []struct {
		sql   string
		names []string
	}{
		{`SELECT id FROM clients WHERE client_id = ANY ($1) ORDER BY id FOR KEY SHARE`, clients},
		{`SELECT id FROM resources WHERE uri = ANY ($1) ORDER BY id FOR KEY SHARE`, p.Resources},
	} {
		if len(named.names) == 0 {
			continue
		}
		tag, err := tx.Exec(ctx, named.sql, named.names)
		if err != nil {
			return err
		}
		if int(tag.RowsAffected()) < len(named.names) {
			return storage.ErrNotFound
		}
	}
	return nil
}

func updatePolicy(ctx context.Context, tx pgx.Tx, p *storage.Policy) error {
	const sql = `
UPDATE policies SET name = $2, version = $3, groups = $4, resources = $5, scopes = $6, clients = $7, trust = $8,
	skip_consent = $9, managed_by = $10, updated_at = $11
WHERE id = $1`
	_, err := tx.Exec(ctx, sql, policyArgs(p, p.Version+1)...)
	return err
}

// unname takes a Resource or a Client that was deleted out of the rules that name
// it. Whoever was about to name it held a lock on it, so all of them are seen.
func unname(ctx context.Context, tx pgx.Tx, resource, client string, cause storage.AuditEvent) error {
	const (
		naming = selectPolicies + `WHERE $1 = ANY (resources) OR $2 = ANY (clients) ORDER BY id FOR UPDATE`
		drop   = `DELETE FROM policies WHERE id = $1`
	)
	if resource == "" && client == "" {
		return nil
	}
	found, err := tx.Query(ctx, naming, resource, client)
	if err != nil {
		return err
	}
	policies, err := pgx.CollectRows(found, scanPolicy)
	if err != nil {
		return err
	}
	for _, p := range policies {
		gone, event := p.Unnamed(resource, client, cause)
		if gone {
			_, err = tx.Exec(ctx, drop, p.ID)
		} else {
			err = updatePolicy(ctx, tx, p)
		}
		if err != nil {
			return err
		}
		if err := record(ctx, tx, event); err != nil {
			return err
		}
	}
	return nil
}

// policyArgs returns the columns of a policy but created_at, the version as it is
// to be.
func policyArgs(p *storage.Policy, version int64) []any {
	trust := make([]string, len(p.Trust))
	for i, level := range p.Trust {
		trust[i] = string(level)
	}
	return []any{
		p.ID, p.Name, version, list(p.Groups), list(p.Resources), list(p.Scopes), list(p.Clients), trust, p.SkipConsent,
		p.ManagedBy, p.UpdatedAt,
	}
}

func scanPolicy(row pgx.CollectableRow) (*storage.Policy, error) {
	var p storage.Policy
	err := row.Scan(&p.ID, &p.Name, &p.Version, &p.Groups, &p.Resources, &p.Scopes, &p.Clients, &p.Trust, &p.SkipConsent,
		&p.ManagedBy, &p.CreatedAt, &p.UpdatedAt)
	return &p, err
}
