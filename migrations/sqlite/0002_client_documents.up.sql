-- When the document of a metadata_document client was fetched; NULL for others.
ALTER TABLE clients ADD COLUMN document_fetched_at INTEGER;

-- The sweep looks for those that nobody uses any more.
CREATE INDEX clients_document ON clients (document_fetched_at) WHERE source = 'metadata_document';

-- Caches learn of a newer document, also of one that an approval brings.
CREATE TRIGGER client_document_changed AFTER UPDATE OF document_fetched_at ON clients
BEGIN
    UPDATE catalog_version SET version = version + 1;
END;
