package storage

import (
	"context"
	"time"
)

// AccessTokenStore knows of access tokens only what makes one end early: they
// are signed and have no row.
type AccessTokenStore interface {
	// RevokeAccessToken remembers jti until expiresAt. Repeating it is no error.
	RevokeAccessToken(ctx context.Context, jti string, expiresAt time.Time, event AuditEvent) error
	// AccessTokenLive reports, in one indexed read, whether jti is not revoked
	// and familyID (empty for a machine's token) still has its Family, Grant and
	// enabled User, with what stands behind it now (nothing for a machine's token).
	AccessTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing Standing, err error)
	// AccessTokenScopes is AccessTokenLive for who need not know the User and their
	// Groups, which is most who ask: of the standing it returns the scopes.
	AccessTokenScopes(ctx context.Context, jti, familyID string, now time.Time) (live bool, scopes []string, err error)
	// AdminTokenLive is AccessTokenLive for a token of the built-in Resource, which
	// is live only while its User is in AdminGroup too, and its Client enabled and
	// with AdminAccess.
	AdminTokenLive(ctx context.Context, jti, familyID string, now time.Time) (live bool, standing Standing, err error)
}
