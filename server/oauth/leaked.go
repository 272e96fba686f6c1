package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"grantd/server/keys"
	"grantd/server/leaked"
	"grantd/storage"
)

// InspectValue says whose a value is and whether it is worth anything. It changes
// nothing. storage.ErrNotFound: it is nothing that this server made, or was signed
// by a key that has been withdrawn.
func (o *OAuth) InspectValue(ctx context.Context, value string) (*leaked.Value, error) {
	read := o.inspectAccessToken
	switch {
	case strings.HasPrefix(value, refreshPrefix):
		read = o.inspectRefreshToken
	case strings.HasPrefix(value, codePrefix):
		read = o.inspectCode
	case strings.HasPrefix(value, storage.SecretPrefixClient):
		read = o.inspectSecret
	case strings.HasPrefix(value, storage.SecretPrefixAdmin):
		read = o.inspectAdminKey
	case strings.HasPrefix(value, storage.PrefixToken):
		read = o.inspectTokenID
	}
	v, err := read(ctx, value)
	if errors.Is(err, errNotOurs) || errors.Is(err, keys.ErrToken) {
		return nil, fmt.Errorf("inspect a value: %w", storage.ErrNotFound)
	}
	return v, err
}

// RevokeValue ends the installation that a value belongs to, or the value itself where
// there is none: a machine's access token, a code nobody has redeemed, a secret, a key.
// It completes the event, and returns the value as it is then. What has ended
// already is no error. storage.ErrNotFound as InspectValue.
func (o *OAuth) RevokeValue(ctx context.Context, value string, event storage.AuditEvent) (*leaked.Value, error) {
	v, err := o.InspectValue(ctx, value)
	if err != nil {
		return nil, err
	}
	event = event.With("kind", string(v.Kind))
	ends := v.Live() || v.Reason == leaked.NotAllowed
	switch {
	case v.Kind == leaked.ClientSecret:
		event.Action, event.Target = "client.secret_deleted", v.ClientID
		ends, err = true, o.Store.DeleteClientSecret(ctx, v.ClientID, v.SecretID, event.With("secret_id", v.SecretID))
	case v.Kind == leaked.AdminKey:
		event.Action, event.Target = "admin_key.deleted", v.AdminKeyID
		ends, err = true, o.deleteAdminKey(ctx, value, event)
	case v.Kind == leaked.AuthorizationCode && v.FamilyID == "":
		err = o.revokeCode(ctx, value, event)
	case v.FamilyID != "":
		ends = ends || v.FamilyLive
		err = o.endLeaked(ctx, v.FamilyID, event)
	case ends:
		event.Action, event.Target = "access_token.revoked", v.TokenID
		err = o.Store.RevokeAccessToken(ctx, v.TokenID, v.ExpiresAt, event)
	}
	if err = ignoreNotFound(err); err != nil {
		return nil, err
	}
	if ends {
		v.Reason, v.FamilyLive = leaked.Revoked, false
		if v.FamilyID != "" {
			v.Reason = leaked.Ended
		}
	}
	return v, nil
}

// endLeaked ends a family for an administrator.
func (o *OAuth) endLeaked(ctx context.Context, familyID string, event storage.AuditEvent) error {
	event.Action, event.Target = "family.ended", familyID
	return o.Store.EndFamily(ctx, familyID, event.With("reason", "revoked by an administrator"))
}

// revokeCode ends a code, or what was made of it this very moment.
func (o *OAuth) revokeCode(ctx context.Context, value string, event storage.AuditEvent) error {
	id, err := o.values.readCode(value)
	if err != nil {
		return err
	}
	event.Action, event.Target = "authorization_code.revoked", id
	if err = o.Store.RevokeCode(ctx, id, event); errors.Is(err, storage.ErrConsumed) {
		return o.endLeaked(ctx, (&storage.AuthorizationCode{ID: id}).FamilyID(), event)
	}
	return err
}

func (o *OAuth) inspectAccessToken(ctx context.Context, value string) (*leaked.Value, error) {
	c, err := o.readAccessToken(value)
	if err != nil {
		return nil, err
	}
	v := &leaked.Value{
		Kind: leaked.AccessToken, TokenID: c.TokenID, ClientID: c.ClientID, Resource: c.Audience, Scopes: strings.Fields(c.Scope),
		FamilyID: c.FamilyID, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), ExpiresAt: c.expiresAt().UTC(),
	}
	if c.FamilyID != "" {
		v.UserID = c.Subject
	}
	client, err := o.Catalog.Client(ctx, c.ClientID)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	if client != nil {
		v.ClientID = client.ID
	}
	return v, o.judgeAccessToken(ctx, v)
}

