package outbound_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grantd/server/outbound"
)

// CM-23: what the host's headers ask for, between a minute and a day.
func TestCM23Freshness(t *testing.T) {
	t.Parallel()
	const stamp = "Sun, 01 Mar 2026 12:00:00 GMT" // the clock's
	for _, c := range []struct {
		name   string
		header map[string]string
		want   time.Duration
	}{
		{"nothing", nil, time.Minute},
		{"max-age", map[string]string{"Cache-Control": "max-age=3600"}, time.Hour},
		{"quoted, among others", map[string]string{"Cache-Control": `public , Max-Age="3600",must-revalidate`}, time.Hour},
		{"no age", map[string]string{"Cache-Control": "max-age=0"}, time.Minute},
		{"just above the floor", map[string]string{"Cache-Control": "max-age=61"}, 61 * time.Second},
		{"just below the ceiling", map[string]string{"Cache-Control": "max-age=86399"}, 24*time.Hour - time.Second},
		{"ten years", map[string]string{"Cache-Control": "max-age=315360000"}, 24 * time.Hour},
		{"more than a number holds", map[string]string{"Cache-Control": "max-age=99999999999999999999999"}, 24 * time.Hour},
		{"negative", map[string]string{"Cache-Control": "max-age=-1"}, time.Minute},
		{"no number", map[string]string{"Cache-Control": "max-age=1h"}, time.Minute},
		{"two ages", map[string]string{"Cache-Control": "max-age=7200, max-age=3600"}, time.Hour},
		{"no-store", map[string]string{"Cache-Control": "max-age=3600, no-store"}, time.Minute},
		{"no-cache", map[string]string{"Cache-Control": "No-Cache, max-age=3600"}, time.Minute},
		{"age in caches", map[string]string{"Cache-Control": "max-age=3600", "Age": "600"}, 50 * time.Minute},
		{"older than its age", map[string]string{"Cache-Control": "max-age=3600", "Age": "7200"}, time.Minute},
		{"expires", map[string]string{"Expires": "Sun, 01 Mar 2026 13:00:00 GMT", "Date": stamp}, time.Hour},
		{"expires by the host's own clock", map[string]string{"Expires": "Sun, 01 Mar 2020 13:00:00 GMT", "Date": "Sun, 01 Mar 2020 12:00:00 GMT"}, time.Hour},
		{"expires by our clock", map[string]string{"Expires": "Sun, 01 Mar 2026 13:00:00 GMT", "Date": "today"}, time.Hour},
		{"expired", map[string]string{"Expires": "Sun, 01 Mar 2026 11:00:00 GMT", "Date": stamp}, time.Minute},
		{"expired before time was", map[string]string{"Expires": "Mon, 01 Jan 0001 00:00:00 GMT", "Date": stamp, "Age": "2147483647"}, time.Minute},
		{"expires at the end of time", map[string]string{"Expires": "Fri, 31 Dec 9999 00:00:00 GMT", "Date": stamp}, 24 * time.Hour},
		{"expires: 0", map[string]string{"Expires": "0", "Date": stamp}, time.Minute},
		{"max-age before expires", map[string]string{"Cache-Control": "max-age=3600", "Expires": "0", "Date": stamp}, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				for name, value := range c.header {
					rw.Header().Set(name, value)
				}
				serveDocument(rw, r)
			})
			f := outbound.New(w.config)
			d := get(t, f, w.url("a", "/"))
			if got := d.FreshUntil.Sub(d.FetchedAt); got != c.want {
				t.Fatalf("fresh for %s, want %s", got, c.want)
			}
			w.clock.wait(c.want - 1)
			get(t, f, w.url("a", "/"))
			w.wantRequests(t, 1)
			w.clock.wait(1)
			if again := get(t, f, w.url("a", "/")); !again.FetchedAt.Equal(w.clock.now) {
				t.Errorf("fetched at %s", again.FetchedAt)
			}
			w.wantRequests(t, 2)
		})
	}
}

// A failure is remembered for at most a minute, and never takes a document's place.
func TestCM23Failures(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if down.Load() {
			rw.Header().Set("Cache-Control", "max-age=3600")
			http.Error(rw, document, http.StatusNotFound)
			return
		}
		serveDocument(rw, r)
	})
	f := outbound.New(w.config)
	url := w.url("a", "/")

	down.Store(true)
	wantError(t, f, url, outbound.MetadataDocument, outbound.ErrFetch)
	if _, ok := f.Cached(url, outbound.MetadataDocument); ok {
		t.Error("a failure is cached as a document")
	}
	down.Store(false)
	for range 100 {
		wantError(t, f, url, outbound.MetadataDocument, outbound.ErrFetch)
	}
	w.wantRequests(t, 1)
	w.clock.wait(time.Minute)
	fetched := get(t, f, url)
	w.wantRequests(t, 2)

	// The host goes down: the copy is there for those who want it.
	down.Store(true)
	w.clock.wait(time.Hour)
	wantError(t, f, url, outbound.MetadataDocument, outbound.ErrFetch)
	stale, ok := f.Cached(url, outbound.MetadataDocument)
	if !ok || string(stale.Body) != document || !stale.FetchedAt.Equal(fetched.FetchedAt) || !stale.FreshUntil.Before(w.clock.now) {
		t.Errorf("the copy at hand: %+v, %t", stale, ok)
	}
	// And up again.
	down.Store(false)
	w.clock.wait(time.Minute)
	get(t, f, url)
	w.wantRequests(t, 4)
}

func TestRefusalIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serveDocument)
	w.config.Allow = nil
	f := outbound.New(w.config)
	for range 100 { // more than a host's fetches
		wantError(t, f, w.url("a", "/"), outbound.MetadataDocument, outbound.ErrRefused)
	}
}

// What the kind's Valid refuses is no document, and a panic in it ends one fetch only.
func TestCM23InvalidDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serveDocument)
	f := outbound.New(w.config)
	kind := outbound.MetadataDocument
	verdict := errors.New("client_name is missing")
	kind.Valid = func(url string, body []byte) error {
		switch {
		case url != w.url("a", "/") || string(body) != document:
			t.Errorf("asked about %s at %s", body, url)
		case verdict == nil:
			panic("more than it can take")
		}
		return verdict
	}
	got := wantError(t, f, w.url("a", "/"), kind, outbound.ErrFetch)
	if got != "invalid document: client_name is missing" {
		t.Errorf("reason %q", got)
	}
	if _, ok := f.Cached(w.url("a", "/"), kind); ok {
		t.Error("an invalid document is cached")
	}
	wantError(t, f, w.url("a", "/"), kind, outbound.ErrFetch)
	w.wantRequests(t, 1)

	w.clock.wait(time.Minute)
	verdict = nil
	wantError(t, f, w.url("a", "/"), kind, outbound.ErrFetch)
	w.wantRequests(t, 2)
}

func TestCopiesAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serveDocument)
	f := outbound.New(w.config)
	for range 2 {
		d := get(t, f, w.url("a", "/"))
		clear(d.Body)
		cached, _ := f.Cached(w.url("a", "/"), outbound.MetadataDocument)
		if string(cached.Body) != document {
			t.Fatal("a caller changed the cache")
		}
		clear(cached.Body)
	}
	if d := get(t, f, w.url("a", "/")); string(d.Body) != document {
		t.Error("a caller changed the cache")
	}
}

func TestKindsAreCachedApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "max-age=86400")
		serveDocument(rw, r)
	})
	f := outbound.New(w.config)
	get(t, f, w.url("a", "/"))
	if _, ok := f.Cached(w.url("a", "/"), outbound.JWKS); ok {
		t.Error("a metadata document is taken for a key set")
	}
	d, err := f.Get(t.Context(), w.url("a", "/"), outbound.JWKS)
	if err != nil {
		t.Fatal(reason(err))
	}
	w.wantRequests(t, 2)
	if got := d.FreshUntil.Sub(d.FetchedAt); got != outbound.JWKS.MaxFresh {
		t.Errorf("fresh for %s", got)
	}
}

// TK-19, TK-23: a new key is found before the copy expires, but nobody can ask more
// often than each minute.
func TestTK23Renew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "max-age=3600")
		serveDocument(rw, r)
	})
	f := outbound.New(w.config)
	renew := func() {
		t.Helper()
		if _, err := f.Renew(t.Context(), w.url("a", "/"), outbound.JWKS); err != nil {
			t.Fatal(reason(err))
		}
	}
	renew()
	w.wantRequests(t, 1)
	w.clock.wait(time.Minute - 1)
	renew()
	w.wantRequests(t, 1)
	w.clock.wait(1)
	for range 50 {
		renew()
	}
	w.wantRequests(t, 2)
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 1000)
	for _, c := range []struct {
		name           string
		entries, bytes int
		kept           map[string]bool
	}{
		{"by number", 2, 0, map[string]bool{"/1": true, "/2": false, "/3": true}},
		{"by bytes", 0, 2500, map[string]bool{"/1": true, "/2": false, "/3": true}},
		{"less than one", 0, 500, map[string]bool{"/1": false, "/2": false, "/3": false}},
		{"enough", 3, 5000, map[string]bool{"/1": true, "/2": true, "/3": true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(rw, `{"a":"`+big+`"}`)
			})
			w.config.CacheEntries, w.config.CacheBytes = c.entries, c.bytes
			f := outbound.New(w.config)
			for _, path := range []string{"/1", "/2", "/1", "/3"} { // so that /2 was not used for longest
				get(t, f, w.url("a", path))
			}
			for path, want := range c.kept {
				if _, ok := f.Cached(w.url("a", path), outbound.MetadataDocument); ok != want {
					t.Errorf("%s kept: %t", path, ok)
				}
			}
		})
	}
}

