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

// maxSecrets is how many secrets of a client may work at once; two are enough for a
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
	way := secretCreation{
		operation: "createClientSecret", action: "client.secret_created", key: request.Params.IdempotencyKey, add: h.store.AddClientSecret,
	}
	if request.Body != nil {
		way.chosen = request.Body.ClientSecret
	}
	return h.makeSecret(ctx, request.ID, way)
}

func (h *handlers) RotateClientSecret(ctx context.Context, request api.RotateClientSecretRequestObject) (api.RotateClientSecretResponseObject, error) {
	overlap := defaultOverlap
	if sent := request.Body.Overlap; sent != nil {
		if overlap = time.Duration(*sent) * time.Second; overlap < 0 || overlap > maxOverlap {
			return nil, faults{{Pointer: "/overlap", Detail: "must be between 0 and 7776000"}}.err()
		}
	}
	made, err := h.makeSecret(ctx, request.ID, secretCreation{
		operation: "rotateClientSecret " + overlap.String(), action: "client.secret_rotated", key: request.Params.IdempotencyKey,
		add: func(ctx context.Context, id string, secret storage.ClientSecret, event storage.AuditEvent) error {
			return h.store.RotateClientSecret(ctx, id, secret, secret.CreatedAt.Add(overlap), event.With("overlap", overlap.String()))
		},
	})
	if err != nil {
		return nil, err
	}
	return api.RotateClientSecret201JSONResponse{Body: made.Body, Headers: api.RotateClientSecret201ResponseHeaders(made.Headers)}, nil
}

// How long the other secrets of a client may go on working after a rotation.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 90 * 24 * time.Hour
)

// secretCreation is one of the ways to make a secret.
type secretCreation struct {
	operation, action, key string
	chosen                 string // "": one is made
	add                    func(ctx context.Context, id string, secret storage.ClientSecret, event storage.AuditEvent) error
}

func (h *handlers) makeSecret(ctx context.Context, clientID string, way secretCreation) (made api.CreateClientSecret201JSONResponse, err error) {
	c, err := h.client(ctx, clientID)
	if err != nil {
		return made, err
	}
	if c.Source != storage.SourceRegistered {
		return made, notRegistered("It has the secrets it was given when it registered, or none.")
	}
	var f faults
	f.chosenSecret("/client_secret", way.chosen)
	if err := f.err(); err != nil {
		return made, err
	}
	id, err := h.idFor(ctx, storage.PrefixClientSecret, way.key, way.operation, []string{c.ID, way.chosen})
	if err != nil {
		return made, err
	}
	secret, kept := newSecret(way.chosen, h.now())
	kept.ID = id
	if there, ok := sameSecret(c, kept); ok {
		return madeSecret(c.ID, there, "", true), nil
	}
	working := 0
	for _, s := range c.Secrets {
		if h.works(s) {
			working++
		}
	}
	if working >= maxSecrets {
		return made, &web.Error{
			Status: http.StatusConflict, Code: "too-many-secrets",
			Message: "The client has ten secrets. Delete one that is no longer used first.",
		}
	}
	err = way.add(ctx, c.ID, kept, h.event(ctx, way.action, c.ID).With("secret_id", kept.ID))
	if errors.Is(err, storage.ErrExists) { // the same request was faster, or one with the same secret
		if c, err = h.client(ctx, c.ID); err != nil {
			return made, err
		}
		if there, ok := sameSecret(c, kept); ok {
			return madeSecret(c.ID, there, "", true), nil
		}
		return made, storage.ErrConflict // added and deleted in between
	}
	if err != nil {
		return made, err
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

func madeSecret(clientID string, s storage.ClientSecret, secret string, replayed bool) api.CreateClientSecret201JSONResponse {
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

// works reports whether a secret works now.
func (h *handlers) works(s storage.ClientSecret) bool {
	return s.ExpiresAt.IsZero() || h.now().Before(s.ExpiresAt)
}

// hasSecret reports whether the client has a secret that works now.
func (h *handlers) hasSecret(c *storage.Client) bool { return slices.ContainsFunc(c.Secrets, h.works) }

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
