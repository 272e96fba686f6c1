-- Providers are kept by "grantd apply" too, and it is known since when a secret is used.
-- NULL: there is none, or nobody knows.
-- Columns have the same names in ../postgres/0023_provider_sets.up.sql.
ALTER TABLE providers ADD COLUMN managed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE providers ADD COLUMN client_secret_set_at INTEGER;
