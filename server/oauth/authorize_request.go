package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"grantd/server/consent"
	"grantd/server/policy"
	"grantd/server/web"
	"grantd/storage"
)

// stepParameter is the one parameter grantd adds to an authorization request: a
// sealed note of when the request first arrived, for prompt=login and max_age, and
// for a pushed request, which must arrive in time.
const stepParameter = "grantd_step"

const (
	stepPurpose  = "authorize step"
	stepLifetime = 10 * time.Minute
)

// The bounds of an authorization request's values.
const (
	maxState    = 4 << 10
	maxNonce    = 1 << 10
	maxClientID = storage.MaxURILength
)

// authorizationRequest is a parsed and checked authorization request
// (OAuth 2.1 §4.1.1). It is kept nowhere, unless the client pushed it: the request
// in the URL is the state.
type authorizationRequest struct {
	query         string                 // raw, without the step
	pushed        *storage.PushedRequest // nil: the query is all there is
	attended      bool                   // somebody has signed in to ask
	client        *storage.Client
	known         string              // as what, by where it comes from; set when it is admitted
	trust         storage.ClientTrust // likewise
	looksLike     consent.Known       // likewise
	redirectURI   string
	state         string // sent back byte for byte; empty: none was sent
	resource      *storage.Resource
	scopes        []string
	rules         rules           // about client and resource, when the person was looked up
	decision      policy.Decision // on the scopes; set when they are permitted
	withheld      []string        // scopes that are not
	codeChallenge string
	prompts       []string
	maxAge        time.Duration // below zero: not asked
	acrValues     []string
	twoFactors    bool      // acr_values asks for them
	arrivedAt     time.Time // from the step; zero: first arrival
	nonce         string    // of OpenID Connect
	hintedUser    string    // whom the client means; empty: whoever signs in
}

func (a *authorizationRequest) prompt(name string) bool { return slices.Contains(a.prompts, name) }

// pageError is an error that must not be told to the redirect URI, because the
// client or the redirect URI itself is in doubt (OAuth 2.1 §4.1.2.1).
func pageError(title, message, help string) *unredirectable {
	return &unredirectable{title: title, message: message, help: help}
}

type unredirectable struct{ title, message, help string }

func (e *unredirectable) Error() string { return e.title }

// parseAuthorizationRequest reads the raw query of /authorize. Until client and
// redirect URI are certain, errors are *unredirectable (or an outage); then the
// request comes back with them and its error is a *web.OAuthError that may be
// redirected.
func (o *OAuth) parseAuthorizationRequest(ctx context.Context, rawQuery string, attended bool) (*authorizationRequest, error) {
	parameters, err := web.ParseParameters(rawQuery, "resource")
	if err != nil {
		return nil, pageError("This link is damaged", "The address that brought you here is malformed, so nothing was done.",
			"Go back to the application and start again.")
	}
	request := &authorizationRequest{query: withoutStep(rawQuery), attended: attended, maxAge: -1}
	if err := o.readStep(request, parameters.Get(stepParameter)); err != nil {
		return nil, err
	}
	if isPushed(parameters) {
		if parameters, err = o.openPushed(ctx, request, parameters); err != nil {
			return nil, err
		}
	}
	return o.checkAuthorizationRequest(ctx, request, parameters)
}

// readAuthorizationRequest is parseAuthorizationRequest of a browser's request.
// Where it may be found out only for somebody who has signed in who the client is,
// it looks whether somebody has. web.ErrUnattended: nobody has.
func (o *OAuth) readAuthorizationRequest(r *http.Request) (*authorizationRequest, error) {
	request, err := o.parseAuthorizationRequest(r.Context(), r.URL.RawQuery, false)
	if !errors.Is(err, web.ErrUnattended) {
		return request, err
	}
	switch _, err := o.Sessions.SignIn(r, storage.Look{}); {
	case errors.Is(err, storage.ErrNotFound):
		return nil, web.ErrUnattended
	case err != nil:
		return nil, err
	}
	return o.parseAuthorizationRequest(r.Context(), r.URL.RawQuery, true)
}

// checkAuthorizationRequest judges the parameters of an authorization request and
// fills request with them, wherever they came from. Its results are those of
// parseAuthorizationRequest.
func (o *OAuth) checkAuthorizationRequest(ctx context.Context, request *authorizationRequest, parameters web.Parameters) (*authorizationRequest, error) {
	if oversize(parameters) {
		return nil, pageError("This link is too long", "The application sent more than this server takes, so nothing was done.",
			"Go back to the application and start again. If this keeps happening, tell whoever makes it.")
	}
	if err := o.identify(ctx, request, parameters); err != nil {
		return nil, err
	}
	return request, o.fill(ctx, request, parameters)
}

