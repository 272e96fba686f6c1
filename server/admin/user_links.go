package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"grantd/api"
	"grantd/server/web"
	"grantd/storage"
)

// How long a link is good for: by its purpose, and at least and at most.
const (
	invitationLifetime = 7 * 24 * time.Hour
	resetLifetime      = 24 * time.Hour
	minLinkLifetime    = time.Minute
	maxLinkLifetime    = 30 * 24 * time.Hour
)

func (h *handlers) CreateUserLink(ctx context.Context, request api.CreateUserLinkRequestObject) (api.CreateUserLinkResponseObject, error) {
	u, err := h.user(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	fields := *request.Body
	lifetime, f := linkLifetime(fields)
	if fields.Mail && u.Email == "" {
		f.add("/mail", "cannot be: the user has no email address")
	}
	if fields.Mail && h.mail == nil {
		f.add("/mail", "cannot be: the server is started without --smtp-url")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	if u.Disabled {
		return nil, &web.Error{Status: http.StatusConflict, Code: "user-disabled", Message: "The user is disabled: no link would work. Enable the user first."}
	}
	token, hash := storage.NewSecret(storage.SecretPrefixUserLink)
	now := h.now()
	link := &storage.UserLink{
		ID: storage.NewID(storage.PrefixUserLink), TokenHash: hash, Purpose: storage.UserLinkPurpose(fields.Purpose), UserID: u.ID,
		CreatedAt: now, ExpiresAt: now.Add(lifetime),
	}
	event := h.event(ctx, "user_link.created", u.ID).With("purpose", fields.Purpose).With("link_id", link.ID).
		With("expires_at", link.ExpiresAt.Format(time.RFC3339))
	if err := h.store.CreateUserLink(ctx, link, event); errors.Is(err, storage.ErrConflict) {
		return nil, &web.Error{
			Status: http.StatusConflict, Code: "provider-user", Err: err,
			Message: "The user signs in with an identity provider and has no password here.",
		}
	} else if err != nil {
		return nil, err
	}
	shown := api.UserLink{ID: link.ID, UserID: u.ID, Purpose: fields.Purpose, CreatedAt: link.CreatedAt.UTC(), ExpiresAt: link.ExpiresAt.UTC()}
	if !fields.Mail {
		shown.URL = h.linkURL(token)
	} else if err := h.mail(ctx, u, link, h.linkURL(token)); err != nil {
		return nil, &web.Error{
			Status: http.StatusBadGateway, Code: "mail-not-sent", Err: err,
			Message: "The mail server did not take the mail, so nobody has the link. Repeat, or have the link shown; the log says why.",
		}
	} else {
		shown.MailedTo = u.Email
	}
	return api.CreateUserLink201JSONResponse{
		Body: shown, Headers: api.CreateUserLink201ResponseHeaders{Location: usersPath + u.ID + "/links"},
	}, nil
}

// linkLifetime is how long the link is to be good for, and what is wrong.
func linkLifetime(fields api.UserLinkFields) (lifetime time.Duration, f faults) {
	f.oneOf("/purpose", fields.Purpose, string(storage.LinkInvitation), string(storage.LinkPasswordReset))
	if lifetime = resetLifetime; fields.Purpose == string(storage.LinkInvitation) {
		lifetime = invitationLifetime
	}
	if fields.ExpiresIn != nil {
		seconds := *fields.ExpiresIn
		lifetime = time.Duration(min(max(seconds, 0), 1<<30)) * time.Second
		if lifetime < minLinkLifetime || lifetime > maxLinkLifetime {
			f.add("/expires_in", "must be between 60 and 2592000 seconds")
		}
	}
	return lifetime, f
}

func (h *handlers) DeleteUserLinks(ctx context.Context, request api.DeleteUserLinksRequestObject) (api.DeleteUserLinksResponseObject, error) {
	u, err := h.user(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	err = h.store.DeleteUserLink(ctx, u.ID, h.event(ctx, "user_link.deleted", u.ID))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	return api.DeleteUserLinks204Response{}, nil
}
