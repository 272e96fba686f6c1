package admin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
	"grantd/storage/storagetest"
)

type page struct {
	Items      []fields `json:"items"`
	NextCursor *string  `json:"next_cursor"`
}

// Following next_cursor gives everything once, in the order of creation,
// whatever the size of a page.
func TestPaging(t *testing.T) {
	s := newServer(t)
	var want []string
	for i := range 7 {
		want = append(want, create[fields](s, "/admin/v1/users", fmt.Sprintf(`{"username":"u%d"}`, i))["id"].(string))
	}
	for _, limit := range []int{1, 2, 3, 6, 7, 8, 200} {
		var got []string
		pages := 0
		for cursor := ""; ; {
			p := into[page](s.send(http.MethodGet, fmt.Sprintf("/admin/v1/users?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), "").want(http.StatusOK))
			pages++
			for _, item := range p.Items {
				got = append(got, item["id"].(string))
			}
			if p.NextCursor == nil {
				break
			}
			if len(p.Items) != limit {
				t.Errorf("limit %d: a page with a next one has %d items", limit, len(p.Items))
			}
			cursor = *p.NextCursor
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d: %s", limit, diff)
		}
		if most := (len(want) + limit - 1) / limit; pages != most {
			t.Errorf("limit %d: %d pages, want %d", limit, pages, most)
		}
	}
}

// The id of any event works as a cursor, so that a reader of the log can begin
// where it stopped.
func TestAuditCursor(t *testing.T) {
	s := newServer(t)
	storagetest.NewFixture(t, s.store)
	all := eventsOf(s)
	rest := into[api.AuditEventList](s.send(http.MethodGet, "/admin/v1/audit-events?cursor="+all[1].ID, "").want(http.StatusOK)).Items
	if diff := cmp.Diff(all[2:], rest); diff != "" || len(rest) == 0 {
		t.Error(diff)
	}
}

func TestDefaultLimit(t *testing.T) {
	s := newServer(t)
	for i := range 51 {
		u := storagetest.NewUser()
		u.Username = fmt.Sprintf("u%d", i)
		if err := s.store.CreateUser(t.Context(), u, storagetest.Event("user.created", u.ID)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/admin/v1/users", "/admin/v1/audit-events"} {
		p := into[page](s.send(http.MethodGet, path, "").want(http.StatusOK))
		if len(p.Items) != 50 || p.NextCursor == nil {
			t.Errorf("%s: %d items, want 50 and a next page", path, len(p.Items))
		}
	}
}

var collections = []string{"clients", "resources", "users", "grants", "keys", "audit-events"}

func TestEmptyLists(t *testing.T) {
	s := newServer(t)
	for _, collection := range collections {
		a := s.send(http.MethodGet, "/admin/v1/"+collection, "").want(http.StatusOK)
		if got := string(a.body); got != "{\"items\":[]}\n" {
			t.Errorf("%s: %s", collection, got)
		}
	}
}

func TestBadParameters(t *testing.T) {
	s := newServer(t)
	storagetest.NewFixture(t, s.store)
	for _, collection := range collections {
		for query, pointer := range map[string]string{
			"limit=0": "?limit", "limit=201": "?limit", "limit=-1": "?limit", "limit=": "?limit", "limit=hunter2": "?limit", "limit=99999999999999999999": "?limit",
			"limit=1&limit=2":     "?limit",
			"cursor=hunter2":      "?cursor",
			"cursor=%00":          "?cursor",
			"order=id;DROP+TABLE": "?",
			"sort=hunter2":        "?sort",
			"access_token=" + "x": "?access_token",
			"Limit=1":             "?Limit",
			"hunter2%0A=1":        "?…",
			"cursor=%zz":          "?",
		} {
			a := s.send(http.MethodGet, "/admin/v1/"+collection+"?"+query, "")
			problem := a.wantProblem(http.StatusBadRequest, "invalid")
			if len(problem.Errors) != 1 || problem.Errors[0].Pointer != pointer || containsAny(string(a.body), "hunter2", "9999") {
				t.Errorf("%s?%s: %s, want one fault at %q", collection, query, a.body, pointer)
			}
		}
	}
	s.send(http.MethodGet, clientsPath+"/"+storage.NewID(storage.PrefixClient)+"?x=y", "").wantProblem(http.StatusBadRequest, "invalid")
}

func TestGrants(t *testing.T) {
	s := newServer(t)
	a, b := storagetest.NewFixture(t, s.store), storagetest.NewFixture(t, s.store)
	document := storagetest.NewClient()
	document.ClientID, document.Source = "https://app.example/client.json", storage.SourceMetadataDocument
	if err := s.store.CreateClient(t.Context(), document, storagetest.Event("client.created", document.ID)); err != nil {
		t.Fatal(err)
	}
	a.Client = document
	a.Approve(t, "files:read")
	ofDocument := grantsOf(s, "client_id="+url.QueryEscape(document.ClientID))
	if len(ofDocument) != 1 {
		t.Fatalf("grants of the document's client = %+v", ofDocument)
	}
	if got := ofDocument[0]; got.ClientID != document.ID || got.ClientName != document.ClientName || len(got.Scopes) != 1 || got.Scopes[0] != "files:read" {
		t.Errorf("grant = %+v", got)
	}

	for query, want := range map[string][]string{
		"":                             {a.Grant.ID, b.Grant.ID, ofDocument[0].ID},
		"user_id=" + a.User.ID:         {a.Grant.ID, ofDocument[0].ID},
		"client_id=" + b.Client.ID:     {b.Grant.ID},
		"client_id=" + document.ID:     {ofDocument[0].ID},
		"resource_id=" + b.Resource.ID: {b.Grant.ID},
		"user_id=" + a.User.ID + "&client_id=" + b.Client.ID: nil,
		"client_id=https://nobody.example/client.json":       nil,
		"user_id=" + storage.NewID(storage.PrefixUser):       nil,
	} {
		got := map[string]bool{}
		for _, g := range grantsOf(s, query) {
			got[g.ID] = true
		}
		wanted := map[string]bool{}
		for _, id := range want {
			wanted[id] = true
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, query := range []string{"user_id=alice", "user_id=" + a.Client.ID, "resource_id=https://a.example/mcp", "client_id=%00", "user_id=%27%20OR%201=1"} {
		s.send(http.MethodGet, "/admin/v1/grants?"+query, "").wantProblem(http.StatusBadRequest, "invalid")
	}

	s.send(http.MethodDelete, "/admin/v1/grants/"+b.Grant.ID, "").want(http.StatusNoContent)
	s.send(http.MethodDelete, "/admin/v1/grants/"+b.Grant.ID, "").wantProblem(http.StatusNotFound, "not-found")
	if got := grantsOf(s, "client_id="+b.Client.ID); len(got) != 0 {
		t.Errorf("grants = %+v, want it revoked", got)
	}
}

func grantsOf(s *server, query string) []api.Grant {
	s.t.Helper()
	return into[api.GrantList](s.send(http.MethodGet, "/admin/v1/grants?"+query, "").want(http.StatusOK)).Items
}
