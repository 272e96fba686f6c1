package outbound

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
)

// exchanges is how many exchanges run at once. They have places of their own, so that
// strangers' documents keep nobody from signing in.
const exchanges = 32

// Client returns a client for exchanges with a host that an administrator named, such
// as a provider's token endpoint: any method, under the same policy of addresses as
// documents, without redirects, kept connections or compression, each within Timeout
// and maxBytes of answer. Nothing is cached, and no host's fetches are counted: how
// often a stranger may cause an exchange is for the caller to limit. Errors of a
// request wrap an *Error of ErrRefused, ErrFetch or ErrBusy.
func (f *Fetcher) Client(maxBytes int) *http.Client {
	return &http.Client{
		Transport:     &exchanger{fetcher: f, maxBytes: maxBytes, places: make(chan struct{}, exchanges)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type exchanger struct {
	fetcher  *Fetcher
	maxBytes int
	places   chan struct{}
}

// RoundTrip implements http.RoundTripper. The answer is read as a whole before it
// returns, and its connection is closed.
func (e *exchanger) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // it is in memory
	}
	t, refusal := e.fetcher.target(r.URL.String())
	if refusal != nil {
		return nil, refusal
	}
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	default:
		return nil, &Error{kind: ErrBusy, Reason: "all places for exchanges are in use"}
	}
	ctx, cancel := context.WithTimeout(r.Context(), e.fetcher.timeout)
	defer cancel()
	conn, failure := e.fetcher.connect(ctx, t)
	if failure != nil {
		return nil, failure
	}
	defer conn.Close() //nolint:errcheck // everything that matters has been read
	response, failure := e.exchange(r.Clone(ctx), conn)
	if failure != nil {
		return nil, failure
	}
	return response, nil
}

func (e *exchanger) exchange(r *http.Request, conn net.Conn) (*http.Response, *Error) {
	r.Header.Set("User-Agent", "grantd")
	r.Header.Set("Accept-Encoding", "identity")
	use := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DialContext: use, DialTLSContext: use,
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, failedAt("response", err)
	}
	defer response.Body.Close() //nolint:errcheck // everything that matters has been read
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(e.maxBytes)+1))
	switch {
	case len(body) > e.maxBytes:
		return nil, failed("body: too long")
	case err != nil:
		return nil, failedAt("body", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}
