package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"

	"grantd/server/consent"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Decide serves POST /authorize: the answer to a consent page.
func (o *OAuth) Decide(w http.ResponseWriter, r *http.Request) error {
	if err := web.CheckOrigin(r, o.Issuer); err != nil {
		return err
	}
	form, err := readDecision(w, r)
	if err != nil {
		return err
	}
	request, answered, err := o.requested(w, r)
	if answered || err != nil {
		return err
	}
	answer := o.Consent.Read(form)
	if answered, err := o.approveAsShown(w, r, *request, answer); answered || err != nil {
		return err
	}
	signIn, answered, err := o.meet(w, r, request)
	if answered || err != nil {
		return err
	}
	q := o.question(request, signIn)
	decision, err := o.Consent.Judge(q, answer)
	switch {
	case errors.Is(err, consent.ErrForeign):
		return &web.Error{
			Status: http.StatusForbidden, Code: "foreign-approval", Title: "This page belongs to another sign-in",
			Message: "Nothing was approved. Go back to the application and start again.", Err: err,
		}
	case errors.Is(err, consent.ErrStale) && o.mustSignInAgain(request, signIn):
		// The page may have been that of a request that wants no new sign-in.
		return o.sendToLogin(w, request)
	case errors.Is(err, consent.ErrStale):
		return o.Consent.Show(w, q, http.StatusOK, "This page had become out of date, or what it asks for has changed. Please look again and decide.", "")
	case errors.Is(err, consent.ErrNothingChosen):
		return o.Consent.Show(w, q, http.StatusOK, "", "Choose at least one permission to allow, or deny the request.")
	case err != nil:
		return err
	case !decision.Approved:
		return o.deny(w, r, request, signIn)
	}
	answered, err = o.approve(w, r, request, signIn, decision)
	if err == nil && !answered {
		return o.showAnew(w, r, "What this page asks for has just changed. Please look again and decide.")
	}
	return err
}

// meet finds who is at the browser and vets the request. Where nobody is, or they may
// not approve it, it answers.
func (o *OAuth) meet(w http.ResponseWriter, r *http.Request, request *authorizationRequest) (signIn *storage.SignIn, answered bool, err error) {
	signIn, err = o.signIn(r, request)
	switch {
	case errors.Is(err, storage.ErrNotFound) && request.prompt("none"):
		return nil, true, o.refuse(w, r, request, web.NewOAuthError("login_required", "The person must sign in."))
	case errors.Is(err, storage.ErrNotFound):
		return nil, true, o.sendToLogin(w, request)
	case err != nil:
		return nil, false, err
	}
	answered, err = o.vet(w, r, request, signIn)
	return signIn, answered, err
}

// showAnew asks the person as things stand by now, since something changed while they
// were answered.
func (o *OAuth) showAnew(w http.ResponseWriter, r *http.Request, notice string) error {
	request, answered, err := o.requested(w, r)
	if answered || err != nil {
		return err
	}
	signIn, answered, err := o.meet(w, r, request)
	switch {
	case answered || err != nil:
		return err
	case request.prompt("none"):
		return o.refuse(w, r, request, web.NewOAuthError("consent_required", "The person must approve."))
	}
	return o.Consent.Show(w, o.question(request, signIn), http.StatusOK, notice, "")
}

// approveAsShown is an approval as it usually is, by the person whom the page was shown
// to and who has not changed since: of them the page says enough, and that they are the
// same, and still signed in, is proved by the statement that writes the approval. In
// every other case it answers nothing and has changed nothing: then the person must be
// looked up. The request is a copy, which is narrowed to what may be out of date.
// (docs/adr/0039)
func (o *OAuth) approveAsShown(w http.ResponseWriter, r *http.Request, request authorizationRequest, answer consent.Answer) (answered bool, err error) {
	signIn := answer.SignIn(o.Sessions.TokenHash(r))
	if signIn == nil {
		return false, nil
	}
	if may, err := o.mayApprove(r.Context(), &request, signIn); !may || err != nil {
		return false, err
	}
	decision, err := o.Consent.Judge(o.question(&request, signIn), answer)
	if err != nil || !decision.Approved {
		return false, nil //nolint:nilerr // whoever looks the person up learns it too
	}
	return o.approve(w, r, &request, signIn, decision)
}

