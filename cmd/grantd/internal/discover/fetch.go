package discover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// What a server may make us read.
const (
	maxAnswer   = 4 << 20 // bytes of one answer; schemas of many tools are long
	maxRequests = 200     // of ours, those included that it provokes
	maxHeader   = 64 << 10
	maxText     = 200 // characters of anything that is shown
)

// fetcher is an http.RoundTripper that keeps within bounds whatever asks through
// it, and remembers the first thing that was wrong: the errors of those who ask
// quote what the server sent.
type fetcher struct {
	origin string
	base   http.RoundTripper
	// stop ends everything that is under way.
	stop context.CancelCauseFunc

	mu       sync.Mutex
	requests int
	status   int // of the last answer
	fault    *Error
	refusal  *challenge
}

// challenge is what a 401 says.
type challenge struct {
	metadata string // "" unless it is told
	scopes   []string
}

// errUnauthorized ends a conversation at its first 401.
var errUnauthorized = errors.New("401 Unauthorized")

func newFetcher(target *url.URL, stop context.CancelCauseFunc) *fetcher {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxHeader
	transport.DisableKeepAlives = true // nothing is left behind
	return &fetcher{origin: origin(target), base: transport, stop: stop}
}

func origin(u *url.URL) string { return u.Scheme + "://" + strings.ToLower(u.Host) }

// client is an HTTP client that goes through f and follows nothing.
func (f *fetcher) client() *http.Client {
	return &http.Client{Transport: f, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip sends one request, unless it would go elsewhere or is one too many.
func (f *fetcher) RoundTrip(request *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.requests++
	requests := f.requests
	f.mu.Unlock()
	switch {
	case origin(request.URL) != f.origin:
		return nil, f.fail(&Error{Problem: "wants a request sent to another host"})
	case requests > maxRequests:
		return nil, f.fail(&Error{Problem: fmt.Sprintf("needs more than %d requests to be understood", maxRequests)})
	}
	response, err := f.base.RoundTrip(request)
	if err != nil {
		if request.Context().Err() != nil {
			return nil, err
		}
		return nil, f.fail(&Error{
			Problem: "cannot be reached: " + clean(err.Error(), maxText),
			Mend:    "is the URL right, and can this machine reach it?",
		})
	}
	f.mu.Lock()
	f.status = response.StatusCode
	f.mu.Unlock()
	response.Body = &boundedBody{ReadCloser: response.Body, left: maxAnswer, fetcher: f}
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400 && response.Header.Get("Location") != "":
		_ = response.Body.Close()
		return nil, f.fail(redirected(request.URL, response.Header.Get("Location")))
	case response.StatusCode == http.StatusUnauthorized:
		_ = response.Body.Close()
		f.mu.Lock()
		f.refusal = readChallenge(response.Header.Values("WWW-Authenticate"))
		f.mu.Unlock()
		f.stop(errUnauthorized)
		return nil, errUnauthorized
	}
	return response, nil
}

// fail remembers the first fault and ends what is under way.
func (f *fetcher) fail(fault *Error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault == nil {
		f.fault = fault
		f.stop(fault)
	}
	return f.fault
}

// redirected says why a redirect is not followed: the URL that clients are given
// is the one that tokens are for, so it has to be the one that answers.
func redirected(from *url.URL, location string) *Error {
	e := &Error{Problem: "answers with a redirect, which is not followed: tokens are for the URL that clients use"}
	if to, err := from.Parse(location); err == nil {
		e.Problem = fmt.Sprintf("answers with a redirect to %s, which is not followed: tokens are for the URL that clients use", clean(to.Redacted(), maxText))
	}
	e.Mend = "give the URL that answers by itself"
	return e
}

// readChallenge finds the Bearer challenge. What cannot be understood says nothing.
func readChallenge(headers []string) *challenge {
	told := new(challenge)
	challenges, err := oauthex.ParseWWWAuthenticate(headers)
	if err != nil {
		return told
	}
	for _, c := range challenges {
		if c.Scheme == "bearer" {
			told.metadata = c.Params["resource_metadata"]
			told.scopes = scopeNames(strings.Fields(c.Params["scope"]))
			break
		}
	}
	return told
}

// boundedBody is a body that ends with a fault after left bytes.
type boundedBody struct {
	io.ReadCloser
	left    int
	fetcher *fetcher
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.fetcher.fail(&Error{Problem: fmt.Sprintf("sends more than %d MiB at once", maxAnswer>>20)})
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
