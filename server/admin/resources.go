package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"grantd/api"
	"grantd/storage"
)

const resourcesPath = "/admin/v1/resources/"

const resourceTaken = "There is a resource with this URI already."

// The bounds of a resource's fields.
const (
	maxScopes               = 128
	maxDescription          = 500
	maxTools                = 256
	maxToolName             = 128
	maxIntrospectionClients = 50
)

// reservedScopes mean something to grantd itself or to OpenID Connect, whatever
// the resource.
var reservedScopes = []string{"openid", "offline_access", "profile", "email"}

func (h *handlers) ListResources(ctx context.Context, request api.ListResourcesRequestObject) (api.ListResourcesResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixResource)
	if err != nil {
		return nil, err
	}
	if request.Params.URI != "" {
		r, err := h.resourceByURI(ctx, request.Params.URI)
		if errors.Is(err, storage.ErrNotFound) {
			return api.ListResources200JSONResponse{Items: []api.Resource{}}, nil
		} else if err != nil {
			return nil, err
		}
		return api.ListResources200JSONResponse{Items: []api.Resource{showResource(r)}}, nil
	}
	resources, err := h.store.Resources(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(resources, page, func(r *storage.Resource) string { return r.ID }, showResource)
	return api.ListResources200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) CreateResource(ctx context.Context, request api.CreateResourceRequestObject) (api.CreateResourceResponseObject, error) {
	now := h.now()
	r := &storage.Resource{CreatedAt: now, UpdatedAt: now}
	f := setResource(r, *request.Body)
	if h.resourceOfAdmin.Names(r.URI) {
		f.add("/uri", "is grantd's own: its administration has this URI")
	}
	if err := h.checkIntrospectionClients(ctx, &f, r, nil); err != nil {
		return nil, err
	}
	if request.Params.DryRun {
		_, err := h.store.ResourceByURI(ctx, r.URI)
		if err := stillFree(err, resourceTaken); err != nil {
			return nil, err
		}
		return api.CreateResource204Response{}, nil
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixResource, key, "createResource", request.Body)
	if err != nil {
		return nil, err
	}
	r.ID = id
	event, _, err := withChanges(h.event(ctx, "resource.created", r.ID), api.ResourceFields{}, resourceFields(r))
	if err != nil {
		return nil, err
	}
	made, replayed, err := once(key, func() (*storage.Resource, error) { return h.store.Resource(ctx, id) },
		func() (*storage.Resource, error) { return r, h.store.CreateResource(ctx, r, event) })
	if err != nil {
		return nil, taken(err, resourceTaken)
	}
	return api.CreateResource201JSONResponse{Body: showResource(made), Headers: api.CreateResource201ResponseHeaders{
		ETag: etag(made.Version), IdempotentReplayed: replayed, Location: resourcesPath + id,
	}}, nil
}

func (h *handlers) GetResource(ctx context.Context, request api.GetResourceRequestObject) (api.GetResourceResponseObject, error) {
	r, err := h.resource(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	return api.GetResource200JSONResponse{Body: showResource(r), Headers: api.GetResource200ResponseHeaders{ETag: etag(r.Version)}}, nil
}

func (h *handlers) UpdateResource(ctx context.Context, request api.UpdateResourceRequestObject) (api.UpdateResourceResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var r *storage.Resource
	err = retryConflicts(func() error {
		var err error
		if r, err = h.resource(ctx, request.ID); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, r.Version); err != nil {
			return err
		}
		return h.updateResource(ctx, r, sent, request.Params.DryRun)
	})
	if err != nil {
		return nil, err
	}
	return api.UpdateResource200JSONResponse{Body: showResource(r), Headers: api.UpdateResource200ResponseHeaders{ETag: etag(r.Version)}}, nil
}

// updateResource changes r by the patch and writes it, unless it is a dry run. A
// patch that changes nothing writes nothing.
func (h *handlers) updateResource(ctx context.Context, r *storage.Resource, sent patch, dryRun bool) error {
	uri, known, before, had := r.URI, r.IntrospectionClients, resourceFields(r), r.ScopeNames()
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	f := setResource(r, merged)
	if r.URI != uri {
		f.add("/uri", "cannot be changed: tokens and grants name it; create another resource instead")
	}
	if err := h.checkIntrospectionClients(ctx, &f, r, known); err != nil {
		return err
	}
	event, changed, err := withChanges(h.event(ctx, "resource.updated", r.ID), before, resourceFields(r))
	if err != nil || !changed || dryRun {
		return err
	}
	// Whole, however long the value of scopes is: it says who has lost what.
	left := r.ScopeNames()
	removed := slices.DeleteFunc(had, func(name string) bool { return slices.Contains(left, name) })
	if len(removed) > 0 {
		event = event.With("scopes_removed", strings.Join(removed, " "))
	}
	r.UpdatedAt = event.At
	return h.store.UpdateResource(ctx, r, event)
}

func (h *handlers) DeleteResource(ctx context.Context, request api.DeleteResourceRequestObject) (api.DeleteResourceResponseObject, error) {
	if err := checkID(storage.PrefixResource, request.ID); err != nil {
		return nil, err
	}
	read := func() (*storage.Resource, error) { return h.store.Resource(ctx, request.ID) }
	err := deleteMatching(request.Params.IfMatch, read, func(r *storage.Resource) int64 { return r.Version }, func(version int64) error {
		return h.store.DeleteResource(ctx, request.ID, version, h.event(ctx, "resource.deleted", request.ID))
	})
	if err != nil {
		return nil, err
	}
	return api.DeleteResource204Response{}, nil
}

