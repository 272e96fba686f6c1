package oauth

import (
	"errors"
	"net/http"

	"github.com/ory/fosite"

	"grantd/server/web"
)

// descriptions are the fixed texts for errors that fosite raised: its own carry
// hints that may repeat input.
var descriptions = map[string]string{
	"invalid_request":     "The request is malformed.",
	"invalid_grant":       "The grant is invalid, expired, or was issued to another client.",
	"invalid_scope":       "The scope is not allowed.",
	"unauthorized_client": "The client may not use this grant type.",
}

// oauthError turns an error that came out of fosite's pipeline into ours. An
// outage wins over whatever fosite made of it.
func oauthError(err error) error {
	var ours *web.OAuthError
	if errors.As(err, &ours) || web.Unavailable(err) {
		return err
	}
	var theirs *fosite.RFC6749Error
	if errors.As(err, &theirs) {
		if description, ok := descriptions[theirs.ErrorField]; ok {
			return &web.OAuthError{Status: http.StatusBadRequest, Code: theirs.ErrorField, Description: description, Err: err}
		}
	}
	return err
}

func invalidRequest(description string) error {
	return web.NewOAuthError("invalid_request", description)
}

func invalidGrant(description string) error { return web.NewOAuthError("invalid_grant", description) }

func invalidScope(description string) error { return web.NewOAuthError("invalid_scope", description) }

func invalidTarget(description string) error { return web.NewOAuthError("invalid_target", description) }
