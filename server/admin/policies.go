package admin

import (
	"context"
	"errors"
	"slices"
	"strings"

	"grantd/api"
	"grantd/storage"
)

const policiesPath = "/admin/v1/policies/"

const policyTaken = "There is a policy with this name already."

// The bounds of a policy's fields.
const (
	maxPolicyGroups  = 100
	maxPolicyClients = 100
)

func (h *handlers) ListPolicies(ctx context.Context, request api.ListPoliciesRequestObject) (api.ListPoliciesResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixPolicy)
	if err != nil {
		return nil, err
	}
	if name := request.Params.Name; name != "" {
		all, err := h.allPolicies(ctx)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(p *storage.Policy) bool { return p.Name != name })
		items, _ := cut(all, storage.Page{Limit: len(all) + 1}, policyID, showPolicy)
		return api.ListPolicies200JSONResponse{Items: items}, nil
	}
	policies, err := h.store.Policies(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(policies, page, policyID, showPolicy)
	return api.ListPolicies200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) CreatePolicy(ctx context.Context, request api.CreatePolicyRequestObject) (api.CreatePolicyResponseObject, error) {
	var (
		made     *storage.Policy
		replayed bool
	)
	err := retryConflicts(func() error {
		now := h.now()
		p := &storage.Policy{Version: 1, CreatedAt: now, UpdatedAt: now}
		if err := h.setPolicy(ctx, p, *request.Body); err != nil {
			return err
		}
		if request.Params.DryRun {
			all, err := h.allPolicies(ctx)
			if err == nil && !slices.ContainsFunc(all, func(other *storage.Policy) bool { return other.Name == p.Name }) {
				err = storage.ErrNotFound
			}
			return stillFree(err, policyTaken)
		}
		key := request.Params.IdempotencyKey
		id, err := h.idFor(ctx, storage.PrefixPolicy, key, "createPolicy", request.Body)
		if err != nil {
			return err
		}
		p.ID = id
		event := p.Recorded(h.event(ctx, "policy.created", id))
		made, replayed, err = once(key, func() (*storage.Policy, error) { return h.store.Policy(ctx, id) },
			func() (*storage.Policy, error) { return p, namedGone(h.store.CreatePolicy(ctx, p, event)) })
		return err
	})
	if err != nil {
		return nil, taken(err, policyTaken)
	}
	if request.Params.DryRun {
		return api.CreatePolicy204Response{}, nil
	}
	return api.CreatePolicy201JSONResponse{Body: showPolicy(made), Headers: api.CreatePolicy201ResponseHeaders{
		ETag: etag(made.Version), IdempotentReplayed: replayed, Location: policiesPath + made.ID,
	}}, nil
}

func (h *handlers) GetPolicy(ctx context.Context, request api.GetPolicyRequestObject) (api.GetPolicyResponseObject, error) {
	p, err := h.policy(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	return api.GetPolicy200JSONResponse{Body: showPolicy(p), Headers: api.GetPolicy200ResponseHeaders{ETag: etag(p.Version)}}, nil
}

func (h *handlers) UpdatePolicy(ctx context.Context, request api.UpdatePolicyRequestObject) (api.UpdatePolicyResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var p *storage.Policy
	err = retryConflicts(func() error {
		var err error
		if p, err = h.policy(ctx, request.ID); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, p.Version); err != nil {
			return err
		}
		return h.updatePolicy(ctx, p, sent, request.Params.DryRun)
	})
	if err != nil {
		return nil, taken(err, policyTaken)
	}
	return api.UpdatePolicy200JSONResponse{Body: showPolicy(p), Headers: api.UpdatePolicy200ResponseHeaders{ETag: etag(p.Version)}}, nil
}

// updatePolicy changes p by the patch and writes it, unless it is a dry run. A patch
// that changes nothing writes nothing.
func (h *handlers) updatePolicy(ctx context.Context, p *storage.Policy, sent patch, dryRun bool) error {
	before := policyFields(p)
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	if err := h.setPolicy(ctx, p, merged); err != nil {
		return err
	}
	event, changed, err := withChanges(h.event(ctx, "policy.updated", p.ID), before, policyFields(p))
	if err != nil || !changed || dryRun {
		return err
	}
	p.UpdatedAt = event.At
	return namedGone(h.store.UpdatePolicy(ctx, p, p.Recorded(event)))
}

