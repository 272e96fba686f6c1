DELETE FROM resources WHERE id = 'res_00000000000000000000000000';
UPDATE grants SET scopes = ARRAY(SELECT name FROM unnest(scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ('{openid,profile,email}') ORDER BY n);
UPDATE families SET scopes = ARRAY(SELECT name FROM unnest(scopes) WITH ORDINALITY AS s (name, n) WHERE name <> ALL ('{openid,profile,email}') ORDER BY n);
ALTER TABLE clients DROP COLUMN post_logout_redirect_uris;
ALTER TABLE families DROP COLUMN authenticated_at;
ALTER TABLE families DROP COLUMN session_id;
ALTER TABLE authorization_codes DROP COLUMN authenticated_at;
ALTER TABLE authorization_codes DROP COLUMN session_id;
ALTER TABLE authorization_codes DROP COLUMN nonce;
