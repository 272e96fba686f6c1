package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grantd/storage/sqlite"
	"grantd/storage/storagetest"
)

// office is a grantd serve with the commands that call it.
type office struct {
	t       *testing.T
	environ []string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	inFolder(t)
	_, line := serve(t, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")
	return &office{t: t, environ: []string{"GRANTD_ADMIN_URL=" + line["admin"].(string)}}
}

// do runs a command that must end with this code.
func (o *office) do(code int, args ...string) result {
	o.t.Helper()
	r := run(o.t, o.environ, args...)
	if r.code != code {
		o.t.Fatalf("grantd %q: code %d, want %d\nout: %s\nerr: %s", args, r.code, code, r.stdout, r.stderr)
	}
	if code != 0 && r.stdout != "" {
		o.t.Errorf("grantd %q: an error on standard output: %s", args, r.stdout)
	}
	return r
}

// object runs a command with --json and returns what it printed.
func (o *office) object(args ...string) map[string]any {
	o.t.Helper()
	r := o.do(0, append(args, "--json")...)
	var object map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &object); err != nil {
		o.t.Fatalf("grantd %q: %v: %s", args, err, r.stdout)
	}
	if r.stderr != "" {
		o.t.Errorf("grantd %q --json also says %q", args, r.stderr)
	}
	return object
}

// items is object for a list.
func (o *office) items(args ...string) []any {
	o.t.Helper()
	items, ok := o.object(args...)["items"].([]any)
	if !ok {
		o.t.Fatalf("grantd %q printed no list", args)
	}
	return items
}

func wantText(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}

func TestClientCommands(t *testing.T) {
	o := newOffice(t)
	wantText(t, "an empty list", o.do(0, "client", "list").stderr, "no client yet")
	if items := o.items("client", "list"); len(items) != 0 {
		t.Errorf("items = %v", items)
	}

	added := o.do(0, "client", "add", "--name", "Report builder", "--redirect-uri", "https://a.example/1", "--redirect-uri", "https://a.example/2")
	wantText(t, "client add", added.stdout, "client_secret", "cs_", "https://a.example/2")
	wantText(t, "client add", added.stderr, "shown this once")
	made := o.object("client", "add", "--grant-type", "client_credentials", "--scope", "a", "--scope", "b")
	id, _ := made["client_id"].(string)
	if secret, _ := made["client_secret"].(string); !strings.HasPrefix(secret, "cs_") || made["scope"] != "a b" {
		t.Errorf("added %v", made)
	}

	if shown := o.do(0, "client", "show", id).stdout; strings.Contains(shown, "cs_") {
		t.Errorf("the secret is shown again: %s", shown)
	}
	changed := o.object("client", "set", id, "--name", "Import", "--client-uri", "https://b.example/", "--scope", "c")
	if changed["client_name"] != "Import" || changed["scope"] != "c" {
		t.Errorf("changed to %v", changed)
	}
	changed = o.object("client", "set", id, "--client-uri", "", "--scope", "")
	if changed["client_uri"] != nil || changed["scope"] != nil || changed["client_name"] != "Import" {
		t.Errorf("set back to the defaults: %v", changed)
	}
	o.do(2, "client", "set", id)

	second := o.object("client", "secret", "add", id)
	if len(o.items("client", "secret", "list", id)) != 2 {
		t.Error("the client has not two secrets")
	}
	o.do(0, "client", "secret", "delete", id, second["id"].(string), "--yes")
	o.do(3, "client", "secret", "delete", id, second["id"].(string), "--yes")

	wantText(t, "client disable", o.do(0, "client", "disable", id, "--yes").stderr, "disabled")
	wantText(t, "the list", o.do(0, "client", "list").stdout, "CLIENT_ID", "Import", "client_secret_basic", "yes")
	o.do(0, "client", "enable", id)
	if o.object("client", "show", id)["disabled"] != false {
		t.Error("it is still disabled")
	}
	o.do(0, "client", "delete", id, "--yes")
	wantText(t, "client show", o.do(3, "client", "show", id).stderr, "no client with the id or client_id "+id)
	o.do(3, "client", "show", "https://nobody.example/client.json")
}

