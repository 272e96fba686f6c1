ALTER TABLE providers DROP COLUMN second_factor;
ALTER TABLE providers DROP COLUMN client_secret_set_at;
ALTER TABLE providers DROP COLUMN managed_by;
