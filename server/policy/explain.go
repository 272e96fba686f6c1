package policy

import (
	"strings"

	"grantd/storage"
)

// Reasons says why a policy does not allow a scope: every reason, so that whoever
// mends one knows of the next. None: it allows it.
func Reasons(p *storage.Policy, q Question, scope storage.Scope) []string {
	reasons := []string{}
	if !forGroups(p, q) {
		reasons = append(reasons, "the user is in none of its groups ("+strings.Join(p.Groups, ", ")+")")
	}
	if !forResource(p, q) {
		reasons = append(reasons, "it is for other resources ("+strings.Join(p.Resources, ", ")+")")
	}
	switch {
	case forScope(p, scope):
	case len(p.Scopes) == 0:
		reasons = append(reasons, "the scope is destructive, and the policy does not name it")
	default:
		reasons = append(reasons, "it is for other scopes ("+strings.Join(p.Scopes, ", ")+")")
	}
	if !forClient(p, q) {
		reasons = append(reasons, "it is for other clients ("+strings.Join(p.Clients, ", ")+")")
	}
	if !forTrust(p, q) {
		levels := make([]string, len(p.Trust))
		for i, level := range p.Trust {
			levels[i] = string(level)
		}
		reasons = append(reasons, "the client is "+string(q.Trust)+", and it is for clients that are "+strings.Join(levels, " or "))
	}
	return reasons
}
