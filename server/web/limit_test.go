package web_test

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grantd/server/web"
)

// clock is a clock that tests move.
type clock struct{ now time.Time }

func newLimit(failures int, window time.Duration) (*web.FailureLimit, *clock) {
	c := &clock{now: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)}
	return &web.FailureLimit{Failures: failures, Window: window, Now: func() time.Time { return c.now }}, c
}

func TestFailureLimit(t *testing.T) {
	limit, clock := newLimit(3, time.Minute)
	for range 2 {
		limit.Fail("a")
	}
	if wait := limit.Blocked("a"); wait != 0 {
		t.Fatalf("blocked for %d s after 2 of 3 failures", wait)
	}
	clock.now = clock.now.Add(10 * time.Second)
	limit.Fail("a")
	if wait := limit.Blocked("a"); wait != 50 {
		t.Errorf("blocked for %d s, want the 50 that are left of the window", wait)
	}
	if wait := limit.Blocked("b"); wait != 0 {
		t.Errorf("another key is blocked for %d s", wait)
	}
	clock.now = clock.now.Add(49*time.Second + time.Millisecond)
	if wait := limit.Blocked("a"); wait != 1 {
		t.Errorf("blocked for %d s, want what is left rounded up", wait)
	}
	clock.now = clock.now.Add(999 * time.Millisecond)
	if wait := limit.Blocked("a"); wait != 0 {
		t.Errorf("blocked for %d s after the window", wait)
	}
	limit.Fail("a")
	if wait := limit.Blocked("a"); wait != 0 {
		t.Error("the failures of the last window still count")
	}
}

func TestFailureLimitBeginsAnewAfterTheWindow(t *testing.T) {
	limit, clock := newLimit(2, time.Minute)
	limit.Fail("a")
	clock.now = clock.now.Add(time.Minute)
	limit.Fail("a") // nobody asked in between
	if limit.Blocked("a") != 0 {
		t.Error("one failure in this window blocks")
	}
}

func TestFailureLimitForgives(t *testing.T) {
	limit, _ := newLimit(1, time.Minute)
	limit.Fail("a")
	limit.Fail("b")
	limit.Forgive("a")
	limit.Forgive("never failed")
	if limit.Blocked("a") != 0 || limit.Blocked("b") == 0 {
		t.Error("forgiving one key is not forgiving just that key")
	}
}

// A stranger chooses the keys: neither their number nor their length may cost more
// than the few megabytes the type promises.
func TestFailureLimitIsBounded(t *testing.T) {
	limit, _ := newLimit(1, time.Hour)
	long := strings.Repeat("x", 60<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const keys = 3 << 16
	for i := range keys {
		key := strconv.Itoa(i)
		if i%100 == 0 {
			key = long + key
		}
		limit.Fail(key)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 24<<20 {
		t.Errorf("%d strangers' keys hold %d MiB", keys, grown>>20)
	}
	if limit.Blocked(strconv.Itoa(keys-1)) == 0 {
		t.Error("the newest key is forgotten")
	}
	limit.Fail(long + "a")
	if limit.Blocked(long+"a") == 0 || limit.Blocked(long+"b") != 0 {
		t.Error("long keys are mistaken for one another")
	}
}

// RG-08: those who come at once cannot take more than there is.
func TestFailureLimitTakeAtOnce(t *testing.T) {
	limit, clock := newLimit(20, time.Hour)
	var taken atomic.Int32
	var all sync.WaitGroup
	for range 150 {
		all.Go(func() {
			if limit.Take("a") == 0 {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if got := taken.Load(); got != 20 {
		t.Errorf("%d were let through, want 20", got)
	}
	if wait := limit.Take("a"); wait != 3600 || limit.Take("b") != 0 {
		t.Errorf("the key that is used up waits %d s, and another must not", wait)
	}
	clock.now = clock.now.Add(time.Hour)
	if limit.Take("a") != 0 {
		t.Error("after the window it is still refused")
	}
}

func TestFailureLimitAllAtOnce(t *testing.T) {
	limit, _ := newLimit(1000, time.Minute)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 125 {
				limit.Blocked("a")
				limit.Fail("a")
			}
		})
	}
	all.Wait()
	if limit.Blocked("a") == 0 {
		t.Error("failures got lost")
	}
}

func TestFailureLimitTake(t *testing.T) {
	limit, clock := newLimit(3, time.Minute)
	for range 10 { // good attempts do not count
		if wait := limit.Take("a"); wait != 0 {
			t.Fatalf("must wait %d s", wait)
		}
		limit.Give("a")
	}
	for range 3 {
		if wait := limit.Take("a"); wait != 0 {
			t.Fatalf("must wait %d s", wait)
		}
	}
	for range 3 { // what is refused counts no further
		if wait := limit.Take("a"); wait != 60 {
			t.Errorf("must wait %d s, want 60", wait)
		}
	}
	limit.Give("a")
	if wait := limit.Take("a"); wait != 0 {
		t.Errorf("one was given back, and the next must wait %d s", wait)
	}
	limit.Give("b") // nobody took it
	clock.now = clock.now.Add(time.Minute)
	if wait := limit.Take("a"); wait != 0 {
		t.Errorf("after the window it must wait %d s", wait)
	}
}

func TestFailureLimitTakenAtOnce(t *testing.T) {
	limit, _ := newLimit(7, time.Minute)
	var taken atomic.Int64
	var done sync.WaitGroup
	for range 100 {
		done.Go(func() {
			if limit.Take("a") == 0 {
				taken.Add(1)
			}
		})
	}
	done.Wait()
	if taken.Load() != 7 {
		t.Errorf("%d attempts at once, want 7", taken.Load())
	}
}
