package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	grantd "grantd/cmd/grantd"
	"grantd/cmd/grantd/internal/walk"
)

const adaPassword = "correct horse battery staple"

// newSignInOffice is an office where people may sign in, with ada, an administrator,
// and bob, who is none. It returns the issuer and the folder of a person's settings.
func newSignInOffice(t *testing.T) (o *office, issuer, home string) {
	t.Helper()
	inFolder(t)
	free, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // only to learn a free port
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	issuer, home = "http://"+address, t.TempDir()
	_, line := serve(t, "--listen="+address, "--issuer="+issuer, "--admin-listen=127.0.0.1:0")
	o = &office{t: t, environ: []string{"GRANTD_ADMIN_URL=" + line["admin"].(string), "XDG_CONFIG_HOME=" + home}}
	write(t, "password", adaPassword)
	o.do(0, "user", "add", "ada", "--password-file", "password", "--group", "admins")
	o.do(0, "user", "add", "bob", "--password-file", "password")
	return o, issuer, home
}

// while runs a command, and act as soon as it has printed what matches wanted. It
// returns what the command said after that.
func (o *office) while(code int, wanted *regexp.Regexp, act func(found []string), args ...string) string {
	o.t.Helper()
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- grantd.Run(o.t.Context(), args, o.environ, io.Discard, writer)
		_ = writer.Close()
	}()
	var said bytes.Buffer
	lines := bufio.NewScanner(reader)
	acted := false
	for lines.Scan() {
		_, _ = fmt.Fprintln(&said, lines.Text())
		if found := wanted.FindStringSubmatch(said.String()); found != nil && !acted {
			acted = true
			go act(found)
		}
	}
	if got := <-ended; got != code || !acted {
		o.t.Fatalf("grantd %q: code %d, want %d; it printed what was waited for: %t\n%s", args, got, code, acted, said.String())
	}
	return said.String()
}

var signInAddress = regexp.MustCompile(`(?m)^  (http://\S+/authorize\?\S+)\n`)

// approve visits an address as a person's browser.
func (o *office) approve(username string) func(found []string) {
	return func(found []string) {
		address, err := url.Parse(found[1])
		if err != nil {
			o.t.Error(err)
			return
		}
		request := walk.AuthorizationRequest{URL: found[1], RedirectURI: address.Query().Get("redirect_uri")}
		if err := walk.NewHeadless(username, adaPassword).Approve(o.t.Context(), request, func(string) {}); err != nil && username == "ada" {
			o.t.Error(err)
		}
	}
}