func (o *OAuth) inspectTokenID(ctx context.Context, value string) (*leaked.Value, error) {
	id, err := readTokenID(value)
	if err != nil || id.madeAt.After(o.Now().Add(clockLeeway*time.Second)) {
		return nil, errNotOurs
	}
	v := &leaked.Value{
		Kind: leaked.TokenID, TokenID: value, ClientID: id.clientID, FamilyID: id.familyID,
		IssuedAt: id.madeAt, ExpiresAt: id.expiresAt(),
	}
	return v, o.judgeAccessToken(ctx, v)
}

// judgeAccessToken completes what is known of an access token or its id.
func (o *OAuth) judgeAccessToken(ctx context.Context, v *leaked.Value) error {
	now := o.Now()
	if !now.Before(v.ExpiresAt) {
		v.Reason = leaked.Expired
	}
	if v.FamilyID != "" {
		if _, err := o.inspectFamily(ctx, v); err != nil {
			return err
		}
	}
	standing, err := o.standing(ctx, v)
	if err != nil {
		return err
	}
	because(v, standing)
	live, _, err := o.Store.AccessTokenLive(ctx, v.TokenID, "", now)
	if err == nil && !live {
		because(v, leaked.Revoked)
	}
	return err
}

func (o *OAuth) inspectRefreshToken(ctx context.Context, value string) (*leaked.Value, error) {
	familyID, generation, err := o.values.readRefreshToken(value)
	if err != nil {
		return nil, err
	}
	v := &leaked.Value{Kind: leaked.RefreshToken, FamilyID: familyID}
	family, err := o.inspectFamily(ctx, v)
	switch {
	case err != nil || family == nil:
		return v, err
	case generation < family.Generation:
		because(v, leaked.Spent)
	default:
		v.IssuedAt = family.RotatedAt
		v.ExpiresAt = family.RotatedAt.Add(storage.FamilyIdle)
		if family.ExpiresAt.Before(v.ExpiresAt) {
			v.ExpiresAt = family.ExpiresAt
		}
	}
	return v, nil
}

func (o *OAuth) inspectCode(ctx context.Context, value string) (*leaked.Value, error) {
	id, err := o.values.readCode(value)
	if err != nil {
		return nil, err
	}
	v := &leaked.Value{Kind: leaked.AuthorizationCode}
	code, held, err := o.Store.Code(ctx, id)
	switch {
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return nil, err
	case err != nil: // long past; an installation may have come of it
		v.Reason, v.FamilyID = leaked.Expired, (&storage.AuthorizationCode{ID: id}).FamilyID()
	case !code.RedeemedAt.IsZero():
		v.Reason, v.FamilyID = leaked.Redeemed, code.FamilyID()
	}
	if v.FamilyID != "" {
		_, err := o.inspectFamily(ctx, v)
		return v, err
	}
	v.UserID, v.ClientID, v.Scopes, v.IssuedAt, v.ExpiresAt = code.UserID, code.ClientID, code.Scopes, code.CreatedAt, code.ExpiresAt
	if v.Resource, err = o.uriOf(ctx, code.ResourceID); err != nil {
		return nil, err
	}
	if !o.Now().Before(code.ExpiresAt) {
		v.Reason = leaked.Expired
	}
	standing, err := o.standing(ctx, v)
	because(v, standing)
	if code.GrantID == "" || code.FailedProofs >= storage.MaxFailedProofs {
		because(v, leaked.Revoked)
	}
	if err != nil || v.Reason != "" {
		return v, err
	}
	v.Reason, err = o.permission(ctx, code.ClientID, code.ResourceID, code.Scopes, held)
	return v, err
}

func (o *OAuth) inspectSecret(ctx context.Context, value string) (*leaked.Value, error) {
	hash := storage.HashSecret(value)
	client, err := o.Store.ClientBySecret(ctx, hash)
	if err != nil {
		return nil, err
	}
	v := &leaked.Value{Kind: leaked.ClientSecret, ClientID: client.ID, LastUsedAt: client.LastUsedAt}
	for _, secret := range client.Secrets {
		if bytes.Equal(secret.Hash, hash) {
			v.SecretID, v.IssuedAt, v.ExpiresAt = secret.ID, secret.CreatedAt, secret.ExpiresAt
		}
	}
	switch {
	case !v.ExpiresAt.IsZero() && !o.Now().Before(v.ExpiresAt):
		v.Reason = leaked.Expired
	case client.Disabled:
		v.Reason = leaked.ClientDisabled
	case client.Public(), client.TokenEndpointAuthMethod == storage.AuthMethodPrivateKeyJWT:
		v.Reason = leaked.NotAccepted
	}
	return v, nil
}

