package storage

import (
	"context"
	"time"
)

// AdminScope says what a credential of the admin API is good for.
type AdminScope string

// The admin scopes. Who may write may also read.
const (
	AdminScopeRead  AdminScope = "read"
	AdminScopeWrite AdminScope = "write"
)

// AdminKeyTouch is how far AdminKey.LastUsedAt may be behind: being used is written
// at most once in it.
const AdminKeyTouch = time.Hour

// AdminKey is a credential of the admin API that has a name and an end. The key
// itself is shown once and never stored.
type AdminKey struct {
	ID         string // PrefixAdminKey
	Hash       []byte // SHA-256 of the whole key, 32 bytes
	Name       string // unique: audit events name the key by it
	Scope      AdminScope
	CreatedAt  time.Time
	ExpiresAt  time.Time
	LastUsedAt time.Time // to within AdminKeyTouch; zero: not yet
}

// AdminKeyStore keeps AdminKeys.
type AdminKeyStore interface {
	// CreateAdminKey inserts k. ErrExists: ID, Hash or Name is taken.
	CreateAdminKey(ctx context.Context, k *AdminKey, event AuditEvent) error
	// AdminKey returns the key with this id, expired or not. ErrNotFound.
	AdminKey(ctx context.Context, id string) (*AdminKey, error)
	// AdminKeyByHash is AdminKey by the hash of the key. ErrNotFound.
	AdminKeyByHash(ctx context.Context, hash []byte) (*AdminKey, error)
	// AdminKeys lists by ID, expired ones included.
	AdminKeys(ctx context.Context, page Page) ([]*AdminKey, error)
	// TouchAdminKey moves LastUsedAt on to now if AdminKeyTouch has passed since.
	// That the key is gone, or was touched before, is no error.
	TouchAdminKey(ctx context.Context, id string, now time.Time) error
	// DeleteAdminKey deletes it. ErrNotFound.
	DeleteAdminKey(ctx context.Context, id string, event AuditEvent) error
}
