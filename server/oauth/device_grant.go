package oauth

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"

	"grantd/server/web"
	"grantd/storage"
)

const (
	// samePoll is within what time two polls are taken for one that was sent twice.
	samePoll = time.Second
	// pollSlack is how much too early a poll may come: clients round.
	pollSlack = time.Second
)

// deviceGrant answers a device that polls (RFC 8628 §3.4 and §3.5). fosite has no
// handler for it.
type deviceGrant struct{ *OAuth }

func (*deviceGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (*deviceGrant) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return isGrant(r, storage.GrantTypeDeviceCode)
}

// HandleTokenEndpointRequest makes every check and changes nothing, except that a
// poll while a person has not decided is noted, and a replay ends the family.
func (g *deviceGrant) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	form, client, session := r.GetRequestForm(), clientOf(r), sessionOf(r)
	if form.Get("device_code") == "" {
		return invalidRequest("The device_code parameter is missing.")
	}
	a, err := readAsked(form["resource"], "") // a scope here never widens anything
	if err != nil {
		return err
	}
	id, err := g.values.readDeviceCode(form.Get("device_code"))
	if errors.Is(err, errNotOurs) {
		return invalidGrant("This is not a device code of this server.")
	} else if err != nil {
		return err
	}
	d, standing, err := g.Store.DeviceAuthorization(ctx, id)
	if errors.Is(err, storage.ErrNotFound) { // it is ours, so it was swept
		return expiredToken()
	} else if err != nil {
		return err
	}
	if d.ClientID != client.ID {
		return invalidGrant("The device code was issued to another client.")
	}
	resource, err := g.resourceByID(ctx, d.ResourceID)
	if errors.Is(err, storage.ErrNotFound) {
		return invalidGrant("The resource of this device code is gone.")
	} else if err != nil {
		return err
	}
	if len(a.resources) == 1 && !resource.Names(a.resources[0]) {
		return invalidTarget("The device code was issued for another resource.")
	}
	scopes, err := g.allowedNow(ctx, client, resource, d.Scopes, standing)
	if err != nil {
		return err
	}
	switch {
	case d.State == storage.DeviceRedeemed:
		return g.replayed(ctx, d, client, session.now)
	case !session.now.Before(d.ExpiresAt):
		return expiredToken()
	case d.State == storage.DeviceDenied:
		return web.NewOAuthError("access_denied", "The person denied the request.")
	case d.State == storage.DevicePending:
		return g.wait(ctx, d, session.now)
	case d.GrantID == "" || len(scopes) == 0 || !client.MayReach(resource):
		return invalidGrant("The approval behind this device code has been withdrawn, or the policy no longer allows it.")
	}
	session.device, session.resource, session.scopes = d, resource, scopes
	session.subject, session.familyID = d.UserID, d.FamilyID()
	session.amr, session.authenticatedAt = d.AMR, d.AuthenticatedAt
	// No session of a browser is the device's, so there is no sid.
	session.identified = identified{scopes: identityNow(client, d.Scopes, standing), person: standing.Person}
	return nil
}

// wait tells a device that nobody has decided yet, and one that asks too often to
// ask less often. The interval and the last poll are in the row, so that all
// replicas say the same; a flood of polls is not written.
func (g *deviceGrant) wait(ctx context.Context, d *storage.DeviceAuthorization, now time.Time) error {
	slowDown := web.NewOAuthError("slow_down", "The request is still pending, and polled too often: wait 5 seconds longer between polls.")
	since, interval := now.Sub(d.PolledAt), d.PollInterval
	early := !d.PolledAt.IsZero() && since < interval-pollSlack
	if early {
		if since < samePoll {
			return slowDown
		}
		interval = min(interval+storage.DevicePollInterval, storage.MaxDevicePollInterval)
	}
	err := g.Store.PollDeviceAuthorization(ctx, storage.DevicePoll{ID: d.ID, PolledAt: d.PolledAt, PollInterval: interval, Now: now})
	switch {
	case errors.Is(err, storage.ErrConsumed) || (err == nil && early): // consumed: another poll came with this one
		return slowDown
	case err != nil:
		return err
	}
	return web.NewOAuthError("authorization_pending", "Nobody has approved the request yet.")
}

// replayed answers a redeemed code that comes again. Of a device code and its
// client's authentication there is nothing more to prove. A device that lost a
// race for its code to a thief polls again within its interval, so the time in
// which a replay is forgiven is shorter than for authorization codes.
func (g *deviceGrant) replayed(ctx context.Context, d *storage.DeviceAuthorization, client *storage.Client, now time.Time) error {
	if now.Sub(d.RedeemedAt) > samePoll {
		if err := g.endReplayed(ctx, client, d.FamilyID(), "device code replayed", now); err != nil {
			return err
		}
	}
	return invalidGrant("The device code was already used.")
}

// PopulateTokenEndpointResponse redeems the code and makes its family in one
// statement, after everything that could fail.
func (g *deviceGrant) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	session := sessionOf(r)
	token, err := g.beginFamily(ctx, clientOf(r), session, session.device.GrantID, "device code", func(ctx context.Context, f *storage.Family) error {
		return g.Store.RedeemDeviceAuthorization(ctx, session.device.ID, f)
	})
	if err != nil {
		return err
	}
	response.SetAccessToken(token)
	return nil
}

func expiredToken() error {
	return web.NewOAuthError("expired_token", "The device code has expired; ask for a new one.")
}
