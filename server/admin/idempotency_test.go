package admin_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"grantd/api"
	"grantd/storage"
	"grantd/storage/storagetest"
)

// repeated posts with an Idempotency-Key.
func (s *server) repeated(path, key, body string) *answer {
	s.t.Helper()
	r := s.request(http.MethodPost, path, body)
	r.Header.Set("Idempotency-Key", key)
	return s.do(r)
}

func (a *answer) wantReplayed(want string) *answer {
	a.t.Helper()
	if got := a.header.Get("Idempotent-Replayed"); got != want {
		a.t.Errorf("Idempotent-Replayed = %q, want %q", got, want)
	}
	return a
}

func TestIdempotencyKey(t *testing.T) {
	for _, c := range []struct{ name, path, body, other string }{
		{"client", clientsPath, `{"grant_types":["client_credentials"]}`, `{"grant_types":["client_credentials"],"client_name":"Other"}`},
		{"resource", resourcesPath, `{"uri":"https://a.example/mcp","name":"A"}`, `{"uri":"https://a.example/mcp","name":"B"}`},
		{"user", "/admin/v1/users", `{"username":"bob","password":"correct horse"}`, `{"username":"bob","password":"another horse"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			first := s.repeated(c.path, "k1", c.body).want(http.StatusCreated).wantReplayed("false")
			again := s.repeated(c.path, "k1", "  "+c.body).want(http.StatusCreated).wantReplayed("true")
			if again.header.Get("Location") != first.header.Get("Location") || again.header.Get("ETag") != first.header.Get("ETag") {
				t.Errorf("headers = %v, then %v", first.header, again.header)
			}
			firstBody, againBody := into[map[string]any](first), into[map[string]any](again)
			if secret, _ := firstBody["client_secret"].(string); c.name == "client" && !strings.HasPrefix(secret, "cs_") {
				t.Error("the first answer has no secret")
			}
			delete(firstBody, "client_secret")
			if _, shown := againBody["client_secret"]; shown {
				t.Error("the secret is shown again")
			}
			if len(firstBody) != len(againBody) || firstBody["id"] != againBody["id"] {
				t.Errorf("first %v, then %v", firstBody, againBody)
			}
			s.repeated(c.path, "k1", c.other).wantProblem(http.StatusUnprocessableEntity, "idempotency-key-reused")
			if got := len(into[api.ClientList](s.send(http.MethodGet, c.path, "").want(http.StatusOK)).Items); got != 1 {
				t.Errorf("%d were created, want 1", got)
			}
			// After a day it is a new request.
			s.later(storage.IdempotencyLifetime)
			s.repeated(c.path, "k1", strings.NewReplacer("bob", "eve", "a.example", "b.example").Replace(c.other)).want(http.StatusCreated).wantReplayed("false")
		})
	}
}

// A key belongs to who sent it and to one operation; a refused request claims
// nothing; a name that is taken stays a conflict.
func TestIdempotencyKeyIsNarrow(t *testing.T) {
	s := newServer(t)
	const users = "/admin/v1/users"
	s.repeated(users, "k", `{"username":""}`).wantProblem(http.StatusBadRequest, "invalid")
	mine := into[api.User](s.repeated(users, "k", `{"username":"bob"}`).want(http.StatusCreated))
	s.repeated(resourcesPath, "k", `{"uri":"https://a.example/mcp","name":"A"}`).wantProblem(http.StatusUnprocessableEntity, "idempotency-key-reused")

	r := s.request(http.MethodPost, users, `{"username":"eve"}`)
	r.Header.Set("Idempotency-Key", "k")
	r.Header.Set("Authorization", "Bearer "+otherKey)
	if theirs := into[api.User](s.do(r).want(http.StatusCreated).wantReplayed("false")); theirs.ID == mine.ID {
		t.Error("another admin's key led to this one's user")
	}
	s.repeated(users, "k2", `{"username":"BOB"}`).wantProblem(http.StatusConflict, "already-exists")
	s.repeated(users, "k2", `{"username":"BOB"}`).wantProblem(http.StatusConflict, "already-exists")
	for _, key := range []string{strings.Repeat("k", 256), "schlüssel", "a\x01"} {
		s.repeated(users, key, `{"username":"zoe"}`).wantProblem(http.StatusBadRequest, "invalid")
	}
}

func TestIdempotencyKeyOfSecrets(t *testing.T) {
	s := newServer(t)
	c := storagetest.NewFixture(t, s.store).Client
	path := clientsPath + "/" + c.ID + "/secrets"
	first := into[api.NewClientSecret](s.repeated(path, "k", "").want(http.StatusCreated).wantReplayed("false"))
	again := into[api.NewClientSecret](s.repeated(path, "k", "").want(http.StatusCreated).wantReplayed("true"))
	if first.ClientSecret == "" || again.ClientSecret != "" || again.ID != first.ID || !again.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("first %+v, then %+v", first, again)
	}
	other := create[api.Client](s, clientsPath, `{"grant_types":["client_credentials"]}`)
	s.repeated(clientsPath+"/"+other.ID+"/secrets", "k", "").wantProblem(http.StatusUnprocessableEntity, "idempotency-key-reused")
}

// Forty that send the same request at once get one user.
func TestIdempotencyKeyRaced(t *testing.T) {
	s := newServer(t)
	ids := make([]string, 40)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			ids[i] = into[api.User](s.repeated("/admin/v1/users", "k", `{"username":"bob"}`).want(http.StatusCreated)).ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two users: %s and %s", ids[0], id)
		}
	}
	created := 0
	for _, e := range eventsOf(s) {
		if e.Action == "user.created" {
			created++
		}
	}
	if created != 1 {
		t.Errorf("%d events of one creation", created)
	}
}

// ST-03: a create that was interrupted after its claim is finished by repeating it.
func TestST03ClaimedButNotCreated(t *testing.T) {
	s := newServer(t)
	s.repeated("/admin/v1/users", "my-key", `{"username":"bob","password":"correct horse"}`).want(http.StatusCreated)
	u := into[api.UserList](s.send(http.MethodGet, "/admin/v1/users?username=bob", "").want(http.StatusOK)).Items[0]
	if err := s.store.DeleteUser(t.Context(), u.ID, storage.AnyVersion, storagetest.Event("user.deleted", u.ID)); err != nil {
		t.Fatal(err)
	}
	// As if the server had died between the two.
	again := into[api.User](s.repeated("/admin/v1/users", "my-key", `{"username":"bob","password":"correct horse"}`).want(http.StatusCreated).wantReplayed("false"))
	if again.ID != u.ID {
		t.Errorf("id = %s, want the claimed one %s", again.ID, u.ID)
	}
}

func TestIfMatch(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	for _, c := range []struct{ path, one, other string }{
		{clientsPath + "/" + f.Client.ID, `{"client_name":"One"}`, `{"client_name":"Two"}`},
		{resourcesPath + "/" + f.Resource.ID, `{"name":"One"}`, `{"name":"Two"}`},
		{"/admin/v1/users/" + f.User.ID, `{"name":"One"}`, `{"name":"Two"}`},
	} {
		patch := func(match, body string) *answer {
			r := s.request(http.MethodPatch, c.path, body)
			if match != "" {
				r.Header.Set("If-Match", match)
			}
			return s.do(r)
		}
		tag := s.send(http.MethodGet, c.path, "").want(http.StatusOK).header.Get("ETag")
		changed := patch(tag, c.one).want(http.StatusOK).header.Get("ETag")
		if tag == "" || changed == tag {
			t.Fatalf("%s: ETag %q became %q", c.path, tag, changed)
		}
		for _, stale := range []string{tag, `"999"`, "W/" + changed, strings.Trim(changed, `"`), `"x", ` + tag} {
			patch(stale, c.other).wantProblem(http.StatusPreconditionFailed, "changed")
		}
		if now := s.send(http.MethodGet, c.path, "").want(http.StatusOK); now.header.Get("ETag") != changed || strings.Contains(string(now.body), "Two") {
			t.Errorf("%s: refused, but it is %s", c.path, now.body)
		}
		patch(`"999", `+changed, c.other).want(http.StatusOK)
		patch("*", c.one).want(http.StatusOK)
		patch("", c.other).want(http.StatusOK)
	}
}

