package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// Clients are read with their secrets, a row for each, in one statement: so a
// client and its secrets are of one moment. What stands between the two parts
// says which clients, as c.
const (
	selectClients = `
SELECT c.id, c.client_id, c.source, c.version, c.client_name, c.redirect_uris, c.grant_types, c.response_types,
	c.token_endpoint_auth_method, c.application_type, c.scope, c.resources, c.client_uri, c.logo_uri, c.tos_uri,
	c.policy_uri, c.contacts, c.software_id, c.software_version, c.jwks, c.jwks_uri, c.token_endpoint_auth_signing_alg,
	c.disabled, c.created_at, c.updated_at, c.require_pushed_authorization_requests, c.registration_access_token_hash, c.document_fetched_at, c.vouched, c.managed_by,
	c.admin_access, c.last_used_at, c.post_logout_redirect_uris, s.id, s.hash, s.created_at, s.expires_at
FROM `
	withSecrets = ` c
LEFT JOIN client_secrets s ON s.client_id = c.id
ORDER BY c.id, s.created_at, s.id`
)

// Client implements storage.ClientStore.
func (s *Store) Client(ctx context.Context, id string) (*storage.Client, error) {
	const sql = selectClients + `(SELECT * FROM clients WHERE id = $1)` + withSecrets
	return only(rows(ctx, s, "read a client", scanClients, sql, id))
}

// ClientByClientID implements storage.ClientStore.
func (s *Store) ClientByClientID(ctx context.Context, clientID string) (*storage.Client, error) {
	const sql = selectClients + `(SELECT * FROM clients WHERE client_id = $1)` + withSecrets
	return only(rows(ctx, s, "read a client", scanClients, sql, clientID))
}

// ClientBySecret implements storage.ClientStore.
func (s *Store) ClientBySecret(ctx context.Context, hash []byte) (*storage.Client, error) {
	const sql = selectClients + `(SELECT * FROM clients WHERE id = (SELECT client_id FROM client_secrets WHERE hash = $1 LIMIT 1))` + withSecrets
	return only(rows(ctx, s, "find the client of a secret", scanClients, sql, octets(hash)))
}

// Clients implements storage.ClientStore.
func (s *Store) Clients(ctx context.Context, filter storage.ClientFilter, page storage.Page) ([]*storage.Client, error) {
	const sql = selectClients + `(
	SELECT * FROM clients WHERE id > $1 AND ($3 = '' OR source = $3)
		AND ($4::boolean IS NULL OR disabled = $4) AND ($5::boolean IS NULL OR admin_access = $5)
	ORDER BY id LIMIT $2)` + withSecrets
	return rows(ctx, s, "list clients", scanClients, sql, page.After, page.Limit, filter.Source, filter.Disabled, filter.AdminAccess)
}

const insertClient = `
INSERT INTO clients (id, client_id, source, version, client_name, redirect_uris, grant_types, response_types,
	token_endpoint_auth_method, application_type, scope, resources, client_uri, logo_uri, tos_uri, policy_uri,
	contacts, software_id, software_version, jwks, jwks_uri, token_endpoint_auth_signing_alg, disabled, created_at, updated_at,
	require_pushed_authorization_requests, document_fetched_at, vouched, registration_access_token_hash, registration_digest, managed_by,
	admin_access, post_logout_redirect_uris)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`

// CreateClient implements storage.ClientStore. The catalog moves, for it knows the
// names of all registered clients.
func (s *Store) CreateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	return s.tx(ctx, "create a client", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertClient, clientArgs(c, nil)...); err != nil {
			return err
		}
		if err := afterClient(ctx, tx, c, event); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, moveCatalog)
		return err
	})
}

// clientArgs returns the parameters of insertClient.
func clientArgs(c *storage.Client, digest []byte) []any {
	return []any{
		c.ID, c.ClientID, c.Source, c.Version, c.ClientName, list(c.RedirectURIs),
		list(c.GrantTypes), list(c.ResponseTypes), c.TokenEndpointAuthMethod, c.ApplicationType, list(c.Scope),
		list(c.Resources), c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI, list(c.Contacts), c.SoftwareID,
		c.SoftwareVersion, c.JWKS, c.JWKSURI, c.TokenEndpointAuthSigningAlg, c.Disabled, c.CreatedAt, c.UpdatedAt,
		c.RequirePushedAuthorizationRequests, nullTime(c.DocumentFetchedAt), c.Vouched, c.RegistrationAccessTokenHash, digest, c.ManagedBy,
		c.AdminAccess, list(c.PostLogoutRedirectURIs),
	}
}

