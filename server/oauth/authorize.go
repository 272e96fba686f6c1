package oauth

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"grantd/server/consent"
	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Authorize serves GET /authorize (OAuth 2.1 §4.1.1): it checks the request,
// sends the browser to sign in if nobody is, shows the consent page, or, where an
// approval is remembered, answers at once. It writes nothing before a person has
// approved.
func (o *OAuth) Authorize(w http.ResponseWriter, r *http.Request) error {
	if web.Prefetch(r) {
		return &web.Error{Status: http.StatusForbidden, Code: "prefetch", Title: "Not before you ask", Message: "This page is not shown in advance."}
	}
	request, answered, err := o.requested(w, r)
	if answered || err != nil {
		return err
	}
	signIn, err := o.signIn(r, request)
	if errors.Is(err, storage.ErrNotFound) || (err == nil && o.mustSignInAgain(request, signIn)) {
		if request.prompt("none") {
			return o.refuse(w, r, request, web.NewOAuthError("login_required", "The person must sign in."))
		}
		return o.sendToLogin(w, request)
	} else if err != nil {
		return err
	}
	if request.another(signIn) {
		return o.refuseAnother(w, r, request)
	}
	if answered, err := o.vet(w, r, request, signIn); answered || err != nil {
		return err
	}
	switch {
	case remembered(request, signIn):
		return o.issueRemembered(w, r, request, signIn)
	case inAdvance(request, signIn):
		return o.approveInAdvance(w, r, request, signIn)
	case request.prompt("none"):
		return o.refuse(w, r, request, web.NewOAuthError("consent_required", "The person must approve."))
	}
	return o.Consent.Show(w, o.question(request, signIn), http.StatusOK, "", "")
}

// requested reads the authorization request in the URL, and answers one that is wrong.
func (o *OAuth) requested(w http.ResponseWriter, r *http.Request) (request *authorizationRequest, answered bool, err error) {
	request, err = o.readAuthorizationRequest(r)
	switch {
	case request == nil:
		return nil, true, o.showUnredirectable(w, r, err)
	case err != nil:
		return nil, true, o.refuse(w, r, request, err)
	}
	return request, false, nil
}

// vet narrows a request to what the signed-in person may approve, and answers where they
// may not, or not yet.
func (o *OAuth) vet(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) (answered bool, err error) {
	for _, judge := range []func(http.ResponseWriter, *http.Request, *authorizationRequest, *storage.SignIn) (bool, error){o.admit, o.permit, o.stepUp} {
		if answered, err := judge(w, r, request, signIn); answered || err != nil {
			return answered, err
		}
	}
	return false, nil
}

// signIn finds the person at the browser, with what matters to the request, and the
// rules about it. storage.ErrNotFound: nobody is signed in.
func (o *OAuth) signIn(r *http.Request, request *authorizationRequest) (_ *storage.SignIn, err error) {
	if o.Sessions.TokenHash(r) == nil {
		return nil, storage.ErrNotFound
	}
	if request.rules, err = o.rules(r.Context(), request.client, request.resource); err != nil {
		return nil, err
	}
	return o.Sessions.SignIn(r, storage.Look{
		ClientID: request.client.ID, ResourceID: request.resource.ID,
		Groups: request.rules.askGroups(), ClientKnown: request.client.SelfAsserted(),
	})
}

func (o *OAuth) question(request *authorizationRequest, signIn *storage.SignIn) consent.Question {
	q := consent.Question{
		Query: request.query, Client: request.client, Known: request.known, Trust: request.trust, LooksLike: request.looksLike, RedirectURI: request.redirectURI,
		Resource: request.resource, Scopes: request.scopes, Decision: request.decision, Withheld: request.withheld, SignIn: signIn,
	}
	if request.pushed != nil {
		// Who opened it in time may take their time.
		q.Pushed, q.Step = request.pushed.Query, o.step(request)
	}
	return q
}

// mustSignInAgain reports whether the request asks for a newer sign-in than the
// person has (OpenID Connect Core §3.1.2.1). Signing in after the request first
// arrived always satisfies it.
func (o *OAuth) mustSignInAgain(request *authorizationRequest, signIn *storage.SignIn) bool {
	since, session := request.arrivedAt.Truncate(time.Microsecond), signIn.Session
	meanwhile := func(at time.Time) bool { return !request.arrivedAt.IsZero() && !at.Before(since) }
	if meanwhile(session.AuthenticatedAt) {
		return false
	}
	// Somebody whom a provider knew already has chosen an account all the same.
	if request.prompt("login") || request.prompt("select_account") && !meanwhile(session.CreatedAt) {
		return true
	}
	if request.another(signIn) {
		return true
	}
	return request.maxAge >= 0 && o.Now().Sub(session.AuthenticatedAt) > request.maxAge
}

