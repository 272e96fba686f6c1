package session_test

import (
	"net/http"
	"testing"
	"time"

	"grantd/server/session"
)

func TestKnownDevice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, secureIssuer)
	alice := h.user(t, "alice")
	first, second := find(t, h.start(t, alice), "__Host-grantd_device"), find(t, h.start(t, alice), "__Host-grantd_device")
	one, ok1 := h.Device(request(t, first))
	two, ok2 := h.Device(request(t, second))
	if !ok1 || !ok2 || one.UserID != alice.ID || one.ID == two.ID || one.ID == "" {
		t.Fatalf("devices %+v %v, %+v %v", one, ok1, two, ok2)
	}

	other := newRoot(t, 1).Seal("another purpose", []byte(alice.ID+" x 99999999999"))
	for name, c := range map[string]*http.Cookie{
		"none":            {Name: "unrelated", Value: "x"},
		"tampered":        {Name: first.Name, Value: "A" + first.Value[1:] + "A"},
		"another purpose": {Name: first.Name, Value: other},
		"plain":           {Name: first.Name, Value: alice.ID},
	} {
		if device, ok := h.Device(request(t, c)); ok {
			t.Errorf("%s: known device %+v", name, device)
		}
	}
	if _, ok := h.Device(request(t, first, second)); ok {
		t.Error("doubled cookie believed")
	}

	h.now = h.now.Add(session.DeviceLifetime - time.Second)
	if _, ok := h.Device(request(t, first)); !ok {
		t.Error("forgotten too early")
	}
	h.now = h.now.Add(time.Second)
	if _, ok := h.Device(request(t, first)); ok {
		t.Error("known for ever")
	}
}
