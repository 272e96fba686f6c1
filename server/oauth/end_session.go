package oauth

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"grantd/server/consent"
	"grantd/server/web"
	"grantd/storage"
)

// EndSession is what a client asks that sends a person to sign out (OpenID Connect
// RP-Initiated Logout §2).
type EndSession struct {
	// Knows reports whether its ID token is of this Session. Nil: it has none.
	Knows  func(sessionID string) bool
	Target string // where it wants the person back; empty: nowhere
	Host   string // of Target
	// Automatic: an administrator registered the client, so that the browser may go
	// there by itself.
	Automatic bool
}

// EndSession reads the parameters of the logout endpoint. What is wrong with them
// counts as not sent: the person can be asked, and stays here. Errors are outages.
func (o *OAuth) EndSession(ctx context.Context, rawQuery string) (EndSession, error) {
	parameters, err := web.ParseParameters(rawQuery)
	if err != nil || len(parameters.Repeated) > 0 {
		return EndSession{}, nil //nolint:nilerr // a damaged link asks nothing
	}
	clientID := parameters.Get("client_id")
	hint, hinted := o.hint(parameters.Get("id_token_hint"))
	switch {
	case hinted && clientID != "" && clientID != hint.Audience:
		return EndSession{}, nil
	case hinted:
		clientID = hint.Audience
	case clientID == "":
		return EndSession{}, nil
	}
	client, err := o.Catalog.Client(ctx, clientID)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled) {
		return EndSession{}, nil
	} else if err != nil {
		return EndSession{}, err
	}
	var asked EndSession
	if hint.SessionID != "" {
		asked.Knows = func(sessionID string) bool { return sidOf(client, sessionID) == hint.SessionID }
	}
	target, state := parameters.Get("post_logout_redirect_uri"), parameters.Get("state")
	if client.MatchPostLogoutRedirectURI(target) && len(state) <= maxState {
		asked.Host, asked.Automatic = consent.RedirectHost(target), !client.SelfAsserted()
		asked.Target = target
		if state != "" {
			asked.Target = withQuery(target, url.Values{"state": {state}})
		}
	}
	return asked, nil
}

// withQuery adds parameters to a registered address.
func withQuery(uri string, values url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + strings.ReplaceAll(values.Encode(), "+", "%20")
}
