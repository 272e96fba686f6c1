package admin

import (
	"context"
	"slices"

	"grantd/api"
	"grantd/storage"
)

// signInPath is the one path that takes no credential.
const signInPath = "/admin/v1/sign-in"

func (h *handlers) GetSignIn(ctx context.Context, _ api.GetSignInRequestObject) (api.GetSignInResponseObject, error) {
	yes, no := true, false
	filter := storage.ClientFilter{Source: storage.SourceRegistered, Disabled: &no, AdminAccess: &yes}
	clients, err := h.store.Clients(ctx, filter, storage.Page{Limit: maxLimit})
	if err != nil {
		return nil, err
	}
	signIn := api.GetSignIn200JSONResponse{Issuer: h.issuer, Resource: h.resourceOfAdmin.URI}
	if i := slices.IndexFunc(clients, h.forTerminals); i >= 0 {
		signIn.ClientID = clients[i].ClientID
	}
	return signIn, nil
}

// forTerminals reports whether people may sign in with the client from a program on
// their own machine.
func (h *handlers) forTerminals(c *storage.Client) bool {
	return c.Public() && c.MayUse(storage.GrantTypeAuthorizationCode) && c.MayReach(h.resourceOfAdmin) &&
		c.MatchRedirectURI(terminalRedirect)
}

// terminalRedirect is where grantd login has the browser return, at any port (RFC 8252
// §7.3).
const terminalRedirect = "http://127.0.0.1/callback"

func (h *handlers) GetWhoami(ctx context.Context, _ api.GetWhoamiRequestObject) (api.GetWhoamiResponseObject, error) {
	c := callerOf(ctx)
	who := api.GetWhoami200JSONResponse{Actor: c.actor, Scope: string(c.scope), ExpiresAt: optionalTime(c.expiresAt)}
	if c.userID != "" {
		u, err := h.store.User(ctx, c.userID)
		if err != nil {
			return nil, err
		}
		who.Username = u.Username
	}
	return who, nil
}
