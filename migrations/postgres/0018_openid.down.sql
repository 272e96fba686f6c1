DELETE FROM resources WHERE id = 'res_00000000000000000000000004';
DELETE FROM grants WHERE scopes <> '{}' AND scopes <@ '{openid,profile,email}';
UPDATE grants SET scopes = ARRAY(SELECT name FROM unnest(scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ('{openid,profile,email}') ORDER BY n);
DELETE FROM families WHERE scopes <> '{}' AND scopes <@ '{openid,profile,email}';
UPDATE families SET scopes = ARRAY(SELECT name FROM unnest(scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ('{openid,profile,email}') ORDER BY n);
ALTER TABLE clients DROP COLUMN post_logout_redirect_uris;
ALTER TABLE families DROP COLUMN session_id;
ALTER TABLE authorization_codes DROP COLUMN session_id;
ALTER TABLE authorization_codes DROP COLUMN nonce;
