package registration_test

import (
	"context"
	"errors"
	"testing"

	"grantd/server/profiles"
	"grantd/server/registration"
	"grantd/storage"
)

// policies are what administrators decided, or an outage.
type policies struct {
	policy   storage.RegistrationPolicy
	decision *storage.RegistrationRequest
	err      error
}

func (p *policies) RegistrationPolicy(context.Context) (*storage.RegistrationPolicy, error) {
	return &p.policy, p.err
}

func (p *policies) RegistrationDecision(context.Context, string) (*storage.RegistrationRequest, error) {
	return p.decision, p.err
}

func newTrust(t *testing.T, p *policies) *registration.Trust {
	t.Helper()
	known, err := profiles.Load(registration.CheckDocument)
	if err != nil {
		t.Fatal(err)
	}
	return &registration.Trust{Policies: p, Profiles: known}
}

const (
	allow, ask, token, off = storage.RegistrationAllow, storage.RegistrationAskAdmin, storage.RegistrationToken, storage.RegistrationOff

	claudeURL = "https://claude.ai/oauth/mcp-oauth-client-metadata"
	vendorURL = "https://vendor.example/client.json"
)

// CM-26: a document's URL is judged before anything is asked of its host.
func TestDocument(t *testing.T) {
	hosts := func(decision storage.RegistrationMode) []storage.HostDecision {
		return []storage.HostDecision{{Host: "vendor.example", Decision: decision}, {Host: "claude.ai", Decision: decision}}
	}
	for _, c := range []struct {
		name     string
		mode     storage.RegistrationMode
		hosts    []storage.HostDecision
		disabled []string
		state    storage.RegistrationRequestState
		clientID string
		want     storage.RegistrationMode
	}{
		{name: "allow", mode: allow, clientID: vendorURL, want: allow},
		{name: "ask", mode: ask, clientID: vendorURL, want: ask},
		{name: "CM-26 off", mode: off, clientID: vendorURL, want: off},
		{name: "CM-26 host off", mode: allow, hosts: hosts(off), clientID: vendorURL, want: off},
		{name: "CM-26 host off, with a port", mode: allow, hosts: hosts(off), clientID: "https://vendor.example:8443/client.json", want: off},
		{name: "CM-26 host off, in upper case", mode: allow, hosts: hosts(off), clientID: "https://VENDOR.example/client.json", want: off},
		{name: "CM-26 host off, with the root's dot", mode: allow, hosts: hosts(off), clientID: "https://vendor.example./client.json", want: off},
		{name: "CM-26 allowed host as user information", mode: off, hosts: hosts(allow), clientID: "https://vendor.example@evil.test/", want: off},
		{name: "CM-26 host off, its client allowed", mode: allow, hosts: hosts(off), state: storage.RequestAllowed, clientID: vendorURL, want: off},
		{name: "CM-26 host allowed, its client refused", mode: allow, hosts: hosts(allow), state: storage.RequestRefused, clientID: vendorURL, want: off},
		{name: "host allowed where all is off", mode: off, hosts: hosts(allow), clientID: vendorURL, want: allow},
		{name: "client allowed", mode: ask, state: storage.RequestAllowed, clientID: vendorURL, want: allow},
		{name: "client allowed, then all is off", mode: off, state: storage.RequestAllowed, clientID: vendorURL, want: off},
		{name: "profile", mode: ask, clientID: claudeURL, want: allow},
		{name: "profile, another document of its host", mode: ask, clientID: "https://claude.ai/public/x.json", want: ask},
		{name: "profile that is off", mode: ask, disabled: []string{"claude"}, clientID: claudeURL, want: ask},
		{name: "profile where all is off", mode: off, clientID: claudeURL, want: off},
		{name: "profile of a host that is off", mode: ask, hosts: hosts(off), clientID: claudeURL, want: off},
		{name: "not https", mode: allow, clientID: "http://vendor.example/client.json", want: off},
		{name: "no URL", mode: allow, clientID: "https://%zz", want: off},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &policies{policy: storage.RegistrationPolicy{MetadataDocuments: c.mode, Hosts: c.hosts, DisabledProfiles: c.disabled}}
			if c.state != "" {
				p.decision = &storage.RegistrationRequest{State: c.state}
			}
			got, err := newTrust(t, p).Document(t.Context(), c.clientID)
			if err != nil || got != c.want {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
}

// RG-13: who came with a token an administrator gave is let in, but not where all
// is off or its answers go to a host that was turned away.
func TestVouched(t *testing.T) {
	client := &storage.Client{Source: storage.SourceDynamic, Vouched: true, RedirectURIs: []string{"https://vendor.example/cb"}}
	for _, c := range []struct {
		mode storage.RegistrationMode
		host storage.RegistrationMode
		want storage.RegistrationMode
	}{{token, "", allow}, {ask, "", allow}, {off, "", off}, {token, off, off}} {
		p := &policies{policy: storage.RegistrationPolicy{Dynamic: c.mode}}
		if c.host != "" {
			p.policy.Hosts = []storage.HostDecision{{Host: "vendor.example", Decision: c.host}}
		}
		trust := newTrust(t, p)
		if got, err := trust.Client(t.Context(), client); err != nil || got != c.want {
			t.Errorf("%s, its host %q: %s, %v; want %s", c.mode, c.host, got, err, c.want)
		}
	}
}

// An outage is no answer, and a registered client needs none.
func TestTrustInAnOutage(t *testing.T) {
	p := &policies{err: storage.ErrUnavailable}
	trust := newTrust(t, p)
	dynamic := &storage.Client{Source: storage.SourceDynamic}
	for name, call := range map[string]func() error{
		"Dynamic":    func() error { _, err := trust.Dynamic(t.Context()); return err },
		"Document":   func() error { _, err := trust.Document(t.Context(), vendorURL); return err },
		"Client":     func() error { _, err := trust.Client(t.Context(), dynamic); return err },
		"Known":      func() error { _, err := trust.Known(t.Context(), dynamic); return err },
		"PrivateUse": func() error { _, err := trust.PrivateUse(t.Context()); return err },
		"Pinned":     func() error { _, _, err := trust.Pinned(t.Context(), claudeURL); return err },
	} {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if mode, err := trust.Client(t.Context(), &storage.Client{Source: storage.SourceRegistered}); err != nil || mode != allow {
		t.Errorf("a registered client: %s, %v", mode, err)
	}
	p.err = nil
	if raw, ok, err := trust.Pinned(t.Context(), claudeURL); err != nil || !ok || registration.CheckDocument(raw) != nil {
		t.Errorf("the pinned document: %t, %v", ok, err)
	}
	p.policy.DisabledProfiles = []string{"claude"}
	if _, ok, _ := trust.Pinned(t.Context(), claudeURL); ok {
		t.Error("the document of a profile that is off")
	}
}
