-- The WebAuthn credentials of people, and a rule that asks for them. Columns have the
-- same names in ../postgres/0022_passkeys.up.sql.
CREATE TABLE passkeys (
    id              TEXT    NOT NULL PRIMARY KEY,
    user_id         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   BLOB    NOT NULL UNIQUE,
    public_key      BLOB    NOT NULL,
    sign_count      INTEGER NOT NULL,
    backup_eligible INTEGER NOT NULL CHECK (backup_eligible IN (0, 1)),
    backed_up       INTEGER NOT NULL CHECK (backed_up IN (0, 1)),
    transports      TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    last_used_at    INTEGER,         -- NULL: never
    challenged_at   INTEGER NOT NULL -- when the challenge was made that it signed last
) STRICT;

CREATE INDEX passkeys_user_id ON passkeys (user_id);

-- A constraint is changed by making the table anew.
ALTER TABLE sign_in_policy RENAME TO sign_in_policy_before;
CREATE TABLE sign_in_policy (
    version            INTEGER NOT NULL,
    second_factor      TEXT    NOT NULL CHECK (second_factor IN ('none', 'required', 'passkeys_only')),
    destructive_scopes TEXT    NOT NULL CHECK (destructive_scopes IN ('none', 'second_factor')),
    updated_at         INTEGER -- NULL: as it was made here
) STRICT;
INSERT INTO sign_in_policy (version, second_factor, destructive_scopes, updated_at)
SELECT version, second_factor, destructive_scopes, updated_at FROM sign_in_policy_before;
DROP TABLE sign_in_policy_before;
