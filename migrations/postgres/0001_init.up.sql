-- grantd's first schema on Postgres. Tables and columns have the same names as in
-- ../sqlite/0001_init.up.sql; a test compares them.
--
-- NULL is "not (yet)". Durations are microseconds. Ids and names that lists are
-- ordered by compare by byte (COLLATE "C"), whatever the database's own collation.
--
-- The order in which tables are created matters: foreign keys cascade in the
-- order they were made, and locks are taken in one order everywhere (users,
-- clients, resources, scopes, sessions, grants, authorization_codes, families),
-- so that statements do not deadlock.

CREATE TABLE catalog_version (
    version bigint NOT NULL
);

CREATE UNIQUE INDEX catalog_version_one_row ON catalog_version ((true));

INSERT INTO catalog_version (version) VALUES (1);

CREATE TABLE clients (
    id                         text COLLATE "C" NOT NULL PRIMARY KEY,
    client_id                  text COLLATE "C" NOT NULL UNIQUE,
    source                     text             NOT NULL CHECK (source IN ('registered', 'dynamic', 'metadata_document')),
    version                    bigint           NOT NULL,
    client_name                text             NOT NULL,
    redirect_uris              text[]           NOT NULL,
    grant_types                text[]           NOT NULL,
    response_types             text[]           NOT NULL,
    token_endpoint_auth_method text             NOT NULL,
    application_type           text             NOT NULL,
    scope                      text[]           NOT NULL,
    resources                  text[]           NOT NULL,
    client_uri                 text             NOT NULL,
    logo_uri                   text             NOT NULL,
    tos_uri                    text             NOT NULL,
    policy_uri                 text             NOT NULL,
    contacts                   text[]           NOT NULL,
    software_id                text             NOT NULL,
    software_version           text             NOT NULL,
    jwks                       text             NOT NULL,
    jwks_uri                   text             NOT NULL,
    token_endpoint_auth_signing_alg text        NOT NULL,
    disabled                   boolean          NOT NULL,
    created_at                 timestamptz      NOT NULL,
    updated_at                 timestamptz      NOT NULL
);

-- The cap on unused dynamic clients is checked at each registration, and the
-- sweep looks for old ones.
CREATE INDEX clients_dynamic ON clients (created_at) WHERE source = 'dynamic';

CREATE TABLE client_secrets (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    client_id  text COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    hash       bytea            NOT NULL,
    created_at timestamptz      NOT NULL,
    expires_at timestamptz
);

CREATE INDEX client_secrets_client_id ON client_secrets (client_id);

CREATE TABLE resources (
    id                    text COLLATE "C" NOT NULL PRIMARY KEY,
    uri                   text COLLATE "C" NOT NULL,
    uri_key               text COLLATE "C" NOT NULL UNIQUE, -- uri without one trailing slash
    version               bigint           NOT NULL,
    name                  text             NOT NULL,
    introspection_clients text[]           NOT NULL,
    access_token_lifetime bigint           NOT NULL,
    created_at            timestamptz      NOT NULL,
    updated_at            timestamptz      NOT NULL
);

CREATE TABLE scopes (
    resource_id text COLLATE "C" NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    position    integer          NOT NULL,
    name        text COLLATE "C" NOT NULL,
    description text             NOT NULL,
    tools       text[]           NOT NULL,
    PRIMARY KEY (resource_id, name)
);

CREATE TABLE users (
    id            text COLLATE "C" NOT NULL PRIMARY KEY,
    username      text             NOT NULL,
    username_key  text COLLATE "C" NOT NULL UNIQUE, -- username in lower case, by Go's rules
    version       bigint           NOT NULL,
    email         text             NOT NULL,
    name          text             NOT NULL,
    password_hash text             NOT NULL,
    disabled      boolean          NOT NULL,
    created_at    timestamptz      NOT NULL,
    updated_at    timestamptz      NOT NULL
);

CREATE TABLE groups (
    name text COLLATE "C" NOT NULL PRIMARY KEY
);

CREATE TABLE user_groups (
    user_id    text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    group_name text COLLATE "C" NOT NULL REFERENCES groups (name) ON DELETE CASCADE,
    PRIMARY KEY (user_id, group_name)
);

CREATE INDEX user_groups_group_name ON user_groups (group_name);