// Two who both saw the same version: one changes it, the other is told.
func TestIfMatchRaced(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	path := clientsPath + "/" + f.Client.ID
	tag := s.send(http.MethodGet, path, "").want(http.StatusOK).header.Get("ETag")
	statuses := make([]int, 20)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() {
			r := s.request(http.MethodPatch, path, `{"client_name":"Number `+string(rune('a'+i))+`"}`)
			r.Header.Set("If-Match", tag)
			statuses[i] = s.do(r).status
		})
	}
	all.Wait()
	won := 0
	for _, status := range statuses {
		switch status {
		case http.StatusOK:
			won++
		case http.StatusPreconditionFailed:
		default:
			t.Errorf("status = %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d changed the same version, want 1", won)
	}
}

// A reference is resolved by a filter, without paging through everything.
func TestFiltersByName(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	storagetest.NewFixture(t, s.store)
	group := f.User.Groups[0]
	for query, id := range map[string]string{
		"clients?client_id=" + f.Client.ClientID:                                f.Client.ID,
		"clients?client_id=https://nobody.example/":                             "",
		"clients?client_id=%00":                                                 "",
		"resources?uri=" + f.Resource.URI:                                       f.Resource.ID,
		"resources?uri=" + f.Resource.URI + "/":                                 f.Resource.ID,
		"resources?uri=" + strings.Replace(f.Resource.URI, "https", "HTTPS", 1): f.Resource.ID,
		"resources?uri=nonsense":                                                "",
		"users?username=" + strings.ToUpper(f.User.Username):                    f.User.ID,
		"users?username=nobody":                                                 "",
		"users?username=" + f.User.Username + "&group=" + group:                 f.User.ID,
		"users?username=" + f.User.Username + "&group=nobodys":                  "",
		"users?group=nobodys":                                                   "",
		"users?limit=1&username=" + f.User.Username:                             f.User.ID,
	} {
		items := into[struct{ Items []struct{ ID string } }](s.send(http.MethodGet, "/admin/v1/"+query, "").want(http.StatusOK)).Items
		if id == "" && len(items) == 0 || len(items) == 1 && items[0].ID == id {
			continue
		}
		t.Errorf("%s: %+v, want %q", query, items, id)
	}
	s.send(http.MethodGet, "/admin/v1/users?username=a%00", "").wantProblem(http.StatusBadRequest, "invalid")
	groups := into[api.GroupList](s.send(http.MethodGet, "/admin/v1/groups", "").want(http.StatusOK)).Items
	members := into[api.UserList](s.send(http.MethodGet, "/admin/v1/users?group="+groups[0].Name, "").want(http.StatusOK)).Items
	if len(members) != groups[0].Members || len(members) == 0 {
		t.Errorf("%d members listed of %+v", len(members), groups[0])
	}
}