// resourceByURI is resource by the URI, written as people may write it.
// ErrNotFound.
func (h *handlers) resourceByURI(ctx context.Context, uri string) (*storage.Resource, error) {
	canonical, err := storage.CanonicalResourceURI(uri)
	if err != nil {
		return nil, storage.ErrNotFound
	}
	return h.store.ResourceByURI(ctx, canonical)
}

// resource reads a resource by its opaque id. ErrNotFound.
func (h *handlers) resource(ctx context.Context, id string) (*storage.Resource, error) {
	if err := checkID(storage.PrefixResource, id); err != nil {
		return nil, err
	}
	return h.store.Resource(ctx, id)
}

// setResource sets every field of r that an admin may, applying the defaults,
// and returns all that is wrong with them.
func setResource(r *storage.Resource, fields api.ResourceFields) faults {
	var f faults
	canonical, err := storage.CanonicalResourceURI(fields.URI)
	if err != nil {
		f.add("/uri", err.Error())
	}
	r.URI = canonical

	if fields.Name == "" {
		f.add("/name", "must not be empty")
	}
	f.text("/name", fields.Name, storage.MaxText)
	r.Name = fields.Name

	r.AccessTokenLifetime = storage.DefaultAccessTokenLifetime
	if seconds := fields.AccessTokenLifetime; seconds != nil {
		// Compared in seconds: a huge number times a second would overflow.
		if *seconds < int(storage.MinAccessTokenLifetime/time.Second) || *seconds > int(storage.MaxAccessTokenLifetime/time.Second) {
			f.add("/access_token_lifetime", "must be between 60 and 900 seconds")
		} else {
			r.AccessTokenLifetime = time.Duration(*seconds) * time.Second
		}
	}

	f.texts("/introspection_clients", fields.IntrospectionClients, maxIntrospectionClients, storage.MaxURILength)
	r.IntrospectionClients = fields.IntrospectionClients
	f.text("/managed_by", fields.ManagedBy, storage.MaxText)
	r.ManagedBy = fields.ManagedBy

	f.setScopes(r, fields.Scopes)
	return f
}

func (f *faults) setScopes(r *storage.Resource, scopes []api.Scope) {
	r.Scopes = nil
	if !f.count("/scopes", len(scopes), maxScopes) {
		return
	}
	for i, s := range scopes {
		pointer := at("/scopes", i)
		switch {
		case len(s.Name) > maxScopeName || !storage.IsScopeName(s.Name):
			f.add(pointer+"/name", "must have 1 to 128 printable ASCII characters, without spaces, quotes and backslashes")
		case slices.Contains(reservedScopes, s.Name):
			f.add(pointer+"/name", "must not be openid, offline_access, profile or email")
		case slices.Contains(r.ScopeNames(), s.Name):
			f.add(pointer+"/name", "is there more than once")
		}
		f.text(pointer+"/description", s.Description, maxDescription)
		f.texts(pointer+"/tools", s.Tools, maxTools, maxToolName)
		risk := s.Risk
		if risk == "" {
			risk = string(storage.RiskWrite)
		}
		f.oneOf(pointer+"/risk", risk, string(storage.RiskRead), string(storage.RiskWrite), string(storage.RiskDestructive))
		r.Scopes = append(r.Scopes, storage.Scope{Name: s.Name, Description: s.Description, Tools: s.Tools, Risk: storage.ScopeRisk(risk)})
	}
}

// checkIntrospectionClients refuses client_ids that no client has, because a
// misspelt one would only show when an MCP server is refused. Those already
// known may stay: their clients may have been deleted since. It returns all
// faults, or the store's error.
func (h *handlers) checkIntrospectionClients(ctx context.Context, f *faults, r *storage.Resource, known []string) error {
	if err := f.err(); err != nil {
		return err
	}
	for i, clientID := range r.IntrospectionClients {
		if slices.Contains(known, clientID) {
			continue
		}
		_, err := h.store.ClientByClientID(ctx, clientID)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			f.add(at("/introspection_clients", i), "is not the client_id of any client")
		case err != nil:
			return err
		}
	}
	return f.err()
}

// resourceFields are what setResource would have to be given to make r.
func resourceFields(r *storage.Resource) api.ResourceFields {
	seconds := int(r.AccessTokenLifetime / time.Second)
	return api.ResourceFields{
		URI:                  r.URI,
		Name:                 r.Name,
		Scopes:               showScopes(r.Scopes),
		IntrospectionClients: r.IntrospectionClients,
		AccessTokenLifetime:  &seconds,
		ManagedBy:            r.ManagedBy,
	}
}

func showResource(r *storage.Resource) api.Resource {
	return api.Resource{
		ID:                   r.ID,
		URI:                  r.URI,
		Name:                 r.Name,
		Scopes:               showScopes(r.Scopes),
		IntrospectionClients: list(r.IntrospectionClients),
		AccessTokenLifetime:  int(r.AccessTokenLifetime / time.Second),
		ManagedBy:            r.ManagedBy,
		CreatedAt:            r.CreatedAt.UTC(),
		UpdatedAt:            r.UpdatedAt.UTC(),
	}
}

func showScopes(scopes []storage.Scope) []api.Scope {
	shown := make([]api.Scope, len(scopes))
	for i, s := range scopes {
		shown[i] = api.Scope{Name: s.Name, Description: s.Description, Tools: s.Tools, Risk: string(s.Risk)}
	}
	return shown
}
