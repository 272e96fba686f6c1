package admin

import (
	"context"
	"errors"
	"net/http"

	"grantd/api"
	"grantd/server/leaked"
	"grantd/server/web"
	"grantd/storage"
)

// maxTokenValue bounds a value, in bytes. No token is as long.
const maxTokenValue = 16 << 10

func (h *handlers) InspectToken(ctx context.Context, request api.InspectTokenRequestObject) (api.InspectTokenResponseObject, error) {
	value := request.Body.Value
	if err := checkTokenValue(value); err != nil {
		return nil, err
	}
	v, err := h.tokens.InspectValue(ctx, value)
	if err != nil {
		return nil, notOurs(err)
	}
	return api.InspectToken200JSONResponse(showValue(v)), nil
}

func (h *handlers) RevokeToken(ctx context.Context, request api.RevokeTokenRequestObject) (api.RevokeTokenResponseObject, error) {
	value := request.Body.Value
	if err := checkTokenValue(value); err != nil {
		return nil, err
	}
	v, err := h.tokens.RevokeValue(ctx, value, h.event(ctx, "", ""))
	if err != nil {
		return nil, notOurs(err)
	}
	return api.RevokeToken200JSONResponse(showValue(v)), nil
}

func checkTokenValue(value string) error {
	switch {
	case value == "":
		return faults{{Pointer: "/value", Detail: "must not be empty"}}.err()
	case len(value) > maxTokenValue:
		return faults{{Pointer: "/value", Detail: "must have at most 16384 characters"}}.err()
	}
	return nil
}

// notOurs gives storage.ErrNotFound a sentence of its own.
func notOurs(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return &web.Error{
			Status: http.StatusNotFound, Code: "not-ours", Err: err,
			Message: "This is not a token, code, client secret, admin key or jti of this server, or it was signed by a key that has been revoked.",
		}
	}
	return err
}

func showValue(v *leaked.Value) api.TokenInspection {
	shown := api.TokenInspection{
		Kind: string(v.Kind), Live: v.Live(), Reason: string(v.Reason), TokenID: v.TokenID, UserID: v.UserID, ClientID: v.ClientID,
		Resource: v.Resource, Scopes: v.Scopes, FamilyID: v.FamilyID, LastUsedAt: optionalTime(v.LastUsedAt), SecretID: v.SecretID, AdminKeyID: v.AdminKeyID,
		IssuedAt: optionalTime(v.IssuedAt), ExpiresAt: optionalTime(v.ExpiresAt),
	}
	if v.FamilyID != "" {
		shown.FamilyLive = &v.FamilyLive
	}
	return shown
}
