package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/server/policy"
	"grantd/storage"
)

var (
	notes = &storage.Resource{URI: "https://notes.example/mcp", Scopes: []storage.Scope{
		{Name: "read", Risk: storage.RiskRead}, {Name: "write", Risk: storage.RiskWrite}, {Name: "purge", Risk: storage.RiskDestructive},
	}}
	question = policy.Question{
		Groups: []string{"interns", "staff"}, Client: &storage.Client{ClientID: "portal"}, Trust: storage.TrustTrusted, Resource: notes,
	}
)

func TestDecide(t *testing.T) {
	all := &storage.Policy{Name: "all"}
	for name, test := range map[string]struct {
		rules []*storage.Policy
		want  map[string]string // by which rule each scope is allowed
	}{
		"no rule":                 {nil, nil},
		"a rule with only a name": {[]*storage.Policy{all}, map[string]string{"read": "all", "write": "all"}},
		"a destructive scope, named": {
			[]*storage.Policy{all, {Name: "purge", Scopes: []string{"purge", "read"}}},
			map[string]string{"read": "all", "write": "all", "purge": "purge"},
		},
		"the first counts": {[]*storage.Policy{{Name: "one", Scopes: []string{"write"}}, all}, map[string]string{"read": "all", "write": "one"}},
		"one of the groups": {
			[]*storage.Policy{{Name: "staff", Groups: []string{"admins", "staff"}}}, map[string]string{"read": "staff", "write": "staff"},
		},
		"another group":       {[]*storage.Policy{{Name: "p", Groups: []string{"Staff"}}}, nil},
		"this resource":       {[]*storage.Policy{{Name: "p", Resources: []string{notes.URI}}}, map[string]string{"read": "p", "write": "p"}},
		"another resource":    {[]*storage.Policy{{Name: "p", Resources: []string{notes.URI + "/2"}}}, nil},
		"this client":         {[]*storage.Policy{{Name: "p", Clients: []string{"portal"}}}, map[string]string{"read": "p", "write": "p"}},
		"another client":      {[]*storage.Policy{{Name: "p", Clients: []string{"Portal"}}}, nil},
		"this trust":          {[]*storage.Policy{{Name: "p", Trust: []storage.ClientTrust{storage.TrustTrusted}}}, map[string]string{"read": "p", "write": "p"}},
		"another trust":       {[]*storage.Policy{{Name: "p", Trust: []storage.ClientTrust{storage.TrustRegistered, storage.TrustUnverified}}}, nil},
		"a scope of nobody":   {[]*storage.Policy{{Name: "p", Scopes: []string{"other"}}}, nil},
		"all but one matches": {[]*storage.Policy{{Name: "p", Groups: []string{"staff"}, Clients: []string{"portal"}, Resources: []string{"x"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			asked := []string{"purge", "read", "unknown", "write"}
			decision := policy.Decide(test.rules, question, asked)
			got := map[string]string{}
			for i, verdict := range decision {
				if verdict.Scope != asked[i] {
					t.Errorf("verdict %d is on %q", i, verdict.Scope)
				}
				if verdict.Policy != nil {
					got[verdict.Scope] = verdict.Policy.Name
				}
			}
			if len(got) != len(test.want) || (len(got) > 0 && !cmp.Equal(test.want, got)) {
				t.Errorf("allowed by %v, want %v", got, test.want)
			}
			if len(decision.Allowed()) != len(got) {
				t.Errorf("allowed %q", decision.Allowed())
			}
			// What is foretold without the person is what is decided with them.
			everybody, members := policy.Foretell(test.rules, policy.Question{Client: question.Client, Trust: question.Trust, Resource: notes}, asked)
			foretold := map[string]bool{}
			for _, scope := range everybody {
				foretold[scope] = true
			}
			for _, m := range members {
				foretold[m.Scope] = foretold[m.Scope] || m.Group == "staff" || m.Group == "interns"
			}
			for _, scope := range asked {
				if foretold[scope] != (got[scope] != "") {
					t.Errorf("%s is foretold: %t", scope, foretold[scope])
				}
			}
			// A rule that does not allow a scope has a reason, and only then.
			for _, rule := range test.rules {
				for _, scope := range notes.Scopes {
					allows := policy.Decide([]*storage.Policy{rule}, question, []string{scope.Name})[0].Policy != nil
					if reasons := policy.Reasons(rule, question, scope); allows != (len(reasons) == 0) {
						t.Errorf("%s by %s: %t, reasons %q", scope.Name, rule.Name, allows, reasons)
					}
				}
			}
		})
	}
}

func TestInAdvance(t *testing.T) {
	all := &storage.Policy{Name: "all"}
	ahead := func(name string, scopes ...string) *storage.Policy {
		return &storage.Policy{Name: name, Scopes: scopes, SkipConsent: true}
	}
	for name, test := range map[string]struct {
		rules []*storage.Policy
		want  bool
		names []string
	}{
		"no rule":                  {[]*storage.Policy{all}, false, []string{"all"}},
		"a rule for all scopes":    {[]*storage.Policy{all, ahead("ahead")}, true, []string{"ahead"}},
		"a rule for one of them":   {[]*storage.Policy{all, ahead("ahead", "read")}, false, []string{"all"}},
		"two rules for the two":    {[]*storage.Policy{ahead("one", "read"), all, ahead("two", "write")}, true, []string{"one", "two"}},
		"one rule for both, named": {[]*storage.Policy{ahead("both", "read", "write")}, true, []string{"both"}},
	} {
		t.Run(name, func(t *testing.T) {
			decision := policy.Decide(test.rules, question, []string{"read", "write"})
			if got := decision.InAdvance(); got != test.want {
				t.Errorf("in advance: %t", got)
			}
			if diff := cmp.Diff(test.names, decision.Names()); diff != "" {
				t.Error(diff)
			}
		})
	}
	if decision := policy.Decide([]*storage.Policy{ahead("ahead")}, question, []string{"purge"}); decision.InAdvance() || len(decision.Allowed()) > 0 {
		t.Error("what is destructive is allowed in advance without being named")
	}
	if (policy.Decision{}).InAdvance() {
		t.Error("nothing at all is in advance")
	}
}
