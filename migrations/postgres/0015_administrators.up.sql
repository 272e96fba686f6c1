-- Who may administer: keys with a name, and clients that may get people a token for
-- the admin API.
CREATE TABLE admin_keys (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    hash         bytea            NOT NULL UNIQUE,
    name         text COLLATE "C" NOT NULL UNIQUE,
    scope        text             NOT NULL CHECK (scope IN ('read', 'write')),
    created_at   timestamptz      NOT NULL,
    expires_at   timestamptz      NOT NULL,
    last_used_at timestamptz
);

ALTER TABLE clients ADD COLUMN admin_access boolean NOT NULL DEFAULT false;
