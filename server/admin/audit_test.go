package admin_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
	"grantd/storage/storagetest"
)

// AD-09: every change leaves one event that says who, what, and in which
// request; what changes nothing leaves none.
func TestAudit(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	hash := sha256.Sum256([]byte(key))
	actor := "admin:" + hex.EncodeToString(hash[:])[:8]
	seen := map[string]bool{}
	for _, e := range eventsOf(s) {
		seen[e.ID] = true
	}

	type step struct {
		method, path, body string
		status             int
		action             string // empty: no event
		target             string // empty: the id in Location
		detail             map[string]string
	}
	client, resource, user := clientsPath+"/"+f.Client.ID, resourcesPath+"/"+f.Resource.ID, "/admin/v1/users/"+f.User.ID
	secret := storagetest.NewClientSecret()
	if err := s.store.AddClientSecret(t.Context(), f.Client.ID, secret, storagetest.Event("client.secret_created", f.Client.ID)); err != nil {
		t.Fatal(err)
	}
	for _, e := range eventsOf(s) {
		seen[e.ID] = true
	}
	for _, step := range []step{
		{
			"POST", clientsPath, `{"client_name":"App","redirect_uris":["https://app.example/cb"]}`, 201, "client.created", "",
			map[string]string{
				"changed":     "application_type client_name grant_types redirect_uris response_types token_endpoint_auth_method",
				"client_name": "App", "redirect_uris": `["https://app.example/cb"]`, "grant_types": `["authorization_code","refresh_token"]`,
				"response_types": `["code"]`, "token_endpoint_auth_method": "client_secret_basic", "application_type": "web",
			},
		},
		{"POST", clientsPath, `{}`, 400, "", "", nil},
		{"PATCH", client, `{"client_name":"New","scope":"a b"}`, 200, "client.updated", f.Client.ID, map[string]string{"changed": "client_name scope", "client_name": "New", "scope": "a b"}},
		{"PATCH", client, `{"client_name":"New"}`, 200, "", "", nil},
		{"PATCH", client, `{"scope":null}`, 200, "client.updated", f.Client.ID, map[string]string{"changed": "scope", "scope": ""}},
		{"PATCH", client, `{"redirect_uris":["hunter2"]}`, 400, "", "", nil},
		{"DELETE", client + "/secrets/" + secret.ID, "", 204, "client.secret_deleted", f.Client.ID, map[string]string{"secret_id": secret.ID}},
		{"DELETE", client + "/secrets/" + secret.ID, "", 404, "", "", nil},
		{"PATCH", resource, `{"access_token_lifetime":60}`, 200, "resource.updated", f.Resource.ID, map[string]string{"changed": "access_token_lifetime", "access_token_lifetime": "60"}},
		{
			"POST", resourcesPath, `{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"a"}]}`, 201, "resource.created", "",
			map[string]string{"changed": "access_token_lifetime name scopes uri", "access_token_lifetime": "600", "name": "A", "scopes": `[{"name":"a","risk":"write"}]`, "uri": "https://a.example/mcp"},
		},
		{
			"POST", "/admin/v1/users", `{"username":"bob","password":"hunter2hunter2","email":"bob@example.com","name":"Bob","groups":["staff"]}`, 201, "user.created", "",
			map[string]string{"changed": "email groups name password username", "username": "bob", "groups": `["staff"]`},
		},
		{"PATCH", user, `{"password":"hunter2hunter2"}`, 200, "user.updated", f.User.ID, map[string]string{"changed": "password"}},
		{"PATCH", user, `{"password":null,"disabled":false}`, 200, "user.updated", f.User.ID, map[string]string{"changed": "password"}},
		{"PATCH", user, `{"password":null}`, 200, "", "", nil},
		{"DELETE", "/admin/v1/grants/" + f.Grant.ID, "", 204, "grant.revoked", f.Grant.ID, map[string]string{
			"user_id": f.User.ID, "client_id": f.Client.ID, "resource_id": f.Resource.ID,
		}},
		{"DELETE", "/admin/v1/grants/" + f.Grant.ID, "", 404, "", "", nil},
		{"DELETE", client, "", 204, "client.deleted", f.Client.ID, map[string]string{}},
		{"DELETE", resource, "", 204, "resource.deleted", f.Resource.ID, map[string]string{}},
		{"DELETE", user, "", 204, "user.deleted", f.User.ID, map[string]string{}},
	} {
		a := s.send(step.method, step.path, step.body).want(step.status)
		if step.target == "" {
			step.target = a.header.Get("Location")[strings.LastIndex(a.header.Get("Location"), "/")+1:]
		}
		var fresh []api.AuditEvent
		for _, e := range eventsOf(s) {
			if !seen[e.ID] {
				fresh = append(fresh, e)
				seen[e.ID] = true
			}
		}
		if step.action == "" {
			if len(fresh) != 0 {
				t.Errorf("%s %s %s: events = %+v, want none", step.method, step.path, step.body, fresh)
			}
			continue
		}
		if len(fresh) != 1 {
			t.Fatalf("%s %s: events = %+v, want one", step.method, step.path, fresh)
		}
		got := fresh[0]
		if got.Detail["request_id"] == "" {
			t.Errorf("%s: no request_id", got.Action)
		}
		delete(got.Detail, "request_id")
		want := api.AuditEvent{ID: got.ID, At: start, Actor: actor, Action: step.action, Target: step.target, Detail: step.detail}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s: %s", step.method, step.path, diff)
		}
	}
}

