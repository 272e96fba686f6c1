package sqlite

import (
	"context"
	"time"

	"grantd/storage"
)

// writeDocument inserts a Client from its document, or brings its row up to date,
// unless that has one as new or is disabled. The trigger client_document_changed
// moves the catalog.
const writeDocument = `INSERT INTO clients
	(id, client_id, source, version, client_name, redirect_uris, grant_types, response_types,
	 token_endpoint_auth_method, application_type, scope, resources, client_uri, logo_uri, tos_uri,
	 policy_uri, contacts, software_id, software_version, jwks, jwks_uri, token_endpoint_auth_signing_alg,
	 post_logout_redirect_uris, document_fetched_at, disabled, created_at, updated_at)
	VALUES (?1, ?2, 'metadata_document', 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, '[]', ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
		?18, ?19, ?20, ?21, 0, ?22, ?22)
	ON CONFLICT (id) DO UPDATE SET version = version + 1,
		client_name = excluded.client_name, redirect_uris = excluded.redirect_uris, grant_types = excluded.grant_types,
		response_types = excluded.response_types, token_endpoint_auth_method = excluded.token_endpoint_auth_method,
		application_type = excluded.application_type, scope = excluded.scope, client_uri = excluded.client_uri,
		logo_uri = excluded.logo_uri, tos_uri = excluded.tos_uri, policy_uri = excluded.policy_uri,
		contacts = excluded.contacts, software_id = excluded.software_id, software_version = excluded.software_version,
		jwks = excluded.jwks, jwks_uri = excluded.jwks_uri,
		token_endpoint_auth_signing_alg = excluded.token_endpoint_auth_signing_alg,
		post_logout_redirect_uris = excluded.post_logout_redirect_uris,
		document_fetched_at = excluded.document_fetched_at, updated_at = excluded.updated_at
	WHERE clients.client_id = excluded.client_id AND NOT clients.disabled
	  AND clients.document_fetched_at < excluded.document_fetched_at`

// documentArgs are those of writeDocument and updateDocument.
func documentArgs(c *storage.Client, now time.Time) []any {
	return []any{
		c.ID, c.ClientID, c.ClientName, list(c.RedirectURIs), list(c.GrantTypes), list(c.ResponseTypes),
		c.TokenEndpointAuthMethod, c.ApplicationType, list(c.Scope), c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI,
		list(c.Contacts), c.SoftwareID, c.SoftwareVersion, c.JWKS, c.JWKSURI, c.TokenEndpointAuthSigningAlg,
		list(c.PostLogoutRedirectURIs), micros(c.DocumentFetchedAt), micros(now),
	}
}

const updateDocument = `UPDATE clients SET version = version + 1,
	client_name = ?3, redirect_uris = ?4, grant_types = ?5, response_types = ?6, token_endpoint_auth_method = ?7,
	application_type = ?8, scope = ?9, client_uri = ?10, logo_uri = ?11, tos_uri = ?12, policy_uri = ?13,
	contacts = ?14, software_id = ?15, software_version = ?16, jwks = ?17, jwks_uri = ?18,
	token_endpoint_auth_signing_alg = ?19, post_logout_redirect_uris = ?20, document_fetched_at = ?21, updated_at = ?22
	WHERE id = ?1 AND client_id = ?2 AND document_fetched_at < ?21`

// UpdateClientDocument implements storage.ClientDocumentStore.
func (s *Store) UpdateClientDocument(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(updateDocument, documentArgs(c, c.UpdatedAt)...); err != nil {
			return err
		}
		return tx.record(event)
	})
}

const confirmDocument = `UPDATE clients SET version = version + 1, document_fetched_at = ?2
	WHERE id = ?1 AND document_fetched_at < ?2`

// ConfirmClientDocument implements storage.ClientDocumentStore.
func (s *Store) ConfirmClientDocument(ctx context.Context, id string, fetchedAt time.Time) error {
	return s.write(ctx, func(tx *tx) error { return tx.mustExec(confirmDocument, id, micros(fetchedAt)) })
}
