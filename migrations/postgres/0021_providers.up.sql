-- Identity providers that people sign in with, and who those people are there.
-- Columns have the same names in ../sqlite/0021_providers.up.sql.
CREATE TABLE providers (
    id                   text COLLATE "C" NOT NULL PRIMARY KEY,
    version              bigint           NOT NULL,
    name                 text COLLATE "C" NOT NULL UNIQUE,
    issuer               text             NOT NULL,
    preset               text             NOT NULL,
    client_id            text             NOT NULL,
    sealed_client_secret bytea            NOT NULL, -- empty: a public client
    scopes               text[]           NOT NULL,
    label                text             NOT NULL,
    automatic            boolean          NOT NULL,
    link_by_email        boolean          NOT NULL,
    claim_name           text             NOT NULL,
    claim_email          text             NOT NULL,
    claim_groups         text             NOT NULL,
    allowed_tenants      text[]           NOT NULL,
    allowed_domains      text[]           NOT NULL,
    allowed_groups       text[]           NOT NULL,
    acr_values           text[]           NOT NULL,
    reverify_after       bigint           NOT NULL,
    enabled              boolean          NOT NULL,
    created_at           timestamptz      NOT NULL,
    updated_at           timestamptz      NOT NULL
);

-- A person is known by issuer and subject, whichever provider of that issuer they
-- came through last.
CREATE TABLE user_identities (
    issuer      text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,
    user_id     text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider_id text COLLATE "C" NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
    created_at  timestamptz      NOT NULL,
    verified_at timestamptz      NOT NULL,
    PRIMARY KEY (issuer, subject)
);

CREATE INDEX user_identities_user_id ON user_identities (user_id);
CREATE INDEX user_identities_provider_id ON user_identities (provider_id);

-- NULL: no provider has to vouch for them.
ALTER TABLE users ADD COLUMN verified_until timestamptz;

-- False: the address came from a provider that did not verify it.
ALTER TABLE users ADD COLUMN email_verified boolean NOT NULL DEFAULT true;

-- For linking by e-mail, without regard to the case of ASCII letters.
CREATE INDEX users_email ON users (lower(email COLLATE "C"));

-- The provider that a membership comes from and goes with; NULL: it was given here.
ALTER TABLE user_groups ADD COLUMN provider_id text COLLATE "C" REFERENCES providers (id) ON DELETE CASCADE;

CREATE INDEX user_groups_provider_id ON user_groups (provider_id) WHERE provider_id IS NOT NULL;
