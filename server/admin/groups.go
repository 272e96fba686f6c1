package admin

import (
	"context"

	"grantd/api"
	"grantd/storage"
)

func (h *handlers) ListGroups(ctx context.Context, request api.ListGroupsRequestObject) (api.ListGroupsResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, "")
	if err != nil {
		return nil, err
	}
	var f faults
	f.text("?cursor", request.Params.Cursor, maxGroup)
	if err := f.err(); err != nil {
		return nil, err
	}
	groups, err := h.store.Groups(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(groups, page, func(g *storage.Group) string { return g.Name }, showGroup)
	return api.ListGroups200JSONResponse{Items: items, NextCursor: next}, nil
}

func showGroup(g *storage.Group) api.Group { return api.Group{Name: g.Name, Members: g.Members} }
