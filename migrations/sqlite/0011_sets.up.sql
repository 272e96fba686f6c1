-- Sets that "grantd apply" keeps, and groups that are made before anybody is in
-- them. Every column has a default, so that a server of the version before goes on
-- working; that of groups.id is a trigger, since SQLite adds no column whose default
-- is computed.
ALTER TABLE clients ADD COLUMN managed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE resources ADD COLUMN managed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE groups ADD COLUMN id TEXT;
ALTER TABLE groups ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE groups ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE groups ADD COLUMN managed_by TEXT NOT NULL DEFAULT '';

UPDATE groups SET id = 'grp_' || substr(lower(hex(randomblob(13))), 1, 25) || '0';

CREATE UNIQUE INDEX groups_id ON groups (id);

CREATE TRIGGER group_id AFTER INSERT ON groups
WHEN NEW.id IS NULL
BEGIN
    UPDATE groups SET id = 'grp_' || substr(lower(hex(randomblob(13))), 1, 25) || '0' WHERE name = NEW.name;
END;

-- A secret that somebody has chosen is added once.
DROP INDEX client_secrets_client_id;
CREATE UNIQUE INDEX client_secrets_once ON client_secrets (client_id, hash);
