package admin

import (
	"context"
	"net/mail"
	"slices"
	"strings"
	"time"

	"grantd/api"
	"grantd/server/upstream"
	"grantd/storage"
)

const (
	providersPath = "/admin/v1/providers/"
	providerTaken = "There is a provider with this name already."
)

// The bounds of a provider's fields.
const (
	maxProviderName   = 100
	maxProviderValue  = 500
	maxClientSecret   = 2000
	maxProviderScopes = 30
	maxClaim          = 200
	maxAllowed        = 100
	maxACRValues      = 20
)

func (h *handlers) ListProviders(ctx context.Context, request api.ListProvidersRequestObject) (api.ListProvidersResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixProvider)
	if err != nil {
		return nil, err
	}
	providers, err := h.selectProviders(ctx, request.Params.Name, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(providers, page, func(p *storage.Provider) string { return p.ID }, h.showProvider)
	return api.ListProviders200JSONResponse{Items: items, NextCursor: next}, nil
}

// selectProviders reads a page, or looks for the one of that name: there are never
// more than a few.
func (h *handlers) selectProviders(ctx context.Context, name string, page storage.Page) ([]*storage.Provider, error) {
	var f faults
	f.text("?name", name, maxProviderName)
	if err := f.err(); err != nil {
		return nil, err
	}
	if name == "" {
		return h.store.Providers(ctx, page)
	}
	all := storage.Page{Limit: maxLimit}
	for {
		some, err := h.store.Providers(ctx, all)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(some, func(p *storage.Provider) bool { return p.Name == name }); i >= 0 {
			return some[i : i+1], nil
		}
		if len(some) < all.Limit {
			return nil, nil
		}
		all.After = some[len(some)-1].ID
	}
}

func (h *handlers) CreateProvider(ctx context.Context, request api.CreateProviderRequestObject) (api.CreateProviderResponseObject, error) {
	now := h.now()
	fields := *request.Body
	p := &storage.Provider{Version: 1, Issuer: fields.Issuer, Preset: storage.Preset(fields.Preset), CreatedAt: now, UpdatedAt: now}
	if err := h.setProvider(p, fields).err(); err != nil {
		return nil, err
	}
	if request.Params.DryRun {
		if err := h.stillFreeProvider(ctx, p.Name, ""); err != nil {
			return nil, err
		}
		return api.CreateProvider204Response{}, nil
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixProvider, key, "createProvider", request.Body)
	if err != nil {
		return nil, err
	}
	p.ID = id
	made, replayed, err := once(key, func() (*storage.Provider, error) { return h.store.Provider(ctx, id) }, func() (*storage.Provider, error) {
		p.SealedClientSecret = []byte{}
		if fields.ClientSecret != nil {
			p.SealedClientSecret, p.ClientSecretSetAt = h.providers.Seal(p.ID, *fields.ClientSecret), now
		}
		after := providerFields(p)
		after.ClientSecret = fields.ClientSecret
		event, _, err := withChanges(h.event(ctx, "provider.created", p.ID), api.ProviderFields{}, after, "client_secret")
		if err != nil {
			return nil, err
		}
		return p, h.store.CreateProvider(ctx, p, event)
	})
	if err != nil {
		return nil, taken(err, providerTaken)
	}
	return api.CreateProvider201JSONResponse{Body: h.showProvider(made), Headers: api.CreateProvider201ResponseHeaders{
		ETag: etag(made.Version), IdempotentReplayed: replayed, Location: providersPath + id,
	}}, nil
}

