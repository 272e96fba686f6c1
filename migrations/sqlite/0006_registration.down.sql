DROP TABLE initial_access_tokens;
DROP INDEX clients_registration_digest;
ALTER TABLE clients DROP COLUMN registration_digest;
ALTER TABLE clients DROP COLUMN registration_access_token_hash;
ALTER TABLE clients DROP COLUMN renewed_at;
ALTER TABLE clients DROP COLUMN used_at;
ALTER TABLE clients DROP COLUMN vouched;
