package login

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"grantd/server/factor"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// The fields of the forms of the second step.
const (
	fieldStep      = "step"
	fieldCode      = "code"
	fieldEnrolment = "enrolment"
)

const (
	stepPurpose  = "sign-in step"
	stepLifetime = 10 * time.Minute
)

// step is what has been proved so far. It travels sealed in the form: there is no row
// of somebody who has not signed in.
type step struct {
	UserID string `json:"u"`
	// Digest is of the password's hash: a step ends with the password.
	Digest []byte    `json:"p"`
	AMR    []string  `json:"m"`
	At     time.Time `json:"t"`
	// SessionID is the session that a factor is added to; empty: a password was typed.
	SessionID string `json:"s,omitempty"`
	// ProviderID is the Provider that was signed in with; empty: a password was typed.
	ProviderID string `json:"i,omitempty"`
	// Since is when that session's sign-in, or the Provider's, was: a code alone is no
	// newer one.
	Since time.Time `json:"a,omitzero"`
}

// How many wrong codes of an authenticator app are allowed to strangers together, by
// user, and in what time. Whoever gets here knows the password, and a code is short.
const (
	userCodes      = 20
	userCodeWindow = time.Hour
)

// codeLimits counts wrong codes. Recovery codes have counts of their own, as they are
// the way in for somebody whom a guesser has used up the others for.
type codeLimits struct {
	totp, recovery, passkey *limits
	// mu bounds the guesses of a burst: checking a code and counting it is one act.
	mu sync.Mutex
}

func newCodeLimits(now func() time.Time) *codeLimits {
	c := &codeLimits{totp: newLimits(now), recovery: newLimits(now), passkey: newLimits(now)}
	c.totp.user = &web.FailureLimit{Failures: userCodes, Window: userCodeWindow, Now: now}
	return c
}

// stepUp shows the second step to somebody whose sign-in lacks only that. Who has no
// second factor must type the password first, so that a stolen session sets none up.
func (h *Handler) stepUp(w http.ResponseWriter, r *http.Request) (asked bool, err error) {
	if h.Factors == nil || h.StepUp == nil || r.URL.RawQuery == "" {
		return false, nil
	}
	signIn, err := h.Sessions.SignIn(r, storage.Look{Groups: true})
	if errors.Is(err, storage.ErrNotFound) || err == nil && signIn.Session.ACR() == storage.ACRMultiFactor {
		return false, nil
	} else if err != nil {
		return false, err
	}
	needed, addable, err := h.StepUp(r.Context(), r.URL.RawQuery, signIn.User.Groups, &signIn.Session)
	if err != nil || !needed || !addable {
		return false, err
	}
	factors, err := h.Factors.Of(r.Context(), signIn.User.ID)
	if err != nil || !factors.Any() {
		return false, err
	}
	user, err := h.Store.User(r.Context(), signIn.User.ID)
	if err != nil {
		return false, err
	}
	s := h.newStep(user, signIn.Session.AMR)
	s.SessionID, s.Since = signIn.Session.ID, signIn.Session.AuthenticatedAt
	return true, h.showSecond(w, r, http.StatusOK, user, s, factors, "")
}

// askSecond shows the second step after a right password, if there must be one.
func (h *Handler) askSecond(w http.ResponseWriter, r *http.Request, user *storage.User) (asked bool, err error) {
	if h.Factors == nil {
		return false, nil
	}
	factors, err := h.Factors.Of(r.Context(), user.ID)
	if err != nil {
		return false, err
	}
	s := h.newStep(user, []string{storage.AMRPassword})
	if factors.Any() {
		return true, h.showSecond(w, r, http.StatusOK, user, s, factors, "")
	}
	needed, err := h.needed(r.Context(), r.URL.RawQuery, user.Groups)
	if err != nil || !needed {
		return false, err
	}
	return true, h.beginEnrolment(w, r, user, s)
}

