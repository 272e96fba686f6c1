package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/server/admin"
	"grantd/storage"
	"grantd/storage/storagetest"
)

// fields is an object of the API, by field.
type fields map[string]any

// A merge patch replaces what it names, resets what it names with null, and
// leaves the rest; the answer is what a read gives.
func TestMergePatch(t *testing.T) {
	const (
		client   = `{"client_name":"App","redirect_uris":["https://app.example/cb"],"scope":"a b","contacts":["x"],"client_uri":"https://app.example","software_id":"s","application_type":"native","resources":["https://a.example/mcp"]}`
		resource = `{"uri":"https://files.example/mcp","name":"Files","scopes":[{"name":"a","description":"Do a","tools":["t"]},{"name":"b"}],"access_token_lifetime":120}`
		user     = `{"username":"alice","email":"alice@example.com","name":"Alice","password":"a long passphrase","groups":["b","a"]}`
	)
	tests := map[string]struct {
		path, body, patch string
		want              fields // what differs afterwards; nil: the field is absent
	}{
		"nothing":                  {clientsPath, client, `{}`, fields{}},
		"the same":                 {clientsPath, client, `{"client_name":"App","disabled":false}`, fields{}},
		"a name":                   {clientsPath, client, `{"client_name":"New"}`, fields{"client_name": "New"}},
		"a name away":              {clientsPath, client, `{"client_name":null}`, fields{"client_name": nil}},
		"an empty name":            {clientsPath, client, `{"client_name":""}`, fields{"client_name": nil}},
		"a list whole":             {clientsPath, client, `{"redirect_uris":["https://new.example/"]}`, fields{"redirect_uris": []any{"https://new.example/"}}},
		"several":                  {clientsPath, client, `{"scope":null,"contacts":null,"client_uri":null,"software_id":null,"application_type":null,"resources":null}`, fields{"scope": nil, "contacts": []any{}, "client_uri": nil, "software_id": nil, "application_type": "web", "resources": []any{}}},
		"grant types":              {clientsPath, client, `{"grant_types":["client_credentials"],"redirect_uris":[]}`, fields{"grant_types": []any{"client_credentials"}, "response_types": []any{}, "redirect_uris": []any{}}},
		"disabled":                 {clientsPath, client, `{"disabled":true}`, fields{"disabled": true}},
		"a method":                 {clientsPath, client, `{"token_endpoint_auth_method":"client_secret_post"}`, fields{"token_endpoint_auth_method": "client_secret_post"}},
		"a resource's name":        {resourcesPath, resource, `{"name":"New"}`, fields{"name": "New"}},
		"its own URI":              {resourcesPath, resource, `{"uri":"HTTPS://FILES.example/mcp"}`, fields{}},
		"scopes":                   {resourcesPath, resource, `{"scopes":[{"name":"b","tools":["u"]}]}`, fields{"scopes": []any{map[string]any{"name": "b", "tools": []any{"u"}, "risk": "write"}}}},
		"scopes away":              {resourcesPath, resource, `{"scopes":null}`, fields{"scopes": []any{}}},
		"lifetime":                 {resourcesPath, resource, `{"access_token_lifetime":null}`, fields{"access_token_lifetime": 600.0}},
		"a user's name and groups": {"/admin/v1/users", user, `{"name":null,"groups":["z"]}`, fields{"name": nil, "groups": []any{"z"}}},
		"a username":               {"/admin/v1/users", user, `{"username":"Alice"}`, fields{"username": "Alice"}},
		"no password":              {"/admin/v1/users", user, `{"password":null}`, fields{"has_password": false}},
		"a new password":           {"/admin/v1/users", user, `{"password":"another passphrase"}`, fields{}},
		"no groups":                {"/admin/v1/users", user, `{"groups":[]}`, fields{"groups": []any{}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			want := create[fields](s, test.path, test.body)
			delete(want, "client_secret")
			path := test.path + "/" + want["id"].(string)

			s.later(time.Minute)
			got := into[fields](s.send(http.MethodPatch, path, test.patch).want(http.StatusOK))
			for name, value := range test.want {
				if value == nil {
					delete(want, name)
				} else {
					want[name] = value
				}
			}
			if cmp.Equal(want, got) != (len(test.want) == 0 && name != "a new password") {
				t.Errorf("updated_at must move when, and only when, something changes: %v", got)
			}
			want["updated_at"] = got["updated_at"]
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(got, into[fields](s.send(http.MethodGet, path, "").want(http.StatusOK))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusedPatches(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	for name, test := range map[string]struct{ path, patch, code, pointer string }{
		"another URI":             {resourcesPath + "/" + f.Resource.ID, `{"uri":"https://other.example/mcp"}`, "invalid", "/uri"},
		"a URI with a slash more": {resourcesPath + "/" + f.Resource.ID, `{"uri":"` + f.Resource.URI + `/"}`, "invalid", "/uri"},
		"no URI":                  {resourcesPath + "/" + f.Resource.ID, `{"uri":null}`, "malformed", "/uri"},
		"no name":                 {resourcesPath + "/" + f.Resource.ID, `{"name":""}`, "invalid", "/name"},
		"no username":             {"/admin/v1/users/" + f.User.ID, `{"username":""}`, "invalid", "/username"},
		"a short password":        {"/admin/v1/users/" + f.User.ID, `{"password":"short"}`, "invalid", "/password"},
		"no redirect URI":         {clientsPath + "/" + f.Client.ID, `{"redirect_uris":null}`, "invalid", "/redirect_uris"},
		"a service without proof": {clientsPath + "/" + f.Client.ID, `{"grant_types":["client_credentials"]}`, "invalid", "/grant_types"},
		"another id":              {clientsPath + "/" + f.Client.ID, `{"id":"x"}`, "malformed", "/id"},
		"null within":             {clientsPath + "/" + f.Client.ID, `{"contacts":[null]}`, "malformed", "/contacts/0"},
		"a list of operations":    {clientsPath + "/" + f.Client.ID, `[{"op":"remove","path":"/contacts"}]`, "malformed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			problem := s.send(http.MethodPatch, test.path, test.patch).wantProblem(http.StatusBadRequest, test.code)
			if len(problem.Errors) != 1 || problem.Errors[0].Pointer != test.pointer {
				t.Errorf("errors = %+v, want one at %q", problem.Errors, test.pointer)
			}
		})
	}
	for _, path := range []string{clientsPath + "/" + storage.NewID(storage.PrefixClient), resourcesPath + "/" + storage.NewID(storage.PrefixResource), "/admin/v1/users/" + storage.NewID(storage.PrefixUser)} {
		s.send(http.MethodPatch, path, `{}`).wantProblem(http.StatusNotFound, "not-found")
		s.send(http.MethodDelete, path, "").wantProblem(http.StatusNotFound, "not-found")
	}
}

// An introspection client may be deleted without spoiling later changes.
func TestIntrospectionClients(t *testing.T) {
	s := newServer(t)
	c := create[api.Client](s, clientsPath, `{"grant_types":["client_credentials"]}`)
	r := create[api.Resource](s, resourcesPath, `{"uri":"https://a.example/mcp","name":"A","introspection_clients":["`+c.ClientID+`"]}`)
	if diff := cmp.Diff([]string{c.ClientID}, r.IntrospectionClients); diff != "" {
		t.Error(diff)
	}
	s.send(http.MethodDelete, clientsPath+"/"+c.ID, "").want(http.StatusNoContent)
	s.send(http.MethodPatch, resourcesPath+"/"+r.ID, `{"name":"B"}`).want(http.StatusOK)
	s.send(http.MethodPatch, resourcesPath+"/"+r.ID, `{"introspection_clients":["cl_typo"]}`).wantProblem(http.StatusBadRequest, "invalid")
}

func TestPasswords(t *testing.T) {
	s := newServer(t)
	u := create[api.User](s, "/admin/v1/users", `{"username":"alice","password":"first passphrase"}`)
	path := "/admin/v1/users/" + u.ID
	first := storedHash(s, u.ID)
	s.send(http.MethodPatch, path, `{"name":"Alice"}`).want(http.StatusOK)
	if got := storedHash(s, u.ID); got != first || got == "" {
		t.Errorf("hash = %q, want %q to stay", got, first)
	}
	s.send(http.MethodPatch, path, `{"password":"second passphrase"}`).want(http.StatusOK)
	if got := storedHash(s, u.ID); got == first || got == "" {
		t.Errorf("hash = %q, want another than %q", got, first)
	}
	if diff := cmp.Diff([]string{"first passphrase", "second passphrase"}, s.hashed); diff != "" {
		t.Errorf("hashed passwords: %s", diff)
	}
	s.send(http.MethodPatch, path, `{"password":null}`).want(http.StatusOK)
	if got := storedHash(s, u.ID); got != "" {
		t.Errorf("hash = %q, want none", got)
	}
}

// racing is a store in which somebody else changes a row between a read and the
// write that follows, as often as races says.
type racing struct {
	admin.Store
	races int
}

func (r *racing) UpdateClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	if r.races > 0 {
		r.races--
		other, err := r.Client(ctx, c.ID)
		if err != nil {
			return err
		}
		other.SoftwareVersion = fmt.Sprintf("%d races left", r.races)
		if err := r.Store.UpdateClient(ctx, other, storagetest.Event("client.updated", c.ID)); err != nil {
			return err
		}
	}
	return r.Store.UpdateClient(ctx, c, event)
}

func (r *racing) UpdateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error {
	if r.races > 0 {
		r.races--
		other, err := r.User(ctx, u.ID)
		if err != nil {
			return err
		}
		other.Name = "Somebody else's change"
		if err := r.Store.UpdateUser(ctx, other, storagetest.Event("user.updated", u.ID)); err != nil {
			return err
		}
	}
	return r.Store.UpdateUser(ctx, u, event)
}

// A lost race does not cost another hash, which is slow on purpose.
func TestRacesHashOnce(t *testing.T) {
	s := newServer(t, func(inner admin.Store) admin.Store { return &racing{Store: inner, races: 2} })
	id := create[api.User](s, "/admin/v1/users", `{"username":"alice"}`).ID
	got := into[api.User](s.send(http.MethodPatch, "/admin/v1/users/"+id, `{"password":"a long passphrase"}`).want(http.StatusOK))
	if !got.HasPassword || got.Name != "Somebody else's change" || len(s.hashed) != 1 {
		t.Errorf("user = %+v after %d hashes", got, len(s.hashed))
	}
}

// Two changes at the same moment are both made; only when it never ends is the
// caller told.
func TestRaces(t *testing.T) {
	for races, status := range map[int]int{0: 200, 1: 200, 3: 200, 4: 409, 100: 409} {
		t.Run(fmt.Sprint(races), func(t *testing.T) {
			s := newServer(t, func(inner admin.Store) admin.Store { return &racing{Store: inner, races: races} })
			id := create[api.Client](s, clientsPath, `{"grant_types":["client_credentials"],"software_version":"0"}`).ID
			a := s.send(http.MethodPatch, clientsPath+"/"+id, `{"client_name":"Mine"}`)
			if status == http.StatusConflict {
				a.wantProblem(status, "conflict")
				return
			}
			got := into[api.Client](a.want(status))
			want := "0"
			if races > 0 {
				want = "0 races left"
			}
			if got.ClientName != "Mine" || got.SoftwareVersion != want {
				t.Errorf("client = %+v, want both changes", got)
			}
		})
	}
}

// broken is a store that cannot reach its database once fail is set.
type broken struct {
	admin.Store
	fail bool
}

func (b *broken) err() error {
	if b.fail {
		return fmt.Errorf("dial: %w", errors.Join(errors.New("secret host name"), storage.ErrUnavailable))
	}
	return nil
}

func (b *broken) Client(ctx context.Context, id string) (*storage.Client, error) {
	if err := b.err(); err != nil {
		return nil, err
	}
	return b.Store.Client(ctx, id)
}

func (b *broken) Clients(context.Context, storage.ClientFilter, storage.Page) ([]*storage.Client, error) {
	return nil, b.err()
}

func (b *broken) CreateUser(context.Context, *storage.User, storage.AuditEvent) error {
	return b.err()
}
func (b *broken) Grant(context.Context, string) (*storage.Grant, error) { return nil, b.err() }

func (b *broken) CreateUserLink(context.Context, *storage.UserLink, storage.AuditEvent) error {
	return b.err()
}

func (b *broken) ClientByClientID(context.Context, string) (*storage.Client, error) {
	return nil, b.err()
}

// An outage is nobody's fault and never looks like an empty list or a missing
// row.
func TestOutage(t *testing.T) {
	store := &broken{}
	s := newServer(t, func(inner admin.Store) admin.Store { store.Store = inner; return store })
	id := create[api.Client](s, clientsPath, `{"grant_types":["client_credentials"]}`).ID
	user := storagetest.NewFixture(t, s.store).User.ID
	store.fail = true
	for _, request := range [][3]string{
		{http.MethodGet, clientsPath},
		{http.MethodGet, clientsPath + "/" + id},
		{http.MethodPatch, clientsPath + "/" + id, `{"client_name":"X"}`},
		{http.MethodGet, clientsPath + "/" + id + "/secrets"},
		{http.MethodPost, clientsPath + "/" + id + "/secrets"},
		{http.MethodPost, "/admin/v1/users", `{"username":"alice"}`},
		{http.MethodPost, "/admin/v1/users/" + user + "/links", `{"purpose":"invitation"}`},
		{http.MethodPost, resourcesPath, `{"uri":"https://a.example/mcp","name":"A","introspection_clients":["` + id + `"]}`},
		{http.MethodGet, "/admin/v1/grants?client_id=https://app.example/client.json"},
		{http.MethodDelete, "/admin/v1/grants/" + storage.NewID(storage.PrefixGrant)},
	} {
		a := s.send(request[0], request[1], request[2])
		problem := a.wantProblem(http.StatusServiceUnavailable, "unavailable")
		if a.header.Get("Retry-After") == "" || problem.Detail == "" {
			t.Errorf("%s %s: Retry-After = %q", request[0], request[1], a.header.Get("Retry-After"))
		}
		if containsAny(string(a.body), "secret host name", "dial") {
			t.Errorf("the answer tells what is inside: %s", a.body)
		}
	}
}

func storedHash(s *server, id string) string {
	s.t.Helper()
	u, err := s.store.User(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return u.PasswordHash
}

// A key set is replaced whole, not merged with the one that is there.
func TestPatchKeySet(t *testing.T) {
	s := newServer(t)
	set := func(kid string) string {
		return `"jwks":{"keys":[{"kty":"EC","crv":"P-256","kid":"` + kid + `","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`
	}
	c := create[api.Client](s, clientsPath, `{"token_endpoint_auth_method":"private_key_jwt","grant_types":["client_credentials"],`+set("old")+`}`)
	changed := into[api.Client](s.send(http.MethodPatch, clientsPath+"/"+c.ID, `{`+set("new")+`}`).want(http.StatusOK))
	if keys := string(changed.JWKS); !strings.Contains(keys, `"new"`) || strings.Contains(keys, `"old"`) {
		t.Errorf("jwks = %s", keys)
	}
	problem := s.send(http.MethodPatch, clientsPath+"/"+c.ID, `{"jwks":"x"}`).wantProblem(http.StatusBadRequest, "malformed")
	if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/jwks" {
		t.Errorf("errors = %+v", problem.Errors)
	}
}