// mayApprove reports whether the signed-in person may approve what is asked, or some of
// it: then the request is narrowed to that, and says what the page says of its client.
func (o *OAuth) mayApprove(ctx context.Context, request *authorizationRequest, signIn *storage.SignIn) (bool, error) {
	mode, err := o.Admission.Client(ctx, request.client)
	if err != nil || mode != storage.RegistrationAllow {
		return false, err
	}
	if err := o.recognise(ctx, request); err != nil {
		return false, err
	}
	if request.rules, err = o.rules(ctx, request.client, request.resource); err != nil {
		return false, err
	}
	if request.rules.askGroups() && !signIn.Look.Groups || !narrow(request, signIn) {
		return false, nil
	}
	lacking, err := o.lacksFactor(ctx, request, signIn)
	return !lacking, err
}

// readDecision reads the form of a consent page and nothing else: what the
// request asks is in the URL alone.
func readDecision(w http.ResponseWriter, r *http.Request) (web.Parameters, error) {
	form, err := web.ReadForm(r, consent.FieldScope)
	switch {
	case errors.Is(err, web.ErrContentType):
		return form, &web.Error{Status: http.StatusUnsupportedMediaType, Code: "content-type", Message: "The answer must be sent by the form of the page."}
	case err != nil:
		return form, &web.Error{Status: http.StatusBadRequest, Code: "malformed", Message: "The answer could not be read. Nothing was approved."}
	case !form.Has(consent.FieldDecision):
		w.Header().Set("Allow", "GET, HEAD")
		return form, &web.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Message: "Authorization requests are sent by GET."}
	}
	decision := form.Get(consent.FieldDecision)
	unknown := len(form.Repeated) > 0 || (decision != "approve" && decision != "deny")
	for name := range form.Values {
		unknown = unknown || !slices.Contains([]string{consent.FieldDecision, consent.FieldApproval, consent.FieldScope}, name)
	}
	if unknown {
		return form, &web.Error{
			Status: http.StatusBadRequest, Code: "malformed", Title: "That was not on the page",
			Message: "The answer has something that the page did not ask. Nothing was approved.",
		}
	}
	return form, nil
}

// approve writes the Grant and the code, and answers, unless what it relies on is not
// so any more: then it has changed nothing.
func (o *OAuth) approve(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn, decision consent.Decision) (answered bool, err error) {
	target, err := o.grant(r, request, signIn, decision.Nonce, decision.Scopes, false)
	switch {
	case errors.Is(err, storage.ErrConsumed):
		return false, answeredBefore(err)
	case errors.Is(err, storage.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	respond(w, target)
	return true, nil
}

// answeredBefore is the answer to whoever decides what was decided.
func answeredBefore(err error) error {
	return &web.Error{
		Status: http.StatusConflict, Code: "already-decided", Title: "This page was answered before",
		Message: "The application has its answer already. If it is still waiting, go back to it and start again.", Err: err,
	}
}

// deny tells the client. A self-asserted client's address is not followed
// without the person's click.
func (o *OAuth) deny(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) error {
	if err := o.denyPushed(r.Context(), request, signIn); errors.Is(err, storage.ErrConsumed) {
		return answeredBefore(err)
	} else if err != nil {
		return err
	}
	web.Refused(w, "access_denied")
	target := o.redirectTarget(request, errorValues(web.NewOAuthError("access_denied", "The person denied the request.")))
	if !request.client.SelfAsserted() {
		respond(w, target)
		return nil
	}
	page := templates.ContinuePage{
		Title: "You denied the request", Message: "Nothing was allowed. You can close this page, or tell the application:",
		URL: target, Host: consent.RedirectHost(request.redirectURI),
	}
	return o.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return o.Pages.Templates.Continue(out, page) })
}
