ALTER TABLE providers
    DROP COLUMN second_factor,
    DROP COLUMN client_secret_set_at,
    DROP COLUMN managed_by;
