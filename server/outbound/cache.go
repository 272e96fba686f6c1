package outbound

import (
	"container/list"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// freshness is how long a response is good: what its headers ask for (RFC 9111
// §4.2, §5.2.2), between kind's floor and ceiling. What forbids caching gets the
// floor: it must not make grantd ask at every request of a stranger.
func freshness(header http.Header, kind Kind, now time.Time) time.Duration {
	return min(max(asked(header, now), kind.MinFresh), kind.MaxFresh)
}

// asked is the lifetime that the headers ask for, 0 if none.
func asked(header http.Header, now time.Time) time.Duration {
	age, _ := seconds(header.Get("Age")) // spent in caches on the way
	lifetime, found := time.Duration(0), false
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			maxAge, ok := seconds(strings.Trim(value, `"`))
			if !ok {
				return 0
			}
			if !found || maxAge < lifetime {
				lifetime, found = maxAge, true
			}
		}
	}
	if found {
		return lifetime - age
	}
	expires, err := http.ParseTime(header.Get("Expires"))
	if err != nil {
		return 0
	}
	// By the host's own clock, if it tells.
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		date = now
	}
	return max(expires.Sub(date), 0) - age
}

// seconds reads a delta-seconds (RFC 9111 §1.2.2); too many are as many as one likes.
func seconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

// lru is a map that forgets what was not used for longest, to stay within bounds.
type lru[V any] struct {
	maxEntries, maxBytes int
	bytes                int
	order                *list.List // of *item[V], the last used first
	items                map[string]*list.Element
}

type item[V any] struct {
	key   string
	value V
	size  int // in bytes
}

func newLRU[V any](maxEntries, maxBytes int) *lru[V] {
	return &lru[V]{maxEntries: maxEntries, maxBytes: maxBytes, order: list.New(), items: map[string]*list.Element{}}
}

func (l *lru[V]) get(key string) (value V, ok bool) {
	element, ok := l.items[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(element)
	return element.Value.(*item[V]).value, true
}

func (l *lru[V]) put(key string, value V, size int) {
	l.remove(key)
	l.items[key] = l.order.PushFront(&item[V]{key, value, size})
	l.bytes += size
	for len(l.items) > l.maxEntries || l.bytes > l.maxBytes {
		l.remove(l.order.Back().Value.(*item[V]).key)
	}
}

func (l *lru[V]) remove(key string) {
	element, ok := l.items[key]
	if !ok {
		return
	}
	l.bytes -= element.Value.(*item[V]).size
	l.order.Remove(element)
	delete(l.items, key)
}

// bucket holds the fetches that a host still gets; it fills up in a minute.
type bucket struct {
	fetches float64
	at      time.Time
}

const refill = time.Minute / HostFetches // one fetch

func newBucket(now time.Time) bucket { return bucket{fetches: HostFetches, at: now} }

// take takes one fetch, or returns how long to wait for the next.
func (b *bucket) take(now time.Time) time.Duration {
	gained := float64(max(now.Sub(b.at), 0)) / float64(refill)
	b.fetches, b.at = min(b.fetches+gained, HostFetches), now
	if b.fetches < 1 {
		return time.Duration((1 - b.fetches) * float64(refill))
	}
	b.fetches--
	return 0
}
