package admin

import (
	"context"
	"errors"
	"strings"
	"time"
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
	filter, err := h.grantFilter(ctx, "?", params.UserID, params.ClientID, params.ResourceID, params.Since, params.Until)
	if errors.Is(err, storage.ErrNotFound) {
		return api.ListGrants200JSONResponse{Items: []api.Grant{}}, nil
	}
	if err != nil {
		return nil, err
	}
	grants, err := h.store.Grants(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(grants, page, func(g *storage.Grant) string { return g.ID }, showGrant)
	return api.ListGrants200JSONResponse{Items: items, NextCursor: next}, nil
}

// grantFilter reads filters that a request has in its query ("?") or its body
// ("/"). ErrNotFound: there is no such client, and so no grant for it.
func (h *handlers) grantFilter(ctx context.Context, where, userID, clientID, resourceID string, since, until *time.Time) (storage.GrantFilter, error) {
	var f faults
	if userID != "" && checkID(storage.PrefixUser, userID) != nil {
		f.add(where+"user_id", "is not the id of a user")
	}
	if resourceID != "" && checkID(storage.PrefixResource, resourceID) != nil {
		f.add(where+"resource_id", "is not the id of a resource")
	}
	if len(clientID) > storage.MaxURILength || strings.ContainsFunc(clientID, unicode.IsControl) {
		f.add(where+"client_id", "is not the id or client_id of a client")
	}
	filter := storage.GrantFilter{UserID: userID, ResourceID: resourceID, Since: orZero(since), Until: orZero(until)}
	if since != nil && until != nil && !since.Before(*until) {
		f.add(where+"until", "must be after since")
	}
	if err := f.err(); err != nil {
		return filter, err
	}
	var err error
	filter.ClientID, err = h.clientFilter(ctx, clientID)
	return filter, err
}

// orZero is the time, or the zero time where none was sent.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
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

// revokedAtOnce bounds how long RevokeGrants takes.
const revokedAtOnce = 200

// RevokeGrants revokes one by one: each is revoked with its event or not at all, and
// no lock is held for long.
func (h *handlers) RevokeGrants(ctx context.Context, request api.RevokeGrantsRequestObject) (api.RevokeGrantsResponseObject, error) {
	body := *request.Body
	if body == (api.GrantSelection{}) {
		return nil, faults{{Detail: "must have at least one filter"}}.err()
	}
	revoked := api.RevokeGrants200JSONResponse{Revoked: []string{}}
	filter, err := h.grantFilter(ctx, "/", body.UserID, body.ClientID, body.ResourceID, body.Since, body.Until)
	if errors.Is(err, storage.ErrNotFound) {
		return revoked, nil
	}
	if err != nil {
		return nil, err
	}
	grants, err := h.store.Grants(ctx, filter, storage.Page{Limit: revokedAtOnce + 1})
	if err != nil {
		return nil, err
	}
	if revoked.More = len(grants) > revokedAtOnce; revoked.More {
		grants = grants[:revokedAtOnce]
	}
	for _, g := range grants {
		err := h.store.DeleteGrant(ctx, g.ID, h.event(ctx, "grant.revoked", g.ID))
		if errors.Is(err, storage.ErrNotFound) { // somebody was faster
			continue
		}
		if err != nil {
			return nil, err
		}
		revoked.Revoked = append(revoked.Revoked, g.ID)
	}
	return revoked, nil
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
