DROP TRIGGER audit_events_append_only ON audit_events;
DROP FUNCTION audit_events_append_only();
DROP INDEX audit_events_unsealed;
DROP INDEX audit_events_sealed;
DROP INDEX audit_events_at;
DROP INDEX audit_events_actor;
DROP INDEX audit_events_target;
ALTER TABLE audit_events
    DROP COLUMN seal,
    DROP COLUMN position,
    DROP COLUMN mac,
    DROP COLUMN salt,
    DROP COLUMN erasure,
    ALTER COLUMN actor TYPE text COLLATE "default",
    ALTER COLUMN action TYPE text COLLATE "default",
    ALTER COLUMN target TYPE text COLLATE "default";
DROP TABLE audit_seals;
DROP FUNCTION audit_seals_append_only();
