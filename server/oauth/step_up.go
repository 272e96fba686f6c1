package oauth

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"grantd/server/web"
	"grantd/storage"
)

// readACR reads acr_values (OpenID Connect Core §3.1.2.1): the first value that is
// known here is the level that the sign-in must have. A request that names only
// others is told so, rather than given less than it asked for (RFC 9470 §5).
func readACR(request *authorizationRequest, parameters web.Parameters) error {
	asked := strings.Fields(parameters.Get("acr_values"))
	known := slices.IndexFunc(asked, func(acr string) bool { return acr == storage.ACRSingleFactor || acr == storage.ACRMultiFactor })
	if len(asked) > 0 && known < 0 {
		return web.NewOAuthError("unmet_authentication_requirements", "This server knows none of the acr_values.")
	}
	request.twoFactors = known >= 0 && asked[known] == storage.ACRMultiFactor
	return nil
}

// stepUp sends somebody who has signed in with one factor to add another, where the
// request needs two: by its acr_values, or because the organisation wants them of
// whoever is asked to allow destructive scopes. The request must be permitted, so
// that only what the person may allow counts.
func (o *OAuth) stepUp(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) (answered bool, err error) {
	lacking, err := o.lacksFactor(r.Context(), request, signIn)
	switch {
	case err != nil || !lacking:
		return false, err
	case request.prompt("none"):
		return true, o.refuse(w, r, request, web.NewOAuthError("login_required", "The person must sign in with a second factor."))
	}
	return true, o.sendToLogin(w, request)
}

// lacksFactor reports whether the request needs one factor more than the person has
// signed in with. Errors are outages.
func (o *OAuth) lacksFactor(ctx context.Context, request *authorizationRequest, signIn *storage.SignIn) (bool, error) {
	if signIn.Session.ACR() == storage.ACRMultiFactor {
		return false, nil
	}
	return o.needsTwoFactors(ctx, request, request.scopes)
}

func (o *OAuth) needsTwoFactors(ctx context.Context, request *authorizationRequest, scopes []string) (bool, error) {
	if request.twoFactors {
		return true, nil
	}
	return o.destructive(ctx, request.resource, scopes)
}

// destructive reports whether one of the scopes is destructive and the organisation
// wants two factors for that.
func (o *OAuth) destructive(ctx context.Context, resource *storage.Resource, scopes []string) (bool, error) {
	if !slices.ContainsFunc(resource.Scopes, func(s storage.Scope) bool {
		return s.Risk == storage.RiskDestructive && slices.Contains(scopes, s.Name)
	}) {
		return false, nil
	}
	policy, err := o.Catalog.SignInPolicy(ctx)
	return err == nil && policy.DestructiveScopes == storage.DestructiveScopesSecondFactor, err
}

// StepUp tells the sign-in page whether the authorization request with this raw query
// needs two factors of somebody in these groups, and whether one may be added to their
// session: not if the request wants a newer sign-in altogether. session may be nil.
// A request that cannot be read needs nothing. Errors are outages.
func (o *OAuth) StepUp(ctx context.Context, rawQuery string, groups []string, session *storage.Session) (needed, addable bool, err error) {
	request, err := o.parseAuthorizationRequest(ctx, rawQuery, session != nil)
	if web.Unavailable(err) {
		return false, false, err
	} else if request == nil || err != nil {
		return false, false, nil //nolint:nilerr // /authorize will say what is wrong with it
	}
	decision, err := o.decide(ctx, request.client, request.resource, groups, request.scopes)
	if err != nil {
		return false, false, err
	}
	needed, err = o.needsTwoFactors(ctx, request, decision.Allowed())
	return needed, session != nil && !o.mustSignInAgain(request, &storage.SignIn{Session: *session}), err
}
