DROP INDEX client_secrets_hash;
ALTER TABLE clients DROP COLUMN last_used_at;
