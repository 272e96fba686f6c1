package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"grantd/server/outbound"
	"grantd/server/web"
	"grantd/storage"
)

const (
	startAgain = "Go back to the application and start again."
	setUpWrong = "Tell your administrator, with the reference below. “grantd provider test” looks for the cause."
)

func errUnknownProvider() *web.Error {
	return &web.Error{
		Status: http.StatusNotFound, Code: "unknown-provider", Title: "There is no such identity provider",
		Message: "It is not set up here, or has been switched off.", Help: startAgain,
	}
}

func notThisSignIn(err error) *web.Error {
	return &web.Error{
		Status: http.StatusForbidden, Code: "foreign-sign-in", Title: "This is not the sign-in that this browser began",
		Message: "It began in another browser, was finished already, or took longer than ten minutes. Nobody was signed in.",
		Help:    startAgain, Err: err,
	}
}

func notProven(err error) *web.Error {
	e := &web.Error{Status: http.StatusForbidden, Code: "sign-in-not-proven", Title: "You must sign in again", Help: startAgain, Err: err}
	e.Message = "The application asks that you sign in anew, and your identity provider did not confirm that you did."
	if errors.Is(err, errWeak) {
		e.Message = "A stronger sign-in is asked for than the one that your identity provider confirmed."
	}
	return e
}

// providerError is the page for an error that the provider answered with (RFC 6749
// §4.1.2.1, OpenID Connect Core §3.1.2.6). Its description is not shown: anybody could
// have written it.
func providerError(code string) error {
	e := &web.Error{Status: http.StatusForbidden, Title: "You were not signed in", Help: startAgain}
	switch code {
	case "access_denied":
		e.Message = "You or your identity provider said no."
	case "login_required", "interaction_required", "account_selection_required", "consent_required":
		e.Message = "Your identity provider needs you to do something there first."
	case "temporarily_unavailable", "server_error":
		e = &web.Error{
			Status: http.StatusBadGateway, Title: "Your identity provider cannot sign you in now",
			Message: "It reports a problem of its own. Try again in a few minutes.", Help: startAgain,
		}
	default:
		code = "another error"
		e = &web.Error{
			Status: http.StatusBadGateway, Title: "Your identity provider did not accept the request",
			Message: "It does not know this server, or refuses what it asks for.", Help: setUpWrong,
		}
	}
	e.Code = "provider-refused"
	e.Err = errors.New("the provider answered with " + code)
	return e
}

// exchangeFailed is the page for a code that was not exchanged. Nothing of the answer
// is logged but the code of its error, if that is a registered one.
func (u *Upstream) exchangeFailed(ctx context.Context, p *storage.Provider, err error) error {
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) {
		if isOutage(err) {
			return u.outage(ctx, p, err)
		}
		return u.outage(ctx, p, errors.New("the token endpoint sent no token"))
	}
	if answered.Response != nil && answered.Response.StatusCode >= http.StatusInternalServerError {
		return u.outage(ctx, p, fmt.Errorf("the token endpoint answered with status %d", answered.Response.StatusCode))
	}
	if answered.ErrorCode == "invalid_grant" {
		return &web.Error{
			Status: http.StatusForbidden, Code: "sign-in-ended", Title: "This sign-in is no longer good",
			Message: "Your identity provider says that it was used before or took too long.", Help: startAgain, Err: errors.New("invalid_grant"),
		}
	}
	code := "an error"
	for _, known := range []string{"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"} {
		if answered.ErrorCode == known {
			code = known
		}
	}
	slog.Default().WarnContext(ctx, "a provider refuses this server", "provider", p.ID, "error", code, "request_id", web.RequestID(ctx))
	return &web.Error{
		Status: http.StatusBadGateway, Code: "provider-refused", Title: "Your identity provider did not accept this server",
		Message: "It refused to say who you are.", Help: setUpWrong, Err: errors.New("the token endpoint answered with " + code),
	}
}

// outage is the page for a provider that does not answer as it should. There is no
// weaker way in instead.
func (u *Upstream) outage(ctx context.Context, p *storage.Provider, err error) error {
	cause := err.Error()
	var unfetched *outbound.Error
	if errors.As(err, &unfetched) {
		cause = unfetched.Reason
	}
	slog.Default().WarnContext(ctx, "a provider does not answer as it should", "provider", p.ID, "cause", cause, "request_id", web.RequestID(ctx))
	e := &web.Error{
		Status: http.StatusBadGateway, Code: "provider-unavailable", Title: "Your identity provider does not answer",
		Message: "You could not be signed in. Try again in a few minutes.", Help: "If it goes on, tell your administrator, with the reference below.", Err: errors.New(cause),
	}
	if errors.Is(err, context.DeadlineExceeded) || strings.HasSuffix(cause, "timed out") {
		e.Status = http.StatusGatewayTimeout
	}
	return e
}

// badToken is the page for an ID token that proves nothing.
func (u *Upstream) badToken(r *http.Request, p *storage.Provider, err error) error {
	face := &web.Error{
		Status: http.StatusBadGateway, Code: "bad-id-token", Title: "Your identity provider’s answer cannot be trusted",
		Message: "It did not prove who you are, so nobody was signed in.", Help: setUpWrong, Err: err,
	}
	var bad *tokenError
	if errors.As(err, &bad) && bad.clocks {
		face.Message = "It is not valid at this moment: the clock of one of the two servers is wrong."
	}
	return u.refuse(r, p, face, err.Error())
}

// asksUserinfo reports whether the ID token lacks something that the userinfo endpoint
// may know. Entra ID's says nothing that is not in the ID token.
func (m *metadata) asksUserinfo(p *storage.Provider, t *idToken) bool {
	return m.UserinfoEndpoint != "" && p.Preset != storage.PresetEntra && t.claims.missing(p.Claims)
}

// userinfo returns what the userinfo endpoint says, if it is asked (OpenID Connect Core
// §5.3). Only an answer about the same person counts.
func (u *Upstream) userinfo(ctx context.Context, p *storage.Provider, m *metadata, t *idToken, tokens *oauth2.Token) (claims, error) {
	if !m.asksUserinfo(p, t) {
		return nil, nil
	}
	provider := (&oidc.ProviderConfig{IssuerURL: m.Issuer, UserInfoURL: m.UserinfoEndpoint, JWKSURL: m.JWKSURI, Algorithms: m.Algorithms}).NewProvider(ctx)
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		if isOutage(err) {
			return nil, err
		}
		return nil, errors.New("the userinfo endpoint did not answer with claims")
	}
	var c claims
	if err := info.Claims(&c); err != nil || info.Subject == "" || info.Subject != t.claims.text("sub") {
		return nil, errors.New("the userinfo endpoint speaks of somebody else")
	}
	return c, nil
}
