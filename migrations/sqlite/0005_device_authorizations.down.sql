DROP TRIGGER scope_removed_devices;
DROP TRIGGER user_password_changed_devices;
DROP TABLE device_authorizations;
