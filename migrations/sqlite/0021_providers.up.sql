-- Identity providers that people sign in with, and who those people are there.
-- Columns have the same names in ../postgres/0021_providers.up.sql.
CREATE TABLE providers (
    id                   TEXT    NOT NULL PRIMARY KEY,
    version              INTEGER NOT NULL,
    name                 TEXT    NOT NULL UNIQUE,
    issuer               TEXT    NOT NULL,
    preset               TEXT    NOT NULL,
    client_id            TEXT    NOT NULL,
    sealed_client_secret BLOB    NOT NULL, -- empty: a public client
    scopes               TEXT    NOT NULL,
    label                TEXT    NOT NULL,
    automatic            INTEGER NOT NULL CHECK (automatic IN (0, 1)),
    link_by_email        INTEGER NOT NULL CHECK (link_by_email IN (0, 1)),
    claim_name           TEXT    NOT NULL,
    claim_email          TEXT    NOT NULL,
    claim_groups         TEXT    NOT NULL,
    allowed_tenants      TEXT    NOT NULL,
    allowed_domains      TEXT    NOT NULL,
    allowed_groups       TEXT    NOT NULL,
    acr_values           TEXT    NOT NULL,
    reverify_after       INTEGER NOT NULL,
    enabled              INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL
) STRICT;

-- A person is known by issuer and subject, whichever provider of that issuer they
-- came through last.
CREATE TABLE user_identities (
    issuer      TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    user_id     TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider_id TEXT    NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
    created_at  INTEGER NOT NULL,
    verified_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX user_identities_user_id ON user_identities (user_id);
CREATE INDEX user_identities_provider_id ON user_identities (provider_id);

-- NULL: no provider has to vouch for them.
ALTER TABLE users ADD COLUMN verified_until INTEGER;

-- 0: the address came from a provider that did not verify it.
ALTER TABLE users ADD COLUMN email_verified INTEGER NOT NULL DEFAULT 1 CHECK (email_verified IN (0, 1));

-- For linking by e-mail, without regard to the case of ASCII letters.
CREATE INDEX users_email ON users (lower(email));

-- The provider that a membership comes from and goes with; NULL: it was given here.
ALTER TABLE user_groups ADD COLUMN provider_id TEXT REFERENCES providers (id) ON DELETE CASCADE;

CREATE INDEX user_groups_provider_id ON user_groups (provider_id) WHERE provider_id IS NOT NULL;
