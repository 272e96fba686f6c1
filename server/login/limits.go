package login

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"grantd/server/web"
)

// How many failures are allowed, and in what time.
const (
	pairFailures    = 10 // per user and address, and per known device
	addressFailures = 30 // per address
	window          = 15 * time.Minute

	// Per user from all strangers together. Windows do not overlap, so no minute,
	// wherever it begins, sees more than two of them: 100 guesses.
	userFailures = 50
	userWindow   = time.Minute
)

// limits counts failed sign-ins. Users are named by id, or by a mark when there
// is no such user, so that strangers' names are bounded in length.
type limits struct {
	pair, address, user, device *web.FailureLimit

	// mu makes "this failure reached the limit" true for one failure only.
	mu sync.Mutex
}

// count is one key of one limit.
type count struct {
	limit *web.FailureLimit
	name  string // for log and audit
	key   string
	// forgiven: a success forgets the failures. An address's are kept, or else a
	// guesser could buy new guesses by signing in to an account of their own.
	forgiven bool
}

func newLimits(now func() time.Time) *limits {
	limit := func(failures int, window time.Duration) *web.FailureLimit {
		return &web.FailureLimit{Failures: failures, Window: window, Now: now}
	}
	return &limits{
		pair: limit(pairFailures, window), address: limit(addressFailures, window),
		user: limit(userFailures, userWindow), device: limit(pairFailures, window),
	}
}

func (l *limits) ofStranger(user, address string) []count {
	return []count{
		{l.pair, "user and address", user + " " + address, true},
		{l.address, "address", address, false},
		{l.user, "user", user, false},
	}
}

func (l *limits) ofDevice(id string) []count {
	return []count{{l.device, "device", id, true}}
}

// refusal returns nil while none of the limits is reached.
func (l *limits) refusal(counts []count) *refusal {
	wait := 0
	for _, c := range counts {
		wait = max(wait, c.limit.Blocked(c.key))
	}
	if wait == 0 {
		return nil
	}
	minutes := "a minute"
	if wait > 60 {
		minutes = fmt.Sprintf("%d minutes", (wait+59)/60)
	}
	return &refusal{
		status: http.StatusTooManyRequests, retryAfter: wait,
		problem: "Too many sign-ins have failed. Wait " + minutes + " and try again. " +
			"If this was not you, you can sign in now with a browser in which you have signed in before.",
	}
}

// fail counts one failure and returns the names of the limits that it reached.
func (l *limits) fail(counts []count) (reached []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range counts {
		before := c.limit.Blocked(c.key)
		c.limit.Fail(c.key)
		if before == 0 && c.limit.Blocked(c.key) > 0 {
			reached = append(reached, c.name)
		}
	}
	return reached
}

func (l *limits) forgive(counts []count) {
	for _, c := range counts {
		if c.forgiven {
			c.limit.Forgive(c.key)
		}
	}
}