func TestResourceCommands(t *testing.T) {
	o := newOffice(t)
	const uri = "https://mcp.example.com/mcp"
	added := o.object("resource", "add", uri, "--name", "Notes", "--scope", "notes:read=Read your notes", "--scope", "notes:write=Change a=b",
		"--tool", "notes:read=list,read", "--tool", "notes:read=search")
	got, _ := json.Marshal(added["scopes"])
	if want := `[{"description":"Read your notes","name":"notes:read","risk":"write","tools":["list","read","search"]},{"description":"Change a=b","name":"notes:write","risk":"write"}]`; string(got) != want {
		t.Errorf("scopes = %s, want %s", got, want)
	}
	wantText(t, "adding it twice", o.do(4, "resource", "add", uri+"/", "--name", "Again").stderr, "already")
	wantText(t, "resource show", o.do(0, "resource", "show", strings.ToUpper(uri[:20])+uri[20:]+"/").stdout, "notes:write  Change a=b", "(list, read, search)", "600 seconds")
	if changed := o.object("resource", "set", uri, "--access-token-lifetime", "60"); changed["access_token_lifetime"] != 60.0 || len(changed["scopes"].([]any)) != 2 {
		t.Errorf("changed to %v", changed)
	}
	wantText(t, "a bad lifetime", o.do(1, "resource", "set", uri, "--access-token-lifetime", "5").stderr, "--access-token-lifetime must be")
	wantText(t, "a tool of no scope", o.do(2, "resource", "set", uri, "--scope", "a=A", "--tool", "b=c").stderr, "no --scope b")
	o.do(2, "resource", "set", uri, "--tool", "b=c")
	if changed := o.object("resource", "set", uri, "--scope", ""); len(changed["scopes"].([]any)) != 0 {
		t.Errorf("scopes = %v, want none", changed["scopes"])
	}
	wantText(t, "a resource without scopes", o.do(0, "resource", "add", "https://b.example/mcp", "--name", "B").stderr, "until it has a scope")
	o.do(0, "resource", "remove", uri, "-y")
	o.do(3, "resource", "remove", uri, "-y")
}

// ST-13: a password comes from a file or the prompt, never from an argument.
func TestUserAndGroupCommands(t *testing.T) {
	o := newOffice(t)
	write(t, "password", "correct horse battery staple\n")
	o.do(2, "user", "add", "alice", "--password", "correct horse")
	wantText(t, "without a terminal", o.do(2, "user", "add", "alice").stderr, "--password-file")
	added := o.object("user", "add", "alice", "--password-file", "password", "--email", "alice@example.com", "--group", "staff")
	if added["has_password"] != true || added["username"] != "alice" {
		t.Errorf("added %v", added)
	}
	if err := os.Chmod("password", 0o644); err != nil {
		t.Fatal(err)
	}
	wantText(t, "a file that others may read", o.do(2, "user", "password", "alice", "--password-file", "password").stderr, "chmod 600")
	if err := os.Chmod("password", 0o600); err != nil {
		t.Fatal(err)
	}
	o.do(0, "user", "password", "ALICE", "--password-file", "password")
	write(t, "short", "short")
	wantText(t, "a short password", o.do(1, "user", "password", "alice", "--password-file", "short").stderr, "8 to 1024 bytes")
	if bob := o.object("user", "add", "bob", "--no-password"); bob["has_password"] != false {
		t.Errorf("added %v", bob)
	}
	wantText(t, "a name that is taken", o.do(4, "user", "add", "Alice", "--no-password").stderr, "username")
	wantText(t, "two faults", o.do(1, "user", "add", "eve", "--no-password", "--email", "x", "--group", "a", "--group", "a").stderr, "--email must be", "--group, number 2: is there more than once")

	o.do(0, "group", "add", "admins", "--description", "Us")
	wantText(t, "a group that is there", o.do(4, "group", "add", "admins").stderr, "a group with this name")
	o.do(0, "group", "add-member", "admins", "alice", "bob")
	o.do(0, "group", "add-member", "admins", "alice")
	o.do(0, "group", "remove-member", "staff", "alice")
	o.do(0, "group", "remove-member", "staff", "alice")
	if groups := o.do(0, "group", "list").stdout; strings.Join(strings.Fields(groups), " ") != "GROUP MEMBERS DESCRIPTION admins 2 Us staff 0" {
		t.Errorf("groups are\n%s", groups)
	}
	if members := o.items("group", "members", "admins"); len(members) != 2 {
		t.Errorf("members = %v", members)
	}
	o.do(3, "group", "add-member", "admins", "nobody")
	o.do(3, "group", "add-member", "nobodies", "alice")
	if set := o.object("group", "set", "admins", "--description", "", "--managed-by", "ours"); set["description"] != nil || set["managed_by"] != "ours" || set["members"] != 2.0 {
		t.Errorf("set to %v", set)
	}
	wantText(t, "deleting by accident", o.do(2, "group", "delete", "admins").stderr, "--yes")
	o.do(0, "group", "delete", "admins", "--yes")
	o.do(3, "group", "show", "admins")
	if groups, _ := json.Marshal(o.object("user", "show", "bob")["groups"]); string(groups) != "[]" {
		t.Errorf("bob is left in %s", groups)
	}

	o.do(0, "user", "disable", "alice", "--yes")
	wantText(t, "the list", o.do(0, "user", "list").stdout, "alice", "yes")
	o.do(0, "user", "enable", added["id"].(string))
	o.do(0, "user", "delete", "alice", "--yes")
	o.do(3, "user", "show", "alice")
}