// identify finds the client and the redirect URI.
func (o *OAuth) identify(ctx context.Context, request *authorizationRequest, parameters web.Parameters) error {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if slices.Contains(parameters.Repeated, name) {
			return pageError("This link is damaged", "It names the application or its address twice, so nothing was done.",
				"Go back to the application and start again.")
		}
	}
	clientID := parameters.Get("client_id")
	if clientID == "" || len(clientID) > maxClientID {
		return pageError("Which application is this?", "The request does not say which application sent it (client_id).",
			"Go back to the application and start again. If this keeps happening, tell whoever makes it.")
	}
	client, err := o.Clients.Client(ctx, clientID, request.attended)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && client.Disabled) {
		return pageError("This application is not known here", "It is not registered with this server, or its registration has ended or been switched off.",
			"Remove the server from the application and add it again, so that it registers anew. If that does not help, ask your administrator.")
	} else if err != nil {
		return err
	}
	if !client.MayUse(storage.GrantTypeAuthorizationCode) {
		return pageError("This application cannot sign people in", "It is registered for other uses only.", "Ask your administrator.")
	}
	redirectURI := parameters.Get("redirect_uri")
	switch {
	case redirectURI == "" && client.DefaultRedirectURI() != "":
		redirectURI = client.DefaultRedirectURI()
	case redirectURI == "":
		return pageError("Where should the answer go?", "The request does not say where to return to (redirect_uri), and the application did not register exactly one complete address.",
			"Go back to the application and start again.")
	case !client.MatchRedirectURI(redirectURI):
		return pageError("This return address is not registered", "The application asked to return to an address (redirect_uri) that is not registered for it, so nothing was done. This protects you from being sent to a stranger.",
			"If you run this application: register exactly the redirect_uri it sends.")
	}
	request.client, request.redirectURI = client, redirectURI
	return nil
}

// fill reads everything else. Its errors may be redirected.
func (o *OAuth) fill(ctx context.Context, request *authorizationRequest, parameters web.Parameters) error {
	// Where an error goes depends on the prompts, whatever is wrong.
	request.prompts = strings.Fields(strings.Join(parameters.Values["prompt"], " "))
	request.acrValues = strings.Fields(parameters.Get("acr_values"))
	// The state goes back with errors too, unless it is not clear which.
	if !slices.Contains(parameters.Repeated, "state") {
		request.state = parameters.Get("state")
	}
	if len(parameters.Repeated) > 0 {
		return invalidRequest("A parameter is sent more than once.")
	}
	switch {
	case request.pushed == nil && request.client.RequirePushedAuthorizationRequests:
		return invalidRequest("This client must push its authorization requests (RFC 9126).")
	case parameters.Has("request"):
		return web.NewOAuthError("request_not_supported", "Request objects are not supported.")
	case parameters.Has("request_uri"):
		return web.NewOAuthError("request_uri_not_supported", "Request objects by reference are not supported.")
	case parameters.Get("response_type") == "":
		return invalidRequest("The response_type parameter is missing.")
	case parameters.Get("response_type") != "code":
		return web.NewOAuthError("unsupported_response_type", "This server supports response_type=code.")
	}
	if mode := parameters.Get("response_mode"); mode != "" && mode != "query" {
		return invalidRequest("This server supports response_mode=query.")
	}
	if err := readChallenge(request, parameters); err != nil {
		return err
	}
	if err := checkPrompts(request, parameters); err != nil {
		return err
	}
	if err := readACR(request, parameters); err != nil {
		return err
	}
	a, err := readAsked(parameters.Values["resource"], parameters.Get("scope"))
	if err != nil {
		return err
	}
	if request.resource, request.scopes, err = o.targetOfPerson(ctx, request.client, a); err != nil {
		return err
	}
	return o.readOpenID(request, parameters)
}

// oversize reports whether a value is beyond its bounds. That is no mistake of an
// honest client, and nothing so long goes back anywhere.
func oversize(parameters web.Parameters) bool {
	scope := parameters.Get("scope")
	return len(parameters.Get("state")) > maxState || len(scope) > maxScopeLength || len(strings.Fields(scope)) > maxScopes
}

// readChallenge demands PKCE with S256 of every client (OAuth 2.1 §7.5.2).
func readChallenge(request *authorizationRequest, parameters web.Parameters) error {
	switch challenge := parameters.Get("code_challenge"); {
	case challenge == "":
		return invalidRequest("The code_challenge parameter is missing: PKCE is required.")
	case parameters.Get("code_challenge_method") != "S256":
		return invalidRequest("The code_challenge_method must be S256.")
	case len(challenge) != 43 || !unreserved(challenge) || strings.ContainsAny(challenge, ".~"):
		return invalidRequest("The code_challenge is not a base64url SHA-256.")
	default:
		request.codeChallenge = challenge
		return nil
	}
}

