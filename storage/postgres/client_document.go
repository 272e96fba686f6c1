package postgres

import (
	"context"
	"time"

	"grantd/storage"
)

// approveDocument is an approval of a page for a Client whose row is written from its
// document in the same statement. known is the row when it has a document as new
// and is locked as any parent is; written is the row otherwise. Neither is there
// when the Client is disabled, or another one has its id. Nothing is written
// unless everything else that the approval relies on is there.
//
// The statement may see no row, or an older one, where another replica has just
// written a newer one: that is met as a conflict, and stays.
const approveDocument = `
WITH ready AS (
	SELECT u.id AS user_id, r.id AS resource_id, s.amr, s.authenticated_at
	FROM users u
	JOIN sessions s ON s.user_id = u.id
	CROSS JOIN resources r
	WHERE ` + approver + ` AND r.id = $9
	FOR SHARE OF u, r FOR KEY SHARE OF s
), held AS (
	SELECT scopes.name
	FROM ready
	JOIN scopes ON scopes.resource_id IN (ready.resource_id, '` + storage.IdentityResourceID + `')
	WHERE scopes.name = ANY ($13)
	FOR KEY SHARE OF scopes
), known AS (
	SELECT c.id FROM clients c
	WHERE c.id = $8 AND c.client_id = $25 AND NOT c.disabled AND c.document_fetched_at >= $44
	FOR SHARE
), written AS (
	INSERT INTO clients (id, client_id, source, version, client_name, redirect_uris, grant_types, response_types,
		token_endpoint_auth_method, application_type, scope, resources, client_uri, logo_uri, tos_uri, policy_uri,
		contacts, software_id, software_version, jwks, jwks_uri, token_endpoint_auth_signing_alg, post_logout_redirect_uris, disabled,
		created_at, updated_at, document_fetched_at)
	SELECT $8::text, $25::text, 'metadata_document', 1, $26::text, $27::text[], $28::text[], $29::text[], $30::text,
		$31::text, $32::text[], '{}', $33::text, $34::text, $35::text, $36::text, $37::text[], $38::text, $39::text,
		$40::text, $41::text, $42::text, $43::text[], false, $17::timestamptz, $17::timestamptz, $44::timestamptz
	FROM ready
	WHERE (SELECT count(*) FROM held) = cardinality($13) AND NOT EXISTS (SELECT 1 FROM known)
	ON CONFLICT (id) DO UPDATE SET (version, client_name, redirect_uris, grant_types, response_types,
		token_endpoint_auth_method, application_type, scope, client_uri, logo_uri, tos_uri, policy_uri, contacts,
		software_id, software_version, jwks, jwks_uri, token_endpoint_auth_signing_alg, post_logout_redirect_uris,
		updated_at, document_fetched_at)
	= (SELECT clients.version + 1, n.client_name, n.redirect_uris, n.grant_types, n.response_types,
		n.token_endpoint_auth_method, n.application_type, n.scope, n.client_uri, n.logo_uri, n.tos_uri, n.policy_uri,
		n.contacts, n.software_id, n.software_version, n.jwks, n.jwks_uri, n.token_endpoint_auth_signing_alg,
		n.post_logout_redirect_uris, n.updated_at, n.document_fetched_at
		FROM (SELECT (CASE WHEN clients.document_fetched_at < EXCLUDED.document_fetched_at THEN EXCLUDED ELSE clients END).*) AS n)
	WHERE clients.client_id = EXCLUDED.client_id AND NOT clients.disabled
	RETURNING id, version
), noted AS (
	INSERT INTO audit_events (id, at, actor, action, target, detail)
	SELECT $45::text, $46::timestamptz, $47::text, $48::text, $49::text, $50::jsonb FROM written
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM written WHERE version > 1)
), live AS (
	SELECT ready.user_id, client.id AS client_id, ready.resource_id, ready.amr, ready.authenticated_at
	FROM ready
	CROSS JOIN (SELECT id FROM known UNION ALL SELECT id FROM written) AS client
)` + approve

// documentArgs are what a document decides of its Client, and when it was fetched.
func documentArgs(c *storage.Client) []any {
	return []any{
		c.ClientID, c.ClientName, list(c.RedirectURIs), list(c.GrantTypes), list(c.ResponseTypes), c.TokenEndpointAuthMethod,
		c.ApplicationType, list(c.Scope), c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI, list(c.Contacts), c.SoftwareID,
		c.SoftwareVersion, c.JWKS, c.JWKSURI, c.TokenEndpointAuthSigningAlg, list(c.PostLogoutRedirectURIs), c.DocumentFetchedAt,
	}
}

// UpdateClientDocument implements storage.ClientDocumentStore.
func (s *Store) UpdateClientDocument(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	const sql = `
WITH changed AS (
	UPDATE clients SET version = version + 1, client_name = $8, redirect_uris = $9, grant_types = $10, response_types = $11,
		token_endpoint_auth_method = $12, application_type = $13, scope = $14, client_uri = $15, logo_uri = $16,
		tos_uri = $17, policy_uri = $18, contacts = $19, software_id = $20, software_version = $21, jwks = $22,
		jwks_uri = $23, token_endpoint_auth_signing_alg = $24, post_logout_redirect_uris = $25, document_fetched_at = $26,
		updated_at = $27
	WHERE id = $28 AND client_id = $7 AND document_fetched_at < $26
	RETURNING id
), recorded AS (` + recordEvent + `changed
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM changed))
SELECT id FROM changed`
	args := append(withEvent(event, documentArgs(c)...), c.UpdatedAt, c.ID)
	return s.act(ctx, "update a client's document", storage.ErrNotFound, sql, args...)
}

// ConfirmClientDocument implements storage.ClientDocumentStore.
func (s *Store) ConfirmClientDocument(ctx context.Context, id string, fetchedAt time.Time) error {
	const sql = `
WITH confirmed AS (
	UPDATE clients SET document_fetched_at = $2, version = version + 1
	WHERE id = $1 AND document_fetched_at < $2
	RETURNING id
), moved AS (` + moveCatalog + ` WHERE EXISTS (SELECT 1 FROM confirmed))
SELECT id FROM confirmed`
	return s.act(ctx, "confirm a client's document", storage.ErrNotFound, sql, id, fetchedAt)
}
