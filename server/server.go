package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"grantd/server/account"
	"grantd/server/admin"
	"grantd/server/audit"
	"grantd/server/catalog"
	"grantd/server/clientauth"
	"grantd/server/consent"
	"grantd/server/factor"
	"grantd/server/keys"
	"grantd/server/login"
	"grantd/server/mail"
	"grantd/server/metadata"
	"grantd/server/notice"
	"grantd/server/oauth"
	"grantd/server/outbound"
	"grantd/server/password"
	"grantd/server/profiles"
	"grantd/server/registration"
	"grantd/server/session"
	"grantd/server/tracing"
	"grantd/server/upstream"
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
	// KeyRotation is how long a signing key signs. Zero: until an admin rotates.
	KeyRotation time.Duration
	// AuditRetention is how long audit events are kept. Zero: for ever.
	AuditRetention time.Duration
	// SealEvery is how often the audit events are sealed. Zero: audit.SealInterval.
	SealEvery time.Duration
	// Listeners are the addresses that the process listens on, which no document is
	// fetched from.
	Listeners []string
	// OutboundAllow are the internal addresses that documents may be fetched from.
	OutboundAllow []outbound.Allowed
	// OutboundRoots are the authorities that documents' hosts have their
	// certificates from; nil: the system's. OutboundProxy, if not nil, is the egress
	// proxy that documents are fetched through; see outbound.Config.
	OutboundRoots *x509.CertPool
	OutboundProxy *url.URL
	// OutboundResolver finds the addresses of documents' hosts; nil: the system's.
	OutboundResolver outbound.Resolver
	// Tracer traces requests; nil: nobody does.
	Tracer *tracing.Tracer
	// Mail sends links and notices to people. Nil: links are only shown, and nobody is
	// told.
	Mail *mail.Sender
	// Templates are the pages, in the looks of the organisation. Nil: as grantd comes.
	Templates *templates.Set
	// Now is the time. Nil: the machine's clock, corrected by its offset to the
	// database's.
	Now func() time.Time
}

// Server is grantd without its listeners.
type Server struct {
	store   storage.Store
	catalog *catalog.Catalog
	signing *keys.Signing
	audit   *audit.Chain
	// notices tells people by mail what is done to their accounts; nil: nobody does.
	notices *notice.Notices
	// sealEvery is how often audit seals.
	sealEvery time.Duration
	now       func() time.Time
	metrics   *metrics
	usage     usage
	issuer    web.Issuer
	// documents finds clients that describe themselves.
	documents *registration.Documents
	public    http.Handler
	admin     http.Handler
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
	s := &Server{issuer: c.Issuer, metrics: newMetrics(c.Tracer), now: func() time.Time { return now().UTC().Truncate(time.Microsecond) }}
	s.catalog = catalog.New(c.Store, clock)
	s.store = s.catalog.Writes(c.Store)
	if err := s.catalog.Beat(ctx); err != nil {
		return nil, err
	}
	s.signing = &keys.Signing{Store: s.store, Root: c.Root, Algorithm: c.SigningAlgorithm, RotateEvery: c.KeyRotation, Now: s.now}
	if err := s.signing.Load(ctx); err != nil {
		return nil, err
	}

	s.metrics.watch(s.store.Pool, s.catalog.Lookups, s.signing.Verified)
	s.audit = &audit.Chain{Store: s.store, Root: c.Root, Retention: c.AuditRetention, Now: s.now}
	if s.sealEvery = c.SealEvery; s.sealEvery <= 0 {
		s.sealEvery = audit.SealInterval
	}

	rooms, err := s.build(c, s.signing)
	if err != nil {
		return nil, err
	}
	if err := rooms.upstream.Reseal(ctx); err != nil {
		return nil, err
	}
	advertise := func(ctx context.Context) error {
		policy, err := s.catalog.RegistrationPolicy(ctx)
		if err != nil {
			return err
		}
		return rooms.metadata.Registration(
			// Clients in general have no initial access token to try it with.
			policy.Dynamic == storage.RegistrationAllow || policy.Dynamic == storage.RegistrationAskAdmin,
			policy.MetadataDocuments != storage.RegistrationOff)
	}
	if err := advertise(ctx); err != nil {
		return nil, err
	}
	s.catalog.OnChange = func(ctx context.Context) error { return errors.Join(s.signing.Refresh(ctx), advertise(ctx)) }
	addresses := web.Addresses{TrustedProxies: c.TrustedProxies}
	s.public = web.Guard([]string{c.Issuer.Hostname()}, addresses.Remember(s.publicRoutes(c, rooms)))
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
	upstream     *upstream.Upstream
	account      *account.Handler
	metadata     *metadata.Metadata
	registration *registration.Registration
	admin        http.Handler
}

