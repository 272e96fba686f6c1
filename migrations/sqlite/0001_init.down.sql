-- Children before parents. Triggers and indexes go with their tables.
DROP TABLE audit_events;
DROP TABLE signing_keys;
DROP TABLE revoked_access_tokens;
DROP TABLE used_client_assertions;
DROP TABLE families;
DROP TABLE authorization_codes;
DROP TABLE grants;
DROP TABLE sessions;
DROP TABLE user_groups;
DROP TABLE groups;
DROP TABLE users;
DROP TABLE scopes;
DROP TABLE resources;
DROP TABLE client_secrets;
DROP TABLE clients;
DROP TABLE catalog_version;
