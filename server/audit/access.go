package audit

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"grantd/storage"
)

// Access is what a User had approved for a Client at a Resource at some time.
type Access struct {
	UserID, ClientID, ResourceID      string
	Username, ClientName, ResourceURI string   // as they were; empty: the events do not say
	Scopes                            []string // sorted
	Policies                          []string // the rules that allowed the last approval
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
// Key. complete is false when retention has removed events that might count.
func (c *Chain) Access(ctx context.Context, at time.Time, filter AccessFilter) (all []*Access, complete bool, err error) {
	p := past{access: map[string]*Access{}, names: map[string]string{}}
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
	for _, a := range p.access {
		if wanted(filter.UserID, a.UserID) && wanted(filter.ClientID, a.ClientID) && wanted(filter.ResourceID, a.ResourceID) {
			a.Username, a.ClientName, a.ResourceURI = p.names[a.UserID], p.names[a.ClientID], p.names[a.ResourceID]
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *Access) int { return cmp.Compare(a.Key(), b.Key()) })
	first, err := c.Store.AuditSeals(ctx, 0, 1)
	return all, len(first) == 0 || first[0].RemovedAt.IsZero(), err
}

func wanted(filter, id string) bool { return filter == "" || filter == id }

// past is the state of things, as events tell it.
type past struct {
	access map[string]*Access
	names  map[string]string // by id
}

func (p *past) apply(e *storage.AuditEvent) {
	switch e.Action {
	case "user.created", "user.updated":
		p.name(e, "username")
	case "client.created", "client.updated", "client.registered", "client.vouched", "client.document_changed":
		p.name(e, "client_name")
	case "resource.created", "resource.updated":
		p.name(e, "uri")
	}
	switch e.Action {
	case "grant.approved":
		p.approve(e)
	case "grant.revoked":
		p.end(func(a *Access) bool {
			return a.UserID == e.Detail["user_id"] && a.ClientID == e.Detail["client_id"] && a.ResourceID == e.Detail["resource_id"]
		})
	case "user.deleted", "client.deleted", "resource.deleted":
		p.end(func(a *Access) bool { return a.of(e.Target) })
	case "user.updated", "client.updated":
		if e.Detail["disabled"] == "true" {
			p.end(func(a *Access) bool { return a.of(e.Target) })
		}
	case "resource.updated":
		gone := strings.Fields(e.Detail["scopes_removed"])
		if len(gone) == 0 {
			return
		}
		p.end(func(a *Access) bool {
			if a.ResourceID != e.Target {
				return false
			}
			before := len(a.Scopes)
			a.Scopes = slices.DeleteFunc(a.Scopes, func(s string) bool { return slices.Contains(gone, s) })
			return len(a.Scopes) == 0 && before > 0
		})
	}
}

func (p *past) name(e *storage.AuditEvent, detail string) {
	if name := e.Detail[detail]; name != "" {
		p.names[e.Target] = name
	}
}

// approve does what approving does to a Grant: what was shown is decided, what was
// not stays.
func (p *past) approve(e *storage.AuditEvent) {
	user, ok := strings.CutPrefix(e.Actor, "user:")
	if !ok {
		return
	}
	a := &Access{UserID: user, ClientID: e.Detail["client_id"], ResourceID: e.Detail["resource_id"], ApprovedAt: e.At, EventID: e.ID}
	if a.ClientID == "" || a.ResourceID == "" {
		return
	}
	scopes := strings.Fields(e.Detail["scope"])
	if before := p.access[a.Key()]; before != nil {
		shown := strings.Fields(e.Detail["shown"])
		for _, s := range before.Scopes {
			if !slices.Contains(shown, s) {
				scopes = append(scopes, s)
			}
		}
	}
	slices.Sort(scopes)
	a.Scopes = slices.Compact(scopes)
	for name := range strings.SplitSeq(e.Detail["policies"], ",") {
		if name = strings.TrimSpace(name); name != "" {
			a.Policies = append(a.Policies, name)
		}
	}
	p.access[a.Key()] = a
}

func (p *past) end(ends func(*Access) bool) {
	for key, a := range p.access {
		if ends(a) {
			delete(p.access, key)
		}
	}
}

func (a *Access) of(id string) bool { return a.UserID == id || a.ClientID == id || a.ResourceID == id }