// needed reports whether everybody needs a second factor, or who comes from there.
func (h *Handler) needed(ctx context.Context, rawQuery string, groups []string) (bool, error) {
	rule, err := h.Rule(ctx)
	if err != nil || rule != storage.SecondFactorNone {
		return err == nil, err
	}
	return h.neededFor(ctx, rawQuery, groups)
}

func (h *Handler) newStep(user *storage.User, amr []string) step {
	return step{UserID: user.ID, Digest: passwordDigest(user), AMR: amr, At: h.Now()}
}

func passwordDigest(user *storage.User) []byte {
	sum := sha256.Sum256([]byte(user.PasswordHash))
	return sum[:]
}

// secondStep takes a form of the second step. What is out of date begins again with
// the password.
func (h *Handler) secondStep(w http.ResponseWriter, r *http.Request, form web.Parameters) error {
	s, user, err := h.openStep(r, form.Get(fieldStep))
	if errors.Is(err, factor.ErrStale) {
		return h.form(w, r, http.StatusBadRequest, "", outOfDate)
	} else if err != nil {
		return err
	}
	if only, err := h.passkeysOnly(r.Context()); err != nil {
		return err
	} else if only && s.SessionID == "" { // the rule is newer than the page
		return h.form(w, r, http.StatusForbidden, "", passwordUnused)
	}
	factors, err := h.Factors.Of(r.Context(), user.ID)
	if err != nil {
		return err
	}
	switch {
	case factors.Any() && form.Has(fieldPasskey):
		return h.takePasskey(w, r, user, s, factors, form)
	case factors.Any():
		return h.takeCode(w, r, user, s, factors, form.Get(fieldCode))
	case s.SessionID == "" && form.Has(fieldPasskey):
		return h.enrolPasskey(w, r, user, s, form)
	case s.SessionID != "" || !form.Has(fieldEnrolment):
		return h.form(w, r, http.StatusBadRequest, "", outOfDate)
	}
	return h.enrol(w, r, user, s, form)
}

// openStep opens what has been proved so far, and finds whose it is. factor.ErrStale.
func (h *Handler) openStep(r *http.Request, sealed string) (step, *storage.User, error) {
	if h.Factors == nil {
		return step{}, nil, factor.ErrStale
	}
	plain, err := h.Sealer.Open(stepPurpose, sealed)
	if web.Unavailable(err) {
		return step{}, nil, err
	}
	var s step
	if err != nil || json.Unmarshal(plain, &s) != nil || h.Now().Sub(s.At) > stepLifetime {
		return step{}, nil, factor.ErrStale
	}
	if s.SessionID != "" {
		signIn, err := h.Sessions.SignIn(r, storage.Look{})
		switch {
		case errors.Is(err, storage.ErrNotFound) || err == nil && signIn.Session.ID != s.SessionID:
			return step{}, nil, factor.ErrStale
		case err != nil:
			return step{}, nil, err
		}
	}
	user, err := h.Store.User(r.Context(), s.UserID)
	switch {
	case errors.Is(err, storage.ErrNotFound) || err == nil && (user.Disabled || !bytes.Equal(s.Digest, passwordDigest(user))):
		return step{}, nil, factor.ErrStale
	case err != nil:
		return step{}, nil, err
	}
	return s, user, nil
}

// takeCode signs in whoever has typed a right code.
func (h *Handler) takeCode(w http.ResponseWriter, r *http.Request, user *storage.User, s step, factors *storage.Factors, code string) error {
	if code == "" {
		return h.showSecond(w, r, http.StatusBadRequest, user, s, factors, noCode)
	}
	limits, prove := h.codes.recovery, h.proveRecoveryCode
	if factor.IsTOTP(code) && factors.TOTP != nil {
		limits, prove = h.codes.totp, h.proveTOTP
	}
	counts := h.attempts.countsIn(limits, r, user.Username, user)
	method, refused, err := prove(r, user, factors, code, limits, counts)
	switch {
	case err != nil:
		return err
	case refused != nil:
		web.Refused(w, refused.reason())
		if refused.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(refused.retryAfter))
		}
		return h.showSecond(w, r, refused.status, user, s, factors, refused.problem)
	}
	limits.forgive(counts)
	return h.raiseAndReturn(w, r, user, s, method, storage.AMROneTimeCode, storage.AMRMultiFactor)
}

