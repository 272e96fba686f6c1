-- What people prove besides a password, and how each session was made. Columns have
-- the same names in ../postgres/0017_second_factors.up.sql.

-- The methods of a sign-in (RFC 8176). Those of the version before were passwords.
ALTER TABLE sessions ADD COLUMN amr TEXT NOT NULL DEFAULT '["pwd"]';

CREATE TABLE totps (
    user_id       TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed_secret BLOB            NOT NULL,
    last_step     INTEGER           NOT NULL, -- the time step that was accepted last
    created_at    INTEGER      NOT NULL,
    last_used_at  INTEGER      NOT NULL
) STRICT;

-- One row for each code that is left.
CREATE TABLE recovery_codes (
    user_id   TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash BLOB            NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE sign_in_policy (
    version            INTEGER NOT NULL,
    second_factor      TEXT   NOT NULL CHECK (second_factor IN ('none', 'required')),
    destructive_scopes TEXT   NOT NULL CHECK (destructive_scopes IN ('none', 'second_factor')),
    updated_at         INTEGER -- NULL: as it was made here
) STRICT;

INSERT INTO sign_in_policy (version, second_factor, destructive_scopes) VALUES (1, 'none', 'none');

-- How the person had signed in who approved, for the tokens. Empty and NULL for those
-- of the version before.
ALTER TABLE authorization_codes ADD COLUMN amr TEXT NOT NULL DEFAULT '[]';
ALTER TABLE authorization_codes ADD COLUMN authenticated_at INTEGER;
ALTER TABLE device_authorizations ADD COLUMN amr TEXT NOT NULL DEFAULT '[]';
ALTER TABLE device_authorizations ADD COLUMN authenticated_at INTEGER;
ALTER TABLE families ADD COLUMN amr TEXT NOT NULL DEFAULT '[]';
ALTER TABLE families ADD COLUMN authenticated_at INTEGER;
