package audit

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"grantd/server/policy"
	"grantd/storage"
)

// past is the state of things, as events tell it.
type past struct {
	access    map[string]*Access // by Key
	users     map[string]*pastUser
	clients   map[string]*storage.Client   // by id
	resources map[string]*storage.Resource // by id
	policies  map[string]*storage.Policy   // by id
	// unclear: an event does not say all that it should.
	unclear bool
}

type pastUser struct {
	name   string
	groups []string
	given  map[string]string // of those groups, the provider that each came from
}

func newPast() *past {
	builtIn := storage.BuiltInPolicy()
	return &past{
		access: map[string]*Access{}, users: map[string]*pastUser{}, clients: map[string]*storage.Client{},
		// No event tells of grantd's own.
		resources: map[string]*storage.Resource{storage.AdminResourceID: storage.AdminResource("")},
		policies:  map[string]*storage.Policy{builtIn.ID: builtIn},
	}
}

func (p *past) apply(e *storage.AuditEvent) {
	kind, _, _ := strings.Cut(e.Action, ".")
	switch kind {
	case "grant":
		p.applyGrant(e)
	case "user":
		p.applyUser(e)
	case "group":
		p.applyGroup(e)
	case "client":
		p.applyClient(e)
	case "resource":
		p.applyResource(e)
	case "policy":
		p.applyPolicy(e)
	case "provider":
		p.applyProvider(e)
	}
}

