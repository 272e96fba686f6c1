-- Who may administer: keys with a name, and clients that may get people a token for
-- the admin API.
CREATE TABLE admin_keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    hash         BLOB    NOT NULL UNIQUE,
    name         TEXT    NOT NULL UNIQUE,
    scope        TEXT    NOT NULL CHECK (scope IN ('read', 'write')),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;

ALTER TABLE clients ADD COLUMN admin_access INTEGER NOT NULL DEFAULT 0 CHECK (admin_access IN (0, 1));
