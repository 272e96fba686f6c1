package oauth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"grantd/server/consent"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// userCodeParameter is the one parameter of /device, in the query and in the form.
const userCodeParameter = "user_code"

// How many wrong user codes are too many. They count per person, whom no new
// session makes another, and per address.
const (
	wrongCodesOfUser    = 5
	wrongCodesOfAddress = 20
	wrongCodesWindow    = storage.DeviceLifetime
)

// Device serves GET /device (RFC 8628 §3.3): it asks for the code that a device
// shows. A code in the URL is filled in and no more: whoever follows a link must
// still say that the device is theirs.
func (o *OAuth) Device(w http.ResponseWriter, r *http.Request) error {
	typed := ""
	if query, err := web.ParseParameters(r.URL.RawQuery); err == nil && len(query.Repeated) == 0 {
		typed = query.Get(userCodeParameter)
	}
	signIn, err := o.Sessions.SignIn(r, storage.Look{})
	if errors.Is(err, storage.ErrNotFound) {
		return o.signInForDevice(w, typed)
	} else if err != nil {
		return err
	}
	return o.askForCode(w, signIn, http.StatusOK, knownShape(typed), "")
}

// ConnectDevice serves POST /device: first the code, which is answered with what
// the device asks for, then the answer to that. The code comes along both times,
// so nothing is remembered between the two.
func (o *OAuth) ConnectDevice(w http.ResponseWriter, r *http.Request) error {
	if err := web.CheckOrigin(r, o.Issuer); err != nil {
		return err
	}
	form, err := readDeviceForm(r)
	if err != nil {
		return err
	}
	typed := form.Get(userCodeParameter)
	signIn, err := o.Sessions.SignIn(r, storage.Look{Groups: true})
	if errors.Is(err, storage.ErrNotFound) {
		return o.signInForDevice(w, typed)
	} else if err != nil {
		return err
	}
	code, ok := readUserCode(typed)
	if !ok {
		return o.askForCode(w, signIn, http.StatusBadRequest, typed, "A code has eight letters, like WDJB\u2011MJHT. Look at your device and enter it again.")
	}
	d, err := o.findDevice(r, signIn, code)
	if errors.Is(err, storage.ErrNotFound) {
		return o.askForCode(w, signIn, http.StatusBadRequest, typed,
			"No device waits with this code. Check it, and if it is right, start again on the device: a code works once and for ten minutes.")
	} else if err != nil {
		return err
	}
	q, err := o.deviceQuestion(r.Context(), d, signIn, showUserCode(code))
	if err != nil {
		return err
	}
	if !form.Has(consent.FieldDecision) {
		return o.showDevice(w, r, q, "", "")
	}
	return o.decideDevice(w, r, q, form)
}

// showDevice shows what a device asks for as things stand by now, and what of it was
// allowed before.
func (o *OAuth) showDevice(w http.ResponseWriter, r *http.Request, q consent.Question, notice, problem string) error {
	signIn, err := o.Sessions.SignIn(r, storage.Look{ClientID: q.Client.ID, ResourceID: q.Resource.ID, Groups: true})
	if errors.Is(err, storage.ErrNotFound) {
		return o.signInForDevice(w, q.UserCode)
	} else if err != nil {
		return err
	}
	if q, err = o.deviceQuestion(r.Context(), q.Device, signIn, q.UserCode); err != nil {
		return err
	}
	return o.Consent.Show(w, q, http.StatusOK, notice, problem)
}

// decideDevice carries out the answer to a page.
func (o *OAuth) decideDevice(w http.ResponseWriter, r *http.Request, q consent.Question, form web.Parameters) error {
	decision, err := o.Consent.Judge(q, o.Consent.Read(form))
	switch {
	case errors.Is(err, consent.ErrForeign):
		return &web.Error{
			Status: http.StatusForbidden, Code: "foreign-approval", Title: "This page belongs to another sign-in",
			Message: "Nothing was approved. Enter the code of your device again.", Err: err,
		}
	case errors.Is(err, consent.ErrStale):
		return o.showDevice(w, r, q, "This page had become out of date, or what it asks for has changed. Please look again and decide.", "")
	case errors.Is(err, consent.ErrNothingChosen):
		return o.showDevice(w, r, q, "", "Choose at least one permission to allow, or deny the request.")
	case err != nil:
		return err
	}
	now, user := o.Now(), &q.SignIn.User
	if decision.Approved {
		event := storage.NewAuditEvent(now, "user:"+user.ID, "grant.approved", q.Device.ID).
			With("client_id", q.Client.ID).With("resource_id", q.Resource.ID).With("scope", strings.Join(decision.Scopes, " ")).
			With("shown", strings.Join(q.Scopes, " "))
		event = withPolicies(event, q.Decision, decision.Scopes)
		err = o.Store.ApproveDeviceAuthorization(r.Context(), &storage.DeviceApproval{
			ID: q.Device.ID, Approver: q.SignIn.Approver(), UserID: user.ID, ClientID: q.Client.ID, ResourceID: q.Resource.ID,
			Scopes: decision.Scopes, Shown: q.Scopes, ClientName: q.Client.ClientName, Now: now,
		}, event)
	} else {
		event := storage.NewAuditEvent(now, "user:"+user.ID, "device_authorization.denied", q.Device.ID).With("client_id", q.Client.ID)
		err = o.Store.DenyDeviceAuthorization(r.Context(), q.Device.ID, q.SignIn.Session.ID, now, event)
	}
	switch {
	case errors.Is(err, storage.ErrConsumed):
		return &web.Error{
			Status: http.StatusConflict, Code: "already-decided", Title: "This page was answered before",
			Message: "The device has its answer already. If it is still waiting, start again on the device.", Err: err,
		}
	case errors.Is(err, storage.ErrNotFound):
		return o.showDevice(w, r, q, "What this page asks for has just changed. Please look again and decide.", "")
	case err != nil:
		return err
	}
	page := templates.DeviceDonePage{Connected: decision.Approved, AccountURL: o.Issuer.Root() + "/account"}
	return o.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return o.Pages.Templates.DeviceDone(out, page) })
}

