package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"time"

	"github.com/ory/fosite"

	"grantd/storage"
)

// replayTolerance is how long after its redemption a code presented again is
// taken for a double submit rather than a theft.
const replayTolerance = 10 * time.Second

// codeGrant redeems authorization codes (OAuth 2.1 §4.1.3).
//
// It stands in for fosite's code and PKCE handlers, which end a victim's tokens
// on any replay, proven or not, and forget the challenge before they check it.
// Here every check passes before any state changes: a failed proof costs the code
// nothing but one of its few tries.
type codeGrant struct{ *OAuth }

func (*codeGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (*codeGrant) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return isGrant(r, storage.GrantTypeAuthorizationCode)
}

// HandleTokenEndpointRequest makes every check and changes nothing, except that
// a wrong verifier is counted and a proven replay ends the family.
func (g *codeGrant) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	form, client, session := r.GetRequestForm(), clientOf(r), sessionOf(r)
	if form.Get("code") == "" {
		return invalidRequest("The code parameter is missing.")
	}
	a, err := readAsked(form["resource"], "") // a scope here never widens anything
	if err != nil {
		return err
	}
	id, err := g.values.readCode(form.Get("code"))
	if errors.Is(err, errNotOurs) {
		return invalidGrant("This is not an authorization code of this server.")
	} else if err != nil {
		return err
	}
	code, standing, err := g.Store.Code(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return invalidGrant("The authorization code is unknown or long past.")
	} else if err != nil {
		return err
	}
	if err := g.prove(ctx, code, client, form.Get("code_verifier"), form.Get("redirect_uri"), session.now); err != nil {
		return err
	}
	resource, err := g.resourceByID(ctx, code.ResourceID)
	if errors.Is(err, storage.ErrNotFound) {
		return invalidGrant("The resource of this code is gone.")
	} else if err != nil {
		return err
	}
	if len(a.resources) == 1 && !resource.Names(a.resources[0]) {
		return invalidTarget("The code was approved for another resource.")
	}
	scopes, err := g.allowedNow(ctx, client, resource, code.Scopes, standing)
	if err != nil {
		return err
	}
	switch {
	case !code.RedeemedAt.IsZero():
		return g.replayed(ctx, code, client, session.now)
	case !session.now.Before(code.ExpiresAt):
		return invalidGrant("The authorization code has expired.")
	case code.FailedProofs >= storage.MaxFailedProofs:
		return invalidGrant("The authorization code was presented with a wrong code_verifier too often.")
	case code.GrantID == "" || len(scopes) == 0 || !client.MayReach(resource):
		return invalidGrant("The approval behind this code has been withdrawn, or the policy no longer allows it.")
	}
	session.code, session.resource, session.scopes = code, resource, scopes
	session.subject, session.familyID = code.UserID, code.FamilyID()
	session.identified = identified{
		scopes: identityNow(client, code.Scopes, standing), person: standing.Person, nonce: code.Nonce,
		sessionID: code.SessionID, authenticatedAt: code.AuthenticatedAt,
	}
	return nil
}

// prove checks that whoever presents the code is whom it was issued to.
func (g *codeGrant) prove(ctx context.Context, code *storage.AuthorizationCode, client *storage.Client, verifier, redirectURI string, now time.Time) error {
	if code.ClientID != client.ID {
		return invalidGrant("The authorization code was issued to another client.")
	}
	if redirectURI != "" && redirectURI != code.RedirectURI {
		return invalidGrant("The redirect_uri is not the one of the authorization request.")
	}
	if !verifierShaped(verifier) {
		return invalidGrant("The code_verifier is missing or malformed.")
	}
	sum := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(code.CodeChallenge)) == 1 {
		return nil
	}
	if code.RedeemedAt.IsZero() && now.Before(code.ExpiresAt) {
		if err := g.Store.FailCode(ctx, code.ID); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return invalidGrant("The code_verifier does not match the code_challenge.")
}

// replayed answers a redeemed code that came back with full proof: whoever holds
// both has stolen them, so what came of the code ends (OAuth 2.1 §7.5.3).
func (g *codeGrant) replayed(ctx context.Context, code *storage.AuthorizationCode, client *storage.Client, now time.Time) error {
	if now.Sub(code.RedeemedAt) > replayTolerance {
		if err := g.endReplayed(ctx, client, code.FamilyID(), "authorization code replayed", now); err != nil {
			return err
		}
	}
	return invalidGrant("The authorization code was already used.")
}

// PopulateTokenEndpointResponse redeems the code and makes its family in one
// statement, after everything that could fail.
func (g *codeGrant) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	session := sessionOf(r)
	token, err := g.beginFamily(ctx, clientOf(r), session, session.code.GrantID, "authorization code", func(ctx context.Context, f *storage.Family) error {
		return g.Store.RedeemCode(ctx, session.code.ID, f)
	})
	if err != nil {
		return err
	}
	response.SetAccessToken(token)
	return nil
}

// verifierShaped reports whether s is a code_verifier (RFC 7636 §4.1).
func verifierShaped(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	return unreserved(s)
}

// unreserved reports whether s has only unreserved characters (RFC 3986 §2.3).
func unreserved(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != '~' {
			return false
		}
	}
	return true
}