// afterClient writes what belongs to a client that was just inserted.
func afterClient(ctx context.Context, tx pgx.Tx, c *storage.Client, event storage.AuditEvent) error {
	const sql = `INSERT INTO client_secrets (id, client_id, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`
	for _, secret := range c.Secrets {
		_, err := tx.Exec(ctx, sql, secret.ID, c.ID, octets(secret.Hash), secret.CreatedAt, nullTime(secret.ExpiresAt))
		if err != nil {
			return err
		}
	}
	if err := beforeAdminAccess(ctx, tx, c); err != nil {
		return err
	}
	return record(ctx, tx, event)
}

// beforeAdminAccess makes the row of the built-in Resource, if the client may reach it
// and there is none yet.
func beforeAdminAccess(ctx context.Context, tx pgx.Tx, c *storage.Client) error {
	if !c.AdminAccess {
		return nil
	}
	r := storage.AdminResourceRow(c.UpdatedAt)
	if _, err := tx.Exec(ctx, insertResource+` ON CONFLICT DO NOTHING`, resourceArgs(r)...); err != nil {
		return err
	}
	for i, scope := range r.Scopes {
		if _, err := tx.Exec(ctx, insertScope+` ON CONFLICT DO NOTHING`, r.ID, i, scope.Name, scope.Description, list(scope.Tools), scope.Risk); err != nil {
			return err
		}
	}
	return nil
}

// updateClient writes one version of a client over the one before, whose row it
// locks first. ErrNotFound, ErrConflict.
func updateClient(ctx context.Context, tx pgx.Tx, c *storage.Client) error {
	const (
		lock   = `SELECT version FROM clients WHERE id = $1 FOR NO KEY UPDATE`
		update = `
UPDATE clients SET version = $2, client_name = $3, redirect_uris = $4, grant_types = $5, response_types = $6,
	token_endpoint_auth_method = $7, application_type = $8, scope = $9, resources = $10, client_uri = $11,
	logo_uri = $12, tos_uri = $13, policy_uri = $14, contacts = $15, software_id = $16, software_version = $17,
	jwks = $18, jwks_uri = $19, token_endpoint_auth_signing_alg = $20, disabled = $21, updated_at = $22,
	require_pushed_authorization_requests = $23, managed_by = $24, admin_access = $25, post_logout_redirect_uris = $26
WHERE id = $1`
	)
	if err := lockVersion(ctx, tx, lock, c.ID, c.Version); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, update, c.ID, c.Version+1, c.ClientName, list(c.RedirectURIs), list(c.GrantTypes),
		list(c.ResponseTypes), c.TokenEndpointAuthMethod, c.ApplicationType, list(c.Scope), list(c.Resources),
		c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI, list(c.Contacts), c.SoftwareID, c.SoftwareVersion,
		c.JWKS, c.JWKSURI, c.TokenEndpointAuthSigningAlg, c.Disabled, c.UpdatedAt, c.RequirePushedAuthorizationRequests, c.ManagedBy,
		c.AdminAccess, list(c.PostLogoutRedirectURIs))
	if err != nil {
		return err
	}
	return beforeAdminAccess(ctx, tx, c)
}

// UpdateClient implements storage.ClientStore.
func (s *Store) UpdateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	const deleteGrants = `DELETE FROM grants WHERE client_id = $1`
	err := s.tx(ctx, "update a client", func(ctx context.Context, tx pgx.Tx) error {
		if err := updateClient(ctx, tx, c); err != nil {
			return err
		}
		if c.Disabled {
			if _, err := tx.Exec(ctx, deleteGrants, c.ID); err != nil {
				return err
			}
		}
		return catalogChanged(ctx, tx, event)
	})
	if err == nil {
		c.Version++
	}
	return err
}

// DeleteClient implements storage.ClientStore.
func (s *Store) DeleteClient(ctx context.Context, id string, version int64, event storage.AuditEvent) error {
	const sql = `DELETE FROM clients WHERE id = $1 RETURNING '', client_id, version`
	return s.deleteFromCatalog(ctx, "delete a client", sql, id, version, event)
}

// What adds a secret, in parameters 7 to 11; what happens to the others stands
// between the two parts.
const (
	touchOwner = `
WITH owner AS (
	UPDATE clients SET version = version + 1 WHERE id = $7 RETURNING id
)`
	insertSecret = `, added AS (
	INSERT INTO client_secrets (id, client_id, hash, created_at, expires_at)
	SELECT $8::text, id, $9::bytea, $10::timestamptz, $11::timestamptz FROM owner
	RETURNING id
), recorded AS (` + recordEvent + `added
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM added))
SELECT id FROM added`
)

