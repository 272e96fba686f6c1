-- Providers are kept by "grantd apply" too, it is known since when a secret is used
-- (NULL: there is none, or nobody knows), and a second factor may be asked here.
-- Columns have the same names in ../sqlite/0023_provider_rules.up.sql.
ALTER TABLE providers
    ADD COLUMN managed_by           text NOT NULL DEFAULT '',
    ADD COLUMN client_secret_set_at timestamptz,
    ADD COLUMN second_factor        text NOT NULL DEFAULT 'trusted' CHECK (second_factor IN ('trusted', 'required'));
