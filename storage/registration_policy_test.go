package storage_test

import (
	"testing"

	"grantd/storage"
)

func TestHostDecision(t *testing.T) {
	p := &storage.RegistrationPolicy{Hosts: []storage.HostDecision{
		{Host: "*.example.com", Decision: storage.RegistrationAllow},
		{Host: "*.bad.example.com", Decision: storage.RegistrationOff},
		{Host: "app.example.org", Decision: storage.RegistrationAllow},
		{Host: "one.bad.example.com", Decision: storage.RegistrationAskAdmin},
		{Host: "192.0.2.1", Decision: storage.RegistrationAllow},
	}}
	for _, c := range []struct {
		name, host string
		want       storage.RegistrationMode
	}{
		{"exact", "app.example.org", storage.RegistrationAllow},
		{"CM-26 in another case", "App.Example.ORG", storage.RegistrationAllow},
		{"CM-26 with the root's dot", "x.bad.example.com.", storage.RegistrationOff},
		{"below a domain", "a.b.example.com", storage.RegistrationAllow},
		{"CM-26 below the closer domain", "x.bad.example.com", storage.RegistrationOff},
		{"exact beats the domain", "one.bad.example.com", storage.RegistrationAskAdmin},
		{"the domain itself is not below it", "example.com", ""},
		{"CM-26 a longer name is another", "evilexample.com", ""},
		{"CM-26 a name that goes on is another", "app.example.org.evil.test", ""},
		{"address", "192.0.2.1", storage.RegistrationAllow},
		{"none", "", ""},
		{"only a dot", ".", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, decided := p.Host(c.host)
			if got != c.want || decided != (c.want != "") {
				t.Errorf("%q is decided %t: %q, want %q", c.host, decided, got, c.want)
			}
		})
	}
}
