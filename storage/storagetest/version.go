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
	id     func(f *Fixture) string
	change func(f *Fixture) error
	delete func(id string, version int64) error
}

func deletables(t *testing.T, s storage.Store) map[string]deletable {
	ctx := t.Context()
	return map[string]deletable{
		"client": {
			func(f *Fixture) string { return f.Client.ID },
			func(f *Fixture) error { return s.UpdateClient(ctx, f.Client, Event("client.updated", f.Client.ID)) },
			func(id string, version int64) error {
				return s.DeleteClient(ctx, id, version, Event("client.deleted", id))
			},
		},
		"resource": {
			func(f *Fixture) string { return f.Resource.ID },
			func(f *Fixture) error {
				return s.UpdateResource(ctx, f.Resource, Event("resource.updated", f.Resource.ID))
			},
			func(id string, version int64) error {
				return s.DeleteResource(ctx, id, version, Event("resource.deleted", id))
			},
		},
		"user": {
			func(f *Fixture) string { return f.User.ID },
			func(f *Fixture) error { return s.UpdateUser(ctx, f.User, Event("user.updated", f.User.ID)) },
			func(id string, version int64) error { return s.DeleteUser(ctx, id, version, Event("user.deleted", id)) },
		},
	}
}

func deleteVersions(t *testing.T, s storage.Store) {
	for name, d := range deletables(t, s) {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			want(t, d.change(f), nil)
			before := len(events(t, s))
			want(t, d.delete(d.id(f), 1), storage.ErrConflict)
			want(t, d.delete(d.id(f), 3), storage.ErrConflict)
			want(t, d.delete(d.id(f), 0), storage.ErrConflict)
			if after := len(events(t, s)); after != before {
				t.Errorf("%d events of what did not happen", after-before)
			}
			want(t, d.delete(d.id(f), 2), nil)
			want(t, d.delete(d.id(f), 2), storage.ErrNotFound)
		})
	}
}

func deleteRace(t *testing.T, s storage.Store) {
	for name, d := range deletables(t, s) {
		t.Run(name, func(t *testing.T) {
			f := NewFixture(t, s)
			errs := race(2, func(i int) error {
				if i == 0 {
					return d.change(f)
				}
				return d.delete(d.id(f), 1)
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