// findDevice looks a user code up, within the limits on wrong ones: an attempt
// counts before it is made and is given back when it was right, so that many at
// once are no more than the limits. storage.ErrNotFound; a 429 *web.Error.
func (o *OAuth) findDevice(r *http.Request, signIn *storage.SignIn, code string) (*storage.DeviceAuthorization, error) {
	user, address := signIn.User.ID, o.ClientAuth.Addresses.Key(r)
	if wait := o.wrongCodesOfUser.Take(user); wait > 0 {
		return nil, tooManyCodes(wait)
	}
	if wait := o.wrongCodesOfAddress.Take(address); wait > 0 {
		o.wrongCodesOfUser.Give(user)
		return nil, tooManyCodes(wait)
	}
	d, err := o.Store.PendingDeviceAuthorization(r.Context(), o.Root.Fingerprints(userCodePurpose, []byte(code)), o.Now())
	if errors.Is(err, storage.ErrNotFound) {
		o.reportWrongCode(r, user, address)
		return nil, err
	}
	o.wrongCodesOfUser.Give(user)
	o.wrongCodesOfAddress.Give(address)
	return d, err
}

// reportWrongCode audits that a limit was reached, which happens once in its
// window.
func (o *OAuth) reportWrongCode(r *http.Request, user, address string) {
	for limit, reached := range map[string]bool{
		"user": o.wrongCodesOfUser.Blocked(user) > 0, "address": o.wrongCodesOfAddress.Blocked(address) > 0,
	} {
		if !reached {
			continue
		}
		event := storage.NewAuditEvent(o.Now(), "user:"+user, "user_code.guessing_blocked", user).
			With("limit", limit).With("address", o.ClientAuth.Addresses.Of(r).String())
		if err := o.Store.RecordAuditEvent(r.Context(), event); err != nil {
			slog.ErrorContext(r.Context(), "an audit event could not be written", "action", event.Action, "error", err.Error())
		}
	}
}

// deviceQuestion is what a person is asked about a device: what it asks for, as
// far as that can still be granted. userCode is its code as people see it.
func (o *OAuth) deviceQuestion(ctx context.Context, d *storage.DeviceAuthorization, signIn *storage.SignIn, userCode string) (consent.Question, error) {
	impossible := &web.Error{
		Status: http.StatusBadRequest, Code: "device-not-allowed", Title: "This device cannot be connected",
		Message: "What it asks for is not available any more, or not to this application. Nothing was approved. Start again on the device, or ask your administrator.",
	}
	client, err := o.Catalog.ClientByID(ctx, d.ClientID)
	if errors.Is(err, storage.ErrNotFound) {
		return consent.Question{}, impossible
	} else if err != nil {
		return consent.Question{}, err
	}
	if mode, err := o.Admission.Client(ctx, client); err != nil {
		return consent.Question{}, err
	} else if mode != storage.RegistrationAllow {
		return consent.Question{}, impossible
	}
	resource, err := o.resourceByID(ctx, d.ResourceID)
	if errors.Is(err, storage.ErrNotFound) {
		return consent.Question{}, impossible
	} else if err != nil {
		return consent.Question{}, err
	}
	scopes := client.Within(storage.Intersect(resource.ScopeNames(), d.Scopes))
	if client.Disabled || !client.MayUse(storage.GrantTypeDeviceCode) || !client.MayReach(resource) || len(scopes) == 0 {
		return consent.Question{}, impossible
	}
	identity := identityNow(client, d.Scopes, storage.Standing{Scopes: d.Scopes})
	if resource.Identity() { // what is told of a person is for them to decide
		return o.askAbout(ctx, consent.Question{Client: client, Resource: resource, Scopes: identity, SignIn: signIn, Device: d, UserCode: userCode})
	}
	decision, err := o.decide(ctx, client, resource, signIn.User.Groups, scopes)
	if err != nil {
		return consent.Question{}, err
	}
	allowed := decision.Allowed()
	if len(allowed) == 0 && resource.BuiltIn() {
		return consent.Question{}, &web.Error{
			Status: http.StatusForbidden, Code: "not-administrator", Title: "Only administrators may do this",
			Message: "The device asks to administer this server, which only members of the group " + storage.AdminGroup + " may. Nothing was approved.",
		}
	}
	if len(allowed) == 0 {
		return consent.Question{}, &web.Error{
			Status: http.StatusForbidden, Code: "not-allowed-by-policy", Title: "Your organisation does not allow this",
			Message: "By your organisation's policy you cannot let this device use this MCP server in the way it asks. Nothing was allowed. If you need it, ask an administrator.",
		}
	}
	if needed, err := o.destructive(ctx, resource, allowed); err != nil {
		return consent.Question{}, err
	} else if needed && signIn.Session.ACR() != storage.ACRMultiFactor {
		return consent.Question{}, &web.Error{
			Status: http.StatusForbidden, Code: "second-factor-needed", Title: "This device needs a sign-in with a second factor",
			Message: "It asks for permissions that can destroy something. Nothing was allowed.",
			Help:    "Set up a second factor on your account page, and enter the code of your device again.",
		}
	}
	return o.askAbout(ctx, consent.Question{
		Client: client, Resource: resource, Scopes: append(allowed, identity...), Decision: decision.Of(allowed),
		Withheld: slices.DeleteFunc(scopes, func(s string) bool { return slices.Contains(allowed, s) }),
		SignIn:   signIn, Device: d, UserCode: userCode,
	})
}