func (p *past) applyGrant(e *storage.AuditEvent) {
	switch e.Action {
	case "grant.approved":
		p.approve(e)
	case "grant.revoked":
		p.end(func(a *Access) bool {
			return a.UserID == e.Detail["user_id"] && a.ClientID == e.Detail["client_id"] && a.ResourceID == e.Detail["resource_id"]
		})
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
	p.access[a.Key()] = a
}

func (p *past) applyUser(e *storage.AuditEvent) {
	switch e.Action {
	case "user.created", "user.updated", "user.linked", "user.verified":
		u := p.user(e.Target)
		setText(&u.name, e, "username")
		if p.set(&u.groups, e, "groups") {
			p.give(u, e)
		}
		p.endIfDisabled(e)
	case "user.deleted":
		p.endAllOf(e.Target)
	}
}

// give notes which of the groups that the user is in now came from a provider.
func (p *past) give(u *pastUser, e *storage.AuditEvent) {
	maps.DeleteFunc(u.given, func(group, _ string) bool { return !slices.Contains(u.groups, group) })
	provider, ok := strings.CutPrefix(e.Actor, "provider:")
	if !ok {
		return
	}
	var names []string
	p.set(&names, e, "provider_groups")
	for _, name := range names {
		if u.given == nil {
			u.given = map[string]string{}
		}
		u.given[name] = provider
	}
}

// applyProvider takes the groups that came from a provider with it.
func (p *past) applyProvider(e *storage.AuditEvent) {
	if e.Action != "provider.deleted" {
		return
	}
	for _, u := range p.users {
		for group, provider := range u.given {
			if provider == e.Target {
				leave(u, group)
			}
		}
	}
}

func (p *past) user(id string) *pastUser { return entry(p.users, id) }

func (p *past) applyGroup(e *storage.AuditEvent) {
	name := e.Detail["name"]
	switch e.Action {
	case "group.member_added":
		u := p.user(e.Detail["user_id"])
		if !slices.Contains(u.groups, name) {
			u.groups = append(u.groups, name)
		}
	case "group.member_removed":
		leave(p.user(e.Detail["user_id"]), name)
	case "group.deleted":
		for _, u := range p.users {
			leave(u, name)
		}
	}
}

func leave(u *pastUser, group string) {
	u.groups = slices.DeleteFunc(u.groups, func(g string) bool { return g == group })
	delete(u.given, group)
}

func (p *past) applyClient(e *storage.AuditEvent) {
	switch e.Action {
	case "client.created", "client.updated", "client.registered", "client.vouched", "client.document_changed":
		c := entry(p.clients, e.Target)
		if e.Action == "client.created" {
			c.Source = storage.SourceRegistered
		}
		setText(&c.ClientName, e, "client_name")
		setText(&c.ClientID, e, "client_id")
		if scope, said := e.Detail["scope"]; said {
			c.Scope = strings.Fields(scope)
		}
		p.endIfDisabled(e)
	case "client.deleted":
		p.endAllOf(e.Target)
	}
}

func (p *past) applyResource(e *storage.AuditEvent) {
	switch e.Action {
	case "resource.created", "resource.updated":
		r := entry(p.resources, e.Target)
		setText(&r.URI, e, "uri")
		var scopes []struct {
			Name string
			Risk storage.ScopeRisk
		}
		if !p.set(&scopes, e, "scopes") {
			return
		}
		r.Scopes = nil
		for _, s := range scopes {
			r.Scopes = append(r.Scopes, storage.Scope{Name: s.Name, Risk: s.Risk})
		}
		p.strip(e.Target, strings.Fields(e.Detail["scopes_removed"]))
	case "resource.deleted":
		p.endAllOf(e.Target)
	}
}

// strip takes scopes that the Resource has no longer out of what was approved.
func (p *past) strip(resourceID string, gone []string) {
	p.end(func(a *Access) bool {
		if a.ResourceID != resourceID {
			return false
		}
		before := len(a.Scopes)
		a.Scopes = slices.DeleteFunc(a.Scopes, func(s string) bool { return slices.Contains(gone, s) })
		return len(a.Scopes) == 0 && before > 0
	})
}

func (p *past) applyPolicy(e *storage.AuditEvent) {
	if e.Action == "policy.deleted" {
		delete(p.policies, e.Target)
		return
	}
	rule := &storage.Policy{ID: e.Target}
	if err := json.Unmarshal([]byte(e.Detail["policy"]), rule); err != nil {
		p.unclear = true
		return
	}
	p.policies[e.Target] = rule
}

// endIfDisabled ends the access of what was disabled: enabling revives nothing.
func (p *past) endIfDisabled(e *storage.AuditEvent) {
	if e.Detail["disabled"] == "true" {
		p.endAllOf(e.Target)
	}
}

func (p *past) endAllOf(id string) {
	p.end(func(a *Access) bool { return a.UserID == id || a.ClientID == id || a.ResourceID == id })
}

func (p *past) end(ends func(*Access) bool) {
	for key, a := range p.access {
		if ends(a) {
			delete(p.access, key)
		}
	}
}

// judged are the approvals as the rules let them be used, with the names of those
// rules; without those of which no rule allows anything.
func (p *past) judged() []*Access {
	rules := make([]*storage.Policy, 0, len(p.policies))
	for _, rule := range p.policies {
		rules = append(rules, rule)
	}
	slices.SortFunc(rules, func(a, b *storage.Policy) int { return cmp.Compare(a.ID, b.ID) })
	var all []*Access
	for _, a := range p.access {
		p.judge(a, rules)
		if len(a.Scopes) > 0 {
			all = append(all, a)
		}
	}
	return all
}

func (p *past) judge(a *Access, rules []*storage.Policy) {
	user, client, resource := p.user(a.UserID), entry(p.clients, a.ClientID), entry(p.resources, a.ResourceID)
	a.Username, a.ClientName, a.ResourceURI = user.name, client.ClientName, resource.URI
	asked := *client
	asked.ClientID = cmp.Or(client.ClientID, a.ClientID)
	q := policy.Question{Groups: user.groups, Client: &asked, Resource: resource, Trust: storage.TrustRegistered}
	approved := asked.Within(a.Scopes)
	scopes := storage.WithoutIdentity(approved)
	if client.Source != storage.SourceRegistered {
		// The events do not say how far a client that describes itself was known. If
		// it matters, it is taken as known: access is rather told too much of than
		// hidden.
		q.Trust = storage.TrustUnverified
		stranger := policy.Decide(rules, q, scopes)
		q.Trust = storage.TrustTrusted
		p.unclear = p.unclear || len(stranger.Allowed()) != len(policy.Decide(rules, q, scopes).Allowed())
	}
	decision := policy.Decide(rules, q, scopes)
	allowed := decision.Allowed()
	// Who people are is theirs to tell: no policy is asked.
	a.Scopes = slices.DeleteFunc(approved, func(s string) bool { return slices.Contains(scopes, s) && !slices.Contains(allowed, s) })
	a.Policies = decision.Names()
}

// entry is the entry of m with this id, made if it is missing.
func entry[T any](m map[string]*T, id string) *T {
	if m[id] == nil {
		m[id] = new(T)
	}
	return m[id]
}

func setText(to *string, e *storage.AuditEvent, detail string) {
	if text := e.Detail[detail]; text != "" {
		*to = text
	}
}

// set sets a list from its JSON, if the event has it. One that was emptied is "".
func (p *past) set(to any, e *storage.AuditEvent, detail string) bool {
	text, said := e.Detail[detail]
	if !said {
		return false
	}
	if json.Unmarshal([]byte(cmp.Or(text, "null")), to) != nil {
		p.unclear = true
		return false
	}
	return true
}
