package admin

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"grantd/api"
	"grantd/server/web"
	"grantd/storage"
)

func (h *handlers) ListRegistrationRequests(ctx context.Context, request api.ListRegistrationRequestsRequestObject) (api.ListRegistrationRequestsResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixRegistrationRequest)
	if err != nil {
		return nil, err
	}
	state := request.Params.State
	if state != "" {
		var f faults
		f.oneOf("?state", state, string(storage.RequestPending), string(storage.RequestAllowed), string(storage.RequestRefused))
		if err := f.err(); err != nil {
			return nil, err
		}
	}
	requests, err := h.store.RegistrationRequests(ctx, storage.RegistrationRequestState(state), page)
	if err != nil {
		return nil, err
	}
	items, next := cut(requests, page, func(r *storage.RegistrationRequest) string { return r.ID }, showRequest)
	return api.ListRegistrationRequests200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) GetRegistrationRequest(ctx context.Context, request api.GetRegistrationRequestRequestObject) (api.GetRegistrationRequestResponseObject, error) {
	r, err := h.request(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	return api.GetRegistrationRequest200JSONResponse(showRequest(r)), nil
}

func (h *handlers) DecideRegistrationRequest(ctx context.Context, request api.DecideRegistrationRequestRequestObject) (api.DecideRegistrationRequestResponseObject, error) {
	var f faults
	decision, object := request.Body.Decision, request.Body.For
	if object == "" {
		object = "client"
	}
	f.oneOf("/decision", decision, "allow", "refuse")
	f.oneOf("/for", object, "client", "host")
	if err := f.err(); err != nil {
		return nil, err
	}
	r, err := h.request(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	d := storage.RegistrationDecision{Allowed: decision == "allow", At: h.now()}
	action := "registration_request.refused"
	if d.Allowed {
		action = "registration_request.allowed"
	}
	event := h.event(ctx, action, r.ID).With("client_id", r.ClientID)
	if object == "host" {
		if d.Host = hostOf(r); d.Host == "" || !validHost(d.Host) {
			f.add("/for", "must be client: this client's answers do not go to one host of its own")
			return nil, f.err()
		}
		if err := h.decideHost(ctx, r, &d); err != nil {
			return nil, err
		}
		event = event.With("host", d.Host)
	}
	if err := h.store.DecideRegistration(ctx, r.ID, d, event); err != nil {
		return nil, err
	}
	if r, err = h.request(ctx, request.ID); err != nil {
		return nil, err
	}
	return api.DecideRegistrationRequest200JSONResponse(showRequest(r)), nil
}

// decideHost makes d a decision on d.Host too, and on whatever else waits for it.
func (h *handlers) decideHost(ctx context.Context, r *storage.RegistrationRequest, d *storage.RegistrationDecision) error {
	policy, err := h.store.RegistrationPolicy(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(policy.Hosts, func(known storage.HostDecision) bool { return known.Host == d.Host }) && len(policy.Hosts) >= storage.MaxHostDecisions {
		return &web.Error{
			Status: http.StatusConflict, Code: "too-many-hosts",
			Message: "The registration policy has as many hosts as it can hold; remove some, or decide on the client.",
		}
	}
	page := storage.Page{Limit: maxLimit}
	for {
		waiting, err := h.store.RegistrationRequests(ctx, storage.RequestPending, page)
		if err != nil {
			return err
		}
		for _, other := range waiting {
			if other.ID != r.ID && hostOf(other) == d.Host {
				d.Others = append(d.Others, other.ID)
			}
		}
		if len(waiting) < page.Limit {
			return nil
		}
		page.After = waiting[len(waiting)-1].ID
	}
}

func (h *handlers) DeleteRegistrationRequest(ctx context.Context, request api.DeleteRegistrationRequestRequestObject) (api.DeleteRegistrationRequestResponseObject, error) {
	if err := checkID(storage.PrefixRegistrationRequest, request.ID); err != nil {
		return nil, err
	}
	if err := h.store.DeleteRegistrationRequest(ctx, request.ID, h.event(ctx, "registration_request.deleted", request.ID)); err != nil {
		return nil, err
	}
	return api.DeleteRegistrationRequest204Response{}, nil
}

// request reads a request by its id. ErrNotFound.
func (h *handlers) request(ctx context.Context, id string) (*storage.RegistrationRequest, error) {
	if err := checkID(storage.PrefixRegistrationRequest, id); err != nil {
		return nil, err
	}
	return h.store.RegistrationRequest(ctx, id)
}

// hostOf is the host that a decision on the client's host is about: that of its
// document or, if it registered itself, the one https host where all of its
// answers go. Empty: there is none.
func hostOf(r *storage.RegistrationRequest) string {
	uris := r.RedirectURIs
	if r.Source == storage.SourceMetadataDocument {
		uris = []string{r.ClientID}
	}
	host := ""
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "https" || host != "" && u.Hostname() != host {
			return ""
		}
		host = u.Hostname()
	}
	return host
}

func showRequest(r *storage.RegistrationRequest) api.RegistrationRequest {
	askedBy := make([]api.Asker, len(r.AskedBy))
	for i, a := range r.AskedBy {
		askedBy[i] = api.Asker{UserID: a.UserID, Username: a.Username, At: a.At.UTC()}
	}
	return api.RegistrationRequest{
		ID: r.ID, ClientID: r.ClientID, Source: string(r.Source), Host: hostOf(r), ClientName: r.ClientName,
		RedirectUris: list(r.RedirectURIs), State: string(r.State), Asked: r.Asked, AskedBy: askedBy,
		CreatedAt: r.CreatedAt.UTC(), DecidedAt: optionalTime(r.DecidedAt),
	}
}
