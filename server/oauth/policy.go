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

// rules are the policies as a request found them, and what they are asked about its
// client and resource. What is read of a person for them, and what they then decide,
// must be of one moment: so they are fetched once.
type rules struct {
	policies []*storage.Policy
	question policy.Question // but for the groups
}

// rules returns those of now: none about the identity of people, which is theirs. How
// far the client is known is found out only if it matters. Errors are outages.
func (o *OAuth) rules(ctx context.Context, client *storage.Client, resource *storage.Resource) (rules, error) {
	r := rules{question: policy.Question{Client: client, Resource: resource}}
	if resource.Identity() {
		return r, nil
	}
	var err error
	if r.policies, err = o.Catalog.Policies(ctx); err == nil && policy.AskTrust(r.policies) {
		r.question.Trust, err = o.Admission.Level(ctx, client)
	}
	return r, err
}

// askGroups reports whether it matters to the rules which Groups a person is in.
func (r rules) askGroups() bool { return policy.AskGroups(r.policies, r.question.Resource) }

// foretold is what can be said of a code or a Family before its row is read.
type foretold struct {
	rules // of its Resource
	// Which scopes the client may have of it: those allowed to everybody, and to whom the
	// others.
	everybody []string
	members   []storage.GroupScope
}

// foretell says what can be said of a code or a Family that a request presents. Which
// Resource it is for, the request says, or there is only one, which is a guess: those of
// grantd's own are in no list. Nil: it does not say enough, or the client may not reach
// it. Errors are outages.
func (o *OAuth) foretell(ctx context.Context, client *storage.Client, a asked) (*foretold, error) {
	all, err := o.Catalog.Resources(ctx)
	if err != nil {
		return nil, err
	}
	resource, err := choose(all, asked{resources: a.resources})
	if err != nil || !client.MayReach(resource) {
		return nil, nil //nolint:nilerr // what is wrong with it is found out later, in the order of the checks
	}
	scopes := client.Within(resource.ScopeNames())
	if len(a.scopes) > 0 {
		scopes = storage.Intersect(scopes, a.scopes)
	}
	f := new(foretold)
	if f.rules, err = o.rules(ctx, client, resource); err != nil {
		return nil, err
	}
	f.everybody, f.members = policy.Foretell(f.policies, f.question, scopes)
	return f, nil
}

// decide asks which of the scopes a person of these groups may have of the resource
// through the client.
func (r rules) decide(groups, scopes []string) policy.Decision {
	r.question.Groups = groups
	return policy.Decide(r.policies, r.question, scopes)
}

// allowed are the scopes, of those once approved, that the Grant, the Resource, the
// client's ceiling and the policies allow.
func (r rules) allowed(approved []string, standing storage.Standing) []string {
	client, resource := r.question.Client, r.question.Resource
	scopes := client.Within(storage.Intersect(storage.Intersect(approved, standing.Scopes), resource.ScopeNames()))
	if resource.Identity() { // what is told of a person is for them to decide
		return identityNow(client, scopes, standing)
	}
	return r.decide(standing.Groups, scopes).Allowed()
}

// decide is what the rules of now decide. Errors are outages.
func (o *OAuth) decide(ctx context.Context, client *storage.Client, resource *storage.Resource, groups, scopes []string) (policy.Decision, error) {
	r, err := o.rules(ctx, client, resource)
	if err != nil {
		return nil, err
	}
	return r.decide(groups, scopes), nil
}

// allowedNow is what the rules of now allow. Errors are outages.
func (o *OAuth) allowedNow(ctx context.Context, client *storage.Client, resource *storage.Resource, approved []string, standing storage.Standing) ([]string, error) {
	r, err := o.rules(ctx, client, resource)
	if err != nil {
		return nil, err
	}
	return r.allowed(approved, standing), nil
}

// narrow leaves of a request the scopes that the policies let the signed-in person
// approve; false: none, and the request stays as it is. Who the person is the policies
// do not decide: where they approve the rest in advance, that is with it.
func narrow(request *authorizationRequest, signIn *storage.SignIn) (some bool) {
	if request.resource.Identity() {
		return true
	}
	scopes := storage.WithoutIdentity(request.scopes)
	decision := request.rules.decide(signIn.User.Groups, scopes)
	allowed := decision.Allowed()
	if len(allowed) == 0 {
		return false
	}
	request.withheld = slices.DeleteFunc(scopes, func(s string) bool { return slices.Contains(allowed, s) })
	identity := storage.Intersect(request.scopes, storage.IdentityScopes)
	request.scopes, request.decision = append(allowed, identity...), decision.Of(allowed)
	return true
}

// permit narrows a request to what the signed-in person may approve. Where that is
// nothing it answers: the person learns it from a page, and the client, with the
// person's click, that access is denied. It writes nothing.
func (o *OAuth) permit(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) (answered bool, err error) {
	if narrow(request, signIn) {
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
