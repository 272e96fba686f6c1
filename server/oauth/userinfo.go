package oauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
)

// userInfo is the answer of the userinfo endpoint.
type userInfo struct {
	Subject string `json:"sub"`
	personClaims
}

// UserInfo serves GET and POST /userinfo (OpenID Connect Core §5.3): who the person is
// that an access token for it was made for, as they are now. A token for an MCP
// server is none.
func (o *OAuth) UserInfo(w http.ResponseWriter, r *http.Request) error {
	token, err := o.bearerToken(w, r)
	if err != nil {
		return err
	}
	ctx, now := r.Context(), o.Now()
	refused := &web.OAuthError{
		Status: http.StatusUnauthorized, Code: "invalid_token", Bearer: true,
		Description: "The access token is not one for this endpoint, has expired or was revoked.",
	}
	c, err := o.readAccessToken(token)
	if errors.Is(err, keys.ErrToken) {
		return refused
	} else if err != nil {
		return err
	}
	if c.Audience != o.identity.URI || c.FamilyID == "" || !now.Before(c.expiresAt()) || now.Unix() < c.IssuedAt-clockLeeway {
		return refused
	}
	client, err := o.Catalog.Client(ctx, c.ClientID)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled) {
		return refused
	} else if err != nil {
		return err
	}
	live, standing, err := o.Store.AccessTokenLive(ctx, c.TokenID, c.FamilyID, now)
	if err != nil {
		return err
	}
	scopes := identityNow(client, strings.Fields(c.Scope), standing)
	if !live || !slices.Contains(scopes, storage.ScopeOpenID) {
		return refused
	}
	web.WriteJSON(w, http.StatusOK, userInfo{Subject: c.Subject, personClaims: tell(scopes, standing.Person)})
	return nil
}

// bearerToken returns the access token of a request: in the Authorization header, or
// in the form of a POST (RFC 6750 §2.1 and §2.2), never in the URL.
func (o *OAuth) bearerToken(w http.ResponseWriter, r *http.Request) (string, error) {
	var sent []string
	for _, header := range r.Header.Values("Authorization") {
		if scheme, token, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Bearer") {
			sent = append(sent, strings.TrimSpace(token))
		}
	}
	if form, err := web.ReadForm(r); r.Method == http.MethodPost && err == nil {
		if slices.Contains(form.Repeated, "access_token") {
			return "", invalidRequest("The access token is sent more than once.")
		}
		if form.Has("access_token") {
			sent = append(sent, form.Get("access_token"))
		}
	}
	switch len(sent) {
	case 0:
		// Who sent nothing is only told how (RFC 6750 §3.1).
		w.Header().Set("WWW-Authenticate", "Bearer realm=\""+o.Issuer.String()+"\"")
		return "", &web.OAuthError{Status: http.StatusUnauthorized, Code: "invalid_token", Description: "Send the access token in the Authorization header."}
	case 1:
		return sent[0], nil
	}
	return "", invalidRequest("The access token is sent more than once.")
}
