package account

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// everything stands for all grants where one is named.
const everything = "all"

// applications are what the user has allowed, the latest first.
func (h *Handler) applications(ctx context.Context, userID string) ([]templates.Application, error) {
	grants, err := h.grants(ctx, userID)
	if err != nil {
		return nil, err
	}
	families, err := h.families(ctx, userID)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(grants, func(a, b *storage.Grant) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
	var applications []templates.Application
	for _, g := range grants {
		application, err := h.application(ctx, g)
		if errors.Is(err, storage.ErrNotFound) {
			continue // the client or the MCP server is deleted this very moment, and the grant with it
		} else if err != nil {
			return nil, err
		}
		for _, f := range families {
			if f.GrantID != g.ID {
				continue
			}
			application.Installations = append(application.Installations, templates.Installation{
				ID: f.ID, Program: program(f.UserAgent), Address: f.Address, SignedInAt: f.CreatedAt, LastUsedAt: f.RotatedAt,
			})
			if f.RotatedAt.After(application.LastUsedAt) {
				application.LastUsedAt = f.RotatedAt
			}
		}
		if g.ResourceID == storage.AdminResourceID && len(application.Installations) == 0 {
			continue // it is asked for each time: without a sign-in it gives nothing
		}
		applications = append(applications, application)
	}
	return applications, nil
}

func (h *Handler) grants(ctx context.Context, userID string) ([]*storage.Grant, error) {
	return everyPage(func(page storage.Page) ([]*storage.Grant, error) {
		return h.Store.Grants(ctx, storage.GrantFilter{UserID: userID}, page)
	}, func(g *storage.Grant) string { return g.ID })
}

// application is a grant in words. ErrNotFound.
func (h *Handler) application(ctx context.Context, g *storage.Grant) (templates.Application, error) {
	client, err := h.Catalog.ClientByID(ctx, g.ClientID)
	if err != nil {
		return templates.Application{}, err
	}
	resource, err := h.resource(ctx, g.ResourceID)
	if err != nil {
		return templates.Application{}, err
	}
	identity := storage.NewIdentityResource()
	application := templates.Application{
		Client: h.Describe(client, g.RedirectURI), ApprovedAt: g.UpdatedAt,
		Resource: templates.ConsentResource{
			Name: resource.Name, URI: resource.URI, Identity: resource.Identity(), Administration: resource.BuiltIn(),
		},
		RevokeURL: h.root + "/account/revoke?grant=" + url.QueryEscape(g.ID),
	}
	scopes := resource.Scopes
	if !resource.Identity() {
		scopes = slices.Concat(scopes, identity.Scopes)
	}
	for _, scope := range scopes {
		if slices.Contains(g.Scopes, scope.Name) {
			application.Scopes = append(application.Scopes, templates.ConsentScope{Name: scope.Name, Description: scope.Description, Tools: scope.Tools})
		}
	}
	return application, nil
}

// resource finds an MCP server, or one of grantd's own Resources. ErrNotFound.
func (h *Handler) resource(ctx context.Context, id string) (*storage.Resource, error) {
	resources, err := h.Catalog.Resources(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range append(slices.Clone(resources), h.Administration, storage.NewIdentityResource()) {
		if r.ID == id {
			return r, nil
		}
	}
	return nil, storage.ErrNotFound
}

// Revoke asks whether to take an application's access, or all (GET and HEAD), and
// takes it (POST).
func (h *Handler) Revoke() http.Handler { return h.attend(h.revoke) }

func (h *Handler) revoke(v *visit) error {
	if v.r.Method == http.MethodPost {
		return h.take(v)
	}
	chosen := v.r.URL.Query().Get("grant")
	grants, err := h.chosen(v, chosen)
	if err != nil {
		return err
	}
	page := templates.RevokePage{
		Action: h.root + "/account/revoke", AccountURL: h.root + "/account", Page: v.signIn.Session.ID, Grant: chosen,
	}
	for _, g := range grants {
		application, err := h.application(v.r.Context(), g)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		page.Applications = append(page.Applications, application)
	}
	if len(page.Applications) == 0 {
		return noSuchGrant(nil)
	}
	return h.Pages.Write(v.w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Revoke(out, page) })
}

// take revokes what the form names.
func (h *Handler) take(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	grants, err := h.chosen(v, form.Get("grant"))
	if err != nil {
		return err
	}
	for _, g := range grants {
		event := h.event(v, "grant.revoked", g.ID).With("client_id", g.ClientID).With("resource_id", g.ResourceID)
		if err := h.Store.DeleteGrant(v.r.Context(), g.ID, event); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return h.done(v, "revoked")
}

// chosen are the visitor's grants that id stands for. Another's is not there.
func (h *Handler) chosen(v *visit, id string) ([]*storage.Grant, error) {
	if id == everything {
		return h.grants(v.r.Context(), v.user().ID)
	}
	if _, err := storage.IDBytes(storage.PrefixGrant, id); err != nil {
		return nil, noSuchGrant(err)
	}
	g, err := h.Store.Grant(v.r.Context(), id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && g.UserID != v.user().ID {
		return nil, noSuchGrant(err)
	}
	return []*storage.Grant{g}, err
}

func noSuchGrant(err error) error {
	return &web.Error{
		Status: http.StatusNotFound, Code: "not-found", Title: "There is no such access",
		Message: "The application has no access in your name; perhaps it was removed already. Open your account again.", Err: err,
	}
}
