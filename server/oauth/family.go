package oauth

import (
	"context"
	"errors"
	"time"

	"grantd/storage"
)

// beginFamily makes the tokens of a new Family and then, after everything that
// could fail, has redeem write it. what names in an error that which is redeemed.
func (o *OAuth) beginFamily(ctx context.Context, client *storage.Client, session *tokenSession, grantID, what string, redeem func(context.Context, *storage.Family) error) (accessToken string, err error) {
	family := &storage.Family{
		ID: session.familyID, GrantID: grantID, UserID: session.subject, ClientID: client.ID, ResourceID: session.resource.ID,
		Scopes: session.granted(), Generation: storage.FirstGeneration, RotatedAt: session.now, CreatedAt: session.now, ExpiresAt: session.now.Add(familyLifetime(session.resource)),
		SessionID: session.identified.sessionID, AMR: session.amr, AuthenticatedAt: session.authenticatedAt,
		UserAgent: session.userAgent, Address: session.address,
	}
	if accessToken, err = o.makeTokens(client, session); err != nil {
		return "", err
	}
	switch err := redeem(ctx, family); {
	case errors.Is(err, storage.ErrConsumed):
		return "", invalidGrant("The " + what + " was already used.")
	case errors.Is(err, storage.ErrNotFound): // deleted this very moment
		return "", invalidGrant("The approval behind this code has been withdrawn.")
	case err != nil:
		return "", err
	}
	if len(family.Scopes) < len(session.granted()) { // a scope was removed this very moment
		if !session.keep(family.Scopes) {
			return "", invalidGrant("The approval behind this code has been withdrawn.")
		}
		return accessTokens{o}.sign(client, session)
	}
	return accessToken, nil
}

// makeTokens makes the tokens of a new Family. It changes nothing.
func (o *OAuth) makeTokens(client *storage.Client, session *tokenSession) (accessToken string, err error) {
	if client.MayUse(storage.GrantTypeRefreshToken) {
		if session.refresh, err = o.values.refreshToken(session.familyID, storage.FirstGeneration); err != nil {
			return "", err
		}
	}
	return accessTokens{o}.sign(client, session)
}

// endReplayed ends what came of something that was redeemed and is presented
// again with full proof: somebody has a copy (OAuth 2.1 §7.5.3).
func (o *OAuth) endReplayed(ctx context.Context, client *storage.Client, familyID, reason string, now time.Time) error {
	event := storage.NewAuditEvent(now, "client:"+client.ClientID, "family.ended", familyID).With("reason", reason)
	return ignoreNotFound(o.Store.EndFamily(ctx, familyID, event))
}
