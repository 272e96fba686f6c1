-- What a person recognises a session by. Empty for sessions of the version before.
ALTER TABLE sessions ADD COLUMN user_agent text NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN address text NOT NULL DEFAULT '';

-- Links with which people set their password. user_id is NULL for the first
-- administrator, who is yet to be made.
CREATE TABLE user_links (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    token_hash bytea            NOT NULL UNIQUE,
    purpose    text COLLATE "C" NOT NULL CHECK (purpose IN ('first_admin', 'invitation', 'password_reset')),
    user_id    text COLLATE "C" UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz      NOT NULL,
    expires_at timestamptz      NOT NULL
);

CREATE UNIQUE INDEX user_links_first_admin ON user_links (purpose) WHERE user_id IS NULL;
CREATE INDEX user_links_expires_at ON user_links (expires_at);

-- The User an event is about, if any, for the account page: the target, else the
-- one in its detail, else who did it.
CREATE INDEX audit_events_of_user ON audit_events (
    coalesce(CASE WHEN substr(target, 1, 4) = 'usr_' THEN target END, detail ->> 'user_id', CASE WHEN substr(actor, 1, 5) = 'user:' THEN substr(actor, 6) END),
    id
);
