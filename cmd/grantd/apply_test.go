package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

const organisation = `
clients:
  - client_id: desk
    client_name: Desk
    token_endpoint_auth_method: none
    redirect_uris: [http://127.0.0.1/callback]
  - client_id: import
    client_name: "Nightly: import"
    grant_types: [client_credentials]
    scope: files:read
    resources: [HTTPS://Files.Example.com/mcp/]
    client_secrets: [{file: secret}]
---
resources:
  - uri: https://files.example.com/mcp
    name: Files
    introspection_clients: [import]
    access_token_lifetime: 300
    scopes:
      - {name: files:read, description: Read your files, tools: [list, read]}
groups:
  - name: staff
    description: Everybody
    members: [alice]
policies:
  - name: Staff read their files
    groups: [staff]
    resources: [https://files.example.com/mcp]
    scopes: [files:read]
    clients: [desk]
`

// newOrganisation is an office with two people and a secret, where the organisation
// is written to a file.
func newOrganisation(t *testing.T) *office {
	t.Helper()
	o := newOffice(t)
	for _, name := range []string{"alice", "bob"} {
		o.do(0, "user", "add", name, "--no-password")
	}
	write(t, "secret", o.do(0, "client", "secret", "generate").stdout)
	write(t, "organisation.yaml", organisation)
	return o
}

// apply runs apply with --json and returns what it says of each change, with the exit
// code.
func (o *office) apply(args ...string) (changes []string, code int) {
	o.t.Helper()
	r := run(o.t, o.environ, append([]string{"apply", "--json"}, args...)...)
	var said struct {
		Changes []struct {
			Action, Kind, Name, Outcome string
			Fields                      []struct{ Field string }
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &said); err != nil {
		o.t.Fatalf("grantd apply %q printed %q: %s", args, r.stdout, r.stderr)
	}
	for _, c := range said.Changes {
		text := c.Action + " " + c.Kind + " " + c.Name + " " + c.Outcome
		if c.Action == "update" {
			for _, f := range c.Fields {
				text += " " + f.Field
			}
		}
		changes = append(changes, text)
	}
	return changes, r.code
}

func (o *office) wantApply(code int, want []string, args ...string) {
	o.t.Helper()
	if got, gotCode := o.apply(args...); gotCode != code || !slices.Equal(got, want) {
		o.t.Errorf("grantd apply %q: code %d, %q\nwant code %d, %q", args, gotCode, got, code, want)
	}
}

// trail is every audit event: what changes nothing leaves it as it is.
func (o *office) trail() string {
	o.t.Helper()
	var trail strings.Builder
	for line := range strings.Lines(o.do(0, "audit", "list", "--json").stdout) {
		var event struct{ ID, Action, Target string } // the rest moves when events are sealed
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			o.t.Fatalf("%v: %s", err, line)
		}
		trail.WriteString(event.ID + " " + event.Action + " " + event.Target + "\n")
	}
	return trail.String()
}

// edit writes the organisation anew with texts replaced, in pairs.
func edit(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(organisation, pairs[i]) {
			t.Fatalf("the organisation does not have %q", pairs[i])
		}
	}
	write(t, "organisation.yaml", strings.NewReplacer(pairs...).Replace(organisation))
}

