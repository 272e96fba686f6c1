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
	uses, lifetime := 1, defaultTokenLifetime
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
	if fields.ExpiresIn != nil {
		seconds := *fields.ExpiresIn
		if lifetime = time.Duration(min(max(seconds, 0), 1<<30)) * time.Second; lifetime < minTokenLifetime || lifetime > maxTokenLifetime {
			f.add("/expires_in", "must be between 60 and 31536000 seconds")
		}
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	token, hash := storage.NewSecret(storage.SecretPrefixInitialAccess)
	now := h.now()
	t := &storage.InitialAccessToken{
		ID: storage.NewID(storage.PrefixInitialAccessToken), Hash: hash, Name: fields.Name,
		MaxUses: uses, CreatedAt: now, ExpiresAt: now.Add(lifetime),
	}
	shown := showRegistrationToken(t)
	event, _, err := withChanges(h.event(ctx, "registration_token.created", t.ID), api.RegistrationToken{}, shown, "id", "created_at", "uses")
	if err != nil {
		return nil, err
	}
	if err := h.store.CreateInitialAccessToken(ctx, t, event); err != nil {
		return nil, err
	}
	return api.CreateRegistrationToken201JSONResponse{
		Body: api.NewRegistrationToken{
			ID: t.ID, Token: token, Name: shown.Name, MaxUses: shown.MaxUses, Uses: shown.Uses, CreatedAt: shown.CreatedAt, ExpiresAt: shown.ExpiresAt,
		},
		Headers: api.CreateRegistrationToken201ResponseHeaders{Location: registrationTokensPath + t.ID},
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
