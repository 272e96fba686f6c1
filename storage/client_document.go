package storage

import (
	"context"
	"crypto/sha256"
	"time"
)

// A metadata_document Client's row is a snapshot of its document, taken when a
// person approved it and renewed since. Refreshing goes on with a snapshot up to
// DocumentLifetime old when the host is down. One that nobody has approved for
// UnusedDocument since it was taken is swept.
const (
	DocumentLifetime = 7 * 24 * time.Hour
	UnusedDocument   = 7 * 24 * time.Hour
)

// DocumentClientID is the opaque id of the Client whose document is at this URL:
// the same on every replica, before there is a row.
func DocumentClientID(url string) string {
	sum := sha256.Sum256([]byte("metadata_document " + url))
	return IDFromBytes(PrefixClient, [16]byte(sum[:16]))
}

// Stored reports whether the client is a row. What a document says is not, until
// a person approves it.
func (c *Client) Stored() bool { return c.Source != SourceMetadataDocument || c.Version > 0 }

// DocumentLapsed reports whether the client's snapshot is too old to rely on.
func (c *Client) DocumentLapsed(now time.Time) bool {
	return c.Source == SourceMetadataDocument && !now.Before(c.DocumentFetchedAt.Add(DocumentLifetime))
}

// ClientDocumentStore renews the snapshots of metadata_document Clients. They are
// first written by Approve.
type ClientDocumentStore interface {
	// UpdateClientDocument writes every field of c that its document decides, and
	// DocumentFetchedAt. ErrNotFound: there is no such metadata_document client, or
	// its snapshot is as new.
	UpdateClientDocument(ctx context.Context, c *Client, event AuditEvent) error
	// ConfirmClientDocument moves DocumentFetchedAt forward: the document is still
	// what the snapshot says. ErrNotFound as above.
	ConfirmClientDocument(ctx context.Context, id string, fetchedAt time.Time) error
}
