-- Which groups may have which scopes of which resources through which clients.
-- Columns have the same names in ../postgres/0009_policies.up.sql. Defaults serve
-- the program before this one, which does not know the columns.

ALTER TABLE scopes ADD COLUMN risk TEXT NOT NULL DEFAULT 'write' CHECK (risk IN ('read', 'write', 'destructive'));

-- A policy approved it and nobody saw a page: so there is nothing to remember.
ALTER TABLE grants ADD COLUMN in_advance INTEGER NOT NULL DEFAULT 0 CHECK (in_advance IN (0, 1));

-- An empty list does not narrow. Resources are named by their URI and clients by
-- their client_id, because a client that is known by its document may have no row.
CREATE TABLE policies (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    version      INTEGER NOT NULL,
    groups       TEXT    NOT NULL,
    resources    TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    clients      TEXT    NOT NULL,
    trust        TEXT    NOT NULL,
    skip_consent INTEGER NOT NULL CHECK (skip_consent IN (0, 1)),
    managed_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

-- As it was before there were policies.
INSERT INTO policies (id, name, version, groups, resources, scopes, clients, trust, skip_consent, managed_by, created_at, updated_at)
VALUES ('pol_00000000000000000000000000', 'Everyone may approve every MCP server', 1, '[]', '[]', '[]', '[]', '[]', 0, '',
    unixepoch() * 1000000, unixepoch() * 1000000);