func TestApply(t *testing.T) {
	o := newOrganisation(t)
	before := o.trail()
	plan := run(t, o.environ, "apply", "-f", "organisation.yaml", "--dry-run")
	if plan.code != 7 {
		t.Errorf("--dry-run: code %d, want 7: %s", plan.code, plan.stderr)
	}
	wantText(t, "the plan", plan.stdout, "+ client desk\n", `client_name: "Nightly: import"`, "+ resource https://files.example.com/mcp", `members: ["alice"]`, "5 to create, 0 to change, 0 to delete, 0 unchanged")
	if secret := strings.TrimSpace(read(t, "secret")); strings.Contains(plan.stdout+plan.stderr, secret) {
		t.Error("the plan shows a secret")
	}
	if o.trail() != before {
		t.Error("--dry-run has changed something")
	}

	o.wantApply(0, []string{"create client desk done", "create client import done", "create resource https://files.example.com/mcp done", "create group staff done", "create policy Staff read their files done"}, "-f", "organisation.yaml")
	if desk := o.object("client", "show", "desk"); desk["managed_by"] != "apply" || desk["client_id"] != "desk" {
		t.Errorf("desk is %v", desk)
	}
	before = o.trail()
	o.wantApply(0, nil, "-f", "organisation.yaml")
	o.wantApply(0, nil, "-f", "organisation.yaml", "--dry-run", "--prune")
	wantText(t, "applying again", o.do(0, "apply", "-f", ".").stdout, "0 to create, 0 to change, 0 to delete, 5 unchanged")
	if o.trail() != before {
		t.Error("applying the same again has changed something")
	}

	// What is left out has its default; what changed elsewhere is changed back.
	o.do(0, "client", "set", "import", "--client-uri", "https://import.example/")
	o.do(0, "group", "add-member", "staff", "bob")
	edit(t, "    access_token_lifetime: 300\n", "", "description: Everybody", "description: The staff", "[list, read]}", "[list]}\n      - {name: files:write}", "members: [alice]", "members: [Bob]")
	diff := run(t, o.environ, "apply", "-f", "organisation.yaml", "--dry-run")
	wantText(t, "the differences", diff.stdout, `client_uri: "https://import.example/" -> (none)`, "access_token_lifetime: 300 -> 600",
		`scopes: - {"description":"Read your files","name":"files:read","risk":"write","tools":["list","read"]}`, `scopes: + {"name":"files:write"`, `description: "Everybody" -> "The staff"`, `members: - "alice"`)
	if strings.Contains(diff.stdout, `members: + "bob"`) {
		t.Errorf("bob is in it already: %s", diff.stdout)
	}
	o.wantApply(0, []string{
		"update client import done client_uri", "update resource https://files.example.com/mcp done access_token_lifetime scopes", "update group staff done description members",
	}, "-f", "organisation.yaml")
	o.wantApply(0, nil, "-f", "organisation.yaml")
	if members := o.items("group", "members", "staff"); len(members) != 1 || members[0].(map[string]any)["username"] != "bob" {
		t.Errorf("members = %v", members)
	}

	// What was stopped stays so, unless a file says otherwise.
	o.do(0, "client", "disable", "desk", "--yes")
	o.wantApply(0, nil, "-f", "organisation.yaml")
	edit(t, "    client_name: Desk\n", "    client_name: Desk\n    disabled: false\n", "    access_token_lifetime: 300\n", "", "description: Everybody", "description: The staff", "[list, read]}", "[list]}\n      - {name: files:write}", "    members: [alice]\n", "")
	o.wantApply(0, []string{"update client desk done disabled"}, "-f", "organisation.yaml")
}

// Secrets are in files or the environment. The list is all of them: with two a secret
// is replaced without an interruption.
func TestApplySecrets(t *testing.T) {
	o := newOrganisation(t)
	o.do(0, "apply", "-f", "organisation.yaml")
	fingerprints := func() (all []string) {
		for _, item := range o.items("client", "secret", "list", "import") {
			all = append(all, item.(map[string]any)["fingerprint"].(string))
		}
		return all
	}
	first := fingerprints()
	o.environ = append(o.environ, "NEW_SECRET="+strings.TrimSpace(o.do(0, "client", "secret", "generate").stdout))
	edit(t, "[{file: secret}]", "[{env: NEW_SECRET}, {file: secret}]")
	o.wantApply(0, []string{"update client import done client_secrets"}, "-f", "organisation.yaml")
	both := fingerprints()
	if len(both) != 2 || both[0] != first[0] {
		t.Errorf("in the middle of a rotation: %q, before %q", both, first)
	}
	o.wantApply(0, nil, "-f", "organisation.yaml")
	edit(t, "[{file: secret}]", "[{fingerprint: "+both[1]+"}]")
	o.wantApply(0, []string{"update client import done client_secrets"}, "-f", "organisation.yaml")
	if left := fingerprints(); !slices.Equal(left, both[1:]) {
		t.Errorf("after the rotation: %q, want %q", left, both[1:])
	}

	// A public client becomes confidential, in one step.
	edit(t, "token_endpoint_auth_method: none", "client_secrets: [{env: NEW_SECRET}]", "[{file: secret}]", "[{env: NEW_SECRET}]")
	o.wantApply(0, []string{"update client desk done token_endpoint_auth_method client_secrets"}, "-f", "organisation.yaml")
	o.wantApply(0, nil, "-f", "organisation.yaml")
}

