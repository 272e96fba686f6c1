package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"unicode"

	"grantd/api"
	"grantd/server/web"
	"grantd/storage"
)

const clientsPath = "/admin/v1/clients/"

const clientIDTaken = "There is a client with this client_id already."

func (h *handlers) ListClients(ctx context.Context, request api.ListClientsRequestObject) (api.ListClientsResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixClient)
	if err != nil {
		return nil, err
	}
	filter := storage.ClientFilter{
		Source: storage.ClientSource(request.Params.Source), Disabled: request.Params.Disabled, AdminAccess: request.Params.AdminAccess,
	}
	if filter.Source != "" {
		var f faults
		f.oneOf("?source", request.Params.Source, string(storage.SourceRegistered), string(storage.SourceDynamic), string(storage.SourceMetadataDocument))
		if err := f.err(); err != nil {
			return nil, err
		}
	}
	if clientID := request.Params.ClientID; clientID != "" {
		c, err := h.clientByClientID(ctx, clientID)
		if errors.Is(err, storage.ErrNotFound) || err == nil && !filter.Leaves(c) {
			return api.ListClients200JSONResponse{Items: []api.Client{}}, nil
		} else if err != nil {
			return nil, err
		}
		return api.ListClients200JSONResponse{Items: []api.Client{showClient(c)}}, nil
	}
	clients, err := h.store.Clients(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(clients, page, func(c *storage.Client) string { return c.ID }, showClient)
	return api.ListClients200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) CreateClient(ctx context.Context, request api.CreateClientRequestObject) (api.CreateClientResponseObject, error) {
	now := h.now()
	c := &storage.Client{Source: storage.SourceRegistered, CreatedAt: now, UpdatedAt: now}
	f := h.setClient(c, *request.Body)
	f.clientID(request.Body.ClientID)
	f.chosenSecret("/client_secret", request.Body.ClientSecret)
	if request.Body.ClientSecret != "" && !needsSecret(c) {
		f.add("/client_secret", "is not used with this token_endpoint_auth_method; leave it out")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	if request.Params.DryRun {
		_, err := h.store.ClientByClientID(ctx, request.Body.ClientID)
		if err := stillFree(err, clientIDTaken); err != nil {
			return nil, err
		}
		return api.CreateClient204Response{}, nil
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixClient, key, "createClient", request.Body)
	if err != nil {
		return nil, err
	}
	c.ID, c.ClientID = id, id
	if request.Body.ClientID != "" {
		c.ClientID = request.Body.ClientID
	}
	var secret string // that is shown
	if needsSecret(c) {
		var kept storage.ClientSecret
		secret, kept = newSecret(request.Body.ClientSecret, now)
		c.Secrets = []storage.ClientSecret{kept}
	}
	event, _, err := withChanges(h.event(ctx, "client.created", c.ID), api.ClientFields{}, clientFields(c))
	if err != nil {
		return nil, err
	}
	made, replayed, err := once(key, func() (*storage.Client, error) { return h.store.Client(ctx, id) },
		func() (*storage.Client, error) { return c, h.store.CreateClient(ctx, c, event) })
	if err != nil {
		return nil, taken(err, clientIDTaken)
	}
	shown := showClient(made)
	if !replayed {
		shown.ClientSecret = secret
	}
	return api.CreateClient201JSONResponse{Body: shown, Headers: api.CreateClient201ResponseHeaders{
		ETag: etag(made.Version), IdempotentReplayed: replayed, Location: clientsPath + id,
	}}, nil
}

func (h *handlers) GetClient(ctx context.Context, request api.GetClientRequestObject) (api.GetClientResponseObject, error) {
	c, err := h.client(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	return api.GetClient200JSONResponse{Body: showClient(c), Headers: api.GetClient200ResponseHeaders{ETag: etag(c.Version)}}, nil
}

func (h *handlers) UpdateClient(ctx context.Context, request api.UpdateClientRequestObject) (api.UpdateClientResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var c *storage.Client
	err = retryConflicts(func() error {
		var err error
		if c, err = h.client(ctx, request.ID); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, c.Version); err != nil {
			return err
		}
		return h.updateClient(ctx, c, sent, request.Params.DryRun)
	})
	if err != nil {
		return nil, err
	}
	return api.UpdateClient200JSONResponse{Body: showClient(c), Headers: api.UpdateClient200ResponseHeaders{ETag: etag(c.Version)}}, nil
}

// updateClient changes c by the patch and writes it, unless it is a dry run. A patch
// that changes nothing writes nothing.
func (h *handlers) updateClient(ctx context.Context, c *storage.Client, sent patch, dryRun bool) error {
	before, hadNone := clientFields(c), !needsSecret(c)
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	others := maps.Clone(sent)
	delete(others, "disabled")
	if len(others) == 0 {
		// Whatever else is wrong with a client, it can be stopped.
		c.Disabled = merged.Disabled
	} else {
		if c.Source != storage.SourceRegistered {
			return notRegistered("Only disabled can be changed: the rest is the client's own word.")
		}
		f := h.setClient(c, merged)
		if hadNone && needsSecret(c) && !h.hasSecret(c) {
			f.add("/token_endpoint_auth_method", "needs a secret, and the client has none; create one under /secrets first")
		}
		if err := f.err(); err != nil {
			return err
		}
	}
	event, changed, err := withChanges(h.event(ctx, "client.updated", c.ID), before, clientFields(c))
	if err != nil || !changed || dryRun {
		return err
	}
	c.UpdatedAt = event.At
	return h.store.UpdateClient(ctx, c, event)
}

func (h *handlers) DeleteClient(ctx context.Context, request api.DeleteClientRequestObject) (api.DeleteClientResponseObject, error) {
	if err := checkID(storage.PrefixClient, request.ID); err != nil {
		return nil, err
	}
	read := func() (*storage.Client, error) { return h.store.Client(ctx, request.ID) }
	err := deleteMatching(request.Params.IfMatch, read, func(c *storage.Client) int64 { return c.Version }, func(version int64) error {
		return h.store.DeleteClient(ctx, request.ID, version, h.event(ctx, "client.deleted", request.ID))
	})
	if err != nil {
		return nil, err
	}
	return api.DeleteClient204Response{}, nil
}

// client reads a client by its opaque id. ErrNotFound.
func (h *handlers) client(ctx context.Context, id string) (*storage.Client, error) {
	if err := checkID(storage.PrefixClient, id); err != nil {
		return nil, err
	}
	return h.store.Client(ctx, id)
}

// clientByClientID is client by the OAuth client_id, which may be a URL.
// ErrNotFound.
func (h *handlers) clientByClientID(ctx context.Context, clientID string) (*storage.Client, error) {
	if len(clientID) > storage.MaxURILength || strings.ContainsFunc(clientID, unicode.IsControl) {
		return nil, storage.ErrNotFound
	}
	return h.store.ClientByClientID(ctx, clientID)
}

// needsSecret reports whether the client authenticates with a secret.
func needsSecret(c *storage.Client) bool {
	return !c.Public() && c.TokenEndpointAuthMethod != storage.AuthMethodPrivateKeyJWT
}

// notRegistered is the 409 for what can only be done to a registered client.
func notRegistered(message string) error {
	return &web.Error{
		Status: http.StatusConflict, Code: "not-registered",
		Message: "This client was not registered by an admin. " + message,
	}
}

// clientFields are what setClient would have to be given to make c.
func clientFields(c *storage.Client) api.ClientFields {
	chosen := c.ClientID
	if chosen == c.ID {
		chosen = ""
	}
	return api.ClientFields{
		ClientID:                chosen,
		ClientName:              c.ClientName,
		RedirectUris:            c.RedirectURIs,
		PostLogoutRedirectUris:  c.PostLogoutRedirectURIs,
		GrantTypes:              c.GrantTypes,
		ResponseTypes:           c.ResponseTypes,
		TokenEndpointAuthMethod: c.TokenEndpointAuthMethod,
		JWKS:                    json.RawMessage(c.JWKS),
		JWKSURI:                 c.JWKSURI,
		ApplicationType:         c.ApplicationType,
		Scope:                   strings.Join(c.Scope, " "),
		Resources:               c.Resources,
		ClientURI:               c.ClientURI,
		LogoURI:                 c.LogoURI,
		TosURI:                  c.TosURI,
		PolicyURI:               c.PolicyURI,
		Contacts:                c.Contacts,
		SoftwareID:              c.SoftwareID,
		SoftwareVersion:         c.SoftwareVersion,
		ManagedBy:               c.ManagedBy,
		Disabled:                c.Disabled,
		AdminAccess:             c.AdminAccess,

		TokenEndpointAuthSigningAlg:        c.TokenEndpointAuthSigningAlg,
		RequirePushedAuthorizationRequests: c.RequirePushedAuthorizationRequests,
	}
}

func showClient(c *storage.Client) api.Client {
	return api.Client{
		ID:                      c.ID,
		ClientID:                c.ClientID,
		Source:                  string(c.Source),
		ClientName:              c.ClientName,
		RedirectUris:            list(c.RedirectURIs),
		PostLogoutRedirectUris:  c.PostLogoutRedirectURIs,
		GrantTypes:              list(c.GrantTypes),
		ResponseTypes:           list(c.ResponseTypes),
		TokenEndpointAuthMethod: c.TokenEndpointAuthMethod,
		JWKS:                    json.RawMessage(c.JWKS),
		JWKSURI:                 c.JWKSURI,
		ApplicationType:         c.ApplicationType,
		Scope:                   strings.Join(c.Scope, " "),
		Resources:               list(c.Resources),
		ClientURI:               c.ClientURI,
		LogoURI:                 c.LogoURI,
		TosURI:                  c.TosURI,
		PolicyURI:               c.PolicyURI,
		Contacts:                list(c.Contacts),
		SoftwareID:              c.SoftwareID,
		SoftwareVersion:         c.SoftwareVersion,
		ManagedBy:               c.ManagedBy,
		Disabled:                c.Disabled,
		CreatedAt:               c.CreatedAt.UTC(),
		UpdatedAt:               c.UpdatedAt.UTC(),
		LastUsedAt:              optionalTime(c.LastUsedAt),
		AdminAccess:             c.AdminAccess,

		TokenEndpointAuthSigningAlg:        c.TokenEndpointAuthSigningAlg,
		RequirePushedAuthorizationRequests: c.RequirePushedAuthorizationRequests,
	}
}