// How many failures are too many.
const (
	clientFailures               = 20
	clientFailureWindow          = time.Minute
	pushesPerMinute              = 60
	registrationsPerHour         = 20 // new rows, from one address
	registrationsPerHourTogether = 500
	documentsPerMinute           = 10
)

func (s *Server) build(c Config, signing *keys.Signing) (*rooms, error) {
	set, err := c.Templates, error(nil)
	if set == nil {
		if set, err = templates.New(); err != nil {
			return nil, fmt.Errorf("parse the pages: %w", err)
		}
	}
	if set, err = set.At(c.Issuer.Root()); err != nil {
		return nil, fmt.Errorf("make the pages: %w", err)
	}
	pages := &web.Pages{Templates: set, Issuer: c.Issuer}
	s.notify(c, set)
	addresses := web.Addresses{TrustedProxies: c.TrustedProxies}
	sessions := &session.Manager{Store: s.store, Sealer: c.Root, Issuer: c.Issuer, Now: s.now}
	hasher := password.NewHasher(0)
	factors := &factor.Factors{Store: s.store, Passkeys: s.store, Sealer: c.Root, Issuer: c.Issuer.Hostname(), Origin: c.Issuer.Origin(), Now: s.now}
	known, err := profiles.Load(registration.CheckDocument)
	if err != nil {
		return nil, err
	}
	trust := &registration.Trust{Policies: s.catalog, Profiles: known}
	fetcher := outbound.New(outbound.Config{
		Allow: c.OutboundAllow, OwnHosts: append([]string{c.Issuer.Host()}, c.Listeners...), RootCAs: c.OutboundRoots, Proxy: c.OutboundProxy,
		Resolver: c.OutboundResolver, Now: s.now,
	})
	s.documents = registration.NewDocuments(registration.DocumentsConfig{
		Rows: s.catalog, Store: s.store, Fetcher: fetcher, Policy: trust, Now: s.now,
		Rules: registration.DocumentRules{
			CheckKeys:      func(jwks []byte) error { _, err := clientauth.ParseJWKS(jwks); return err },
			HasPrivateKeys: clientauth.HasPrivateKeys, CheckURL: fetcher.Check,
		},
		Limit: &web.FailureLimit{Failures: documentsPerMinute, Window: time.Minute, Now: s.now},
	})
	engine := oauth.New(oauth.Config{
		Issuer: c.Issuer, Store: s.store, Catalog: s.catalog, Clients: s.documents, Sessions: sessions, Pages: pages, Signing: signing, Root: c.Root, Now: s.now,
		Issued: func(client *storage.Client, grantType string) {
			s.usage.note(client.ID, s.now())
			s.metrics.issued.WithLabelValues(grantType).Inc()
		},
		Consent: &consent.Consent{Pages: pages, Root: c.Root, Now: s.now}, Admission: trust,
		Pushes: &web.FailureLimit{Failures: pushesPerMinute, Window: time.Minute, Now: s.now},
		ClientAuth: &clientauth.Authenticator{
			Clients: registration.Approved{Documents: s.documents}, Addresses: addresses, Now: s.now,
			Assertions: &clientauth.Assertions{
				Issuer: c.Issuer.String(), Keys: clientauth.ClientKeys{Fetcher: fetcher, Documents: s.documents, Now: s.now}, Used: s.store, Now: s.now,
			},
			Failures: &web.FailureLimit{Failures: clientFailures, Window: clientFailureWindow, Now: s.now},
		},
	})
	pages.Pushed = engine.PushedLocales
	documents, err := metadata.New(c.Issuer, metadata.Features{
		SigningAlgorithm: c.SigningAlgorithm, AssertionAlgorithms: clientauth.AssertionAlgorithms(),
	}, signing.JWKS)
	if err != nil {
		return nil, err
	}
	var signIn *login.Handler // which leads to providers, and they back to it
	providers := upstream.New(upstream.Config{
		Pages: pages, Store: s.store, Sessions: sessions, Root: c.Root, Fetcher: fetcher, Client: fetcher.Client(upstream.MaxAnswer),
		Addresses: addresses, Now: s.now, Providers: s.catalog.Providers, ReturnTo: login.ReturnTo,
		AskSecond: func(w http.ResponseWriter, r *http.Request, rawQuery string, p *storage.Provider, userID string, amr []string, at time.Time) (bool, error) {
			return signIn.AskSecond(w, r, rawQuery, login.SignedIn{UserID: userID, ProviderID: p.ID, AMR: amr, At: at, Required: p.SecondFactor == storage.ProviderRequired})
		},
		Demand: func(ctx context.Context, rawQuery string) (upstream.Demand, error) {
			if login.MustBeFresh(rawQuery) {
				return upstream.Demand{Login: true, MaxAge: -1}, nil
			}
			d, err := engine.Demand(ctx, rawQuery)
			return upstream.Demand(d), err
		},
	})
	r := &rooms{
		pages: pages, oauth: engine, metadata: documents, upstream: providers,
		login: login.New(login.Config{
			Pages: pages, Store: s.store, Sessions: sessions, Hasher: hasher, Addresses: addresses, Now: s.now,
			Providers: func(ctx context.Context, rawQuery string) ([]templates.LoginProvider, string, error) {
				all, automatic, err := providers.Buttons(ctx, rawQuery)
				if err != nil || automatic == nil {
					return buttons(all), "", err
				}
				return buttons(all), automatic.URL, nil
			},
			Leaving: func(ctx context.Context, rawQuery string) (login.Leaving, error) {
				asked, err := engine.EndSession(ctx, rawQuery)
				return login.Leaving(asked), err
			},
			Factors: factors, Sealer: c.Root, Rule: s.secondFactorRule,
			Browser: account.Browser, StepUp: engine.StepUp,
			Purpose: func(ctx context.Context, rawQuery string) login.Purpose {
				client, host, resource := engine.Purpose(ctx, rawQuery)
				if client == nil {
					return login.Purpose{}
				}
				purpose := login.Purpose{ClientName: client.ClientName, ClientHost: host, Verified: !client.SelfAsserted()}
				if resource != nil && !resource.Identity() {
					purpose.ResourceName, purpose.Administration = resource.Name, resource.BuiltIn()
				}
				if own := consent.ClientHost(client); own != "" {
					purpose.ClientHost, purpose.RedirectHost = own, host
				}
				return purpose
			},
		}),
		account: account.New(account.Config{
			Pages: pages, Store: s.store, Catalog: s.catalog, Sessions: sessions, Hasher: hasher, Factors: factors, Addresses: addresses, Now: s.now, Describe: consent.Describe,
			Rule: s.secondFactorRule, Administration: oauth.AdminResource(c.Issuer),
		}),
		admin: admin.New(admin.Config{
			Store: s.store, Issuer: c.Issuer.String(), HashPassword: hashing(hasher), Keys: c.AdminKeys, AdminKeys: s.catalog,
			Person: engine.Administrator, Resource: oauth.AdminResource(c.Issuer), Hosts: c.AdminHosts, CheckURL: fetcher.Check,
			SigningKeys: signing, Tokens: engine, Trust: trust, Chain: s.audit, Providers: providers, Sealer: c.Root, Profiles: known, Now: s.now,
			LinkURL: func(token string) string { return account.LinkURL(c.Issuer, token) }, Mail: s.mailing(c, set), OffersPasskeys: factors.OffersPasskeys(),
		}),
	}
	signIn = r.login
	r.registration = &registration.Registration{
		Store: s.store, Issuer: c.Issuer, Addresses: addresses, Trust: trust, Now: s.now,
		KnownScopes: s.knownScopes, CheckURL: fetcher.Check, Algorithms: clientauth.AssertionAlgorithms(),
		CheckJWKS:  func(raw []byte) error { _, err := clientauth.ParseJWKS(raw); return err },
		PerAddress: &web.FailureLimit{Failures: registrationsPerHour, Window: time.Hour, Now: s.now},
		Together:   &web.FailureLimit{Failures: registrationsPerHourTogether, Window: time.Hour, Now: s.now},
	}
	return r, nil
}

