package admin

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"grantd/api"
	"grantd/storage"
)

func (h *handlers) ListGrants(ctx context.Context, request api.ListGrantsRequestObject) (api.ListGrantsResponseObject, error) {
	params := request.Params
	page, err := pageOf(params.Cursor, params.Limit, storage.PrefixGrant)
	if err != nil {
		return nil, err
	}
	var f faults
	if params.UserID != "" && checkID(storage.PrefixUser, params.UserID) != nil {
		f.add("?user_id", "is not the id of a user")
	}
	if params.ResourceID != "" && checkID(storage.PrefixResource, params.ResourceID) != nil {
		f.add("?resource_id", "is not the id of a resource")
	}
	if len(params.ClientID) > storage.MaxURILength || strings.ContainsFunc(params.ClientID, unicode.IsControl) {
		f.add("?client_id", "is not the id or client_id of a client")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	client, err := h.clientFilter(ctx, params.ClientID)
	if errors.Is(err, storage.ErrNotFound) {
		return api.ListGrants200JSONResponse{Items: []api.Grant{}}, nil
	}
	if err != nil {
		return nil, err
	}
	filter := storage.GrantFilter{UserID: params.UserID, ClientID: client, ResourceID: params.ResourceID}
	grants, err := h.store.Grants(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(grants, page, func(g *storage.Grant) string { return g.ID }, showGrant)
	return api.ListGrants200JSONResponse{Items: items, NextCursor: next}, nil
}

// clientFilter turns an id or a client_id, which may be a URL, into an id.
// ErrNotFound.
func (h *handlers) clientFilter(ctx context.Context, sent string) (string, error) {
	if sent == "" || checkID(storage.PrefixClient, sent) == nil {
		return sent, nil
	}
	c, err := h.store.ClientByClientID(ctx, sent)
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

func (h *handlers) RevokeGrant(ctx context.Context, request api.RevokeGrantRequestObject) (api.RevokeGrantResponseObject, error) {
	if err := checkID(storage.PrefixGrant, request.ID); err != nil {
		return nil, err
	}
	g, err := h.store.Grant(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	event := h.event(ctx, "grant.revoked", g.ID).With(storage.DetailUser, g.UserID).With("client_id", g.ClientID).With("resource_id", g.ResourceID)
	if err := h.store.DeleteGrant(ctx, g.ID, event); err != nil {
		return nil, err
	}
	return api.RevokeGrant204Response{}, nil
}

func showGrant(g *storage.Grant) api.Grant {
	return api.Grant{
		ID:         g.ID,
		UserID:     g.UserID,
		ClientID:   g.ClientID,
		ClientName: g.ClientName,
		ResourceID: g.ResourceID,
		Scopes:     list(g.Scopes),
		CreatedAt:  g.CreatedAt.UTC(),
		UpdatedAt:  g.UpdatedAt.UTC(),
	}
}
