package storagetest

import (
	"testing"

	"grantd/storage"
)

// versionContracts are about deleting what somebody else may have changed.
var versionContracts = []contract{
	{"only the version named is deleted", deleteVersions},
	{"a change and a delete of one version race for it", deleteRace},
}

// deletable is one noun that has versions.
type deletable struct {
	// begin stores one in version 1 and returns its id, and what moves it on to 2.
	begin  func(t *testing.T) (id string, change func() error)
	delete func(id string, version int64) error
}

func deletables(t *testing.T, s storage.Store) map[string]deletable {
	ctx := t.Context()
	return map[string]deletable{
		"client": {
			func(t *testing.T) (string, func() error) {
				c := NewFixture(t, s).Client
				return c.ID, func() error { return s.UpdateClient(ctx, c, Event("client.updated", c.ID)) }
			},
			func(id string, version int64) error {
				return s.DeleteClient(ctx, id, version, Event("client.deleted", id))
			},
		},
		"resource": {
			func(t *testing.T) (string, func() error) {
				r := NewFixture(t, s).Resource
				return r.ID, func() error { return s.UpdateResource(ctx, r, Event("resource.updated", r.ID)) }
			},
			func(id string, version int64) error {
				return s.DeleteResource(ctx, id, version, Event("resource.deleted", id))
			},
		},
		"user": {
			func(t *testing.T) (string, func() error) {
				u := NewFixture(t, s).User
				return u.ID, func() error { return s.UpdateUser(ctx, u, Event("user.updated", u.ID)) }
			},
			func(id string, version int64) error { return s.DeleteUser(ctx, id, version, Event("user.deleted", id)) },
		},
		"group": {
			func(t *testing.T) (string, func() error) {
				g := NewGroup()
				want(t, s.CreateGroup(ctx, g, Event("group.created", g.ID)), nil)
				return g.ID, func() error { return s.UpdateGroup(ctx, g, Event("group.updated", g.ID)) }
			},
			func(id string, version int64) error {
				return s.DeleteGroup(ctx, id, version, Event("group.deleted", id))
			},
		},
		"policy": {
			func(t *testing.T) (string, func() error) {
				p := NewPolicy()
				want(t, s.CreatePolicy(ctx, p, Event("policy.created", p.ID)), nil)
				return p.ID, func() error { return s.UpdatePolicy(ctx, p, Event("policy.updated", p.ID)) }
			},
			func(id string, version int64) error {
				return s.DeletePolicy(ctx, id, version, Event("policy.deleted", id))
			},
		},
		"provider": {
			func(t *testing.T) (string, func() error) {
				p := createProvider(t, s)
				return p.ID, func() error { return s.UpdateProvider(ctx, p, Event("provider.updated", p.ID)) }
			},
			func(id string, version int64) error {
				return s.DeleteProvider(ctx, id, version, Event("provider.deleted", id))
			},
		},
	}
}

func deleteVersions(t *testing.T, s storage.Store) {
	for name, d := range deletables(t, s) {
		t.Run(name, func(t *testing.T) {
			id, change := d.begin(t)
			want(t, change(), nil)
			before := len(events(t, s))
			want(t, d.delete(id, 1), storage.ErrConflict)
			want(t, d.delete(id, 3), storage.ErrConflict)
			want(t, d.delete(id, 0), storage.ErrConflict)
			if after := len(events(t, s)); after != before {
				t.Errorf("%d events of what did not happen", after-before)
			}
			want(t, d.delete(id, 2), nil)
			want(t, d.delete(id, 2), storage.ErrNotFound)
		})
	}
}

func deleteRace(t *testing.T, s storage.Store) {
	for name, d := range deletables(t, s) {
		t.Run(name, func(t *testing.T) {
			id, change := d.begin(t)
			errs := race(2, func(i int) error {
				if i == 0 {
					return change()
				}
				return d.delete(id, 1)
			})
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Fatalf("the change: %v; the delete: %v; want one of the two", errs[0], errs[1])
			}
			if errs[0] == nil {
				want(t, errs[1], storage.ErrConflict)
			} else {
				want(t, errs[0], storage.ErrNotFound)
			}
		})
	}
}
