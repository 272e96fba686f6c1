package login

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"

	"grantd/server/factor"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// The fields of the forms that the script of the pages fills in.
const (
	fieldChallenge = "challenge"
	fieldPasskey   = "passkey"
)

// What the pages say about passkeys.
const (
	wrongPasskey = "That passkey was not accepted. Try again, or sign in another way."
	latePasskey  = "That took too long, or another page was open. Try again."
	takenPasskey = "That passkey is in use already. Make another one."
	byProvider   = "You sign in with your identity provider. This passkey does not stand in for that."

	passwordUnused = "Your organisation lets people sign in with passkeys alone. Your password was not looked at."
)

// passkeysOnly reports whether a password proves nothing.
func (h *Handler) passkeysOnly(ctx context.Context) (bool, error) {
	if h.Rule == nil {
		return false, nil
	}
	rule, err := h.Rule(ctx)
	return rule == storage.SecondFactorPasskeysOnly, err
}

// signInWithPasskey signs in whoever's passkey has signed: two factors in one, without
// a user name or a password. An unknown passkey, a wrong signature and a disabled user
// get the same answer.
func (h *Handler) signInWithPasskey(w http.ResponseWriter, r *http.Request, form web.Parameters) error {
	if !h.Factors.OffersPasskeys() {
		return h.form(w, r, http.StatusBadRequest, "", outOfDate)
	}
	counts := h.passkeyCounts(r)
	if refused := h.codes.passkey.refusal(counts); refused != nil {
		announce(w, refused)
		return h.form(w, r, refused.status, "", refused.problem)
	}
	userID, err := h.Factors.UsePasskey(r.Context(), "", form.Get(fieldChallenge), form.Get(fieldPasskey), h.cloned(r))
	var user *storage.User
	if err == nil {
		user, err = h.passkeyUser(r.Context(), userID)
	}
	if err == nil && !user.VerifiedUntil.IsZero() {
		return h.form(w, r, http.StatusForbidden, "", byProvider)
	}
	if err == nil {
		_, err = h.Sessions.Start(w, r, user, session.How{
			Method: "passkey", AMR: storage.AMRPasskey, Address: h.Addresses.Of(r).String(), Still: h.Factors.Still(user.ID),
		})
	}
	switch {
	case errors.Is(err, factor.ErrStale):
		return h.form(w, r, http.StatusBadRequest, "", latePasskey)
	case errors.Is(err, factor.ErrWrong), errors.Is(err, storage.ErrNotFound):
		h.attempts.report(r, "", nil, "wrong passkey", h.codes.passkey.fail(counts))
		refused := &refusal{status: http.StatusUnauthorized, problem: wrongPasskey}
		announce(w, refused)
		return h.form(w, r, refused.status, "", refused.problem)
	case err != nil:
		return err
	}
	h.codes.passkey.forgive(counts)
	return h.seeOther(w, ReturnTo(r.URL.RawQuery))
}

