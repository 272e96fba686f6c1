// Package notice tells people by mail when something is done to their account that a
// thief would do: a second factor or a passkey set up or removed, recovery codes made or
// used, a password changed.
//
// What was done is read from the audit events, by their names and in one place, when the
// server has sealed them: of many replicas one seals each event, and that one tells of it.
// So no request waits for a mail server or fails because of it. What waits to be sent is
// in memory and bounded; what cannot be sent is logged and audited, without the address,
// and the person still finds the act under the recent activity of their account.
package notice

import (
	"context"
	"errors"
	"log/slog"
	netmail "net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"grantd/server/mail"
	"grantd/storage"
)

const (
	// maxWaiting is how many people's notices wait to be sent.
	maxWaiting = 1000
	// maxAge is how old an act may be: after a long outage nobody is frightened with
	// what is long past.
	maxAge = 24 * time.Hour
	// interval is how often it is looked for what is due.
	interval = 5 * time.Second
	// patience is how long the mail server has for one mail, and lastPatience how long a
	// stopping server waits for all.
	patience     = 30 * time.Second
	lastPatience = 5 * time.Second
)

// pauses are how long after a failure it is tried again.
var pauses = []time.Duration{time.Minute, 10 * time.Minute, time.Hour}

// Store is what notices need of the database.
type Store interface {
	User(ctx context.Context, id string) (*storage.User, error)
	RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error
}

// Words says a mail's sentences in a language.
type Words interface {
	Say(sentence string, values map[string]string) string
	Moment(t time.Time) string
}

// Notices tells people. It is safe for concurrent use. Nil tells nobody.
type Notices struct {
	Store Store
	Words Words
	// Send hands a mail to the mail server.
	Send func(ctx context.Context, m mail.Message) error
	// Host is the issuer's, and AccountURL where people look after their account.
	Host, AccountURL string
	Now              func() time.Time

	mu      sync.Mutex
	waiting []notice
}

// notice is one mail: what was done to one User's account at about the same time.
type notice struct {
	userID string
	events []*storage.AuditEvent
	tries  int // failed ones
	due    time.Time
}

// Sealed takes the events that this server has just sealed, and returns at once.
func (n *Notices) Sealed(ctx context.Context, events []*storage.AuditEvent) {
	now := n.Now()
	var told []*notice
	byUser := map[string]*notice{}
	for _, e := range events {
		if sentenceOf(e) == "" || now.Sub(e.At) > maxAge {
			continue
		}
		id := about(e)
		if byUser[id] == nil {
			byUser[id] = &notice{userID: id, due: now}
			told = append(told, byUser[id])
		}
		byUser[id].events = append(byUser[id].events, e)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, one := range told {
		if len(n.waiting) >= maxWaiting {
			slog.WarnContext(ctx, "too many notices wait for the mail server: some people are not told", "people", len(told)-i)
			return
		}
		n.waiting = append(n.waiting, *one)
	}
}

// Run sends what is due, until ctx ends.
func (n *Notices) Run(ctx context.Context) {
	if n == nil {
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.Deliver(ctx)
		}
	}
}

// Close tries once more, for some seconds, to send what waits, and says what is lost. It
// is called when Run has ended and nothing more is sealed.
func (n *Notices) Close(ctx context.Context) {
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPatience)
	defer cancel()
	n.Deliver(ctx)
	if lost := n.take(func(notice) bool { return true }); len(lost) > 0 {
		slog.WarnContext(ctx, "the server stops while notices wait for the mail server: some people are not told", "people", len(lost))
	}
}

// Deliver sends what is due, once each. A mail server that does not answer is left in
// peace until the next time.
func (n *Notices) Deliver(ctx context.Context) {
	now := n.Now()
	due := n.take(func(one notice) bool { return !one.due.After(now) })
	for i, one := range due {
		err := n.tell(ctx, one)
		if err == nil {
			continue
		}
		var answer *textproto.Error
		answered := errors.As(err, &answer)
		if permanent := answered && answer.Code >= 500 || errors.Is(err, mail.ErrAddress); permanent || one.tries == len(pauses) {
			n.lost(ctx, one, cause(err))
		} else {
			one.due = now.Add(pauses[one.tries])
			one.tries++
			n.putBack(one)
		}
		if !answered {
			n.putBack(due[i+1:]...)
			return
		}
	}
}

func (n *Notices) take(wanted func(notice) bool) []notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	var taken, left []notice
	for _, one := range n.waiting {
		if wanted(one) {
			taken = append(taken, one)
		} else {
			left = append(left, one)
		}
	}
	n.waiting = left
	return taken
}

func (n *Notices) putBack(all ...notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = append(n.waiting, all...)
}

// tell sends the mail, if the User is still there and has an address.
func (n *Notices) tell(ctx context.Context, one notice) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	user, err := n.Store.User(ctx, one.userID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && user.Email == "" {
		return nil
	} else if err != nil {
		return err
	}
	return n.Send(ctx, mail.Message{
		To:      netmail.Address{Name: user.Name, Address: user.Email},
		Subject: n.Words.Say("Security notice for your account at {host}", map[string]string{"host": n.Host}),
		Text:    n.text(user, one),
	})
}

func (n *Notices) text(user *storage.User, one notice) string {
	paragraphs := []string{n.Words.Say("This is about the account {username} at {host}.", map[string]string{"username": user.Username, "host": n.Host})}
	for _, e := range one.events {
		when := n.Words.Say("When: {time}", map[string]string{"time": n.Words.Moment(e.At)})
		if address := e.Detail["address"]; address != "" {
			when += "\n" + n.Words.Say("From the address: {address}", map[string]string{"address": address})
		}
		paragraphs = append(paragraphs, n.Words.Say(sentenceOf(e), nil)+"\n"+when)
	}
	return strings.Join(append(paragraphs,
		n.Words.Say("If you did this or expected it, there is nothing to do. If not, tell your administrator at once, and look at your account:", nil),
		n.AccountURL), "\n\n") + "\n"
}

// lost gives up.
func (n *Notices) lost(ctx context.Context, one notice, why string) {
	actions := make([]string, len(one.events))
	for i, e := range one.events {
		actions[i] = e.Action
	}
	told := strings.Join(actions, " ")
	slog.WarnContext(ctx, "a person could not be told by mail of what was done to their account", "user", one.userID, "actions", told, "cause", why)
	event := storage.NewAuditEvent(n.Now(), "system", "notice.failed", one.userID).With("actions", told).With("cause", why)
	if err := n.Store.RecordAuditEvent(ctx, event); err != nil {
		slog.ErrorContext(ctx, "that a notice failed could not be recorded", "user", one.userID, "error", err.Error())
	}
}

// cause is an error without what a mail server says, which repeats addresses.
func cause(err error) string {
	var answer *textproto.Error
	switch {
	case errors.As(err, &answer):
		return "the mail server answered " + strconv.Itoa(answer.Code)
	case errors.Is(err, mail.ErrAddress), errors.Is(err, mail.ErrPlaintext):
		return err.Error()
	case errors.Is(err, storage.ErrUnavailable):
		return "the database did not answer"
	}
	return "the mail server did not answer"
}
