package admin

import (
	"context"
	"slices"

	"grantd/api"
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

func (h *handlers) ListAuditEvents(ctx context.Context, request api.ListAuditEventsRequestObject) (api.ListAuditEventsResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixAuditEvent)
	if err != nil {
		return nil, err
	}
	events, err := h.store.AuditEvents(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(events, page, func(e *storage.AuditEvent) string { return e.ID }, showAuditEvent)
	return api.ListAuditEvents200JSONResponse{Items: items, NextCursor: next}, nil
}

func showKey(k *storage.SigningKey) api.SigningKey {
	return api.SigningKey{
		Kid:       k.KID,
		Algorithm: k.Algorithm,
		State:     string(k.State),
		CreatedAt: k.CreatedAt.UTC(),
		RetiredAt: optionalTime(k.RetiredAt),
	}
}

func showAuditEvent(e *storage.AuditEvent) api.AuditEvent {
	detail := e.Detail
	if detail == nil {
		detail = map[string]string{}
	}
	return api.AuditEvent{ID: e.ID, At: e.At.UTC(), Actor: e.Actor, Action: e.Action, Target: e.Target, Detail: detail}
}
