package storage

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// MaxWaiting is how many calls may wait for a database at once, those it is working
// on included. At some thousands of statements in a second the last of them is
// served within a fraction of one; a caller beyond them is told at once to come
// back, instead of being kept until its patience ends and everybody's with it.
const MaxWaiting = 512

// ErrBusy: MaxWaiting calls wait already. It counts as ErrUnavailable; nothing was
// changed.
var ErrBusy = fmt.Errorf("too many calls are waiting for the database: %w", ErrUnavailable)

// Queue counts the calls that wait for a database, for the implementations of
// Store. The zero value is ready; it is safe for concurrent use.
type Queue struct {
	waiting atomic.Int64
	refused atomic.Int64
	toldAt  atomic.Int64 // Unix seconds
}

// busyLogInterval is how often the log is told of a full queue, in seconds.
const busyLogInterval = 10

// Enter takes a place, which Leave gives back. ErrBusy: there is none.
func (q *Queue) Enter() error {
	if q.waiting.Add(1) <= MaxWaiting {
		return nil
	}
	q.waiting.Add(-1)
	q.refused.Add(1)
	now := time.Now().Unix()
	if last := q.toldAt.Load(); now-last >= busyLogInterval && q.toldAt.CompareAndSwap(last, now) {
		slog.Warn("the database cannot keep up: some requests are refused with 503", "waiting", MaxWaiting)
	}
	return ErrBusy
}

// Leave ends a call that Enter let in.
func (q *Queue) Leave() { q.waiting.Add(-1) }

// Load returns how many calls have a place and how many got none so far.
func (q *Queue) Load() (waiting int, refused int64) { return int(q.waiting.Load()), q.refused.Load() }
