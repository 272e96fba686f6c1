DROP INDEX client_secrets_once;
CREATE INDEX client_secrets_client_id ON client_secrets (client_id);
DROP INDEX groups_id;
ALTER TABLE groups
    DROP COLUMN id,
    DROP COLUMN version,
    DROP COLUMN description,
    DROP COLUMN managed_by;
ALTER TABLE resources DROP COLUMN managed_by;
ALTER TABLE clients DROP COLUMN managed_by;
