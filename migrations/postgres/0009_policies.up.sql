-- Which groups may have which scopes of which resources through which clients.
-- Columns have the same names in ../sqlite/0009_policies.up.sql. Defaults serve the
-- program before this one, which does not know the columns.

ALTER TABLE scopes ADD COLUMN risk text NOT NULL DEFAULT 'write' CHECK (risk IN ('read', 'write', 'destructive'));

-- A policy approved it and nobody saw a page: so there is nothing to remember.
ALTER TABLE grants ADD COLUMN in_advance boolean NOT NULL DEFAULT false;

-- An empty list does not narrow. Resources are named by their URI and clients by
-- their client_id, because a client that is known by its document may have no row.
CREATE TABLE policies (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    version      bigint           NOT NULL,
    groups       text[]           NOT NULL,
    resources    text[]           NOT NULL,
    scopes       text[]           NOT NULL,
    clients      text[]           NOT NULL,
    trust        text[]           NOT NULL,
    skip_consent boolean          NOT NULL,
    managed_by   text             NOT NULL,
    created_at   timestamptz      NOT NULL,
    updated_at   timestamptz      NOT NULL
);

-- As it was before there were policies.
INSERT INTO policies (id, name, version, groups, resources, scopes, clients, trust, skip_consent, managed_by, created_at, updated_at)
VALUES ('pol_00000000000000000000000000', 'Everyone may approve every MCP server', 1, '{}', '{}', '{}', '{}', '{}', false, '', now(), now());
