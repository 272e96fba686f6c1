-- Who may introduce themselves, and whom people have asked for. Columns have the
-- same names in ../sqlite/0003_registration_policy.up.sql.

CREATE TABLE registration_policy (
    version            bigint NOT NULL,
    dynamic            text   NOT NULL CHECK (dynamic IN ('allow', 'ask_admin', 'token', 'off')),
    metadata_documents text   NOT NULL CHECK (metadata_documents IN ('allow', 'ask_admin', 'off')),
    disabled_profiles  text[] NOT NULL,
    updated_at         timestamptz -- NULL: as it was made here
);

CREATE UNIQUE INDEX registration_policy_one_row ON registration_policy ((true));

-- A stranger's client is used by nobody before an administrator has looked at it.
INSERT INTO registration_policy (version, dynamic, metadata_documents, disabled_profiles)
VALUES (1, 'ask_admin', 'ask_admin', '{}');

CREATE TABLE registration_hosts (
    host     text COLLATE "C" NOT NULL PRIMARY KEY,
    decision text             NOT NULL CHECK (decision IN ('allow', 'ask_admin', 'off'))
);

-- No foreign key to clients: a client known by its metadata document has no row
-- before somebody has approved it.
CREATE TABLE registration_requests (
    id            text COLLATE "C" NOT NULL PRIMARY KEY,
    client_id     text COLLATE "C" NOT NULL UNIQUE, -- the OAuth client_id
    source        text             NOT NULL CHECK (source IN ('dynamic', 'metadata_document')),
    client_name   text             NOT NULL,
    redirect_uris text[]           NOT NULL,
    state         text             NOT NULL CHECK (state IN ('pending', 'allowed', 'refused')),
    created_at    timestamptz      NOT NULL,
    decided_at    timestamptz
);

CREATE INDEX registration_requests_pending ON registration_requests (created_at) WHERE state = 'pending';

CREATE TABLE registration_request_users (
    request_id text COLLATE "C" NOT NULL REFERENCES registration_requests (id) ON DELETE CASCADE,
    user_id    text COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    asked_at   timestamptz      NOT NULL,
    PRIMARY KEY (request_id, user_id)
);

CREATE INDEX registration_request_users_user_id ON registration_request_users (user_id);
