package admin_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"grantd/api"
	"grantd/storage"
)

const keysPath = "/admin/v1/keys"

// keysByState lists the keys by state.
func keysByState(s *server) map[string][]api.SigningKey {
	s.t.Helper()
	states := map[string][]api.SigningKey{}
	for _, k := range into[api.SigningKeyList](s.send(http.MethodGet, keysPath, "").want(http.StatusOK)).Items {
		states[k.State] = append(states[k.State], k)
	}
	return states
}

func TestKeys(t *testing.T) {
	s := newServer(t)
	s.makeKeys()
	one := into[api.SigningKeyList](s.send(http.MethodGet, keysPath+"?limit=1", "").want(http.StatusOK))
	two := into[api.SigningKeyList](s.send(http.MethodGet, keysPath+"?limit=1&cursor="+one.NextCursor, "").want(http.StatusOK))
	if len(one.Items) != 1 || len(two.Items) != 1 || two.NextCursor != "" || one.Items[0].Kid == two.Items[0].Kid {
		t.Fatalf("pages = %+v, %+v", one, two)
	}
	states := keysByState(s)
	active, next := states["active"], states["next"]
	if len(active) != 1 || active[0].ActivatedAt == nil || active[0].ReadyAt != nil || active[0].Algorithm != "ES256" {
		t.Errorf("active = %+v", active)
	}
	if len(next) != 1 || next[0].ActivatedAt != nil || next[0].ReadyAt == nil || !next[0].ReadyAt.Equal(next[0].CreatedAt.Add(storage.KeyPublication)) {
		t.Errorf("next = %+v", next)
	}
}

// MD-07: a key signs when every cache can know it, or when an admin says so.
func TestMD07RotateKeys(t *testing.T) {
	s := newServer(t)
	s.makeKeys()
	before := keysByState(s)
	s.later(storage.KeyPublication - time.Second)
	s.send(http.MethodPost, keysPath+"/rotate", "{}").wantProblem(http.StatusConflict, "key-not-ready")
	if after := keysByState(s); after["active"][0].Kid != before["active"][0].Kid || len(after["retired"]) != 0 {
		t.Errorf("refused, but the keys are %+v", after)
	}
	s.later(time.Second)
	answer := into[api.SigningKeyList](s.send(http.MethodPost, keysPath+"/rotate", "{}").want(http.StatusOK))
	after := keysByState(s)
	if len(answer.Items) != 3 || after["active"][0].Kid != before["next"][0].Kid || after["retired"][0].Kid != before["active"][0].Kid {
		t.Errorf("rotated %+v to %+v", before, after)
	}
	if retired := after["retired"][0]; retired.RetiredAt == nil || !retired.PublishedUntil.Equal(retired.RetiredAt.Add(storage.KeyRetention)) {
		t.Errorf("retired = %+v", retired)
	}
	s.send(http.MethodPost, keysPath+"/rotate", "{}").wantProblem(http.StatusConflict, "key-not-ready")
	s.send(http.MethodPost, keysPath+"/rotate", `{"now":true}`).want(http.StatusOK)
	if again := keysByState(s); again["active"][0].Kid != after["next"][0].Kid || len(again["retired"]) != 2 {
		t.Errorf("rotated early to %+v", again)
	}

	actions := map[string]api.AuditEvent{}
	for _, e := range eventsOf(s) {
		if e.Action == "signing_key.rotated" {
			actions[e.Target] = e
		}
	}
	orderly, early := actions[after["active"][0].Kid], actions[after["next"][0].Kid]
	if orderly.Actor == "system" || orderly.Detail["retired"] != before["active"][0].Kid || orderly.Detail["ready_at"] != "" || orderly.Detail["request_id"] == "" {
		t.Errorf("event = %+v", orderly)
	}
	if early.Detail["ready_at"] == "" {
		t.Errorf("the event does not say that it was early: %+v", early)
	}
}

// MD-08: a key can be revoked in each of its states, and only once.
func TestMD08RevokeKey(t *testing.T) {
	s := newServer(t)
	s.makeKeys()
	s.send(http.MethodPost, keysPath+"/rotate", `{"now":true}`).want(http.StatusOK)
	for _, state := range []string{"active", "next", "retired"} {
		before := keysByState(s)
		kid := before[state][0].Kid
		s.send(http.MethodDelete, keysPath+"/"+kid, "").want(http.StatusNoContent)
		after := keysByState(s)
		if len(after["active"]) != 1 || len(after["next"]) != 1 {
			t.Errorf("after the %s key was revoked: %+v", state, after)
		}
		for _, keys := range after {
			if slices.ContainsFunc(keys, func(k api.SigningKey) bool { return k.Kid == kid }) {
				t.Errorf("the revoked %s key is still there", state)
			}
		}
		if state == "active" && after["active"][0].Kid != before["next"][0].Kid {
			t.Errorf("the active key is %+v, want the one that was next", after["active"])
		}
		s.send(http.MethodDelete, keysPath+"/"+kid, "").wantProblem(http.StatusNotFound, "not-found")
		if last := eventsOf(s); last[len(last)-1].Action != "signing_key.revoked" || last[len(last)-1].Target != kid || last[len(last)-1].Detail["state"] != state {
			t.Errorf("event = %+v", last[len(last)-1])
		}
	}
	s.send(http.MethodDelete, keysPath+"/rotate", "").wantProblem(http.StatusNotFound, "not-found")
}
