package storage

import "context"

// Group is a set of Users. Its name is fixed for its life: Users and policies say
// it. It comes into being when it is created, or when the first User names it.
type Group struct {
	ID          string // PrefixGroup
	Name        string
	Version     int64 // grows when Description or ManagedBy change, not with the members
	Description string
	ManagedBy   string // the set that "grantd apply" keeps it in; empty: none
	Members     int    // disabled Users included; how many there are, when it is read
}

// GroupStore keeps Groups. Whatever changes who is in one moves the Version of the
// Users concerned.
type GroupStore interface {
	// CreateGroup inserts g, with nobody in it. ErrExists: ID or Name is taken.
	CreateGroup(ctx context.Context, g *Group, event AuditEvent) error
	// Group returns the group with this opaque id. ErrNotFound.
	Group(ctx context.Context, id string) (*Group, error)
	// GroupByName is Group by the name. ErrNotFound.
	GroupByName(ctx context.Context, name string) (*Group, error)
	// Groups lists by name; Page.After is a name.
	Groups(ctx context.Context, page Page) ([]*Group, error)
	// UpdateGroup writes Description and ManagedBy, and sets g.Version.
	// ErrNotFound; ErrConflict when g.Version is not the row's.
	UpdateGroup(ctx context.Context, g *Group, event AuditEvent) error
	// DeleteGroup deletes the group and takes everybody out of it. ErrNotFound;
	// ErrConflict when version is neither AnyVersion nor the row's.
	DeleteGroup(ctx context.Context, id string, version int64, event AuditEvent) error
	// AddGroupMember puts a User into a group. ErrNotFound: there is no such group
	// or User; ErrExists: the User is in it already.
	AddGroupMember(ctx context.Context, id, userID string, event AuditEvent) error
	// RemoveGroupMember takes a User out of a group. ErrNotFound: there is no such
	// group, or the User is not in it.
	RemoveGroupMember(ctx context.Context, id, userID string, event AuditEvent) error
}
