package discover

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"grantd/api"
	"grantd/storage"
)

// maxScopeTools is how many tools a Scope may name.
const maxScopeTools = 256

// Propose returns the Resource that fits what the server says, for an
// administrator to decide about. It may add to s.Notes.
//
// The scopes are the server's own, where it names any: it will look for these in
// tokens. Otherwise its tools are put together by what they may do.
func (s *Server) Propose() api.ResourceFields {
	name := s.Name
	if name == "" {
		if u, err := url.Parse(s.URI); err == nil {
			name = u.Host
		}
	}
	proposal := api.ResourceFields{URI: s.URI, Name: name}
	own := slices.Clone(s.ScopesSupported)
	for _, scope := range s.ChallengeScopes {
		if !slices.Contains(own, scope) && len(own) < maxScopes {
			own = append(own, scope)
		}
	}
	switch {
	case len(own) > 0:
		for _, scope := range own {
			proposal.Scopes = append(proposal.Scopes, draft(scope, name))
		}
		if len(s.Tools) > 0 {
			s.note("it names scopes, but not which of its tools needs which: --scope and --tool say so")
		}
	case len(s.Tools) > 0:
		proposal.Scopes = s.groups(name)
	default:
		proposal.Scopes = []api.Scope{{Name: "use", Description: "Use " + name, Risk: string(storage.RiskWrite)}}
		s.note("it names no scopes and shows no tools, so one scope is proposed for all of it")
	}
	return proposal
}

func (s *Server) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// groups are the scopes for tools that may do the same harm.
func (s *Server) groups(name string) []api.Scope {
	var scopes []api.Scope
	silent := 0
	for _, group := range []struct {
		risk     storage.ScopeRisk
		sentence string
	}{
		{storage.RiskRead, "Look up what is in %s"},
		{storage.RiskWrite, "Add to what is in %s"},
		{storage.RiskDestructive, "Change, overwrite and delete what is in %s"},
	} {
		scope := api.Scope{Name: string(group.risk), Description: fmt.Sprintf(group.sentence, name), Risk: string(group.risk)}
		for _, tool := range s.Tools {
			if tool.Risk == group.risk {
				scope.Tools = append(scope.Tools, tool.Name)
				if !tool.Annotated {
					silent++
				}
			}
		}
		switch n := len(scope.Tools); {
		case n == 0:
			continue
		case n > maxScopeTools:
			s.note("%d tools are more than the scope %s can name: people will not see which they are", n, scope.Name)
			scope.Tools = nil
		}
		scopes = append(scopes, scope)
	}
	if silent > 0 {
		s.note("%d of its tools do not say what they may do (readOnlyHint, destructiveHint), and what does not say may destroy", silent)
	}
	return scopes
}

// verbs are what the words in names of scopes mean to people, and at worst.
var verbs = map[string]struct {
	says string
	risk storage.ScopeRisk
}{
	"read": {"Read", storage.RiskRead}, "list": {"List", storage.RiskRead}, "view": {"See", storage.RiskRead},
	"get": {"Read", storage.RiskRead}, "search": {"Search", storage.RiskRead},
	"write": {"Add and change", storage.RiskWrite}, "create": {"Add", storage.RiskWrite}, "add": {"Add", storage.RiskWrite},
	"update": {"Change", storage.RiskWrite}, "edit": {"Change", storage.RiskWrite}, "send": {"Send", storage.RiskWrite},
	"delete": {"Delete", storage.RiskDestructive}, "remove": {"Delete", storage.RiskDestructive},
	"admin": {"Administer", storage.RiskDestructive}, "manage": {"Administer", storage.RiskDestructive},
}

// draft is a scope by its name alone, like notes:read or read:notes: what people
// are asked when they approve it, and its risk.
func draft(scope, name string) api.Scope {
	words := strings.FieldsFunc(scope, func(c rune) bool { return strings.ContainsRune(":./_-", c) })
	for _, at := range []int{len(words) - 1, 0} {
		if at < 0 {
			continue
		}
		verb, known := verbs[strings.ToLower(words[at])]
		if !known {
			continue
		}
		what := strings.Join(slices.Delete(slices.Clone(words), at, at+1), " ")
		if what == "" {
			what = "what is"
		}
		return api.Scope{Name: scope, Description: verb.says + " " + what + " in " + name, Risk: string(verb.risk)}
	}
	return api.Scope{Name: scope, Description: "Use " + scope + " of " + name, Risk: string(storage.RiskWrite)}
}