func (h *handlers) DeletePolicy(ctx context.Context, request api.DeletePolicyRequestObject) (api.DeletePolicyResponseObject, error) {
	err := retryConflicts(func() error {
		p, err := h.policy(ctx, request.ID)
		if err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, p.Version); err != nil {
			return err
		}
		return h.store.DeletePolicy(ctx, p.ID, p.Version, p.Recorded(h.event(ctx, "policy.deleted", p.ID)))
	})
	if err != nil {
		return nil, err
	}
	return api.DeletePolicy204Response{}, nil
}

// policy reads a policy by its id. ErrNotFound.
func (h *handlers) policy(ctx context.Context, id string) (*storage.Policy, error) {
	if err := checkID(storage.PrefixPolicy, id); err != nil {
		return nil, err
	}
	return h.store.Policy(ctx, id)
}

func (h *handlers) allPolicies(ctx context.Context) ([]*storage.Policy, error) {
	var all []*storage.Policy
	for page := (storage.Page{Limit: maxLimit}); ; page.After = all[len(all)-1].ID {
		some, err := h.store.Policies(ctx, page)
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(some) < page.Limit {
			return all, nil
		}
	}
}

// namedGone makes a conflict of it when what a rule names was deleted after it had
// been looked up: looking again says which.
func namedGone(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrConflict
	}
	return err
}

// setPolicy sets every field of p that an admin may. It returns all that is wrong
// with them, or the store's error.
func (h *handlers) setPolicy(ctx context.Context, p *storage.Policy, fields api.PolicyFields) error {
	var f faults
	if fields.Name == "" {
		f.add("/name", "must not be empty")
	}
	f.text("/name", fields.Name, storage.MaxText)
	f.text("/managed_by", fields.ManagedBy, storage.MaxText)
	f.texts("/groups", fields.Groups, maxPolicyGroups, maxGroup)
	f.count("/resources", len(fields.Resources), maxResources)
	f.count("/clients", len(fields.Clients), maxPolicyClients)
	f.texts("/scopes", fields.Scopes, maxScopes, maxScopeName)
	f.unique("/trust", fields.Trust)
	trust := make([]storage.ClientTrust, len(fields.Trust))
	for i, level := range fields.Trust {
		f.oneOf(at("/trust", i), level, string(storage.TrustRegistered), string(storage.TrustTrusted), string(storage.TrustUnverified))
		trust[i] = storage.ClientTrust(level)
	}
	if err := f.err(); err != nil {
		return err
	}
	resources, err := h.namedResources(ctx, &f, fields)
	if err != nil {
		return err
	}
	clients, err := h.namedClients(ctx, &f, fields.Clients)
	if err != nil {
		return err
	}
	uris := make([]string, 0, len(resources))
	for _, r := range resources {
		uris = append(uris, r.URI)
	}
	f.unique("/resources", uris)
	if len(f) == 0 {
		if err := h.namedScopes(ctx, &f, p, uris, resources, fields.Scopes); err != nil {
			return err
		}
	}
	if fields.SkipConsent {
		f.checkInAdvance(fields, clients)
	}
	if err := f.err(); err != nil {
		return err
	}
	p.Name, p.Groups, p.Resources, p.Scopes, p.Clients = fields.Name, list(fields.Groups), uris, list(fields.Scopes), list(fields.Clients)
	p.Trust, p.SkipConsent, p.ManagedBy = trust, fields.SkipConsent, fields.ManagedBy
	return nil
}

// namedResources looks up the resources that a policy names.
func (h *handlers) namedResources(ctx context.Context, f *faults, fields api.PolicyFields) ([]*storage.Resource, error) {
	named := make([]*storage.Resource, 0, len(fields.Resources))
	for i, uri := range fields.Resources {
		r, err := h.resourceByURI(ctx, uri)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			f.add(at("/resources", i), "is not the URI of any resource")
		case err != nil:
			return nil, err
		default:
			named = append(named, r)
		}
	}
	return named, nil
}

