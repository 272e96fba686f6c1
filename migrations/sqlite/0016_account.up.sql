-- What a person recognises a session by. Empty for sessions of the version before.
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';

-- Links with which people set their password. user_id is NULL for the first
-- administrator, who is yet to be made.
CREATE TABLE user_links (
    id         TEXT    NOT NULL PRIMARY KEY,
    token_hash BLOB    NOT NULL UNIQUE,
    purpose    TEXT    NOT NULL CHECK (purpose IN ('first_admin', 'invitation', 'password_reset')),
    user_id    TEXT    UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX user_links_first_admin ON user_links (purpose) WHERE user_id IS NULL;
CREATE INDEX user_links_expires_at ON user_links (expires_at);

-- The User an event is about, if any, for the account page: the target, else the
-- one in its detail, else who did it.
CREATE INDEX audit_events_of_user ON audit_events (
    coalesce(CASE WHEN substr(target, 1, 4) = 'usr_' THEN target END, detail ->> 'user_id', CASE WHEN substr(actor, 1, 5) = 'user:' THEN substr(actor, 6) END),
    id
);

-- A link dies with what made it necessary.
CREATE TRIGGER user_link_ended AFTER UPDATE OF disabled, password_hash ON users
WHEN NEW.disabled OR NEW.password_hash <> OLD.password_hash
BEGIN
    DELETE FROM user_links WHERE user_id = NEW.id;
END;
