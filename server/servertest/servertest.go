// Package servertest runs a whole grantd on loopback for tests, and drives it from
// outside as a client, a browser and an administrator would: HTTP in, HTTP and
// database out.
package servertest

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"grantd/internal/pgtest"
	"grantd/migrations"
	"grantd/server"
	"grantd/server/keys"
	"grantd/server/mail"
	"grantd/server/outbound"
	"grantd/server/tracing"
	"grantd/server/web"
	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/sqlite"
	"grantd/templates"
)

// AdminKey is the admin key of every test server.
const AdminKey = "test-admin-key-test-admin-key-test-admin-key"

// Password is the password of every test user.
const Password = "correct horse battery staple"

// RootKey is the root key of every test server that is not given others.
var RootKey = []byte("0123456789abcdef0123456789abcdef")

// Server is a running grantd.
type Server struct {
	t      testing.TB
	URL    string // where it is reached; the issuer, unless it is a replica
	Origin string // without the issuer's path
	Admin  string // the admin listener
	Store  storage.Store
	Clock  *Clock
	Public http.Handler

	server    *server.Server
	issuer    web.Issuer
	transport http.RoundTripper // to the public listener; nil: the default
}

// options are what a test may choose.
type options struct {
	allow    []string
	store    storage.Store
	path     string
	root     [][]byte
	proxies  []netip.Prefix
	dynamic  storage.RegistrationMode // empty: as the database has it
	document storage.RegistrationMode
	roots    *x509.CertPool // of the hosts of documents
	egress   *url.URL
	clock    *Clock
	rotation time.Duration
	// retention is that of audit events.
	retention time.Duration
	host      string
	issuer    string
	tls       bool
	tracer    *tracing.Tracer
	pages     *templates.Set
	mail      *mail.Sender
}

// Option chooses something about a test server.
type Option func(*options)

// WithStore uses this database instead of a fresh SQLite file.
func WithStore(s storage.Store) Option { return func(o *options) { o.store = s } }

// WithIssuerPath gives the issuer a path.
func WithIssuerPath(path string) Option { return func(o *options) { o.path = path } }

// WithRootKeys gives it other root keys, the one that makes first.
func WithRootKeys(root ...[]byte) Option { return func(o *options) { o.root = root } }

// WithTrustedProxies believes X-Forwarded-For from these networks.
func WithTrustedProxies(p ...netip.Prefix) Option { return func(o *options) { o.proxies = p } }

// WithDynamicRegistration lets every client register itself.
func WithDynamicRegistration() Option {
	return func(o *options) { o.dynamic = storage.RegistrationAllow }
}

// WithRegistration sets the registration policy's modes; empty leaves one as the
// database has it. Without it a new database asks administrators.
func WithRegistration(dynamic, metadataDocuments storage.RegistrationMode) Option {
	return func(o *options) { o.dynamic, o.document = dynamic, metadataDocuments }
}

// WithMetadataDocuments lets clients describe themselves in documents, at hosts whose
// certificates come from these authorities.
func WithMetadataDocuments(authorities *x509.CertPool) Option {
	return func(o *options) { o.document, o.roots = storage.RegistrationAllow, authorities }
}

// WithOutboundAllow lets it fetch documents from an internal address, as host:port.
func WithOutboundAllow(address string) Option {
	return func(o *options) { o.allow = append(o.allow, address) }
}

// WithOutboundProxy has it reach every https host through this proxy, with certificates
// that come from these authorities.
func WithOutboundProxy(proxy *url.URL, authorities *x509.CertPool) Option {
	return func(o *options) { o.egress, o.roots = proxy, authorities }
}

// WithClock shares a clock, as between replicas.
func WithClock(c *Clock) Option { return func(o *options) { o.clock = c } }

// WithKeyRotation rotates the signing keys by schedule.
func WithKeyRotation(every time.Duration) Option { return func(o *options) { o.rotation = every } }

// WithAuditRetention removes audit events after that time.
func WithAuditRetention(d time.Duration) Option { return func(o *options) { o.retention = d } }

// WithHost makes the issuer's host this name instead of 127.0.0.1.
func WithHost(host string) Option { return func(o *options) { o.host = host } }

// ReplicaOf makes the server another replica of s: its issuer and its clock. It
// is reached at an address of its own; give it the same database too.
func ReplicaOf(s *Server) Option {
	return func(o *options) { o.issuer, o.clock = s.issuer.String(), s.Clock }
}

// WithTracer traces the requests.
func WithTracer(t *tracing.Tracer) Option { return func(o *options) { o.tracer = t } }

// WithTemplates gives it other pages.
func WithTemplates(set *templates.Set) Option { return func(o *options) { o.pages = set } }

// WithMail gives it a mail server.
func WithMail(m *mail.Sender) Option { return func(o *options) { o.mail = m } }

