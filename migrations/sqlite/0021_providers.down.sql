DROP INDEX user_groups_provider_id;
DELETE FROM user_groups WHERE provider_id IS NOT NULL;
ALTER TABLE user_groups DROP COLUMN provider_id;
DROP INDEX users_email;
ALTER TABLE users DROP COLUMN email_verified;
ALTER TABLE users DROP COLUMN verified_until;
DROP TABLE user_identities;
DROP TABLE providers;
