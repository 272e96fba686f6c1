package oauth

import (
	"context"

	"github.com/ory/fosite"

	"grantd/storage"
)

// machineTarget goes before fosite's client_credentials handler (OAuth 2.1 §4.2)
// and decides what fosite knows nothing of: which Resource the token is for, and
// with which Scopes.
type machineTarget struct{ *OAuth }

func (machineTarget) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (machineTarget) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return isGrant(r, storage.GrantTypeClientCredentials)
}

func (m machineTarget) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	form, client, session := r.GetRequestForm(), clientOf(r), sessionOf(r)
	a, err := readAsked(form["resource"], form.Get("scope"))
	if err != nil {
		return err
	}
	session.resource, session.scopes, err = m.target(ctx, client, a)
	if err != nil {
		return err
	}
	if session.resource.BuiltIn() {
		return invalidTarget("Only people administer this server with a token; a program uses an admin key.")
	}
	session.subject = client.ClientID
	return fosite.ErrUnknownRequest // accompanies: the grant is fosite's
}

func (machineTarget) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return fosite.ErrUnknownRequest
}