// askAbout adds to a question what is known of its client.
func (o *OAuth) askAbout(ctx context.Context, q consent.Question) (consent.Question, error) {
	var err error
	if q.Trust, err = o.Admission.Level(ctx, q.Client); err != nil {
		return consent.Question{}, err
	}
	if q.LooksLike, err = o.looksLike(ctx, q.Client); err != nil {
		return consent.Question{}, err
	}
	return q, nil
}

// askForCode shows the page that asks for a code.
func (o *OAuth) askForCode(w http.ResponseWriter, signIn *storage.SignIn, status int, typed, problem string) error {
	root := o.Issuer.Root()
	page := templates.DevicePage{
		Action: root + "/device", UserCode: typed, Problem: problem,
		Account: templates.Account{Name: signIn.User.Name, Username: signIn.User.Username}, SwitchAccountURL: root + loginForDevice(typed),
	}
	return o.Pages.Write(w, status, web.OwnForms, func(out io.Writer) error { return o.Pages.Templates.Device(out, page) })
}

// signInForDevice sends the browser to sign in and back to /device.
func (o *OAuth) signInForDevice(w http.ResponseWriter, typed string) error {
	web.SeeOther(w, o.Issuer.Root()+loginForDevice(typed))
	return nil
}

// loginForDevice is the path of the sign-in page that leads back to /device. Only
// what can be a user code is kept.
func loginForDevice(typed string) string {
	return "/login?" + userCodeParameter + "=" + url.QueryEscape(knownShape(typed))
}

// knownShape is a user code as people see it, or "" for what cannot be one.
func knownShape(typed string) string {
	code, ok := readUserCode(typed)
	if !ok {
		return ""
	}
	return showUserCode(code)
}

// readDeviceForm reads the form of either page of /device and nothing else.
func readDeviceForm(r *http.Request) (web.Parameters, error) {
	form, err := web.ReadForm(r, consent.FieldScope)
	switch {
	case errors.Is(err, web.ErrContentType):
		return form, &web.Error{Status: http.StatusUnsupportedMediaType, Code: "content-type", Message: "The code must be sent by the form of the page."}
	case err != nil:
		return form, &web.Error{Status: http.StatusBadRequest, Code: "malformed", Message: "The answer could not be read. Nothing was approved."}
	}
	decision := form.Get(consent.FieldDecision)
	unknown := len(form.Repeated) > 0 || (form.Has(consent.FieldDecision) && decision != "approve" && decision != "deny")
	for name := range form.Values {
		unknown = unknown || !slices.Contains([]string{userCodeParameter, consent.FieldDecision, consent.FieldApproval, consent.FieldScope}, name)
	}
	if unknown {
		return form, &web.Error{
			Status: http.StatusBadRequest, Code: "malformed", Title: "That was not on the page",
			Message: "The answer has something that the page did not ask. Nothing was approved.",
		}
	}
	return form, nil
}

func tooManyCodes(wait int) error {
	message, values := "Wait a minute, then start again on your device and enter the code that it shows.", map[string]string(nil)
	if wait > 60 {
		message = "Wait {minutes} minutes, then start again on your device and enter the code that it shows."
		values = map[string]string{"minutes": strconv.Itoa((wait + 59) / 60)}
	}
	return &web.Error{
		Status: http.StatusTooManyRequests, Code: "too-many-codes", Title: "Too many wrong codes",
		Message: message, Values: values, RetryAfter: wait,
	}
}

// failureLimit is a limit on something in a time.
func (c Config) failureLimit(failures int, window time.Duration) *web.FailureLimit {
	return &web.FailureLimit{Failures: failures, Window: window, Now: c.Now}
}
