package storagetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var registrationPolicyContracts = []contract{
	{"a new database asks administrators", policyDefault},
	{"an updated policy comes back with its hosts in order", policyRoundTrip},
	{"an update of an older version conflicts", policyConflict},
	{"forty updates of one version race", policyRace},
}

func policyDefault(t *testing.T, s storage.Store) {
	got, err := s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	expected := &storage.RegistrationPolicy{
		Version: 1, Dynamic: storage.RegistrationAskAdmin, MetadataDocuments: storage.RegistrationAskAdmin,
		Hosts: []storage.HostDecision{}, DisabledProfiles: []string{},
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

func policyRoundTrip(t *testing.T, s storage.Store) {
	p, err := s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	p.Dynamic, p.MetadataDocuments = storage.RegistrationToken, storage.RegistrationOff
	p.DisabledProfiles = []string{"cursor", "codex"}
	p.Hosts = []storage.HostDecision{
		{Host: "z.example", Decision: storage.RegistrationAllow},
		{Host: "*.example", Decision: storage.RegistrationOff},
		{Host: "a.example", Decision: storage.RegistrationAskAdmin},
	}
	p.UpdatedAt = Now
	want(t, s.UpdateRegistrationPolicy(t.Context(), p, Event("registration_policy.updated", "")), nil)
	got, err := s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	p.Hosts[0], p.Hosts[1], p.Hosts[2] = p.Hosts[1], p.Hosts[2], p.Hosts[0]
	if diff := cmp.Diff(p, got); diff != "" {
		t.Errorf("policy (-stored +read):\n%s", diff)
	}
	if p.Version != 2 {
		t.Errorf("version %d after one update", p.Version)
	}
	p.Hosts, p.DisabledProfiles = nil, nil
	want(t, s.UpdateRegistrationPolicy(t.Context(), p, Event("registration_policy.updated", "")), nil)
	got, err = s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	if len(got.Hosts) != 0 || len(got.DisabledProfiles) != 0 || got.Version != 3 {
		t.Errorf("an emptied policy is %+v", got)
	}
}

func policyConflict(t *testing.T, s storage.Store) {
	p, err := s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	stale := *p
	stale.Dynamic = storage.RegistrationAllow
	stale.Hosts = []storage.HostDecision{{Host: "a.example", Decision: storage.RegistrationAllow}}
	p.Dynamic = storage.RegistrationOff
	want(t, s.UpdateRegistrationPolicy(t.Context(), p, Event("registration_policy.updated", "")), nil)
	want(t, s.UpdateRegistrationPolicy(t.Context(), &stale, Event("registration_policy.updated", "")), storage.ErrConflict)
	got, err := s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	if got.Dynamic != storage.RegistrationOff || len(got.Hosts) != 0 {
		t.Errorf("an update that conflicted left %+v", got)
	}
}

func policyRace(t *testing.T, s storage.Store) {
	p, err := s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	errs := race(racers, func(int) error {
		mine := *p
		mine.Hosts = []storage.HostDecision{{Host: "a.example", Decision: storage.RegistrationAllow}}
		return s.UpdateRegistrationPolicy(t.Context(), &mine, Event("registration_policy.updated", ""))
	})
	wantWinners(t, errs, 1, storage.ErrConflict)
}