// checkPrompts checks prompt and reads max_age (OpenID Connect Core §3.1.2.1).
func checkPrompts(request *authorizationRequest, parameters web.Parameters) error {
	if request.prompt("none") && len(request.prompts) > 1 {
		return invalidRequest("prompt=none goes with no other prompt.")
	}
	if !parameters.Has("max_age") {
		return nil
	}
	seconds, err := strconv.ParseUint(parameters.Get("max_age"), 10, 31)
	if err != nil {
		return invalidRequest("The max_age parameter is not a number of seconds.")
	}
	request.maxAge = time.Duration(seconds) * time.Second
	return nil
}

// readOpenID reads what only counts with openid among the scopes (OpenID Connect Core
// §3.1.2.1). A hint that is not an ID token of this client's says nothing: its key
// may be long gone.
func (o *OAuth) readOpenID(request *authorizationRequest, parameters web.Parameters) error {
	if !slices.Contains(request.scopes, storage.ScopeOpenID) {
		return nil
	}
	request.nonce = parameters.Get("nonce")
	if len(request.nonce) > maxNonce || !utf8.ValidString(request.nonce) || strings.ContainsFunc(request.nonce, unicode.IsControl) {
		return invalidRequest("The nonce parameter is too long or has control characters.")
	}
	if c, ok := o.hint(parameters.Get("id_token_hint")); ok && c.Audience == request.client.ClientID {
		request.hintedUser = c.Subject
	}
	return nil
}

// readStep opens the sealed note of the first arrival. A note that is not ours,
// too old, or of another request counts as none.
func (o *OAuth) readStep(request *authorizationRequest, sealed string) error {
	if sealed == "" {
		return nil
	}
	note, err := o.Root.Open(stepPurpose, sealed)
	if err != nil {
		return ignoreForged(err)
	}
	arrived, ours := bytes.CutPrefix(note, stepOf(request))
	at, err := time.Parse(time.RFC3339Nano, string(arrived))
	if ours && err == nil && o.Now().Sub(at) <= stepLifetime {
		request.arrivedAt = at
	}
	return nil
}

// step is the note of the first arrival, as the end of the request's query.
func (o *OAuth) step(request *authorizationRequest) string {
	arrived := request.arrivedAt
	if arrived.IsZero() {
		arrived = o.Now()
	}
	sealed := o.Root.Seal(stepPurpose, arrived.AppendFormat(stepOf(request), time.RFC3339Nano))
	return "&" + stepParameter + "=" + sealed
}

// stepOf is the beginning of every note of this request, however a browser spells
// it on its way. It is no purpose of its own: root keys remember those.
func stepOf(request *authorizationRequest) []byte {
	sum := sha256.Sum256([]byte(web.CanonicalQuery(request.query)))
	return sum[:]
}

// withoutStep removes the note from a raw query and leaves every other byte.
func withoutStep(rawQuery string) string {
	kept := slices.DeleteFunc(strings.Split(rawQuery, "&"), func(pair string) bool { return strings.HasPrefix(pair, stepParameter+"=") })
	return strings.Join(kept, "&")
}

// Purpose says what an authorization request is for, for the sign-in page: who
// asks, where the answer goes, and for what. All is empty if it is not clear.
func (o *OAuth) Purpose(ctx context.Context, rawQuery string) (client *storage.Client, redirectHost string, resource *storage.Resource) {
	request, err := o.parseAuthorizationRequest(ctx, rawQuery, false)
	if request == nil {
		return nil, "", nil
	}
	if err == nil {
		resource = request.resource
	}
	return request.client, consent.RedirectHost(request.redirectURI), resource
}

// Demand is what an authorization request asks of the sign-in behind it.
type Demand struct {
	Login, SelectAccount bool
	MaxAge               time.Duration // below zero: not asked
	ACRValues            []string
}

// Demand returns what the request with this raw query asks. A request that cannot be
// read asks nothing: it leads nowhere. Nor does one of a client that is not known
// before somebody has signed in; it is read again then. storage.ErrUnavailable.
func (o *OAuth) Demand(ctx context.Context, rawQuery string) (Demand, error) {
	request, err := o.parseAuthorizationRequest(ctx, rawQuery, false)
	if err != nil && web.Unavailable(err) {
		return Demand{}, err
	}
	if request == nil {
		return Demand{MaxAge: -1}, nil
	}
	return Demand{
		Login: request.prompt("login"), SelectAccount: request.prompt("select_account"), MaxAge: request.maxAge, ACRValues: request.acrValues,
	}, nil
}

// respond sends the browser back to the client.
func respond(w http.ResponseWriter, target string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	web.SeeOther(w, target)
}

// redirectTarget is the redirect URI with the response's parameters. state goes
// back as it came, or not at all.
func (o *OAuth) redirectTarget(request *authorizationRequest, response url.Values) string {
	response.Del("state")
	if request.state != "" {
		response.Set("state", request.state)
	}
	response.Set("iss", o.Issuer.String())
	return withQuery(request.redirectURI, response)
}