// raiseAndReturn is raise, and leads to where the sign-in was for.
func (h *Handler) raiseAndReturn(w http.ResponseWriter, r *http.Request, user *storage.User, s step, method string, proved ...string) error {
	if err := h.raise(w, r, user, s, method, proved...); errors.Is(err, storage.ErrNotFound) {
		return h.form(w, r, http.StatusUnauthorized, "", outOfDate)
	} else if err != nil {
		return err
	}
	return h.seeOther(w, ReturnTo(r.URL.RawQuery))
}

// proveTOTP checks and accepts a code of an authenticator app within the limits.
func (h *Handler) proveTOTP(r *http.Request, user *storage.User, factors *storage.Factors, code string, limits *limits, counts []count) (method string, refused *refusal, err error) {
	h.codes.mu.Lock()
	refused = limits.refusal(counts)
	var use storage.TOTPUse
	var reached []string
	if refused == nil {
		if use, err = h.Factors.CheckTOTP(factors.TOTP, code); errors.Is(err, factor.ErrWrong) {
			reached = limits.fail(counts)
		}
	}
	h.codes.mu.Unlock()
	if refused != nil {
		return "", refused, nil
	}
	if err == nil {
		if err = h.Factors.UseTOTP(r.Context(), use); errors.Is(err, factor.ErrWrong) {
			reached = limits.fail(counts)
		}
	}
	return "password and TOTP", h.wrongCode(r, user, err, reached), unlessWrong(err)
}

// proveRecoveryCode spends a recovery code within the limits.
func (h *Handler) proveRecoveryCode(r *http.Request, user *storage.User, _ *storage.Factors, code string, limits *limits, counts []count) (method string, refused *refusal, err error) {
	if refused := limits.refusal(counts); refused != nil {
		return "", refused, nil
	}
	event := storage.NewAuditEvent(h.Now(), "user:"+user.ID, "recovery_code.used", user.ID).With("address", h.Addresses.Of(r).String())
	err = h.Factors.UseRecoveryCode(r.Context(), user.ID, code, event)
	var reached []string
	if errors.Is(err, factor.ErrWrong) {
		reached = limits.fail(counts)
	}
	return "password and recovery code", h.wrongCode(r, user, err, reached), unlessWrong(err)
}

// wrongCode is the refusal of a wrong code, which it reports; nil for any other.
func (h *Handler) wrongCode(r *http.Request, user *storage.User, err error, reached []string) *refusal {
	if !errors.Is(err, factor.ErrWrong) {
		return nil
	}
	h.attempts.report(r, user.Username, user, "wrong second factor", reached)
	return &refusal{status: http.StatusUnauthorized, problem: wrongCode}
}

func unlessWrong(err error) error {
	if errors.Is(err, factor.ErrWrong) {
		return nil
	}
	return err
}

// raise signs in with two factors: always a new session, whatever there was.
// storage.ErrNotFound: the user is disabled or has another password by now.
func (h *Handler) raise(w http.ResponseWriter, r *http.Request, user *storage.User, s step, method string, proved ...string) error {
	if s.ProviderID != "" {
		method = strings.Replace(method, "password", "provider", 1)
	}
	_, err := h.Sessions.Start(w, r, user, session.How{
		Method: method, AMR: storage.WithAMR(s.AMR, proved...), Address: h.Addresses.Of(r).String(), PasswordHash: user.PasswordHash, Provider: s.ProviderID,
		AuthenticatedAt: s.Since, Still: h.Factors.Still(user.ID),
	})
	return err
}

