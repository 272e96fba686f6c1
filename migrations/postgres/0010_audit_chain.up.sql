-- A sealer chains the committed events in batches: each audit_seals row
-- authenticates its batch and the seal before it with a key that is not in the
-- database. See docs/adr/0020-the-audit-chain-is-sealed-behind-the-acts.md.
CREATE TABLE audit_seals (
    number     bigint      NOT NULL PRIMARY KEY, -- from 1, without a gap
    previous   bytea       NOT NULL,             -- mac of the seal before; empty for the first
    events     integer     NOT NULL,
    digest     bytea       NOT NULL,
    sealed_at  timestamptz NOT NULL,
    key_id     bytea       NOT NULL,
    mac        bytea       NOT NULL,
    removed_at timestamptz,                      -- when retention removed the events
    removal    bytea                             -- authenticates that it did
);

CREATE INDEX audit_seals_kept ON audit_seals (number) WHERE removed_at IS NULL;

ALTER TABLE audit_events
    ALTER COLUMN actor TYPE text COLLATE "C",
    ALTER COLUMN action TYPE text COLLATE "C",
    ALTER COLUMN target TYPE text COLLATE "C",
    ADD COLUMN seal bigint, -- NULL: not sealed yet
    ADD COLUMN position integer,
    ADD COLUMN mac bytea,
    ADD COLUMN salt bytea,
    ADD COLUMN erasure text; -- what stands in for values that were erased

CREATE INDEX audit_events_unsealed ON audit_events (id) WHERE seal IS NULL;
CREATE UNIQUE INDEX audit_events_sealed ON audit_events (seal, position) WHERE seal IS NOT NULL;
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_actor ON audit_events (actor, id);
CREATE INDEX audit_events_target ON audit_events (target, id);

-- The second line behind the chain: nothing changes an event but sealing it once
-- and erasing values of it, and nothing deletes one but retention. Whoever owns the
-- table can drop this; the chain shows what they do then.
CREATE FUNCTION audit_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.id, NEW.at, NEW.actor, NEW.action, NEW.target) = (OLD.id, OLD.at, OLD.actor, OLD.action, OLD.target) AND (
            OLD.seal IS NULL AND NEW.seal IS NOT NULL AND NEW.detail = OLD.detail AND NEW.erasure IS NULL
            OR (NEW.seal, NEW.position, NEW.mac) = (OLD.seal, OLD.position, OLD.mac) AND NEW.erasure IS NOT NULL
        ) THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM audit_seals WHERE number = OLD.seal AND removed_at IS NOT NULL) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit events are append-only';
END
$$;

CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_append_only();

CREATE FUNCTION audit_seals_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.number, NEW.previous, NEW.events, NEW.digest, NEW.sealed_at, NEW.key_id, NEW.mac)
            = (OLD.number, OLD.previous, OLD.events, OLD.digest, OLD.sealed_at, OLD.key_id, OLD.mac)
            AND OLD.removed_at IS NULL THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit seals are append-only';
END
$$;

CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE ON audit_seals
    FOR EACH ROW EXECUTE FUNCTION audit_seals_append_only();
