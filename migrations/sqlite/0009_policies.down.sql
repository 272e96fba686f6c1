DROP TABLE policies;
ALTER TABLE grants DROP COLUMN in_advance;
ALTER TABLE scopes DROP COLUMN risk;
