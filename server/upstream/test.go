package upstream

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"grantd/server/outbound"
	"grantd/storage"
)

// Report is what a test of a provider found.
type Report struct {
	Checks []Check
	Person *Person // whom the ID token would sign in; nil: nobody
}

// Check is one thing that was looked at.
type Check struct {
	Name   string
	OK     bool
	Detail string // in words, for an administrator
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool {
	for _, c := range r.Checks {
		if !c.OK {
			return false
		}
	}
	return true
}

func (r *Report) found(name, detail string, err error) bool {
	if err != nil {
		detail = err.Error()
		var unfetched *outbound.Error
		if errors.As(err, &unfetched) {
			detail = unfetched.Reason
		}
	}
	r.Checks = append(r.Checks, Check{Name: name, OK: err == nil, Detail: detail})
	return err == nil
}

// Seal returns a client secret as storage.Provider keeps it.
func (u *Upstream) Seal(providerID, secret string) []byte {
	return SealSecret(u.Root, providerID, secret)
}

// HasSecret reports whether that is the provider's client secret. One that cannot be
// opened is none.
func (u *Upstream) HasSecret(p *storage.Provider, secret string) bool {
	kept, err := openSecret(u.Root, p)
	return err == nil && kept != "" && subtle.ConstantTimeCompare([]byte(kept), []byte(secret)) == 1
}

// RedirectURI is what the provider must know as grantd's redirect URI.
func (u *Upstream) RedirectURI(providerID string) string { return RedirectURI(u.issuer(), providerID) }

// Test looks at the provider's metadata and keys and, if there is an ID token, at whom
// it would sign in, as a sign-in does but for nonce and at_hash. It changes nothing.
func (u *Upstream) Test(ctx context.Context, p *storage.Provider, raw string) Report {
	ctx, cancel := context.WithTimeout(ctx, talk)
	defer cancel()
	var r Report
	secret, err := openSecret(u.Root, p)
	readable := "is readable"
	if secret == "" {
		readable = "there is none: a public client"
	}
	r.found("client secret", readable, err)
	m, err := discover(ctx, u.Fetcher, p)
	if err != nil {
		r.found("metadata", "", err)
		return r
	}
	r.found("metadata", "sign-in at "+m.AuthorizationEndpoint, nil)
	document, err := u.Fetcher.Get(ctx, m.JWKSURI, keysKind)
	if count := len(parseKeys(document.Body)); err == nil && count == 0 {
		err = errors.New("there is no key that could have signed")
	} else if err == nil {
		r.found("keys", fmt.Sprintf("%d keys", count), nil)
	}
	if err != nil {
		r.found("keys", "", err)
	}
	if raw == "" {
		return r
	}
	token, err := u.verify(ctx, p, m, raw, "", nil)
	if !r.found("id token", "is valid", err) {
		return r
	}
	who, err := person(p, token, nil)
	mapped := "are mapped"
	if m.asksUserinfo(p, token) {
		mapped = "are mapped; a sign-in also asks the userinfo endpoint, which may add what is missing"
	}
	if !r.found("claims", mapped, err) {
		return r
	}
	r.Person = who
	r.found("allowed", "may sign in", allow(p, token, who))
	return r
}
