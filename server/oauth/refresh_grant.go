package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"grantd/storage"
)

// refreshGrant rotates refresh tokens (OAuth 2.1 §4.3.1).
//
// It stands in for fosite's handler, which stores a row for every token, ignores
// scope and resource, and signs everybody out when two processes of one client
// refresh at once. Here a token names its family and a generation; rotating moves
// the one row on, in place. The generation before, presented again within
// storage.RefreshGrace by a client that lost the answer, gets the same successor
// again; anything older has been stolen and ends the family.
type refreshGrant struct{ *OAuth }

func (*refreshGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (*refreshGrant) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return isGrant(r, storage.GrantTypeRefreshToken)
}

// HandleTokenEndpointRequest makes every check and changes nothing, except that
// a reused token ends its family, and that the usual refresh is checked and done in
// one statement. What comes after that, the signature, fails for no reason that a
// caller could give; the token presented is then answered again.
func (g *refreshGrant) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	form, client, session := r.GetRequestForm(), clientOf(r), sessionOf(r)
	if form.Get("refresh_token") == "" {
		return invalidRequest("The refresh_token parameter is missing.")
	}
	a, err := readAsked(form["resource"], form.Get("scope"))
	if err != nil {
		return err
	}
	familyID, presented, err := g.values.readRefreshToken(form.Get("refresh_token"))
	if errors.Is(err, errNotOurs) {
		return invalidGrant("This is not a refresh token of this server.")
	} else if err != nil {
		return err
	}
	if client.DocumentLapsed(session.now) {
		return invalidGrant("The client's metadata document could not be read for a week; the person must approve it again.")
	}
	rotation := storage.Rotation{FamilyID: familyID, Presented: presented, Request: rotationRequest(a), Now: session.now}
	rotation.Behind = storage.NewAuditEvent(session.now, "client:"+client.ClientID, "family.moved_forward", familyID).
		With("reason", "the refresh token is newer than the database")
	usual, rules, err := g.renewal(ctx, client, a, rotation)
	if err != nil {
		return err
	}
	family, standing, renewed, err := g.look(ctx, familyID, usual)
	if errors.Is(err, storage.ErrNotFound) {
		return invalidGrant("The refresh token has been revoked.")
	} else if err != nil {
		return err
	}
	if family.ClientID != client.ID {
		// Whoever holds the token may repeat this for ever.
		if g.noted.Take(family.ID) == 0 {
			event := storage.NewAuditEvent(session.now, "client:"+client.ClientID, "family.presented_by_another_client", family.ID)
			if err := g.Store.RecordAuditEvent(ctx, event); err != nil {
				return err
			}
		}
		return invalidGrant("The refresh token was issued to another client.")
	}
	if family.Unverified(session.now) {
		return invalidGrant("The person must sign in with their organisation's identity provider again.")
	}
	if family.Expired(session.now) {
		return invalidGrant("The refresh token has expired.")
	}
	switch {
	case renewed: // and so it was the client's, and live
	case presented >= family.Generation:
		session.rotation = &rotation
	case presented == family.Generation-1 && session.now.Sub(family.RotatedAt) <= storage.RefreshGrace:
		if !slices.Equal(rotation.Request, family.RotationRequest) {
			return invalidGrant("The refresh token was already used, for another request.")
		}
	default:
		return g.reused(ctx, family, client, session)
	}
	resource, err := g.resourceByID(ctx, family.ResourceID)
	if errors.Is(err, storage.ErrNotFound) {
		return invalidGrant("The resource of this refresh token is gone.")
	} else if err != nil {
		return err
	}
	if !renewed {
		if rules, err = g.rules(ctx, client, resource); err != nil {
			return err
		}
	}
	return g.narrow(session, rules, family, standing, a, presented)
}

