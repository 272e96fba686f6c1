package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"grantd/server/catalog"
	"grantd/storage"
)

// database is what the catalog reads, with a count of the reads.
type database struct {
	storage.Store // the rest is not called

	mu        sync.Mutex
	version   int64
	clients   map[string]*storage.Client
	resources []*storage.Resource
	down      bool
	offset    time.Duration // of its clock
	delay     time.Duration // each way of a heartbeat
	lookups   int
	beats     int
	// entered is told of each lookup of a client, after it has read and before it
	// answers; then the lookup waits for leave. Nil: it does not.
	entered, leave chan struct{}
}

func newDatabase() *database {
	return &database{version: 1, clients: map[string]*storage.Client{"a": {ID: "cl_a", ClientID: "a", ClientName: "old"}}}
}

// change makes the client's name new, as another replica would.
func (d *database) change(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clients["a"] = &storage.Client{ID: "cl_a", ClientID: "a", ClientName: name}
	d.version++
}

func (d *database) read(is func(*storage.Client) bool) (*storage.Client, error) {
	d.mu.Lock()
	d.lookups++
	var found *storage.Client
	for _, c := range d.clients {
		if is(c) {
			found = c
		}
	}
	down := d.down
	d.mu.Unlock()
	if d.entered != nil {
		d.entered <- struct{}{}
		<-d.leave
	}
	switch {
	case down:
		return nil, storage.ErrUnavailable
	case found == nil:
		return nil, storage.ErrNotFound
	}
	return found, nil
}

func (d *database) Client(_ context.Context, id string) (*storage.Client, error) {
	return d.read(func(c *storage.Client) bool { return c.ID == id })
}

func (d *database) ClientByClientID(_ context.Context, clientID string) (*storage.Client, error) {
	return d.read(func(c *storage.Client) bool { return c.ClientID == clientID })
}

func (d *database) Resources(_ context.Context, page storage.Page) ([]*storage.Resource, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookups++
	if d.down {
		return nil, storage.ErrUnavailable
	}
	var found []*storage.Resource
	for _, r := range d.resources {
		if r.ID > page.After && len(found) < page.Limit {
			found = append(found, r)
		}
	}
	return found, nil
}

func (d *database) Heartbeat(context.Context) (int64, time.Time, error) {
	time.Sleep(d.delay)
	d.mu.Lock()
	d.beats++
	version, now, down := d.version, time.Now().Add(d.offset), d.down
	d.mu.Unlock()
	time.Sleep(d.delay)
	if down {
		return 0, time.Time{}, storage.ErrUnavailable
	}
	return version, now, nil
}

func (d *database) UpdateClient(context.Context, *storage.Client, storage.AuditEvent) error {
	d.change("written")
	return nil
}

func (d *database) DeleteClient(context.Context, string, int64, storage.AuditEvent) error {
	return storage.ErrUnavailable // who knows what has happened
}

// looker looks the client up and says by how many reads.
type looker struct {
	t *testing.T
	d *database
	c *catalog.Catalog
}

func (l looker) name(want string, wantReads int) {
	l.t.Helper()
	before := l.d.lookups
	c, err := l.c.Client(l.t.Context(), "a")
	if err != nil {
		l.t.Fatal(err)
	}
	if c.ClientName != want || l.d.lookups-before != wantReads {
		l.t.Errorf("the client is %q by %d reads, want %q by %d", c.ClientName, l.d.lookups-before, want, wantReads)
	}
}

func beat(t *testing.T, c *catalog.Catalog) {
	t.Helper()
	if err := c.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestChangeIsSeenAfterABeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		l := looker{t, d, c}
		l.name("old", 1)
		l.name("old", 1) // before the first beat nothing is remembered
		beat(t, c)
		l.name("old", 1)
		l.name("old", 0)
		if _, err := c.ClientByID(t.Context(), "cl_a"); err != nil || d.lookups != 3 {
			t.Errorf("by its other id the client is not remembered: %v, %d reads", err, d.lookups)
		}
		d.change("new")
		l.name("old", 0) // until it is heard of
		beat(t, c)
		l.name("new", 1)
		l.name("new", 0)
		beat(t, c)
		l.name("new", 0) // a beat without a change forgets nothing
	})
}

func TestStaleIsBypassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		l := looker{t, d, c}
		beat(t, c)
		l.name("old", 1)
		time.Sleep(999 * time.Millisecond)
		l.name("old", 0)
		time.Sleep(time.Millisecond)
		d.change("new")
		l.name("new", 1)
		l.name("new", 1)
		d.down = true
		if err := c.Beat(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("beat: %v", err)
		}
		if _, err := c.Client(t.Context(), "a"); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("with a stale cache and no database: %v", err)
		}
		if _, err := c.Resources(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("with a stale cache and no database: %v", err)
		}
		d.down = false
		beat(t, c)
		l.name("new", 1)
		l.name("new", 0)
	})
}

// A short outage is bridged: only after a second without a good read does a
// lookup need the database.
func TestFreshOutlivesAFailedBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		l := looker{t, d, c}
		beat(t, c)
		l.name("old", 1)
		d.down = true
		if err := c.Beat(t.Context()); err == nil {
			t.Fatal("a beat without a database succeeds")
		}
		time.Sleep(900 * time.Millisecond)
		l.name("old", 0)
	})
}

// The row was as read at some moment since it was asked for: what a slow answer
// says is that old.
func TestSlowBeatCountsFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		l := looker{t, d, c}
		d.delay = 300 * time.Millisecond
		beat(t, c)
		l.name("old", 1)
		time.Sleep(399 * time.Millisecond)
		l.name("old", 0)
		time.Sleep(time.Millisecond)
		l.name("old", 1)
	})
}

// A lookup that began before a change must not be remembered after it, however
// long it takes, nor answer those who ask after the change.
func TestNoStaleFill(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, d *database, c *catalog.Catalog){
		"another replica": func(t *testing.T, d *database, c *catalog.Catalog) {
			d.change("new")
			beat(t, c)
		},
		"this process": func(t *testing.T, d *database, c *catalog.Catalog) {
			if err := c.Writes(d).UpdateClient(t.Context(), &storage.Client{}, storage.AuditEvent{}); err != nil {
				t.Error(err)
			}
		},
		"a write that may have failed": func(_ *testing.T, d *database, c *catalog.Catalog) {
			d.change("new")
			_ = c.Writes(d).DeleteClient(context.Background(), "cl_a", storage.AnyVersion, storage.AuditEvent{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDatabase()
				c := catalog.New(d, nil)
				beat(t, c)
				d.entered, d.leave = make(chan struct{}), make(chan struct{})
				slow := make(chan string)
				look := func() {
					found, err := c.Client(t.Context(), "a")
					if err != nil {
						t.Error(err)
						slow <- ""
						return
					}
					slow <- found.ClientName
				}
				go look()
				<-d.entered // it has read the old row
				change(t, d, c)
				go look()
				<-d.entered // the second reads for itself
				d.leave <- struct{}{}
				d.leave <- struct{}{}
				if names := []string{<-slow, <-slow}; !slices.Contains(names, "old") || names[0] == names[1] {
					t.Errorf("the lookups answered %q: want the old name to who asked before the change, the new to who asked after", names)
				}
				d.entered, d.leave = nil, nil
				for range 2 {
					found, err := c.Client(t.Context(), "a")
					if err != nil || found.ClientName == "old" {
						t.Errorf("afterwards the client is %v, %v", found, err)
					}
				}
			})
		})
	}
}

func TestWhatIsAbsentIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		beat(t, c)
		if _, err := c.Client(t.Context(), "b"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%v", err)
		}
		d.clients["b"] = &storage.Client{ID: "cl_b", ClientID: "b"} // creating moves no version
		if _, err := c.Client(t.Context(), "b"); err != nil {
			t.Errorf("a client made since is not found: %v", err)
		}
		d.down = true
		if _, err := c.Client(t.Context(), "c"); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		d.down = false
		if _, err := c.Client(t.Context(), "c"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("an outage was remembered: %v", err)
		}
	})
}

func TestLookupsFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		beat(t, c)
		d.entered, d.leave = make(chan struct{}, 40), make(chan struct{})
		impatient, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := c.Client(impatient, "a"); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("who goes away gets %v", err)
			}
		})
		<-d.entered
		for range 39 {
			all.Go(func() {
				if found, err := c.Client(t.Context(), "a"); err != nil || found.ClientName != "old" {
					t.Errorf("%v, %v", found, err)
				}
			})
		}
		synctest.Wait()
		leave() // the first, whose lookup the others share
		synctest.Wait()
		close(d.leave)
		all.Wait()
		if d.lookups != 1 {
			t.Errorf("40 lookups at once made %d reads", d.lookups)
		}
	})
}

func TestClientsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		beat(t, c)
		looker{t, d, c}.name("old", 1)
		for i := range 10_000 {
			id := strconv.Itoa(i)
			d.clients = map[string]*storage.Client{id: {ID: "cl_" + id, ClientID: id}, "a": d.clients["a"]}
			if _, err := c.Client(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		looker{t, d, c}.name("old", 1) // ten thousand others have pushed it out
	})
}

func TestResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		for i := range 450 {
			d.resources = append(d.resources, &storage.Resource{ID: fmt.Sprintf("res_%04d", i)})
		}
		c := catalog.New(d, nil)
		beat(t, c)
		for range 2 {
			got, err := c.Resources(t.Context())
			if err != nil || !slices.Equal(got, d.resources) {
				t.Fatalf("%d resources, %v", len(got), err)
			}
		}
		if d.lookups != 3 {
			t.Errorf("%d reads, want 3 pages once", d.lookups)
		}
		d.mu.Lock()
		d.resources, d.version = d.resources[:1], d.version+1
		d.mu.Unlock()
		beat(t, c)
		if got, err := c.Resources(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("%d resources after the change, %v", len(got), err)
		}
		none := catalog.New(newDatabase(), nil)
		beat(t, none)
		if got, err := none.Resources(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		beat(t, c)
		calls, fails := 0, true
		c.OnChange = func(context.Context) error {
			calls++
			if fails {
				return storage.ErrUnavailable
			}
			return nil
		}
		beat(t, c)
		if calls != 0 {
			t.Error("called without a change")
		}
		d.change("new")
		if err := c.Beat(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("beat: %v", err)
		}
		fails = false
		beat(t, c)
		if calls != 2 {
			t.Errorf("called %d times, want again after it had failed", calls)
		}
		beat(t, c)
		if calls != 2 {
			t.Error("called again without a change")
		}
	})
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := catalog.New(d, nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.Run(ctx); close(done) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if d.beats != 10 {
			t.Errorf("%d beats in five seconds, want one each half second", d.beats)
		}
		l := looker{t, d, c}
		l.name("old", 1)
		d.change("new")
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		l.name("new", 1)
		stop()
		<-done
	})
}

func TestClock(t *testing.T) {
	for _, c := range []struct {
		name   string
		offset time.Duration
		delay  time.Duration // each way
		want   time.Duration
	}{
		{"agrees", 0, 0, 0},
		{"ST-09 ahead", 30 * time.Second, 10 * time.Millisecond, 30 * time.Second},
		{"ST-09 behind", -30 * time.Second, 10 * time.Millisecond, -30 * time.Second},
		{"no more than the round trip explains", 90 * time.Millisecond, 100 * time.Millisecond, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDatabase()
				d.offset, d.delay = c.offset, c.delay
				clock := new(catalog.Clock)
				if got := clock.Now(); !got.Equal(time.Now()) || got.Location() != time.UTC {
					t.Errorf("before the first beat it is %v", got)
				}
				beat(t, catalog.New(d, clock))
				if got := time.Until(clock.Now()); got != c.want {
					t.Errorf("the clock is %v off, want %v", got, c.want)
				}
			})
		})
	}
}

// The surest of the latest readings counts: one slow answer must not throw the
// clock, and a clock that was set is followed.
func TestClockChoosesTheSurestReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		clock := new(catalog.Clock)
		c := catalog.New(d, clock)
		d.offset, d.delay = 30*time.Second, time.Millisecond
		beat(t, c)
		d.offset, d.delay = 30*time.Second+150*time.Millisecond, 400*time.Millisecond
		beat(t, c)
		if got := time.Until(clock.Now()); got != 30*time.Second {
			t.Errorf("after one slow reading the clock is %v off", got)
		}
		d.offset, d.delay = -5*time.Minute, time.Millisecond
		beat(t, c)
		if got := time.Until(clock.Now()); got != -5*time.Minute {
			t.Errorf("after the database's clock was set, ours is %v off", got)
		}
		// ST-09: a clock that was set is followed at once, though the reading before
		// had the shorter round trip.
		d.offset, d.delay = time.Minute, 2*time.Millisecond
		beat(t, c)
		if got := time.Until(clock.Now()); got != time.Minute {
			t.Errorf("after a clock was set, ours is %v off", got)
		}
	})
}
