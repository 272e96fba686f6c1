package server_test

import (
	"context"
	"net/http"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// meanwhile is a database in which something happens just before a session is made.
type meanwhile struct {
	storage.Store
	act func()
}

func (m *meanwhile) CreateSession(ctx context.Context, s *storage.Session, event storage.AuditEvent) error {
	if act := m.act; act != nil {
		m.act = nil
		act()
	}
	return m.Store.CreateSession(ctx, s, event)
}

// An administrator who resets somebody's second factor ends every sign-in with it, also
// the one whose code is just being taken.
func TestFactorsResetWhileACodeIsTaken(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		m := &meanwhile{Store: open(t)}
		o := newOffice(t, servertest.WithStore(m))
		phone, codes := o.enrolled(t)
		id := o.find(t, "/users", "username", "alice")
		for name, prove := range map[string]func() string{"TOTP": func() string { return phone.code(o.Clock.Now()) }, "recovery code": func() string { return codes[0] }} {
			t.Run(name, func(t *testing.T) {
				b := o.Browser()
				page := o.password(b, "")
				wantFactorAsked(t, page)
				m.act = func() { o.Must(http.MethodDelete, "/users/"+id+"/factors", nil) }
				if done := answer(b, page, prove()); done.URL.Path == "/account" || !b.Get(o.URL+"/account").IsLogin() {
					t.Errorf("signed in with a factor that was reset: %d at %s", done.Status, done.URL)
				}
				phone, codes = o.enrolled(t)
			})
		}
	})
}
