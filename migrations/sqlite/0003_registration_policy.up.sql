-- Who may introduce themselves, and whom people have asked for. Columns have the
-- same names in ../postgres/0003_registration_policy.up.sql.

CREATE TABLE registration_policy (
    version            INTEGER NOT NULL,
    dynamic            TEXT    NOT NULL CHECK (dynamic IN ('allow', 'ask_admin', 'token', 'off')),
    metadata_documents TEXT    NOT NULL CHECK (metadata_documents IN ('allow', 'ask_admin', 'off')),
    disabled_profiles  TEXT    NOT NULL,
    updated_at         INTEGER -- NULL: as it was made here
) STRICT;

-- A stranger's client is used by nobody before an administrator has looked at it.
INSERT INTO registration_policy (version, dynamic, metadata_documents, disabled_profiles)
VALUES (1, 'ask_admin', 'ask_admin', '[]');

CREATE TABLE registration_hosts (
    host     TEXT NOT NULL PRIMARY KEY,
    decision TEXT NOT NULL CHECK (decision IN ('allow', 'ask_admin', 'off'))
) STRICT, WITHOUT ROWID;

-- No foreign key to clients: a client known by its metadata document has no row
-- before somebody has approved it.
CREATE TABLE registration_requests (
    id            TEXT    NOT NULL PRIMARY KEY,
    client_id     TEXT    NOT NULL UNIQUE, -- the OAuth client_id
    source        TEXT    NOT NULL CHECK (source IN ('dynamic', 'metadata_document')),
    client_name   TEXT    NOT NULL,
    redirect_uris TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('pending', 'allowed', 'refused')),
    created_at    INTEGER NOT NULL,
    decided_at    INTEGER
) STRICT;

CREATE INDEX registration_requests_pending ON registration_requests (created_at) WHERE state = 'pending';

CREATE TABLE registration_request_users (
    request_id TEXT    NOT NULL REFERENCES registration_requests (id) ON DELETE CASCADE,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    asked_at   INTEGER NOT NULL,
    PRIMARY KEY (request_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX registration_request_users_user_id ON registration_request_users (user_id);