// --prune deletes what apply made in this set, and nothing else.
func TestApplyPrunes(t *testing.T) {
	o := newOrganisation(t)
	o.do(0, "group", "add", "by hand")
	o.do(0, "resource", "add", "https://files.example.com/mcp", "--name", "Files")
	o.wantApply(0, []string{"create client desk done", "create client import done", "update resource https://files.example.com/mcp done access_token_lifetime introspection_clients scopes", "create group staff done", "create policy Staff read their files done"}, "-f", "organisation.yaml")
	write(t, "other.yaml", "groups:\n  - name: theirs\n")
	o.do(0, "apply", "-f", "other.yaml", "--set", "theirs")

	write(t, "empty.yaml", "clients: []\n")
	wantText(t, "pruning by accident", o.doAny(2, "apply", "-f", "empty.yaml", "--prune").stderr, "--yes")
	o.wantApply(7, []string{"delete policy Staff read their files planned", "delete group staff planned", "delete client desk planned", "delete client import planned"}, "-f", "empty.yaml", "--prune", "--dry-run")
	o.do(0, "apply", "-f", "empty.yaml", "--prune", "--yes")
	o.do(3, "client", "show", "import")
	for _, still := range [][]string{{"group", "show", "by hand"}, {"group", "show", "theirs"}, {"resource", "show", "https://files.example.com/mcp"}} {
		o.do(0, still...)
	}
	o.wantApply(0, nil, "-f", "empty.yaml", "--prune")

	// With --adopt, what was there before goes too.
	write(t, "hand.yaml", "groups:\n  - name: by hand\n")
	o.wantApply(0, nil, "-f", "hand.yaml")
	o.wantApply(0, []string{"update group by hand done managed_by"}, "-f", "hand.yaml", "--adopt")
	o.wantApply(0, []string{"delete group by hand done"}, "-f", "empty.yaml", "--prune", "--yes")

	// Nobody takes what belongs to others.
	wantText(t, "another's", o.do(2, "apply", "-f", "other.yaml", "--adopt").stderr, "other.yaml:2: group theirs: belongs to the set theirs", "--managed-by")
	o.do(0, "group", "set", "theirs", "--managed-by", "")
	o.wantApply(0, []string{"update group theirs done managed_by"}, "-f", "other.yaml", "--adopt")
}

// doAny is do for a command that may have printed a plan before it failed.
func (o *office) doAny(code int, args ...string) result {
	o.t.Helper()
	r := run(o.t, o.environ, args...)
	if r.code != code {
		o.t.Fatalf("grantd %q: code %d, want %d\nout: %s\nerr: %s", args, r.code, code, r.stdout, r.stderr)
	}
	return r
}