// Nobody is asked where nobody can answer, and nothing is taken away.
func TestDestructiveCommandsAsk(t *testing.T) {
	o := newOffice(t)
	o.do(0, "user", "add", "alice", "--no-password")
	for _, args := range [][]string{{"user", "delete", "alice"}, {"user", "disable", "alice"}} {
		wantText(t, "asking", o.do(2, args...).stderr, "--yes")
	}
	if u := o.object("user", "show", "alice"); u["disabled"] != false {
		t.Errorf("alice is %v", u)
	}
	o.do(0, "user", "disable", "alice", "--json")
}

func TestKeyCommands(t *testing.T) {
	o := newOffice(t)
	keys := o.do(0, "key", "list").stdout
	wantText(t, "key list", keys, "active", "next", "can sign from")
	wantText(t, "rotating too early", o.do(4, "key", "rotate").stderr, "can sign from")
	wantText(t, "key rotate --now", o.do(0, "key", "rotate", "--now").stdout, "retired", "published until")
	kid := strings.Fields(strings.Split(keys, "\n")[1])[0]
	wantText(t, "revoking by accident", o.do(2, "key", "revoke", kid).stderr, "--now", "key rotate")
	o.do(0, "key", "revoke", kid, "--now")
	wantText(t, "revoking twice", o.do(3, "key", "revoke", kid, "--now").stderr, "no key "+kid)
	if left := o.items("key", "list"); len(left) != 2 {
		t.Errorf("keys = %v", left)
	}
}

func TestAuditCommand(t *testing.T) {
	o := newOffice(t)
	o.do(0, "user", "add", "alice", "--no-password")
	o.do(0, "resource", "add", "https://a.example/mcp", "--name", "A")
	wantText(t, "audit list", o.do(0, "audit", "list").stdout, "TIME", "user.created", "resource.created", "signing_key.activated")
	only := o.do(0, "audit", "list", "--action", "user", "--actor", "admin", "--json").stdout
	if lines := strings.Split(strings.TrimSpace(only), "\n"); len(lines) != 1 || !json.Valid([]byte(lines[0])) {
		t.Errorf("--json printed %q, want one line", only)
	}
	for _, since := range []string{"1h", "2d", "2020-01-31", "2020-01-31T08:00:00Z"} {
		wantText(t, "--since "+since, o.do(0, "audit", "list", "--since", since).stdout, "user.created")
	}
	wantText(t, "--since the future", o.do(0, "audit", "list", "--since", "2100-01-01").stderr, "Nothing")
	o.do(2, "audit", "list", "--since", "yesterday")
}

