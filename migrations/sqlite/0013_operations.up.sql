-- NULL until it is used; written only now and then. Of the version before nobody
-- knows.
ALTER TABLE clients ADD COLUMN last_used_at INTEGER;

-- Whose a leaked secret is.
CREATE INDEX client_secrets_hash ON client_secrets (hash);
