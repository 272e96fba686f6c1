package outbound

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxHeader    = 16 << 10
	maxAddresses = 4 // of one host, that are tried
)

// fetch asks the host once. When it returns, its socket is closed.
func (f *Fetcher) fetch(ctx context.Context, t target, kind Kind) (Document, *Error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	conn, err := f.connect(ctx, t)
	if err != nil {
		return Document{}, err
	}
	defer conn.Close() //nolint:errcheck // everything that matters has been read
	return f.ask(ctx, conn, t, kind)
}

// connect returns a connection to one of the host's permitted addresses, with TLS
// unless the scheme is http. It ends by itself at ctx's deadline.
func (f *Fetcher) connect(ctx context.Context, t target) (net.Conn, *Error) {
	conn, refusal := f.open(ctx, t)
	if refusal != nil {
		return nil, refusal
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			_ = conn.Close()
			return nil, failedAt("connecting", err)
		}
	}
	if t.scheme == "http" {
		return conn, nil
	}
	secured := tls.Client(conn, &tls.Config{
		ServerName: t.host, RootCAs: f.rootCAs, Time: f.now,
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, failedAt("TLS", err)
	}
	return secured, nil
}

// open returns a plain connection that leads to t.
func (f *Fetcher) open(ctx context.Context, t target) (net.Conn, *Error) {
	if f.proxy != nil && !f.policy.opensPort(t) {
		conn, err := f.tunnel(ctx, t)
		if err != nil {
			return nil, failedAt("connecting through the proxy", err)
		}
		return conn, nil
	}
	addrs, refusal := f.addresses(ctx, t)
	if refusal != nil {
		return nil, refusal
	}
	conn, err := f.dial(ctx, t, addrs)
	if err != nil {
		return nil, failedAt("connecting", err)
	}
	return conn, nil
}

// addresses resolves t's host and returns those addresses that may be asked.
func (f *Fetcher) addresses(ctx context.Context, t target) ([]netip.AddrPort, *Error) {
	all := []netip.Addr{t.addr}
	if !t.addr.IsValid() {
		var err error
		if all, err = f.resolver.LookupNetIP(ctx, "ip", t.host); err != nil {
			return nil, failedAt("resolving", err)
		}
	}
	refusal := failed("resolving: no address")
	var permitted []netip.AddrPort
	for _, addr := range all {
		at := netip.AddrPortFrom(addr.Unmap(), t.port)
		if err := f.policy.judgeAddress(t, at); err != nil {
			refusal = err
		} else if len(permitted) < maxAddresses {
			permitted = append(permitted, at)
		}
	}
	if len(permitted) == 0 {
		return nil, refusal
	}
	return permitted, nil
}

// dial connects to the first address that answers. Each has its share of the time.
func (f *Fetcher) dial(ctx context.Context, t target, addrs []netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return f.lastLook(t, address)
	}}
	var first error
	for i, at := range addrs {
		deadline, _ := ctx.Deadline()
		share := time.Until(deadline) / time.Duration(len(addrs)-i)
		shared, cancel := context.WithTimeout(ctx, share)
		conn, err := dialer.DialContext(shared, "tcp", at.String())
		cancel()
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// lastLook judges the very address that the operating system is about to connect
// to: whatever was resolved, remembered or rewritten before, nothing gets past it.
func (f *Fetcher) lastLook(t target, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return refused("connecting: unreadable address")
	}
	if err := f.policy.judgeAddress(t, at); err != nil {
		return err
	}
	if f.connecting != nil {
		return f.connecting(at)
	}
	return nil
}

// ask sends the request over conn and judges the response.
func (f *Fetcher) ask(ctx context.Context, conn net.Conn, t target, kind Kind) (Document, *Error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.raw, nil)
	if err != nil {
		return Document{}, failed("request: malformed")
	}
	request.Header.Set("User-Agent", "grantd")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Accept-Encoding", "identity")
	// A transport is without proxies unless told otherwise, and its RoundTrip
	// follows no redirect. This one has a single connection to use.
	use := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DialContext: use, DialTLSContext: use,
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Document{}, failedAt("response", err)
	}
	defer response.Body.Close() //nolint:errcheck // everything that matters has been read
	if err := judgeHeader(response, kind); err != nil {
		return Document{}, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(kind.MaxBytes)+1))
	switch {
	case len(body) > kind.MaxBytes:
		return Document{}, failed("body: too long")
	case err != nil:
		return Document{}, failedAt("body", err)
	case !isObject(body):
		return Document{}, failed("body: no JSON object")
	}
	if kind.Valid != nil {
		if err := kind.Valid(t.raw, body); err != nil {
			return Document{}, failed("invalid document: " + err.Error())
		}
	}
	now := f.now()
	return Document{Body: body, FetchedAt: now, FreshUntil: now.Add(freshness(response.Header, kind, now))}, nil
}

// judgeHeader returns nil if a good document may follow.
func judgeHeader(response *http.Response, kind Kind) *Error {
	if response.StatusCode != http.StatusOK {
		return failed("status " + strconv.Itoa(response.StatusCode))
	}
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return failed("header: an encoded body")
	}
	if response.ContentLength > int64(kind.MaxBytes) {
		return failed("header: too long a body")
	}
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return failed("header: no media type")
	}
	subtype, ok := strings.CutPrefix(media, "application/")
	if !ok || subtype != "json" && !strings.HasSuffix(subtype, "+json") {
		return failed("header: not a JSON media type")
	}
	return nil
}

func isObject(body []byte) bool {
	return json.Valid(body) && strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "{")
}
