package oauth

import (
	"context"
	"errors"
	"strings"
	"time"

	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
)

// AdminResource is the built-in Resource as it is called under an issuer. There is
// nothing to fetch at its URI: it only names what the token is for (RFC 8707).
func AdminResource(issuer web.Issuer) *storage.Resource {
	return storage.AdminResource(issuer.URL("/admin"))
}

// administration is the built-in Resource, if the request names it. It is in no list,
// and nothing falls back to it.
func (o *OAuth) administration(a asked) (*storage.Resource, bool) {
	return o.admin, len(a.resources) == 1 && o.admin.Names(a.resources[0])
}

// notAdministrator is the error to a client whose person may not administer.
func notAdministrator() error {
	return web.NewOAuthError("access_denied", "Only members of the group "+storage.AdminGroup+" may administer this server.")
}

// familyLifetime is how long a new Family for the Resource lives.
func familyLifetime(resource *storage.Resource) time.Duration {
	if resource.BuiltIn() {
		return storage.AdminFamilyLifetime
	}
	return storage.FamilyLifetime
}

// Administrator finds out whose access token for the built-in Resource it is and what
// of it counts now: the signature says nothing of the Family, the user, their group and
// the client, so the database is asked each time. An expired token is returned as it
// was. storage.ErrNotFound: it counts for nothing here.
func (o *OAuth) Administrator(ctx context.Context, token string) (userID string, scopes []string, expiresAt time.Time, err error) {
	c, err := o.readAccessToken(token)
	if errors.Is(err, keys.ErrToken) {
		return "", nil, time.Time{}, storage.ErrNotFound
	} else if err != nil {
		return "", nil, time.Time{}, err
	}
	if c.Audience != o.admin.URI || c.FamilyID == "" || o.Now().Unix() < c.IssuedAt-clockLeeway {
		return "", nil, time.Time{}, storage.ErrNotFound
	}
	client, err := o.Catalog.Client(ctx, c.ClientID)
	if err != nil {
		return "", nil, time.Time{}, err
	}
	live, standing, err := o.Store.AdminTokenLive(ctx, c.TokenID, c.FamilyID, o.Now())
	if err != nil {
		return "", nil, time.Time{}, err
	}
	if scopes, err = o.allowedNow(ctx, client, o.admin, strings.Fields(c.Scope), standing); err != nil {
		return "", nil, time.Time{}, err
	}
	if !live || len(scopes) == 0 || !client.MayReach(o.admin) {
		return "", nil, time.Time{}, storage.ErrNotFound
	}
	return c.Subject, scopes, c.expiresAt(), nil
}
