package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"grantd/server/web"
	"grantd/storage"
)

// The most pushed requests that are kept of one client. Whoever knows the
// client_id of a public client may push, and who describes itself is anybody.
const (
	maxPushedByStrangers = 5_000
	maxPushedByProven    = 10_000
	// pushedFullRetry is how long a client waits that has too many, in seconds.
	pushedFullRetry = 60
)

// pushedResponse is RFC 9126 §2.2.
type pushedResponse struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int    `json:"expires_in"`
}

// Push serves POST /par (RFC 9126 §2): it checks an authorization request as
// /authorize would, keeps it, and answers what to call it there.
//
// It is our own, because fosite's keeps the form with the client's secret in it,
// lets parameters of the browser's URL join the pushed ones, and takes a request
// from its owner when another client names it.
func (o *OAuth) Push(w http.ResponseWriter, r *http.Request) error {
	form, err := o.readForm(r, "resource")
	if err != nil {
		return err
	}
	client, err := o.ClientAuth.Authenticate(r, form)
	if err != nil {
		return err
	}
	limitKey, maxKept := "", maxPushedByProven
	if client.Public() || client.SelfAsserted() {
		// By address alone: a stranger may have many clients.
		limitKey, maxKept = o.ClientAuth.Addresses.Key(r), maxPushedByStrangers
		if wait := o.Pushes.Blocked(limitKey); wait > 0 {
			return tooManyPushed("Too many pushed requests from this address; wait before trying again.", wait, nil)
		}
	}
	pushed, err := o.newPushedRequest(r.Context(), client, form)
	if err != nil {
		return err
	}
	if limitKey != "" {
		o.Pushes.Fail(limitKey)
	}
	switch err := o.Store.CreatePushedRequest(r.Context(), pushed, maxKept); {
	case errors.Is(err, storage.ErrFull):
		return tooManyPushed("The client has too many pushed requests under way; wait before trying again.", pushedFullRetry, err)
	case errors.Is(err, storage.ErrNotFound): // deleted this very moment
		return web.InvalidClient("The client is unknown, disabled, or its credentials are wrong.", false)
	case err != nil:
		return err
	}
	uri, err := o.values.requestURI(pushed.ID)
	if err != nil {
		return err
	}
	web.WriteJSON(w, http.StatusCreated, pushedResponse{RequestURI: uri, ExpiresIn: int(storage.PushedRequestLifetime.Seconds())})
	return nil
}

// newPushedRequest makes the row of a request that /authorize would accept from
// this client. What is judged is what is kept.
func (o *OAuth) newPushedRequest(ctx context.Context, client *storage.Client, form web.Parameters) (*storage.PushedRequest, error) {
	switch {
	case form.Has("request_uri"):
		return nil, invalidRequest("A pushed request must not have a request_uri.")
	case !client.MayUse(storage.GrantTypeAuthorizationCode):
		return nil, web.NewOAuthError("unauthorized_client", "The client did not register grant type authorization_code.")
	}
	query := pushedQuery(client, form)
	if len(query) > web.MaxRequestURI {
		return nil, web.OAuthFormError(web.ErrTooLarge)
	}
	parameters, err := web.ParseParameters(query, "resource")
	if err != nil {
		return nil, web.OAuthFormError(err)
	}
	now := o.Now()
	pushed := &storage.PushedRequest{
		ID: storage.NewID(storage.PrefixPushedRequest), ClientID: client.ID, Query: query, CreatedAt: now, ExpiresAt: now.Add(storage.PushedRequestLifetime),
	}
	_, err = o.checkAuthorizationRequest(ctx, &authorizationRequest{pushed: pushed, attended: true, maxAge: -1}, parameters)
	var page *unredirectable
	if errors.As(err, &page) {
		return nil, invalidRequest(page.message)
	}
	return pushed, err
}

// pushedQuery are the parameters of a pushed request as they are kept: without
// what authenticated the client, and with the client_id that did.
func pushedQuery(client *storage.Client, form web.Parameters) string {
	kept := url.Values{}
	for name, values := range form.Values {
		if !slices.Contains([]string{"client_secret", "client_assertion", "client_assertion_type", stepParameter}, name) {
			kept[name] = values
		}
	}
	kept.Set("client_id", client.ClientID)
	return kept.Encode()
}

