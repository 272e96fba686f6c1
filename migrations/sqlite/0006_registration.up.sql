-- Dynamic registration and its management (RFC 7591, RFC 7592). All columns may be
-- NULL or have a default, so that a server of the version before goes on working.
--
-- registration_digest is of what a public client says of itself: who says the same
-- again gets the same row. renewed_at is when that last gave the row more time,
-- used_at when the sweep last saw a Grant of it. vouched: somebody registered it with an
-- initial access token.
ALTER TABLE clients ADD COLUMN registration_digest BLOB;
ALTER TABLE clients ADD COLUMN registration_access_token_hash BLOB;
ALTER TABLE clients ADD COLUMN renewed_at INTEGER;
ALTER TABLE clients ADD COLUMN used_at INTEGER;
ALTER TABLE clients ADD COLUMN vouched INTEGER NOT NULL DEFAULT 0 CHECK (vouched IN (0, 1));

CREATE UNIQUE INDEX clients_registration_digest ON clients (registration_digest);

CREATE TABLE initial_access_tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    hash         BLOB    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    max_uses     INTEGER NOT NULL,
    uses         INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;
