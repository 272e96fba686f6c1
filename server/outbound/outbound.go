// Package outbound is the only place of grantd that makes requests to addresses
// that strangers name: client metadata documents
// (draft-ietf-oauth-client-id-metadata-document §4, §6.5) and key sets behind a
// jwks_uri (RFC 7517).
//
// Whoever may name a URL may try to make grantd knock at doors that only grantd
// can reach, hang, swallow gigabytes, or flood a third party. So every fetch
// is one plain GET over https, to an address that is judged after resolution and
// right before the connection is made, without redirects, proxies (but for one that
// the operator names), kept connections or compression, bounded in size, time and number. Fetches of one
// URL are folded into one, what they bring is cached within limits of ours, and
// failures are remembered for a moment.
//
// An error tells its caller the same for every cause, because a difference
// would tell a stranger what the network looks like from inside; see Error.
// How often one caller may cause fetches is for the user of this package to limit.
package outbound

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// Limits of all fetches together.
const (
	// Timeout is how long one fetch may take in all: resolution, connection, TLS,
	// headers and body.
	Timeout = 5 * time.Second
	// MaxSockets is how many fetches run at once.
	MaxSockets = 32
	// HostFetches is how many fetches one host gets in a minute.
	HostFetches = 30
	// FailureMemory is for how long a failed URL is not tried again. It is short, so
	// that whoever mends their document need not wait.
	FailureMemory = 30 * time.Second

	cacheEntries    = 4096
	cacheBytes      = 16 << 20
	rememberedHosts = 16384
)

// Kind is a kind of document: what may be fetched, and how long it is good.
type Kind struct {
	// Name is the kind's part of the cache's key: kinds of one name are one kind.
	Name string
	// MaxBytes is the longest body.
	MaxBytes int
	// MinFresh and MaxFresh are the floor and the ceiling of what the host's
	// caching headers ask for. A host that asks for nothing gets the floor.
	MinFresh, MaxFresh time.Duration
	// Valid, if set, judges a document before it is cached: one that it refuses
	// counts as a failed fetch. It must be safe for concurrent use, and its error,
	// which becomes part of Error.Reason, must not quote the body.
	Valid func(url string, body []byte) error
}

// The kinds that strangers name. Users add their Valid to a copy.
var (
	// MetadataDocument is a client metadata document. 5 KiB is the draft's advice (§6.6).
	MetadataDocument = Kind{Name: "metadata_document", MaxBytes: 5 << 10, MinFresh: time.Minute, MaxFresh: 24 * time.Hour}
	// JWKS is a client's key set. Its ceiling is lower, because a key that a
	// client withdrew is believed until then.
	JWKS = Kind{Name: "jwks", MaxBytes: 64 << 10, MinFresh: time.Minute, MaxFresh: time.Hour}
)

// Document is a JSON object as a host sent it.
type Document struct {
	Body       []byte // the caller's own copy
	FetchedAt  time.Time
	FreshUntil time.Time
}

