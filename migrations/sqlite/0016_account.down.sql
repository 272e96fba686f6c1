DROP TRIGGER user_link_ended;
DROP INDEX audit_events_of_user;
DROP TABLE user_links;
ALTER TABLE sessions DROP COLUMN address;
ALTER TABLE sessions DROP COLUMN user_agent;
