package admin

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"grantd/api"
	"grantd/storage"
)

const adminKeysPath = "/admin/v1/admin-keys/"

// The bounds of an admin key. It always has an end.
const (
	maxAdminKeyName         = 64
	minAdminKeyLifetime     = time.Minute
	maxAdminKeyLifetime     = 365 * 24 * time.Hour
	defaultAdminKeyLifetime = 90 * 24 * time.Hour
)

func (h *handlers) ListAdminKeys(ctx context.Context, request api.ListAdminKeysRequestObject) (api.ListAdminKeysResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixAdminKey)
	if err != nil {
		return nil, err
	}
	keys, err := h.store.AdminKeys(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(keys, page, func(k *storage.AdminKey) string { return k.ID }, showAdminKey)
	return api.ListAdminKeys200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) CreateAdminKey(ctx context.Context, request api.CreateAdminKeyRequestObject) (api.CreateAdminKeyResponseObject, error) {
	fields := *request.Body
	var f faults
	f.adminKeyName("/name", fields.Name)
	f.oneOf("/scope", fields.Scope, string(storage.AdminScopeRead), string(storage.AdminScopeWrite))
	lifetime := f.lifetime("/expires_in", fields.ExpiresIn, defaultAdminKeyLifetime, minAdminKeyLifetime, maxAdminKeyLifetime)
	if err := f.err(); err != nil {
		return nil, err
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixAdminKey, key, "createAdminKey", request.Body)
	if err != nil {
		return nil, err
	}
	secret, hash := storage.NewSecret(storage.SecretPrefixAdmin)
	now := h.now()
	k := &storage.AdminKey{
		ID: id, Hash: hash, Name: fields.Name, Scope: storage.AdminScope(fields.Scope), CreatedAt: now, ExpiresAt: now.Add(lifetime),
	}
	event, _, err := withChanges(h.event(ctx, "admin_key.created", id), api.AdminKey{}, showAdminKey(k), "id", "created_at")
	if err != nil {
		return nil, err
	}
	made, replayed, err := once(key, func() (*storage.AdminKey, error) { return h.store.AdminKey(ctx, id) },
		func() (*storage.AdminKey, error) { return k, h.store.CreateAdminKey(ctx, k, event) })
	if err != nil {
		return nil, taken(err, "There is an admin key with this name already.")
	}
	if replayed {
		secret = "" // it was shown
	}
	shown := showAdminKey(made)
	return api.CreateAdminKey201JSONResponse{
		Body: api.NewAdminKey{
			ID: id, Key: secret, Name: shown.Name, Scope: shown.Scope, CreatedAt: shown.CreatedAt, ExpiresAt: shown.ExpiresAt,
		},
		Headers: api.CreateAdminKey201ResponseHeaders{IdempotentReplayed: replayed, Location: adminKeysPath + id},
	}, nil
}

func (h *handlers) GetAdminKey(ctx context.Context, request api.GetAdminKeyRequestObject) (api.GetAdminKeyResponseObject, error) {
	k, err := h.adminKey(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	return api.GetAdminKey200JSONResponse(showAdminKey(k)), nil
}

func (h *handlers) DeleteAdminKey(ctx context.Context, request api.DeleteAdminKeyRequestObject) (api.DeleteAdminKeyResponseObject, error) {
	k, err := h.adminKey(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	// The name too: another key may have it later.
	if err := h.store.DeleteAdminKey(ctx, k.ID, h.event(ctx, "admin_key.deleted", k.ID).With("name", k.Name)); err != nil {
		return nil, err
	}
	return api.DeleteAdminKey204Response{}, nil
}

// adminKey reads a key by its id. ErrNotFound.
func (h *handlers) adminKey(ctx context.Context, id string) (*storage.AdminKey, error) {
	if err := checkID(storage.PrefixAdminKey, id); err != nil {
		return nil, err
	}
	return h.store.AdminKey(ctx, id)
}

// adminKeyName wants a name that no key of the settings has in audit events: they
// are named by 8 hex digits there.
func (f *faults) adminKeyName(pointer, name string) {
	const first = "abcdefghijklmnopqrstuvwxyz0123456789"
	if name == "" || len(name) > maxAdminKeyName || strings.Trim(name[:1], first) != "" || strings.Trim(name, first+"._-") != "" {
		f.add(pointer, "must have 1 to 64 letters in lower case, digits, dots, dashes and underscores, a letter or digit first")
		return
	}
	if raw, err := hex.DecodeString(name); err == nil && len(raw) == settingKeyDigits/2 {
		f.add(pointer, "must not be 8 hex digits: so the keys of the server's settings are named")
	}
}

// lifetime is what was sent in seconds, if it was, within its bounds.
func (f *faults) lifetime(pointer string, sent *int, fallback, least, most time.Duration) time.Duration {
	if sent == nil {
		return fallback
	}
	lifetime := time.Duration(min(max(*sent, 0), 1<<30)) * time.Second
	if lifetime < least || lifetime > most {
		f.add(pointer, fmt.Sprintf("must be between %d and %d seconds", int(least.Seconds()), int(most.Seconds())))
	}
	return lifetime
}

func showAdminKey(k *storage.AdminKey) api.AdminKey {
	return api.AdminKey{
		ID: k.ID, Name: k.Name, Scope: string(k.Scope),
		CreatedAt: k.CreatedAt.UTC(), ExpiresAt: k.ExpiresAt.UTC(), LastUsedAt: optionalTime(k.LastUsedAt),
	}
}
