package oauth

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"grantd/server/web"
	"grantd/storage"
)

// newEngine composes fosite. Of its own handlers we use the authorize side of the
// code flow and client credentials. Redeeming codes and refreshing are ours,
// because fosite's handlers change state before every check has passed, revoke a
// victim's tokens on an unproven replay, and store a row for each token.
//
// Every field with a lazy default is set: fosite's getters would write to the
// struct while requests run.
func newEngine(o *OAuth) *fosite.Fosite {
	config := &fosite.Config{
		EnforcePKCE:                    true,
		EnablePKCEPlainChallengeMethod: false,
		OmitRedirectScopeParam:         true,
		AuthorizeCodeLifespan:          storage.CodeLifetime,
		AccessTokenLifespan:            storage.DefaultAccessTokenLifetime,
		RefreshTokenLifespan:           storage.FamilyIdle,
		RefreshTokenScopes:             []string{},
		MinParameterEntropy:            1,
		SanitationWhiteList:            []string{"redirect_uri"},
		// Scopes, audiences and redirects are decided by our own request parser
		// and target rules before fosite sees them.
		ScopeStrategy:                func([]string, string) bool { return true },
		AudienceMatchingStrategy:     func([]string, []string) error { return nil },
		RedirectSecureChecker:        func(context.Context, *url.URL) bool { return true },
		ClientAuthenticationStrategy: o.authenticateClient,
	}
	tokens := accessTokens{o}
	config.AuthorizeEndpointHandlers = fosite.AuthorizeEndpointHandlers{
		&oauth2.AuthorizeExplicitGrantHandler{AuthorizeCodeStrategy: codeStrategy{o}, CoreStorage: codeStorage{store: o.Store}, Config: config},
		issuerIdentification{issuer: o.Issuer.String()},
	}
	config.TokenEndpointHandlers = fosite.TokenEndpointHandlers{
		registeredGrantTypes{},
		&codeGrant{o},
		&refreshGrant{o},
		&deviceGrant{o},
		machineTarget{o},
		&oauth2.ClientCredentialsGrantHandler{
			HandleHelper: &oauth2.HandleHelper{AccessTokenStrategy: tokens, AccessTokenStorage: noRow{}, Config: config}, Config: config,
		},
		idTokens{OAuth: o},
		tokenResponse{},
	}
	return &fosite.Fosite{Config: config}
}

// authenticateClient is fosite's door to the one client authenticator.
func (o *OAuth) authenticateClient(_ context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
	client, err := o.ClientAuth.Authenticate(r, web.Parameters{Values: form})
	if err != nil {
		return nil, err
	}
	return engineClient{client}, nil
}

// engineClient shows fosite one of our Clients.
type engineClient struct{ *storage.Client }

func (c engineClient) GetID() string                      { return c.ClientID }
func (c engineClient) GetHashedSecret() []byte            { return nil }
func (c engineClient) GetRedirectURIs() []string          { return c.RedirectURIs }
func (c engineClient) GetGrantTypes() fosite.Arguments    { return c.GrantTypes }
func (c engineClient) GetResponseTypes() fosite.Arguments { return c.ResponseTypes }
func (c engineClient) GetScopes() fosite.Arguments        { return c.Scope }
func (c engineClient) GetAudience() fosite.Arguments      { return c.Resources }
func (c engineClient) IsPublic() bool                     { return c.Public() }
func clientOf(requester fosite.Requester) *storage.Client {
	return requester.GetClient().(engineClient).Client
}

func sessionOf(requester fosite.Requester) *tokenSession {
	return requester.GetSession().(*tokenSession)
}

// tokenSession is what a token request has found out, from HandleTokenEndpointRequest
// to the writing in PopulateTokenEndpointResponse.
type tokenSession struct {
	fosite.DefaultSession
	now      time.Time
	resource *storage.Resource
	scopes   []string
	subject  string
	familyID string // empty for a machine
	// How and when the person had signed in who approved; zero for a machine.
	amr             []string
	authenticatedAt time.Time
	// identified is what else an ID token says, if the client gets one.
	identified identified

	userAgent, address string // of whoever asks

	tokenID string // the jti of the access token that was signed last

	asked    asked                        // authorization_code
	codeID   string                       // authorization_code
	device   *storage.DeviceAuthorization // device_code
	rotation *storage.Rotation            // refresh_token; nil: answer the same successor
	refresh  string                       // the refresh token to answer with, if any
}

// Clone returns the session itself: it belongs to one request.
func (s *tokenSession) Clone() fosite.Session { return s }

// isGrant reports whether a token request is for this grant type.
func isGrant(r fosite.AccessRequester, grantType string) bool {
	return r.GetGrantTypes().ExactOne(grantType)
}

// everyGrant is a handler that accompanies every grant without granting.
type everyGrant struct{}

func (everyGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }
func (everyGrant) CanHandleTokenEndpointRequest(context.Context, fosite.AccessRequester) bool {
	return true
}

// registeredGrantTypes comes first: a client uses only the grant types it
// registered, and client_credentials only if an admin registered it.
type registeredGrantTypes struct{ everyGrant }

func (registeredGrantTypes) HandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) error {
	client, grantType := clientOf(r), r.GetGrantTypes()[0]
	if !client.MayUse(grantType) {
		return web.NewOAuthError("unauthorized_client", "The client did not register this grant type.")
	}
	if grantType == storage.GrantTypeClientCredentials && (client.Public() || client.SelfAsserted()) {
		return web.NewOAuthError("unauthorized_client", "Only a confidential client that an administrator registered may use client_credentials.")
	}
	return fosite.ErrUnknownRequest // accompanies: fosite must not take it for a grant
}

func (registeredGrantTypes) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return fosite.ErrUnknownRequest
}

// tokenResponse comes last: it gives every grant's response its final words.
type tokenResponse struct{ everyGrant }

func (tokenResponse) HandleTokenEndpointRequest(context.Context, fosite.AccessRequester) error {
	return fosite.ErrUnknownRequest
}

func (tokenResponse) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, response fosite.AccessResponder) error {
	session := sessionOf(r)
	// Tokens have no rows, and so no audit events: this line is what a log keeps.
	slog.LogAttrs(ctx, slog.LevelInfo, "token issued",
		slog.String("jti", session.tokenID), slog.String("client_id", clientOf(r).ClientID), slog.String("sub", session.subject),
		slog.String("resource", session.resource.URI), slog.String("grant_type", r.GetGrantTypes()[0]),
		slog.String("scope", strings.Join(session.scopes, " ")), slog.String("family", session.familyID),
		slog.Time("expires_at", session.now.Add(session.resource.AccessTokenLifetime)), slog.String("request_id", web.RequestID(ctx)))
	response.SetTokenType("Bearer")
	response.SetExpiresIn(session.resource.AccessTokenLifetime)
	response.SetScopes(session.granted())
	if session.refresh != "" {
		response.SetExtra("refresh_token", session.refresh)
	}
	return nil
}

// issuerIdentification adds iss to every authorize response (RFC 9207 §2).
type issuerIdentification struct{ issuer string }

func (h issuerIdentification) HandleAuthorizeEndpointRequest(_ context.Context, _ fosite.AuthorizeRequester, response fosite.AuthorizeResponder) error {
	response.AddParameter("iss", h.issuer)
	return nil
}
