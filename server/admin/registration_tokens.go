package admin

import (
	"context"
	"time"

	"grantd/api"
	"grantd/storage"
)

const registrationTokensPath = "/admin/v1/registration-tokens/"

// The bounds of a registration token. It always has an end and a number of uses, so
// that a leaked one cannot fill the database.
const (
	maxTokenUses         = 10_000
	minTokenLifetime     = time.Minute
	maxTokenLifetime     = 365 * 24 * time.Hour
	defaultTokenLifetime = 30 * 24 * time.Hour
)

func (h *handlers) ListRegistrationTokens(ctx context.Context, request api.ListRegistrationTokensRequestObject) (api.ListRegistrationTokensResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, storage.PrefixInitialAccessToken)
	if err != nil {
		return nil, err
	}
	tokens, err := h.store.InitialAccessTokens(ctx, page)
	if err != nil {
		return nil, err
	}
	items, next := cut(tokens, page, func(t *storage.InitialAccessToken) string { return t.ID }, showRegistrationToken)
	return api.ListRegistrationTokens200JSONResponse{Items: items, NextCursor: next}, nil
}

func (h *handlers) CreateRegistrationToken(ctx context.Context, request api.CreateRegistrationTokenRequestObject) (api.CreateRegistrationTokenResponseObject, error) {
	fields := *request.Body
	uses := 1
	var f faults
	if fields.Name == "" {
		f.add("/name", "must say whom the token is for")
	}
	f.text("/name", fields.Name, storage.MaxText)
	if fields.MaxUses != nil {
		if uses = *fields.MaxUses; uses < 1 || uses > maxTokenUses {
			f.add("/max_uses", "must be between 1 and 10000")
		}
	}
	lifetime := f.lifetime("/expires_in", fields.ExpiresIn, defaultTokenLifetime, minTokenLifetime, maxTokenLifetime)
	if err := f.err(); err != nil {
		return nil, err
	}
	key := request.Params.IdempotencyKey
	id, err := h.idFor(ctx, storage.PrefixInitialAccessToken, key, "createRegistrationToken", request.Body)
	if err != nil {
		return nil, err
	}
	token, hash := storage.NewSecret(storage.SecretPrefixInitialAccess)
	now := h.now()
	t := &storage.InitialAccessToken{
		ID: id, Hash: hash, Name: fields.Name,
		MaxUses: uses, CreatedAt: now, ExpiresAt: now.Add(lifetime),
	}
	event, _, err := withChanges(h.event(ctx, "registration_token.created", t.ID), api.RegistrationToken{}, showRegistrationToken(t), "id", "created_at", "uses")
	if err != nil {
		return nil, err
	}
	made, replayed, err := once(key, func() (*storage.InitialAccessToken, error) { return h.store.InitialAccessToken(ctx, id) },
		func() (*storage.InitialAccessToken, error) { return t, h.store.CreateInitialAccessToken(ctx, t, event) })
	if err != nil {
		return nil, err
	}
	if replayed {
		token = "" // it was shown
	}
	shown := showRegistrationToken(made)
	return api.CreateRegistrationToken201JSONResponse{
		Body: api.NewRegistrationToken{
			ID: id, Token: token, Name: shown.Name, MaxUses: shown.MaxUses, Uses: shown.Uses, CreatedAt: shown.CreatedAt, ExpiresAt: shown.ExpiresAt,
		},
		Headers: api.CreateRegistrationToken201ResponseHeaders{IdempotentReplayed: replayed, Location: registrationTokensPath + id},
	}, nil
}

func (h *handlers) DeleteRegistrationToken(ctx context.Context, request api.DeleteRegistrationTokenRequestObject) (api.DeleteRegistrationTokenResponseObject, error) {
	if err := checkID(storage.PrefixInitialAccessToken, request.ID); err != nil {
		return nil, err
	}
	if err := h.store.DeleteInitialAccessToken(ctx, request.ID, h.event(ctx, "registration_token.deleted", request.ID)); err != nil {
		return nil, err
	}
	return api.DeleteRegistrationToken204Response{}, nil
}

func showRegistrationToken(t *storage.InitialAccessToken) api.RegistrationToken {
	return api.RegistrationToken{
		ID: t.ID, Name: t.Name, MaxUses: t.MaxUses, Uses: t.Uses,
		CreatedAt: t.CreatedAt.UTC(), ExpiresAt: t.ExpiresAt.UTC(), LastUsedAt: optionalTime(t.LastUsedAt),
	}
}
