package admin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
	"grantd/storage/storagetest"
)

const policiesPath = "/admin/v1/policies"

const fullPolicy = `{"name":"Portal","groups":["staff"],"resources":["HTTPS://PAYROLL.example.com/mcp/"],"scopes":["payroll:read"],
	"clients":["intranet-portal"],"trust":["registered"],"skip_consent":true,"managed_by":"grantd apply"}`

func TestPolicies(t *testing.T) {
	s := newServer(t)
	s.makePayroll()
	made := create[api.Policy](s, policiesPath, fullPolicy)
	want := api.Policy{
		ID: made.ID, Name: "Portal", Groups: []string{"staff"}, Resources: []string{"https://payroll.example.com/mcp"}, Scopes: []string{"payroll:read"},
		Clients: []string{"intranet-portal"}, Trust: []string{"registered"}, SkipConsent: true, ManagedBy: "grantd apply",
		CreatedAt: start, UpdatedAt: start,
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Error(diff)
	}
	path := policiesPath + "/" + made.ID
	s.later(time.Minute)
	r := s.request(http.MethodPatch, path, `{"scopes":null,"skip_consent":null,"clients":[],"groups":["staff","guests"]}`)
	r.Header.Set("If-Match", `"1"`)
	changed := into[api.Policy](s.do(r).want(http.StatusOK))
	want.Scopes, want.Clients, want.Groups, want.SkipConsent, want.UpdatedAt = []string{}, []string{}, []string{"staff", "guests"}, false, start.Add(time.Minute)
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Error(diff)
	}
	r = s.request(http.MethodPatch, path, `{"name":"Mine"}`)
	r.Header.Set("If-Match", `"1"`)
	s.do(r).wantProblem(http.StatusPreconditionFailed, "changed")
	if diff := cmp.Diff(want, into[api.Policy](s.send(http.MethodGet, path, "").want(http.StatusOK))); diff != "" {
		t.Error(diff)
	}
	byName := into[api.PolicyList](s.send(http.MethodGet, policiesPath+"?name=Portal", "").want(http.StatusOK))
	all := into[api.PolicyList](s.send(http.MethodGet, policiesPath, "").want(http.StatusOK))
	if len(byName.Items) != 1 || byName.Items[0].ID != made.ID || len(all.Items) != 2 {
		t.Errorf("%d by name, %d in all", len(byName.Items), len(all.Items))
	}
	s.send(http.MethodDelete, path, "").want(http.StatusNoContent)
	s.send(http.MethodDelete, path, "").wantProblem(http.StatusNotFound, "not-found")

	var got []string
	for _, e := range s.events() {
		var rule struct {
			Name   string
			Groups []string
		}
		if !strings.HasPrefix(e.Action, "policy.") {
			continue
		}
		if err := json.Unmarshal([]byte(e.Detail["policy"]), &rule); err != nil || e.Target != made.ID {
			t.Errorf("%+v: %v", e, err)
		}
		got = append(got, e.Action+" "+rule.Name+" "+strings.Join(rule.Groups, ","))
	}
	expected := []string{"policy.created Portal staff", "policy.updated Portal staff,guests", "policy.deleted Portal staff,guests"}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Error(diff)
	}
}

