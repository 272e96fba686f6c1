package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"grantd/api"
	"grantd/server/policy"
	"grantd/storage"
)

// ExplainPolicies says what the policies decide for a user, a client and a
// resource, and why.
func (h *handlers) ExplainPolicies(ctx context.Context, request api.ExplainPoliciesRequestObject) (api.ExplainPoliciesResponseObject, error) {
	user, client, resource, scopes, err := h.explained(ctx, request.Params)
	if err != nil {
		return nil, err
	}
	policies, err := h.allPolicies(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := h.trust.Level(ctx, client)
	if err != nil {
		return nil, err
	}
	obstacles, err := h.obstacles(ctx, user, client, resource, scopes)
	if err != nil {
		return nil, err
	}
	asked := policy.Deciding(policies, resource)
	q := policy.Question{Groups: user.Groups, Client: client, Trust: trust, Resource: resource}
	answer := api.PolicyExplanation{
		Groups: list(user.Groups), Trust: string(trust), Obstacles: list(obstacles), Scopes: make([]api.ScopeExplanation, len(scopes)),
	}
	for i, scope := range scopes {
		verdict := policy.Decide(policies, q, []string{scope.Name})[0]
		shown := api.ScopeExplanation{
			Scope: scope.Name, Risk: string(scope.Risk), Allowed: verdict.Policy != nil, Policies: make([]api.PolicyVerdict, len(asked)),
		}
		if verdict.Policy != nil {
			shown.Policy = verdict.Policy.Name
		}
		if verdict.InAdvance != nil {
			shown.SkipConsentPolicy = verdict.InAdvance.Name
		}
		for k, p := range asked {
			reasons := policy.Reasons(p, q, scope)
			shown.Policies[k] = api.PolicyVerdict{ID: p.ID, Name: p.Name, Allows: len(reasons) == 0, Reasons: reasons}
		}
		answer.Scopes[i] = shown
	}
	return api.ExplainPolicies200JSONResponse(answer), nil
}

// explained finds what is asked about, or names the parameter that is wrong.
func (h *handlers) explained(ctx context.Context, params api.ExplainPoliciesParams) (user *storage.User, client *storage.Client, resource *storage.Resource, scopes []storage.Scope, err error) {
	var f faults
	find := func(parameter, what string, err error) error {
		if errors.Is(err, storage.ErrNotFound) {
			f.add("?"+parameter, "is not "+what)
			return nil
		}
		return err
	}
	if err := checkID(storage.PrefixUser, params.UserID); err != nil {
		_ = find("user_id", "the id of any user", err)
	} else if user, err = h.store.User(ctx, params.UserID); find("user_id", "the id of any user", err) != nil {
		return nil, nil, nil, nil, err
	}
	if len(params.ClientID) > storage.MaxURILength || strings.ContainsFunc(params.ClientID, unicode.IsControl) {
		_ = find("client_id", "the id or client_id of any client", storage.ErrNotFound)
	} else if client, err = h.clientNamed(ctx, params.ClientID); find("client_id", "the id or client_id of any client", err) != nil {
		return nil, nil, nil, nil, err
	}
	if params.ResourceID == storage.AdminResourceID {
		resource = h.resourceOfAdmin
	} else if resource, err = h.resource(ctx, params.ResourceID); find("resource_id", "the id of any resource", err) != nil {
		return nil, nil, nil, nil, err
	}
	if resource != nil {
		for _, scope := range resource.Scopes {
			if params.Scope == "" || params.Scope == scope.Name {
				scopes = append(scopes, scope)
			}
		}
		if params.Scope != "" && len(scopes) == 0 {
			f.add("?scope", "is not a scope of this resource")
		}
	}
	return user, client, resource, scopes, f.err()
}

// clientNamed returns a client by its id or its client_id. ErrNotFound.
func (h *handlers) clientNamed(ctx context.Context, reference string) (*storage.Client, error) {
	if checkID(storage.PrefixClient, reference) == nil {
		if c, err := h.store.Client(ctx, reference); !errors.Is(err, storage.ErrNotFound) {
			return c, err
		}
	}
	return h.store.ClientByClientID(ctx, reference)
}

// obstacles are what keeps the client from the scopes whatever the policies say.
func (h *handlers) obstacles(ctx context.Context, user *storage.User, client *storage.Client, resource *storage.Resource, scopes []storage.Scope) ([]string, error) {
	var obstacles []string
	say := func(holds bool, sentence string) {
		if holds {
			obstacles = append(obstacles, sentence)
		}
	}
	say(user.Disabled, "the user is disabled")
	say(client.Disabled, "the client is disabled")
	say(!client.MayUse(storage.GrantTypeAuthorizationCode) && !client.MayUse(storage.GrantTypeDeviceCode), "the client asks nobody: it only acts for itself")
	if resource.BuiltIn() {
		say(!client.MayReach(resource), "the client has no admin_access, or is not registered")
	} else {
		say(!client.MayReach(resource), "the client's registration does not have the resource in resources")
	}
	for _, scope := range scopes {
		say(len(client.Within([]string{scope.Name})) == 0, fmt.Sprintf("the client's registration does not have %s in scope", scope.Name))
	}
	mode, err := h.trust.Client(ctx, client)
	if err != nil {
		return nil, err
	}
	say(mode == storage.RegistrationAskAdmin, "an administrator must allow the client first (grantd registration)")
	say(mode == storage.RegistrationOff, "the registration policy does not let the client in (grantd registration)")
	return obstacles, nil
}
