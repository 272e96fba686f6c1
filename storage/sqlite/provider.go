package sqlite

import (
	"context"
	"time"

	"grantd/storage"
)

const (
	selectProvider = `SELECT id, version, name, issuer, preset, client_id, sealed_client_secret, scopes, label, automatic, link_by_email,
	claim_name, claim_email, claim_groups, allowed_tenants, allowed_domains, allowed_groups, acr_values,
	reverify_after, enabled, managed_by, client_secret_set_at, second_factor, created_at, updated_at FROM providers `
	selectProviderByID = selectProvider + `WHERE id = ?`
	selectProviders    = selectProvider + `WHERE id > ? ORDER BY id LIMIT ?`
)

// Provider implements storage.ProviderStore.
func (s *Store) Provider(ctx context.Context, id string) (*storage.Provider, error) {
	return readOne(ctx, s, selectProviderByID, []any{id}, scanProvider)
}

// Providers implements storage.ProviderStore.
func (s *Store) Providers(ctx context.Context, page storage.Page) ([]*storage.Provider, error) {
	return readRows(ctx, s, selectProviders, []any{page.After, page.Limit}, scanProvider)
}

const insertProvider = `INSERT INTO providers (name, client_id, sealed_client_secret, scopes, label, automatic, link_by_email,
	claim_name, claim_email, claim_groups, allowed_tenants, allowed_domains, allowed_groups, acr_values,
	reverify_after, enabled, managed_by, client_secret_set_at, second_factor, updated_at, id, version, issuer, preset, created_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// CreateProvider implements storage.ProviderStore.
func (s *Store) CreateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		args := append(providerValues(p), p.ID, p.Version, p.Issuer, string(p.Preset), micros(p.CreatedAt))
		if _, err := tx.exec(insertProvider, args...); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

const (
	updateProvider = `UPDATE providers SET version = version + 1, name = ?, client_id = ?, sealed_client_secret = ?, scopes = ?, label = ?,
	automatic = ?, link_by_email = ?, claim_name = ?, claim_email = ?, claim_groups = ?, allowed_tenants = ?,
	allowed_domains = ?, allowed_groups = ?, acr_values = ?, reverify_after = ?, enabled = ?, managed_by = ?,
	client_secret_set_at = ?, second_factor = ?, updated_at = ?
	WHERE id = ? AND version = ? RETURNING version`
	existsProvider = `SELECT 1 FROM providers WHERE id = ?`

	// unverify ends what a provider has said of the people who came through it last.
	unverify = `UPDATE users SET version = version + 1, verified_until = ?1
	WHERE verified_until > ?1 AND id IN (SELECT user_id FROM user_identities WHERE provider_id = ?2)`
)

// UpdateProvider implements storage.ProviderStore.
func (s *Store) UpdateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	var version int64
	err := s.write(ctx, func(tx *tx) error {
		if err := tx.row(updateProvider, append(providerValues(p), p.ID, p.Version), &version); err != nil {
			return tx.conflictOrNotFound(err, existsProvider, p.ID)
		}
		if !p.Enabled {
			if _, err := tx.exec(unverify, micros(event.At), p.ID); err != nil {
				return err
			}
		}
		return tx.changedCatalog(event)
	})
	if err == nil {
		p.Version = version
	}
	return err
}

const resealProvider = `UPDATE providers SET sealed_client_secret = ? WHERE id = ? AND sealed_client_secret = ?`

// ResealProvider implements storage.ProviderStore.
func (s *Store) ResealProvider(ctx context.Context, id string, sealed, resealed []byte, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(resealProvider, blob(resealed), id, blob(sealed))
		if err != nil {
			return err
		}
		if n == 0 {
			return storage.ErrConflict
		}
		return tx.changedCatalog(event)
	})
}

const (
	// forget is unverify, and moves the version of everybody of whom it has said
	// something: that of a Group too.
	forget = `UPDATE users SET version = version + 1, verified_until = CASE
		WHEN verified_until > ?1 AND id IN (SELECT user_id FROM user_identities WHERE provider_id = ?2) THEN ?1 ELSE verified_until END
	WHERE id IN (SELECT user_id FROM user_identities WHERE provider_id = ?2 UNION SELECT user_id FROM user_groups WHERE provider_id = ?2)`
	deleteProvider = `DELETE FROM providers WHERE id = ?1 AND ?2 IN (-1, version) RETURNING id`
)

// DeleteProvider implements storage.ProviderStore. Foreign keys take UserIdentities and
// memberships.
func (s *Store) DeleteProvider(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(forget, micros(event.At), id); err != nil {
			return err
		}
		if _, err := tx.deleteVersion(deleteProvider, existsProvider, id, version); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

// providerValues are the columns that may change, but for the version.
func providerValues(p *storage.Provider) []any {
	return []any{
		p.Name, p.ClientID, blob(p.SealedClientSecret), list(p.Scopes), p.Label, p.Automatic, p.LinkByEmail,
		p.Claims.Name, p.Claims.Email, p.Claims.Groups, list(p.AllowedTenants), list(p.AllowedDomains), list(p.AllowedGroups), list(p.ACRValues),
		p.ReverifyAfter.Microseconds(), p.Enabled, p.ManagedBy, microsOrNull(p.ClientSecretSetAt), string(p.SecondFactor), micros(p.UpdatedAt),
	}
}

func scanProvider(row scanner) (*storage.Provider, error) {
	var (
		p        storage.Provider
		reverify int64
	)
	err := row.Scan(&p.ID, &p.Version, &p.Name, &p.Issuer, &p.Preset, &p.ClientID, intoBlob{&p.SealedClientSecret}, intoList{&p.Scopes}, &p.Label, &p.Automatic, &p.LinkByEmail,
		&p.Claims.Name, &p.Claims.Email, &p.Claims.Groups, intoList{&p.AllowedTenants}, intoList{&p.AllowedDomains}, intoList{&p.AllowedGroups}, intoList{&p.ACRValues},
		&reverify, &p.Enabled, &p.ManagedBy, intoTime{&p.ClientSecretSetAt}, &p.SecondFactor, intoTime{&p.CreatedAt}, intoTime{&p.UpdatedAt})
	p.ReverifyAfter = time.Duration(reverify) * time.Microsecond
	return &p, err
}
