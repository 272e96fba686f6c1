package storagetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var groupContracts = []contract{
	{"groups are listed by name with their members", groupsListed},
}

func groupsListed(t *testing.T, s storage.Store) {
	one, two, none := NewUser(), NewUser(), NewUser()
	one.Groups, two.Groups, none.Groups = []string{"admins", "staff"}, []string{"Über", "staff"}, []string{"empty"}
	two.Disabled = true
	for _, u := range []*storage.User{one, two, none} {
		want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	}
	want(t, s.DeleteUser(t.Context(), none.ID, storage.AnyVersion, Event("user.deleted", none.ID)), nil)

	all := []*storage.Group{{Name: "admins", Members: 1}, {Name: "empty"}, {Name: "staff", Members: 2}, {Name: "Über", Members: 1}}
	for _, c := range []struct {
		page storage.Page
		want []*storage.Group
	}{
		{storage.Page{Limit: 10}, all},
		{storage.Page{Limit: 2}, all[:2]},
		{storage.Page{After: "empty", Limit: 10}, all[2:]},
		{storage.Page{After: "f", Limit: 1}, all[2:3]}, // a name that is not there, or no longer
	} {
		got, err := s.Groups(t.Context(), c.page)
		want(t, err, nil)
		if diff := cmp.Diff(c.want, append([]*storage.Group(nil), got...)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.page, diff)
		}
	}

	for _, c := range []struct {
		group string
		page  storage.Page
		want  []string
	}{
		{"staff", storage.Page{Limit: 10}, []string{one.ID, two.ID}},
		{"staff", storage.Page{Limit: 1}, []string{one.ID}},
		{"staff", storage.Page{After: one.ID, Limit: 10}, []string{two.ID}},
		{"Über", storage.Page{Limit: 10}, []string{two.ID}},
		{"empty", storage.Page{Limit: 10}, nil},
		{"STAFF", storage.Page{Limit: 10}, nil},
	} {
		members, err := s.Users(t.Context(), storage.UserFilter{Group: c.group}, c.page)
		want(t, err, nil)
		var got []string
		for _, u := range members {
			got = append(got, u.ID)
			if len(u.Groups) != 2 {
				t.Errorf("a member of %s has the groups %q, want all of them", c.group, u.Groups)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s, %+v (-want +got):\n%s", c.group, c.page, diff)
		}
	}
}
