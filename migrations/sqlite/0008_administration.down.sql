DROP TABLE idempotency_keys;
ALTER TABLE signing_keys DROP COLUMN activated_at;
