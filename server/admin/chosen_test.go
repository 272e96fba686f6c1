package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
)

// AZ-55: a client_id that an admin chooses is never one that grantd gives to anything.
func TestChosenClientID(t *testing.T) {
	s := newServer(t)
	const rest = `","grant_types":["client_credentials"]}`
	for _, id := range []string{"desk", "Desk-2.import~x", "a", "agents_of_the_desk", "5", strings.Repeat("x", 64)} {
		c := create[api.Client](s, clientsPath, `{"client_id":"`+id+rest)
		if c.ClientID != id || c.ID == id || !strings.HasPrefix(c.ID, "cl_") {
			t.Errorf("%s was created as %+v", id, c)
		}
		s.send(http.MethodPost, clientsPath, `{"client_id":"`+id+rest).wantProblem(http.StatusConflict, "already-exists")
		s.send(http.MethodPost, clientsPath+"?dry_run=true", `{"client_id":"`+id+rest).wantProblem(http.StatusConflict, "already-exists")
		found := into[api.ClientList](s.send(http.MethodGet, clientsPath+"?client_id="+id, "").want(http.StatusOK)).Items
		if len(found) != 1 || found[0].ID != c.ID {
			t.Errorf("%s is found as %+v", id, found)
		}
		s.send(http.MethodPatch, clientsPath+"/"+c.ID, `{"client_id":"another"}`).wantProblem(http.StatusBadRequest, "malformed")
	}
	for _, id := range []string{
		"https://client.example/document.json", "http:x", "a:b", "a b", "a/b", "a@b", "-a", ".", "_a", "ä", `a\n`, "a%2e", strings.Repeat("x", 65),
		"cl_desk", "CL_desk", "usr_06h0q8zexdy5sffq5sy4nf2vyg", "cs_x", "rt_x", "pol_x", "grp_x",
	} {
		problem := s.send(http.MethodPost, clientsPath, `{"client_id":"`+id+rest).wantProblem(http.StatusBadRequest, "invalid")
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/client_id" {
			t.Errorf("%s: errors = %+v", id, problem.Errors)
		}
	}
}

// ST-01, AD-06: a secret that an admin chooses is as long and random as one of grantd's,
// is kept as a hash, and is in no answer.
func TestChosenSecret(t *testing.T) {
	s := newServer(t)
	secret, hash := storage.NewSecret(storage.SecretPrefixClient)
	body := `{"client_id":"import","client_secret":"` + secret + `","grant_types":["client_credentials"]}`
	r := s.request(http.MethodPost, clientsPath, body)
	r.Header.Set("Idempotency-Key", "one")
	created := s.do(r).want(http.StatusCreated)
	c := into[api.Client](created)
	path := clientsPath + "/" + c.ID + "/secrets"
	if items := secretsOf(s, c.ID); len(items) != 1 || items[0].Fingerprint != storage.Fingerprint(hash) {
		t.Errorf("secrets = %+v", items)
	}
	before := s.send(http.MethodGet, "/admin/v1/audit-events?limit=200", "").body
	again := s.send(http.MethodPost, path, `{"client_secret":"`+secret+`"}`).want(http.StatusCreated)
	if again.header.Get("Idempotent-Replayed") != "true" || into[api.NewClientSecret](again).ID != secretsOf(s, c.ID)[0].ID {
		t.Errorf("adding the same secret again: %v %s", again.header, again.body)
	}
	after := s.send(http.MethodGet, "/admin/v1/audit-events?limit=200", "").body
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("adding the same secret again was recorded (-before +after):\n%s", diff)
	}
	other, _ := storage.NewSecret(storage.SecretPrefixClient)
	added := s.send(http.MethodPost, path, `{"client_secret":"`+other+`"}`).want(http.StatusCreated)
	if items := secretsOf(s, c.ID); len(items) != 2 {
		t.Errorf("secrets = %+v", items)
	}
	events := s.send(http.MethodGet, "/admin/v1/audit-events?limit=200", "").body
	for _, answer := range [][]byte{created.body, again.body, added.body, events} {
		if text := string(answer); strings.Contains(text, secret) || strings.Contains(text, other) {
			t.Errorf("a chosen secret is shown: %s", text)
		}
	}

	for name, weak := range map[string]string{
		"a password": "correct horse battery staple correct horse battery", "no prefix": strings.TrimPrefix(secret, "cs_"), "short": secret[:45],
		"long": secret + "A", "other characters": secret[:45] + "+", "one character": "cs_" + strings.Repeat("A", 43),
		"a few characters": "cs_" + strings.Repeat("abcdefgh", 5) + "abA", "only the prefix": "cs_",
	} {
		for _, request := range []string{path, clientsPath} {
			problem := s.send(http.MethodPost, request, `{"client_secret":"`+weak+`"`+map[bool]string{true: `,"grant_types":["client_credentials"]`}[request == clientsPath]+`}`).
				wantProblem(http.StatusBadRequest, "invalid")
			if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/client_secret" {
				t.Errorf("%s: errors = %+v", name, problem.Errors)
			}
		}
	}
	problem := s.send(http.MethodPost, clientsPath, `{"client_secret":"`+secret+`","token_endpoint_auth_method":"none","redirect_uris":["http://localhost/cb"]}`).
		wantProblem(http.StatusBadRequest, "invalid")
	if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/client_secret" {
		t.Errorf("a public client's secret: errors = %+v", problem.Errors)
	}
}

