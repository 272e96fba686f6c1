// Package policy decides, by the Policies, which Scopes of a Resource a User may
// approve for a Client, and says which of them decided it. Policies only allow:
// what none of them allows is denied. It asks nobody; what it needs is given to it.
package policy

import (
	"slices"

	"grantd/storage"
)

// Question is what the Policies are asked about.
type Question struct {
	Groups   []string // that the User is in
	Client   *storage.Client
	Trust    storage.ClientTrust // how far the Client is known
	Resource *storage.Resource
}

// administration is the one rule of the built-in Resource.
var administration = &storage.Policy{
	ID: storage.PrefixPolicy + "00000000000000000000000001", Name: "Administrators may administer this server",
	Groups: []string{storage.AdminGroup}, Scopes: []string{storage.ScopeAdminRead, storage.ScopeAdminWrite},
}

// Deciding are those of the policies that are asked about a Resource: all of them, but
// for the built-in Resource one rule that nobody can change. So no Policy lets anybody
// else administer, and none locks the administrators out.
func Deciding(policies []*storage.Policy, resource *storage.Resource) []*storage.Policy {
	if resource.BuiltIn() {
		return []*storage.Policy{administration}
	}
	return policies
}

// Verdict is what the Policies say of one Scope.
type Verdict struct {
	Scope string
	// Policy is the first that allows it; nil: it is denied.
	Policy *storage.Policy
	// InAdvance is the first that allows it and approves it in advance, or nil.
	InAdvance *storage.Policy
}

// Decision is what the Policies say of some Scopes, in the order they were given.
type Decision []Verdict

// Decide asks the policies, in their order, for each of the scopes.
func Decide(policies []*storage.Policy, q Question, scopes []string) Decision {
	decision := make(Decision, len(scopes))
	policies = Deciding(policies, q.Resource)
	for i, name := range scopes {
		decision[i].Scope = name
		scope, ok := scopeOf(q.Resource, name)
		if !ok {
			continue
		}
		for _, p := range policies {
			if !allows(p, q, scope) {
				continue
			}
			if decision[i].Policy == nil {
				decision[i].Policy = p
			}
			if p.SkipConsent {
				decision[i].InAdvance = p
				break
			}
		}
	}
	return decision
}

// Allowed are the scopes that a policy allows.
func (d Decision) Allowed() []string {
	allowed := make([]string, 0, len(d))
	for _, v := range d {
		if v.Policy != nil {
			allowed = append(allowed, v.Scope)
		}
	}
	return allowed
}

// InAdvance reports whether every scope is approved in advance.
func (d Decision) InAdvance() bool {
	return len(d) > 0 && !slices.ContainsFunc(d, func(v Verdict) bool { return v.InAdvance == nil })
}

// Of is the part of the decision that is on these scopes.
func (d Decision) Of(scopes []string) Decision {
	return slices.DeleteFunc(slices.Clone(d), func(v Verdict) bool { return !slices.Contains(scopes, v.Scope) })
}

// Names are the names of the policies that allow the scopes, each once. If all is
// approved in advance they are those that approve it.
func (d Decision) Names() []string {
	inAdvance, names := d.InAdvance(), []string{}
	for _, v := range d {
		p := v.Policy
		if inAdvance {
			p = v.InAdvance
		}
		if p != nil && !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// AskTrust reports whether it matters to any of the policies how far a Client is
// known.
func AskTrust(policies []*storage.Policy) bool {
	return slices.ContainsFunc(policies, func(p *storage.Policy) bool { return len(p.Trust) > 0 })
}

// AskGroups reports whether it matters to any of the policies, asked about the Resource,
// what Groups a person is in.
func AskGroups(policies []*storage.Policy, resource *storage.Resource) bool {
	return slices.ContainsFunc(Deciding(policies, resource), func(p *storage.Policy) bool { return len(p.Groups) > 0 })
}

// Foretell answers before it is known who asks: it returns the scopes that are
// allowed to everybody, and for the others to whom.
func Foretell(policies []*storage.Policy, q Question, scopes []string) (everybody []string, members []storage.GroupScope) {
	everybody = []string{}
	policies = Deciding(policies, q.Resource)
	for _, name := range scopes {
		scope, ok := scopeOf(q.Resource, name)
		if !ok {
			continue
		}
		var groups []string
		all := false
		for _, p := range policies {
			if !allowsMembers(p, q, scope) {
				continue
			}
			all = all || len(p.Groups) == 0
			groups = append(groups, p.Groups...)
		}
		if all {
			everybody = append(everybody, name)
			continue
		}
		slices.Sort(groups)
		for _, group := range slices.Compact(groups) {
			members = append(members, storage.GroupScope{Group: group, Scope: name})
		}
	}
	return everybody, members
}

func allows(p *storage.Policy, q Question, scope storage.Scope) bool {
	return forGroups(p, q) && allowsMembers(p, q, scope)
}

// allowsMembers is allows for somebody who is in the policy's groups.
func allowsMembers(p *storage.Policy, q Question, scope storage.Scope) bool {
	return forResource(p, q) && forScope(p, scope) && forClient(p, q) && forTrust(p, q)
}

func forGroups(p *storage.Policy, q Question) bool {
	return len(p.Groups) == 0 || slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(q.Groups, g) })
}

func forResource(p *storage.Policy, q Question) bool {
	return len(p.Resources) == 0 || slices.Contains(p.Resources, q.Resource.URI)
}

func forScope(p *storage.Policy, scope storage.Scope) bool {
	if len(p.Scopes) == 0 {
		return scope.Risk != storage.RiskDestructive
	}
	return slices.Contains(p.Scopes, scope.Name)
}

func forClient(p *storage.Policy, q Question) bool {
	return len(p.Clients) == 0 || slices.Contains(p.Clients, q.Client.ClientID)
}

func forTrust(p *storage.Policy, q Question) bool {
	return len(p.Trust) == 0 || slices.Contains(p.Trust, q.Trust)
}

func scopeOf(r *storage.Resource, name string) (storage.Scope, bool) {
	i := slices.IndexFunc(r.Scopes, func(s storage.Scope) bool { return s.Name == name })
	if i < 0 {
		return storage.Scope{}, false
	}
	return r.Scopes[i], true
}