// AD-05: what is wrong with files is said at once, with file, line and field, and
// nothing is changed.
func TestApplyRefuses(t *testing.T) {
	o := newOrganisation(t)
	before := o.trail()
	for name, c := range map[string]struct {
		yaml string
		says []string
	}{
		"unknown fields and lists": {"clients:\n  - client_id: a\n    nom: x\n    \"a b\": 1\nservers: []\n", []string{
			"bad.yaml:3: clients, number 1: nom is not a field here; there are admin_access, application_type,", `bad.yaml:4: clients, number 1: "a b" is not a field`, "bad.yaml:5: servers is not the name of a list; there are clients, resources, groups",
		}},
		"wrong types": {"resources:\n  - uri: https://a.example/mcp\n    name: 1\n    scopes: {}\n    access_token_lifetime: \"5\"\n  - x\ngroups: 5\nclients:\n  - client_id: a\n    disabled: yes\n    contacts: [[]]\n    client_name:\n", []string{
			"bad.yaml:3: resources, number 1, name must be a text", "bad.yaml:4: resources, number 1, scopes must be a list", "bad.yaml:5: resources, number 1, access_token_lifetime must be a whole number",
			"bad.yaml:6: resources, number 2 must have fields", "bad.yaml:7: groups must be a list", "bad.yaml:10: clients, number 1, disabled must be true or false", "bad.yaml:11: clients, number 1, contacts, number 1 must be a text", "client_name has no value",
		}},
		"duplicates": {"groups:\n  - name: a\n    name: b\n  - name: c\n  - name: c\ngroups: []\n---\nresources:\n  - {uri: https://a.example/mcp, name: A}\n  - {uri: HTTPS://A.example/mcp/, name: B}\n", []string{
			"bad.yaml:3: groups, number 1: name is there more than once", "bad.yaml:5: group c: name is there more than once; the other one is at bad.yaml:4", "bad.yaml:6: groups is there more than once",
			"bad.yaml:10: resource HTTPS://A.example/mcp/: uri is there more than once",
		}},
		"no name":          {"clients:\n  - client_name: A\n", []string{"bad.yaml:2: clients, number 1: client_id is missing"}},
		"people":           {"users:\n  - username: eve\n", []string{"bad.yaml:1: users: people are not set up from files"}},
		"not YAML":         {"clients:\n  - {client_id: a\n", []string{"bad.yaml:", "is not valid YAML"}},
		"not a mapping":    {"- a\n", []string{"bad.yaml:1: does not hold lists"}},
		"a secret in it":   {"clients:\n  - client_id: a\n    client_secret: cs_x\n", []string{"bad.yaml:3: clients, number 1: client_secret is not a field"}},
		"what apply keeps": {"groups:\n  - {name: a, managed_by: b}\n", []string{"managed_by is not a field"}},
		"anchors":          {"groups:\n  - name: &a x\n", []string{"anchors, aliases, merges and tags"}},
		"references to nothing": {"resources:\n  - uri: https://a.example/mcp\n    name: A\n    introspection_clients: [import, nobody]\ngroups:\n  - {name: a, members: [alice, Alice, nobody]}\nclients:\n" +
			"  - client_id: import\n    token_endpoint_auth_method: none\n    redirect_uris: [http://127.0.0.1/]\n    resources:\n      - https://a.example/mcp\n      - https://b.example/mcp\n", []string{
			"bad.yaml:13: client import: resources, number 2 names nothing", "bad.yaml:4: resource https://a.example/mcp: introspection_clients, number 2 names nothing",
			"bad.yaml:6: group a: members, number 2 is there more than once", "bad.yaml:6: group a: members, number 3 is no user's username",
		}},
		"what the server refuses": {"clients:\n  - client_id: usr_a\n    token_endpoint_auth_method: none\n    redirect_uris:\n      - http://127.0.0.1/\n      - http://a.example/\nresources:\n  - uri: https://a.example/mcp\n    name: A\n    scopes:\n      - {name: a}\n      - {name: openid}\n", []string{
			"bad.yaml:2: client usr_a: client_id must not begin", "bad.yaml:6: client usr_a: redirect_uris, number 2 must be", "bad.yaml:12: resource https://a.example/mcp: scopes, number 2, name must not be openid",
		}},
		"secrets": {"clients:\n  - client_id: a\n    grant_types: [client_credentials]\n    client_secrets:\n      - {file: nowhere}\n      - {env: NOTHING}\n      - {file: secret, env: NOTHING}\n      - {file: weak}\n      - {file: open}\n      - {fingerprint: \"0123456789abcdef\"}\n  - client_id: b\n    grant_types: [client_credentials]\n", []string{
			"bad.yaml:5: client a: client_secrets, number 1 cannot be read", "bad.yaml:6: client a: client_secrets, number 2 names an environment variable", "bad.yaml:7: client a: client_secrets, number 3 must have one of",
			"bad.yaml:8: client a: client_secrets, number 4 is not a client secret", "bad.yaml:9: client a: client_secrets, number 5 may be read by other users", "bad.yaml:10: client a: client_secrets, number 6 is the fingerprint",
			"bad.yaml:11: client b: needs client_secrets",
		}},
	} {
		write(t, "bad.yaml", c.yaml)
		write(t, "weak", "hunter2-hunter2-hunter2-hunter2-hunter2")
		write(t, "open", o.do(0, "client", "secret", "generate").stdout)
		if err := os.Chmod("open", 0o644); err != nil {
			t.Fatal(err)
		}
		r := o.do(2, "apply", "-f", "bad.yaml", "-f", "organisation.yaml")
		wantText(t, name, r.stderr, append(c.says, "nothing was changed")...)
		if strings.Contains(r.stderr, "hunter2") || strings.Contains(r.stderr, strings.TrimSpace(read(t, "open"))) {
			t.Errorf("%s: a secret is shown: %s", name, r.stderr)
		}
	}
	o.do(2, "apply")
	o.do(2, "apply", "-f", "organisation.yaml", "--set", "")
	wantText(t, "no such file", o.do(2, "apply", "-f", "none.yaml").stderr, "none.yaml: cannot be read: no such file")
	if err := os.Mkdir("folder", 0o755); err != nil {
		t.Fatal(err)
	}
	wantText(t, "an empty folder", o.do(2, "apply", "-f", "folder").stderr, "folder: is a folder without")
	if o.trail() != before {
		t.Error("what was refused has changed something")
	}
}

