package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"grantd/internal/freeport"
)

// grantdUsers is how many people sign in: the rows of one person's approvals are
// that person's alone, so callers rarely wait for each other.
const grantdUsers = 16

// build makes the binary without a debugger's tables, as it is released, or with what -profile needs.
func (p *place) build(ctx context.Context, tags string) (path string, size int64, err error) {
	path = filepath.Join(p.folder, "grantd")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-tags", tags, "-o", path, "grantd/cmd/grantd") //nolint:gosec // fixed but for a tag
	if output, err := build.CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("go build: %w: %s", err, output)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, err
	}
	return path, info.Size(), nil
}

// startGrantd runs a grantd on a new database of that name and fills it by the
// admin API, as an administrator would.
func (p *place) startGrantd(ctx context.Context, binary, name string) (*target, error) {
	databaseURL, err := p.newDatabase(ctx, name)
	if err != nil {
		return nil, err
	}
	listen, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	adminListen, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	rootKey := make([]byte, 32)
	_, _ = rand.Read(rootKey) // never fails: it would end the process
	adminKey := rand.Text() + rand.Text()
	profile := &Profile{
		Name: name, Metadata: "http://" + listen + "/.well-known/oauth-authorization-server",
		Prepare: [][]string{{binary, "migrate", "up"}},
		// Its peers come from loopback, as a proxy's would: that is how registrations
		// from many addresses are told apart.
		Command: []string{binary, "serve", "--listen", listen, "--admin-listen", adminListen, "--issuer", "http://" + listen, "--trusted-proxies", "127.0.0.1/32"},
		Env: map[string]string{
			"GRANTD_DATABASE_URL": databaseURL, "GRANTD_ROOT_KEY": base64.StdEncoding.EncodeToString(rootKey), "GRANTD_ADMIN_KEY": adminKey,
			"GRANTD_TEST_PROFILE": p.folder, // read by a build for -profile alone
		},
		Pages: []Page{
			{Has: "password", Fill: map[string]string{"username": "$username", "password": "$password"}},
			{Has: "approval", Fill: map[string]string{"decision": "approve"}},
		},
	}
	t, err := p.start(ctx, profile, databaseURL)
	if err != nil {
		return nil, err
	}
	t.clearRegistrations = []string{"DELETE FROM clients WHERE source = 'dynamic'"}
	admin := &admin{agent: newAgent(), at: "http://" + adminListen + "/admin/v1/", key: adminKey}
	defer admin.agent.close()
	if err := admin.fill(profile); err != nil {
		return nil, fmt.Errorf("fill grantd: %w", err)
	}
	// What an administrator may have changed is in the metadata.
	if err := t.discover(5 * time.Second); err != nil {
		return nil, err
	}
	return t, t.installAll()
}

// admin speaks the admin API.
type admin struct {
	agent   *agent
	at, key string
}

func (a *admin) call(method, noun string, body, into any) (status int, err error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	at, err := url.Parse(a.at + noun)
	if err != nil {
		return 0, err
	}
	// send gives a length only to what it posts; a patch brings its own.
	h := "Authorization: Bearer " + a.key + "\r\nContent-Type: application/json\r\n"
	if method != http.MethodPost {
		h += fmt.Sprintf("Content-Length: %d\r\n", len(encoded))
	}
	got, err := a.agent.send(method, at, headers(h), string(encoded))
	if err != nil || got.status >= 300 {
		return got.status, err
	}
	return got.status, json.NewDecoder(bytes.NewReader(got.body)).Decode(into)
}

func (a *admin) create(noun string, body map[string]any) (made struct {
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
}, err error,
) {
	status, err := a.call(http.MethodPost, noun, body, &made)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("creating one of %s has status %d", noun, status)
	}
	return made, err
}

// fill makes what the scenarios need: a resource with two scopes, a machine that
// may also introspect, an installed client, and people.
func (a *admin) fill(p *Profile) error {
	const resource, scope, redirect = "http://127.0.0.1:9000/mcp", "files:read files:write", "http://127.0.0.1:9999/callback"
	machine, err := a.create("clients", map[string]any{"client_name": "Machine", "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_basic"})
	if err != nil {
		return err
	}
	installed, err := a.create("clients", map[string]any{
		"client_name": "Installed", "grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none",
	})
	if err != nil {
		return err
	}
	p.Machine = Confidential{ClientID: machine.ClientID, Secret: machine.Secret, Scope: scope, Resource: resource}
	p.Introspector = Confidential{ClientID: machine.ClientID, Secret: machine.Secret}
	p.Installed = Public{ClientID: installed.ClientID, RedirectURI: redirect, Scope: scope, Resource: resource}
	_, err = a.create("resources", map[string]any{
		"uri": resource, "name": "Files", "introspection_clients": []string{machine.ClientID}, "access_token_lifetime": 900,
		"scopes": []map[string]any{{"name": "files:read", "description": "Read your files"}, {"name": "files:write", "description": "Change your files"}},
	})
	if err != nil {
		return err
	}
	for i := range grantdUsers {
		u := User{Username: fmt.Sprintf("user%d", i), Password: "a password for the benchmark alone"}
		if _, err := a.create("users", map[string]any{"username": u.Username, "name": "User", "email": "user@example.com", "password": u.Password}); err != nil {
			return err
		}
		p.Users = append(p.Users, u)
	}
	// Where anybody may register, that is measured too.
	_, err = a.call(http.MethodPatch, "registration-policy", map[string]any{"dynamic": "allow"}, new(map[string]any))
	return err
}