// Resolver finds the addresses of a host; *net.Resolver is one.
type Resolver interface {
	// LookupNetIP returns host's addresses. network is always "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what a Fetcher needs. The zero value is good and strict.
type Config struct {
	// Allow opens internal addresses (--outbound-allow).
	Allow []Allowed
	// OwnHosts are never asked, not even when Allow opens them: grantd's own public
	// and admin hosts, as "host" (every port) or "host:port". Listener addresses
	// such as ":8081" are understood; anything else is ignored.
	OwnHosts []string
	// RootCAs are the authorities that hosts' certificates must come from; nil: the system's.
	RootCAs *x509.CertPool
	// Proxy, if set, is an egress proxy (http://host:port or https://host:port)
	// through which every https fetch goes by CONNECT, except of what Allow opens as
	// host:port. It is given the host's name: then the proxy resolves it, and judging
	// the address is the proxy's to do. Proxies of the environment are never used.
	Proxy *url.URL
	// Resolver is net.DefaultResolver unless set.
	Resolver Resolver
	// Connecting, if set, is told every address that passed the policy, right before
	// the connection is made. Its error prevents the connection.
	Connecting func(netip.AddrPort) error
	// Timeout is of one whole fetch; 0: the constant Timeout.
	Timeout time.Duration
	// CacheEntries and CacheBytes bound the cache; 0: 4,096 documents, 16 MiB.
	CacheEntries, CacheBytes int
	// Now is the clock of the cache, of limits and of certificates; nil: time.Now.
	Now func() time.Time
}

// Fetcher gets documents from hosts that strangers name. It is safe for
// concurrent use. Use one for all of grantd, or the limits count too little.
type Fetcher struct {
	policy     policy
	rootCAs    *x509.CertPool
	proxy      *url.URL
	resolver   Resolver
	connecting func(netip.AddrPort) error
	timeout    time.Duration
	now        func() time.Time

	mu        sync.Mutex
	documents *lru[Document]
	failures  *lru[failure] // apart, so that failing URLs push no documents out
	hosts     *lru[bucket]
	flights   map[string]*flight
	sockets   int
}

// failure is a failed fetch that is not repeated yet.
type failure struct {
	err   *Error
	until time.Time
}

// flight is a fetch under way. document and err are set before done is closed.
type flight struct {
	done     chan struct{}
	document Document
	err      *Error
}

// New returns a Fetcher.
func New(config Config) *Fetcher {
	f := &Fetcher{
		policy:  newPolicy(config.Allow, config.OwnHosts),
		rootCAs: config.RootCAs, proxy: config.Proxy, resolver: config.Resolver, connecting: config.Connecting,
		timeout: config.Timeout, now: config.Now,
		documents: newLRU[Document](orDefault(config.CacheEntries, cacheEntries), orDefault(config.CacheBytes, cacheBytes)),
		failures:  newLRU[failure](cacheEntries, cacheBytes),
		hosts:     newLRU[bucket](rememberedHosts, cacheBytes),
		flights:   map[string]*flight{},
	}
	f.timeout = orDefault(f.timeout, Timeout)
	if f.resolver == nil {
		f.resolver = net.DefaultResolver
	}
	if f.now == nil {
		f.now = time.Now
	}
	return f
}

// Check says, without any use of the network, whether url may be fetched: its
// shape as in ValidateURL, its host by what the operator allows. The address that
// a name resolves to is judged by Get alone. The error is an *Error of ErrRefused.
func (f *Fetcher) Check(url string) error {
	if _, err := f.target(url); err != nil {
		return err
	}
	return nil
}

// Get returns the document at url: the copy at hand while it is fresh, else a
// fetched one. Concurrent calls share one fetch, which goes on when ctx ends.
// Errors are an *Error of ErrRefused, ErrFetch or ErrBusy, or ctx's own; a copy
// that is too old is still to be had from Cached.
func (f *Fetcher) Get(ctx context.Context, url string, kind Kind) (Document, error) {
	return f.get(ctx, url, kind, func(d Document, now time.Time) bool { return now.Before(d.FreshUntil) })
}

// Renew is Get for a caller who has reason to think that the copy is outdated,
// such as an unknown key id: only a copy younger than kind.MinFresh counts as fresh.
func (f *Fetcher) Renew(ctx context.Context, url string, kind Kind) (Document, error) {
	return f.get(ctx, url, kind, func(d Document, now time.Time) bool { return now.Before(d.FetchedAt.Add(kind.MinFresh)) })
}

// Cached returns the copy at hand, however old, and whether there is one. It
// never fetches: it serves callers who do without a host that is down, or who
// limit fetches and not answers.
func (f *Fetcher) Cached(url string, kind Kind) (Document, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	document, ok := f.documents.get(kind.key(url))
	return document.clone(), ok
}

func (f *Fetcher) get(ctx context.Context, url string, kind Kind, fresh func(Document, time.Time) bool) (Document, error) {
	t, refusal := f.target(url)
	if refusal != nil {
		return Document{}, refusal
	}
	if err := ctx.Err(); err != nil {
		return Document{}, err
	}
	document, underWay, err := f.lookUp(ctx, t, kind, fresh)
	if err != nil {
		return Document{}, err
	}
	if underWay == nil {
		return document, nil
	}
	select {
	case <-underWay.done:
		if underWay.err != nil {
			return Document{}, underWay.err
		}
		return underWay.document.clone(), nil
	case <-ctx.Done():
		return Document{}, ctx.Err()
	}
}

// lookUp returns a fresh copy, or the fetch that will bring one, started if need be.
func (f *Fetcher) lookUp(ctx context.Context, t target, kind Kind, fresh func(Document, time.Time) bool) (Document, *flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, now := kind.key(t.raw), f.now()
	if document, ok := f.documents.get(key); ok && fresh(document, now) {
		return document.clone(), nil, nil
	}
	if underWay, ok := f.flights[key]; ok {
		return Document{}, underWay, nil
	}
	if failed, ok := f.failures.get(key); ok && now.Before(failed.until) {
		return Document{}, nil, failed.err
	}
	if err := f.admit(t.host, now); err != nil {
		return Document{}, nil, err
	}
	started := &flight{done: make(chan struct{})}
	f.flights[key] = started
	// Whoever asked first may leave; the others still wait.
	go f.fly(context.WithoutCancel(ctx), started, t, kind)
	return Document{}, started, nil
}

// admit takes a socket and one of host's fetches, or returns an ErrBusy. f.mu is held.
func (f *Fetcher) admit(host string, now time.Time) error {
	if f.sockets >= MaxSockets {
		return &Error{kind: ErrBusy, Reason: "all sockets are in use", RetryAfter: time.Second}
	}
	fetches, ok := f.hosts.get(host)
	if !ok {
		fetches = newBucket(now)
	}
	wait := fetches.take(now)
	f.hosts.put(host, fetches, len(host))
	if wait > 0 {
		return &Error{kind: ErrBusy, Reason: "the host's fetches are used up", RetryAfter: wait}
	}
	f.sockets++
	return nil
}

// fly fetches, keeps the outcome and tells everybody who waits.
func (f *Fetcher) fly(ctx context.Context, underWay *flight, t target, kind Kind) {
	document, err := f.fetchSafely(ctx, t, kind)

	f.mu.Lock()
	defer f.mu.Unlock()
	key := kind.key(t.raw)
	if err != nil {
		f.failures.put(key, failure{err: err, until: f.now().Add(FailureMemory)}, len(key))
	} else {
		f.documents.put(key, document, len(key)+len(document.Body))
	}
	f.sockets--
	delete(f.flights, key)
	underWay.document, underWay.err = document, err
	close(underWay.done)
}

// fetchSafely makes a failure of a panic: a fetch has a goroutine of its own,
// where a document that is too much for kind.Valid would end the server.
func (f *Fetcher) fetchSafely(ctx context.Context, t target, kind Kind) (document Document, err *Error) {
	defer func() {
		if p := recover(); p != nil {
			document, err = Document{}, failed(fmt.Sprintf("a panic (%T)", p))
		}
	}()
	return f.fetch(ctx, t, kind)
}

func (k Kind) key(url string) string { return k.Name + " " + url }

func (d Document) clone() Document {
	d.Body = bytes.Clone(d.Body)
	return d
}

func orDefault[N int | time.Duration](given, fallback N) N {
	if given <= 0 {
		return fallback
	}
	return given
}
