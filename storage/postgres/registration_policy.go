package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// RegistrationPolicy implements storage.RegistrationPolicyStore. The hosts come
// in the same statement, so that policy and hosts are of one moment.
func (s *Store) RegistrationPolicy(ctx context.Context) (*storage.RegistrationPolicy, error) {
	const sql = `
SELECT version, dynamic, metadata_documents, disabled_profiles, updated_at,
	ARRAY(SELECT host FROM registration_hosts ORDER BY host),
	ARRAY(SELECT decision FROM registration_hosts ORDER BY host)
FROM registration_policy`
	var (
		p         storage.RegistrationPolicy
		hosts     []string
		decisions []storage.RegistrationMode
	)
	err := s.row(ctx, "read the registration policy", sql, nil, &p.Version, &p.Dynamic, &p.MetadataDocuments,
		&p.DisabledProfiles, (*zeronull.Timestamptz)(&p.UpdatedAt), &hosts, &decisions)
	if err != nil {
		return nil, err
	}
	p.Hosts = make([]storage.HostDecision, len(hosts))
	for i, host := range hosts {
		p.Hosts[i] = storage.HostDecision{Host: host, Decision: decisions[i]}
	}
	return &p, nil
}

// UpdateRegistrationPolicy implements storage.RegistrationPolicyStore. The
// policy's row is locked before its hosts change, here and everywhere.
func (s *Store) UpdateRegistrationPolicy(ctx context.Context, p *storage.RegistrationPolicy, event storage.AuditEvent) error {
	const (
		update = `
UPDATE registration_policy SET version = version + 1, dynamic = $1, metadata_documents = $2, disabled_profiles = $3, updated_at = $4
WHERE version = $5`
		deleteHosts = `DELETE FROM registration_hosts`
		insertHosts = `INSERT INTO registration_hosts (host, decision) SELECT * FROM unnest($1::text[], $2::text[])`
	)
	hosts, decisions := make([]string, len(p.Hosts)), make([]string, len(p.Hosts))
	for i, d := range p.Hosts {
		hosts[i], decisions[i] = d.Host, string(d.Decision)
	}
	err := s.tx(ctx, "update the registration policy", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, update, p.Dynamic, p.MetadataDocuments, list(p.DisabledProfiles), nullTime(p.UpdatedAt), p.Version)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return storage.ErrConflict
		}
		if _, err := tx.Exec(ctx, deleteHosts); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertHosts, hosts, decisions); err != nil {
			return err
		}
		return catalogChanged(ctx, tx, event)
	})
	if err == nil {
		p.Version++
	}
	return err
}
