-- Children before parents. Indexes go with their tables.
DROP TABLE registration_request_users;
DROP TABLE registration_requests;
DROP TABLE registration_hosts;
DROP TABLE registration_policy;
