package admin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
	"grantd/storage/storagetest"
)

const (
	policyPath   = "/admin/v1/registration-policy"
	requestsPath = "/admin/v1/registration-requests"
)

func TestRegistrationPolicy(t *testing.T) {
	s := newServer(t)
	got := into[api.RegistrationPolicy](s.send(http.MethodGet, policyPath, "").want(http.StatusOK))
	careful := api.RegistrationPolicy{Dynamic: "ask_admin", MetadataDocuments: "ask_admin", Hosts: []api.HostDecision{}, DisabledProfiles: []string{}}
	if diff := cmp.Diff(careful, got); diff != "" {
		t.Errorf("a new server's policy (-want +got):\n%s", diff)
	}
	got = into[api.RegistrationPolicy](s.send(http.MethodPatch, policyPath,
		`{"dynamic":"token","hosts":[{"host":"b.example","decision":"off"},{"host":"*.a.example","decision":"allow"}],"disabled_profiles":["cursor","codex"]}`).want(http.StatusOK))
	want := api.RegistrationPolicy{
		Dynamic: "token", MetadataDocuments: "ask_admin", DisabledProfiles: []string{"codex", "cursor"}, UpdatedAt: got.UpdatedAt,
		Hosts: []api.HostDecision{{Host: "*.a.example", Decision: "allow"}, {Host: "b.example", Decision: "off"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || got.UpdatedAt == nil {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	// What is not sent stays; null sets back.
	want.MetadataDocuments, want.Hosts = "off", []api.HostDecision{}
	got = into[api.RegistrationPolicy](s.send(http.MethodPatch, policyPath, `{"metadata_documents":"off","hosts":null}`).want(http.StatusOK))
	want.UpdatedAt = got.UpdatedAt
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after another (-want +got):\n%s", diff)
	}

	before := len(eventsNamed(t, s, "registration_policy.updated"))
	s.send(http.MethodPatch, policyPath, `{"dynamic":"token"}`).want(http.StatusOK) // changes nothing
	events := eventsNamed(t, s, "registration_policy.updated")
	if before != 2 || len(events) != before {
		t.Fatalf("%d events after two changes and one that is none", len(events))
	}
	if d := events[0].Detail; d["changed"] != "disabled_profiles dynamic hosts" || d["dynamic"] != "token" || !strings.Contains(d["hosts"], "b.example") {
		t.Errorf("event = %+v", events[0])
	}
}

func eventsNamed(t *testing.T, s *server, action string) []*storage.AuditEvent {
	t.Helper()
	all, err := s.store.AuditEvents(t.Context(), storage.AuditFilter{}, storage.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e *storage.AuditEvent) bool { return e.Action != action })
}

func TestRegistrationPolicyRules(t *testing.T) {
	s := newServer(t)
	hosts := func(n int) string {
		list := make([]map[string]string, n)
		for i := range list {
			list[i] = map[string]string{"host": fmt.Sprintf("h%d.example", i), "decision": "allow"}
		}
		return quoted(list)
	}
	rules := map[string]rule{
		"modes that are none":                   {`{"dynamic":"hunter2","metadata_documents":"token"}`, faultsAt("/dynamic", "/metadata_documents")},
		"decisions that are none":               {`{"hosts":[{"host":"a.example","decision":"token"},{"host":"b.example","decision":""}]}`, faultsAt("/hosts/0/decision", "/hosts/1/decision")},
		"a host twice":                          {`{"hosts":[{"host":"a.example","decision":"allow"},{"host":"a.example","decision":"off"}]}`, faultsAt("/hosts/1/host")},
		"a profile that is none":                {`{"disabled_profiles":["hunter2"]}`, faultsAt("/disabled_profiles/0")},
		"a profile twice":                       {`{"disabled_profiles":["cursor","cursor"]}`, faultsAt("/disabled_profiles/1")},
		"too many hosts":                        {`{"hosts":` + hosts(1001) + `}`, faultsAt("/hosts")},
		"as many hosts as there may be":         {body: `{"hosts":` + hosts(1000) + `}`},
		"names, addresses and domains":          {body: `{"hosts":[{"host":"a.example","decision":"allow"},{"host":"192.0.2.1","decision":"off"},{"host":"2001:db8::1","decision":"off"},{"host":"*.corp.example","decision":"ask_admin"},{"host":"intranet","decision":"allow"},{"host":"xn--pple-43d.com","decision":"off"}]}`},
		"everything is taken back":              {body: `{"dynamic":null,"metadata_documents":null,"hosts":null,"disabled_profiles":null}`},
		"a wildcard over nearly everybody":      {`{"hosts":[{"host":"*.com","decision":"allow"}]}`, faultsAt("/hosts/0/host")},
		"CM-26 a spelling that never comes in":  {`{"hosts":[{"host":"Hunter2.example","decision":"off"}]}`, faultsAt("/hosts/0/host")},
		"CM-26 a name with the root's dot":      {`{"hosts":[{"host":"hunter2.example.","decision":"off"}]}`, faultsAt("/hosts/0/host")},
		"CM-26 an address in another spelling":  {`{"hosts":[{"host":"0127.0.0.1","decision":"off"},{"host":"127.1","decision":"off"},{"host":"2001:DB8::1","decision":"off"},{"host":"[2001:db8::1]","decision":"off"},{"host":"::ffff:192.0.2.1","decision":"off"}]}`, faultsAt("/hosts/0/host", "/hosts/1/host", "/hosts/2/host", "/hosts/3/host", "/hosts/4/host")},
		"CM-26 a letter that looks like others": {`{"hosts":[{"host":"\u0430pple.example","decision":"allow"}]}`, faultsAt("/hosts/0/host")},
	}
	for _, host := range []string{"", "*", "*.", "*.*.example", "a.*.example", "hunter2.example:443", "https://hunter2.example", "hunter2.example/x", "-hunter2.example", "hunter2..example", "hunter2 .example", "user@hunter2.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "hunter2"} {
		rules["no host: "+host] = rule{`{"hosts":[{"host":` + quoted(host) + `,"decision":"off"}]}`, faultsAt("/hosts/0/host")}
	}
	for name, test := range rules {
		t.Run(name, func(t *testing.T) {
			a := s.send(http.MethodPatch, policyPath, test.body)
			if len(test.pointers) == 0 {
				a.want(http.StatusOK)
				return
			}
			var pointers []string
			for _, fault := range a.wantProblem(http.StatusBadRequest, "invalid").Errors {
				pointers = append(pointers, fault.Pointer)
			}
			if !slices.Equal(pointers, test.pointers) {
				t.Errorf("faults at %q, want %q", pointers, test.pointers)
			}
			if strings.Contains(string(a.body), "hunter2") {
				t.Errorf("the answer repeats what was sent: %s", a.body)
			}
		})
	}
}

// A profile that came with another version of grantd may stay switched off.
func TestDisabledProfileOfAnotherVersion(t *testing.T) {
	s := newServer(t)
	p, err := s.store.RegistrationPolicy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.DisabledProfiles = []string{"of-another-version"}
	if err := s.store.UpdateRegistrationPolicy(t.Context(), p, storagetest.Event("registration_policy.updated", "")); err != nil {
		t.Fatal(err)
	}
	s.send(http.MethodPatch, policyPath, `{"dynamic":"allow"}`).want(http.StatusOK)
	s.send(http.MethodPatch, policyPath, `{"disabled_profiles":["of-another-version","cursor"]}`).want(http.StatusOK)
	s.send(http.MethodPatch, policyPath, `{"disabled_profiles":["of-a-third"]}`).wantProblem(http.StatusBadRequest, "invalid")
}

// asked stores a request of a person for that client.
func asked(t *testing.T, s *server, change func(*storage.RegistrationRequest)) *storage.RegistrationRequest {
	t.Helper()
	u := storagetest.NewUser()
	if err := s.store.CreateUser(t.Context(), u, storagetest.Event("user.created", u.ID)); err != nil {
		t.Fatal(err)
	}
	r := storagetest.NewRegistrationRequest()
	if change != nil {
		change(r)
	}
	if err := s.store.AskRegistration(t.Context(), r, u.ID, storagetest.RequestLimits, storagetest.Event("registration_request.created", r.ClientID)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRegistrationRequests(t *testing.T) {
	s := newServer(t)
	first := asked(t, s, func(r *storage.RegistrationRequest) { r.ClientName = "<script>\u202egpj</script>" })
	second := asked(t, s, nil)
	list := into[api.RegistrationRequestList](s.send(http.MethodGet, requestsPath+"?limit=1", "").want(http.StatusOK))
	if len(list.Items) != 1 || list.Items[0].ID != first.ID || list.NextCursor != first.ID || list.Items[0].ClientName != first.ClientName {
		t.Errorf("the first page is %+v", list)
	}
	if a := list.Items[0].AskedBy; len(a) != 1 || list.Items[0].Asked != 1 || a[0].Username == "" {
		t.Errorf("asked by %+v", a)
	}
	list = into[api.RegistrationRequestList](s.send(http.MethodGet, requestsPath+"?limit=1&cursor="+list.NextCursor, "").want(http.StatusOK))
	if len(list.Items) != 1 || list.Items[0].ID != second.ID || list.NextCursor != "" {
		t.Errorf("the second page is %+v", list)
	}
	s.send(http.MethodGet, requestsPath+"?state=hunter2", "").wantProblem(http.StatusBadRequest, "invalid")
	s.send(http.MethodGet, requestsPath+"?cursor=hunter2", "").wantProblem(http.StatusBadRequest, "invalid")

	got := into[api.RegistrationRequest](s.send(http.MethodPost, requestsPath+"/"+first.ID+"/decision", `{"decision":"refuse"}`).want(http.StatusOK))
	if got.State != "refused" || got.DecidedAt == nil {
		t.Errorf("refused, it is %+v", got)
	}
	got = into[api.RegistrationRequest](s.send(http.MethodPost, requestsPath+"/"+first.ID+"/decision", `{"decision":"allow","for":"client"}`).want(http.StatusOK))
	if got.State != "allowed" {
		t.Errorf("allowed, it is %+v", got)
	}
	if policy := into[api.RegistrationPolicy](s.send(http.MethodGet, policyPath, "")); len(policy.Hosts) != 0 {
		t.Errorf("a decision on a client made the policy %+v", policy)
	}
	list = into[api.RegistrationRequestList](s.send(http.MethodGet, requestsPath+"?state=pending", "").want(http.StatusOK))
	if len(list.Items) != 1 || list.Items[0].ID != second.ID {
		t.Errorf("pending are %+v", list.Items)
	}
	for action, n := range map[string]int{"registration_request.refused": 1, "registration_request.allowed": 1} {
		events := eventsNamed(t, s, action)
		if len(events) != n || events[0].Target != first.ID || events[0].Detail["client_id"] != first.ClientID || !strings.HasPrefix(events[0].Actor, "admin:") {
			t.Errorf("events of %s: %+v", action, events)
		}
	}
	s.send(http.MethodDelete, requestsPath+"/"+first.ID, "").want(http.StatusNoContent)
	s.send(http.MethodGet, requestsPath+"/"+first.ID, "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodDelete, requestsPath+"/"+first.ID, "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodPost, requestsPath+"/"+first.ID+"/decision", `{"decision":"allow"}`).wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodGet, requestsPath+"/cl_no", "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodPost, requestsPath+"/"+second.ID+"/decision", `{"decision":"hunter2","for":"everybody"}`).wantProblem(http.StatusBadRequest, "invalid")
}

func TestDecidingOnAHost(t *testing.T) {
	s := newServer(t)
	dynamic := func(uris ...string) func(*storage.RegistrationRequest) {
		return func(r *storage.RegistrationRequest) {
			r.Source, r.ClientID, r.RedirectURIs = storage.SourceDynamic, storage.NewID(storage.PrefixClient), uris
		}
	}
	document := func(url string) func(*storage.RegistrationRequest) {
		return func(r *storage.RegistrationRequest) { r.ClientID = url }
	}
	one := asked(t, s, document("https://vendor.example/one.json"))
	same := asked(t, s, document("https://vendor.example:8443/two.json"))
	returning := asked(t, s, dynamic("https://vendor.example/cb", "https://vendor.example/cb2"))
	other := asked(t, s, document("https://vendor.example.evil.test/one.json"))
	for name, uris := range map[string][]string{
		"loopback":           {"http://127.0.0.1/cb"},
		"private use":        {"cursor://anysphere.cursor-mcp/oauth/callback"},
		"one of two hosts":   {"https://vendor.example/cb", "https://evil.test/cb"},
		"a host and a local": {"https://vendor.example/cb", "http://localhost/cb"},
	} {
		r := asked(t, s, dynamic(uris...))
		if got := into[api.RegistrationRequest](s.send(http.MethodGet, requestsPath+"/"+r.ID, "")); got.Host != "" {
			t.Errorf("%s: the host is %q", name, got.Host)
		}
		problem := s.send(http.MethodPost, requestsPath+"/"+r.ID+"/decision", `{"decision":"allow","for":"host"}`).wantProblem(http.StatusBadRequest, "invalid")
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/for" {
			t.Errorf("%s: %+v", name, problem)
		}
	}
	got := into[api.RegistrationRequest](s.send(http.MethodPost, requestsPath+"/"+one.ID+"/decision", `{"decision":"allow","for":"host"}`).want(http.StatusOK))
	if got.State != "allowed" || got.Host != "vendor.example" {
		t.Errorf("decided: %+v", got)
	}
	policy := into[api.RegistrationPolicy](s.send(http.MethodGet, policyPath, ""))
	if diff := cmp.Diff([]api.HostDecision{{Host: "vendor.example", Decision: "allow"}}, policy.Hosts); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	for r, state := range map[*storage.RegistrationRequest]string{same: "allowed", returning: "allowed", other: "pending"} {
		if got := into[api.RegistrationRequest](s.send(http.MethodGet, requestsPath+"/"+r.ID, "")); got.State != state {
			t.Errorf("%s %q is %s, want %s", r.ClientID, r.RedirectURIs, got.State, state)
		}
	}

	full := make([]map[string]string, storage.MaxHostDecisions)
	for i := range full {
		full[i] = map[string]string{"host": fmt.Sprintf("h%d.example", i), "decision": "off"}
	}
	s.send(http.MethodPatch, policyPath, `{"hosts":`+quoted(full)+`}`).want(http.StatusOK)
	s.send(http.MethodPost, requestsPath+"/"+other.ID+"/decision", `{"decision":"refuse","for":"host"}`).wantProblem(http.StatusConflict, "too-many-hosts")
}

func TestClientProfiles(t *testing.T) {
	s := newServer(t)
	s.send(http.MethodPatch, policyPath, `{"disabled_profiles":["cursor"]}`).want(http.StatusOK)
	var names []string
	for cursor := ""; ; {
		list := into[api.ClientProfileList](s.send(http.MethodGet, "/admin/v1/client-profiles?limit=3&cursor="+cursor, "").want(http.StatusOK))
		for _, p := range list.Items {
			names = append(names, p.Name)
			if p.Enabled == (p.Name == "cursor") {
				t.Errorf("%s is enabled: %t", p.Name, p.Enabled)
			}
		}
		if cursor = list.NextCursor; cursor == "" {
			break
		}
	}
	if want := []string{"chatgpt", "claude", "claude-code", "codex", "copilot-cli", "cursor", "inspector", "vscode"}; !slices.Equal(names, want) {
		t.Errorf("profiles %q, want %q", names, want)
	}
	s.send(http.MethodGet, "/admin/v1/client-profiles?cursor=hunter2", "").wantProblem(http.StatusBadRequest, "invalid")
}
