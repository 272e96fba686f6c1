package admin_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"grantd/api"
	"grantd/storage/storagetest"
)

// matching sends a request with If-Match.
func (s *server) matching(etag, method, path, body string) *answer {
	s.t.Helper()
	r := s.request(method, path, body)
	r.Header.Set("If-Match", etag)
	return s.do(r)
}

// Somebody who looked before another's change deletes nothing.
func TestDeleteOfAnOlderVersion(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	for path, change := range map[string]string{
		"/admin/v1/clients/" + f.Client.ID:     `{"client_name":"Other"}`,
		"/admin/v1/resources/" + f.Resource.ID: `{"name":"Other"}`,
		"/admin/v1/users/" + f.User.ID:         `{"name":"Other"}`,
		"/admin/v1/groups/" + create[api.Group](s, "/admin/v1/groups", `{"name":"writers"}`).ID:   `{"description":"Other"}`,
		"/admin/v1/policies/" + create[api.Policy](s, "/admin/v1/policies", `{"name":"Rule"}`).ID: `{"name":"Other"}`,
	} {
		seen := s.send(http.MethodGet, path, "").want(http.StatusOK).header.Get("ETag")
		now := s.send(http.MethodPatch, path, change).want(http.StatusOK).header.Get("ETag")
		for _, stale := range []string{seen, `"999"`, `"0"`, `W/` + now, `nonsense`} {
			s.matching(stale, http.MethodDelete, path, "").wantProblem(http.StatusPreconditionFailed, "changed")
		}
		s.send(http.MethodGet, path, "").want(http.StatusOK)
		s.matching(`"1", `+now, http.MethodDelete, path, "").want(http.StatusNoContent)
		s.matching(now, http.MethodDelete, path, "").wantProblem(http.StatusNotFound, "not-found")
		s.matching("*", http.MethodDelete, path, "").wantProblem(http.StatusNotFound, "not-found")
	}
	// A row that nobody has changed since it was made.
	made := s.send(http.MethodPost, "/admin/v1/users", `{"username":"fresh"}`).want(http.StatusCreated)
	s.matching(`"999"`, http.MethodDelete, made.header.Get("Location"), "").wantProblem(http.StatusPreconditionFailed, "changed")
	s.matching(made.header.Get("ETag"), http.MethodDelete, made.header.Get("Location"), "").want(http.StatusNoContent)
}

// Of two administrators who add a host at once, the second is told.
func TestRegistrationPolicyHasVersions(t *testing.T) {
	const path = "/admin/v1/registration-policy"
	s := newServer(t)
	seen := s.send(http.MethodGet, path, "").want(http.StatusOK).header.Get("ETag")
	first := s.matching(seen, http.MethodPatch, path, `{"hosts":[{"host":"a.example","decision":"allow"}]}`).want(http.StatusOK)
	s.matching(seen, http.MethodPatch, path, `{"hosts":[{"host":"b.example","decision":"allow"}]}`).wantProblem(http.StatusPreconditionFailed, "changed")
	policy := s.send(http.MethodGet, path, "").want(http.StatusOK)
	if hosts := into[api.RegistrationPolicy](policy).Hosts; len(hosts) != 1 || hosts[0].Host != "a.example" {
		t.Errorf("hosts = %+v", hosts)
	}
	if policy.header.Get("ETag") != first.header.Get("ETag") || policy.header.Get("ETag") == seen {
		t.Errorf("ETag = %s, after the change %s, before %s", policy.header.Get("ETag"), first.header.Get("ETag"), seen)
	}
	s.matching(first.header.Get("ETag"), http.MethodPatch, path, `{"dynamic":"off"}`).want(http.StatusOK)
	s.send(http.MethodPatch, path, `{"dynamic":"allow"}`).want(http.StatusOK)
}

func TestListFilters(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	admin := create[api.Client](s, clientsPath, `{"redirect_uris":["http://127.0.0.1/"],"admin_access":true}`)
	off := create[api.Client](s, clientsPath, `{"redirect_uris":["http://127.0.0.1/"],"disabled":true}`)
	left := create[api.User](s, "/admin/v1/users", `{"username":"left","groups":["staff"],"disabled":true}`)
	for query, want := range map[string][]string{
		"clients?source=registered":                          {f.Client.ID, admin.ID, off.ID},
		"clients?source=dynamic":                             {},
		"clients?disabled=true":                              {off.ID},
		"clients?disabled=false&admin_access=false":          {f.Client.ID},
		"clients?admin_access=true":                          {admin.ID},
		"clients?client_id=" + off.ID + "&disabled=true":     {off.ID},
		"clients?client_id=" + off.ID + "&disabled=false":    {},
		"users?disabled=true":                                {left.ID},
		"users?disabled=false":                               {f.User.ID},
		"users?group=staff&disabled=true":                    {left.ID},
		"users?username=left&disabled=false":                 {},
		"users?username=" + f.User.Username + "&group=staff": {f.User.ID},
	} {
		list := into[struct{ Items []struct{ ID string } }](s.send(http.MethodGet, "/admin/v1/"+query, "").want(http.StatusOK))
		var got []string
		for _, item := range list.Items {
			got = append(got, item.ID)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"clients?source=admin", "clients?disabled=maybe", "clients?disabled=true&disabled=false", "users?disabled=1x"} {
		s.send(http.MethodGet, "/admin/v1/"+query, "").wantProblem(http.StatusBadRequest, "invalid")
	}
}

// Whatever code the API can answer with is in the table of openapi.yaml, and no other.
func TestProblemTypesAreDocumented(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(doc.Info.Description) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			documented[strings.Trim(cells[1], " `")] = true
		}
	}
	used := map[string]bool{"invalid": true, "malformed": true} // faults
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../web/error.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			field, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			name, isName := field.Key.(*ast.Ident)
			value, isText := field.Value.(*ast.BasicLit)
			if isName && isText && name.Name == "Code" {
				code, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				used[code] = true
			}
			return true
		})
	}
	for code := range used {
		if !documented[code] {
			t.Errorf("the code %q is not in openapi.yaml", code)
		}
	}
	for code := range documented {
		if !used[code] {
			t.Errorf("openapi.yaml has the code %q, which nothing answers with", code)
		}
	}
}
