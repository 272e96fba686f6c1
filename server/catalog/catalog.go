// Package catalog remembers what nearly every request reads and hardly anything
// writes: Clients, Resources, Policies, Providers, AdminKeys, and the RegistrationPolicy with the decisions on
// single clients. It follows the database's one version row, so
// that a change made on any replica is seen here within the interval of the
// heartbeat; without a good read of that row for staleAfter it remembers nothing
// and every lookup goes to the database.
//
// The same heartbeat compares the machine's clock with the database's.
package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"grantd/storage"
)

const (
	heartbeatInterval = 500 * time.Millisecond
	staleAfter        = time.Second
	// maxClients bounds the memory of the cache; beyond it the cache starts anew.
	maxClients = 10_000
	// unseen is a version that no row has.
	unseen = -1
	// listPage is how many Resources or Policies are read at a time.
	listPage = 200
)

// Store is what the catalog reads.
type Store interface {
	Client(ctx context.Context, id string) (*storage.Client, error)
	ClientByClientID(ctx context.Context, clientID string) (*storage.Client, error)
	Clients(ctx context.Context, filter storage.ClientFilter, page storage.Page) ([]*storage.Client, error)
	Resources(ctx context.Context, page storage.Page) ([]*storage.Resource, error)
	Policies(ctx context.Context, page storage.Page) ([]*storage.Policy, error)
	RegistrationPolicy(ctx context.Context) (*storage.RegistrationPolicy, error)
	SignInPolicy(ctx context.Context) (*storage.SignInPolicy, error)
	RegistrationRequestOf(ctx context.Context, clientID, userID string) (*storage.RegistrationRequest, bool, error)
	Providers(ctx context.Context, page storage.Page) ([]*storage.Provider, error)
	AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error)
	Heartbeat(ctx context.Context) (version int64, databaseTime time.Time, err error)
}

// Catalog is safe for concurrent use. What it returns is shared: callers must
// not change it.
type Catalog struct {
	store Store
	clock *Clock
	// OnChange is called after the catalog changed, with nothing cached from
	// before. It may be nil; set it before Run.
	OnChange func(ctx context.Context) error

	mu       sync.RWMutex
	version  int64
	epoch    uint64    // grows whenever everything is forgotten
	goodAt   time.Time // of the last good read of the version row, monotonic
	byID     map[string]*storage.Client
	byName   map[string]*storage.Client
	trusted  list[*storage.Client] // registered by an admin
	all      list[*storage.Resource]
	rules    list[*storage.Policy]
	idps     list[*storage.Provider]
	policy   *storage.RegistrationPolicy
	signIn   *storage.SignInPolicy
	requests map[string]*storage.RegistrationRequest // by client_id; nil: there is none
	admins   map[string]*storage.AdminKey            // by hash
	fetching singleflight.Group

	hits, misses atomic.Int64 // lookups of Clients and Resources
}

// Lookups returns how many lookups of Clients and Resources were answered from
// memory, and how many were not.
func (c *Catalog) Lookups() (hits, misses int64) { return c.hits.Load(), c.misses.Load() }

// New returns a catalog that remembers nothing until Beat or Run has read the
// version row. clock may be nil.
func New(store Store, clock *Clock) *Catalog {
	c := &Catalog{store: store, clock: clock}
	c.forget()
	return c
}

// Run follows the version row until ctx ends.
func (c *Catalog) Run(ctx context.Context) {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := c.Beat(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			slog.WarnContext(ctx, "the version row cannot be read; caches are bypassed until it can", "error", err.Error())
		case err == nil && failing:
			slog.InfoContext(ctx, "the version row can be read again")
		}
		failing = err != nil
	}
}

// Beat reads the version row once, forgets everything if it has moved, and
// measures the clock. Errors are storage.ErrUnavailable.
func (c *Catalog) Beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, staleAfter)
	defer cancel()
	asked := time.Now()
	version, databaseTime, err := c.store.Heartbeat(ctx)
	if err != nil {
		return fmt.Errorf("read the version row: %w", err)
	}
	answered := time.Now()
	if c.clock != nil {
		c.clock.observe(databaseTime, asked, answered)
	}
	c.mu.Lock()
	changed := version != c.version
	if changed {
		c.version = version
		c.forget()
	}
	// The row was as read at some moment since it was asked for.
	c.goodAt = asked
	c.mu.Unlock()
	if !changed || c.OnChange == nil {
		return nil
	}
	if err := c.OnChange(ctx); err != nil {
		c.mu.Lock()
		c.version = unseen // so that the next beat tries again
		c.mu.Unlock()
		return err
	}
	return nil
}

// Forget drops everything remembered, after a change made by this process.
func (c *Catalog) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

