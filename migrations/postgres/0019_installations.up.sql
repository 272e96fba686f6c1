-- What redeemed the code called itself, and where it came from, so that people can tell
-- the installations of an application apart. Of the version before nobody knows.
ALTER TABLE families ADD COLUMN user_agent text NOT NULL DEFAULT '';
ALTER TABLE families ADD COLUMN address text NOT NULL DEFAULT '';