// What names a thing that --prune deletes is refused: the reference would dangle.
func TestApplyPrunesNothingInUse(t *testing.T) {
	o := newOrganisation(t)
	o.do(0, "apply", "-f", "organisation.yaml")
	edit(t, organisation[strings.Index(organisation, "  - client_id: import"):strings.Index(organisation, "---")], "")
	wantText(t, "a reference to what is deleted", o.do(2, "apply", "-f", "organisation.yaml", "--prune", "--yes").stderr, "introspection_clients, number 1 names a client that --prune deletes")
	o.do(0, "client", "show", "import")
}

// A policy may name what the same files make or change, and is refused what nothing
// has.
func TestApplyPolicies(t *testing.T) {
	o := newOrganisation(t)
	o.do(0, "apply", "-f", "organisation.yaml")
	for name, c := range map[string]struct{ from, to, says string }{
		"no such scope":    {"scopes: [files:read]\n    clients", "scopes: [files:erase]\n    clients", "policy Staff read their files: scopes, number 1 is not a scope"},
		"no such group":    {"groups: [staff]", "groups: [staff, stuff]", "groups, number 2 names nothing"},
		"no such client":   {"clients: [desk]", "clients: [disk]", "clients, number 1 names nothing"},
		"no such resource": {"resources: [https://files.example.com/mcp]\n    scopes", "resources: [https://nowhere.example.com/mcp]\n    scopes", "resources, number 1 names nothing"},
	} {
		edit(t, c.from, c.to)
		wantText(t, name, o.do(2, "apply", "-f", "organisation.yaml").stderr, c.says)
	}

	// A policy that is there goes over to a new client, a new resource, and a new scope of
	// one that is there; and narrows to another trust.
	edit(t, "    resources: [https://files.example.com/mcp]\n    scopes: [files:read]\n    clients: [desk]\n",
		"    resources: [https://files.example.com/mcp, https://notes.example.com/mcp]\n    scopes: [files:read, files:write, notes]\n    clients: [desk, pad]\n    trust: [registered]\n",
		"[list, read]}\n", "[list, read]}\n      - {name: files:write}\n  - {uri: https://notes.example.com/mcp, name: Notes, scopes: [{name: notes}]}\n",
		"  - client_id: desk", "  - {client_id: pad, token_endpoint_auth_method: none, redirect_uris: [http://127.0.0.1/]}\n  - client_id: desk")
	o.wantApply(0, []string{
		"create client pad done", "update resource https://files.example.com/mcp done scopes", "create resource https://notes.example.com/mcp done",
		"update policy Staff read their files done clients resources scopes trust",
	}, "-f", "organisation.yaml")
	o.wantApply(0, nil, "-f", "organisation.yaml")
}