// passkeyUser finds the enabled user whose passkey has signed. factor.ErrWrong.
func (h *Handler) passkeyUser(ctx context.Context, id string) (*storage.User, error) {
	user, err := h.Store.User(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && user.Disabled {
		return nil, factor.ErrWrong
	}
	return user, err
}

// passkeyCounts says which counts a failure goes to before anybody is named: that of a
// browser in which somebody has signed in before, else the address's. There is none of
// all strangers together, which one of them could use up for everybody: signatures
// cannot be guessed.
func (h *Handler) passkeyCounts(r *http.Request) []count {
	if device, ok := h.Sessions.Device(r); ok {
		return h.codes.passkey.ofDevice(device.ID)
	}
	return []count{{h.codes.passkey.address, "address", h.Addresses.Key(r), false}}
}

// takePasskey signs in whoever adds a passkey to what they have proved.
func (h *Handler) takePasskey(w http.ResponseWriter, r *http.Request, user *storage.User, s step, factors *storage.Factors, form web.Parameters) error {
	limits := h.codes.passkey
	counts := h.attempts.countsIn(limits, r, user.Username, user)
	if refused := limits.refusal(counts); refused != nil {
		announce(w, refused)
		return h.showSecond(w, r, refused.status, user, s, factors, refused.problem)
	}
	_, err := h.Factors.UsePasskey(r.Context(), user.ID, form.Get(fieldChallenge), form.Get(fieldPasskey), h.cloned(r))
	switch {
	case errors.Is(err, factor.ErrStale):
		return h.showSecond(w, r, http.StatusBadRequest, user, s, factors, latePasskey)
	case errors.Is(err, factor.ErrWrong):
		h.attempts.report(r, user.Username, user, "wrong passkey", limits.fail(counts))
		refused := &refusal{status: http.StatusUnauthorized, problem: wrongPasskey}
		announce(w, refused)
		return h.showSecond(w, r, refused.status, user, s, factors, refused.problem)
	case err != nil:
		return err
	}
	limits.forgive(counts)
	return h.raiseAndReturn(w, r, user, s, "password and passkey", storage.AMRPasskey...)
}

// enrolPasskey makes a passkey for somebody who needs a second factor to sign in, and
// signs them in.
func (h *Handler) enrolPasskey(w http.ResponseWriter, r *http.Request, user *storage.User, s step, form web.Parameters) error {
	ctx, now := r.Context(), h.Now()
	event := func(action string) storage.AuditEvent {
		return storage.NewAuditEvent(now, "user:"+user.ID, action, user.ID).With("address", h.Addresses.Of(r).String())
	}
	name := cmp.Or(h.Browser(web.UserAgent(r)), factor.UnnamedPasskey)
	p, err := h.Factors.FinishPasskey(user.ID, boundToStep, form.Get(fieldChallenge), form.Get(fieldPasskey), name)
	if err == nil {
		err = h.Factors.Passkeys.CreatePasskey(ctx, p, event("passkey.created").With("passkey_id", p.ID).With("name", p.Name))
	}
	problem := ""
	switch {
	case errors.Is(err, factor.ErrStale):
		problem = latePasskey
	case errors.Is(err, factor.ErrWrong):
		problem = wrongPasskey
	case errors.Is(err, storage.ErrExists):
		problem = takenPasskey
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrFull):
		return h.form(w, r, http.StatusBadRequest, "", outOfDate)
	case err != nil:
		return err
	}
	if problem != "" {
		begun, err := h.Factors.BeginTOTP(user)
		if err != nil {
			return err
		}
		return h.showEnrolment(w, r, http.StatusBadRequest, user, s, begun, problem)
	}
	codes, err := h.Factors.NewRecoveryCodes(ctx, user.ID, event("recovery_codes.created"))
	if err != nil {
		return err
	}
	if err := h.raise(w, r, user, s, "password and passkey", storage.AMRPasskey...); err != nil {
		return err
	}
	return h.showRecoveryCodes(w, r, codes)
}

// boundToStep is what a passkey is made for that a step of a sign-in needs. The step
// itself says whose it is.
const boundToStep = "sign-in step"

// asked has the browser use a passkey: one of the user's, or with nil any.
func (h *Handler) asked(user *storage.User, has []*storage.Passkey) (templates.PasskeyForm, error) {
	if !h.Factors.OffersPasskeys() {
		return templates.PasskeyForm{}, nil
	}
	return passkeyForm(h.Factors.AskPasskey(user, has))
}

// begun has the browser make a passkey for the user, who has none yet.
func (h *Handler) begun(user *storage.User) (templates.PasskeyForm, error) {
	if !h.Factors.OffersPasskeys() {
		return templates.PasskeyForm{}, nil
	}
	return passkeyForm(h.Factors.BeginPasskey(user, nil, boundToStep))
}

func passkeyForm(c *factor.Ceremony, err error) (templates.PasskeyForm, error) {
	if err != nil {
		return templates.PasskeyForm{}, err
	}
	return templates.PasskeyForm{Options: c.Options, Challenge: c.Sealed}, nil
}

// formsOf is the policy of a page with this form on it, or with none.
func formsOf(form templates.PasskeyForm) web.FormPolicy {
	if form.Options == "" {
		return web.OwnForms
	}
	return web.PasskeyForms
}

// cloned makes the event of a key that may have a copy.
func (h *Handler) cloned(r *http.Request) func(*storage.Passkey) storage.AuditEvent {
	return func(p *storage.Passkey) storage.AuditEvent {
		return storage.NewAuditEvent(h.Now(), "system", "passkey.cloned", p.UserID).With("passkey_id", p.ID).With("name", p.Name).With("address", h.Addresses.Of(r).String())
	}
}

// announce sets the headers of a refusal.
func announce(w http.ResponseWriter, refused *refusal) {
	web.Refused(w, refused.reason())
	if refused.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(refused.retryAfter))
	}
}
