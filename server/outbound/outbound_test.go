package outbound_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grantd/server/outbound"
)

const document = `{"client_id":"https://a.client.test/","client_name":"A"}`

// clock stands still unless told otherwise.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	asked int
	tick  chan struct{} // non-nil: a value for each time asked
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.tick != nil {
		c.tick <- struct{}{}
	}
	return c.now
}

func (c *clock) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// resolver answers from a function.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

func (r resolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return r(ctx, host)
}

// always resolves every name to the same addresses.
func always(addrs ...string) resolver {
	all := parseAddrs(addrs)
	return func(context.Context, string) ([]netip.Addr, error) { return all, nil }
}

func parseAddrs(texts []string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// knocks records the addresses that connections were about to be made to.
type knocks struct {
	mu  sync.Mutex
	all []netip.AddrPort
}

func (k *knocks) connecting(at netip.AddrPort) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, at)
	return nil
}

func (k *knocks) want(t *testing.T, want ...netip.AddrPort) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) != len(want) {
		t.Fatalf("connections to %v, want %v", k.all, want)
	}
	for i := range want {
		if k.all[i] != want[i] {
			t.Errorf("connections to %v, want %v", k.all, want)
		}
	}
}

// authority issues certificates for the hosts of tests.
type authority struct {
	pool *x509.CertPool
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	certificate := a.issue(t, template)
	a.cert, a.key = certificate.Leaf, certificate.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// issue signs template, which gets what it lacks; the first one signs itself.
func (a *authority) issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := newClock().now
	template.SerialNumber = big.NewInt(1)
	template.Subject = pkix.Name{CommonName: "stand-in"}
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)
	}
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// forHosts is a certificate for all names of the stand-in.
func (a *authority) forHosts(t *testing.T) tls.Certificate {
	return a.issue(t, &x509.Certificate{DNSNames: []string{"*.client.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
}

// world is a stranger's host on 127.0.0.1, and what a Fetcher needs to reach it
// under any name of *.client.test as if it were on the internet.
type world struct {
	clock     *clock
	knocks    *knocks
	authority *authority
	at        netip.AddrPort
	config    outbound.Config
	requests  atomic.Int32
}

func newWorld(t *testing.T, handler http.HandlerFunc) *world {
	t.Helper()
	w := bareWorld(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		handler(rw, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{w.authority.forHosts(t)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	w.open(t, server.Listener)
	return w
}

// newScriptedWorld is a world whose host speaks TLS and then whatever script writes.
// The connection is closed after it.
func newScriptedWorld(t *testing.T, script func(net.Conn)) *world {
	t.Helper()
	w := bareWorld(t)
	certificate := w.authority.forHosts(t)
	w.listen(t, func(conn net.Conn) {
		script(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	})
	return w
}

func bareWorld(t *testing.T) *world {
	w := &world{clock: newClock(), knocks: &knocks{}, authority: newAuthority(t)}
	w.config = outbound.Config{
		RootCAs: w.authority.pool, Resolver: always("127.0.0.1"),
		Connecting: w.knocks.connecting, Now: w.clock.Now,
	}
	return w
}

// listen serves raw connections until the test ends.
func (w *world) listen(t *testing.T, serve func(net.Conn)) {
	t.Helper()
	listener := listenAt(t, "127.0.0.1:0")
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	w.open(t, listener)
}

func (w *world) open(t *testing.T, listener net.Listener) {
	t.Helper()
	w.at = netip.MustParseAddrPort(listener.Addr().String())
	w.config.Allow = []outbound.Allowed{allow(t, w.at.String())}
}

// url returns the URL of a document at name.client.test.
func (w *world) url(name, path string) string {
	return "https://" + name + ".client.test:" + strconv.Itoa(int(w.at.Port())) + path
}

func (w *world) wantRequests(t *testing.T, want int32) {
	t.Helper()
	if got := w.requests.Load(); got != want {
		t.Errorf("%d requests, want %d", got, want)
	}
}

func listenAt(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func allow(t *testing.T, text string) outbound.Allowed {
	t.Helper()
	allowed, err := outbound.ParseAllow(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return allowed
}

// closedDoor is a listener that nobody may connect to.
type closedDoor struct{ net.Listener }

// wantUntouched proves it without waiting: the first connection in the queue is our own.
func (d closedDoor) wantUntouched(t *testing.T) {
	t.Helper()
	own, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	first, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if first.RemoteAddr().String() != own.LocalAddr().String() {
		t.Errorf("%s was connected to", d.Addr())
	}
}

func serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, document)
}

func get(t *testing.T, f *outbound.Fetcher, url string) outbound.Document {
	t.Helper()
	d, err := f.Get(t.Context(), url, outbound.MetadataDocument)
	if err != nil {
		t.Fatalf("%v (%s)", err, reason(err))
	}
	return d
}

// wantError wants that url cannot be had, and why. It returns the reason.
func wantError(t *testing.T, f *outbound.Fetcher, url string, kind outbound.Kind, want error) string {
	t.Helper()
	d, err := f.Get(t.Context(), url, kind)
	wantKind(t, err, want)
	if d.Body != nil {
		t.Errorf("a body in spite of %v", err)
	}
	return reason(err)
}

func wantKind(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v (%s), want %v", err, reason(err), want)
	}
	for _, other := range []error{outbound.ErrFetch, outbound.ErrRefused, outbound.ErrBusy} {
		if other != want && errors.Is(err, other) { //nolint:errorlint // these are the sentinels themselves
			t.Errorf("the error is of two kinds")
		}
	}
	if err.Error() != want.Error() {
		t.Errorf("the error tells %q", err)
	}
}

func reason(err error) string {
	if e, ok := errors.AsType[*outbound.Error](err); ok {
		return e.Reason
	}
	return "no reason"
}

func TestGet(t *testing.T) {
	t.Parallel()
	var asked *http.Request
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		asked = r.Clone(context.Background())
		serveDocument(rw, r)
	})
	w.config.OwnHosts = []string{"auth.example.com"}
	f := outbound.New(w.config)
	url := w.url("a", "/c/~x%7E%2F/?q=%41&b=;c:@!$'()*+,")
	d := get(t, f, url)
	if string(d.Body) != document || !d.FetchedAt.Equal(w.clock.now) {
		t.Errorf("document %s at %s", d.Body, d.FetchedAt)
	}
	if got := "https://" + asked.Host + asked.RequestURI; got != url {
		t.Errorf("asked for %s, want %s", got, url)
	}
	if asked.Method != http.MethodGet || asked.Proto != "HTTP/1.1" || asked.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%s by %s, TLS %x", asked.Method, asked.Proto, asked.TLS.Version)
	}
	if got := asked.Header.Values("Accept-Encoding"); len(got) != 1 || got[0] != "identity" {
		t.Errorf("Accept-Encoding %v", got)
	}
	if asked.Header.Get("Connection") != "close" && !asked.Close {
		t.Error("the connection would be kept")
	}
	for _, name := range []string{"Authorization", "Cookie", "Referer"} {
		if asked.Header.Get(name) != "" {
			t.Errorf("sent %s", name)
		}
	}
	w.knocks.want(t, w.at)
}

// CM-22: nobody can tell from an error what happened.
func TestCM22ErrorsTellNothing(t *testing.T) {
	t.Parallel()
	if outbound.ErrFetch.Error() != outbound.ErrRefused.Error() {
		t.Error("ErrFetch and ErrRefused can be told apart")
	}
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/sekrit")
		rw.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(rw, "sekrit")
	})
	got := wantError(t, outbound.New(w.config), w.url("sekrit", "/sekrit?sekrit"), outbound.JWKS, outbound.ErrFetch)
	if got != "status 418" {
		t.Errorf("reason %q", got)
	}
	w.config.Resolver = resolver(func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "sekrit", Name: "sekrit.client.test", IsNotFound: true}
	})
	got = wantError(t, outbound.New(w.config), w.url("sekrit", "/"), outbound.JWKS, outbound.ErrFetch)
	if got != "resolving: no such host" || strings.Contains(got, "sekrit") {
		t.Errorf("reason %q", got)
	}
}

func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		serveDocument(rw, r)
	})
	f := outbound.New(w.config)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := f.Get(ctx, w.url("a", "/"), outbound.MetadataDocument)
		left <- err
	}()
	<-entered
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(leave)
	get(t, f, w.url("a", "/")) // joins the fetch that was begun
	w.wantRequests(t, 1)

	if _, err := f.Get(ctx, w.url("b", "/"), outbound.MetadataDocument); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	w.wantRequests(t, 1)
}
