package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
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

// HandleTokenEndpointRequest reads what the request says. What the database knows of
// the code comes after it, when no handler has anything to refuse any more.
func (g *codeGrant) HandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) (err error) {
	form, session := r.GetRequestForm(), sessionOf(r)
	if form.Get("code") == "" {
		return invalidRequest("The code parameter is missing.")
	}
	if session.asked, err = readAsked(form["resource"], ""); err != nil { // a scope here never widens anything
		return err
	}
	session.codeID, err = g.values.readCode(form.Get("code"))
	if errors.Is(err, errNotOurs) {
		return invalidGrant("This is not an authorization code of this server.")
	}
	return err
}

// PopulateTokenEndpointResponse makes every check and redeems the code. Nothing is
// changed before all have passed, except that a wrong verifier is counted and a proven
// replay ends the family. The usual exchange is checked and done in one statement. What
// comes after that, the signature, needs a key that is in memory for as long as the
// server runs, and so fails for no reason that would burn a code.
func (g *codeGrant) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, response fosite.AccessResponder) error {
	if !g.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	form, client, session := r.GetRequestForm(), clientOf(r), sessionOf(r)
	usual, rules, err := g.usual(ctx, form, client, session)
	if err != nil {
		return err
	}
	code, standing, exchanged, err := g.look(ctx, session.codeID, usual)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return invalidGrant("The authorization code is unknown or long past.")
	case errors.Is(err, storage.ErrConsumed):
		return invalidGrant("The authorization code was already used.")
	case err != nil:
		return err
	}
	session.resource, session.scopes = rules.question.Resource, storage.WithoutIdentity(code.Scopes)
	if !exchanged {
		if session.resource, session.scopes, err = g.judge(ctx, form, client, session, code, standing, rules); err != nil {
			return err
		}
	}
	session.subject, session.familyID = code.UserID, code.FamilyID()
	session.amr, session.authenticatedAt = code.AMR, code.AuthenticatedAt
	session.identified = identified{
		scopes: identityNow(client, code.Scopes, standing), person: standing.Person, nonce: code.Nonce, sessionID: code.SessionID,
	}
	var token string
	if exchanged {
		token, err = g.makeTokens(client, session)
	} else {
		token, err = g.beginFamily(ctx, client, session, code.GrantID, "authorization code", func(ctx context.Context, f *storage.Family) error {
			return g.Store.RedeemCode(ctx, code.ID, f)
		})
	}
	if err != nil {
		return err
	}
	response.SetAccessToken(token)
	return nil
}

// usual is the exchange of a code that is as the request lets expect, and the rules
// that it goes by. Nil: the request does not say enough, or proves nothing.
func (g *codeGrant) usual(ctx context.Context, form url.Values, client *storage.Client, session *tokenSession) (*storage.Exchange, rules, error) {
	verifier := form.Get("code_verifier")
	if !verifierShaped(verifier) {
		return nil, rules{}, nil
	}
	if len(session.asked.resources) == 0 && client.AdminAccess { // the code may be for the built-in Resource
		return nil, rules{}, nil
	}
	f, err := g.foretell(ctx, client, session.asked)
	if err != nil || f == nil {
		return nil, rules{}, err
	}
	allowed, resource := f.everybody, f.question.Resource
	if identity := client.Within(storage.IdentityScopes); slices.Contains(identity, storage.ScopeOpenID) {
		allowed = append(allowed, identity...)
	}
	return &storage.Exchange{
		CodeID: session.codeID, ClientID: client.ID, ResourceID: resource.ID, Guessed: len(session.asked.resources) == 0,
		RedirectURI: form.Get("redirect_uri"), CodeChallenge: codeChallenge(verifier), Allowed: allowed, AllowedTo: f.members,
		Now: session.now, ExpiresAt: session.now.Add(familyLifetime(resource)), UserAgent: session.userAgent, Address: session.address,
	}, f.rules, nil
}

// look reads the code and, in the usual case, redeems it.
func (g *codeGrant) look(ctx context.Context, id string, usual *storage.Exchange) (code *storage.AuthorizationCode, standing storage.Standing, exchanged bool, err error) {
	if usual != nil {
		return g.Store.ExchangeCode(ctx, *usual)
	}
	code, standing, err = g.Store.Code(ctx, id)
	return code, standing, false, err
}

// judge makes every check on a code that was not exchanged as is usual, and returns
// what it is good for. It goes by the rules that its standing was read for, unless they
// were of a Resource that was guessed.
func (g *codeGrant) judge(ctx context.Context, form url.Values, client *storage.Client, session *tokenSession, code *storage.AuthorizationCode, standing storage.Standing, rules rules) (*storage.Resource, []string, error) {
	if err := g.prove(ctx, code, client, form.Get("code_verifier"), form.Get("redirect_uri"), session.now); err != nil {
		return nil, nil, err
	}
	resource, err := g.resourceByID(ctx, code.ResourceID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, invalidGrant("The resource of this code is gone.")
	} else if err != nil {
		return nil, nil, err
	}
	if asked := session.asked.resources; len(asked) == 1 && !resource.Names(asked[0]) {
		return nil, nil, invalidTarget("The code was approved for another resource.")
	}
	if meant := rules.question.Resource; meant == nil || meant.ID != resource.ID {
		if rules, err = g.rules(ctx, client, resource); err != nil {
			return nil, nil, err
		}
	}
	scopes := rules.allowed(code.Scopes, standing)
	switch {
	case !code.RedeemedAt.IsZero():
		return nil, nil, g.replayed(ctx, code, client, session.now)
	case !session.now.Before(code.ExpiresAt):
		return nil, nil, invalidGrant("The authorization code has expired.")
	case code.FailedProofs >= storage.MaxFailedProofs:
		return nil, nil, invalidGrant("The authorization code was presented with a wrong code_verifier too often.")
	case code.GrantID == "" || len(scopes) == 0 || !client.MayReach(resource):
		return nil, nil, invalidGrant("The approval behind this code has been withdrawn, or the policy no longer allows it.")
	}
	return resource, scopes, nil
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
	if subtle.ConstantTimeCompare([]byte(codeChallenge(verifier)), []byte(code.CodeChallenge)) == 1 {
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

// codeChallenge is the S256 code_challenge of a verifier (RFC 7636 §4.2).
func codeChallenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
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