// renewal is the refresh of a family that is as the request lets expect: then it
// is judged, by the rules, and moved on in one act. Nil: the request does not say
// enough, or asks for what no family could give.
func (g *refreshGrant) renewal(ctx context.Context, client *storage.Client, a asked, rotation storage.Rotation) (*storage.Renewal, rules, error) {
	f, err := g.foretell(ctx, client, a)
	if err != nil || f == nil {
		return nil, rules{}, err
	}
	return &storage.Renewal{
		Rotation: rotation, ClientID: client.ID, ResourceID: f.question.Resource.ID, Guessed: len(a.resources) == 0,
		Asked: a.scopes, Allowed: f.everybody, AllowedTo: f.members,
	}, f.rules, nil
}

// look reads the family and, in the usual case, renews it.
func (g *refreshGrant) look(ctx context.Context, familyID string, usual *storage.Renewal) (family *storage.Family, standing storage.Standing, renewed bool, err error) {
	if usual != nil {
		return g.Store.RenewFamily(ctx, *usual)
	}
	family, standing, err = g.Store.Family(ctx, familyID)
	return family, standing, false, err
}

// narrow works out the scopes of the new access token: asked ∩ family ∩ Grant ∩
// what resource, client and policies allow now. The family keeps its own, so that
// somebody who is back in a group has them again.
func (g *refreshGrant) narrow(session *tokenSession, rules rules, family *storage.Family, standing storage.Standing, a asked, presented int64) (err error) {
	client, resource := rules.question.Client, rules.question.Resource
	if len(a.resources) == 1 && !resource.Names(a.resources[0]) {
		return invalidTarget("The refresh token is for another resource.")
	}
	for _, scope := range a.scopes {
		if !slices.Contains(family.Scopes, scope) {
			return invalidScope("A refresh cannot ask for more than was granted.")
		}
	}
	scopes := rules.allowed(family.Scopes, standing)
	if len(scopes) == 0 || !client.MayReach(resource) {
		return invalidGrant("The approval behind this refresh token has been withdrawn, or the policy no longer allows it.")
	}
	if len(a.scopes) > 0 {
		if scopes = storage.Intersect(scopes, a.scopes); len(scopes) == 0 {
			return invalidScope("None of the scopes asked for is granted any more.")
		}
	}
	session.refresh, err = g.values.refreshToken(family.ID, presented+1)
	session.resource, session.scopes, session.subject, session.familyID = resource, scopes, family.UserID, family.ID
	session.amr, session.authenticatedAt = family.AMR, family.AuthenticatedAt
	// The nonce was the authorization request's (OpenID Connect Core §12.2).
	session.identified = identified{
		scopes: identityNow(client, family.Scopes, standing), person: standing.Person, sessionID: family.SessionID,
	}
	if len(a.scopes) > 0 {
		session.keep(a.scopes)
	}
	return err
}

// reused ends the family of a token that was used before: somebody has a copy
// (OAuth 2.1 §4.3.1).
func (g *refreshGrant) reused(ctx context.Context, family *storage.Family, client *storage.Client, session *tokenSession) error {
	event := storage.NewAuditEvent(session.now, "client:"+client.ClientID, "family.ended", family.ID).
		With("reason", "refresh token reused").With(storage.DetailUser, family.UserID)
	if err := g.Store.EndFamily(ctx, family.ID, event); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return invalidGrant("The refresh token was used before; this sign-in has been ended.")
}

// PopulateTokenEndpointResponse moves the family on, after everything that could
// fail.
func (g *refreshGrant) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	client, session := clientOf(r), sessionOf(r)
	token, err := accessTokens{g.OAuth}.sign(client, session)
	if err != nil {
		return err
	}
	if session.rotation != nil {
		switch err := g.Store.RotateFamily(ctx, *session.rotation); {
		case errors.Is(err, storage.ErrNotFound):
			return invalidGrant("The refresh token has been revoked.")
		case errors.Is(err, storage.ErrConsumed):
			return invalidGrant("The refresh token was already used.")
		case err != nil:
			return err
		}
	}
	response.SetAccessToken(token)
	return nil
}

// rotationRequest is a digest of what a refresh asks for.
func rotationRequest(a asked) []byte {
	scopes := slices.Sorted(slices.Values(a.scopes))
	sum := sha256.Sum256([]byte(strings.Join(scopes, " ") + "\n" + strings.Join(a.resources, " ")))
	return sum[:]
}
