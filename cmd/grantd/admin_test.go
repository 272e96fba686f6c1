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
	if want := `[{"description":"Read your notes","name":"notes:read","tools":["list","read","search"]},{"description":"Change a=b","name":"notes:write"}]`; string(got) != want {
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

	o.do(0, "group", "add", "admins", "alice", "bob")
	o.do(0, "group", "remove", "staff", "alice")
	if groups := o.do(0, "group", "list").stdout; strings.Join(strings.Fields(groups), " ") != "GROUP MEMBERS admins 2 staff 0" {
		t.Errorf("groups are\n%s", groups)
	}
	if members := o.items("group", "show", "admins"); len(members) != 2 {
		t.Errorf("members = %v", members)
	}
	o.do(3, "group", "add", "admins", "nobody")

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
