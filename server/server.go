package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"grantd/server/account"
	"grantd/server/admin"
	"grantd/server/catalog"
	"grantd/server/clientauth"
	"grantd/server/consent"
	"grantd/server/keys"
	"grantd/server/login"
	"grantd/server/metadata"
	"grantd/server/oauth"
	"grantd/server/outbound"
	"grantd/server/password"
	"grantd/server/registration"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Config is what a server is built from.
type Config struct {
	Issuer web.Issuer
	Store  storage.Store
	Root   *keys.Root
	// AdminKeys authorize the admin API, each at least 32 characters. None: every
	// request to it is refused.
	AdminKeys []string
	// AdminHosts are the host names (without port) the admin listener answers
	// to. None: any, as on a unix socket.
	AdminHosts       []string
	TrustedProxies   []netip.Prefix
	SigningAlgorithm string // one of keys.Algorithms
	// OutboundAllow are the internal addresses that documents may be fetched from.
	OutboundAllow       []outbound.Allowed
	DynamicRegistration bool
	// Now is the time. Nil: the machine's clock, corrected by its offset to the
	// database's.
	Now func() time.Time
}

// Server is grantd without its listeners.
type Server struct {
	store   storage.Store
	catalog *catalog.Catalog
	now     func() time.Time
	metrics *metrics
	public  http.Handler
	admin   http.Handler
}

// New builds a server. It reads the database, and makes the first signing key if
// there is none.
func New(ctx context.Context, c Config) (*Server, error) {
	if !slices.Contains(keys.Algorithms, c.SigningAlgorithm) {
		return nil, fmt.Errorf("unknown signing algorithm %q", c.SigningAlgorithm)
	}
	var clock *catalog.Clock
	now := c.Now
	if now == nil {
		clock = new(catalog.Clock)
		now = clock.Now
	}
	// Both databases keep microseconds: what is compared is never finer.
	s := &Server{metrics: newMetrics(), now: func() time.Time { return now().UTC().Truncate(time.Microsecond) }}
	s.catalog = catalog.New(c.Store, clock)
	s.store = s.catalog.Writes(c.Store)
	if err := s.catalog.Beat(ctx); err != nil {
		return nil, err
	}
	signing := &keys.Signing{Store: s.store, Root: c.Root, Algorithm: c.SigningAlgorithm, Now: s.now}
	if err := signing.Load(ctx); err != nil {
		return nil, err
	}
	s.catalog.OnChange = signing.Refresh

	rooms, err := s.build(c, signing)
	if err != nil {
		return nil, err
	}
	s.public = web.Guard([]string{c.Issuer.Hostname()}, s.publicRoutes(c, rooms))
	s.admin = s.adminRoutes(c, rooms)
	return s, nil
}

// Public is the handler of the public listener.
func (s *Server) Public() http.Handler { return s.public }

// Admin is the handler of the admin listener. It must never be reachable from
// the public one.
func (s *Server) Admin() http.Handler { return s.admin }

// rooms are the handlers behind the doors.
type rooms struct {
	pages        *web.Pages
	oauth        *oauth.OAuth
	login        *login.Handler
	account      *account.Handler
	metadata     *metadata.Metadata
	registration *registration.Registration // nil: off
	admin        http.Handler
}

// How many failures are too many.
const (
	clientFailures       = 20
	clientFailureWindow  = time.Minute
	registrationsPerHour = 20
)

func (s *Server) build(c Config, signing *keys.Signing) (*rooms, error) {
	set, err := templates.New()
	if err != nil {
		return nil, fmt.Errorf("parse the pages: %w", err)
	}
	pages := &web.Pages{Templates: set, Issuer: c.Issuer}
	addresses := web.Addresses{TrustedProxies: c.TrustedProxies}
	sessions := &session.Manager{Store: s.store, Sealer: c.Root, Issuer: c.Issuer, Now: s.now}
	hasher := password.NewHasher(0)
	fetcher := outbound.New(outbound.Config{Allow: c.OutboundAllow, OwnHosts: []string{c.Issuer.Host()}, Now: s.now})
	engine := oauth.New(oauth.Config{
		Issuer: c.Issuer, Store: s.store, Catalog: s.catalog, Sessions: sessions, Pages: pages, Signing: signing, Root: c.Root, Now: s.now,
		Consent: &consent.Consent{Pages: pages, Root: c.Root, Now: s.now},
		ClientAuth: &clientauth.Authenticator{
			Clients: s.catalog, Addresses: addresses, Now: s.now,
			Assertions: &clientauth.Assertions{Issuer: c.Issuer.String(), Keys: clientauth.ClientKeys{Fetcher: fetcher, Now: s.now}, Used: s.store, Now: s.now},
			Failures:   &web.FailureLimit{Failures: clientFailures, Window: clientFailureWindow, Now: s.now},
		},
	})
	documents, err := metadata.New(c.Issuer, metadata.Features{
		DynamicRegistration: c.DynamicRegistration, SigningAlgorithm: c.SigningAlgorithm, AssertionAlgorithms: clientauth.AssertionAlgorithms(),
	}, signing.JWKS)
	if err != nil {
		return nil, err
	}
	r := &rooms{
		pages: pages, oauth: engine, metadata: documents,
		login: login.New(login.Config{
			Pages: pages, Store: s.store, Sessions: sessions, Hasher: hasher, Addresses: addresses, Now: s.now,
			Purpose: func(ctx context.Context, rawQuery string) login.Purpose {
				client, host, resource := engine.Purpose(ctx, rawQuery)
				if client == nil {
					return login.Purpose{}
				}
				return login.Purpose{ClientName: client.ClientName, ClientHost: host, ResourceName: resource, Verified: !client.SelfAsserted()}
			},
		}),
		account: &account.Handler{Pages: pages, Sessions: sessions},
		admin: admin.New(admin.Config{
			Store: s.store, HashPassword: hasher.Hash, Keys: c.AdminKeys, Hosts: c.AdminHosts, CheckURL: fetcher.Check, Now: s.now,
		}),
	}
	if c.DynamicRegistration {
		r.registration = &registration.Registration{
			Store: s.store, Addresses: addresses, Now: s.now,
			Limit: &web.FailureLimit{Failures: registrationsPerHour, Window: time.Hour, Now: s.now},
		}
	}
	return r, nil
}

const (
	sweepInterval = time.Minute
	// sweepBatch is small enough that a request which meets it hardly notices.
	sweepBatch = 500
)

// Run does what goes on beside the requests, until ctx ends: it follows the
// version row and sweeps away what nothing needs any more.
func (s *Server) Run(ctx context.Context) error {
	go s.catalog.Run(ctx)
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.sweep(ctx)
		}
	}
}

// ready reports whether the database answers.
func (s *Server) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _, err := s.store.Heartbeat(ctx)
	return err == nil
}

// sweep rests after each batch for as long as that took, so that requests have the
// database to themselves for half of the time.
func (s *Server) sweep(ctx context.Context) {
	for {
		began := time.Now()
		removed, err := s.store.Sweep(ctx, s.now(), registration.UnusedLifetime, sweepBatch)
		if err != nil && !errors.Is(err, context.Canceled) {
			logSweepError(ctx, err)
		}
		if err != nil || removed < sweepBatch {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Since(began)):
		}
	}
}
