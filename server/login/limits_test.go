package login_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grantd/storage"
)

// LG-04: one account, one address.
func TestLG04GuessingFromOneAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	for i := range 1000 {
		a := h.signIn(t, "alice", "guess "+strconv.Itoa(i))
		if i < 10 {
			a.want(t, http.StatusUnauthorized)
		} else {
			a.wantBlocked(t)
		}
	}
	h.signIn(t, "alice", right).wantBlocked(t) // or else the answer would tell the guesser
	h.signIn(t, "Alice ", right).wantBlocked(t)
	if got := len(h.actions(t, "user.sign_in_blocked")); got != 1 {
		t.Errorf("%d audit events for one block, want 1", got)
	}
	h.wait(15*time.Minute - time.Second)
	h.signIn(t, "alice", right).wantBlocked(t)
	h.wait(time.Second)
	h.signIn(t, "alice", right).want(t, http.StatusSeeOther)
}

// LG-04: a burst gets no more guesses than a queue would.
func TestLG04GuessingAllAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{concurrent: 1})
	h.user(t, "alice")
	var guesses atomic.Int64
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			switch a := h.signIn(t, "alice", "guess "+strconv.Itoa(i)); a.StatusCode {
			case http.StatusUnauthorized:
				guesses.Add(1)
			case http.StatusTooManyRequests:
			default:
				t.Errorf("status %d", a.StatusCode)
			}
		})
	}
	all.Wait()
	if guesses.Load() != 10 {
		t.Errorf("%d guesses were answered, want 10", guesses.Load())
	}
}

// LG-04: one account, a thousand addresses: never more than 100 guesses in any
// minute.
func TestLG04GuessingFromManyAddresses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{proxied: true})
	alice := h.user(t, "alice")
	address := 0
	var guessed []time.Time
	guess := func(times int) {
		for range times {
			address++
			if a := h.signIn(t, "alice", "guess", from(fmt.Sprintf("198.18.%d.%d", address/250, address%250))); a.StatusCode == http.StatusUnauthorized {
				guessed = append(guessed, h.clock())
			} else {
				a.wantBlocked(t)
			}
		}
	}
	// One guess opens the window; the others come just before it closes and just
	// after, the worst that a guesser can do to a count that starts anew.
	guess(1)
	h.wait(time.Minute - time.Second)
	guess(499)
	h.wait(time.Second)
	guess(500)
	if len(guessed) < 51 {
		t.Errorf("%d guesses: the limit never let go", len(guessed))
	}
	for i, first := range guessed {
		within := 0
		for _, at := range guessed[i:] {
			if at.Sub(first) < time.Minute {
				within++
			}
		}
		if within > 100 {
			t.Fatalf("%d guesses in a minute", within)
		}
	}
	blocked := h.actions(t, "user.sign_in_blocked")
	if len(blocked) != 2 { // once per window, not per refusal
		t.Errorf("%d audit events, want 2", len(blocked))
	}
	for _, e := range blocked {
		if e.Target != alice.ID || e.Detail["limit"] != "user" {
			t.Errorf("event %+v", e)
		}
	}
}

// LG-05: whoever hammers at alice's door does not lock her out.
func TestLG05NoLockOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{proxied: true})
	h.user(t, "alice")
	h.user(t, "bobby")
	device := h.signIn(t, "alice", right, from("192.0.2.7")).cookie("grantd_device")
	bobbys := h.signIn(t, "bobby", right, from("192.0.2.8")).cookie("grantd_device")
	for range 10000 / 20 {
		h.signIn(t, "alice", "guess", from("203.0.113.66"))
	}
	h.signIn(t, "alice", right, from("203.0.113.66")).wantBlocked(t)
	// A new address.
	h.signIn(t, "alice", right, from("192.0.2.99")).want(t, http.StatusSeeOther)
	// Her own browser, even behind the same address as the attacker.
	h.signIn(t, "alice", right, from("203.0.113.66"), with(device)).want(t, http.StatusSeeOther)
	// Another's device opens nothing of hers.
	h.signIn(t, "alice", right, from("203.0.113.66"), with(bobbys)).wantBlocked(t)

	// Many addresses use up what strangers may try; her browser is still hers.
	for i := range 100 {
		h.signIn(t, "alice", "guess", from(fmt.Sprintf("203.0.113.%d", i)))
	}
	h.signIn(t, "alice", right, from("192.0.2.100")).wantBlocked(t)
	h.signIn(t, "alice", right, from("192.0.2.100"), with(device)).want(t, http.StatusSeeOther)
	h.wait(time.Minute)
	h.signIn(t, "alice", right, from("192.0.2.101")).want(t, http.StatusSeeOther)
}

func TestKnownDeviceHasALimitOfItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{proxied: true})
	h.user(t, "alice")
	device := h.signIn(t, "alice", right, from("192.0.2.7")).cookie("grantd_device")
	for i := range 10 { // wherever it is carried
		h.signIn(t, "alice", "guess", from(fmt.Sprintf("192.0.2.%d", i)), with(device)).want(t, http.StatusUnauthorized)
	}
	h.signIn(t, "alice", right, from("192.0.2.7"), with(device)).wantBlocked(t)
	h.signIn(t, "alice", right, from("192.0.2.7")).want(t, http.StatusSeeOther)
}

func TestAddressLimitIsForAllUsersTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{proxied: true})
	h.user(t, "alice")
	for i := range 30 { // a password tried on many names
		h.signIn(t, "user"+strconv.Itoa(i), "Summer2026", from("203.0.113.66")).want(t, http.StatusUnauthorized)
		if i%10 == 0 { // signing in to an account of one's own buys nothing
			h.signIn(t, "alice", right, from("203.0.113.66")).want(t, http.StatusSeeOther)
		}
	}
	h.signIn(t, "alice", right, from("203.0.113.66")).wantBlocked(t)
	h.signIn(t, "alice", right, from("203.0.113.67")).want(t, http.StatusSeeOther)
	h.wait(15 * time.Minute)
	h.signIn(t, "alice", right, from("203.0.113.66")).want(t, http.StatusSeeOther)
}

func TestIPv6SubscriberIsOneAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{proxied: true})
	h.user(t, "alice")
	for i := range 10 {
		h.signIn(t, "alice", "guess", from(fmt.Sprintf("2001:db8:1:2::%x", i+1))).want(t, http.StatusUnauthorized)
	}
	h.signIn(t, "alice", right, from("2001:db8:1:2::ffff")).wantBlocked(t)
	h.signIn(t, "alice", right, from("2001:db8:1:3::1")).want(t, http.StatusSeeOther)
}

// HT-03: anybody may claim an address.
func TestHT03ClaimedAddressesDoNotCount(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	for i := range 10 {
		h.signIn(t, "alice", "guess", from(fmt.Sprintf("192.0.2.%d", i))).want(t, http.StatusUnauthorized)
	}
	h.signIn(t, "alice", right, from("192.0.2.200")).wantBlocked(t)
}

// Honest traffic is never limited, however much of it there is.
func TestSuccessesDoNotCount(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{concurrent: 2})
	h.user(t, "alice")
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { h.signIn(t, "alice", right).want(t, http.StatusSeeOther) })
	}
	all.Wait()
	for range 3 { // a few typing errors now and then
		for range 9 {
			h.signIn(t, "alice", "typo").want(t, http.StatusUnauthorized)
		}
		h.signIn(t, "alice", right).want(t, http.StatusSeeOther)
	}
}

func TestUnknownNamesAreLimitedLikeKnownOnes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	for range 10 {
		h.signIn(t, "nobody", "guess").want(t, http.StatusUnauthorized)
	}
	h.signIn(t, "NOBODY", "guess").wantBlocked(t)
}

// The right password of a disabled user is a failure like any other, or else its
// count would tell.
func TestDisabledUsersAreLimitedLikeOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice", func(u *storage.User) { u.Disabled = true })
	for range 10 {
		h.signIn(t, "alice", right).want(t, http.StatusUnauthorized)
	}
	h.signIn(t, "alice", right).wantBlocked(t)
}

// What strangers can make the database keep is bounded.
func TestAuditOfBlocksIsBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{proxied: true})
	for i := range 11 {
		for range 10 {
			h.signIn(t, "user"+strconv.Itoa(i), "guess", from(fmt.Sprintf("203.0.113.%d", i)))
		}
	}
	if got := len(h.actions(t, "user.sign_in_blocked")); got != 10 {
		t.Errorf("%d audit events in an hour, want 10", got)
	}
	h.wait(time.Hour)
	for range 10 {
		h.signIn(t, "alice", "guess", from("198.51.100.1"))
	}
	if got := len(h.actions(t, "user.sign_in_blocked")); got != 11 {
		t.Errorf("%d audit events, want one more", got)
	}
}

// A full queue is no reason to say no to a password.
func TestBusyIsARetryNotARefusal(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{concurrent: 1})
	h.user(t, "alice")
	turn, err := h.hasher.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const callers, queue = 50, 32
	answers := make(chan answer, callers)
	for range callers {
		go func() { answers <- h.signIn(t, "alice", right) }()
	}
	for range callers - queue {
		a := <-answers
		a.want(t, http.StatusServiceUnavailable)
		if a.Header.Get("Retry-After") == "" || len(a.Cookies()) > 0 {
			t.Errorf("Retry-After %q, cookies %v", a.Header.Get("Retry-After"), a.Cookies())
		}
	}
	turn.Done()
	for range queue {
		a := <-answers
		a.want(t, http.StatusSeeOther)
	}
}
