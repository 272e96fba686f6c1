-- grantd's first schema on SQLite. Tables and columns have the same names as in
-- ../postgres/0001_init.up.sql; a test compares them.
--
-- Times are integers, microseconds since 1970 in UTC; NULL is "not (yet)".
-- Durations are microseconds. Lists are JSON arrays of strings. Text compares
-- by byte, which is SQLite's default.
--
-- A statement of SQLite changes one table, and a write may take few of them, so
-- the rules that reach into other tables are foreign keys and triggers. That
-- also keeps them true for whoever opens the file with another program.

CREATE TABLE catalog_version (
    version INTEGER NOT NULL
) STRICT;

INSERT INTO catalog_version (version) VALUES (1);

CREATE TABLE clients (
    id                         TEXT    NOT NULL PRIMARY KEY,
    client_id                  TEXT    NOT NULL UNIQUE,
    source                     TEXT    NOT NULL CHECK (source IN ('registered', 'dynamic', 'metadata_document')),
    version                    INTEGER NOT NULL,
    client_name                TEXT    NOT NULL,
    redirect_uris              TEXT    NOT NULL,
    grant_types                TEXT    NOT NULL,
    response_types             TEXT    NOT NULL,
    token_endpoint_auth_method TEXT    NOT NULL,
    application_type           TEXT    NOT NULL,
    scope                      TEXT    NOT NULL,
    resources                  TEXT    NOT NULL,
    client_uri                 TEXT    NOT NULL,
    logo_uri                   TEXT    NOT NULL,
    tos_uri                    TEXT    NOT NULL,
    policy_uri                 TEXT    NOT NULL,
    contacts                   TEXT    NOT NULL,
    software_id                TEXT    NOT NULL,
    software_version           TEXT    NOT NULL,
    jwks                       TEXT    NOT NULL,
    jwks_uri                   TEXT    NOT NULL,
    token_endpoint_auth_signing_alg TEXT NOT NULL,
    disabled                   INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_at                 INTEGER NOT NULL,
    updated_at                 INTEGER NOT NULL
) STRICT;

-- The cap on unused dynamic clients is checked at each registration, and the
-- sweep looks for old ones.
CREATE INDEX clients_dynamic ON clients (created_at) WHERE source = 'dynamic';

