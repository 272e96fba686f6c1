-- Foreign keys are not watched here.
DELETE FROM families WHERE resource_id = 'res_00000000000000000000000004';
DELETE FROM authorization_codes WHERE resource_id = 'res_00000000000000000000000004';
DELETE FROM grants WHERE resource_id = 'res_00000000000000000000000004';
DELETE FROM scopes WHERE resource_id = 'res_00000000000000000000000004';
DELETE FROM resources WHERE id = 'res_00000000000000000000000004';
DELETE FROM families WHERE scopes <> '[]' AND NOT EXISTS (SELECT 1 FROM json_each(scopes) WHERE value NOT IN ('openid', 'profile', 'email'));
DELETE FROM grants WHERE scopes <> '[]' AND NOT EXISTS (SELECT 1 FROM json_each(scopes) WHERE value NOT IN ('openid', 'profile', 'email'));
UPDATE grants SET scopes = (SELECT json_group_array(value ORDER BY key) FROM json_each(scopes) WHERE value NOT IN ('openid', 'profile', 'email'));
UPDATE families SET scopes = (SELECT json_group_array(value ORDER BY key) FROM json_each(scopes) WHERE value NOT IN ('openid', 'profile', 'email'));
ALTER TABLE clients DROP COLUMN post_logout_redirect_uris;
ALTER TABLE families DROP COLUMN authenticated_at;
ALTER TABLE families DROP COLUMN session_id;
ALTER TABLE authorization_codes DROP COLUMN authenticated_at;
ALTER TABLE authorization_codes DROP COLUMN session_id;
ALTER TABLE authorization_codes DROP COLUMN nonce;
