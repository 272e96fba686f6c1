package registration

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"grantd/server/web"
	"grantd/storage"
)

// Read serves GET /register/{client_id} (RFC 7592 §2.1). A secret is not shown
// again: only its hash is there.
func (g *Registration) Read(w http.ResponseWriter, r *http.Request) error {
	client, token, err := g.manager(r)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusOK, g.answer(client, token))
	return nil
}

// updateRetries is how often a change that lost a race is made again.
const updateRetries = 3

// Replace serves PUT /register/{client_id} (RFC 7592 §2.2): what is sent replaces
// everything the client has said of itself, by the rules it registered under.
func (g *Registration) Replace(w http.ResponseWriter, r *http.Request) error {
	client, token, err := g.manager(r)
	if err != nil {
		return err
	}
	asked, err := read(r)
	if err != nil {
		return err
	}
	said, err := g.client(r.Context(), asked, confidential)
	if err != nil {
		return err
	}
	if _, err := g.replaced(client, asked, said); err != nil {
		return err
	}
	// A change makes every replica forget what it has cached: it counts as a new
	// row does.
	if err := g.count(g.Addresses.Key(r)); err != nil {
		return err
	}
	for range 1 + updateRetries {
		if client, token, err = g.manager(r); err != nil {
			return err
		}
		if client, err = g.replaced(client, asked, said); err != nil {
			return err
		}
		if err = g.update(r.Context(), client); !errors.Is(err, storage.ErrConflict) {
			break
		}
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return noManager()
	case errors.Is(err, storage.ErrConflict):
		return &web.OAuthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "The client keeps being changed; try again.", Err: err, RetryAfter: 1}
	case err != nil:
		return err
	}
	web.WriteJSON(w, http.StatusOK, g.answer(client, token))
	return nil
}

func (g *Registration) update(ctx context.Context, client *storage.Client) error {
	event := storage.NewAuditEvent(client.UpdatedAt, "client:"+client.ClientID, "client.updated", client.ID).
		With("client_name", client.ClientName).With("redirect_uris", strings.Join(client.RedirectURIs, " ")).
		With("token_endpoint_auth_method", client.TokenEndpointAuthMethod)
	return g.Store.UpdateDynamicClient(ctx, client, event)
}

// replaced is the client with what it now says of itself. What it is stays.
func (g *Registration) replaced(client *storage.Client, asked *Metadata, said *storage.Client) (*storage.Client, error) {
	now := g.Now()
	switch {
	case asked.ClientID != client.ClientID:
		return nil, invalidMetadata("client_id must be sent, and be the client's own.")
	case asked.ClientSecret != "" && !provesSecret(client, asked.ClientSecret, now):
		return nil, invalidMetadata("client_secret is not one of the client's; it can be left out, but not chosen.")
	case said.TokenEndpointAuthMethod != storage.AuthMethodPrivateKeyJWT && len(client.Secrets) == 0:
		return nil, invalidMetadata("The client has no secret to authenticate with by that method; register a new client.")
	}
	changed := *said
	changed.ID, changed.ClientID, changed.Source, changed.Version = client.ID, client.ClientID, client.Source, client.Version
	changed.Disabled, changed.Resources, changed.Secrets, changed.CreatedAt = client.Disabled, client.Resources, client.Secrets, client.CreatedAt
	changed.RegistrationAccessTokenHash, changed.UpdatedAt = client.RegistrationAccessTokenHash, now
	return &changed, nil
}

// Delete serves DELETE /register/{client_id} (RFC 7592 §2.3). Everything that people
// granted the client ends with it.
func (g *Registration) Delete(w http.ResponseWriter, r *http.Request) error {
	client, _, err := g.manager(r)
	if err != nil {
		return err
	}
	event := storage.NewAuditEvent(g.Now(), "client:"+client.ClientID, "client.deleted", client.ID)
	if err := g.Store.DeleteClient(r.Context(), client.ID, storage.AnyVersion, event); errors.Is(err, storage.ErrNotFound) {
		return noManager()
	} else if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// manager returns the client that the request manages, read from the database, and
// its token. Whatever does not fit has one answer, so that it does not tell which
// clients exist; a client that an admin has switched off is as good as gone.
func (g *Registration) manager(r *http.Request) (*storage.Client, string, error) {
	clientID, token := mux.Vars(r)["client_id"], bearer(r, storage.SecretPrefixRegistrationAccess)
	if _, err := storage.IDBytes(storage.PrefixClient, clientID); err != nil || token == "" {
		return nil, "", noManager()
	}
	client, err := g.Store.ClientByClientID(r.Context(), clientID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, "", noManager()
	} else if err != nil {
		return nil, "", err
	}
	if client.Source != storage.SourceDynamic || client.Disabled ||
		subtle.ConstantTimeCompare(storage.HashSecret(token), client.RegistrationAccessTokenHash) != 1 {
		return nil, "", noManager()
	}
	return client, token, nil
}

func noManager() error {
	return invalidToken("The registration access token is not that of a client registered here.")
}

func provesSecret(c *storage.Client, secret string, now time.Time) bool {
	matches := 0
	for _, s := range c.Secrets {
		if s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt) {
			matches |= subtle.ConstantTimeCompare(storage.HashSecret(secret), s.Hash)
		}
	}
	return matches == 1
}
