package sqlite

import (
	"context"

	"grantd/storage"
)

const (
	policyColumns = `id, name, version, groups, resources, scopes, clients, trust, skip_consent, managed_by, created_at, updated_at`

	insertPolicy = `INSERT INTO policies (` + policyColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

	selectPolicyByID = `SELECT ` + policyColumns + ` FROM policies WHERE id = ?`
	selectPolicies   = `SELECT ` + policyColumns + ` FROM policies WHERE id > ? ORDER BY id LIMIT ?`

	// selectUnknown counts what a rule names and is not there.
	selectUnknown = `SELECT (SELECT count(*) FROM json_each(?) WHERE value NOT IN (SELECT uri FROM resources))
	+ (SELECT count(*) FROM json_each(?) WHERE value NOT IN (SELECT client_id FROM clients))`
)

// CreatePolicy implements storage.PolicyStore.
func (s *Store) CreatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.knowsWhat(p); err != nil {
			return err
		}
		_, err := tx.exec(insertPolicy, p.ID, p.Name, p.Version, list(p.Groups), list(p.Resources), list(p.Scopes), list(p.Clients),
			trustList(p.Trust), p.SkipConsent, p.ManagedBy, micros(p.CreatedAt), micros(p.UpdatedAt))
		if err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

// Policy implements storage.PolicyStore.
func (s *Store) Policy(ctx context.Context, id string) (*storage.Policy, error) {
	return readOne(ctx, s, selectPolicyByID, []any{id}, scanPolicy)
}

// Policies implements storage.PolicyStore.
func (s *Store) Policies(ctx context.Context, page storage.Page) ([]*storage.Policy, error) {
	return readRows(ctx, s, selectPolicies, []any{page.After, page.Limit}, scanPolicy)
}

const (
	existsPolicy = `SELECT 1 FROM policies WHERE id = ?`
	updateRule   = `UPDATE policies SET version = version + 1,
	name = ?, groups = ?, resources = ?, scopes = ?, clients = ?, trust = ?, skip_consent = ?, managed_by = ?, updated_at = ?
	WHERE id = ? AND version = ? RETURNING version`
	deletePolicy = `DELETE FROM policies WHERE id = ?1 AND ?2 IN (-1, version) RETURNING id`
)

// UpdatePolicy implements storage.PolicyStore.
func (s *Store) UpdatePolicy(ctx context.Context, p *storage.Policy, event storage.AuditEvent) error {
	var version int64
	err := s.write(ctx, func(tx *tx) (err error) {
		if version, err = tx.updatePolicy(p); err != nil {
			return tx.conflictOrNotFound(err, existsPolicy, p.ID)
		}
		if err := tx.knowsWhat(p); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
	if err == nil {
		p.Version = version
	}
	return err
}

// DeletePolicy implements storage.PolicyStore.
func (s *Store) DeletePolicy(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.deleteVersion(deletePolicy, existsPolicy, id, version); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

// knowsWhat reports as ErrNotFound that a Resource or Client which the rule names is
// not there.
func (t *tx) knowsWhat(p *storage.Policy) error {
	var unknown int
	if err := t.row(selectUnknown, []any{list(p.Resources), list(p.StoredClients())}, &unknown); err != nil {
		return err
	}
	if unknown > 0 {
		return storage.ErrNotFound
	}
	return nil
}

func (t *tx) updatePolicy(p *storage.Policy) (version int64, err error) {
	err = t.row(updateRule, []any{
		p.Name, list(p.Groups), list(p.Resources), list(p.Scopes), list(p.Clients), trustList(p.Trust), p.SkipConsent,
		p.ManagedBy, micros(p.UpdatedAt), p.ID, p.Version,
	}, &version)
	return version, err
}

const selectNaming = `SELECT json_group_array(id ORDER BY id) FROM policies
	WHERE EXISTS (SELECT 1 FROM json_each(resources) WHERE value = ?) OR EXISTS (SELECT 1 FROM json_each(clients) WHERE value = ?)`

// unname takes a Resource or a Client that was deleted out of the rules that name
// it.
func (t *tx) unname(resource, client string, cause storage.AuditEvent) error {
	var ids []string
	if err := t.row(selectNaming, []any{resource, client}, intoList{&ids}); err != nil {
		return err
	}
	for _, id := range ids {
		var p storage.Policy
		if err := t.row(selectPolicyByID, []any{id}, intoPolicy(&p)...); err != nil {
			return err
		}
		gone, event := p.Unnamed(resource, client, cause)
		var err error
		if gone {
			_, err = t.deleteVersion(deletePolicy, existsPolicy, id, storage.AnyVersion)
		} else {
			_, err = t.updatePolicy(&p)
		}
		if err != nil {
			return err
		}
		if err := t.record(event); err != nil {
			return err
		}
	}
	return nil
}

func trustList(trust []storage.ClientTrust) string {
	if trust == nil {
		return "[]"
	}
	return asJSON(trust)
}

func scanPolicy(row scanner) (*storage.Policy, error) {
	var p storage.Policy
	err := row.Scan(intoPolicy(&p)...)
	return &p, err
}

// intoPolicy returns where policyColumns go.
func intoPolicy(p *storage.Policy) []any {
	return []any{
		&p.ID, &p.Name, &p.Version,
		intoList{&p.Groups},
		intoList{&p.Resources},
		intoList{&p.Scopes},
		intoList{&p.Clients},
		intoJSON{&p.Trust},
		&p.SkipConsent, &p.ManagedBy,
		intoTime{&p.CreatedAt},
		intoTime{&p.UpdatedAt},
	}
}
