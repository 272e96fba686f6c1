package storage

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// ClientTrust says how much is known of a Client.
type ClientTrust string

// The trust levels. Every Client has one of them at any moment.
const (
	TrustRegistered ClientTrust = "registered" // an administrator registered it
	TrustTrusted    ClientTrust = "trusted"    // it describes itself, from where an administrator or a client profile trusts
	TrustUnverified ClientTrust = "unverified" // it describes itself, and nobody vouches for that
)

// Policy is a rule that lets Users approve Scopes. Rules only allow: what none of
// them allows is denied. A list that is empty does not narrow, except that a
// destructive Scope must be named.
type Policy struct {
	ID      string // PrefixPolicy
	Name    string // unique
	Version int64  // grows with every change; see ErrConflict

	// No list has anything twice.
	Groups    []string // names of Groups, one of which the User is in; they need not exist
	Resources []string // URIs
	Scopes    []string // names
	Clients   []string // OAuth client_ids
	Trust     []ClientTrust
	// SkipConsent approves in advance: nobody is shown a page.
	SkipConsent bool
	ManagedBy   string // what program keeps it, or ""

	CreatedAt time.Time
	UpdatedAt time.Time
}

// BuiltInPolicy is the rule that a migrated database begins with. It allows all but
// what is destructive, and may be changed and deleted as any.
func BuiltInPolicy() *Policy {
	return &Policy{ID: "pol_00000000000000000000000000", Name: "Everyone may approve every MCP server", Version: 1}
}

// policyText is how the admin API and the audit events write a rule.
type policyText struct {
	Name        string        `json:"name"`
	Groups      []string      `json:"groups"`
	Resources   []string      `json:"resources"`
	Scopes      []string      `json:"scopes"`
	Clients     []string      `json:"clients"`
	Trust       []ClientTrust `json:"trust"`
	SkipConsent bool          `json:"skip_consent"`
	ManagedBy   string        `json:"managed_by"`
}

// MarshalJSON shows what the rule says, by the names that the admin API has for it.
func (p *Policy) MarshalJSON() ([]byte, error) {
	all := func(s []string) []string { return append([]string{}, s...) }
	return json.Marshal(policyText{
		p.Name, all(p.Groups), all(p.Resources), all(p.Scopes), all(p.Clients), append([]ClientTrust{}, p.Trust...), p.SkipConsent, p.ManagedBy,
	})
}

// UnmarshalJSON reads what MarshalJSON shows, and leaves the other fields.
func (p *Policy) UnmarshalJSON(text []byte) error {
	var t policyText
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	p.Name, p.Groups, p.Resources, p.Scopes, p.Clients = t.Name, t.Groups, t.Resources, t.Scopes, t.Clients
	p.Trust, p.SkipConsent, p.ManagedBy = t.Trust, t.SkipConsent, t.ManagedBy
	return nil
}

// Recorded returns the event with all that the rule says, as JSON, so that the
// events alone tell which rules there were at any moment.
func (p *Policy) Recorded(event AuditEvent) AuditEvent {
	text, _ := p.MarshalJSON() // strings always encode
	event.Target = p.ID
	return event.With("policy", string(text))
}

// NamesDocument reports whether a policy names a client by the URL of its document:
// such a one need not have a row.
func NamesDocument(clientID string) bool { return strings.HasPrefix(clientID, "https://") }

// StoredClients are the clients that the rule names and that must have a row.
func (p *Policy) StoredClients() []string {
	return slices.DeleteFunc(slices.Clone(p.Clients), NamesDocument)
}

// Without takes a Resource's URI or a Client's client_id out of what the rule
// names. empty: it was the only one of its list, so that the rule would now hold for
// all and must go.
func (p *Policy) Without(resource, client string) (empty bool) {
	drop := func(list []string, name string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
	}
	resources, clients := drop(p.Resources, resource), drop(p.Clients, client)
	empty = len(resources) == 0 && len(p.Resources) > 0 || len(clients) == 0 && len(p.Clients) > 0
	p.Resources, p.Clients = resources, clients
	return empty
}

// Unnamed is what becomes of a rule when a Resource or a Client that it names is
// deleted: it names one less, or goes. The event is in the name of whoever deleted
// that.
func (p *Policy) Unnamed(resource, client string, cause AuditEvent) (gone bool, event AuditEvent) {
	action := "policy.updated"
	if gone = p.Without(resource, client); gone {
		action = "policy.deleted"
	}
	p.UpdatedAt = cause.At
	return gone, p.Recorded(NewAuditEvent(cause.At, cause.Actor, action, p.ID).With("reason", cause.Action).With("cause", cause.ID))
}

// GroupScope is a Scope that is allowed to the members of a Group.
type GroupScope struct{ Group, Scope string }

// PolicyStore keeps Policies.
type PolicyStore interface {
	// CreatePolicy inserts p. It locks what the rule names, so that deleting that at
	// the same moment leaves no rule behind that names it. ErrExists: the name is
	// taken; ErrNotFound: a Resource or a Client that it names is gone. A Client
	// named by the URL of its document may be missing.
	CreatePolicy(ctx context.Context, p *Policy, event AuditEvent) error
	// Policy returns the policy with this id. ErrNotFound.
	Policy(ctx context.Context, id string) (*Policy, error)
	// Policies lists by ID. A migrated database has one policy that allows all but
	// what is destructive.
	Policies(ctx context.Context, page Page) ([]*Policy, error)
	// UpdatePolicy writes every field except ID and CreatedAt, locks as CreatePolicy
	// does, and sets p.Version. ErrNotFound: it is gone, or what it names is;
	// ErrExists: the name is taken; ErrConflict when p.Version is not the row's.
	UpdatePolicy(ctx context.Context, p *Policy, event AuditEvent) error
	// DeletePolicy deletes the policy. ErrNotFound; ErrConflict when version is neither
	// AnyVersion nor the row's.
	DeletePolicy(ctx context.Context, id string, version int64, event AuditEvent) error
}