// remembered reports whether an earlier approval answers this request: only for a
// registered client with an https redirect, only for the same redirect and name
// as the person saw then, never when the client asks for the page, and never for the
// administration of grantd itself.
func remembered(request *authorizationRequest, signIn *storage.SignIn) bool {
	grant := signIn.Grant
	return grant != nil && !request.resource.BuiltIn() && !grant.InAdvance && grant.Covers(request.scopes) && recognisable(request) &&
		grant.RedirectURI == request.redirectURI && grant.ClientName == request.client.ClientName
}

// recognisable reports whether a request may be answered without a page: the client
// cannot be somebody else, its answer arrives safely, and it does not ask for the
// page.
func recognisable(request *authorizationRequest) bool {
	return !request.client.SelfAsserted() && !request.prompt("consent") && strings.HasPrefix(request.redirectURI, "https://")
}

// approveInAdvance writes the Grant and the code as a policy says, and answers.
func (o *OAuth) approveInAdvance(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) error {
	target, err := o.grant(r, request, signIn, storage.NewID(storage.PrefixCode), request.scopes, true)
	switch {
	case errors.Is(err, storage.ErrConsumed):
		return answeredBefore(err)
	case errors.Is(err, storage.ErrNotFound): // something has just ended: the page will say what is left
		return o.showAnew(w, r, "")
	case err != nil:
		return err
	}
	return o.leave(w, r, request, target)
}

// issueRemembered answers with a code under an earlier approval.
func (o *OAuth) issueRemembered(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) error {
	code := o.newCode(request, signIn, request.codeID(storage.NewID(storage.PrefixCode)), request.scopes)
	code.GrantID = signIn.Grant.ID
	target, err := o.issue(r, request, &authorizeSession{code: code, sessionID: signIn.Session.ID})
	if errors.Is(err, storage.ErrNotFound) {
		// The approval was withdrawn this very moment: ask.
		return o.showAnew(w, r, "")
	} else if errors.Is(err, storage.ErrConsumed) {
		return answeredBefore(err)
	} else if err != nil {
		return err
	}
	return o.leave(w, r, request, target)
}

// leave sends the browser back to the client, from a page that it came to by a
// link or by signing in.
func (o *OAuth) leave(w http.ResponseWriter, r *http.Request, request *authorizationRequest, target string) error {
	if r.Method != http.MethodGet || !arrivedFromLogin(r, o.Issuer) {
		respond(w, target)
		return nil
	}
	// The browser is still following the post of the sign-in form, and the
	// form-action of that page stops it at any other site. A page of our own in
	// between lets it go on.
	page := templates.ContinuePage{
		Title: "You are signed in", Message: "Taking you back to the application.",
		URL: target, Host: consent.RedirectHost(request.redirectURI), Automatic: true,
	}
	return o.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return o.Pages.Templates.Continue(out, page) })
}

// grant writes the Grant of the scopes and the code, and returns where the browser
// goes with it.
func (o *OAuth) grant(r *http.Request, request *authorizationRequest, signIn *storage.SignIn, nonce string, scopes []string, inAdvance bool) (target string, err error) {
	code := o.newCode(request, signIn, request.codeID(nonce), scopes)
	approval := &storage.Approval{
		Code: *code, Approver: signIn.Approver(), Shown: request.scopes, ClientName: request.client.ClientName, InAdvance: inAdvance,
	}
	if !request.client.Stored() {
		approval.Document, approval.DocumentEvent = request.client, documentEvent(request.client, signIn, code.CreatedAt)
	}
	return o.issue(r, request, &authorizeSession{code: code, sessionID: signIn.Session.ID, approval: approval, decision: request.decision})
}

// documentEvent records that a person's approval made a client of a document, or
// brought a newer one.
func documentEvent(client *storage.Client, signIn *storage.SignIn, now time.Time) storage.AuditEvent {
	action := "client.registered"
	if client.CreatedAt.Before(now) {
		action = "client.document_changed"
	}
	return storage.NewAuditEvent(now, "user:"+signIn.User.ID, action, client.ID).
		With("client_id", client.ClientID).With("client_name", client.ClientName).With("redirect_uris", strings.Join(client.RedirectURIs, " "))
}

func (o *OAuth) newCode(request *authorizationRequest, signIn *storage.SignIn, id string, scopes []string) *storage.AuthorizationCode {
	now := o.Now()
	return &storage.AuthorizationCode{
		ID: id, UserID: signIn.User.ID, ClientID: request.client.ID, ResourceID: request.resource.ID, Scopes: scopes,
		RedirectURI: request.redirectURI, CodeChallenge: request.codeChallenge, CreatedAt: now, ExpiresAt: now.Add(storage.CodeLifetime),
		Nonce: request.nonce,
	}
}