func secretArgs(id string, secret storage.ClientSecret, event storage.AuditEvent) []any {
	return withEvent(event, id, secret.ID, octets(secret.Hash), secret.CreatedAt, nullTime(secret.ExpiresAt))
}

// AddClientSecret implements storage.ClientStore.
func (s *Store) AddClientSecret(ctx context.Context, id string, secret storage.ClientSecret, event storage.AuditEvent) error {
	return s.act(ctx, "add a client secret", storage.ErrNotFound, touchOwner+insertSecret, secretArgs(id, secret, event)...)
}

// RotateClientSecret implements storage.ClientStore. The new secret is not yet
// there for the parts that change the others.
func (s *Store) RotateClientSecret(ctx context.Context, id string, secret storage.ClientSecret, until time.Time, event storage.AuditEvent) error {
	const others = `, gone AS (
	DELETE FROM client_secrets USING owner WHERE client_id = owner.id AND expires_at <= $10
), ending AS (
	UPDATE client_secrets SET expires_at = $12 FROM owner
	WHERE client_id = owner.id AND (expires_at IS NULL OR expires_at > $12 AND expires_at > $10)
)`
	return s.act(ctx, "rotate a client secret", storage.ErrNotFound, touchOwner+others+insertSecret, append(secretArgs(id, secret, event), until)...)
}

// NoteClientsUsed implements storage.ClientStore. A row that is held is left for
// the next time.
func (s *Store) NoteClientsUsed(ctx context.Context, ids []string, at time.Time) error {
	const sql = `
WITH used AS (
	SELECT id FROM clients
	WHERE id = ANY ($1) AND (last_used_at IS NULL OR last_used_at <= $3)
	FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE clients SET last_used_at = $2 FROM used WHERE clients.id = used.id`
	_, err := s.exec(ctx, "note the use of clients", sql, list(ids), at, at.Add(-storage.ClientUse))
	return err
}

// DeleteClientSecret implements storage.ClientStore.
func (s *Store) DeleteClientSecret(ctx context.Context, id, secretID string, event storage.AuditEvent) error {
	const sql = `
WITH owner AS (
	SELECT id FROM clients WHERE id = $7 FOR NO KEY UPDATE
), gone AS (
	DELETE FROM client_secrets USING owner
	WHERE client_secrets.client_id = owner.id AND client_secrets.id = $8
	RETURNING client_secrets.client_id
), changed AS (
	UPDATE clients SET version = version + 1 FROM gone WHERE clients.id = gone.client_id RETURNING clients.id
), recorded AS (` + recordEvent + `changed
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM changed))
SELECT id FROM changed`
	return s.act(ctx, "delete a client secret", storage.ErrNotFound, sql, withEvent(event, id, secretID)...)
}

// scanClients reads the rows of selectClients, those of one client together.
func scanClients(rows pgx.Rows) ([]*storage.Client, error) {
	clients := []*storage.Client{}
	for rows.Next() {
		var (
			c      storage.Client
			secret storage.ClientSecret
		)
		err := rows.Scan(&c.ID, &c.ClientID, &c.Source, &c.Version, &c.ClientName, &c.RedirectURIs, &c.GrantTypes,
			&c.ResponseTypes, &c.TokenEndpointAuthMethod, &c.ApplicationType, &c.Scope, &c.Resources, &c.ClientURI,
			&c.LogoURI, &c.TosURI, &c.PolicyURI, &c.Contacts, &c.SoftwareID, &c.SoftwareVersion,
			&c.JWKS, &c.JWKSURI, &c.TokenEndpointAuthSigningAlg, &c.Disabled,
			&c.CreatedAt, &c.UpdatedAt, &c.RequirePushedAuthorizationRequests, &c.RegistrationAccessTokenHash,
			(*zeronull.Timestamptz)(&c.DocumentFetchedAt), &c.Vouched, &c.ManagedBy, &c.AdminAccess, (*zeronull.Timestamptz)(&c.LastUsedAt), &c.PostLogoutRedirectURIs,
			(*zeronull.Text)(&secret.ID), &secret.Hash, (*zeronull.Timestamptz)(&secret.CreatedAt),
			(*zeronull.Timestamptz)(&secret.ExpiresAt))
		if err != nil {
			return nil, err
		}
		if n := len(clients); n == 0 || clients[n-1].ID != c.ID {
			c.Secrets = []storage.ClientSecret{}
			clients = append(clients, &c)
		}
		if secret.ID != "" {
			last := clients[len(clients)-1]
			last.Secrets = append(last.Secrets, secret)
		}
	}
	return clients, rows.Err()
}
