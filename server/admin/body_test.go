package admin_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"grantd/api"
)

const resourcesPath = "/admin/v1/resources"

// Bodies that are not what the operation wants are refused, whole, by name and
// without repeating a value.
func TestBodies(t *testing.T) {
	tests := map[string]struct {
		body    string
		pointer string // of the one fault
	}{
		"no JSON":                     {"hunter2", ""},
		"empty":                       {" ", ""},
		"cut off":                     {`{"uri":"hunter2"`, ""},
		"something after it":          {`{"uri":"https://a.example/mcp","name":"A"} "hunter2"`, ""},
		"two documents":               {`{"uri":"https://a.example/mcp","name":"A"}{}`, ""},
		"a byte order mark":           {"\ufeff" + `{"uri":"https://a.example/mcp","name":"A"}`, ""},
		"invalid UTF-8":               {`{"uri":"https://a.example/mcp","name":"` + "\xff" + `"}`, ""},
		"nested beyond reason":        {strings.Repeat("[", 20000) + strings.Repeat("]", 20000), ""},
		"a list":                      {`[{"uri":"https://a.example/mcp","name":"hunter2"}]`, ""},
		"a string":                    {`"hunter2"`, ""},
		"null":                        {`null`, ""},
		"an unknown field":            {`{"uri":"https://a.example/mcp","name":"A","issuer":"hunter2"}`, "/issuer"},
		"an unknown field within":     {`{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"a","admin":"hunter2"}]}`, "/scopes/0/admin"},
		"a name in another case":      {`{"uri":"https://a.example/mcp","name":"A","Scopes":[]}`, "/Scopes"},
		"a field twice":               {`{"uri":"https://a.example/mcp","name":"A","name":"hunter2"}`, "/name"},
		"a field twice within":        {`{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"a"},{"name":"b","name":"hunter2"}]}`, "/scopes/1/name"},
		"a field twice by escape":     {`{"uri":"https://a.example/mcp","name":"A","n\u0061me":"hunter2"}`, "/name"},
		"null for a field":            {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":null}`, "/access_token_lifetime"},
		"null for a list":             {`{"uri":"https://a.example/mcp","name":"A","scopes":null}`, "/scopes"},
		"null in a list":              {`{"uri":"https://a.example/mcp","name":"A","introspection_clients":[null]}`, "/introspection_clients/0"},
		"a number for a string":       {`{"uri":"https://a.example/mcp","name":31337}`, "/name"},
		"a string for a list":         {`{"uri":"https://a.example/mcp","name":"A","scopes":"hunter2"}`, "/scopes"},
		"a string for an object":      {`{"uri":"https://a.example/mcp","name":"A","scopes":["hunter2"]}`, "/scopes/0"},
		"a string for a number":       {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":"31337"}`, "/access_token_lifetime"},
		"a fraction":                  {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":600.5}`, "/access_token_lifetime"},
		"an exponent":                 {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":1e400}`, "/access_token_lifetime"},
		"a field with a strange name": {`{"uri":"https://a.example/mcp","name":"A","hunter2\n":1}`, "/…"},
		"a field with slashes":        {`{"uri":"https://a.example/mcp","name":"A","a/~b":1}`, "/a~1~0b"},
	}
	s := newServer(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := s.send(http.MethodPost, resourcesPath, test.body)
			problem := a.wantProblem(http.StatusBadRequest, "malformed")
			if len(problem.Errors) != 1 || problem.Errors[0].Pointer != test.pointer {
				t.Errorf("errors = %+v, want one at %q", problem.Errors, test.pointer)
			}
			for _, value := range []string{"hunter2", "31337"} {
				if bytes.Contains(a.body, []byte(value)) {
					t.Errorf("the answer repeats what was sent: %s", a.body)
				}
			}
		})
	}
	if items := into[api.ResourceList](s.send(http.MethodGet, resourcesPath, "")).Items; len(items) != 0 {
		t.Errorf("something was created: %+v", items)
	}
}

// AD-05: what the server decides cannot be sent.
func TestMassAssignment(t *testing.T) {
	s := newServer(t)
	for path, names := range map[string][]string{
		"/admin/v1/clients": {
			"id", "source", "secrets", "hashed_secret", "version", "created_at", "updated_at",
			"is_admin", "issuer", "jwks", "registration_access_token", "client_secret_expires_at",
		},
		"/admin/v1/users": {"id", "sub", "password_hash", "has_password", "is_admin", "admin", "roles", "version", "created_at"},
		resourcesPath:     {"id", "version", "issuer", "owner", "created_at"},
	} {
		for _, name := range names {
			problem := s.send(http.MethodPost, path, `{"`+name+`":"hunter2"}`).wantProblem(http.StatusBadRequest, "malformed")
			if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/"+name {
				t.Errorf("%s: %s: errors = %+v", path, name, problem.Errors)
			}
		}
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	s := newServer(t)
	body := `{"uri":1,"uri":2,"nom":"A","scopes":[{"name":null},{"tools":"x"}]}`
	problem := s.send(http.MethodPost, resourcesPath, body).wantProblem(http.StatusBadRequest, "malformed")
	var pointers []string
	for _, fault := range problem.Errors {
		pointers = append(pointers, fault.Pointer)
	}
	want := []string{"/uri", "/uri", "/nom", "/scopes/0/name", "/scopes/1/tools"}
	if !slices.Equal(pointers, want) {
		t.Errorf("pointers = %q, want %q", pointers, want)
	}

	body = `{"scopes":[` + strings.Repeat(`1,`, 100_000) + `1]}`
	a := s.send(http.MethodPost, resourcesPath, body)
	a.wantProblem(http.StatusBadRequest, "malformed")
	if len(a.body) > 10_000 {
		t.Errorf("the answer to many faults has %d bytes", len(a.body))
	}
}

func TestBodySize(t *testing.T) {
	s := newServer(t)
	fill := func(size int) string {
		const head, tail = `{"uri":"https://a.example/mcp","name":"A"`, `}`
		return head + strings.Repeat(" ", size-len(head)-len(tail)) + tail
	}
	s.send(http.MethodPost, resourcesPath, fill(1<<20+1)).wantProblem(http.StatusRequestEntityTooLarge, "too-large")
	s.send(http.MethodPost, resourcesPath, fill(1<<20)).want(http.StatusCreated)
}

// AD-04: what a form on another page can send is no JSON.
func TestContentTypes(t *testing.T) {
	s := newServer(t)
	id := create[api.Client](s, "/admin/v1/clients", `{"grant_types":["client_credentials"]}`).ID
	const post, patch = http.MethodPost, http.MethodPatch
	tests := map[string]struct {
		method string
		header []string
		ok     bool
	}{
		"JSON":                      {post, []string{"application/json"}, true},
		"JSON with a charset":       {post, []string{"Application/JSON; charset=UTF-8"}, true},
		"JSON in another charset":   {post, []string{"application/json; charset=utf-16"}, false},
		"none":                      {post, nil, false},
		"a form":                    {post, []string{"application/x-www-form-urlencoded"}, false},
		"a form with files":         {post, []string{"multipart/form-data; boundary=x"}, false},
		"text":                      {post, []string{"text/plain"}, false},
		"two of them":               {post, []string{"application/json", "application/json"}, false},
		"unreadable":                {post, []string{"application/json; ="}, false},
		"JSON of another kind":      {post, []string{"application/jsonx"}, false},
		"a merge patch to create":   {post, []string{"application/merge-patch+json"}, false},
		"a merge patch":             {patch, []string{"application/merge-patch+json"}, true},
		"a merge patch in capitals": {patch, []string{"APPLICATION/MERGE-PATCH+JSON"}, true},
		"JSON as a merge patch":     {patch, []string{"application/json"}, true},
		"a JSON patch":              {patch, []string{"application/json-patch+json"}, false},
		"a form as a merge patch":   {patch, []string{"application/x-www-form-urlencoded"}, false},
		"no type as a merge patch":  {patch, nil, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path, status := "/admin/v1/clients", http.StatusCreated
			if test.method == patch {
				path, status = path+"/"+id, http.StatusOK
			}
			r := s.request(test.method, path, `{"grant_types":["client_credentials"]}`)
			r.Header["Content-Type"] = test.header
			a := s.do(r)
			if test.ok {
				a.want(status)
			} else {
				a.wantProblem(http.StatusUnsupportedMediaType, "unsupported-media-type")
			}
		})
	}
}

// Making a secret needs no body, but a program that always sends one may.
func TestNoBody(t *testing.T) {
	s := newServer(t)
	path := "/admin/v1/clients/" + create[api.Client](s, "/admin/v1/clients", `{"grant_types":["client_credentials"]}`).ID + "/secrets"
	s.send(http.MethodPost, path, "").want(http.StatusCreated)
	s.send(http.MethodPost, path, "{}").want(http.StatusCreated)
	s.send(http.MethodPost, path, `{"secret":"x"}`).wantProblem(http.StatusBadRequest, "malformed")
	r := s.request(http.MethodPost, path, "a=b")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.do(r).wantProblem(http.StatusUnsupportedMediaType, "unsupported-media-type")
}
