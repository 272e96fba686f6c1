package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

const selectProvider = `
SELECT id, version, name, issuer, preset, client_id, sealed_client_secret, scopes, label, automatic, link_by_email,
	claim_name, claim_email, claim_groups, allowed_tenants, allowed_domains, allowed_groups, acr_values,
	reverify_after, enabled, managed_by, client_secret_set_at, second_factor, created_at, updated_at
FROM providers `

// Provider implements storage.ProviderStore.
func (s *Store) Provider(ctx context.Context, id string) (*storage.Provider, error) {
	const sql = selectProvider + `WHERE id = $1`
	return only(rows(ctx, s, "read a provider", each(scanProvider), sql, id))
}

// Providers implements storage.ProviderStore.
func (s *Store) Providers(ctx context.Context, page storage.Page) ([]*storage.Provider, error) {
	const sql = selectProvider + `WHERE id > $1 ORDER BY id LIMIT $2`
	return rows(ctx, s, "list providers", each(scanProvider), sql, page.After, page.Limit)
}

// CreateProvider implements storage.ProviderStore.
func (s *Store) CreateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	const insert = `
INSERT INTO providers (version, name, client_id, sealed_client_secret, scopes, label, automatic, link_by_email,
	claim_name, claim_email, claim_groups, allowed_tenants, allowed_domains, allowed_groups, acr_values,
	reverify_after, enabled, managed_by, client_secret_set_at, second_factor, updated_at, id, issuer, preset, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)`
	return s.tx(ctx, "create a provider", func(ctx context.Context, tx pgx.Tx) error {
		args := append(providerValues(p, p.Version), p.ID, p.Issuer, p.Preset, p.CreatedAt)
		if _, err := tx.Exec(ctx, insert, args...); err != nil {
			return err
		}
		return catalogChanged(ctx, tx, event)
	})
}

// unverify ends what a provider has said of the people who came through it last. The
// users are locked in the order of their ids.
const unverify = `
UPDATE users SET version = version + 1, verified_until = $2
FROM (
	SELECT id FROM users
	WHERE verified_until > $2 AND id IN (SELECT user_id FROM user_identities WHERE provider_id = $1)
	ORDER BY id FOR NO KEY UPDATE
) AS people
WHERE users.id = people.id`

// UpdateProvider implements storage.ProviderStore.
func (s *Store) UpdateProvider(ctx context.Context, p *storage.Provider, event storage.AuditEvent) error {
	const (
		lock   = `SELECT version FROM providers WHERE id = $1 FOR NO KEY UPDATE`
		update = `
UPDATE providers SET version = $1, name = $2, client_id = $3, sealed_client_secret = $4, scopes = $5, label = $6,
	automatic = $7, link_by_email = $8, claim_name = $9, claim_email = $10, claim_groups = $11, allowed_tenants = $12,
	allowed_domains = $13, allowed_groups = $14, acr_values = $15, reverify_after = $16, enabled = $17,
	managed_by = $18, client_secret_set_at = $19, second_factor = $20, updated_at = $21
WHERE id = $22`
	)
	err := s.tx(ctx, "update a provider", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockVersion(ctx, tx, lock, p.ID, p.Version); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, update, append(providerValues(p, p.Version+1), p.ID)...); err != nil {
			return err
		}
		if !p.Enabled {
			if _, err := tx.Exec(ctx, unverify, p.ID, event.At); err != nil {
				return err
			}
		}
		return catalogChanged(ctx, tx, event)
	})
	if err == nil {
		p.Version++
	}
	return err
}

// ResealProvider implements storage.ProviderStore.
func (s *Store) ResealProvider(ctx context.Context, id string, sealed, resealed []byte, event storage.AuditEvent) error {
	const sql = `
WITH resealed AS (
	UPDATE providers SET sealed_client_secret = $9 WHERE id = $7 AND sealed_client_secret = $8 RETURNING id
), recorded AS (` + recordEvent + `resealed
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM resealed))
SELECT id FROM resealed`
	return s.act(ctx, "reseal a provider", storage.ErrConflict, sql, withEvent(event, id, octets(sealed), octets(resealed))...)
}

// DeleteProvider implements storage.ProviderStore. Foreign keys take UserIdentities and
// memberships.
func (s *Store) DeleteProvider(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	const (
		lock = `SELECT version FROM providers WHERE id = $1 FOR UPDATE`
		// forget is unverify, and moves the version of everybody of whom it has said
		// something: that of a Group too.
		forget = `
UPDATE users SET version = version + 1, verified_until = CASE WHEN people.vouched THEN $2 ELSE verified_until END
FROM (
	SELECT id, verified_until > $2 AND id IN (SELECT user_id FROM user_identities WHERE provider_id = $1) AS vouched
	FROM users
	WHERE id IN (SELECT user_id FROM user_identities WHERE provider_id = $1 UNION SELECT user_id FROM user_groups WHERE provider_id = $1)
	ORDER BY id FOR NO KEY UPDATE
) AS people
WHERE users.id = people.id`
		gone = `DELETE FROM providers WHERE id = $1`
	)
	return s.tx(ctx, "delete a provider", func(ctx context.Context, tx pgx.Tx) error {
		// Who signs in at this moment waits, or has written a UserIdentity that is found.
		if err := lockVersion(ctx, tx, lock, id, version); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, forget, id, event.At); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, gone, id); err != nil {
			return err
		}
		return catalogChanged(ctx, tx, event)
	})
}

// providerValues are the columns that may change, with this version.
func providerValues(p *storage.Provider, version int64) []any {
	return []any{
		version, p.Name, p.ClientID, octets(p.SealedClientSecret), list(p.Scopes), p.Label, p.Automatic, p.LinkByEmail,
		p.Claims.Name, p.Claims.Email, p.Claims.Groups, list(p.AllowedTenants), list(p.AllowedDomains), list(p.AllowedGroups), list(p.ACRValues),
		p.ReverifyAfter.Microseconds(), p.Enabled, p.ManagedBy, nullTime(p.ClientSecretSetAt), p.SecondFactor, p.UpdatedAt,
	}
}

func scanProvider(row pgx.CollectableRow) (*storage.Provider, error) {
	var (
		p        storage.Provider
		reverify int64
	)
	err := row.Scan(&p.ID, &p.Version, &p.Name, &p.Issuer, &p.Preset, &p.ClientID, &p.SealedClientSecret, &p.Scopes, &p.Label, &p.Automatic, &p.LinkByEmail,
		&p.Claims.Name, &p.Claims.Email, &p.Claims.Groups, &p.AllowedTenants, &p.AllowedDomains, &p.AllowedGroups, &p.ACRValues,
		&reverify, &p.Enabled, &p.ManagedBy, (*zeronull.Timestamptz)(&p.ClientSecretSetAt), &p.SecondFactor, &p.CreatedAt, &p.UpdatedAt)
	p.ReverifyAfter = time.Duration(reverify) * time.Microsecond
	return &p, err
}
