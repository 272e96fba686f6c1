package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"grantd/api"
	"grantd/storage/storagetest"
)

const auditEventsPath = "/admin/v1/audit-events"

// What is wrong with a query is named, and a filter that is not understood never
// selects everything.
func TestAuditQueriesThatAreWrong(t *testing.T) {
	s := newServer(t)
	for query, pointer := range map[string]string{
		auditEventsPath + "?order=random":                               "?order",
		auditEventsPath + "?order=chain&actor=admin":                    "?order",
		auditEventsPath + "?order=chain&since=2026-01-31T08:00:00Z":     "?order",
		auditEventsPath + "?order=chain&cursor=evt_a":                   "?cursor",
		auditEventsPath + "?order=chain&cursor=-1.1":                    "?cursor",
		auditEventsPath + "?cursor=12.3":                                "?cursor",
		auditEventsPath + "?since=yesterday":                            "?since",
		auditEventsPath + "?until=2026-13-31":                           "?until",
		auditEventsPath + "?target=%0a":                                 "?target",
		auditEventsPath + "?actor=" + strings.Repeat("a", 5000):         "?actor",
		auditEventsPath + "?limit=0":                                    "?limit",
		"/admin/v1/audit-verification?cursor=x":                         "?cursor",
		"/admin/v1/audit-verification?cursor=-1":                        "?cursor",
		"/admin/v1/audit-verification?head=12":                          "?head",
		"/admin/v1/audit-access":                                        "?at",
		"/admin/v1/audit-access?at=noon":                                "?at",
		"/admin/v1/audit-access?at=2026-01-31T08:00:00Z&user_id=%00":    "?user_id",
		"/admin/v1/audit-access?at=2026-01-31T08:00:00Z&username=alice": "?username",
	} {
		problem := s.send(http.MethodGet, query, "").wantProblem(http.StatusBadRequest, "invalid")
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != pointer {
			t.Errorf("%.80s: errors = %+v, want one about %s", query, problem.Errors, pointer)
		}
	}
}

// The chain is listed in its own order, a page at a time, and without what is not
// sealed yet.
func TestAuditEventsOfTheChain(t *testing.T) {
	s := newServer(t)
	storagetest.NewFixture(t, s.store)
	if err := s.chain.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	create[api.User](s, "/admin/v1/users", `{"username":"unsealed"}`)
	var ids []string
	cursor := ""
	for range 10 {
		page := into[api.AuditEventList](s.send(http.MethodGet, auditEventsPath+"?order=chain&limit=2&cursor="+cursor, "").want(http.StatusOK))
		for _, e := range page.Items {
			ids = append(ids, e.ID)
			if e.Seal != 1 || e.Position != len(ids) {
				t.Errorf("event %d has the place %d.%d", len(ids), e.Seal, e.Position)
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(ids) != 5 {
		t.Errorf("%d events, want the fixture's", len(ids))
	}
	newest := into[api.AuditEventList](s.send(http.MethodGet, auditEventsPath+"?order=newest&limit=1&action=user.", "").want(http.StatusOK))
	if len(newest.Items) != 1 || newest.Items[0].Detail["username"] != "unsealed" || newest.Items[0].Seal != 0 || newest.NextCursor == "" {
		t.Errorf("the newest is %+v", newest)
	}
	head := into[api.AuditHead](s.send(http.MethodGet, "/admin/v1/audit-head", "").want(http.StatusOK))
	if head.Seal != 1 || head.Unsealed != 1 || head.SealedAt == nil || !strings.HasPrefix(head.Head, "1.") {
		t.Errorf("the head is %+v", head)
	}
}

// Access is told a page at a time.
func TestAuditAccessPages(t *testing.T) {
	s := newServer(t)
	for range 5 {
		f := storagetest.NewFixture(t, s.store)
		made := storagetest.Event("resource.created", f.Resource.ID).With("scopes", `[{"name":"files:read","risk":"read"}]`)
		if err := s.store.RecordAuditEvent(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		event := storagetest.Event("grant.approved", f.Code.ID).With("client_id", f.Client.ID).With("resource_id", f.Resource.ID).
			With("scope", "files:read").With("policies", "staff,all")
		event.Actor = "user:" + f.User.ID
		if err := s.store.RecordAuditEvent(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	seen, cursor := map[string]bool{}, ""
	for range 10 {
		page := into[api.AuditAccessList](s.send(http.MethodGet, "/admin/v1/audit-access?at=2030-01-31T08:00:00Z&limit=2&cursor="+strings.ReplaceAll(cursor, " ", "+"), "").want(http.StatusOK))
		for _, a := range page.Items {
			seen[a.UserID] = true
			if len(a.Policies) != 1 || a.Policies[0] != "Everyone may approve every MCP server" || len(a.Scopes) != 1 {
				t.Errorf("access = %+v", a)
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("the pages have %d people, want 5", len(seen))
	}
}
