ALTER TABLE families DROP COLUMN address;
ALTER TABLE families DROP COLUMN user_agent;
