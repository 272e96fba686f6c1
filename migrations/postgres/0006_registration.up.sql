-- Dynamic registration and its management (RFC 7591, RFC 7592). All columns may be
-- NULL or have a default, so that a server of the version before goes on working.
--
-- registration_digest is of what a public client says of itself: who says the same
-- again gets the same row. renewed_at is when that last gave the row more time,
-- used_at when the sweep last saw a Grant of it. vouched: somebody registered it with an
-- initial access token.
ALTER TABLE clients
    ADD COLUMN registration_digest            bytea,
    ADD COLUMN registration_access_token_hash bytea,
    ADD COLUMN renewed_at                     timestamptz,
    ADD COLUMN used_at                        timestamptz,
    ADD COLUMN vouched                        boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX clients_registration_digest ON clients (registration_digest);

CREATE TABLE initial_access_tokens (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    hash         bytea            NOT NULL UNIQUE,
    name         text             NOT NULL,
    max_uses     integer          NOT NULL,
    uses         integer          NOT NULL,
    created_at   timestamptz      NOT NULL,
    expires_at   timestamptz      NOT NULL,
    last_used_at timestamptz
);
