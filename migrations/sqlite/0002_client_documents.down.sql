-- Without a document's age its client cannot be judged; a new approval makes it again.
DELETE FROM clients WHERE source = 'metadata_document';
DROP TRIGGER client_document_changed;
DROP INDEX clients_document;
ALTER TABLE clients DROP COLUMN document_fetched_at;