func (o *OAuth) inspectAdminKey(ctx context.Context, value string) (*leaked.Value, error) {
	k, err := o.Store.AdminKeyByHash(ctx, storage.HashSecret(value))
	if err != nil {
		return nil, err
	}
	v := &leaked.Value{
		Kind: leaked.AdminKey, AdminKeyID: k.ID, Resource: o.admin.URI, Scopes: []string{storage.ScopeAdminRead},
		LastUsedAt: k.LastUsedAt, IssuedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
	}
	if k.Scope == storage.AdminScopeWrite {
		v.Scopes = append(v.Scopes, storage.ScopeAdminWrite)
	}
	if !o.Now().Before(k.ExpiresAt) {
		v.Reason = leaked.Expired
	}
	return v, nil
}

// deleteAdminKey deletes a key by its value. The event says its name, which another
// may have later.
func (o *OAuth) deleteAdminKey(ctx context.Context, value string, event storage.AuditEvent) error {
	k, err := o.Store.AdminKeyByHash(ctx, storage.HashSecret(value))
	if err != nil {
		return err
	}
	return o.Store.DeleteAdminKey(ctx, k.ID, event.With("name", k.Name))
}

// inspectFamily adds what is known of the value's installation and returns its row,
// nil when it has ended.
func (o *OAuth) inspectFamily(ctx context.Context, v *leaked.Value) (*storage.Family, error) {
	family, held, err := o.Store.Family(ctx, v.FamilyID)
	if errors.Is(err, storage.ErrNotFound) {
		because(v, leaked.Ended)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	v.UserID, v.ClientID, v.LastUsedAt = family.UserID, family.ClientID, family.RotatedAt
	if v.Scopes == nil {
		v.Scopes = family.Scopes
	}
	if v.Resource, err = o.uriOf(ctx, family.ResourceID); err != nil {
		return nil, err
	}
	standing, err := o.standing(ctx, v)
	if standing == "" && family.Expired(o.Now()) {
		standing = leaked.Expired
	}
	if standing == "" && err == nil {
		standing, err = o.permission(ctx, family.ClientID, family.ResourceID, family.Scopes, held)
	}
	v.FamilyLive = standing == ""
	if standing == "" && err == nil { // the token may have less than its installation
		standing, err = o.permission(ctx, family.ClientID, family.ResourceID, v.Scopes, held)
	}
	because(v, standing)
	return family, err
}

// permission is what keeps the client from using any of the scopes, of those that a
// person approved, at this moment; empty: nothing.
func (o *OAuth) permission(ctx context.Context, clientID, resourceID string, scopes []string, held storage.Standing) (leaked.Reason, error) {
	client, err := o.Catalog.ClientByID(ctx, clientID)
	if errors.Is(err, storage.ErrNotFound) {
		return leaked.ClientGone, nil
	} else if err != nil {
		return "", err
	}
	resource, err := o.resourceByID(ctx, resourceID)
	if errors.Is(err, storage.ErrNotFound) {
		return leaked.ResourceGone, nil
	} else if err != nil {
		return "", err
	}
	allowed, err := o.allowedNow(ctx, client, resource, scopes, held)
	if err == nil && (len(allowed) == 0 || !client.MayReach(resource)) {
		return leaked.NotAllowed, nil
	}
	return "", err
}

// standing is what keeps the client of a value from using anything for its
// resource; empty: nothing.
func (o *OAuth) standing(ctx context.Context, v *leaked.Value) (leaked.Reason, error) {
	if v.ClientID == "" { // nothing more is known
		return "", nil
	}
	client, err := o.Catalog.ClientByID(ctx, v.ClientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return leaked.ClientGone, nil
	case err != nil:
		return "", err
	case client.Disabled:
		return leaked.ClientDisabled, nil
	case v.Kind == leaked.TokenID && v.FamilyID == "":
		return "", nil // for which resource, only the token says
	}
	if v.Resource == o.identity.URI {
		return "", nil
	}
	if _, err := o.resourceByURI(ctx, v.Resource); errors.Is(err, storage.ErrNotFound) {
		return leaked.ResourceGone, nil
	} else if err != nil {
		return "", err
	}
	return "", nil
}

// uriOf is the URI of a Resource, empty when it is gone.
func (o *OAuth) uriOf(ctx context.Context, resourceID string) (string, error) {
	resource, err := o.resourceByID(ctx, resourceID)
	if err != nil {
		return "", ignoreNotFound(err)
	}
	return resource.URI, nil
}

// because gives a value a reason if it has none.
func because(v *leaked.Value, reason leaked.Reason) {
	if v.Reason == "" {
		v.Reason = reason
	}
}