func tooManyPushed(description string, retryAfter int, err error) error {
	return &web.OAuthError{
		Status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: description, Err: err, RetryAfter: retryAfter,
	}
}

// isPushed reports whether the parameters of the URL refer to a pushed request.
func isPushed(front web.Parameters) bool {
	return slices.ContainsFunc(front.Values["request_uri"], func(uri string) bool { return strings.HasPrefix(uri, requestURIPrefix) })
}

// openPushed returns the parameters of the pushed request that the URL refers to.
// They alone count: nothing else of the URL joins them (RFC 9126 §4). Looking
// changes nothing, so that no reload, link preview or other client uses it up.
func (o *OAuth) openPushed(ctx context.Context, request *authorizationRequest, front web.Parameters) (web.Parameters, error) {
	web.PushedLocales(ctx, "") // until more is known
	if slices.Contains(front.Repeated, "client_id") || slices.Contains(front.Repeated, "request_uri") {
		return web.Parameters{}, pageError("This link is damaged", "It names the application or its request twice, so nothing was done.",
			"Go back to the application and start again.")
	}
	unknown := pageError("This request is not known here", "The link refers to a request that was prepared in advance, but there is none, it belongs to another application, or it is long past. Nothing was done.",
		"Go back to the application and start again.")
	id, err := o.values.readRequestURI(front.Get("request_uri"))
	if errors.Is(err, errNotOurs) {
		return web.Parameters{}, unknown
	} else if err != nil {
		return web.Parameters{}, err
	}
	pushed, err := o.Store.PushedRequest(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return web.Parameters{}, unknown
	} else if err != nil {
		return web.Parameters{}, err
	}
	parameters, err := web.ParseParameters(pushed.Query, "resource")
	if err != nil {
		return web.Parameters{}, fmt.Errorf("read a pushed request: %w", err)
	}
	opened := request.arrivedAt
	if opened.IsZero() {
		opened = o.Now()
	}
	if front.Get("client_id") != parameters.Get("client_id") {
		return web.Parameters{}, unknown
	}
	web.PushedLocales(ctx, parameters.Get("ui_locales"))
	switch {
	case pushed.Decided:
		return web.Parameters{}, pageError("This request was answered before", "The application has its answer already, and a request is answered only once.",
			"If the application is still waiting, go back to it and start again.")
	case !opened.Before(pushed.ExpiresAt):
		return web.Parameters{}, pageError("This request has expired", "The application prepared it in advance, and too much time has passed since. Nothing was done.",
			"Go back to the application and start again.")
	}
	request.pushed = pushed
	return parameters, nil
}

// PushedLocales has web.PushedLocales called for the pushed request that this raw
// query refers to.
func (o *OAuth) PushedLocales(ctx context.Context, rawQuery string) {
	if front, err := web.ParseParameters(rawQuery, "resource"); err == nil && isPushed(front) {
		_, _ = o.openPushed(ctx, new(authorizationRequest), front) // what is wrong with it is said elsewhere
	}
}

// codeID is the id of the code that deciding the request makes: the nonce of the
// page, which is answered once, or that of the pushed request, which is decided
// once whatever pages, tabs and replicas show it.
func (a *authorizationRequest) codeID(nonce string) string {
	if a.pushed == nil {
		return nonce
	}
	return a.pushed.CodeID()
}

// denyPushed ends a pushed request without a code. A denial of any other request
// leaves nothing behind. storage.ErrConsumed: it was decided before.
func (o *OAuth) denyPushed(ctx context.Context, request *authorizationRequest, signIn *storage.SignIn) error {
	if request.pushed == nil {
		return nil
	}
	denied := o.newCode(request, signIn, request.pushed.CodeID(), nil)
	denied.ExpiresAt = denied.CreatedAt
	// Where the person, the client or the resource has just gone, no approval can
	// follow either.
	return ignoreNotFound(o.Store.DenyPushedRequest(ctx, denied))
}