func (c *Catalog) forget() {
	c.epoch++
	c.byID = make(map[string]*storage.Client)
	c.byName = make(map[string]*storage.Client)
	c.trusted = list[*storage.Client]{}
	c.all, c.rules, c.idps = list[*storage.Resource]{}, list[*storage.Policy]{}, list[*storage.Provider]{}
	c.policy = nil
	c.signIn = nil
	c.admins = make(map[string]*storage.AdminKey)
	c.requests = make(map[string]*storage.RegistrationRequest)
}

func (c *Catalog) fresh() bool { return time.Since(c.goodAt) < staleAfter }

// Client returns the client with this OAuth client_id. storage.ErrNotFound.
func (c *Catalog) Client(ctx context.Context, clientID string) (*storage.Client, error) {
	return c.client(ctx, "name "+clientID, func() *storage.Client { return c.byName[clientID] },
		func(ctx context.Context) (*storage.Client, error) { return c.store.ClientByClientID(ctx, clientID) })
}

// ClientByID returns the client with this opaque id. storage.ErrNotFound.
func (c *Catalog) ClientByID(ctx context.Context, id string) (*storage.Client, error) {
	return c.client(ctx, "id "+id, func() *storage.Client { return c.byID[id] },
		func(ctx context.Context) (*storage.Client, error) { return c.store.Client(ctx, id) })
}

func (c *Catalog) client(ctx context.Context, key string, remembered func() *storage.Client, read func(context.Context) (*storage.Client, error)) (*storage.Client, error) {
	c.mu.RLock()
	client, fresh, epoch := remembered(), c.fresh(), c.epoch
	c.mu.RUnlock()
	if client != nil && fresh {
		c.hits.Add(1)
		return client, nil
	}
	c.misses.Add(1)
	found, err := c.once(ctx, fmt.Sprint(epoch, " client ", key), func(ctx context.Context) (any, error) { return read(ctx) })
	if err != nil {
		return nil, err
	}
	client = found.(*storage.Client)
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was read before the last change may be from before it.
	if c.epoch == epoch {
		if len(c.byID) >= maxClients {
			clear(c.byID)
			clear(c.byName)
		}
		c.byID[client.ID] = client
		c.byName[client.ClientID] = client
	}
	return client, nil
}

// Resources returns all Resources, oldest first.
func (c *Catalog) Resources(ctx context.Context) ([]*storage.Resource, error) {
	return whole(ctx, c, "resources", &c.all, c.store.Resources, func(r *storage.Resource) string { return r.ID })
}

// RegisteredClients returns all Clients that an admin registered, oldest first.
func (c *Catalog) RegisteredClients(ctx context.Context) ([]*storage.Client, error) {
	return whole(ctx, c, "registered clients", &c.trusted, func(ctx context.Context, page storage.Page) ([]*storage.Client, error) {
		return c.store.Clients(ctx, storage.ClientFilter{Source: storage.SourceRegistered}, page)
	}, func(r *storage.Client) string { return r.ID })
}

// Policies returns all Policies, in the order in which they are asked.
func (c *Catalog) Policies(ctx context.Context) ([]*storage.Policy, error) {
	return whole(ctx, c, "policies", &c.rules, c.store.Policies, func(p *storage.Policy) string { return p.ID })
}

// list is all there is of something, if it is known.
type list[T any] struct {
	items []T
	known bool
}

// whole returns what is in the list, or reads it page by page.
func whole[T any](ctx context.Context, c *Catalog, name string, cached *list[T], read func(context.Context, storage.Page) ([]T, error), id func(T) string) ([]T, error) {
	c.mu.RLock()
	all, usable, epoch := cached.items, cached.known && c.fresh(), c.epoch
	c.mu.RUnlock()
	if usable {
		c.hits.Add(1)
		return all, nil
	}
	c.misses.Add(1)
	found, err := c.once(ctx, fmt.Sprint(epoch, " ", name), func(ctx context.Context) (any, error) {
		var all []T
		for page := (storage.Page{Limit: listPage}); ; page.After = id(all[len(all)-1]) {
			some, err := read(ctx, page)
			if err != nil {
				return nil, err
			}
			if all = append(all, some...); len(some) < page.Limit {
				return all, nil
			}
		}
	})
	if err != nil {
		return nil, err
	}
	all = found.([]T)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		*cached = list[T]{items: all, known: true}
	}
	return all, nil
}

// once folds lookups of one thing that happen at once into one. One caller who
// goes away must not fail the others, so the lookup has its own deadline.
func (c *Catalog) once(ctx context.Context, key string, read func(context.Context) (any, error)) (any, error) {
	answer := c.fetching.DoChan(key, func() (found any, err error) {
		// The lookup has a goroutine of its own, where nobody else would recover a
		// panic.
		defer func() {
			if cause := recover(); cause != nil {
				err = fmt.Errorf("panic in a lookup: %v\n%s", cause, debug.Stack())
			}
		}()
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		return read(shared)
	})
	select {
	case result := <-answer:
		return result.Val, result.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
	}
}

// lookupTimeout bounds a folded lookup.
const lookupTimeout = 5 * time.Second