// enrol sets up the authenticator app of somebody who needs one to sign in, and signs
// them in.
func (h *Handler) enrol(w http.ResponseWriter, r *http.Request, user *storage.User, s step, form web.Parameters) error {
	ctx, now := r.Context(), h.Now()
	event := func(action string) storage.AuditEvent {
		return storage.NewAuditEvent(now, "user:"+user.ID, action, user.ID).With("address", h.Addresses.Of(r).String())
	}
	err := h.Factors.FinishTOTP(ctx, user, form.Get(fieldEnrolment), form.Get(fieldCode), event("totp.created"))
	switch {
	case errors.Is(err, factor.ErrWrong):
		begun, err := h.Factors.ShowTOTP(user, form.Get(fieldEnrolment))
		if err != nil {
			return err
		}
		return h.showEnrolment(w, r, http.StatusUnauthorized, user, s, begun, wrongCode)
	case errors.Is(err, factor.ErrStale), errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrNotFound):
		return h.form(w, r, http.StatusBadRequest, "", outOfDate)
	case err != nil:
		return err
	}
	codes, err := h.Factors.NewRecoveryCodes(ctx, user.ID, event("recovery_codes.created"))
	if err != nil {
		return err
	}
	if err := h.raise(w, r, user, s, "password and TOTP", storage.AMROneTimeCode, storage.AMRMultiFactor); err != nil {
		return err
	}
	return h.showRecoveryCodes(w, r, codes)
}

func (h *Handler) showRecoveryCodes(w http.ResponseWriter, r *http.Request, codes []string) error {
	page := templates.RecoveryCodesPage{Codes: codes, ContinueURL: h.issuer.Root() + ReturnTo(r.URL.RawQuery)}
	return h.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.RecoveryCodes(out, page) })
}

// What the pages of the second step say above their forms.
const (
	wrongCode = "The code is not right, or was used before. Wait for the next one and try again."
	noCode    = "Enter the code."
	outOfDate = "That page had become out of date. Sign in again."
)

func (h *Handler) showSecond(w http.ResponseWriter, r *http.Request, status int, user *storage.User, s step, factors *storage.Factors, problem string) error {
	sealed, err := h.seal(s)
	if err != nil {
		return err
	}
	page := templates.SecondFactorPage{
		Action: h.action(r), Step: sealed, Problem: problem, NoApp: factors.TOTP == nil,
		Account: templates.Account{Name: user.Name, Username: user.Username},
	}
	if len(factors.Passkeys) > 0 {
		if page.Passkey, err = h.asked(user, factors.Passkeys); err != nil {
			return err
		}
	}
	return h.Pages.Write(w, status, formsOf(page.Passkey), func(out io.Writer) error { return h.Pages.Templates.SecondFactor(out, page) })
}

func (h *Handler) showEnrolment(w http.ResponseWriter, r *http.Request, status int, user *storage.User, s step, begun *factor.Enrolment, problem string) error {
	sealed, err := h.seal(s)
	if err != nil {
		return err
	}
	page := templates.EnrolPage{
		Action: h.action(r), Step: sealed, Problem: problem, Required: true, Enrolment: begun.Sealed,
		Account: templates.Account{Name: user.Name, Username: user.Username}, Secret: begun.Secret, URI: templates.AppURI(begun.URI), QR: begun.QR, QRSize: begun.Size,
	}
	if page.Passkey, err = h.begun(user); err != nil {
		return err
	}
	return h.Pages.Write(w, status, formsOf(page.Passkey), func(out io.Writer) error { return h.Pages.Templates.Enrol(out, page) })
}

func (h *Handler) seal(s step) (string, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode the step: %w", err)
	}
	return h.Sealer.Seal(stepPurpose, plain), nil
}

// action is where the forms of this sign-in go: back here.
func (h *Handler) action(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return h.issuer.Root() + "/login"
	}
	return h.issuer.Root() + "/login?" + r.URL.RawQuery
}
