package admin

import (
	"context"

	"grantd/api"
	"grantd/storage"
)

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

func showAuditEvent(e *storage.AuditEvent) api.AuditEvent {
	detail := e.Detail
	if detail == nil {
		detail = map[string]string{}
	}
	return api.AuditEvent{ID: e.ID, At: e.At.UTC(), Actor: e.Actor, Action: e.Action, Target: e.Target, Detail: detail}
}