// namedClients looks up the clients that a policy names. One that is known by its
// document is nil while nobody has used it.
func (h *handlers) namedClients(ctx context.Context, f *faults, clientIDs []string) ([]*storage.Client, error) {
	f.unique("/clients", clientIDs)
	named := make([]*storage.Client, len(clientIDs))
	for i, clientID := range clientIDs {
		c, err := h.store.ClientByClientID(ctx, clientID)
		switch {
		case errors.Is(err, storage.ErrNotFound) && storage.NamesDocument(clientID) && h.checkURL(clientID) == nil:
		case errors.Is(err, storage.ErrNotFound):
			f.add(at("/clients", i), "is neither the client_id of any client nor the URL of a metadata document that could be fetched")
		case err != nil:
			return nil, err
		}
		named[i] = c
	}
	return named, nil
}

// namedScopes refuses scopes that none of the policy's resources has, because a
// misspelt one would only show when somebody is denied. What p has already may
// stay: a resource may have lost it since.
func (h *handlers) namedScopes(ctx context.Context, f *faults, p *storage.Policy, uris []string, resources []*storage.Resource, scopes []string) error {
	var unknown []int
	for i, name := range scopes {
		if !slices.Contains(p.Scopes, name) || !slices.Equal(p.Resources, uris) {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	if len(uris) == 0 {
		var err error
		if resources, err = h.allResources(ctx); err != nil {
			return err
		}
	}
	for _, i := range unknown {
		if !slices.ContainsFunc(resources, func(r *storage.Resource) bool { return slices.Contains(r.ScopeNames(), scopes[i]) }) {
			f.add(at("/scopes", i), "is not a scope of any resource that the policy is for")
		}
	}
	return nil
}

func (h *handlers) allResources(ctx context.Context) ([]*storage.Resource, error) {
	var all []*storage.Resource
	for page := (storage.Page{Limit: maxLimit}); ; page.After = all[len(all)-1].ID {
		some, err := h.store.Resources(ctx, page)
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(some) < page.Limit {
			return all, nil
		}
	}
}

// checkInAdvance refuses to approve in advance for whoever comes: only for clients
// that cannot be somebody else, where their answers arrive safely.
func (f *faults) checkInAdvance(fields api.PolicyFields, clients []*storage.Client) {
	if len(fields.Clients) == 0 {
		f.add("/clients", "must name the clients for which nobody is asked (skip_consent)")
	}
	if len(fields.Resources) == 0 {
		f.add("/resources", "must name the resources for which nobody is asked (skip_consent)")
	}
	if len(fields.Trust) > 0 && !slices.Contains(fields.Trust, string(storage.TrustRegistered)) {
		f.add("/trust", "must have registered: only such clients are approved in advance (skip_consent)")
	}
	for i, c := range clients {
		if c == nil || c.SelfAsserted() || !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return strings.HasPrefix(uri, "https://") }) {
			f.add(at("/clients", i), "must be registered by an administrator and have an https redirect URI (skip_consent)")
		}
	}
}

// policyFields are what setPolicy would have to be given to make p.
func policyFields(p *storage.Policy) api.PolicyFields {
	return api.PolicyFields{
		Name: p.Name, Groups: p.Groups, Resources: p.Resources, Scopes: p.Scopes, Clients: p.Clients,
		Trust: showTrust(p.Trust), SkipConsent: p.SkipConsent, ManagedBy: p.ManagedBy,
	}
}

func showPolicy(p *storage.Policy) api.Policy {
	return api.Policy{
		ID: p.ID, Name: p.Name, Groups: list(p.Groups), Resources: list(p.Resources), Scopes: list(p.Scopes), Clients: list(p.Clients),
		Trust: showTrust(p.Trust), SkipConsent: p.SkipConsent, ManagedBy: p.ManagedBy,
		CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
	}
}

func showTrust(levels []storage.ClientTrust) []string {
	shown := make([]string, len(levels))
	for i, level := range levels {
		shown[i] = string(level)
	}
	return shown
}

func policyID(p *storage.Policy) string { return p.ID }
