-- Devices that wait for a person to connect them (RFC 8628).
CREATE TABLE device_authorizations (
    id             TEXT    NOT NULL PRIMARY KEY,
    user_code_hash BLOB    NOT NULL UNIQUE,
    client_id      TEXT    NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    resource_id    TEXT    NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    scopes         TEXT    NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'redeemed')),
    user_id        TEXT    REFERENCES users (id) ON DELETE CASCADE,
    grant_id       TEXT    REFERENCES grants (id) ON DELETE SET NULL,
    poll_interval  INTEGER NOT NULL,
    polled_at      INTEGER,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    redeemed_at    INTEGER
) STRICT;

-- With expires_at for the cap on what a client may have pending.
CREATE INDEX device_authorizations_client_id ON device_authorizations (client_id, expires_at);
CREATE INDEX device_authorizations_resource_id ON device_authorizations (resource_id);
CREATE INDEX device_authorizations_user_id ON device_authorizations (user_id);
CREATE INDEX device_authorizations_grant_id ON device_authorizations (grant_id);
CREATE INDEX device_authorizations_expires_at ON device_authorizations (expires_at);

-- As user_password_changed does to codes: what was approved and not yet fetched is
-- dead. Who is disabled loses the Grant, and by the foreign key grant_id.
CREATE TRIGGER user_password_changed_devices AFTER UPDATE OF password_hash ON users
WHEN NEW.password_hash <> OLD.password_hash
BEGIN
    UPDATE device_authorizations SET grant_id = NULL WHERE user_id = NEW.id AND redeemed_at IS NULL;
END;

CREATE TRIGGER scope_removed_devices AFTER DELETE ON scopes
BEGIN
    UPDATE device_authorizations
    SET scopes = (SELECT json_group_array(value ORDER BY key) FROM json_each(scopes) WHERE value <> OLD.name)
    WHERE resource_id = OLD.resource_id
      AND EXISTS (SELECT 1 FROM json_each(scopes) WHERE value = OLD.name);
END;