// issue sends the approved request through fosite's authorize pipeline, which
// stores the code, and returns where the browser goes with it.
func (o *OAuth) issue(r *http.Request, request *authorizationRequest, session *authorizeSession) (target string, err error) {
	redirect, err := url.Parse(request.redirectURI)
	if err != nil {
		return "", err
	}
	engineRequest := fosite.NewAuthorizeRequest()
	engineRequest.ID = session.code.ID
	engineRequest.Client = engineClient{request.client}
	engineRequest.ResponseTypes = fosite.Arguments{"code"}
	engineRequest.RedirectURI = redirect
	engineRequest.State = request.state
	engineRequest.RequestedScope, engineRequest.GrantedScope = request.scopes, session.code.Scopes
	engineRequest.RequestedAudience, engineRequest.GrantedAudience = fosite.Arguments{request.resource.URI}, fosite.Arguments{request.resource.URI}
	session.now = session.code.CreatedAt
	response, err := o.engine.NewAuthorizeResponse(r.Context(), engineRequest, session)
	if err != nil {
		return "", err
	}
	return o.redirectTarget(request, response.GetParameters()), nil
}

// sendToLogin sends the browser to sign in and back to this same request. What
// must be remembered on the way travels sealed in the URL.
func (o *OAuth) sendToLogin(w http.ResponseWriter, request *authorizationRequest) error {
	web.SeeOther(w, o.Issuer.Root()+"/login?"+o.queryWithStep(request))
	return nil
}

// queryWithStep is the request's query, with a note of when it first arrived if
// that will count.
func (o *OAuth) queryWithStep(request *authorizationRequest) string {
	if request.pushed != nil || request.prompt("login") || request.prompt("select_account") || request.maxAge >= 0 || request.hintedUser != "" {
		return request.query + o.step(request)
	}
	return request.query
}

// refuse answers an error that may go to the client (OAuth 2.1 §4.1.2.1). A
// self-asserted client's address is not followed before the person has signed in
// and may approve the client, nor ever on prompt=none: they see a page that names
// it.
func (o *OAuth) refuse(w http.ResponseWriter, r *http.Request, request *authorizationRequest, err error) error {
	if web.OAuthErrorOf(err).Status >= http.StatusInternalServerError {
		return err
	}
	e := web.OAuthErrorOf(err)
	web.Refused(w, e.Code)
	target := o.redirectTarget(request, errorValues(e))
	automatic := !request.client.SelfAsserted()
	if !automatic {
		// Nor is a client's address followed that nobody may approve yet, or linked
		// to when it was turned away.
		mode, err := o.Admission.Client(r.Context(), request.client)
		if err != nil {
			return err
		}
		if mode == storage.RegistrationOff {
			o.turnAway(w, r)
			return nil
		}
		automatic = mode == storage.RegistrationAllow && !request.prompt("none")
	}
	if automatic && request.client.SelfAsserted() {
		_, err := o.Sessions.SignIn(r, storage.Look{})
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		automatic = err == nil
	}
	if automatic {
		return o.leave(w, r, request, target)
	}
	o.Pages.ErrorPage(w, r, templates.ErrorPage{
		Status: http.StatusBadRequest, Title: "The application asked for something that cannot be done",
		Message: e.Description, Help: "You can return to the application, which learns of the error.",
		ReturnURL: target, ReturnHost: consent.RedirectHost(request.redirectURI),
	}, err)
	return nil
}

func (o *OAuth) showUnredirectable(w http.ResponseWriter, r *http.Request, err error) error {
	if errors.Is(err, web.ErrUnattended) {
		return o.signInFirst(w, r)
	}
	var e *unredirectable
	if !errors.As(err, &e) {
		return err
	}
	o.Pages.ErrorPage(w, r, templates.ErrorPage{Status: http.StatusBadRequest, Title: e.title, Message: e.message, Help: e.help}, err)
	return nil
}

// signInFirst sends the browser to sign in and back, before anything is done for a
// client that is not known here.
func (o *OAuth) signInFirst(w http.ResponseWriter, r *http.Request) error {
	if query, err := url.ParseQuery(r.URL.RawQuery); err != nil || slices.Contains(strings.Fields(query.Get("prompt")), "none") {
		o.Pages.ErrorPage(w, r, templates.ErrorPage{
			Status: http.StatusBadRequest, Title: "Sign in first",
			Message: "This application is not known here yet, and it asked not to show you anything, so nothing was done.",
			Help:    "Start again from the application, and let it open a sign-in page.",
		}, web.ErrUnattended)
		return nil
	}
	web.SeeOther(w, o.Issuer.Root()+"/login?"+r.URL.RawQuery)
	return nil
}

func errorValues(e *web.OAuthError) url.Values {
	values := url.Values{"error": {e.Code}}
	if e.Description != "" {
		values.Set("error_description", e.Description)
	}
	return values
}

// arrivedFromLogin reports whether the browser says that it comes from the
// sign-in page. Of grantd's pages only that one leads here by GET, so where the
// Referer is taken away, coming from the same origin says as much.
func arrivedFromLogin(r *http.Request, issuer web.Issuer) bool {
	if r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		return true
	}
	referer, err := url.Parse(r.Header.Get("Referer"))
	return err == nil && referer.Scheme+"://"+referer.Host == issuer.Origin() && referer.Path == issuer.Root()+"/login"
}

func ignoreForged(err error) error {
	if errors.Is(err, keys.ErrForged) {
		return nil
	}
	return err
}
