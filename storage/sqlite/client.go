package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"time"

	"grantd/storage"
)

const clientValues = `
	(id, client_id, source, version, client_name, redirect_uris, grant_types, response_types,
	 token_endpoint_auth_method, application_type, scope, resources, client_uri, logo_uri, tos_uri,
	 policy_uri, contacts, software_id, software_version, jwks, jwks_uri, token_endpoint_auth_signing_alg,
	 disabled, created_at, updated_at, require_pushed_authorization_requests, document_fetched_at, vouched, registration_access_token_hash,
	 registration_digest, managed_by, admin_access, post_logout_redirect_uris)`

const insertClient = `INSERT INTO clients` + clientValues + `
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

const insertSecrets = `INSERT INTO client_secrets (id, client_id, hash, created_at, expires_at)
	SELECT value ->> 'id', ?, unhex(value ->> 'hash'), value ->> 'created_at', value ->> 'expires_at'
	FROM json_each(?)`

// CreateClient implements storage.ClientStore. The catalog moves, for it knows the
// names of all registered clients.
func (s *Store) CreateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(insertClient, clientArgs(c, nil)...); err != nil {
			return err
		}
		if err := tx.afterClient(c, event); err != nil {
			return err
		}
		_, err := tx.exec(bumpCatalogVersion)
		return err
	})
}

// afterClient writes what belongs to a client that was just inserted.
func (t *tx) afterClient(c *storage.Client, event storage.AuditEvent) error {
	if len(c.Secrets) > 0 {
		if _, err := t.exec(insertSecrets, c.ID, secretsJSON(c.Secrets)); err != nil {
			return err
		}
	}
	if err := t.beforeAdminAccess(c); err != nil {
		return err
	}
	return t.record(event)
}

// beforeAdminAccess makes the row of the built-in Resource, if the client may reach it
// and there is none yet.
func (t *tx) beforeAdminAccess(c *storage.Client) error {
	if !c.AdminAccess {
		return nil
	}
	r := storage.AdminResourceRow(c.UpdatedAt)
	if _, err := t.exec(insertResource+` ON CONFLICT DO NOTHING`, resourceArgs(r)...); err != nil {
		return err
	}
	_, err := t.exec(writeScopes, r.ID, scopesJSON(r.Scopes))
	return err
}

const selectClient = `SELECT id, client_id, source, version, client_name, redirect_uris, grant_types,
	response_types, token_endpoint_auth_method, application_type, scope, resources, client_uri,
	logo_uri, tos_uri, policy_uri, contacts, software_id, software_version, jwks, jwks_uri,
	token_endpoint_auth_signing_alg, disabled, created_at, updated_at, require_pushed_authorization_requests,
	document_fetched_at, vouched, registration_access_token_hash, managed_by, admin_access, last_used_at, post_logout_redirect_uris,
	(SELECT json_group_array(json_object('id', id, 'hash', hex(hash), 'created_at', created_at, 'expires_at', expires_at)
		ORDER BY created_at, id)
	 FROM client_secrets WHERE client_secrets.client_id = clients.id)
	FROM clients `

const (
	selectClientByID       = selectClient + `WHERE id = ?`
	selectClientByClientID = selectClient + `WHERE client_id = ?`
	selectClientBySecret   = selectClient + `WHERE id = (SELECT client_id FROM client_secrets WHERE hash = ? LIMIT 1)`
	selectClients          = selectClient + `WHERE id > @after AND (@source = '' OR source = @source)
		AND (@disabled IS NULL OR disabled = @disabled) AND (@admin_access IS NULL OR admin_access = @admin_access)
		ORDER BY id LIMIT @limit`
)

// Client implements storage.ClientStore.
func (s *Store) Client(ctx context.Context, id string) (*storage.Client, error) {
	return readOne(ctx, s, selectClientByID, []any{id}, scanClient)
}

// ClientByClientID implements storage.ClientStore.
func (s *Store) ClientByClientID(ctx context.Context, clientID string) (*storage.Client, error) {
	return readOne(ctx, s, selectClientByClientID, []any{clientID}, scanClient)
}

// ClientBySecret implements storage.ClientStore.
func (s *Store) ClientBySecret(ctx context.Context, hash []byte) (*storage.Client, error) {
	return readOne(ctx, s, selectClientBySecret, []any{blob(hash)}, scanClient)
}

// Clients implements storage.ClientStore.
func (s *Store) Clients(ctx context.Context, filter storage.ClientFilter, page storage.Page) ([]*storage.Client, error) {
	return readRows(ctx, s, selectClients, []any{
		sql.Named("after", page.After), sql.Named("limit", page.Limit), sql.Named("source", string(filter.Source)),
		sql.Named("disabled", filter.Disabled), sql.Named("admin_access", filter.AdminAccess),
	}, scanClient)
}

const updateClient = `UPDATE clients SET version = version + 1,
	client_name = ?, redirect_uris = ?, grant_types = ?, response_types = ?,
	token_endpoint_auth_method = ?, application_type = ?, scope = ?, resources = ?, client_uri = ?,
	logo_uri = ?, tos_uri = ?, policy_uri = ?, contacts = ?, software_id = ?, software_version = ?,
	jwks = ?, jwks_uri = ?, token_endpoint_auth_signing_alg = ?, disabled = ?, updated_at = ?,
	require_pushed_authorization_requests = ?, managed_by = ?, admin_access = ?, post_logout_redirect_uris = ?
	WHERE id = ? AND version = ? RETURNING version`

// UpdateClient implements storage.ClientStore. The trigger client_disabled takes
// the Grants.
func (s *Store) UpdateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	var version int64
	err := s.write(ctx, func(tx *tx) (err error) {
		if version, err = tx.updateClient(c); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
	if err == nil {
		c.Version = version
	}
	return err
}

// updateClient writes one version of a client over the one before and returns the
// new one. ErrNotFound, ErrConflict.
func (t *tx) updateClient(c *storage.Client) (version int64, err error) {
	err = t.row(updateClient, []any{
		c.ClientName, list(c.RedirectURIs), list(c.GrantTypes), list(c.ResponseTypes),
		c.TokenEndpointAuthMethod, c.ApplicationType, list(c.Scope), list(c.Resources), c.ClientURI,
		c.LogoURI, c.TosURI, c.PolicyURI, list(c.Contacts), c.SoftwareID, c.SoftwareVersion,
		c.JWKS, c.JWKSURI, c.TokenEndpointAuthSigningAlg, c.Disabled, micros(c.UpdatedAt),
		c.RequirePushedAuthorizationRequests, c.ManagedBy, c.AdminAccess, list(c.PostLogoutRedirectURIs), c.ID, c.Version,
	}, &version)
	if err != nil {
		return 0, t.conflictOrNotFound(err, existsClient, c.ID)
	}
	return version, t.beforeAdminAccess(c)
}

const (
	existsClient = `SELECT 1 FROM clients WHERE id = ?`
	deleteClient = `DELETE FROM clients WHERE id = ?1 AND ?2 IN (-1, version) RETURNING client_id`
)

// DeleteClient implements storage.ClientStore. Foreign keys take what was granted.
func (s *Store) DeleteClient(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		clientID, err := tx.deleteVersion(deleteClient, existsClient, id, version)
		if err != nil {
			return err
		}
		if err := tx.unname("", clientID, event); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

const touchClient = `UPDATE clients SET version = version + 1 WHERE id = ?`

// AddClientSecret implements storage.ClientStore.
func (s *Store) AddClientSecret(ctx context.Context, id string, secret storage.ClientSecret, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error { return tx.addClientSecret(id, secret, event) })
}

func (t *tx) addClientSecret(id string, secret storage.ClientSecret, event storage.AuditEvent) error {
	if err := t.mustExec(touchClient, id); err != nil {
		return err
	}
	if _, err := t.exec(insertSecrets, id, secretsJSON([]storage.ClientSecret{secret})); err != nil {
		return err
	}
	return t.changedCatalog(event)
}

const (
	deleteExpiredSecrets = `DELETE FROM client_secrets WHERE client_id = ? AND expires_at <= ?`
	endSecrets           = `UPDATE client_secrets SET expires_at = ?2 WHERE client_id = ?1 AND (expires_at IS NULL OR expires_at > ?2)`
)

// RotateClientSecret implements storage.ClientStore.
func (s *Store) RotateClientSecret(ctx context.Context, id string, secret storage.ClientSecret, until time.Time, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(deleteExpiredSecrets, id, micros(secret.CreatedAt)); err != nil {
			return err
		}
		if _, err := tx.exec(endSecrets, id, micros(until)); err != nil {
			return err
		}
		return tx.addClientSecret(id, secret, event)
	})
}

const noteClientsUsed = `UPDATE clients SET last_used_at = ?1
	WHERE id IN (SELECT value FROM json_each(?2)) AND (last_used_at IS NULL OR last_used_at <= ?3)`

// NoteClientsUsed implements storage.ClientStore.
func (s *Store) NoteClientsUsed(ctx context.Context, ids []string, at time.Time) error {
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(noteClientsUsed, micros(at), list(ids), micros(at.Add(-storage.ClientUse)))
		return err
	})
}

const deleteClientSecret = `DELETE FROM client_secrets WHERE client_id = ? AND id = ?`

// DeleteClientSecret implements storage.ClientStore.
func (s *Store) DeleteClientSecret(ctx context.Context, id, secretID string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(deleteClientSecret, id, secretID); err != nil {
			return err
		}
		if err := tx.mustExec(touchClient, id); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

// secretRow is a client_secrets row as JSON, in which bytes are hexadecimal.
type secretRow struct {
	ID        string `json:"id"`
	Hash      string `json:"hash"`
	CreatedAt int64  `json:"created_at"`
	ExpiresAt *int64 `json:"expires_at"`
}

func secretsJSON(secrets []storage.ClientSecret) string {
	rows := make([]secretRow, len(secrets))
	for i, secret := range secrets {
		rows[i] = secretRow{ID: secret.ID, Hash: hex.EncodeToString(secret.Hash), CreatedAt: micros(secret.CreatedAt)}
		if !secret.ExpiresAt.IsZero() {
			expires := micros(secret.ExpiresAt)
			rows[i].ExpiresAt = &expires
		}
	}
	return asJSON(rows)
}

func scanClient(row scanner) (*storage.Client, error) {
	var (
		c       storage.Client
		secrets []secretRow
	)
	err := row.Scan(
		&c.ID, &c.ClientID, &c.Source, &c.Version, &c.ClientName,
		intoList{&c.RedirectURIs}, intoList{&c.GrantTypes}, intoList{&c.ResponseTypes},
		&c.TokenEndpointAuthMethod, &c.ApplicationType, intoList{&c.Scope}, intoList{&c.Resources},
		&c.ClientURI, &c.LogoURI, &c.TosURI, &c.PolicyURI, intoList{&c.Contacts},
		&c.SoftwareID, &c.SoftwareVersion, &c.JWKS, &c.JWKSURI, &c.TokenEndpointAuthSigningAlg, &c.Disabled, intoTime{&c.CreatedAt}, intoTime{&c.UpdatedAt},
		&c.RequirePushedAuthorizationRequests, intoTime{&c.DocumentFetchedAt}, &c.Vouched, intoBlobOrNil{&c.RegistrationAccessTokenHash}, &c.ManagedBy,
		&c.AdminAccess, intoTime{&c.LastUsedAt}, intoList{&c.PostLogoutRedirectURIs}, intoJSON{&secrets},
	)
	if err != nil {
		return nil, err
	}
	c.Secrets = make([]storage.ClientSecret, len(secrets))
	for i, row := range secrets {
		hash, err := hex.DecodeString(row.Hash)
		if err != nil {
			return nil, err
		}
		c.Secrets[i] = storage.ClientSecret{ID: row.ID, Hash: hash, CreatedAt: time.UnixMicro(row.CreatedAt).UTC()}
		if row.ExpiresAt != nil {
			c.Secrets[i].ExpiresAt = time.UnixMicro(*row.ExpiresAt).UTC()
		}
	}
	return &c, nil
}

// clientArgs returns the values of clientValues.
func clientArgs(c *storage.Client, digest []byte) []any {
	return []any{
		c.ID, c.ClientID, c.Source, c.Version, c.ClientName,
		list(c.RedirectURIs), list(c.GrantTypes), list(c.ResponseTypes),
		c.TokenEndpointAuthMethod, c.ApplicationType, list(c.Scope), list(c.Resources),
		c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI, list(c.Contacts),
		c.SoftwareID, c.SoftwareVersion, c.JWKS, c.JWKSURI, c.TokenEndpointAuthSigningAlg, c.Disabled, micros(c.CreatedAt), micros(c.UpdatedAt),
		c.RequirePushedAuthorizationRequests, microsOrNull(c.DocumentFetchedAt), c.Vouched, blobOrNull(c.RegistrationAccessTokenHash), blobOrNull(digest), c.ManagedBy,
		c.AdminAccess, list(c.PostLogoutRedirectURIs),
	}
}
