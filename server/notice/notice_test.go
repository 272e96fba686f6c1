package notice_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grantd/server/mail"
	"grantd/server/notice"
	"grantd/storage"
)

// post is a mail server, a database and a clock.
type post struct {
	mu       sync.Mutex
	now      time.Time
	fail     error // what sending answers; nil: it takes the mail
	sent     []mail.Message
	tries    int
	users    map[string]*storage.User
	recorded []storage.AuditEvent
}

func (p *post) User(_ context.Context, id string) (*storage.User, error) {
	if u := p.users[id]; u != nil {
		return u, nil
	}
	return nil, storage.ErrNotFound
}

func (p *post) RecordAuditEvent(_ context.Context, event storage.AuditEvent) error {
	p.recorded = append(p.recorded, event)
	return nil
}

func (p *post) send(_ context.Context, m mail.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries++
	if p.fail != nil {
		return p.fail
	}
	p.sent = append(p.sent, m)
	return nil
}

func (p *post) Say(sentence string, values map[string]string) string {
	for name, value := range values {
		sentence = strings.ReplaceAll(sentence, "{"+name+"}", value)
	}
	return sentence
}

func (p *post) Moment(t time.Time) string { return t.Format(time.RFC3339) }

func newPost(t *testing.T) (*post, *notice.Notices) {
	t.Helper()
	p := &post{now: time.Date(2026, time.May, 4, 3, 2, 1, 0, time.UTC), users: map[string]*storage.User{}}
	return p, &notice.Notices{
		Store: p, Words: p, Send: p.send, Host: "auth.example.com", AccountURL: "https://auth.example.com/account", Now: func() time.Time { return p.now },
	}
}

func (p *post) user(username, email string) *storage.User {
	u := &storage.User{ID: storage.NewID(storage.PrefixUser), Username: username, Name: "Person " + username, Email: email}
	p.users[u.ID] = u
	return u
}

func (p *post) event(action string, u *storage.User) *storage.AuditEvent {
	e := storage.NewAuditEvent(p.now, "user:"+u.ID, action, u.ID).With("address", "192.0.2.7")
	return &e
}

func TestWhatIsTold(t *testing.T) {
	p, n := newPost(t)
	alice, bob, nobody := p.user("alice", "alice@example.com"), p.user("bob", "bob@example.com"), p.user("nobody", "")
	passkey := p.event("passkey.created", bob)
	passkey.Target, passkey.Detail = "pk_1", map[string]string{}
	named := p.event("passkey.deleted", bob)
	named.Target, named.Actor = "pk_1", "admin:key"
	*named = named.With(storage.DetailUser, bob.ID)
	password := p.event("user.updated", bob)
	*password = password.With("changed", "name password")
	past := p.event("totp.deleted", alice)
	past.At = p.now.Add(-25 * time.Hour)
	renamed := p.event("user.updated", alice)
	*renamed = renamed.With("changed", "name")
	n.Sealed(t.Context(), []*storage.AuditEvent{
		p.event("totp.created", alice), passkey, p.event("recovery_codes.created", alice), named, password, past, renamed,
		p.event("user.signed_in", alice), p.event("totp.created", nobody), p.event("totp.created", &storage.User{ID: storage.NewID(storage.PrefixUser)}),
	})
	if p.tries != 0 {
		t.Fatal("a mail was sent by whoever sealed")
	}
	n.Deliver(t.Context())
	n.Deliver(t.Context())
	if len(p.sent) != 2 || len(p.recorded) != 0 {
		t.Fatalf("sent %d, recorded %v", len(p.sent), p.recorded)
	}
	for i, want := range [][]string{
		{"This is about the account alice at auth.example.com.", "An authenticator app was set up for your account.\nWhen: 2026-05-04T03:02:01Z\nFrom the address: 192.0.2.7", "New recovery codes were made", "\n\nhttps://auth.example.com/account\n"},
		{"A passkey was added to your account.\nWhen: 2026-05-04T03:02:01Z\n\n", "A passkey was removed", "An administrator set a new password"},
	} {
		for _, words := range want {
			if !strings.Contains(p.sent[i].Text, words) {
				t.Errorf("mail %d does not say %q:\n%s", i, words, p.sent[i].Text)
			}
		}
	}
	if to := p.sent[0].To.Address + " " + p.sent[1].To.Address; to != "alice@example.com bob@example.com" {
		t.Errorf("sent to %s", to)
	}
	if strings.Contains(p.sent[0].Text, "removed") {
		t.Errorf("what is long past is told:\n%s", p.sent[0].Text)
	}
}