// The other key is another actor.
func TestAuditNamesTheKey(t *testing.T) {
	s := newServer(t)
	for _, k := range []string{key, otherKey} {
		r := s.request(http.MethodPost, "/admin/v1/users", `{"username":"`+k[:5]+`"}`)
		r.Header.Set("Authorization", "Bearer "+k)
		s.do(r).want(http.StatusCreated)
	}
	events := eventsOf(s)
	if len(events) != 2 || events[0].Actor == events[1].Actor {
		t.Errorf("events = %+v, want two actors", events)
	}
	for i, k := range []string{key, otherKey} {
		if hash := sha256.Sum256([]byte(k)); events[i].Actor != "admin:"+hex.EncodeToString(hash[:4]) {
			t.Errorf("actor = %q", events[i].Actor)
		}
	}
}

// A change that cannot be recorded says too little only about long values.
func TestAuditBoundsValues(t *testing.T) {
	s := newServer(t)
	var scopes []string
	for i := range 100 {
		scopes = append(scopes, `{"name":"s`+strconv.Itoa(i)+`","description":"`+strings.Repeat("é", 500)+`"}`)
	}
	create[api.Resource](s, resourcesPath, `{"uri":"https://a.example/mcp","name":"A","scopes":[`+strings.Join(scopes, ",")+`]}`)
	if got := eventsOf(s)[0].Detail["scopes"]; len(got) > 70_000 || !strings.HasSuffix(got, "…") {
		t.Errorf("scopes = %q", got)
	}
}

// AD-06: a secret is in the answer that made it and in no other; what is kept of
// it, and the private part of a key, are in none.
func TestSecretsNeverReappear(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	c := create[api.Client](s, clientsPath, `{"grant_types":["client_credentials"]}`)
	path := clientsPath + "/" + c.ID
	made := create[api.NewClientSecret](s, path+"/secrets", "")
	const password = "hunter2-hunter2-hunter2"
	u := create[api.User](s, "/admin/v1/users", `{"username":"bob","password":"`+password+`"}`)
	hash := storedHash(s, u.ID)

	banned := []string{key, otherKey, password, hash, quoted(hash)[1:5], f.User.PasswordHash, "argon2", "PublicJWK", `"kty"`}
	for _, k := range s.makeKeys() {
		banned = append(banned, string(k.SealedPrivateKey), base64.StdEncoding.EncodeToString(k.SealedPrivateKey))
	}
	for _, secret := range []string{c.ClientSecret, made.ClientSecret} {
		sum := sha256.Sum256([]byte(secret))
		banned = append(banned, secret, hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:]), base64.RawURLEncoding.EncodeToString(sum[:]))
	}
	for _, request := range [][3]string{
		{"GET", clientsPath},
		{"GET", path},
		{"GET", path + "/secrets"},
		{"PATCH", path, `{"client_name":"New"}`},
		{"GET", "/admin/v1/users"},
		{"GET", "/admin/v1/users/" + u.ID},
		{"PATCH", "/admin/v1/users/" + u.ID, `{"password":"` + password + `"}`},
		{"GET", "/admin/v1/users/" + f.User.ID},
		{"GET", "/admin/v1/keys"},
		{"GET", "/admin/v1/grants"},
		{"GET", "/admin/v1/audit-events?limit=200"},
	} {
		a := s.send(request[0], request[1], request[2]).want(http.StatusOK)
		for _, text := range banned {
			if strings.Contains(string(a.body), text) {
				t.Errorf("%s %s: the answer has %q", request[0], request[1], text)
			}
		}
	}
	stored, err := s.store.AuditEvents(t.Context(), storage.AuditFilter{}, storage.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range stored {
		for name, value := range e.Detail {
			if containsAny(name+value, banned...) {
				t.Errorf("the event %s keeps %s = %q", e.Action, name, value)
			}
		}
	}
}

func eventsOf(s *server) []api.AuditEvent {
	s.t.Helper()
	return into[api.AuditEventList](s.send(http.MethodGet, "/admin/v1/audit-events?limit=200", "").want(http.StatusOK)).Items
}

func containsAny(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
