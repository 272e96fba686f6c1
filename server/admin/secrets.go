package admin

import (
	"context"
	"net/http"
	"slices"
	"time"

	"grantd/api"
	"grantd/server/web"
	"grantd/storage"
)

// maxSecrets is how many secrets a client may have; two are enough for a
// rotation.
const maxSecrets = 10

func (h *handlers) ListClientSecrets(ctx context.Context, request api.ListClientSecretsRequestObject) (api.ListClientSecretsResponseObject, error) {
	c, err := h.client(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	items := make([]api.ClientSecret, len(c.Secrets))
	for i, s := range c.Secrets {
		items[i] = api.ClientSecret{ID: s.ID, CreatedAt: s.CreatedAt.UTC(), ExpiresAt: optionalTime(s.ExpiresAt)}
	}
	return api.ListClientSecrets200JSONResponse{Items: items}, nil
}

func (h *handlers) CreateClientSecret(ctx context.Context, request api.CreateClientSecretRequestObject) (api.CreateClientSecretResponseObject, error) {
	c, err := h.client(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	if c.Source != storage.SourceRegistered {
		return nil, notRegistered("It has the secrets it was given when it registered, or none.")
	}
	if len(c.Secrets) >= maxSecrets {
		return nil, &web.Error{
			Status: http.StatusConflict, Code: "too-many-secrets",
			Message: "The client has ten secrets. Delete one that is no longer used first.",
		}
	}
	secret, kept := newSecret(h.now())
	event := h.event(ctx, "client.secret_created", c.ID).With("secret_id", kept.ID)
	if err := h.store.AddClientSecret(ctx, c.ID, kept, event); err != nil {
		return nil, err
	}
	return api.CreateClientSecret201JSONResponse{
		Body:    api.NewClientSecret{ID: kept.ID, ClientSecret: secret, CreatedAt: kept.CreatedAt},
		Headers: api.CreateClientSecret201ResponseHeaders{Location: clientsPath + c.ID + "/secrets/" + kept.ID},
	}, nil
}

func (h *handlers) DeleteClientSecret(ctx context.Context, request api.DeleteClientSecretRequestObject) (api.DeleteClientSecretResponseObject, error) {
	if err := checkID(storage.PrefixClient, request.ID); err != nil {
		return nil, err
	}
	if err := checkID(storage.PrefixClientSecret, request.SecretID); err != nil {
		return nil, err
	}
	event := h.event(ctx, "client.secret_deleted", request.ID).With("secret_id", request.SecretID)
	if err := h.store.DeleteClientSecret(ctx, request.ID, request.SecretID, event); err != nil {
		return nil, err
	}
	return api.DeleteClientSecret204Response{}, nil
}

// newSecret returns a secret and what is kept of it.
func newSecret(now time.Time) (string, storage.ClientSecret) {
	secret, hash := storage.NewSecret(storage.SecretPrefixClient)
	return secret, storage.ClientSecret{ID: storage.NewID(storage.PrefixClientSecret), Hash: hash, CreatedAt: now}
}

// hasSecret reports whether the client has a secret that works now.
func (h *handlers) hasSecret(c *storage.Client) bool {
	return slices.ContainsFunc(c.Secrets, func(s storage.ClientSecret) bool {
		return s.ExpiresAt.IsZero() || h.now().Before(s.ExpiresAt)
	})
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