// events returns every audit event.
func (s *server) events() []*storage.AuditEvent {
	s.t.Helper()
	events, err := s.store.AuditEvents(s.t.Context(), storage.AuditFilter{}, storage.Page{Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return events
}

func TestRefusedPolicies(t *testing.T) {
	s := newServer(t)
	s.makePayroll()
	f := storagetest.NewFixture(t, s.store)
	loopback, dynamic := storagetest.NewClient(), storagetest.NewDynamicClient()
	loopback.RedirectURIs = []string{"http://127.0.0.1/callback"}
	for _, c := range []*storage.Client{loopback, dynamic} {
		if err := s.store.CreateClient(t.Context(), c, storagetest.Event("client.created", c.ID)); err != nil {
			t.Fatal(err)
		}
	}
	made := create[api.Policy](s, policiesPath, fullPolicy)
	before := len(s.events())
	for name, test := range map[string]struct{ field, value, pointer string }{
		"no name":                        {"name", `""`, "/name"},
		"a line in the name":             {"name", `"a\nb"`, "/name"},
		"an unknown resource":            {"resources", `["https://other.example/mcp"]`, "/resources/0"},
		"a resource twice":               {"resources", `["https://payroll.example.com/mcp","https://payroll.example.com/mcp/"]`, "/resources/1"},
		"no URI":                         {"resources", `["files"]`, "/resources/0"},
		"an unknown scope":               {"scopes", `["payroll:reed"]`, "/scopes/0"},
		"a scope of another resource":    {"scopes", `["` + f.Resource.Scopes[0].Name + `"]`, "/scopes/0"},
		"an unknown client":              {"clients", `["nobody"]`, "/clients/0"},
		"a document that cannot be read": {"clients", `["https://127.0.0.1/client.json"]`, "/clients/0"},
		"an unknown trust":               {"trust", `["friend"]`, "/trust/0"},
		"a trust twice":                  {"trust", `["registered","registered"]`, "/trust/1"},
		"an empty group":                 {"groups", `[""]`, "/groups/0"},
		"in advance for any client":      {"clients", `[]`, "/clients"},
		"in advance for any resource":    {"resources", `[]`, "/resources"},
		"in advance for strangers":       {"trust", `["unverified"]`, "/trust"},
		"in advance to loopback":         {"clients", `["` + loopback.ClientID + `"]`, "/clients/0"},
		"in advance for a dynamic one":   {"clients", `["` + dynamic.ClientID + `"]`, "/clients/0"},
	} {
		t.Run(name, func(t *testing.T) {
			var body map[string]json.RawMessage
			if err := json.Unmarshal([]byte(fullPolicy), &body); err != nil {
				t.Fatal(err)
			}
			body["name"] = json.RawMessage(`"Another"`)
			body[test.field] = json.RawMessage(test.value)
			raw, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range []*answer{
				s.send(http.MethodPost, policiesPath, string(raw)),
				s.send(http.MethodPatch, policiesPath+"/"+made.ID, `{"`+test.field+`":`+test.value+`}`),
			} {
				problem := a.wantProblem(http.StatusBadRequest, "invalid")
				if !slices.ContainsFunc(problem.Errors, func(f api.Fault) bool { return f.Pointer == test.pointer }) {
					t.Errorf("errors = %+v", problem.Errors)
				}
			}
		})
	}
	s.send(http.MethodPost, policiesPath, fullPolicy).wantProblem(http.StatusConflict, "already-exists")
	s.send(http.MethodPatch, policiesPath+"/"+made.ID, `{"name":"Everyone may approve every MCP server"}`).wantProblem(http.StatusConflict, "already-exists")
	if diff := cmp.Diff(made, into[api.Policy](s.send(http.MethodGet, policiesPath+"/"+made.ID, "").want(http.StatusOK))); diff != "" || len(s.events()) != before {
		t.Errorf("what was refused changed something: %s", diff)
	}
}

// An explanation says yes by which rule, or no and why each rule does not say yes.
func TestPolicyExplanation(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	rule := create[api.Policy](s, policiesPath, `{"name":"Admins delete","groups":["admins"],"scopes":["files:delete"],"trust":["trusted"]}`)
	query := url.Values{"user_id": {f.User.ID}, "client_id": {f.Client.ClientID}, "resource_id": {f.Resource.ID}}
	got := into[api.PolicyExplanation](s.send(http.MethodGet, "/admin/v1/policy-explanation?"+query.Encode(), "").want(http.StatusOK))
	const everyone = "Everyone may approve every MCP server"
	if len(got.Scopes) != 3 || got.Trust != "registered" || len(got.Obstacles) != 0 || !slices.Equal(got.Groups, []string{"staff"}) {
		t.Fatalf("%+v", got)
	}
	if read := got.Scopes[0]; !read.Allowed || read.Policy != everyone || read.Risk != "read" {
		t.Errorf("%+v", read)
	}
	want := api.ScopeExplanation{Scope: "files:delete", Risk: "destructive", Policies: []api.PolicyVerdict{
		{ID: "pol_00000000000000000000000000", Name: everyone, Reasons: []string{"the scope is destructive, and the policy does not name it"}},
		{ID: rule.ID, Name: "Admins delete", Reasons: []string{
			"the user is in none of its groups (admins)", "the client is registered, and it is for clients that are trusted",
		}},
	}}
	if diff := cmp.Diff(want, got.Scopes[2]); diff != "" {
		t.Error(diff)
	}

	f.User.Disabled, f.Client.Scope = true, []string{"files:read"}
	if err := s.store.UpdateUser(t.Context(), f.User, storagetest.Event("user.updated", f.User.ID)); err != nil {
		t.Fatal(err)
	}
	if err := s.store.UpdateClient(t.Context(), f.Client, storagetest.Event("client.updated", f.Client.ID)); err != nil {
		t.Fatal(err)
	}
	query.Set("scope", "files:write")
	got = into[api.PolicyExplanation](s.send(http.MethodGet, "/admin/v1/policy-explanation?"+query.Encode(), "").want(http.StatusOK))
	if diff := cmp.Diff([]string{"the user is disabled", "the client's registration does not have files:write in scope"}, got.Obstacles); diff != "" {
		t.Error(diff)
	}
	for parameter, value := range map[string]string{"user_id": "usr_none", "client_id": "nobody", "resource_id": "res_none", "scope": "none"} {
		wrong := url.Values{}
		for name := range query {
			wrong.Set(name, query.Get(name))
		}
		wrong.Set(parameter, value)
		problem := s.send(http.MethodGet, "/admin/v1/policy-explanation?"+wrong.Encode(), "").wantProblem(http.StatusBadRequest, "invalid")
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "?"+parameter {
			t.Errorf("%s: %+v", parameter, problem.Errors)
		}
	}
}
