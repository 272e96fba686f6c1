package audit

import (
	"cmp"
	"context"
	"slices"
	"time"

	"grantd/storage"
)

// Access is what a Client could do at a Resource in the name of a User at some time:
// what the User had approved, as far as the rules of that time allowed it.
type Access struct {
	UserID, ClientID, ResourceID      string
	Username, ClientName, ResourceURI string   // as they were; empty: the events do not say
	Scopes                            []string // sorted
	Policies                          []string // the rules that allowed it at that time
	ApprovedAt                        time.Time
	EventID                           string
}

// Key names the three that it is of, and orders lists of them.
func (a *Access) Key() string { return a.UserID + " " + a.ClientID + " " + a.ResourceID }

// AccessFilter selects by opaque ids; empty fields select all.
type AccessFilter struct{ UserID, ClientID, ResourceID string }

// accessPage is how many events are read at a time.
const accessPage = 1000

// Access works out from the events what access there was at a time, in the order of
// Key. complete is false when the events do not tell it all: retention has removed some
// that might count, a value was too long to be recorded, or a rule went by how far a
// client that describes itself was known.
func (c *Chain) Access(ctx context.Context, at time.Time, filter AccessFilter) (all []*Access, complete bool, err error) {
	p := newPast()
	page := storage.Page{Limit: accessPage}
	for {
		// That moment itself counts.
		events, err := c.Store.AuditEvents(ctx, storage.AuditFilter{Until: at.Add(time.Microsecond)}, page)
		if err != nil {
			return nil, false, err
		}
		for _, e := range events {
			p.apply(e)
		}
		if len(events) < accessPage {
			break
		}
		page.After = events[len(events)-1].ID
	}
	for _, a := range p.judged() {
		if wanted(filter.UserID, a.UserID) && wanted(filter.ClientID, a.ClientID) && wanted(filter.ResourceID, a.ResourceID) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *Access) int { return cmp.Compare(a.Key(), b.Key()) })
	first, err := c.Store.AuditSeals(ctx, 0, 1)
	return all, !p.unclear && (len(first) == 0 || first[0].RemovedAt.IsZero()), err
}

func wanted(filter, id string) bool { return filter == "" || filter == id }