// Failing URLs, which cost a stranger nothing, push no documents out.
func TestFailuresKeepDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(rw, r)
			return
		}
		serveDocument(rw, r)
	})
	w.config.CacheEntries = 1
	f := outbound.New(w.config)
	get(t, f, w.url("a", "/"))
	for i := range 20 {
		wantError(t, f, w.url("a", "/"+strconv.Itoa(i)), outbound.MetadataDocument, outbound.ErrFetch)
	}
	if _, ok := f.Cached(w.url("a", "/"), outbound.MetadataDocument); !ok {
		t.Error("the document is gone")
	}
}

// CM-21: 1,000 requests for one URL are one fetch.
func TestCM21SingleFlight(t *testing.T) {
	t.Parallel()
	const callers = 1000
	entered, leave := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
		serveDocument(rw, r)
	})
	f := outbound.New(w.config)
	outcomes := make(chan error, callers)
	ask := func() {
		_, err := f.Get(t.Context(), w.url("a", "/"), outbound.MetadataDocument)
		outcomes <- err
	}
	go ask()
	<-entered
	// Each caller looks at the clock once, when it looks for a copy; from then on it
	// has joined the fetch under way, which cannot end before.
	joined := make(chan struct{}, callers)
	w.clock.mu.Lock()
	w.clock.tick = joined
	w.clock.mu.Unlock()
	for range callers - 1 {
		go ask()
	}
	for range callers - 1 {
		<-joined
	}
	w.clock.mu.Lock()
	w.clock.tick = nil
	w.clock.mu.Unlock()
	close(leave)
	for range callers {
		if err := <-outcomes; err != nil {
			t.Fatal(reason(err))
		}
	}
	w.wantRequests(t, 1)
	w.knocks.want(t, w.at)
}

// CM-21: no more than 32 sockets, and they are free again afterwards.
func TestCM21Sockets(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}, outbound.MaxSockets), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
		if r.URL.Path == "/fails" {
			http.NotFound(rw, r)
			return
		}
		serveDocument(rw, r)
	})
	w.config.Timeout = time.Minute // of a busy machine
	f := outbound.New(w.config)
	var asking sync.WaitGroup
	for i := range outbound.MaxSockets {
		asking.Go(func() {
			path := "/"
			if i%2 == 0 {
				path = "/fails"
			}
			_, err := f.Get(context.Background(), w.url("h"+strconv.Itoa(i), path), outbound.MetadataDocument)
			if (err == nil) != (path == "/") {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	for range outbound.MaxSockets {
		<-entered
	}
	_, err := f.Get(t.Context(), w.url("more", "/"), outbound.MetadataDocument)
	wantBusy(t, err)
	if got := len(w.knocks.all); got != outbound.MaxSockets {
		t.Errorf("%d connections", got)
	}
	close(leave)
	asking.Wait()
	get(t, f, w.url("more", "/")) // a limit is no failure, and is not remembered
}

// CM-21: one host gets 30 fetches in a minute, by whatever URLs.
func TestCM21FetchesOfOneHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "7") {
			http.NotFound(rw, r)
			return
		}
		serveDocument(rw, r)
	})
	f := outbound.New(w.config)
	fetch := func(name string, i int) error {
		_, err := f.Get(t.Context(), w.url(name, "/"+strconv.Itoa(i)), outbound.MetadataDocument)
		return err
	}
	for i := range 30 {
		if err := fetch("a", i); errors.Is(err, outbound.ErrBusy) {
			t.Fatalf("fetch %d: %s", i, reason(err))
		}
	}
	wait := wantBusy(t, fetch("a", 30))
	wantBusy(t, fetch("A", 31)) // the same host
	w.wantRequests(t, 30)
	if err := fetch("a", 1); err != nil {
		t.Errorf("a copy at hand: %s", reason(err))
	}
	if err := fetch("b", 30); err != nil {
		t.Errorf("another host: %s", reason(err))
	}
	w.clock.wait(wait)
	if err := fetch("a", 30); err != nil {
		t.Errorf("after %s: %s", wait, reason(err))
	}
	wantBusy(t, fetch("a", 31))
	w.clock.wait(time.Hour)
	for i := range 30 { // and no more than 30 ever come together
		if err := fetch("a", 100+i); errors.Is(err, outbound.ErrBusy) {
			t.Fatalf("fetch %d after an hour: %s", i, reason(err))
		}
	}
	wantBusy(t, fetch("a", 131))
}

// wantBusy returns for how long.
func wantBusy(t *testing.T, err error) time.Duration {
	t.Helper()
	wantKind(t, err, outbound.ErrBusy)
	e, ok := errors.AsType[*outbound.Error](err)
	if !ok || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
		t.Fatalf("retry after %v", e)
	}
	return e.RetryAfter
}
