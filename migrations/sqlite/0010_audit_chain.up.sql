-- A sealer chains the committed events in batches: each audit_seals row
-- authenticates its batch and the seal before it with a key that is not in the
-- database. See docs/adr/0020-the-audit-chain-is-sealed-behind-the-acts.md.
CREATE TABLE audit_seals (
    number     INTEGER NOT NULL PRIMARY KEY, -- from 1, without a gap
    previous   BLOB    NOT NULL,             -- mac of the seal before; empty for the first
    events     INTEGER NOT NULL,
    digest     BLOB    NOT NULL,
    sealed_at  INTEGER NOT NULL,
    key_id     BLOB    NOT NULL,
    mac        BLOB    NOT NULL,
    removed_at INTEGER,                      -- when retention removed the events
    removal    BLOB                          -- authenticates that it did
) STRICT;

CREATE INDEX audit_seals_kept ON audit_seals (number) WHERE removed_at IS NULL;

ALTER TABLE audit_events ADD COLUMN seal INTEGER; -- NULL: not sealed yet
ALTER TABLE audit_events ADD COLUMN position INTEGER;
ALTER TABLE audit_events ADD COLUMN mac BLOB;
ALTER TABLE audit_events ADD COLUMN salt BLOB;
ALTER TABLE audit_events ADD COLUMN erasure TEXT; -- what stands in for values that were erased

CREATE INDEX audit_events_unsealed ON audit_events (id) WHERE seal IS NULL;
CREATE UNIQUE INDEX audit_events_sealed ON audit_events (seal, position) WHERE seal IS NOT NULL;
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_actor ON audit_events (actor, id);
CREATE INDEX audit_events_target ON audit_events (target, id);

-- The second line behind the chain: nothing changes an event but sealing it once
-- and erasing values of it, and nothing deletes one but retention. Whoever owns the
-- file can drop this; the chain shows what they do then.
CREATE TRIGGER audit_events_update BEFORE UPDATE ON audit_events
WHEN NOT (
    (NEW.id, NEW.at, NEW.actor, NEW.action, NEW.target) = (OLD.id, OLD.at, OLD.actor, OLD.action, OLD.target) AND (
        OLD.seal IS NULL AND NEW.seal IS NOT NULL AND NEW.detail = OLD.detail AND NEW.erasure IS NULL
        OR coalesce((NEW.seal, NEW.position, NEW.mac) = (OLD.seal, OLD.position, OLD.mac), 0) AND NEW.erasure IS NOT NULL))
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;

CREATE TRIGGER audit_events_delete BEFORE DELETE ON audit_events
WHEN NOT EXISTS (SELECT 1 FROM audit_seals WHERE number = OLD.seal AND removed_at IS NOT NULL)
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;

CREATE TRIGGER audit_seals_update BEFORE UPDATE ON audit_seals
WHEN OLD.removed_at IS NOT NULL
    OR (NEW.number, NEW.previous, NEW.events, NEW.digest, NEW.sealed_at, NEW.key_id, NEW.mac)
    <> (OLD.number, OLD.previous, OLD.events, OLD.digest, OLD.sealed_at, OLD.key_id, OLD.mac)
BEGIN
    SELECT RAISE(ABORT, 'audit seals are append-only');
END;

CREATE TRIGGER audit_seals_delete BEFORE DELETE ON audit_seals
BEGIN
    SELECT RAISE(ABORT, 'audit seals are append-only');
END;