func (h *handlers) GetProvider(ctx context.Context, request api.GetProviderRequestObject) (api.GetProviderResponseObject, error) {
	p, err := h.provider(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	return api.GetProvider200JSONResponse{Body: h.showProvider(p), Headers: api.GetProvider200ResponseHeaders{ETag: etag(p.Version)}}, nil
}

func (h *handlers) UpdateProvider(ctx context.Context, request api.UpdateProviderRequestObject) (api.UpdateProviderResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var p *storage.Provider
	err = retryConflicts(func() error {
		var err error
		if p, err = h.provider(ctx, request.ID); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, p.Version); err != nil {
			return err
		}
		return h.updateProvider(ctx, p, sent, request.Params.DryRun)
	})
	if err != nil {
		return nil, taken(err, providerTaken)
	}
	return api.UpdateProvider200JSONResponse{Body: h.showProvider(p), Headers: api.UpdateProvider200ResponseHeaders{ETag: etag(p.Version)}}, nil
}

// updateProvider changes p by the patch and writes it, unless it is a dry run. A patch
// that changes nothing, with the secret that there is already, writes nothing.
func (h *handlers) updateProvider(ctx context.Context, p *storage.Provider, sent patch, dryRun bool) error {
	name, before := p.Name, providerFields(p)
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	if _, named := sent["claims"]; named && merged.Claims != nil {
		// A merge patch goes on within an object (RFC 7396 §2).
		for _, claim := range [][2]**string{
			{&merged.Claims.Name, &before.Claims.Name}, {&merged.Claims.Email, &before.Claims.Email}, {&merged.Claims.Groups, &before.Claims.Groups},
		} {
			if *claim[0] == nil {
				*claim[0] = *claim[1]
			}
		}
	}
	if err := h.setProvider(p, merged).err(); err != nil {
		return err
	}
	after := providerFields(p)
	event := h.event(ctx, "provider.updated", p.ID)
	switch _, named := sent["client_secret"]; {
	case merged.ClientSecret != nil && !h.providers.HasSecret(p, *merged.ClientSecret):
		p.SealedClientSecret, p.ClientSecretSetAt = h.providers.Seal(p.ID, *merged.ClientSecret), event.At
		after.ClientSecret = merged.ClientSecret
	case merged.ClientSecret == nil && named && len(p.SealedClientSecret) > 0:
		p.SealedClientSecret, p.ClientSecretSetAt = []byte{}, time.Time{}
		after.ClientSecret = new(string)
	}
	event, changed, err := withChanges(event, before, after, "client_secret")
	switch {
	case err != nil || !changed:
		return err
	case dryRun && p.Name != name:
		return h.stillFreeProvider(ctx, p.Name, p.ID)
	case dryRun:
		return nil
	}
	p.UpdatedAt = event.At
	return h.store.UpdateProvider(ctx, p, event)
}

// stillFreeProvider refuses a name that is another provider's than the one with this id.
func (h *handlers) stillFreeProvider(ctx context.Context, name, id string) error {
	found, err := h.selectProviders(ctx, name, storage.Page{})
	if err == nil && (len(found) == 0 || found[0].ID == id) {
		err = storage.ErrNotFound
	}
	return stillFree(err, providerTaken)
}

func (h *handlers) DeleteProvider(ctx context.Context, request api.DeleteProviderRequestObject) (api.DeleteProviderResponseObject, error) {
	if err := checkID(storage.PrefixProvider, request.ID); err != nil {
		return nil, err
	}
	read := func() (*storage.Provider, error) { return h.store.Provider(ctx, request.ID) }
	err := deleteMatching(request.Params.IfMatch, read, func(p *storage.Provider) int64 { return p.Version }, func(version int64) error {
		return h.store.DeleteProvider(ctx, request.ID, version, h.event(ctx, "provider.deleted", request.ID))
	})
	if err != nil {
		return nil, err
	}
	return api.DeleteProvider204Response{}, nil
}

