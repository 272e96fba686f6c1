-- What people were granted for the built-in Resource would be for one that is listed.
DELETE FROM families WHERE resource_id = 'res_00000000000000000000000000';
DELETE FROM grants WHERE resource_id = 'res_00000000000000000000000000';
DELETE FROM authorization_codes WHERE resource_id = 'res_00000000000000000000000000';
DELETE FROM device_authorizations WHERE resource_id = 'res_00000000000000000000000000';
DELETE FROM scopes WHERE resource_id = 'res_00000000000000000000000000';
DELETE FROM resources WHERE id = 'res_00000000000000000000000000';
ALTER TABLE clients DROP COLUMN admin_access;
DROP TABLE admin_keys;
