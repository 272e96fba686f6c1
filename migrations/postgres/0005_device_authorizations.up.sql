-- Devices that wait for a person to connect them (RFC 8628). In the order of locks
-- a row comes after its Grant; a pending one has none.
CREATE TABLE device_authorizations (
    id             text COLLATE "C" NOT NULL PRIMARY KEY,
    user_code_hash bytea            NOT NULL UNIQUE,
    client_id      text COLLATE "C" NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    resource_id    text COLLATE "C" NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    scopes         text[]           NOT NULL,
    state          text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'redeemed')),
    user_id        text COLLATE "C" REFERENCES users (id) ON DELETE CASCADE,
    grant_id       text COLLATE "C" REFERENCES grants (id) ON DELETE SET NULL,
    poll_interval  bigint           NOT NULL,
    polled_at      timestamptz, -- not indexed, so that a poll is an update in place
    created_at     timestamptz      NOT NULL,
    expires_at     timestamptz      NOT NULL,
    redeemed_at    timestamptz
) WITH (fillfactor = 80);

-- With expires_at for the cap on what a client may have pending.
CREATE INDEX device_authorizations_client_id ON device_authorizations (client_id, expires_at);
CREATE INDEX device_authorizations_resource_id ON device_authorizations (resource_id);
CREATE INDEX device_authorizations_user_id ON device_authorizations (user_id);
CREATE INDEX device_authorizations_grant_id ON device_authorizations (grant_id);
CREATE INDEX device_authorizations_expires_at ON device_authorizations (expires_at);
