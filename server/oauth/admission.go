package oauth

import (
	"context"
	"errors"
	"net/http"

	"grantd/server/consent"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Admission judges clients that introduce themselves, before a person may approve
// them. Its errors are outages.
type Admission interface {
	// Client returns storage.RegistrationAllow, RegistrationAskAdmin or
	// RegistrationOff.
	Client(ctx context.Context, c *storage.Client) (storage.RegistrationMode, error)
	// Known returns what a client is known as by where it comes from, or "".
	Known(ctx context.Context, c *storage.Client) (string, error)
	// Strange returns the titles of the client profiles that a client has nothing to
	// do with.
	Strange(c *storage.Client) []string
	// Level returns how far a client is known.
	Level(ctx context.Context, c *storage.Client) (storage.ClientTrust, error)
}

// requestLimits bound what people may ask of the administrators.
var requestLimits = storage.RequestLimits{Pending: 1000, OfUser: 10}

// admit answers the request of a client that the signed-in person may not approve:
// with a page that says so, and where it may be allowed yet, with a way to ask for
// it. It writes nothing.
func (o *OAuth) admit(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) (answered bool, err error) {
	mode, err := o.Admission.Client(r.Context(), request.client)
	if err != nil {
		return false, err
	}
	switch {
	case mode == storage.RegistrationAllow:
		return false, o.recognise(r.Context(), request)
	case mode == storage.RegistrationOff:
		o.turnAway(w, r)
		return true, nil
	case request.prompt("none"):
		return true, o.refuse(w, r, request, web.NewOAuthError("consent_required", "An administrator must allow this application first."))
	}
	return true, o.showAsk(w, r, request, signIn, "")
}

// recognise finds out what the pages say of how far the client is known.
func (o *OAuth) recognise(ctx context.Context, request *authorizationRequest) (err error) {
	if request.known, err = o.Admission.Known(ctx, request.client); err != nil {
		return err
	}
	if request.trust, err = o.Admission.Level(ctx, request.client); err != nil {
		return err
	}
	request.looksLike, err = o.looksLike(ctx, request.client)
	return err
}

// looksLike is the name that people here know, and may take that of a client for.
// One that an admin registered has the name that the admin gave it.
func (o *OAuth) looksLike(ctx context.Context, c *storage.Client) (consent.Known, error) {
	if !c.SelfAsserted() {
		return consent.Known{}, nil
	}
	clients, err := o.Catalog.RegisteredClients(ctx)
	if err != nil {
		return consent.Known{}, err
	}
	resources, err := o.Catalog.Resources(ctx)
	if err != nil {
		return consent.Known{}, err
	}
	known, _ := consent.LooksLike(c.ClientName, consent.Names(clients, resources, o.Admission.Strange(c)))
	return known, nil
}

// showAsk shows the page that asks for an administrator, as it stands for this
// person.
func (o *OAuth) showAsk(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn, problem string) error {
	reference := ""
	asked, mine, err := o.Store.RegistrationRequestOf(r.Context(), request.client.ClientID, signIn.User.ID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return err
	case mine && asked.State == storage.RequestPending:
		reference = asked.ID
	}
	if err := o.recognise(r.Context(), request); err != nil {
		return err
	}
	return o.Consent.ShowAsk(w, o.question(request, signIn), reference, problem)
}

// turnAway says that a client is not let in. It links nowhere: the client's
// address may be why.
func (o *OAuth) turnAway(w http.ResponseWriter, r *http.Request) {
	o.Pages.ErrorPage(w, r, templates.ErrorPage{
		Status: http.StatusBadRequest, Title: "This application is not allowed here",
		Message: "The administrators of this server do not let it in, so nothing was done and nothing was sent to it.",
		Help:    "If you need it, ask an administrator.",
	}, errors.New("the registration policy turns the client away"))
}

// Ask serves POST /authorize/ask: a person asks the administrators to allow a
// client. It is the first thing that is written of a request, and a signed-in
// person's own act.
func (o *OAuth) Ask(w http.ResponseWriter, r *http.Request) error {
	if err := web.CheckOrigin(r, o.Issuer); err != nil {
		return err
	}
	form, err := web.ReadForm(r)
	if errors.Is(err, web.ErrContentType) {
		return &web.Error{Status: http.StatusUnsupportedMediaType, Code: "content-type", Message: "The request must be sent by the form of the page."}
	} else if err != nil || len(form.Repeated) > 0 {
		return &web.Error{Status: http.StatusBadRequest, Code: "malformed", Message: "The request could not be read. Nobody was asked."}
	}
	request, answered, err := o.requested(w, r)
	if answered || err != nil {
		return err
	}
	signIn, err := o.Sessions.SignIn(r, storage.Look{ClientID: request.client.ID, ResourceID: request.resource.ID, ClientKnown: true})
	if errors.Is(err, storage.ErrNotFound) {
		return o.sendToLogin(w, request)
	} else if err != nil {
		return err
	}
	switch mode, err := o.Admission.Client(r.Context(), request.client); {
	case err != nil:
		return err
	case mode == storage.RegistrationOff:
		o.turnAway(w, r)
		return nil
	case mode == storage.RegistrationAllow:
		return o.lookAgain(w, request, signIn)
	}
	switch err := o.Consent.JudgeAsk(o.question(request, signIn), form); {
	case errors.Is(err, consent.ErrForeign):
		return &web.Error{
			Status: http.StatusForbidden, Code: "foreign-request", Title: "This page belongs to another sign-in",
			Message: "Nobody was asked. Go back to the application and start again.", Err: err,
		}
	case errors.Is(err, consent.ErrStale):
		return o.showAsk(w, r, request, signIn, "This page had become out of date, or what the application says of itself has changed. Please look again, then ask.")
	case err != nil:
		return err
	}
	return o.ask(w, r, request, signIn)
}

// ask writes the request to the administrators.
func (o *OAuth) ask(w http.ResponseWriter, r *http.Request, request *authorizationRequest, signIn *storage.SignIn) error {
	client, now := request.client, o.Now()
	asked := &storage.RegistrationRequest{
		ID: storage.NewID(storage.PrefixRegistrationRequest), ClientID: client.ClientID, Source: client.Source,
		ClientName: client.ClientName, RedirectURIs: client.RedirectURIs, State: storage.RequestPending, CreatedAt: now,
	}
	event := storage.NewAuditEvent(now, "user:"+signIn.User.ID, "registration_request.created", client.ClientID).
		With("client_name", client.ClientName).With("redirect_uri", request.redirectURI)
	err := o.Store.AskRegistration(r.Context(), asked, signIn.User.ID, requestLimits, event)
	switch {
	case errors.Is(err, storage.ErrFull):
		return o.showAsk(w, r, request, signIn, "Too many requests wait for your administrators already, yours or everybody's. Please ask them in another way, or try again later.")
	case errors.Is(err, storage.ErrNotFound):
		return o.sendToLogin(w, request)
	case err != nil && !errors.Is(err, storage.ErrConflict): // decided meanwhile: the page will say how
		return err
	}
	return o.lookAgain(w, request, signIn)
}

// lookAgain sends the browser to the request itself, so that reloading the page
// shows how things stand. The sign-in has just been good for it, and still is.
func (o *OAuth) lookAgain(w http.ResponseWriter, request *authorizationRequest, signIn *storage.SignIn) error {
	request.arrivedAt = signIn.Session.AuthenticatedAt
	web.SeeOther(w, o.Issuer.Root()+"/authorize?"+o.queryWithStep(request))
	return nil
}
