ALTER TABLE sign_in_policy RENAME TO sign_in_policy_after;
CREATE TABLE sign_in_policy (
    version            INTEGER NOT NULL,
    second_factor      TEXT    NOT NULL CHECK (second_factor IN ('none', 'required')),
    destructive_scopes TEXT    NOT NULL CHECK (destructive_scopes IN ('none', 'second_factor')),
    updated_at         INTEGER -- NULL: as it was made here
) STRICT;
INSERT INTO sign_in_policy (version, second_factor, destructive_scopes, updated_at)
SELECT version, iif(second_factor = 'passkeys_only', 'required', second_factor), destructive_scopes, updated_at FROM sign_in_policy_after;
DROP TABLE sign_in_policy_after;
DROP TABLE passkeys;
