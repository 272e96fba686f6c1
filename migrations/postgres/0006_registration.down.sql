DROP TABLE initial_access_tokens;
DROP INDEX clients_registration_digest;
ALTER TABLE clients
    DROP COLUMN registration_digest,
    DROP COLUMN registration_access_token_hash,
    DROP COLUMN renewed_at,
    DROP COLUMN used_at,
    DROP COLUMN vouched;