func TestLogin(t *testing.T) {
	o, issuer, home := newSignInOffice(t)
	file := filepath.Join(home, "grantd", "login.json")
	wantText(t, "before it is set up", o.do(3, "login").stderr, "grantd login --set-up")
	wantText(t, "set-up", o.do(0, "login", "--set-up").stderr, "group add admins")
	wantText(t, "set-up again", o.do(0, "login", "--set-up").stderr, "already")
	wantText(t, "another issuer", o.do(2, "login", "--issuer", "https://evil.example").stderr, issuer)
	if who := o.object("whoami")["actor"].(string); !strings.HasPrefix(who, "admin:") {
		t.Errorf("before the sign-in commands act as %s", who)
	}

	wantText(t, "bob", o.while(5, signInAddress, o.approve("bob"), "login", "--no-browser"), "members of the group admins")
	wantText(t, "ada", o.while(0, signInAddress, o.approve("ada"), "login", "--no-browser"), "signed in as ada", "look and change")
	if got := mode(t, file); got != 0o600 {
		t.Errorf("the sign-in has mode %04o", got)
	}
	if who := o.object("whoami"); who["username"] != "ada" || who["scope"] != "write" {
		t.Errorf("commands act as %v", who)
	}
	// Anywhere on the machine, without a key.
	t.Chdir(t.TempDir())
	o.do(0, "group", "add", "staff")
	o.do(0, "group", "add-member", "staff", "bob")
	ada := o.object("user", "show", "ada")["id"].(string)
	events := strings.Split(strings.TrimSpace(o.do(0, "audit", "list", "--json").stdout), "\n")
	wantText(t, "the last event", events[len(events)-1], `"actor":"user:`+ada+`"`, "group.member_added")
	terminal := o.items("client", "list")[0].(map[string]any)["client_id"].(string)
	for who, allowed := range map[string]string{"ada": `yes, by the policy "Administrators may administer this server"`, "bob": "the user is in none of its groups (admins)"} {
		wantText(t, "policy explain", o.do(0, "policy", "explain", "--user", who, "--client", terminal, "--resource", issuer+"/admin", "--scope", "admin:write").stdout, allowed)
	}
	// A file of the organisation is applied by whoever signed in.
	if err := os.WriteFile("groups.yaml", []byte("groups:\n  - name: writers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.do(0, "apply", "-f", "groups.yaml")
	events = strings.Split(strings.TrimSpace(o.do(0, "audit", "list", "--json").stdout), "\n")
	wantText(t, "the last event", events[len(events)-1], `"actor":"user:`+ada+`"`, "group.created")
	// But only for the admin API that it is for, and with no key at hand.
	o.do(5, "client", "list", "--admin-key", strings.Repeat("x", 40))
	wantText(t, "another server", o.do(2, "client", "list", "--admin-url", "http://127.0.0.1:1").stderr, "--admin-key is missing")

	// An access token that has expired is refreshed, and the new one is kept.
	before := alterLogin(t, file, func(l map[string]any) { l["expires_at"] = time.Now().Add(-time.Minute).UTC() })
	o.do(0, "user", "list")
	if after := alterLogin(t, file, func(map[string]any) {}); after["access_token"] == before["access_token"] || mode(t, file) != 0o600 {
		t.Error("the sign-in was not refreshed, or not kept")
	}

	// Somebody ends it on the server.
	for _, grant := range o.items("grant", "list", "--user", "ada") {
		o.do(0, "grant", "revoke", grant.(map[string]any)["id"].(string), "--yes")
	}
	wantText(t, "after the grant was revoked", o.do(5, "user", "list").stderr, "grantd login")
	alterLogin(t, file, func(l map[string]any) { l["expires_at"] = time.Now().Add(-time.Minute).UTC() })
	wantText(t, "when it is to be refreshed", o.do(5, "user", "list").stderr, "has ended", "grantd login")

	wantText(t, "logout", o.do(0, "logout").stderr, "signed out")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	wantText(t, "logout again", o.do(0, "logout").stderr, "Nobody")
	wantText(t, "signed out", o.do(2, "user", "list").stderr, "grantd login")
}

// alterLogin changes the sign-in and returns it as it was.
func alterLogin(t *testing.T, file string, change func(map[string]any)) map[string]any {
	t.Helper()
	var was, is map[string]any
	for _, l := range []*map[string]any{&was, &is} {
		if err := json.Unmarshal([]byte(read(t, file)), l); err != nil {
			t.Fatal(err)
		}
	}
	change(is)
	text, err := json.Marshal(is)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(text))
	return was
}

func TestLogoutEndsTheSignIn(t *testing.T) {
	o, _, home := newSignInOffice(t)
	file := filepath.Join(home, "grantd", "login.json")
	o.do(0, "login", "--set-up")
	o.while(0, signInAddress, o.approve("ada"), "login", "--no-browser", "--read-only")
	wantText(t, "to change something", o.do(5, "user", "add", "eve", "--no-password").stderr, "only read")
	stolen := read(t, file)
	o.do(0, "logout")
	write(t, file, stolen)
	wantText(t, "a copy of it", o.do(5, "user", "list").stderr, "grantd login")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	wantText(t, "one that others may read", o.do(2, "user", "list").stderr, "chmod 600")
}

func TestLoginByDevice(t *testing.T) {
	o, issuer, _ := newSignInOffice(t)
	o.do(0, "login", "--set-up")
	shown := regexp.MustCompile(`(?s)  (http://\S+/device)\n.*  ([A-Z]{4}-[A-Z]{4})\n`)
	said := o.while(0, shown, func(found []string) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Error(err)
			return
		}
		browser := &http.Client{Jar: jar}
		post := func(path string, values url.Values) string {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+path, strings.NewReader(values.Encode()))
			if err != nil {
				t.Error(err)
				return ""
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", issuer)
			response, err := browser.Do(r)
			if err != nil {
				t.Error(err)
				return ""
			}
			defer func() { _ = response.Body.Close() }()
			body, _ := io.ReadAll(response.Body)
			return string(body)
		}
		code := url.Values{"user_code": {found[2]}}
		post("/login?"+code.Encode(), url.Values{"username": {"ada"}, "password": {adaPassword}})
		approval := regexp.MustCompile(`name="approval" value="([^"]+)"`).FindStringSubmatch(post("/device", code))
		if approval == nil {
			t.Error("no page to approve")
			return
		}
		done := post("/device", url.Values{
			"user_code": {found[2]}, "approval": {html.UnescapeString(approval[1])}, "decision": {"approve"}, "scope": {"admin:read", "admin:write"},
		})
		if !strings.Contains(done, "onnected") {
			t.Errorf("the device is not connected: %s", done)
		}
	}, "login", "--device")
	wantText(t, "login", said, "signed in as ada")
}

func TestAdminKeyCommands(t *testing.T) {
	o := newOffice(t)
	wantText(t, "an empty list", o.do(0, "admin-key", "list").stderr, "admin-key add")
	added := o.do(0, "admin-key", "add", "ci", "--scope", "write", "--expires-in", "30d")
	wantText(t, "admin-key add", added.stdout, "ak_", "write")
	wantText(t, "admin-key add", added.stderr, "shown this once")
	made := o.object("admin-key", "add", "dashboard")
	if made["scope"] != "read" {
		t.Errorf("made %v", made)
	}
	wantText(t, "the same name", o.do(4, "admin-key", "add", "ci").stderr, "this name")
	wantText(t, "a bad scope", o.do(1, "admin-key", "add", "x", "--scope", "all").stderr, "--scope must be one of")
	o.do(2, "admin-key", "add", "x", "--expires-in", "soon")
	wantText(t, "the list", o.do(0, "admin-key", "list").stdout, "ci", "dashboard", "NAME")

	write(t, "reader", made["key"].(string))
	if who := o.object("whoami", "--admin-key-file", "reader"); who["actor"] != "admin:dashboard" || who["scope"] != "read" {
		t.Errorf("the key is %v", who)
	}
	o.do(0, "admin-key", "show", "ci", "--admin-key-file", "reader")
	wantText(t, "to write with it", o.do(5, "user", "add", "eve", "--no-password", "--admin-key-file", "reader").stderr, "only read")
	if shown := o.do(0, "admin-key", "show", "dashboard").stdout; strings.Contains(shown, "ak_") {
		t.Errorf("the key is shown again: %s", shown)
	}
	wantText(t, "deleting asks", o.do(2, "admin-key", "delete", "dashboard").stderr, "--yes")
	o.do(0, "admin-key", "delete", made["id"].(string), "--yes")
	o.do(3, "admin-key", "show", "dashboard")
	o.do(5, "user", "list", "--admin-key-file", "reader")
	if r := o.do(3, "admin-key", "delete", "ak_not-to-be-repeated", "--yes"); strings.Contains(r.stderr, "repeated") {
		t.Errorf("what may be a key is repeated: %s", r.stderr)
	}
}
