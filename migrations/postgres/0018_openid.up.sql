-- OpenID Connect. Defaults serve the program before this one, which does not know the
-- columns.

-- What ID tokens say of the sign-in that they are about.
ALTER TABLE authorization_codes ADD COLUMN nonce text NOT NULL DEFAULT '';
ALTER TABLE authorization_codes ADD COLUMN session_id text NOT NULL DEFAULT '';
ALTER TABLE authorization_codes ADD COLUMN authenticated_at timestamptz;
ALTER TABLE families ADD COLUMN session_id text NOT NULL DEFAULT '';
ALTER TABLE families ADD COLUMN authenticated_at timestamptz;

-- Where a client may have people sent back to after they have signed out.
ALTER TABLE clients ADD COLUMN post_logout_redirect_uris text[] NOT NULL DEFAULT '{}';

-- The identity of people is a Resource of grantd's own, which is in no list: Grants
-- may be for it, and its scopes may be in the Grants for any other.
INSERT INTO resources (id, uri, uri_key, version, name, introspection_clients, access_token_lifetime, created_at, updated_at)
VALUES ('res_00000000000000000000000004', 'urn:grantd:identity', 'urn:grantd:identity', 1, 'Identity', '{}', 600000000, 'epoch', 'epoch');
INSERT INTO scopes (resource_id, position, name, description, tools, risk)
VALUES ('res_00000000000000000000000004', 0, 'openid', '', '{}', 'read'),
    ('res_00000000000000000000000004', 1, 'profile', '', '{}', 'read'),
    ('res_00000000000000000000000004', 2, 'email', '', '{}', 'read');