CREATE TABLE client_secrets (
    id         TEXT    NOT NULL PRIMARY KEY,
    client_id  TEXT    NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    hash       BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;

CREATE INDEX client_secrets_client_id ON client_secrets (client_id);

CREATE TABLE resources (
    id                    TEXT    NOT NULL PRIMARY KEY,
    uri                   TEXT    NOT NULL,
    uri_key               TEXT    NOT NULL UNIQUE, -- uri without one trailing slash
    version               INTEGER NOT NULL,
    name                  TEXT    NOT NULL,
    introspection_clients TEXT    NOT NULL,
    access_token_lifetime INTEGER NOT NULL,
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL
) STRICT;

CREATE TABLE scopes (
    resource_id TEXT    NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    tools       TEXT    NOT NULL,
    PRIMARY KEY (resource_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    username      TEXT    NOT NULL,
    username_key  TEXT    NOT NULL UNIQUE, -- username in lower case, by Go's rules
    version       INTEGER NOT NULL,
    email         TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    disabled      INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE groups (
    name TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE user_groups (
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    group_name TEXT NOT NULL REFERENCES groups (name) ON DELETE CASCADE,
    PRIMARY KEY (user_id, group_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX user_groups_group_name ON user_groups (group_name);

CREATE TABLE sessions (
    id               TEXT    NOT NULL PRIMARY KEY,
    token_hash       BLOB    NOT NULL UNIQUE,
    user_id          TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    authenticated_at INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    last_seen_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_created_at ON sessions (created_at);

CREATE TABLE grants (
    id           TEXT    NOT NULL PRIMARY KEY,
    user_id      TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    TEXT    NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    resource_id  TEXT    NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    scopes       TEXT    NOT NULL,
    redirect_uri TEXT    NOT NULL,
    client_name  TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (user_id, client_id, resource_id)
) STRICT;

CREATE INDEX grants_client_id ON grants (client_id);
CREATE INDEX grants_resource_id ON grants (resource_id);

-- A code outlives its Grant, or the page that made it could approve once more.
CREATE TABLE authorization_codes (
    id             TEXT    NOT NULL PRIMARY KEY,
    grant_id       TEXT    REFERENCES grants (id) ON DELETE SET NULL,
    user_id        TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id      TEXT    NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    resource_id    TEXT    NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    scopes         TEXT    NOT NULL,
    redirect_uri   TEXT    NOT NULL,
    code_challenge TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    redeemed_at    INTEGER,
    failed_proofs  INTEGER NOT NULL
) STRICT;

CREATE INDEX authorization_codes_grant_id ON authorization_codes (grant_id);
CREATE INDEX authorization_codes_user_id ON authorization_codes (user_id);
CREATE INDEX authorization_codes_client_id ON authorization_codes (client_id);
CREATE INDEX authorization_codes_resource_id ON authorization_codes (resource_id);
CREATE INDEX authorization_codes_created_at ON authorization_codes (created_at);

-- user_id, client_id and resource_id repeat the Grant's, so that a refresh reads
-- one row; the Grant's foreign keys guard them. Nothing that a refresh writes is
-- indexed.
CREATE TABLE families (
    id               TEXT    NOT NULL PRIMARY KEY,
    grant_id         TEXT    NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    user_id          TEXT    NOT NULL,
    client_id        TEXT    NOT NULL,
    resource_id      TEXT    NOT NULL,
    scopes           TEXT    NOT NULL,
    generation       INTEGER NOT NULL,
    rotation_request BLOB    NOT NULL,
    rotated_at       INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX families_grant_id ON families (grant_id);
-- For the sweep; a family is never idle for longer than it exists.
CREATE INDEX families_created_at ON families (created_at);
CREATE INDEX families_expires_at ON families (expires_at);

CREATE TABLE revoked_access_tokens (
    jti        TEXT    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_access_tokens_expires_at ON revoked_access_tokens (expires_at);

-- A client's marks that have lapsed are deleted when it makes the next one.
CREATE TABLE used_client_assertions (
    client_id  TEXT    NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    jti        TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (client_id, jti)
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
    kid                TEXT    NOT NULL PRIMARY KEY,
    algorithm          TEXT    NOT NULL,
    state              TEXT    NOT NULL CHECK (state IN ('next', 'active', 'retired')),
    public_jwk         BLOB    NOT NULL,
    sealed_private_key BLOB    NOT NULL,
    created_at         INTEGER NOT NULL,
    retired_at         INTEGER
) STRICT;

CREATE UNIQUE INDEX signing_keys_active ON signing_keys (state) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (state) WHERE state = 'next';

-- No foreign keys: an event outlives what it tells of.
CREATE TABLE audit_events (
    id     TEXT    NOT NULL PRIMARY KEY,
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    target TEXT    NOT NULL,
    detail TEXT    NOT NULL -- a JSON object of strings
) STRICT;

-- Who is disabled has nothing left that a token could come from. The codes of a
-- deleted Grant lose their grant_id by the foreign key.
CREATE TRIGGER user_disabled AFTER UPDATE OF disabled ON users
WHEN NEW.disabled AND NOT OLD.disabled
BEGIN
    DELETE FROM sessions WHERE user_id = NEW.id;
    DELETE FROM grants WHERE user_id = NEW.id;
END;

CREATE TRIGGER user_password_changed AFTER UPDATE OF password_hash ON users
WHEN NEW.password_hash <> OLD.password_hash
BEGIN
    DELETE FROM sessions WHERE user_id = NEW.id;
    DELETE FROM families WHERE grant_id IN (SELECT id FROM grants WHERE user_id = NEW.id);
    UPDATE authorization_codes SET grant_id = NULL WHERE user_id = NEW.id AND redeemed_at IS NULL;
END;

CREATE TRIGGER client_disabled AFTER UPDATE OF disabled ON clients
WHEN NEW.disabled AND NOT OLD.disabled
BEGIN
    DELETE FROM grants WHERE client_id = NEW.id;
END;

-- A scope that is gone is gone everywhere. What it leaves with no scope at all
-- is deleted, but a Grant for a Resource that has no scopes is left alone.
CREATE TRIGGER scope_removed AFTER DELETE ON scopes
BEGIN
    DELETE FROM grants
    WHERE resource_id = OLD.resource_id AND json_array_length(scopes) = 1 AND scopes ->> 0 = OLD.name;

    DELETE FROM families
    WHERE grant_id IN (SELECT id FROM grants WHERE resource_id = OLD.resource_id)
      AND json_array_length(scopes) = 1 AND scopes ->> 0 = OLD.name;

    UPDATE grants
    SET scopes = (SELECT json_group_array(value ORDER BY key) FROM json_each(scopes) WHERE value <> OLD.name)
    WHERE resource_id = OLD.resource_id
      AND EXISTS (SELECT 1 FROM json_each(scopes) WHERE value = OLD.name);

    UPDATE families
    SET scopes = (SELECT json_group_array(value ORDER BY key) FROM json_each(scopes) WHERE value <> OLD.name)
    WHERE grant_id IN (SELECT id FROM grants WHERE resource_id = OLD.resource_id)
      AND EXISTS (SELECT 1 FROM json_each(scopes) WHERE value = OLD.name);

    UPDATE authorization_codes
    SET scopes = (SELECT json_group_array(value ORDER BY key) FROM json_each(scopes) WHERE value <> OLD.name)
    WHERE resource_id = OLD.resource_id
      AND EXISTS (SELECT 1 FROM json_each(scopes) WHERE value = OLD.name);
END;
