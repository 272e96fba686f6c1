-- The WebAuthn credentials of people, and a rule that asks for them. Columns have the
-- same names in ../sqlite/0022_passkeys.up.sql.
CREATE TABLE passkeys (
    id              text COLLATE "C" NOT NULL PRIMARY KEY,
    user_id         text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   bytea            NOT NULL UNIQUE,
    public_key      bytea            NOT NULL,
    sign_count      bigint           NOT NULL,
    backup_eligible boolean          NOT NULL,
    backed_up       boolean          NOT NULL,
    transports      text[]           NOT NULL,
    name            text             NOT NULL,
    created_at      timestamptz      NOT NULL,
    last_used_at    timestamptz,              -- NULL: never
    challenged_at   timestamptz      NOT NULL -- when the challenge was made that it signed last
);

CREATE INDEX passkeys_user_id ON passkeys (user_id);

ALTER TABLE sign_in_policy DROP CONSTRAINT sign_in_policy_second_factor_check;
ALTER TABLE sign_in_policy ADD CONSTRAINT sign_in_policy_second_factor_check
    CHECK (second_factor IN ('none', 'required', 'passkeys_only'));
