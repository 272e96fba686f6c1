package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/ory/fosite"

	"grantd/server/web"
	"grantd/storage"
)

// newIdentity is the Resource that userinfo serves: its URI is the aud of tokens that
// a client gets who asks for openid and no MCP server.
func newIdentity(issuer web.Issuer) *storage.Resource {
	r := storage.NewIdentityResource()
	r.URI = issuer.URL("/userinfo")
	return r
}

// targetOfPerson is target for a client that asks a person. With openid among the
// scopes it asks who they are as well (OpenID Connect Core §3.1.2.1), which comes
// after the scopes of the Resource; if that is all, or nothing else is left of what
// it asks, the identity is the Resource. Without openid the other two mean nothing.
func (o *OAuth) targetOfPerson(ctx context.Context, client *storage.Client, a asked) (*storage.Resource, []string, error) {
	identity := client.Within(storage.Intersect(storage.IdentityScopes, a.scopes))
	if !slices.Contains(identity, storage.ScopeOpenID) {
		return o.target(ctx, client, a)
	}
	if len(a.resources) == 1 && o.identity.Names(a.resources[0]) {
		return o.identity, identity, nil
	}
	resource, scopes, err := o.target(ctx, client, a)
	var e *web.OAuthError
	if len(a.resources) == 0 && errors.As(err, &e) && e.Code == "invalid_scope" {
		return o.identity, identity, nil
	} else if err != nil {
		return nil, nil, err
	}
	return resource, append(scopes, identity...), nil
}

// identityNow are the identity scopes, of those once approved, that the Grant and the
// client's ceiling allow now. Policies are for Resources. None without openid.
func identityNow(client *storage.Client, approved []string, standing storage.Standing) []string {
	scopes := client.Within(storage.Intersect(storage.Intersect(storage.IdentityScopes, approved), standing.Scopes))
	if !slices.Contains(scopes, storage.ScopeOpenID) {
		return nil
	}
	return scopes
}

// idTokenLifetime is how long an ID token is to be believed: it is read at once.
const idTokenLifetime = 10 * time.Minute

// identified is what a token request has found out about the person, if the client
// may know: what its ID token says.
type identified struct {
	scopes    []string // identity scopes; nil: no ID token
	person    storage.Person
	sessionID string
	nonce     string
}

// idClaims are the claims of an ID token (OpenID Connect Core §2).
type idClaims struct {
	Issuer          string   `json:"iss"`
	Subject         string   `json:"sub"`
	Audience        string   `json:"aud"`
	AuthorizedParty string   `json:"azp"`
	Expiry          int64    `json:"exp"`
	IssuedAt        int64    `json:"iat"`
	AuthTime        int64    `json:"auth_time,omitempty"`
	ACR             string   `json:"acr,omitempty"`
	AMR             []string `json:"amr,omitempty"`
	Nonce           string   `json:"nonce,omitempty"`
	AccessTokenHash string   `json:"at_hash"`
	SessionID       string   `json:"sid,omitempty"`
	personClaims
}

// personClaims are the claims that the scopes profile and email stand for (OpenID
// Connect Core §5.4), as far as grantd knows them.
type personClaims struct {
	Name              string `json:"name,omitempty"`
	PreferredUsername string `json:"preferred_username,omitempty"`
	Email             string `json:"email,omitempty"`
	EmailVerified     bool   `json:"email_verified,omitempty"`
}

// tell returns what the scopes tell of a person. People cannot change their e-mail
// address: administrators give it, and then it counts as verified, or a Provider.
func tell(scopes []string, p storage.Person) personClaims {
	var c personClaims
	if slices.Contains(scopes, storage.ScopeProfile) {
		c.Name, c.PreferredUsername = p.Name, p.Username
	}
	if slices.Contains(scopes, storage.ScopeEmail) {
		c.Email, c.EmailVerified = p.Email, p.Email != "" && p.EmailVerified
	}
	return c
}

// idTokens adds an ID token to the response to a client that may know who the person
// is. It comes after the access token, whose hash is in it.
type idTokens struct {
	everyGrant
	*OAuth
}

func (idTokens) HandleTokenEndpointRequest(context.Context, fosite.AccessRequester) error {
	return fosite.ErrUnknownRequest
}

func (t idTokens) PopulateTokenEndpointResponse(_ context.Context, r fosite.AccessRequester, response fosite.AccessResponder) error {
	client, session := clientOf(r), sessionOf(r)
	if len(session.identified.scopes) == 0 {
		return nil
	}
	id := session.identified
	token, err := t.Signing.SignIDToken(response.GetAccessToken(), func(accessTokenHash string) any {
		c := idClaims{
			Issuer: t.Issuer.String(), Subject: session.subject, Audience: client.ClientID, AuthorizedParty: client.ClientID,
			Expiry: session.now.Add(idTokenLifetime).Unix(), IssuedAt: session.now.Unix(), Nonce: id.nonce,
			AccessTokenHash: accessTokenHash, SessionID: sidOf(client, id.sessionID), personClaims: tell(id.scopes, id.person),
		}
		if !session.authenticatedAt.IsZero() {
			c.ACR, c.AMR, c.AuthTime = storage.ACROf(session.amr), session.amr, session.authenticatedAt.Unix()
		}
		return c
	})
	if err != nil {
		return err
	}
	response.SetExtra("id_token", token)
	return nil
}

// sidOf is the sid by which a client knows a Session (OpenID Connect Front-Channel
// Logout §3). Each client has its own, and none can be traced back: the id is in
// grantd's own forms.
func sidOf(client *storage.Client, sessionID string) string {
	if sessionID == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("sid\n" + client.ID + "\n" + sessionID))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// granted are the scopes of the tokens together, as the Family keeps them and the
// response says them.
func (s *tokenSession) granted() []string {
	if s.resource.Identity() {
		return s.scopes
	}
	return slices.Concat(s.scopes, s.identified.scopes)
}

// keep lets the session have no scope that is not among these. ok: some is left for
// the access token.
func (s *tokenSession) keep(scopes []string) (ok bool) {
	s.scopes = storage.Intersect(s.scopes, scopes)
	if s.identified.scopes = storage.Intersect(s.identified.scopes, scopes); !slices.Contains(s.identified.scopes, storage.ScopeOpenID) {
		s.identified.scopes = nil
	}
	return len(s.scopes) > 0
}

// hint is what an ID token that a client sends back says: whom it is about, and by
// its sid of which Session. It may have expired. ok: it is one of this server's.
func (o *OAuth) hint(idToken string) (c idClaims, ok bool) {
	err := o.Signing.VerifyIDToken(idToken, &c)
	return c, err == nil && c.Issuer == o.Issuer.String()
}

// another reports whether the client means another person than the one who is signed
// in (OpenID Connect Core §3.1.2.1, id_token_hint).
func (a *authorizationRequest) another(signIn *storage.SignIn) bool {
	return a.hintedUser != "" && a.hintedUser != signIn.User.ID
}

// refuseAnother answers where the person who has just signed in, or must not be asked
// to, is not the one that the client means.
func (o *OAuth) refuseAnother(w http.ResponseWriter, r *http.Request, request *authorizationRequest) error {
	return o.refuse(w, r, request, web.NewOAuthError("login_required", "Somebody else is signed in."))
}
