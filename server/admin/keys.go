package admin

import (
	"context"
	"net/http"
	"slices"
	"time"

	"grantd/api"
	"grantd/server/web"
	"grantd/storage"
)

// ListKeys pages in memory: there are never more than a few keys.
func (h *handlers) ListKeys(ctx context.Context, request api.ListKeysRequestObject) (api.ListKeysResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, "")
	if err != nil {
		return nil, err
	}
	keys, err := h.store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	if page.After != "" {
		last := slices.IndexFunc(keys, func(k *storage.SigningKey) bool { return k.KID == page.After })
		if last < 0 {
			return nil, faults{{Pointer: "?cursor", Detail: "is not the next_cursor of a page of this list"}}.err()
		}
		keys = keys[last+1:]
	}
	items, next := cut(keys[:min(len(keys), page.Limit)], page, func(k *storage.SigningKey) string { return k.KID }, showKey)
	return api.ListKeys200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) RotateKeys(ctx context.Context, request api.RotateKeysRequestObject) (api.RotateKeysResponseObject, error) {
	keys, err := h.store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	active, next := keyIn(keys, storage.KeyActive), keyIn(keys, storage.KeyNext)
	if active == nil || next == nil { // made by a release that has no next keys; Tend publishes one
		return nil, keyNotReady("There is no next key yet. One is published within a minute.")
	}
	if ready := next.ReadyAt().UTC(); !request.Body.Now && h.now().Before(ready) {
		return nil, keyNotReady("The next key was published only a moment ago: servers that check tokens may not know it yet. It can sign from " + ready.Format(time.RFC3339) + ".")
	}
	event := h.event(ctx, "", "")
	if h.now().Before(next.ReadyAt()) {
		event = event.With("ready_at", next.ReadyAt().UTC().Format(time.RFC3339))
	}
	if err := h.signingKeys.Rotate(ctx, active, next, event); err != nil {
		return nil, err
	}
	if keys, err = h.store.SigningKeys(ctx); err != nil {
		return nil, err
	}
	shown := api.RotateKeys200JSONResponse{Items: make([]api.SigningKey, len(keys))}
	for i, k := range keys {
		shown.Items[i] = showKey(k)
	}
	return shown, nil
}

func (h *handlers) RevokeKey(ctx context.Context, request api.RevokeKeyRequestObject) (api.RevokeKeyResponseObject, error) {
	// A key that was rotated in the meantime is revoked where it is then.
	err := retryConflicts(func() error {
		keys, err := h.store.SigningKeys(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(keys, func(k *storage.SigningKey) bool { return k.KID == request.Kid })
		if i < 0 {
			return storage.ErrNotFound
		}
		return h.signingKeys.Revoke(ctx, keys, keys[i], h.event(ctx, "", ""))
	})
	if err != nil {
		return nil, err
	}
	return api.RevokeKey204Response{}, nil
}

func keyNotReady(message string) error {
	return &web.Error{Status: http.StatusConflict, Code: "key-not-ready", Message: message}
}

// keyIn is the one key that is active or next, or nil.
func keyIn(keys []*storage.SigningKey, state storage.KeyState) *storage.SigningKey {
	i := slices.IndexFunc(keys, func(k *storage.SigningKey) bool { return k.State == state })
	if i < 0 {
		return nil
	}
	return keys[i]
}

func showKey(k *storage.SigningKey) api.SigningKey {
	shown := api.SigningKey{
		Kid:         k.KID,
		Algorithm:   k.Algorithm,
		State:       string(k.State),
		CreatedAt:   k.CreatedAt.UTC(),
		ActivatedAt: optionalTime(k.ActivatedAt),
		RetiredAt:   optionalTime(k.RetiredAt),
	}
	switch k.State {
	case storage.KeyNext:
		shown.ReadyAt = optionalTime(k.ReadyAt())
	case storage.KeyRetired:
		shown.PublishedUntil = optionalTime(k.PublishedUntil())
	}
	return shown
}
