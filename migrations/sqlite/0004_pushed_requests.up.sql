-- Authorization requests that clients push before a browser opens them (RFC 9126).
-- A row is decided when authorization_codes has the row that its id leads to.
CREATE TABLE pushed_requests (
    id         TEXT    NOT NULL PRIMARY KEY,
    client_id  TEXT    NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    query      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- For the cap on each client's requests, and for the sweep.
CREATE INDEX pushed_requests_client_id ON pushed_requests (client_id, expires_at);
CREATE INDEX pushed_requests_expires_at ON pushed_requests (expires_at);

-- The default serves the program before this one, which does not know the column.
ALTER TABLE clients ADD COLUMN require_pushed_authorization_requests INTEGER NOT NULL DEFAULT 0
    CHECK (require_pushed_authorization_requests IN (0, 1));
