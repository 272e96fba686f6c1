package admin_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
)

const groupsPath = "/admin/v1/groups"

func TestGroups(t *testing.T) {
	s := newServer(t)
	a := s.send(http.MethodPost, groupsPath, `{"name":"On call","description":"Those who are woken","managed_by":"ours"}`).want(http.StatusCreated)
	g := into[api.Group](a)
	want := api.Group{ID: g.ID, Name: "On call", Description: "Those who are woken", ManagedBy: "ours"}
	if diff := cmp.Diff(want, g); diff != "" || a.header.Get("Location") != groupsPath+"/"+g.ID || !strings.HasPrefix(g.ID, "grp_") {
		t.Errorf("created %+v, %v", g, a.header)
	}
	path := groupsPath + "/" + g.ID
	s.send(http.MethodPost, groupsPath, `{"name":"On call"}`).wantProblem(http.StatusConflict, "already-exists")
	s.send(http.MethodPost, groupsPath+"?dry_run=true", `{"name":"On call"}`).wantProblem(http.StatusConflict, "already-exists")
	for _, test := range []struct{ name, found string }{{"On%20call", g.ID}, {"on%20call", ""}} {
		var found string
		for _, item := range into[api.GroupList](s.send(http.MethodGet, groupsPath+"?name="+test.name, "").want(http.StatusOK)).Items {
			found += item.ID
		}
		if found != test.found {
			t.Errorf("?name=%s finds %q, want %q", test.name, found, test.found)
		}
	}

	stale := s.send(http.MethodGet, path, "").want(http.StatusOK).header.Get("ETag")
	want.Description = ""
	if changed := into[api.Group](s.send(http.MethodPatch, path, `{"name":"On call","description":null}`).want(http.StatusOK)); !cmp.Equal(want, changed) {
		t.Errorf("changed to %+v", changed)
	}
	r := s.request(http.MethodPatch, path, `{"description":"x"}`)
	r.Header.Set("If-Match", stale)
	s.do(r).wantProblem(http.StatusPreconditionFailed, "changed")
	problem := s.send(http.MethodPatch, path, `{"name":"Another"}`).wantProblem(http.StatusBadRequest, "invalid")
	if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/name" {
		t.Errorf("errors = %+v", problem.Errors)
	}
	s.send(http.MethodPost, groupsPath, `{"name":""}`).wantProblem(http.StatusBadRequest, "invalid")
}

// Who is in a group can be said on both sides, and each change is one event.
func TestGroupMembers(t *testing.T) {
	s := newServer(t)
	g := create[api.Group](s, groupsPath, `{"name":"staff"}`)
	u := create[api.User](s, "/admin/v1/users", `{"username":"alice","groups":["other"]}`)
	userPath, member := "/admin/v1/users/"+u.ID, groupsPath+"/"+g.ID+"/members/"+u.ID
	stale := s.send(http.MethodGet, userPath, "").header.Get("ETag")
	state := func() (groups []string, members int) {
		return into[api.User](s.send(http.MethodGet, userPath, "").want(http.StatusOK)).Groups, into[api.Group](s.send(http.MethodGet, groupsPath+"/"+g.ID, "").want(http.StatusOK)).Members
	}

	s.send(http.MethodPut, member, "").want(http.StatusNoContent)
	s.send(http.MethodPut, member, "").want(http.StatusNoContent)
	if groups, members := state(); !slices.Equal(groups, []string{"other", "staff"}) || members != 1 {
		t.Errorf("in: %q, %d members", groups, members)
	}
	r := s.request(http.MethodPatch, userPath, `{"groups":["other"]}`)
	r.Header.Set("If-Match", stale)
	s.do(r).wantProblem(http.StatusPreconditionFailed, "changed")

	s.send(http.MethodDelete, member, "").want(http.StatusNoContent)
	s.send(http.MethodDelete, member, "").wantProblem(http.StatusNotFound, "not-found")
	if groups, members := state(); !slices.Equal(groups, []string{"other"}) || members != 0 {
		t.Errorf("out: %q, %d members", groups, members)
	}
	s.send(http.MethodPut, groupsPath+"/"+storage.NewID(storage.PrefixGroup)+"/members/"+u.ID, "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodPut, groupsPath+"/"+g.ID+"/members/"+storage.NewID(storage.PrefixUser), "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodPut, member, `{"role":"boss"}`).wantProblem(http.StatusBadRequest, "malformed")

	var acts []string
	for _, e := range into[api.AuditEventList](s.send(http.MethodGet, "/admin/v1/audit-events", "").want(http.StatusOK)).Items {
		if e.Target == g.ID {
			acts = append(acts, e.Action+" "+e.Detail["user_id"])
		}
	}
	if want := []string{"group.created ", "group.member_added " + u.ID, "group.member_removed " + u.ID}; !slices.Equal(acts, want) {
		t.Errorf("events = %q, want %q", acts, want)
	}
}

func TestTooManyGroups(t *testing.T) {
	s := newServer(t)
	names := make([]string, 100)
	for i := range names {
		names[i] = `"g` + strconv.Itoa(i) + `"`
	}
	u := create[api.User](s, "/admin/v1/users", `{"username":"alice","groups":[`+strings.Join(names, ",")+`]}`)
	g := create[api.Group](s, groupsPath, `{"name":"one more"}`)
	s.send(http.MethodPut, groupsPath+"/"+g.ID+"/members/"+u.ID, "").wantProblem(http.StatusConflict, "too-many-groups")
	there := into[api.GroupList](s.send(http.MethodGet, groupsPath+"?name=g0", "").want(http.StatusOK)).Items[0]
	s.send(http.MethodPut, groupsPath+"/"+there.ID+"/members/"+u.ID, "").want(http.StatusNoContent)
}

func TestDeleteGroup(t *testing.T) {
	s := newServer(t)
	u := create[api.User](s, "/admin/v1/users", `{"username":"alice","groups":["staff","other"]}`)
	g := into[api.GroupList](s.send(http.MethodGet, groupsPath+"?name=staff", "").want(http.StatusOK)).Items[0]
	s.send(http.MethodDelete, groupsPath+"/"+g.ID, "").want(http.StatusNoContent)
	s.send(http.MethodDelete, groupsPath+"/"+g.ID, "").wantProblem(http.StatusNotFound, "not-found")
	if left := into[api.User](s.send(http.MethodGet, "/admin/v1/users/"+u.ID, "").want(http.StatusOK)); !slices.Equal(left.Groups, []string{"other"}) {
		t.Errorf("alice is left in %q", left.Groups)
	}
	events := into[api.AuditEventList](s.send(http.MethodGet, "/admin/v1/audit-events", "").want(http.StatusOK)).Items
	if last := events[len(events)-1]; last.Action != "group.deleted" || last.Target != g.ID || last.Detail["name"] != "staff" {
		t.Errorf("the last event is %+v", last)
	}
}
