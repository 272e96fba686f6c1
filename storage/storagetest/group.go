package storagetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var groupContracts = []contract{
	{"groups are listed by name with their members", groupsListed},
	{"a created group comes back by both names", groupRoundTrip},
	{"an id or name is taken once", groupExists},
	{"a group that is not there is not found", groupNotFound},
	{"an update writes what may change, of one version", groupUpdate},
	{"members come and go one by one", groupMembers},
	{"a deleted group leaves nobody in it", groupDeleted},
	{"of those who delete a group and those who join it none is left half in", groupRace},
}

func groupsListed(t *testing.T, s storage.Store) {
	one, two, none := NewUser(), NewUser(), NewUser()
	one.Groups, two.Groups, none.Groups = []string{"admins", "staff"}, []string{"Über", "staff"}, []string{"empty"}
	two.Disabled = true
	for _, u := range []*storage.User{one, two, none} {
		want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	}
	want(t, s.DeleteUser(t.Context(), none.ID, storage.AnyVersion, Event("user.deleted", none.ID)), nil)

	// Those that a user names first are made with a proper id.
	var all []*storage.Group
	for _, g := range []storage.Group{{Name: "admins", Members: 1}, {Name: "empty"}, {Name: "staff", Members: 2}, {Name: "Über", Members: 1}} {
		made, err := s.GroupByName(t.Context(), g.Name)
		want(t, err, nil)
		if _, err := storage.IDBytes(storage.PrefixGroup, made.ID); err != nil || made.Version != 1 {
			t.Errorf("%s was made as %+v", g.Name, made)
		}
		g.ID, g.Version = made.ID, made.Version
		all = append(all, &g)
	}
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

func groupRoundTrip(t *testing.T, s storage.Store) {
	g := NewGroup()
	g.Name = "Über/.. %2e \"a\""
	want(t, s.CreateGroup(t.Context(), g, Event("group.created", g.ID)), nil)
	wantGroup(t, s, g)
	byName, err := s.GroupByName(t.Context(), g.Name)
	want(t, err, nil)
	if diff := cmp.Diff(g, byName); diff != "" {
		t.Errorf("GroupByName (-stored +read):\n%s", diff)
	}
}

func groupExists(t *testing.T, s storage.Store) {
	g := NewGroup()
	want(t, s.CreateGroup(t.Context(), g, Event("group.created", g.ID)), nil)
	sameID, sameName, otherCase := NewGroup(), NewGroup(), NewGroup()
	sameID.ID, sameName.Name = g.ID, g.Name
	otherCase.Name = strings.ToUpper(g.Name)
	want(t, s.CreateGroup(t.Context(), sameID, Event("group.created", g.ID)), storage.ErrExists)
	want(t, s.CreateGroup(t.Context(), sameName, Event("group.created", g.ID)), storage.ErrExists)
	want(t, s.CreateGroup(t.Context(), otherCase, Event("group.created", g.ID)), nil)
	// A user who names it joins it, and changes nothing else of it.
	u := NewUser()
	u.Groups = []string{g.Name}
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	g.Members = 1
	wantGroup(t, s, g)
}

func groupNotFound(t *testing.T, s storage.Store) {
	ctx, g, u := t.Context(), NewGroup(), NewUser()
	_, err := s.Group(ctx, g.ID)
	want(t, err, storage.ErrNotFound)
	_, err = s.GroupByName(ctx, g.Name)
	want(t, err, storage.ErrNotFound)
	want(t, s.UpdateGroup(ctx, g, Event("group.updated", g.ID)), storage.ErrNotFound)
	want(t, s.DeleteGroup(ctx, g.ID, storage.AnyVersion, Event("group.deleted", g.ID)), storage.ErrNotFound)
	want(t, s.AddGroupMember(ctx, g.ID, u.ID, Event("group.member_added", g.ID)), storage.ErrNotFound)
	want(t, s.CreateUser(ctx, u, Event("user.created", u.ID)), nil)
	want(t, s.AddGroupMember(ctx, g.ID, u.ID, Event("group.member_added", g.ID)), storage.ErrNotFound)
	want(t, s.RemoveGroupMember(ctx, g.ID, u.ID, Event("group.member_removed", g.ID)), storage.ErrNotFound)
	if got, err := s.User(ctx, u.ID); err != nil || got.Version != u.Version {
		t.Errorf("what failed has moved the user: %+v, %v", got, err)
	}
}

func groupUpdate(t *testing.T, s storage.Store) {
	g := NewGroup()
	want(t, s.CreateGroup(t.Context(), g, Event("group.created", g.ID)), nil)
	name, stale := g.Name, *g
	g.Name, g.Description, g.ManagedBy = "another name", "Those who read", ""
	want(t, s.UpdateGroup(t.Context(), g, Event("group.updated", g.ID)), nil)
	if g.Version <= stale.Version {
		t.Errorf("version %d after an update of version %d", g.Version, stale.Version)
	}
	want(t, s.UpdateGroup(t.Context(), &stale, Event("group.updated", g.ID)), storage.ErrConflict)
	g.Name = name
	wantGroup(t, s, g)
}

func groupMembers(t *testing.T, s storage.Store) {
	ctx, g, u := t.Context(), NewGroup(), NewUser()
	want(t, s.CreateGroup(ctx, g, Event("group.created", g.ID)), nil)
	want(t, s.CreateUser(ctx, u, Event("user.created", u.ID)), nil)
	for _, step := range []struct {
		name   string
		do     func() error
		want   error
		groups []string
		moved  bool
	}{
		{"join", func() error { return s.AddGroupMember(ctx, g.ID, u.ID, Event("group.member_added", g.ID)) }, nil, []string{g.Name, "staff"}, true},
		{"join again", func() error { return s.AddGroupMember(ctx, g.ID, u.ID, Event("group.member_added", g.ID)) }, storage.ErrExists, []string{g.Name, "staff"}, false},
		{"leave", func() error { return s.RemoveGroupMember(ctx, g.ID, u.ID, Event("group.member_removed", g.ID)) }, nil, []string{"staff"}, true},
		{"leave again", func() error { return s.RemoveGroupMember(ctx, g.ID, u.ID, Event("group.member_removed", g.ID)) }, storage.ErrNotFound, []string{"staff"}, false},
	} {
		before, err := s.User(ctx, u.ID)
		want(t, err, nil)
		want(t, step.do(), step.want)
		after, err := s.User(ctx, u.ID)
		want(t, err, nil)
		if !slices.Equal(after.Groups, step.groups) || (after.Version > before.Version) != step.moved {
			t.Errorf("%s: groups %q, version %d after %d", step.name, after.Groups, after.Version, before.Version)
		}
	}
	wantGroup(t, s, g)
}

func groupDeleted(t *testing.T, s storage.Store) {
	ctx, g, u, other := t.Context(), NewGroup(), NewUser(), NewUser()
	want(t, s.CreateGroup(ctx, g, Event("group.created", g.ID)), nil)
	u.Groups, other.Groups = []string{g.Name, "staff"}, []string{"staff"}
	want(t, s.CreateUser(ctx, u, Event("user.created", u.ID)), nil)
	want(t, s.CreateUser(ctx, other, Event("user.created", other.ID)), nil)
	want(t, s.DeleteGroup(ctx, g.ID, storage.AnyVersion, Event("group.deleted", g.ID)), nil)
	_, err := s.Group(ctx, g.ID)
	want(t, err, storage.ErrNotFound)
	for _, user := range []*storage.User{u, other} {
		got, err := s.User(ctx, user.ID)
		want(t, err, nil)
		if !slices.Equal(got.Groups, []string{"staff"}) || (got.Version > user.Version) != (user == u) {
			t.Errorf("a user is left as %+v", got)
		}
	}
}

func groupRace(t *testing.T, s storage.Store) {
	ctx := t.Context()
	for range rounds {
		g := NewGroup()
		want(t, s.CreateGroup(ctx, g, Event("group.created", g.ID)), nil)
		people := make([]*storage.User, 6)
		for i := range people {
			people[i] = NewUser()
			want(t, s.CreateUser(ctx, people[i], Event("user.created", people[i].ID)), nil)
		}
		wantWinners(t, race(1+len(people), func(i int) error {
			switch {
			case i == 0:
				return s.DeleteGroup(ctx, g.ID, storage.AnyVersion, Event("group.deleted", g.ID))
			case i%2 == 0: // by its name: the group is made again when it has gone
				u := *people[i-1]
				u.Groups = []string{g.Name}
				return s.UpdateUser(ctx, &u, Event("user.updated", u.ID))
			}
			if err := s.AddGroupMember(ctx, g.ID, people[i-1].ID, Event("group.member_added", g.ID)); !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			return nil // by its id, which has gone
		}), 1+len(people), nil)
		members, err := s.Users(ctx, storage.UserFilter{Group: g.Name}, storage.Page{Limit: 10})
		want(t, err, nil)
		again, err := s.GroupByName(ctx, g.Name)
		if len(members) == 0 && errors.Is(err, storage.ErrNotFound) {
			continue
		}
		want(t, err, nil)
		if again.ID == g.ID || again.Description != "" || again.Members != len(members) {
			t.Fatalf("the group with %d members is %+v", len(members), again)
		}
	}
}

func wantGroup(t testing.TB, s storage.Store, g *storage.Group) {
	t.Helper()
	got, err := s.Group(t.Context(), g.ID)
	want(t, err, nil)
	if diff := cmp.Diff(g, got); diff != "" {
		t.Errorf("Group (-want +got):\n%s", diff)
	}
}
