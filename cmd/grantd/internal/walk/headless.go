package walk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// maxPages is how many pages and redirects one approval may take.
const maxPages = 15

// Headless is an Approver that signs in and approves by itself, through the
// pages a person would see: it reads their forms and sends them as a browser
// does. It keeps its cookies, so that it is signed in the next time.
type Headless struct {
	username, password string
	client             *http.Client
}

// NewHeadless takes the account to sign in with.
func NewHeadless(username, password string) *Headless {
	jar, _ := cookiejar.New(nil) // fails never without options
	return &Headless{username: username, password: password, client: &http.Client{
		Timeout: 30 * time.Second,
		Jar:     jar,
		// Followed by hand: a browser sends other headers after a redirect.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Approve visits the URL and goes on from page to page until it is sent to the
// redirect URI. Its errors are *Error: the page that was not expected.
func (h *Headless) Approve(ctx context.Context, authorization AuthorizationRequest, say func(string)) error {
	request, err := visit(ctx, authorization.URL)
	if err != nil {
		return err
	}
	signedIn, approved := false, false
	for range maxPages {
		page, err := h.load(request)
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(page.url.String(), authorization.RedirectURI+"?"):
			if page.status != http.StatusOK {
				return failed("an answer that the client waits for, with its state", "its callback said %d", page.status)
			}
			return nil
		case page.redirect != nil:
			request, err = visit(ctx, page.redirect.String())
		default:
			request, err = h.answer(ctx, page, &signedIn, &approved, say)
		}
		if err != nil {
			return err
		}
	}
	return failed("a way to "+authorization.RedirectURI, "there were more than %d pages and redirects", maxPages)
}

// answer fills in the form of a page.
func (h *Headless) answer(ctx context.Context, page *page, signedIn, approved *bool, say func(string)) (*http.Request, error) {
	if form := page.formWith("username", "password"); form != nil && !*signedIn {
		*signedIn = true
		say(fmt.Sprintf("page %q: signing in as %s", page.title, h.username))
		return form.submit(ctx, page.url, "", "", map[string]string{"username": h.username, "password": h.password})
	}
	if form := page.formWith("decision", "approval"); form != nil && !*approved {
		if !form.offers("decision", "approve") {
			return nil, failed("a consent page that can be approved", "it offers no decision \"approve\"")
		}
		*approved = true
		ticked := form.tickAll("scope")
		say(fmt.Sprintf("page %q: approving %s", page.title, scopes(ticked)))
		return form.submit(ctx, page.url, "decision", "approve", nil)
	}
	want := "a page to sign in or to approve"
	switch {
	case *approved:
		want = "to be sent back to the client after approving"
	case *signedIn:
		want = "a consent page after signing in"
	}
	return nil, failed(want, "it was %d %q%s", page.status, page.title, page.complaint())
}

// load does what a browser does with one request.
func (h *Headless) load(request *http.Request) (*page, error) {
	request.Header.Set("Accept", "text/html,application/xhtml+xml")
	request.Header.Set("Sec-Fetch-Mode", "navigate")
	request.Header.Set("Sec-Fetch-Dest", "document")
	response, err := h.client.Do(request)
	if err != nil {
		return nil, hideURL(err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	loaded := &page{url: request.URL, status: response.StatusCode}
	switch response.StatusCode {
	case http.StatusFound, http.StatusSeeOther:
		if loaded.redirect, err = response.Location(); err != nil {
			return nil, failed("a redirect with a Location", "there was none")
		}
		return loaded, nil
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil, failed("a redirect that never repeats a POST (302, 303)", "it was %d", response.StatusCode)
	}
	if err := loaded.parse(io.LimitReader(response.Body, maxBody)); err != nil {
		return nil, err
	}
	return loaded, nil
}

func visit(ctx context.Context, location string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, failed("a URL to go to", "it could not be understood")
	}
	return request, nil
}

// hideURL takes the URL out of a client error: the one of the callback has a
// code in it.
func hideURL(err error) error {
	if failure := (*url.Error)(nil); errors.As(err, &failure) {
		return failure.Err
	}
	return err
}