// WithTLS gives it an https issuer and a certificate that its own clients trust.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// New starts a server that ends with the test.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := options{root: [][]byte{RootKey}, host: "127.0.0.1"}
	for _, opt := range opts {
		opt(&o)
	}
	if o.store == nil {
		o.store = SQLite(t)
	}
	if o.clock == nil {
		o.clock = NewClock()
	}
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if o.tls {
		scheme = "https://"
	}
	origin := scheme + net.JoinHostPort(o.host, port)
	address := origin + o.path
	if o.issuer == "" {
		o.issuer = address
	}
	issuer, err := web.ParseIssuer(o.issuer)
	if err != nil {
		t.Fatal(err)
	}
	var allow []outbound.Allowed
	for _, address := range o.allow {
		one, err := outbound.ParseAllow(address)
		if err != nil {
			t.Fatal(err)
		}
		allow = append(allow, one)
	}
	root, err := keys.NewRoot(o.root...)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.setPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(t.Context(), server.Config{
		Issuer: issuer, Store: o.store, Root: root, AdminKeys: []string{AdminKey}, AdminHosts: []string{"127.0.0.1"},
		TrustedProxies: o.proxies, SigningAlgorithm: "ES256", OutboundAllow: allow, OutboundRoots: o.roots, OutboundProxy: o.egress, OutboundResolver: onlyLocalhost{},
		Now:         o.clock.Now,
		KeyRotation: o.rotation, AuditRetention: o.retention,
		SealEvery: 24 * time.Hour, // when a test says so
		Tracer:    o.tracer,
		Templates: o.pages, Mail: o.mail,
	})
	if err != nil {
		t.Fatal(err)
	}
	public := httptest.NewUnstartedServer(s.Public())
	_ = public.Listener.Close()
	public.Listener = listener
	var transport http.RoundTripper
	if o.tls {
		public.StartTLS()
		transport = public.Client().Transport
	} else {
		public.Start()
	}
	t.Cleanup(public.Close)
	admin := httptest.NewServer(s.Admin())
	t.Cleanup(admin.Close)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return &Server{t: t, URL: address, Origin: origin, Admin: admin.URL, Store: o.store, Clock: o.clock, Public: s.Public(), server: s, issuer: issuer, transport: transport}
}

// Beat has the server see at once what another replica has changed.
func (s *Server) Beat() {
	s.t.Helper()
	if err := s.server.Beat(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// FirstAdminLink makes the first administrator's link, "" when there is a user.
func (s *Server) FirstAdminLink() string {
	s.t.Helper()
	link, err := s.server.FirstAdminLink(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return link
}

// Tend has the server look after its signing keys, as it does each minute.
func (s *Server) Tend() error { return s.server.Tend(s.t.Context()) }

// Seal has the server seal its audit events, as it does every few seconds.
func (s *Server) Seal() {
	s.t.Helper()
	if err := s.server.Seal(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// Notify has the server send the notices that are due, as it does every few seconds.
func (s *Server) Notify() { s.server.Notify(s.t.Context()) }

// Expire has the server remove audit events past their retention, as it does each
// minute.
func (s *Server) Expire() {
	s.t.Helper()
	if err := s.server.Expire(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// onlyLocalhost knows no other name, so that no test reaches out.
type onlyLocalhost struct{}

func (onlyLocalhost) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "localhost" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (o *options) setPolicy(ctx context.Context) error {
	if o.dynamic == "" && o.document == "" {
		return nil
	}
	p, err := o.store.RegistrationPolicy(ctx)
	if err != nil {
		return err
	}
	if o.dynamic != "" {
		p.Dynamic = o.dynamic
	}
	if o.document != "" {
		p.MetadataDocuments = o.document
	}
	return o.store.UpdateRegistrationPolicy(ctx, p, storage.NewAuditEvent(o.clock.Now(), "system", "registration_policy.updated", "registration-policy"))
}

// SQLite opens a fresh SQLite database.
func SQLite(t testing.TB) storage.Store {
	t.Helper()
	return SQLiteFile(t, filepath.Join(t.TempDir(), "grantd.db"))
}

// SQLiteFile opens the SQLite database at path, a new one if there is none.
func SQLiteFile(t testing.TB, path string, opts ...sqlite.Option) storage.Store {
	t.Helper()
	if err := migrations.Up(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(context.Background(), path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// Postgres opens a fresh Postgres database.
func Postgres(t testing.TB) storage.Store {
	t.Helper()
	return OpenPostgres(t, MigratedPostgres(t))
}

// MigratedPostgres returns the URL of a fresh, migrated Postgres database.
func MigratedPostgres(t testing.TB) string {
	t.Helper()
	return pgtest.MigratedURL(t)
}

// OpenPostgres opens a Postgres database: once more for each replica.
func OpenPostgres(t testing.TB, url string, opts ...postgres.Option) storage.Store {
	t.Helper()
	store, err := postgres.Open(context.Background(), url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// OnEachDatabase runs a test on SQLite and on Postgres.
func OnEachDatabase(t *testing.T, test func(t *testing.T, open func(testing.TB) storage.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres) })
}

// Clock is a clock that moves when told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at a fixed moment.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)} }

// Now is the time it shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves it.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