func TestGrantCommands(t *testing.T) {
	o := newOffice(t)
	o.do(0, "user", "add", "alice", "--no-password")
	wantText(t, "grant list", o.do(0, "grant", "list", "--user", "alice").stderr, "no such grant")
	o.do(3, "grant", "list", "--user", "nobody")
	o.do(3, "grant", "list", "--client", "nobody")
	o.do(3, "grant", "list", "--resource", "https://nobody.example/mcp")
	o.do(3, "grant", "revoke", "--user", "alice", "--yes")
	o.do(3, "grant", "revoke", "grt_06h0q8zexdy6358154akesjgvc", "--yes")
	o.do(2, "grant", "revoke")
	o.do(2, "grant", "revoke", "grt_06h0q8zexdy6358154akesjgvc", "--user", "alice", "--yes")
	o.do(2, "grant", "revoke", "--since", "yesterday", "--yes")
	o.do(3, "grant", "revoke", "--since", "2026-01-01", "--until", "2026-01-02T08:00:00Z", "--yes")
	o.do(3, "grant", "revoke", "--since", "7d")
}

func TestTokenCommands(t *testing.T) {
	o := newOffice(t)
	made := o.object("client", "add", "--name", "Import", "--grant-type", "client_credentials")
	secret, clientID := made["client_secret"].(string), made["client_id"].(string)
	wantText(t, "token inspect", o.do(0, "token", "inspect", secret).stdout, "client secret", clientID, "live", "yes")
	if got := o.object("token", "inspect", secret); got["kind"] != "client_secret" || got["live"] != true {
		t.Errorf("token inspect --json printed %v", got)
	}
	for _, value := range []string{"cs_unknown", "rt_x", "tok_x"} {
		wantText(t, value, o.do(3, "token", "inspect", value).stderr, "not a token")
		o.do(3, "token", "revoke", value, "--yes")
	}
	o.do(2, "token", "inspect")
	o.do(2, "token", "revoke", secret) // nobody is there to confirm

	rotated := o.object("client", "rotate-secret", clientID, "--overlap", "2d")
	if next := rotated["client_secret"]; next == secret || next == nil {
		t.Errorf("rotate-secret printed %v", rotated)
	}
	secrets := o.items("client", "secret", "list", clientID)
	if len(secrets) != 2 || secrets[0].(map[string]any)["expires_at"] == nil || secrets[1].(map[string]any)["expires_at"] != nil {
		t.Errorf("the secrets are %v", secrets)
	}
	o.do(2, "client", "rotate-secret", clientID, "--overlap", "soon")
	wantText(t, "token revoke", o.do(0, "token", "revoke", secret, "--yes").stderr, "worthless")
	if left := o.items("client", "secret", "list", clientID); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

// The SQLite file has one user at a time: people have asked before the server starts
// again.
func TestRegistrationRequestCommands(t *testing.T) {
	inFolder(t)
	made, _ := serve(t, anyPort...)
	made.end(t)
	store, err := sqlite.Open(t.Context(), "grantd.db")
	if err != nil {
		t.Fatal(err)
	}
	person := storagetest.NewUser()
	if err := store.CreateUser(t.Context(), person, storagetest.Event("user.created", person.ID)); err != nil {
		t.Fatal(err)
	}
	ask := func(clientID, name string) string {
		r := storagetest.NewRegistrationRequest()
		r.ClientID, r.ClientName, r.CreatedAt = clientID, name, time.Now()
		if err := store.AskRegistration(t.Context(), r, person.ID, storagetest.RequestLimits, storagetest.Event("registration_request.created", clientID)); err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	first, second := ask("https://a.example/1.json", "Desk\x1b[2J"), ask("https://a.example/2.json", "Import")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	_, line := serve(t, anyPort...)
	o := &office{t: t, environ: []string{"GRANTD_ADMIN_URL=" + line["admin"].(string)}}

	list := o.do(0, "registration", "list", "--state", "pending").stdout
	wantText(t, "registration list", list, first, second, "pending", "a.example", "https://a.example/2.json")
	if strings.Contains(list, "\x1b") {
		t.Errorf("a client's name can command the terminal: %q", list)
	}
	wantText(t, "registration show", o.do(0, "registration", "show", first).stdout, "https://tool.example/callback", person.Username)
	wantText(t, "completion", run(t, o.environ, "__complete", "registration", "allow", "").stdout, second+"\tpending Import")

	wantText(t, "registration allow", o.do(0, "registration", "allow", first).stderr, "Client https://a.example/1.json is allowed")
	if refused := o.object("registration", "refuse", first); refused["state"] != "refused" {
		t.Errorf("refused, it is %v", refused)
	}
	if hosts := o.object("registration", "policy")["hosts"].([]any); len(hosts) != 0 {
		t.Errorf("decisions on a client made the hosts %v", hosts)
	}
	wantText(t, "registration refuse --host", o.do(0, "registration", "refuse", second, "--host").stderr, "Every client of a.example is refused")
	if hosts, _ := json.Marshal(o.object("registration", "policy")["hosts"]); string(hosts) != `[{"decision":"off","host":"a.example"}]` {
		t.Errorf("hosts = %s", hosts)
	}
	o.do(0, "registration", "allow", second, "--host")
	if items := o.items("registration", "list", "--state", "allowed"); len(items) != 1 {
		t.Errorf("allowed are %v", items)
	}
	wantText(t, "a state that is none", o.do(1, "registration", "list", "--state", "x").stderr, "state must be")

	wantText(t, "deleting by accident", o.do(2, "registration", "delete", first).stderr, "--yes")
	o.do(0, "registration", "delete", first, "--yes")
	for _, verb := range []string{"show", "allow", "refuse", "delete"} {
		args := []string{"registration", verb, first}
		if verb == "delete" {
			args = append(args, "--yes")
		}
		wantText(t, verb, o.do(3, args...).stderr, "no request "+first, "registration list")
	}
}

func TestRegistrationPolicyCommands(t *testing.T) {
	o := newOffice(t)
	wantText(t, "a new server's policy", o.do(0, "registration", "policy").stdout, "dynamic             ask_admin", "metadata_documents  ask_admin")
	steps := []struct {
		args string
		want string
	}{
		{"--dynamic token --metadata-documents allow", `"token" "allow" [] []`},
		{"--host b.example=off --host *.a.example=allow --disable-profile cursor", `"token" "allow" [{"decision":"allow","host":"*.a.example"},{"decision":"off","host":"b.example"}] ["cursor"]`},
		{"--host b.example=ask_admin", `"token" "allow" [{"decision":"allow","host":"*.a.example"},{"decision":"ask_admin","host":"b.example"}] ["cursor"]`},
		{"--remove-host *.a.example --host c.example=off", `"token" "allow" [{"decision":"ask_admin","host":"b.example"},{"decision":"off","host":"c.example"}] ["cursor"]`},
		{"--disable-profile codex --disable-profile cursor", `"token" "allow" [{"decision":"ask_admin","host":"b.example"},{"decision":"off","host":"c.example"}] ["codex","cursor"]`},
		{"--enable-profile cursor --enable-profile inspector --dynamic=", `"ask_admin" "allow" [{"decision":"ask_admin","host":"b.example"},{"decision":"off","host":"c.example"}] ["codex"]`},
		{"--enable-profile codex --remove-host b.example --remove-host c.example", `"ask_admin" "allow" [] []`},
	}
	for _, step := range steps {
		p := o.object(append([]string{"registration", "policy", "set"}, strings.Fields(step.args)...)...)
		var got []string
		for _, name := range []string{"dynamic", "metadata_documents", "hosts", "disabled_profiles"} {
			value, _ := json.Marshal(p[name])
			got = append(got, string(value))
		}
		if got := strings.Join(got, " "); got != step.want {
			t.Errorf("after %s\n got %s\nwant %s", step.args, got, step.want)
		}
	}

	o.do(0, "registration", "policy", "set", "--host", "a.example=off", "--disable-profile", "cursor")
	wantText(t, "registration policy", o.do(0, "registration", "policy").stdout, "disabled_profiles   cursor", "HOST       DECISION", "a.example  off")
	for _, row := range strings.Split(o.do(0, "registration", "profiles").stdout, "\n")[1:] {
		if fields := strings.Fields(row); len(fields) > 0 && strings.Contains(row, " off ") != (fields[0] == "cursor") {
			t.Errorf("with cursor disabled there is %q", row)
		}
	}
	before := o.do(0, "registration", "policy", "--json").stdout
	for args, fault := range map[string]struct {
		code int
		says string
	}{
		"":                                 {2, "nothing to change"},
		"--host b.example":                 {2, "write HOST=MODE"},
		"--host b.example=off --host X=on": {1, "--host, number 2, host: must be"},
		"--dynamic open":                   {1, "--dynamic must be"},
		"--remove-host b.example":          {3, "no such host"},
		"--disable-profile crusor":         {1, "--disable-profile, number 1: is not"},
		"--enable-profile crusor":          {3, "no such client profile"},
	} {
		wantText(t, args, o.do(fault.code, append([]string{"registration", "policy", "set"}, strings.Fields(args)...)...).stderr, fault.says)
	}
	if after := o.do(0, "registration", "policy", "--json").stdout; after != before {
		t.Errorf("what was refused changed the policy to %s", after)
	}
}

func TestRegistrationTokenCommands(t *testing.T) {
	o := newOffice(t)
	wantText(t, "an empty list", o.do(0, "registration", "token", "list").stderr, "no registration token")
	added := o.do(0, "registration", "token", "add", "--name", "Team", "--max-uses", "5", "--expires-in", "1d")
	wantText(t, "token add", added.stdout, "iat_", "reg_", "Team", "5")
	wantText(t, "token add", added.stderr, "shown this once")
	made := o.object("registration", "token", "add", "--name", "Build")
	if token, _ := made["token"].(string); !strings.HasPrefix(token, "iat_") || made["max_uses"] != 1.0 {
		t.Errorf("made %v", made)
	}
	list := o.do(0, "registration", "token", "list").stdout
	wantText(t, "token list", list, "Team", "0 of 5", "0 of 1")
	if strings.Contains(list, "iat_") {
		t.Errorf("a token is shown again: %s", list)
	}
	wantText(t, "no name", o.do(1, "registration", "token", "add").stderr, "--name must say")
	wantText(t, "too long", o.do(1, "registration", "token", "add", "--name", "x", "--expires-in", "400d").stderr, "--expires-in must be")
	o.do(2, "registration", "token", "add", "--name", "x", "--expires-in", "tomorrow")

	id := made["id"].(string)
	o.do(2, "registration", "token", "delete", id)
	o.do(0, "registration", "token", "delete", id, "--yes")
	o.do(3, "registration", "token", "delete", id, "--yes")
	secret := made["token"].(string)
	if r := o.do(3, "registration", "token", "delete", secret, "--yes"); strings.Contains(r.stderr, secret) {
		t.Errorf("the message has the token: %s", r.stderr)
	}
	if items := o.items("registration", "token", "list"); len(items) != 1 {
		t.Errorf("left are %v", items)
	}
}

// Who calls the server, and where, is found by the same settings as serve.
func TestAdminCommandsFindTheServer(t *testing.T) {
	o := newOffice(t)
	o.do(0, "client", "list")
	key := strings.TrimSpace(read(t, "grantd.admin-key"))
	elsewhere := t.TempDir()
	t.Chdir(elsewhere)
	r := o.do(2, "client", "list")
	wantText(t, "without a key", r.stderr, "--admin-key is missing", "GRANTD_ADMIN_KEY_FILE")
	write(t, "key", key)
	o.do(0, "client", "list", "--admin-key-file", "key")
	o.do(5, "client", "list", "--admin-key", strings.Repeat("x", 40))
	o.do(6, "client", "list", "--admin-key-file", "key", "--admin-url", "http://127.0.0.1:1")
	o.do(6, "client", "list", "--admin-key-file", "key", "--admin-url", "unix:"+filepath.Join(elsewhere, "none.sock"))
	for _, url := range []string{"http://auth.example.com", "ftp://127.0.0.1", "nonsense", "http://user@127.0.0.1:1"} {
		wantText(t, url, o.do(2, "client", "list", "--admin-key-file", "key", "--admin-url", url).stderr, "--admin-url")
	}
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	wantText(t, "another server", o.do(3, "client", "list", "--admin-key-file", "key", "--admin-url", other.URL).stderr, "is this grantd's admin API?")
}

// The admin key goes where the operator said: a redirect is not followed.
func TestAdminKeyIsNotForwarded(t *testing.T) {
	inFolder(t)
	var got atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	t.Cleanup(thief.Close)
	wrong := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	t.Cleanup(wrong.Close)
	r := run(t, []string{"GRANTD_ADMIN_KEY=" + goodKey, "GRANTD_ADMIN_URL=" + wrong.URL}, "client", "list")
	if r.code != 1 || got.Load() != 0 {
		t.Errorf("code %d, and the other server was called %d times", r.code, got.Load())
	}
	if strings.Contains(r.stdout+r.stderr, goodKey) {
		t.Error("the output has the key")
	}
}

func TestAdminCommandsOverAUnixSocket(t *testing.T) {
	dir := inFolder(t)
	socket := "unix:" + filepath.Join(dir, "s")
	serve(t, "--listen=127.0.0.1:0", "--admin-listen="+socket)
	o := &office{t: t, environ: []string{"GRANTD_ADMIN_LISTEN=" + socket}}
	o.do(0, "key", "list")
}

// A create whose answer is lost is sent again, and nothing is added twice.
func TestAddIsRepeatedSafely(t *testing.T) {
	inFolder(t)
	var keys []string
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if len(keys) == 1 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Idempotent-Replayed", "true")
		w.Header().Set("ETag", `"0"`)
		w.Header().Set("Location", "/")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"id":"cl_1","client_id":"cl_1","client_name":"\u001b[2JEvil","token_endpoint_auth_method":"client_secret_basic"}`))
	}))
	t.Cleanup(flaky.Close)
	r := run(t, []string{"GRANTD_ADMIN_KEY=" + goodKey, "GRANTD_ADMIN_URL=" + flaky.URL}, "client", "add")
	if r.code != 0 || len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("code %d, sent with the keys %q: %s", r.code, keys, r.stderr)
	}
	wantText(t, "the answer", r.stderr, "added before", "client secret add")
	if strings.Contains(r.stdout, "\x1b") {
		t.Errorf("a client's name can command the terminal: %q", r.stdout)
	}
}

func TestCompletion(t *testing.T) {
	o := newOffice(t)
	o.do(0, "user", "add", "alice", "--no-password")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		wantText(t, shell, o.do(0, "completion", shell).stdout, "grantd")
	}
	wantText(t, "users", run(t, o.environ, "__complete", "user", "show", "").stdout, "alice")
	wantText(t, "a flag's users", run(t, o.environ, "__complete", "grant", "list", "--user", "").stdout, "alice")
	t.Chdir(t.TempDir())
	if r := run(t, nil, "__complete", "user", "show", ""); r.code != 0 || strings.Contains(r.stderr, "admin-key") {
		t.Errorf("without a server: code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

func TestUserLinkCommands(t *testing.T) {
	o := newOffice(t)
	o.do(0, "user", "add", "alice", "--email", "alice@example.com", "--no-password")
	invited := o.do(0, "user", "invite", "alice")
	wantText(t, "user invite", invited.stdout, "alice", "/account/link?token=ult_", "expires_at")
	wantText(t, "user invite", invited.stderr, "shown this once")
	made := o.object("user", "reset-password", "alice", "--expires-in", "1h")
	if link, _ := made["url"].(string); made["purpose"] != "password_reset" || !strings.Contains(link, "?token=ult_") {
		t.Errorf("made %v", made)
	}
	wantText(t, "mail without a mail server", o.do(1, "user", "invite", "alice", "--mail").stderr, "--mail", "--smtp-url")
	o.do(2, "user", "invite", "alice", "--expires-in", "soon")
	wantText(t, "too long", o.do(1, "user", "invite", "alice", "--expires-in", "31d").stderr, "--expires-in")
	o.do(3, "user", "invite", "nobody")
	o.do(0, "user", "disable", "alice", "--yes")
	wantText(t, "a disabled user", o.do(4, "user", "reset-password", "alice").stderr, "disabled")
}