// A failure half-way is told, and applying again does the rest.
func TestApplyFailsHalfWay(t *testing.T) {
	o := newOrganisation(t)
	admin, err := url.Parse(strings.TrimPrefix(o.environ[0], "GRANTD_ADMIN_URL="))
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	broken.Store(true)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(admin) }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/resources") && r.URL.RawQuery != "dry_run=true" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"type":"urn:grantd:problem:conflict","title":"Conflict","status":409,"detail":"Not now.","instance":"x"}`))
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	direct := o.environ
	o.environ = []string{"GRANTD_ADMIN_URL=" + proxy.URL}
	failed := o.doAny(4, "apply", "-f", "organisation.yaml")
	wantText(t, "the failure", failed.stderr, "Not now.", "done      + client desk\n", "done      + client import\n", "failed    + resource https://files.example.com/mcp\n", "not done  + group staff\n")
	o.wantApply(4, []string{"create resource https://files.example.com/mcp failed", "create group staff not_done", "create policy Staff read their files not_done"}, "-f", "organisation.yaml")
	broken.Store(false)
	o.wantApply(0, []string{"create resource https://files.example.com/mcp done", "create group staff done", "create policy Staff read their files done"}, "-f", "organisation.yaml")
	o.environ = direct
	o.wantApply(0, nil, "-f", "organisation.yaml")
}

// What export prints, apply takes without a change, YAML and JSON alike, whatever
// texts are in it.
func TestExport(t *testing.T) {
	o := newOrganisation(t)
	o.do(0, "apply", "-f", "organisation.yaml")
	for i, text := range []string{"yes", "1.5", "null", "a: b #c", `"quoted" \ 'it'`, "Grüße 日本 👩‍💻", "{a, b}", "*a &b !c", "2026-11-28", "0x1F", "~"} {
		o.do(0, "group", "add", text, "--description", text)
		o.do(0, "resource", "add", "https://files.example.com/"+string(rune('a'+i)), "--name", text, "--scope", "a:b="+text)
	}
	o.do(0, "client", "add", "--name", "By hand", "--redirect-uri", "https://a.example/callback")
	write(t, "key.json", `{"token_endpoint_auth_method":"private_key_jwt","grant_types":["client_credentials"],"jwks":{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}}`)
	o.do(0, "client", "add", "-f", "key.json", "--name", "Keys")
	before := o.trail()

	exported := o.do(0, "export")
	wantText(t, "export", exported.stdout, "client_secrets: # to make the client elsewhere", "{fingerprint: ", "members: [alice]", "{name: files:read, description: Read your files, risk: write, tools: [list, read]}")
	write(t, "out.yaml", exported.stdout)
	o.wantApply(0, nil, "-f", "out.yaml")
	write(t, "out.yaml", o.do(0, "export", "--json").stdout)
	o.wantApply(0, nil, "-f", "out.yaml")
	if o.trail() != before {
		t.Error("applying what was exported has changed something")
	}

	write(t, "set.yaml", o.do(0, "export", "--set", "apply").stdout)
	o.wantApply(0, nil, "-f", "set.yaml", "--prune")
	if strings.Contains(read(t, "set.yaml"), "By hand") {
		t.Error("export --set has what does not belong to it")
	}
}
