package admin

import (
	"context"
	"crypto/subtle"
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
		items[i] = api.ClientSecret{ID: s.ID, Fingerprint: storage.Fingerprint(s.Hash), CreatedAt: s.CreatedAt.UTC(), ExpiresAt: optionalTime(s.ExpiresAt)}
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
	var chosen string
	if request.Body != nil {
		chosen = request.Body.ClientSecret
	}
	var f faults
	f.chosenSecret("/client_secret", chosen)
	if err := f.err(); err != nil {
		return nil, err
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixClientSecret, key, "createClientSecret", []string{c.ID, chosen})
	if err != nil {
		return nil, err
	}
	secret, kept := newSecret(chosen, h.now())
	kept.ID = id
	if there, ok := sameSecret(c, kept); ok {
		return madeSecret(c.ID, there, "", true), nil
	}
	if len(c.Secrets) >= maxSecrets {
		return nil, &web.Error{
			Status: http.StatusConflict, Code: "too-many-secrets",
			Message: "The client has ten secrets. Delete one that is no longer used first.",
		}
	}
	event := h.event(ctx, "client.secret_created", c.ID).With("secret_id", kept.ID)
	err = h.store.AddClientSecret(ctx, c.ID, kept, event)
	if errors.Is(err, storage.ErrExists) { // the same request was faster, or one with the same secret
		if c, err = h.client(ctx, c.ID); err != nil {
			return nil, err
		}
		if there, ok := sameSecret(c, kept); ok {
			return madeSecret(c.ID, there, "", true), nil
		}
		return nil, storage.ErrConflict // added and deleted in between
	}
	if err != nil {
		return nil, err
	}
	return madeSecret(c.ID, kept, secret, false), nil
}

// sameSecret finds among the client's secrets the one that kept would add again.
// Whoever learns from it that a client has a secret knew all of that secret, which is
// too long to be guessed.
func sameSecret(c *storage.Client, kept storage.ClientSecret) (storage.ClientSecret, bool) {
	for _, s := range c.Secrets {
		if s.ID == kept.ID || subtle.ConstantTimeCompare(s.Hash, kept.Hash) == 1 {
			return s, true
		}
	}
	return storage.ClientSecret{}, false
}

func madeSecret(clientID string, s storage.ClientSecret, secret string, replayed bool) api.CreateClientSecretResponseObject {
	return api.CreateClientSecret201JSONResponse{
		Body:    api.NewClientSecret{ID: s.ID, ClientSecret: secret, Fingerprint: storage.Fingerprint(s.Hash), CreatedAt: s.CreatedAt.UTC()},
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

// newSecret returns what is kept of a secret. If none was chosen it makes one, which
// it returns to be shown.
func newSecret(chosen string, now time.Time) (shown string, kept storage.ClientSecret) {
	hash := storage.HashSecret(chosen)
	if chosen == "" {
		shown, hash = storage.NewSecret(storage.SecretPrefixClient)
	}
	return shown, storage.ClientSecret{ID: storage.NewID(storage.PrefixClientSecret), Hash: hash, CreatedAt: now}
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
