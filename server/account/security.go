package account

import (
	"errors"
	"io"
	"net/http"
	"time"

	"grantd/server/factor"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// freshFor is how long after a sign-in a second factor may be changed.
const freshFor = 10 * time.Minute

var securityNotices = map[string]string{
	"removed":         "The authenticator app is removed.",
	"passkey_made":    "The passkey is made. You can sign in with it.",
	"passkey_renamed": "The passkey has its new name.",
	"passkey_removed": "The passkey is removed. You may want to delete it on your device, too.",
}

// Security shows the second factor (GET and HEAD) and changes it (POST).
func (h *Handler) Security() http.Handler { return h.attend(h.security) }

func (h *Handler) security(v *visit) error {
	factors, err := h.Factors.Of(v.r.Context(), v.user().ID)
	if err != nil {
		return err
	}
	if v.r.Method == http.MethodPost {
		return h.changeFactors(v, factors)
	}
	return h.showSecurity(v, http.StatusOK, factors, "")
}

func (h *Handler) showSecurity(v *visit, status int, factors *storage.Factors, problem string) error {
	page := templates.SecurityPage{
		Action: h.root + "/account/security", Page: v.signIn.Session.ID, Notice: securityNotices[v.r.URL.Query().Get("done")],
		RecoveryCodes: factors.RecoveryCodes, EnrolURL: h.root + "/account/security/totp", AccountURL: h.root + "/account",
		Passkeys: passkeysOf(factors), NoPasskeys: !h.Factors.OffersPasskeys(), Problem: problem,
	}
	if !page.NoPasskeys && len(page.Passkeys) < storage.MaxPasskeys {
		page.PasskeyURL = h.root + "/account/security/passkey"
	}
	if problem != "" {
		page.Notice = ""
	}
	if t := factors.TOTP; t != nil {
		page.TOTP, page.TOTPSince, page.TOTPLastUsed = true, t.CreatedAt, t.LastUsedAt
	}
	return h.Pages.Write(v.w, status, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Security(out, page) })
}

// fresh reports whether the visitor has just signed in with all that they have; if
// not, it sends them to do so.
func (h *Handler) fresh(v *visit, factors *storage.Factors) bool {
	s := &v.signIn.Session
	if h.Now().Sub(s.AuthenticatedAt) <= freshFor && (!factors.Any() || s.ACR() == storage.ACRMultiFactor) {
		return true
	}
	web.SeeOther(v.w, h.root+"/login?account=security")
	return false
}

func (h *Handler) changeFactors(v *visit, factors *storage.Factors) error {
	form, err := v.form()
	if err != nil || !h.fresh(v, factors) {
		return err
	}
	switch ctx, id := v.r.Context(), v.user().ID; form.Get("act") {
	case "remove_totp":
		if err := h.Store.DeleteTOTP(ctx, id, h.event(v, "totp.deleted", id)); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		web.SeeOther(v.w, h.root+"/account/security?done=removed")
		return nil
	case "new_codes":
		return h.showNewCodes(v)
	case "rename_passkey":
		return h.renamePasskey(v, form)
	case "remove_passkey":
		return h.removePasskey(v, form, factors)
	}
	return &web.Error{Status: http.StatusBadRequest, Code: "malformed", Message: "The form does not say what to do. Nothing was changed."}
}

// showNewCodes makes recovery codes and shows them, this once.
func (h *Handler) showNewCodes(v *visit) error {
	codes, err := h.Factors.NewRecoveryCodes(v.r.Context(), v.user().ID, h.event(v, "recovery_codes.created", v.user().ID))
	if err != nil {
		return err
	}
	page := templates.RecoveryCodesPage{Codes: codes, ContinueURL: h.root + "/account/security"}
	return h.Pages.Write(v.w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.RecoveryCodes(out, page) })
}

// EnrolTOTP shows the secret for an authenticator app (GET and HEAD) and takes the
// first code (POST).
func (h *Handler) EnrolTOTP() http.Handler { return h.attend(h.enrolTOTP) }

func (h *Handler) enrolTOTP(v *visit) error {
	factors, err := h.Factors.Of(v.r.Context(), v.user().ID)
	if err != nil {
		return err
	}
	if v.r.Method == http.MethodPost {
		return h.finishTOTP(v, factors)
	}
	if !h.fresh(v, factors) {
		return nil
	}
	if factors.TOTP != nil {
		web.SeeOther(v.w, h.root+"/account/security")
		return nil
	}
	begun, err := h.Factors.BeginTOTP(v.user())
	if err != nil {
		return err
	}
	return h.showEnrolment(v, http.StatusOK, begun, "")
}

func (h *Handler) showEnrolment(v *visit, status int, begun *factor.Enrolment, problem string) error {
	page := templates.EnrolPage{
		Action: h.root + "/account/security/totp", Page: v.signIn.Session.ID, Enrolment: begun.Sealed, Problem: problem,
		Account: templates.Account{Name: v.user().Name, Username: v.user().Username}, BackURL: h.root + "/account/security",
		Secret: begun.Secret, URI: templates.AppURI(begun.URI), QR: begun.QR, QRSize: begun.Size,
	}
	return h.Pages.Write(v.w, status, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Enrol(out, page) })
}

// finishTOTP keeps the secret if the code is right. The sign-in is one of two factors
// then, and so a new session.
func (h *Handler) finishTOTP(v *visit, factors *storage.Factors) error {
	form, err := v.form()
	if err != nil || !h.fresh(v, factors) {
		return err
	}
	ctx, user := v.r.Context(), v.user()
	sealed := form.Get("enrolment")
	err = h.Factors.FinishTOTP(ctx, user, sealed, form.Get("code"), h.event(v, "totp.created", user.ID))
	switch {
	case errors.Is(err, factor.ErrWrong):
		begun, err := h.Factors.ShowTOTP(user, sealed)
		if err != nil {
			return err
		}
		return h.showEnrolment(v, http.StatusBadRequest, begun, "The code is not right. Wait for the next one and try again.")
	case errors.Is(err, factor.ErrStale), errors.Is(err, storage.ErrExists):
		web.SeeOther(v.w, h.root+"/account/security")
		return nil
	case err != nil:
		return err
	}
	how := session.How{
		Method: "TOTP set up", Address: h.Addresses.Of(v.r).String(), AuthenticatedAt: v.signIn.Session.AuthenticatedAt,
		Still: h.Factors.Still(user.ID),
		AMR:   storage.WithAMR(v.signIn.Session.AMR, storage.AMROneTimeCode, storage.AMRMultiFactor),
	}
	if _, err := h.Sessions.Start(v.w, v.r, user, how); err != nil {
		return err
	}
	return h.showNewCodes(v)
}
