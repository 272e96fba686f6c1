-- NULL also for an active key of before: it began to sign when it was created.
ALTER TABLE signing_keys ADD COLUMN activated_at timestamptz;

CREATE TABLE idempotency_keys (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    request    text             NOT NULL,
    target     text COLLATE "C" NOT NULL,
    expires_at timestamptz      NOT NULL
);

CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);
