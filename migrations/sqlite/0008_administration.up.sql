-- NULL also for an active key of before: it began to sign when it was created.
ALTER TABLE signing_keys ADD COLUMN activated_at INTEGER;

CREATE TABLE idempotency_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    request    TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);
