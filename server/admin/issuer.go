package admin

import (
	"context"

	"grantd/api"
)

func (h *handlers) GetServer(context.Context, api.GetServerRequestObject) (api.GetServerResponseObject, error) {
	return api.GetServer200JSONResponse{Issuer: h.issuer}, nil
}
