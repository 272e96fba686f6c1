package web

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// FailureLimit counts failures per key in windows that begin with the first one,
// and says when a key has had too many. Honest traffic never counts. It lives in
// memory, per replica, and holds a bounded number of keys.
type FailureLimit struct {
	Failures int           // how many are allowed
	Window   time.Duration // in this time
	Now      func() time.Time

	failed atomic.Bool // anybody ever: until then there is nothing to look for
	mu     sync.Mutex
	keys   map[limitKey]*failures
}

// limitKey stands for a key, which a stranger chose and may have made as long as
// a request.
type limitKey [sha256.Size]byte

func keyOf(key string) limitKey { return sha256.Sum256([]byte(key)) }

type failures struct {
	count int
	since time.Time
}

// maxLimitKeys bounds the memory of one limit to a few megabytes.
const maxLimitKeys = 1 << 16

// Blocked returns how long the key must wait, rounded up to whole seconds; 0
// means that it may go on.
func (l *FailureLimit) Blocked(key string) (retryAfterSeconds int) {
	if !l.failed.Load() {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocked(keyOf(key))
}

func (l *FailureLimit) blocked(id limitKey) (retryAfterSeconds int) {
	f := l.keys[id]
	if f == nil || f.count < l.Failures {
		return 0
	}
	left := f.since.Add(l.Window).Sub(l.Now())
	if left <= 0 {
		delete(l.keys, id)
		return 0
	}
	return int((left + time.Second - 1) / time.Second)
}

// Fail counts one failure of the key.
func (l *FailureLimit) Fail(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(keyOf(key))
}

func (l *FailureLimit) fail(id limitKey) {
	now := l.Now()
	l.failed.Store(true)
	if l.keys == nil {
		l.keys = make(map[limitKey]*failures)
	}
	f := l.keys[id]
	if f == nil || !now.Before(f.since.Add(l.Window)) {
		if f == nil && len(l.keys) >= maxLimitKeys {
			l.forget(now)
		}
		l.keys[id] = &failures{count: 1, since: now}
		return
	}
	f.count++
}

// Take is Blocked and Fail in one: it counts one use of the key if it may go on,
// and returns 0; else it counts nothing and returns how long to wait, in whole
// seconds. Callers that come at once cannot take more than there is.
func (l *FailureLimit) Take(key string) (retryAfterSeconds int) {
	id := keyOf(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := l.blocked(id); wait > 0 {
		return wait
	}
	l.fail(id)
	return 0
}

// Give takes back one failure of the key that Take counted: the attempt was good.
func (l *FailureLimit) Give(key string) {
	id := keyOf(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.keys[id]; f != nil && f.count > 0 {
		f.count--
	}
}

// Forgive forgets the key's failures.
func (l *FailureLimit) Forgive(key string) {
	id := keyOf(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, id)
}

// forget makes room: it drops what has lapsed, and if that is too little, a part
// of the rest.
func (l *FailureLimit) forget(now time.Time) {
	for key, f := range l.keys {
		if !now.Before(f.since.Add(l.Window)) {
			delete(l.keys, key)
		}
	}
	for key := range l.keys {
		if len(l.keys) < maxLimitKeys*3/4 {
			return
		}
		delete(l.keys, key)
	}
}
