package oauth

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"grantd/server/consent"
	"grantd/server/policy"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// decide asks the policies which of the scopes a person of these groups may have of
// the resource through the client. Errors are outages.
func (o *OAuth) decide(ctx context.Context, client *storage.Client, resource *storage.Resource, groups, scopes []string) (policy.Decision, error) {
	policies, q, err := o.policyQuestion(ctx, client, resource)
	if err != nil {
		return nil, err
	}
	q.Groups = groups
	return policy.Decide(policies, q, scopes), nil
}

// policyQuestion returns the policies, and what they are asked but for the groups.
// How far the client is known is found out only if it matters.
func (o *OAuth) policyQuestion(ctx context.Context, client *storage.Client, resource *storage.Resource) ([]*storage.Policy, policy.Question, error) {
	q := policy.Question{Client: client, Resource: resource}
	policies, err := o.Catalog.Policies(ctx)
	if err == nil && policy.AskTrust(policies) {
		q.Trust, err = o.Admission.Level(ctx, client)
	}
	return policies, q, err
}

// allowedNow are the scopes, of those once approved, that the Grant, the Resource,
// the client's ceiling and the policies allow now. Errors are outages.
func (o *OAuth) allowedNow(ctx context.Context, client *storage.Client, resource *storage.Resource, approved []string, standing storage.Standing) ([]string, error) {
	scopes := client.Within(storage.Intersect(storage.Intersect(approved, standing.Scopes), resource.ScopeNames()))
	if resource.Identity() { // what is told of a person is for them to decide
		return identityNow(client, scopes, standing), nil
	}
	decision, err := o.decide(ctx, client, resource, standing.Groups, scopes)
	return decision.Allowed(), err
}

// permit narrows a request to the scopes that the policies let the signed-in person
// approve. Where none is left it answers: the person learns it from a page, and the
// client, with the person's click, that access is denied. Who the person is the
// policies do not decide: where they approve the rest in advance, that is with it.
// It writes nothing.
func (o *OAuth) permit(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) (answered bool, err error) {
	if request.resource.Identity() {
		return false, nil
	}
	scopes := storage.WithoutIdentity(request.scopes)
	decision, err := o.decide(r.Context(), request.client, request.resource, signIn.User.Groups, scopes)
	if err != nil {
		return false, err
	}
	if allowed := decision.Allowed(); len(allowed) > 0 {
		request.withheld = slices.DeleteFunc(scopes, func(s string) bool { return slices.Contains(allowed, s) })
		identity := storage.Intersect(request.scopes, storage.IdentityScopes)
		request.scopes, request.decision = append(allowed, identity...), decision.Of(allowed)
		return false, nil
	}
	if request.resource.BuiltIn() {
		return true, o.refuse(w, r, request, notAdministrator())
	}
	denied := web.NewOAuthError("access_denied", "The organisation's policy does not allow it.")
	if request.prompt("none") {
		return true, o.refuse(w, r, request, denied)
	}
	o.Pages.ErrorPage(w, r, templates.ErrorPage{
		Status: http.StatusForbidden, Title: "Your organisation does not allow this",
		Message:   "By your organisation's policy you cannot let this application use this MCP server in the way it asks. Nothing was allowed.",
		Help:      "If you need it, ask an administrator. You can return to the application, which learns that access was denied.",
		ReturnURL: o.redirectTarget(request, errorValues(denied)), ReturnHost: consent.RedirectHost(request.redirectURI),
	}, denied)
	return true, nil
}

// inAdvance reports whether a policy has approved the request for the person: only
// for a registered client with an https redirect, never when the client asks for
// the page, and not when the person has seen it with another redirect or name.
func inAdvance(request *authorizationRequest, signIn *storage.SignIn) bool {
	grant := signIn.Grant
	return request.decision.InAdvance() && recognisable(request) &&
		(grant == nil || (grant.RedirectURI == "" || grant.RedirectURI == request.redirectURI) && grant.ClientName == request.client.ClientName)
}

// withPolicies names the policies that allow the scopes in the event of an approval.
func withPolicies(event storage.AuditEvent, decision policy.Decision, scopes []string) storage.AuditEvent {
	return event.With("policies", strings.Join(decision.Of(scopes).Names(), ","))
}
