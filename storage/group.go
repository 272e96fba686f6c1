package storage

import "context"

// Group is a set of Users. It comes into being when the first User names it.
type Group struct {
	Name    string
	Members int // disabled Users included
}

// GroupStore keeps Groups.
type GroupStore interface {
	// Groups lists by name; Page.After is a name.
	Groups(ctx context.Context, page Page) ([]*Group, error)
}
