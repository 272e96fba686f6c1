package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"grantd/server/clientauth"
	"grantd/server/keys"
	"grantd/storage"
)

// Revoke serves POST /revoke (RFC 7009). An access token ends by its jti; a
// refresh token, a spent one too, ends its family; never the Grant. A token that
// is not the caller's is answered as an unknown one: 200, nothing happens.
func (o *OAuth) Revoke(w http.ResponseWriter, r *http.Request) error {
	form, err := o.readForm(r)
	if err != nil {
		return err
	}
	token := form.Get("token")
	if token == "" {
		return invalidRequest("The token parameter is missing.")
	}
	// Whoever holds a public client's token could use it, so they may end it
	// without saying who they are.
	var client *storage.Client
	if clientauth.Present(r, form) {
		if client, err = o.ClientAuth.Authenticate(r, form); err != nil {
			return err
		}
	}
	if strings.HasPrefix(token, refreshPrefix) {
		err = o.revokeFamily(r.Context(), client, token)
	} else {
		err = o.revokeAccessToken(r.Context(), client, token)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

func (o *OAuth) revokeFamily(ctx context.Context, client *storage.Client, token string) error {
	familyID, _, err := o.values.readRefreshToken(token)
	if errors.Is(err, errNotOurs) {
		return nil
	} else if err != nil {
		return err
	}
	family, _, err := o.Store.Family(ctx, familyID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	holder, err := o.Catalog.ClientByID(ctx, family.ClientID)
	if err != nil || !mayRevoke(client, holder) {
		return ignoreNotFound(err)
	}
	event := storage.NewAuditEvent(o.Now(), "client:"+holder.ClientID, "family.ended", family.ID).
		With("reason", "refresh token revoked").With(storage.DetailUser, family.UserID)
	return ignoreNotFound(o.Store.EndFamily(ctx, family.ID, event))
}

func (o *OAuth) revokeAccessToken(ctx context.Context, client *storage.Client, token string) error {
	c, err := o.readAccessToken(token)
	if errors.Is(err, keys.ErrToken) {
		return nil
	} else if err != nil {
		return err
	}
	holder, err := o.Catalog.Client(ctx, c.ClientID)
	if err != nil || !mayRevoke(client, holder) || !o.Now().Before(c.expiresAt()) {
		return ignoreNotFound(err)
	}
	event := storage.NewAuditEvent(o.Now(), "client:"+holder.ClientID, "access_token.revoked", c.TokenID)
	return o.Store.RevokeAccessToken(ctx, c.TokenID, c.expiresAt(), event)
}

// mayRevoke reports whether the caller (nil: nobody said who) may end a token of
// this holder.
func mayRevoke(caller, holder *storage.Client) bool {
	if caller == nil {
		return holder.Public()
	}
	return caller.ID == holder.ID
}

func ignoreNotFound(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}
