-- What people prove besides a password, and how each session was made. Columns have
-- the same names in ../sqlite/0017_second_factors.up.sql.

-- The methods of a sign-in (RFC 8176). Those of the version before were passwords.
ALTER TABLE sessions ADD COLUMN amr text[] NOT NULL DEFAULT '{pwd}';

CREATE TABLE totps (
    user_id       text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed_secret bytea            NOT NULL,
    last_step     bigint           NOT NULL, -- the time step that was accepted last
    created_at    timestamptz      NOT NULL,
    last_used_at  timestamptz      NOT NULL
);

-- One row for each code that is left.
CREATE TABLE recovery_codes (
    user_id   text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash bytea            NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

CREATE TABLE sign_in_policy (
    version            bigint NOT NULL,
    second_factor      text   NOT NULL CHECK (second_factor IN ('none', 'required')),
    destructive_scopes text   NOT NULL CHECK (destructive_scopes IN ('none', 'second_factor')),
    updated_at         timestamptz -- NULL: as it was made here
);

CREATE UNIQUE INDEX sign_in_policy_one_row ON sign_in_policy ((true));

INSERT INTO sign_in_policy (version, second_factor, destructive_scopes) VALUES (1, 'none', 'none');

-- How the person had signed in who approved, for the tokens. Empty and NULL for those
-- of the version before.
ALTER TABLE authorization_codes ADD COLUMN amr text[] NOT NULL DEFAULT '{}';
ALTER TABLE authorization_codes ADD COLUMN authenticated_at timestamptz;
ALTER TABLE device_authorizations ADD COLUMN amr text[] NOT NULL DEFAULT '{}';
ALTER TABLE device_authorizations ADD COLUMN authenticated_at timestamptz;
ALTER TABLE families ADD COLUMN amr text[] NOT NULL DEFAULT '{}';
ALTER TABLE families ADD COLUMN authenticated_at timestamptz;
