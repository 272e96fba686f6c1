-- What people were granted for the built-in Resource would be for one that is listed.
DELETE FROM resources WHERE id = 'res_00000000000000000000000000';
ALTER TABLE clients DROP COLUMN admin_access;
DROP TABLE admin_keys;
