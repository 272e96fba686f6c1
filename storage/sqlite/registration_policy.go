package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"grantd/storage"
)

const selectPolicy = `SELECT version, dynamic, metadata_documents, disabled_profiles, updated_at,
	(SELECT json_group_array(json_object('host', host, 'decision', decision) ORDER BY host) FROM registration_hosts)
	FROM registration_policy`

// hostRow is a registration_hosts row as JSON.
type hostRow struct {
	Host     string                   `json:"host"`
	Decision storage.RegistrationMode `json:"decision"`
}

// RegistrationPolicy implements storage.RegistrationPolicyStore. The hosts come
// in the same statement, so that policy and hosts are of one moment.
func (s *Store) RegistrationPolicy(ctx context.Context) (*storage.RegistrationPolicy, error) {
	var (
		p     storage.RegistrationPolicy
		hosts []hostRow
	)
	err := s.readRow(ctx, selectPolicy, nil, &p.Version, &p.Dynamic, &p.MetadataDocuments,
		intoList{&p.DisabledProfiles}, intoTime{&p.UpdatedAt}, intoJSON{&hosts})
	if err != nil {
		return nil, err
	}
	p.Hosts = make([]storage.HostDecision, len(hosts))
	for i, row := range hosts {
		p.Hosts[i] = storage.HostDecision(row)
	}
	return &p, nil
}

const (
	updatePolicy = `UPDATE registration_policy SET version = version + 1,
	dynamic = ?, metadata_documents = ?, disabled_profiles = ?, updated_at = ?
	WHERE version = ? RETURNING version`
	deleteHosts = `DELETE FROM registration_hosts`
	insertHosts = `INSERT INTO registration_hosts (host, decision)
	SELECT value ->> 'host', value ->> 'decision' FROM json_each(?)`
)

// UpdateRegistrationPolicy implements storage.RegistrationPolicyStore.
func (s *Store) UpdateRegistrationPolicy(ctx context.Context, p *storage.RegistrationPolicy, event storage.AuditEvent) error {
	rows := make([]hostRow, len(p.Hosts))
	for i, d := range p.Hosts {
		rows[i] = hostRow(d)
	}
	var version int64
	err := s.write(ctx, func(tx *tx) error {
		err := tx.row(updatePolicy, []any{
			string(p.Dynamic), string(p.MetadataDocuments), list(p.DisabledProfiles), microsOrNull(p.UpdatedAt), p.Version,
		}, &version)
		if errors.Is(err, sql.ErrNoRows) {
			return storage.ErrConflict
		} else if err != nil {
			return err
		}
		if _, err := tx.exec(deleteHosts); err != nil {
			return err
		}
		if _, err := tx.exec(insertHosts, asJSON(rows)); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
	if err == nil {
		p.Version = version
	}
	return err
}
