package oauth

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"grantd/server/web"
	"grantd/storage"
)

var grantTypes = []string{storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken, storage.GrantTypeClientCredentials, storage.GrantTypeDeviceCode}

// Token serves POST /token (OAuth 2.1 §3.2).
func (o *OAuth) Token(w http.ResponseWriter, r *http.Request) error {
	form, err := o.readForm(r, "resource")
	if err != nil {
		return err
	}
	switch grantType := form.Get("grant_type"); {
	case grantType == "":
		return invalidRequest("The grant_type parameter is missing.")
	case !slices.Contains(grantTypes, grantType):
		return web.NewOAuthError("unsupported_grant_type", "This server supports authorization_code, refresh_token, client_credentials and device_code.")
	}
	// fosite reads the form from the request: it gets the one we have checked.
	r.Form, r.PostForm = form.Values, form.Values
	ctx := r.Context()
	request, err := o.engine.NewAccessRequest(ctx, r, &tokenSession{now: o.Now(), userAgent: web.UserAgent(r), address: o.ClientAuth.Addresses.Of(r).String()})
	if err != nil {
		return oauthError(err)
	}
	response, err := o.engine.NewAccessResponse(ctx, request)
	if err != nil {
		return oauthError(err)
	}
	o.Issued(clientOf(request), form.Get("grant_type"))
	web.WriteJSON(w, http.StatusOK, response.ToMap())
	return nil
}

// readForm reads the body of a POST to an OAuth endpoint strictly (OAuth 2.1
// §3.2.2): the right content type, no parameter twice, no secret in the URL.
func (o *OAuth) readForm(r *http.Request, repeatable ...string) (web.Parameters, error) {
	if query, err := url.ParseQuery(r.URL.RawQuery); err == nil && (query.Has("client_secret") || query.Has("client_assertion")) {
		o.auditSecretInURL(r, query.Get("client_id"))
		return web.Parameters{}, invalidRequest("Credentials must not be in the URL, where logs keep them. Replace this secret.")
	}
	form, err := web.ReadForm(r, repeatable...)
	if err != nil {
		return web.Parameters{}, web.OAuthFormError(err)
	}
	if len(form.Repeated) > 0 {
		return web.Parameters{}, invalidRequest("A parameter is sent more than once.")
	}
	return form, nil
}

// auditSecretInURL tells the administrator that what may be a known client's secret
// has been where proxies and histories keep it. Nobody has proved anything, so it is
// no act of the client's, and it is written down only so often.
func (o *OAuth) auditSecretInURL(r *http.Request, clientID string) {
	const key = "secret in URL"
	if o.noted.Take(key) > 0 {
		return
	}
	client, err := o.Catalog.Client(r.Context(), clientID)
	if err != nil {
		return
	}
	event := storage.NewAuditEvent(o.Now(), "system", "client.secret_in_url", client.ID)
	if err := o.Store.RecordAuditEvent(r.Context(), event); err != nil {
		slog.ErrorContext(r.Context(), "an audit event could not be written", "action", event.Action, "error", err.Error())
	}
}