// A dry run checks what the real one would, and writes nothing, not even that it saw an
// Idempotency-Key.
func TestDryRun(t *testing.T) {
	s := newServer(t)
	c := create[api.Client](s, clientsPath, `{"client_id":"desk","grant_types":["client_credentials"]}`)
	r := create[api.Resource](s, resourcesPath, `{"uri":"https://a.example/mcp","name":"A"}`)
	g := create[api.Group](s, groupsPath, `{"name":"staff"}`)
	p := create[api.Policy](s, policiesPath, `{"name":"rule"}`)
	idp := create[api.Provider](s, providersPath, provider)
	all := func() string {
		var b strings.Builder
		for _, path := range []string{clientsPath, resourcesPath, groupsPath, policiesPath, providersPath, "/admin/v1/audit-events"} {
			b.Write(s.send(http.MethodGet, path+"?limit=200", "").body)
		}
		return b.String()
	}
	before := all()
	for path, body := range map[string]string{
		clientsPath: `{"client_id":"new","grant_types":["client_credentials"]}`, resourcesPath: `{"uri":"https://b.example/mcp","name":"B"}`, groupsPath: `{"name":"new"}`,
		policiesPath: `{"name":"new"}`, providersPath: `{"name":"new","issuer":"https://id.example","client_id":"c"}`,
	} {
		dry := s.request(http.MethodPost, path, body)
		dry.URL.RawQuery = "dry_run=true"
		dry.Header.Set("Idempotency-Key", path)
		s.do(dry).want(http.StatusNoContent)
		s.send(http.MethodPost, path+"?dry_run=true", `{"managed_by":"a\nb"}`).wantProblem(http.StatusBadRequest, "invalid")
	}
	for path, body := range map[string]string{
		clientsPath + "/" + c.ID: `{"client_name":"New","scope":"a"}`, resourcesPath + "/" + r.ID: `{"name":"New"}`, groupsPath + "/" + g.ID: `{"description":"New"}`,
		policiesPath + "/" + p.ID: `{"name":"New"}`, providersPath + "/" + idp.ID: `{"name":"New","client_secret":"other"}`,
	} {
		if a := s.send(http.MethodPatch, path+"?dry_run=true", body).want(http.StatusOK); !strings.Contains(string(a.body), "New") || a.header.Get("ETag") != s.send(http.MethodGet, path, "").header.Get("ETag") {
			t.Errorf("%s: %s %v", path, a.body, a.header)
		}
		s.send(http.MethodPatch, path+"?dry_run=true", `{"managed_by":"a\nb"}`).wantProblem(http.StatusBadRequest, "invalid")
	}
	if diff := cmp.Diff(before, all()); diff != "" {
		t.Errorf("a dry run has changed something (-before +after):\n%s", diff)
	}
	s.send(http.MethodPost, "/admin/v1/users?dry_run=true", `{"username":"bob"}`).wantProblem(http.StatusBadRequest, "invalid")
	if users := into[api.UserList](s.send(http.MethodGet, "/admin/v1/users", "").want(http.StatusOK)).Items; len(users) != 0 {
		t.Errorf("users = %+v", users)
	}
	key := s.request(http.MethodPost, clientsPath, `{"client_id":"other","grant_types":["client_credentials"]}`)
	key.Header.Set("Idempotency-Key", clientsPath)
	s.do(key).want(http.StatusCreated)
}
