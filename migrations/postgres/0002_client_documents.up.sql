-- When the document of a metadata_document client was fetched; NULL for others.
ALTER TABLE clients ADD COLUMN document_fetched_at timestamptz;

-- The sweep looks for those that nobody uses any more.
CREATE INDEX clients_document ON clients (document_fetched_at) WHERE source = 'metadata_document';