// A mail server that is away holds nothing up and is tried again; what cannot be sent is
// logged and audited, and neither says to whom.
func TestOutageOfTheMailServer(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	away := errors.New("connect to the mail server: alice@example.com: connection refused")
	for _, c := range []struct {
		name  string
		fail  error
		tries int // for two people, until both are given up
		cause string
	}{
		{"away", away, 8, "the mail server did not answer"},
		{"busy", fmt.Errorf("recipient: %w", &textproto.Error{Code: 451, Msg: "alice@example.com later"}), 8, "the mail server answered 451"},
		{"refuses", fmt.Errorf("recipient: %w", &textproto.Error{Code: 550, Msg: "alice@example.com is unknown"}), 2, "the mail server answered 550"},
		{"no address", mail.ErrAddress, 2, mail.ErrAddress.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, n := newPost(t)
			p.fail = c.fail
			alice := p.user("alice", "alice@example.com")
			n.Sealed(t.Context(), []*storage.AuditEvent{p.event("totp.deleted", alice), p.event("totp.deleted", p.user("bob", "alice@example.com"))})
			for range 100 {
				n.Deliver(t.Context())
				p.now = p.now.Add(5 * time.Minute)
			}
			if p.tries != c.tries || len(p.recorded) != 2 {
				t.Fatalf("tried %d times, want %d; recorded %v", p.tries, c.tries, p.recorded)
			}
			if e := p.recorded[0]; e.Action != "notice.failed" || e.Target != alice.ID || e.Detail["cause"] != c.cause || e.Detail["actions"] != "totp.deleted" {
				t.Errorf("recorded %+v", e)
			}
		})
	}
	if strings.Contains(log.String(), "example.com") || strings.Count(log.String(), "could not be told") != 8 {
		t.Errorf("the log:\n%s", log.String())
	}
}

func TestMailServerComesBack(t *testing.T) {
	p, n := newPost(t)
	p.fail = errors.New("connection refused")
	n.Sealed(t.Context(), []*storage.AuditEvent{p.event("totp.deleted", p.user("alice", "alice@example.com")), p.event("totp.created", p.user("bob", "bob@example.com"))})
	n.Deliver(t.Context())
	if p.tries != 1 {
		t.Errorf("a mail server that does not answer was asked %d times at once", p.tries)
	}
	p.fail = nil
	n.Deliver(t.Context()) // Bob's was not tried
	p.now = p.now.Add(time.Minute)
	n.Deliver(t.Context())
	var to []string
	for _, m := range p.sent {
		to = append(to, m.To.Address)
	}
	if slices.Sort(to); !slices.Equal(to, []string{"alice@example.com", "bob@example.com"}) {
		t.Errorf("sent to %q", to)
	}
}

// What waits is bounded.
func TestTooManyNotices(t *testing.T) {
	p, n := newPost(t)
	for range 3 {
		var events []*storage.AuditEvent
		for i := range 500 {
			events = append(events, p.event("totp.created", p.user("user", fmt.Sprintf("%d@example.com", i))))
		}
		n.Sealed(t.Context(), events)
	}
	n.Deliver(t.Context())
	if len(p.sent) != 1000 {
		t.Errorf("%d were sent", len(p.sent))
	}
}

// A stopping server sends what waits.
func TestStop(t *testing.T) {
	p, n := newPost(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	n.Run(ctx)
	n.Sealed(ctx, []*storage.AuditEvent{p.event("totp.created", p.user("alice", "alice@example.com"))})
	n.Close(ctx)
	if len(p.sent) != 1 {
		t.Errorf("%d were sent", len(p.sent))
	}
	var none *notice.Notices
	none.Run(ctx)
	none.Close(ctx)
}
