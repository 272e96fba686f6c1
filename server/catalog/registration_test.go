package catalog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"grantd/server/catalog"
	"grantd/storage"
)

// registrations is a database with a policy and at most one request.
type registrations struct {
	*database
	policy  storage.RegistrationPolicy
	request *storage.RegistrationRequest
}

func (r *registrations) RegistrationPolicy(context.Context) (*storage.RegistrationPolicy, error) {
	r.lookups++
	if r.down {
		return nil, storage.ErrUnavailable
	}
	policy := r.policy
	return &policy, nil
}

func (r *registrations) RegistrationRequestOf(_ context.Context, clientID, _ string) (*storage.RegistrationRequest, bool, error) {
	r.lookups++
	switch {
	case r.down:
		return nil, false, storage.ErrUnavailable
	case r.request == nil || r.request.ClientID != clientID:
		return nil, false, storage.ErrNotFound
	}
	request := *r.request
	return &request, false, nil
}

func (r *registrations) UpdateRegistrationPolicy(context.Context, *storage.RegistrationPolicy, storage.AuditEvent) error {
	return nil
}

func (r *registrations) DecideRegistration(context.Context, string, storage.RegistrationDecision, storage.AuditEvent) error {
	return nil
}

func (r *registrations) DeleteRegistrationRequest(context.Context, string, storage.AuditEvent) error {
	return nil
}

func TestRegistrationIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &registrations{database: newDatabase(), policy: storage.RegistrationPolicy{Dynamic: storage.RegistrationAskAdmin}}
		c := catalog.New(d, nil)
		beat(t, c)
		check := func(when string, mode storage.RegistrationMode, state storage.RegistrationRequestState, reads int) {
			t.Helper()
			before := d.lookups
			policy, err := c.RegistrationPolicy(t.Context())
			if err != nil || policy.Dynamic != mode {
				t.Errorf("%s the policy is %+v, %v", when, policy, err)
			}
			decision, err := c.RegistrationDecision(t.Context(), "app")
			if err != nil || (decision == nil) != (state == "") || decision != nil && decision.State != state {
				t.Errorf("%s the decision is %+v, %v", when, decision, err)
			}
			if d.lookups-before != reads {
				t.Errorf("%s both took %d reads, want %d", when, d.lookups-before, reads)
			}
		}
		check("at first", storage.RegistrationAskAdmin, "", 2)
		check("a moment later", storage.RegistrationAskAdmin, "", 0)
		d.request = &storage.RegistrationRequest{ClientID: "app", State: storage.RequestPending}
		beat(t, c)
		check("while it waits", storage.RegistrationAskAdmin, "", 0)

		// Another replica decides.
		d.request.State, d.policy.Dynamic, d.version = storage.RequestAllowed, storage.RegistrationOff, d.version+1
		check("before it is heard of", storage.RegistrationAskAdmin, "", 0)
		beat(t, c)
		check("after a beat", storage.RegistrationOff, storage.RequestAllowed, 2)
		check("and remembered", storage.RegistrationOff, storage.RequestAllowed, 0)

		// This process does.
		for name, write := range map[string]func(storage.Store) error{
			"UpdateRegistrationPolicy": func(s storage.Store) error {
				return s.UpdateRegistrationPolicy(t.Context(), nil, storage.AuditEvent{})
			},
			"DecideRegistration": func(s storage.Store) error {
				return s.DecideRegistration(t.Context(), "", storage.RegistrationDecision{}, storage.AuditEvent{})
			},
			"DeleteRegistrationRequest": func(s storage.Store) error {
				return s.DeleteRegistrationRequest(t.Context(), "", storage.AuditEvent{})
			},
		} {
			if err := write(c.Writes(d)); err != nil {
				t.Fatal(err)
			}
			check("after "+name, storage.RegistrationOff, storage.RequestAllowed, 2)
		}

		// With no good beat nothing is remembered, and an outage is no answer.
		time.Sleep(time.Second)
		check("when stale", storage.RegistrationOff, storage.RequestAllowed, 2)
		d.down = true
		if _, err := c.RegistrationPolicy(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("the policy in an outage: %v", err)
		}
		if _, err := c.RegistrationDecision(t.Context(), "app"); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("the decision in an outage: %v", err)
		}
	})
}
