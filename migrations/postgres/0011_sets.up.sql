-- Sets that "grantd apply" keeps, and groups that are made before anybody is in
-- them. Every column has a default, so that a server of the version before goes on
-- working; the default of groups.id also gives those there are one each.
ALTER TABLE clients ADD COLUMN managed_by text NOT NULL DEFAULT '';
ALTER TABLE resources ADD COLUMN managed_by text NOT NULL DEFAULT '';
ALTER TABLE groups
    ADD COLUMN id          text COLLATE "C" DEFAULT 'grp_' || left(replace(gen_random_uuid()::text, '-', ''), 25) || '0',
    ADD COLUMN version     bigint NOT NULL DEFAULT 1,
    ADD COLUMN description text   NOT NULL DEFAULT '',
    ADD COLUMN managed_by  text   NOT NULL DEFAULT '';

CREATE UNIQUE INDEX groups_id ON groups (id);

-- A secret that somebody has chosen is added once.
DROP INDEX client_secrets_client_id;
CREATE UNIQUE INDEX client_secrets_once ON client_secrets (client_id, hash);