func (h *handlers) TestProvider(ctx context.Context, request api.TestProviderRequestObject) (api.TestProviderResponseObject, error) {
	p, err := h.provider(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	report := h.providers.Test(ctx, p, request.Body.IDToken)
	shown := api.ProviderReport{Ok: report.OK(), RedirectURI: h.providers.RedirectURI(p.ID), Checks: []api.ProviderCheck{}}
	for _, c := range report.Checks {
		shown.Checks = append(shown.Checks, api.ProviderCheck{Name: c.Name, Ok: c.OK, Detail: c.Detail})
	}
	if who := report.Person; who != nil {
		shown.Person = &api.ProviderPerson{
			Issuer: who.Issuer, Subject: who.Subject, Name: who.Name, Email: who.Email, EmailVerified: who.EmailVerified, Groups: list(who.Groups),
		}
	}
	return api.TestProvider200JSONResponse(shown), nil
}

// provider reads a provider by id. ErrNotFound.
func (h *handlers) provider(ctx context.Context, id string) (*storage.Provider, error) {
	if err := checkID(storage.PrefixProvider, id); err != nil {
		return nil, err
	}
	return h.store.Provider(ctx, id)
}

// setProvider sets every field of p that may change but the secret, applying the
// defaults, and returns all that is wrong with them, the fixed ones and the secret
// included.
func (h *handlers) setProvider(p *storage.Provider, fields api.ProviderFields) faults {
	var f faults
	f.present("/name", fields.Name, maxProviderName)
	f.present("/client_id", fields.ClientID, maxProviderValue)
	f.text("/label", fields.Label, maxProviderName)
	f.text("/managed_by", fields.ManagedBy, storage.MaxText)
	f.issuer("/issuer", p.Issuer, h.checkURL)
	if !slices.Contains(upstream.Presets, p.Preset) {
		f.add("/preset", "must be one of: okta, entra, google, keycloak")
	}
	if s := fields.ClientSecret; s != nil {
		f.present("/client_secret", *s, maxClientSecret)
	}
	f.texts("/scopes", fields.Scopes, maxProviderScopes, maxScopeName)
	for i, scope := range fields.Scopes {
		if !storage.IsScopeName(scope) || scope == "openid" || scope == "offline_access" {
			f.add(at("/scopes", i), "must be the name of a scope other than openid and offline_access")
		}
	}
	f.texts("/allowed_tenants", fields.AllowedTenants, maxAllowed, maxHost)
	f.texts("/allowed_domains", fields.AllowedDomains, maxAllowed, maxHost)
	f.texts("/allowed_groups", fields.AllowedGroups, maxAllowed, maxGroup)
	f.texts("/acr_values", fields.AcrValues, maxACRValues, maxClaim)
	for i, value := range fields.AcrValues {
		if strings.ContainsAny(value, " ") {
			f.add(at("/acr_values", i), "must not have a space")
		}
	}
	for i, domain := range fields.AllowedDomains {
		if _, err := mail.ParseAddress("a@" + domain); err != nil {
			f.add(at("/allowed_domains", i), "must be a domain, as example.com")
		}
	}
	p.Name, p.ClientID, p.Label, p.ManagedBy = fields.Name, fields.ClientID, fields.Label, fields.ManagedBy
	p.Automatic, p.LinkByEmail, p.Enabled = fields.Automatic, fields.LinkByEmail, fields.Enabled == nil || *fields.Enabled
	p.AllowedTenants, p.AllowedDomains = list(fields.AllowedTenants), list(fields.AllowedDomains)
	p.AllowedGroups, p.ACRValues = list(fields.AllowedGroups), list(fields.AcrValues)
	p.ReverifyAfter = storage.DefaultReverifyAfter
	if s := fields.ReverifyAfter; s != nil {
		if p.ReverifyAfter = time.Duration(min(max(*s, 0), 1<<30)) * time.Second; p.ReverifyAfter < storage.MinReverifyAfter || p.ReverifyAfter > storage.MaxReverifyAfter {
			f.add("/reverify_after", "must be between 3600 and 7776000 seconds")
		}
	}
	switch p.SecondFactor = storage.ProviderSecondFactor(fields.SecondFactor); p.SecondFactor {
	case "":
		p.SecondFactor = storage.ProviderTrusted
	case storage.ProviderTrusted, storage.ProviderRequired:
	default:
		f.add("/second_factor", "must be trusted or required")
	}
	f.claims(p, fields)
	if len(f) == 0 {
		if field, problem := upstream.CheckRules(p); field != "" {
			f.add(field, problem)
		}
	}
	return f
}

// claims sets the scopes and claims, those of the preset where none are given.
func (f *faults) claims(p *storage.Provider, fields api.ProviderFields) {
	p.Scopes, p.Claims = upstream.Defaults(p.Preset)
	if len(fields.Scopes) > 0 {
		p.Scopes = fields.Scopes
	}
	if fields.Claims == nil {
		return
	}
	for _, claim := range []struct {
		pointer string
		sent    *string
		into    *string
	}{
		{"/claims/name", fields.Claims.Name, &p.Claims.Name},
		{"/claims/email", fields.Claims.Email, &p.Claims.Email},
		{"/claims/groups", fields.Claims.Groups, &p.Claims.Groups},
	} {
		if claim.sent != nil {
			f.text(claim.pointer, *claim.sent, maxClaim)
			*claim.into = *claim.sent
		}
	}
}

// present is text that must not be empty.
func (f *faults) present(pointer, value string, limit int) {
	if value == "" {
		f.add(pointer, "must not be empty")
	}
	f.text(pointer, value, limit)
}

// issuer wants one that grantd may fetch the metadata of.
func (f *faults) issuer(pointer, issuer string, check func(string) error) {
	f.present(pointer, issuer, maxProviderValue)
	if strings.ContainsAny(issuer, "?#") || check(strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration") != nil {
		f.add(pointer, "must be an https URL, without query, that this server may reach (--outbound-allow opens internal addresses)")
	}
}

// providerFields are what setProvider would have to be given to make p.
func providerFields(p *storage.Provider) api.ProviderFields {
	seconds, enabled, claims := int(p.ReverifyAfter/time.Second), p.Enabled, showClaims(p)
	return api.ProviderFields{
		Name: p.Name, Issuer: p.Issuer, Preset: string(p.Preset), ClientID: p.ClientID, Scopes: p.Scopes, Label: p.Label,
		Automatic: p.Automatic, LinkByEmail: p.LinkByEmail, Claims: &claims,
		AllowedTenants: p.AllowedTenants, AllowedDomains: p.AllowedDomains, AllowedGroups: p.AllowedGroups, AcrValues: p.ACRValues,
		ReverifyAfter: &seconds, SecondFactor: string(p.SecondFactor), Enabled: &enabled, ManagedBy: p.ManagedBy,
	}
}

func showClaims(p *storage.Provider) api.ProviderClaims {
	c := p.Claims
	return api.ProviderClaims{Name: &c.Name, Email: &c.Email, Groups: &c.Groups}
}

func (h *handlers) showProvider(p *storage.Provider) api.Provider {
	return api.Provider{
		ID: p.ID, Name: p.Name, Issuer: p.Issuer, Preset: string(p.Preset), ClientID: p.ClientID,
		HasClientSecret: len(p.SealedClientSecret) > 0, ClientSecretSetAt: optionalTime(p.ClientSecretSetAt), ManagedBy: p.ManagedBy,
		Scopes: list(p.Scopes), Label: p.Label, Automatic: p.Automatic, LinkByEmail: p.LinkByEmail, Claims: showClaims(p),
		AllowedTenants: list(p.AllowedTenants), AllowedDomains: list(p.AllowedDomains), AllowedGroups: list(p.AllowedGroups), AcrValues: list(p.ACRValues),
		ReverifyAfter: int(p.ReverifyAfter / time.Second), SecondFactor: string(p.SecondFactor), Enabled: p.Enabled, RedirectURI: h.providers.RedirectURI(p.ID),
		CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
	}
}