// secondFactorRule is what the organisation demands of everybody.
func (s *Server) secondFactorRule(ctx context.Context) (storage.SecondFactorRule, error) {
	policy, err := s.catalog.SignInPolicy(ctx)
	if err != nil {
		return "", err
	}
	return policy.SecondFactor, nil
}

func buttons(all []upstream.Button) []templates.LoginProvider {
	shown := make([]templates.LoginProvider, len(all))
	for i, b := range all {
		shown[i] = templates.LoginProvider(b)
	}
	return shown
}

// hashing is the hasher for a room that does not know its errors.
func hashing(h *password.Hasher) func(ctx context.Context, password string) (string, error) {
	return func(ctx context.Context, plain string) (string, error) {
		hash, err := h.Hash(ctx, plain)
		if errors.Is(err, password.ErrBusy) {
			err = fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
		}
		return hash, err
	}
}

// knownScopes returns those of scopes that a Resource or the identity has, in order, each once.
func (s *Server) knownScopes(ctx context.Context, scopes []string) ([]string, error) {
	if len(scopes) == 0 {
		return nil, nil
	}
	resources, err := s.catalog.Resources(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, name := range scopes {
		has := func(r *storage.Resource) bool { return slices.Contains(r.ScopeNames(), name) }
		if (slices.ContainsFunc(resources, has) || slices.Contains(storage.IdentityScopes, name)) && !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	return known, nil
}

const (
	sweepInterval = time.Minute
	// sweepBatch is small enough that a request which meets it hardly notices.
	sweepBatch = 250
	sweepRest  = 4
)

// Beat reads the version row once, as Run does each half second: what another
// replica has changed is known here when it returns.
func (s *Server) Beat(ctx context.Context) error { return s.catalog.Beat(ctx) }

// Tend looks after the signing keys and writes which clients were used, as Run does
// each minute.
func (s *Server) Tend(ctx context.Context) error {
	return errors.Join(s.signing.Tend(ctx), s.usage.write(ctx, s.store, s.now()))
}

// Seal seals the audit events that no seal covers yet, as Run does every few
// seconds.
func (s *Server) Seal(ctx context.Context) error { return s.audit.Seal(ctx) }

// Notify sends the notices that are due, as Run does every few seconds.
func (s *Server) Notify(ctx context.Context) {
	if s.notices != nil {
		s.notices.Deliver(ctx)
	}
}

// Expire removes audit events that are past their retention, as Run does each
// minute.
func (s *Server) Expire(ctx context.Context) error {
	_, err := s.audit.Expire(ctx)
	return err
}

// Run does what goes on beside the requests, until ctx ends: it follows the
// version row, seals the audit events, rotates the signing keys and sweeps away
// what nothing needs any more.
func (s *Server) Run(ctx context.Context) error {
	go s.catalog.Run(ctx)
	var sealing sync.WaitGroup
	sealing.Go(func() { s.audit.Run(ctx, s.sealEvery) })
	sealing.Go(func() { s.notices.Run(ctx) })
	defer s.notices.Close(ctx)
	defer sealing.Wait()
	defer s.documents.Stop()
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.sweep(ctx)
			if err := s.Expire(ctx); err != nil && !errors.Is(err, context.Canceled) {
				logSweepError(ctx, err)
			}
			if err := s.Tend(ctx); err != nil && !errors.Is(err, context.Canceled) {
				slog.ErrorContext(ctx, "the signing keys or the use of clients could not be looked after; it is tried again", "error", err.Error())
			}
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

// sweep rests after each batch for sweepRest times as long as that took: for four fifths
// of the time requests have the database to themselves.
func (s *Server) sweep(ctx context.Context) {
	for {
		began := time.Now()
		removed, err := s.store.Sweep(ctx, s.now(), registration.UnusedLifetime, sweepBatch)
		s.metrics.swept.Add(float64(removed))
		if err != nil && !errors.Is(err, context.Canceled) {
			logSweepError(ctx, err)
		}
		if err != nil || removed < sweepBatch {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepRest * time.Since(began)):
		}
	}
}