CREATE TABLE sessions (
    id               text COLLATE "C" NOT NULL PRIMARY KEY,
    token_hash       bytea            NOT NULL UNIQUE,
    user_id          text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    authenticated_at timestamptz      NOT NULL,
    created_at       timestamptz      NOT NULL,
    last_seen_at     timestamptz      NOT NULL -- not indexed, so that being seen is an update in place
) WITH (fillfactor = 80);

CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_created_at ON sessions (created_at);

CREATE TABLE grants (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    user_id      text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    text COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    resource_id  text COLLATE "C" NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    scopes       text[]           NOT NULL,
    redirect_uri text             NOT NULL,
    client_name  text             NOT NULL,
    created_at   timestamptz      NOT NULL,
    updated_at   timestamptz      NOT NULL,
    UNIQUE (user_id, client_id, resource_id)
);

CREATE INDEX grants_client_id ON grants (client_id);
CREATE INDEX grants_resource_id ON grants (resource_id);

-- A code outlives its Grant, or the page that made it could approve once more.
CREATE TABLE authorization_codes (
    id             text COLLATE "C" NOT NULL PRIMARY KEY,
    grant_id       text COLLATE "C" REFERENCES grants (id) ON DELETE SET NULL,
    user_id        text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id      text COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    resource_id    text COLLATE "C" NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    scopes         text[]           NOT NULL,
    redirect_uri   text             NOT NULL,
    code_challenge text             NOT NULL,
    created_at     timestamptz      NOT NULL,
    expires_at     timestamptz      NOT NULL,
    redeemed_at    timestamptz,
    failed_proofs  integer          NOT NULL
) WITH (fillfactor = 80); -- nearly every code is redeemed, in place

CREATE INDEX authorization_codes_grant_id ON authorization_codes (grant_id);
CREATE INDEX authorization_codes_user_id ON authorization_codes (user_id);
CREATE INDEX authorization_codes_client_id ON authorization_codes (client_id);
CREATE INDEX authorization_codes_resource_id ON authorization_codes (resource_id);
CREATE INDEX authorization_codes_created_at ON authorization_codes (created_at);

-- user_id, client_id and resource_id repeat the Grant's, so that a refresh reads
-- one row; the Grant's foreign keys guard them. Nothing that a refresh writes is
-- indexed and every page has room for another version of a row, so that
-- refreshes are updates in place (HOT) and storage does not grow with them.
CREATE TABLE families (
    id               text COLLATE "C" NOT NULL PRIMARY KEY,
    grant_id         text COLLATE "C" NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    user_id          text COLLATE "C" NOT NULL,
    client_id        text COLLATE "C" NOT NULL,
    resource_id      text COLLATE "C" NOT NULL,
    scopes           text[]           NOT NULL,
    generation       bigint           NOT NULL,
    rotation_request bytea            NOT NULL,
    rotated_at       timestamptz      NOT NULL,
    created_at       timestamptz      NOT NULL,
    expires_at       timestamptz      NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX families_grant_id ON families (grant_id);
-- For the sweep; a family is never idle for longer than it exists.
CREATE INDEX families_created_at ON families (created_at);
CREATE INDEX families_expires_at ON families (expires_at);

CREATE TABLE revoked_access_tokens (
    jti        text COLLATE "C" NOT NULL PRIMARY KEY,
    expires_at timestamptz      NOT NULL
);

CREATE INDEX revoked_access_tokens_expires_at ON revoked_access_tokens (expires_at);

-- A client's marks that have lapsed are deleted when it makes the next one.
CREATE TABLE used_client_assertions (
    client_id  text COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    jti        text COLLATE "C" NOT NULL,
    expires_at timestamptz      NOT NULL,
    PRIMARY KEY (client_id, jti)
);

CREATE TABLE signing_keys (
    kid                text COLLATE "C" NOT NULL PRIMARY KEY,
    algorithm          text             NOT NULL,
    state              text COLLATE "C" NOT NULL CHECK (state IN ('next', 'active', 'retired')),
    public_jwk         bytea            NOT NULL,
    sealed_private_key bytea            NOT NULL,
    created_at         timestamptz      NOT NULL,
    retired_at         timestamptz
);

CREATE UNIQUE INDEX signing_keys_active ON signing_keys (state) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (state) WHERE state = 'next';

-- No foreign keys: an event outlives what it tells of.
CREATE TABLE audit_events (
    id     text COLLATE "C" NOT NULL PRIMARY KEY,
    at     timestamptz      NOT NULL,
    actor  text             NOT NULL,
    action text             NOT NULL,
    target text             NOT NULL,
    detail jsonb            NOT NULL -- an object of strings
);
