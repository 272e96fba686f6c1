DROP TABLE sign_in_policy;
DROP TABLE used_passkey_challenges;
DROP TABLE passkeys;
DROP TABLE recovery_codes;
DROP TABLE totps;
ALTER TABLE sessions DROP COLUMN amr;
