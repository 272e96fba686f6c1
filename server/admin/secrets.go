package admin

import (
	"context"
	"errors"
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
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixClientSecret, key, "createClientSecret", c.ID)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(c.Secrets, func(s storage.ClientSecret) bool { return s.ID == id }); i >= 0 {
		return madeSecret(c.ID, c.Secrets[i], "", true), nil
	}
	if len(c.Secrets) >= maxSecrets {
		return nil, &web.Error{
			Status: http.StatusConflict, Code: "too-many-secrets",
			Message: "The client has ten secrets. Delete one that is no longer used first.",
		}
	}
	secret, kept := newSecret(h.now())
	kept.ID = id
	event := h.event(ctx, "client.secret_created", c.ID).With("secret_id", kept.ID)
	err = h.store.AddClientSecret(ctx, c.ID, kept, event)
	if replayed := errors.Is(err, storage.ErrExists); replayed || err == nil {
		if replayed { // the same request was faster
			secret = ""
		}
		return madeSecret(c.ID, kept, secret, replayed), nil
	}
	return nil, err
}

func madeSecret(clientID string, s storage.ClientSecret, secret string, replayed bool) api.CreateClientSecretResponseObject {
	return api.CreateClientSecret201JSONResponse{
		Body:    api.NewClientSecret{ID: s.ID, ClientSecret: secret, CreatedAt: s.CreatedAt},
		Headers: api.CreateClientSecret201ResponseHeaders{IdempotentReplayed: replayed, Location: clientsPath + clientID + "/secrets/" + s.ID},
	}
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
