package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"grantd/api"
	"grantd/server/web"
	"grantd/storage"
)

const groupsPath = "/admin/v1/groups/"

func (h *handlers) ListGroups(ctx context.Context, request api.ListGroupsRequestObject) (api.ListGroupsResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, "")
	if err != nil {
		return nil, err
	}
	var f faults
	f.text("?name", request.Params.Name, maxGroup)
	f.text("?cursor", request.Params.Cursor, maxGroup)
	if err := f.err(); err != nil {
		return nil, err
	}
	if name := request.Params.Name; name != "" {
		g, err := h.store.GroupByName(ctx, name)
		if errors.Is(err, storage.ErrNotFound) {
			return api.ListGroups200JSONResponse{Items: []api.Group{}}, nil
		} else if err != nil {
			return nil, err
		}
		return api.ListGroups200JSONResponse{Items: []api.Group{showGroup(g)}}, nil
	}
	groups, err := h.store.Groups(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(groups, page, func(g *storage.Group) string { return g.Name }, showGroup)
	return api.ListGroups200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) CreateGroup(ctx context.Context, request api.CreateGroupRequestObject) (api.CreateGroupResponseObject, error) {
	g := &storage.Group{Version: 1}
	if err := setGroup(g, *request.Body).err(); err != nil {
		return nil, err
	}
	if request.Params.DryRun {
		_, err := h.store.GroupByName(ctx, g.Name)
		if err := stillFree(err, groupTaken); err != nil {
			return nil, err
		}
		return api.CreateGroup204Response{}, nil
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixGroup, key, "createGroup", request.Body)
	if err != nil {
		return nil, err
	}
	g.ID = id
	event, _, err := withChanges(h.event(ctx, "group.created", g.ID), api.GroupFields{}, groupFields(g))
	if err != nil {
		return nil, err
	}
	made, replayed, err := once(key, func() (*storage.Group, error) { return h.store.Group(ctx, id) },
		func() (*storage.Group, error) { return g, h.store.CreateGroup(ctx, g, event) })
	if err != nil {
		return nil, taken(err, groupTaken)
	}
	return api.CreateGroup201JSONResponse{Body: showGroup(made), Headers: api.CreateGroup201ResponseHeaders{
		ETag: etag(made.Version), IdempotentReplayed: replayed, Location: groupsPath + id,
	}}, nil
}

const groupTaken = "There is a group with this name already."

func (h *handlers) GetGroup(ctx context.Context, request api.GetGroupRequestObject) (api.GetGroupResponseObject, error) {
	g, err := h.group(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	return api.GetGroup200JSONResponse{Body: showGroup(g), Headers: api.GetGroup200ResponseHeaders{ETag: etag(g.Version)}}, nil
}

func (h *handlers) UpdateGroup(ctx context.Context, request api.UpdateGroupRequestObject) (api.UpdateGroupResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var g *storage.Group
	err = retryConflicts(func() error {
		var err error
		if g, err = h.group(ctx, request.ID); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, g.Version); err != nil {
			return err
		}
		return h.updateGroup(ctx, g, sent, request.Params.DryRun)
	})
	if err != nil {
		return nil, err
	}
	return api.UpdateGroup200JSONResponse{Body: showGroup(g), Headers: api.UpdateGroup200ResponseHeaders{ETag: etag(g.Version)}}, nil
}

// updateGroup changes g by the patch and writes it, unless it is a dry run. A patch
// that changes nothing writes nothing.
func (h *handlers) updateGroup(ctx context.Context, g *storage.Group, sent patch, dryRun bool) error {
	name, before := g.Name, groupFields(g)
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	f := setGroup(g, merged)
	if g.Name != name {
		f.add("/name", "cannot be changed: policies name it; create another group instead")
	}
	if err := f.err(); err != nil {
		return err
	}
	event, changed, err := withChanges(h.event(ctx, "group.updated", g.ID), before, groupFields(g))
	if err != nil || !changed || dryRun {
		return err
	}
	return h.store.UpdateGroup(ctx, g, event)
}

func (h *handlers) DeleteGroup(ctx context.Context, request api.DeleteGroupRequestObject) (api.DeleteGroupResponseObject, error) {
	err := retryConflicts(func() error {
		g, err := h.group(ctx, request.ID)
		if err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, g.Version); err != nil {
			return err
		}
		return h.store.DeleteGroup(ctx, g.ID, g.Version, h.event(ctx, "group.deleted", g.ID).With("name", g.Name))
	})
	if err != nil {
		return nil, err
	}
	return api.DeleteGroup204Response{}, nil
}

func (h *handlers) AddGroupMember(ctx context.Context, request api.AddGroupMemberRequestObject) (api.AddGroupMemberResponseObject, error) {
	g, u, err := h.membership(ctx, request.ID, request.UserID)
	if err != nil {
		return nil, err
	}
	if len(u.Groups) >= maxGroups && !slices.Contains(u.Groups, g.Name) {
		return nil, &web.Error{
			Status: http.StatusConflict, Code: "too-many-groups",
			Message: "The user is in a hundred groups. Take the user out of another one first.",
		}
	}
	event := h.event(ctx, "group.member_added", g.ID).With("name", g.Name).With("user_id", u.ID)
	if err := h.store.AddGroupMember(ctx, g.ID, u.ID, event); err != nil && !errors.Is(err, storage.ErrExists) {
		return nil, err
	}
	return api.AddGroupMember204Response{}, nil
}

func (h *handlers) RemoveGroupMember(ctx context.Context, request api.RemoveGroupMemberRequestObject) (api.RemoveGroupMemberResponseObject, error) {
	g, u, err := h.membership(ctx, request.ID, request.UserID)
	if err != nil {
		return nil, err
	}
	event := h.event(ctx, "group.member_removed", g.ID).With("name", g.Name).With("user_id", u.ID)
	if err := h.store.RemoveGroupMember(ctx, g.ID, u.ID, event); err != nil {
		return nil, err
	}
	return api.RemoveGroupMember204Response{}, nil
}

// membership reads the group and the user of a path. ErrNotFound.
func (h *handlers) membership(ctx context.Context, groupID, userID string) (*storage.Group, *storage.User, error) {
	g, err := h.group(ctx, groupID)
	if err != nil {
		return nil, nil, err
	}
	u, err := h.user(ctx, userID)
	return g, u, err
}

// group reads a group by its opaque id. ErrNotFound.
func (h *handlers) group(ctx context.Context, id string) (*storage.Group, error) {
	if err := checkID(storage.PrefixGroup, id); err != nil {
		return nil, err
	}
	return h.store.Group(ctx, id)
}

// setGroup sets every field of g that an admin may, and returns all that is wrong
// with them.
func setGroup(g *storage.Group, fields api.GroupFields) faults {
	var f faults
	if fields.Name == "" {
		f.add("/name", "must not be empty")
	}
	f.text("/name", fields.Name, maxGroup)
	f.text("/description", fields.Description, storage.MaxText)
	f.text("/managed_by", fields.ManagedBy, storage.MaxText)
	g.Name, g.Description, g.ManagedBy = fields.Name, fields.Description, fields.ManagedBy
	return f
}

// groupFields are what setGroup would have to be given to make g.
func groupFields(g *storage.Group) api.GroupFields {
	return api.GroupFields{Name: g.Name, Description: g.Description, ManagedBy: g.ManagedBy}
}

func showGroup(g *storage.Group) api.Group {
	return api.Group{ID: g.ID, Name: g.Name, Description: g.Description, ManagedBy: g.ManagedBy, Members: g.Members}
}
