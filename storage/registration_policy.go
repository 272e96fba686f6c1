package storage

import (
	"context"
	"strings"
	"time"
)

// RegistrationMode says what becomes of a client that introduces itself.
type RegistrationMode string

// The registration modes. A HostDecision is one of them too, but never
// RegistrationToken.
const (
	RegistrationAllow    RegistrationMode = "allow"     // people may approve it
	RegistrationAskAdmin RegistrationMode = "ask_admin" // an administrator must allow it first
	RegistrationToken    RegistrationMode = "token"     // it registers with an initial access token (RFC 7591 §3)
	RegistrationOff      RegistrationMode = "off"       // it is turned away
)

// MaxHostDecisions bounds RegistrationPolicy.Hosts.
const MaxHostDecisions = 1000

// HostDecision is what administrators have decided of a host.
type HostDecision struct {
	// Host is a name in lower case and punycode, or an address, without port; or
	// "*." and a domain, for every name below it.
	Host     string
	Decision RegistrationMode
}

// RegistrationPolicy says which clients may introduce themselves. There is one.
type RegistrationPolicy struct {
	Version           int64            // grows with every change; see ErrConflict
	Dynamic           RegistrationMode // for dynamic clients (RFC 7591) of hosts without decision
	MetadataDocuments RegistrationMode // for clients that are known by their document's URL
	Hosts             []HostDecision   // ordered by Host, which is unique
	DisabledProfiles  []string         // names of the client profiles that do not count
	UpdatedAt         time.Time        // zero: never changed
}

// Host returns what was decided of a host (a name or address, without port): the
// decision that names it exactly, else that of the closest "*." domain. Case and
// one trailing dot make no other host.
func (p *RegistrationPolicy) Host(host string) (decision RegistrationMode, decided bool) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" {
		return "", false
	}
	closest := ""
	for _, d := range p.Hosts {
		if d.Host == host {
			return d.Decision, true
		}
		domain, wild := strings.CutPrefix(d.Host, "*")
		if wild && strings.HasSuffix(host, domain) && len(domain) > len(closest) {
			closest, decision = domain, d.Decision
		}
	}
	return decision, closest != ""
}

// RegistrationPolicyStore keeps the RegistrationPolicy.
type RegistrationPolicyStore interface {
	// RegistrationPolicy returns the policy. A migrated database has one: ask_admin
	// for all.
	RegistrationPolicy(ctx context.Context) (*RegistrationPolicy, error)
	// UpdateRegistrationPolicy writes every field and sets p.Version to the new
	// version. ErrConflict when p.Version is not the row's.
	UpdateRegistrationPolicy(ctx context.Context, p *RegistrationPolicy, event AuditEvent) error
}
