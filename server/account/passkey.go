package account

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"grantd/server/factor"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// The fields of the forms for passkeys.
const (
	fieldChallenge = "challenge"
	fieldPasskey   = "passkey" // what the browser made; on the list, the id of one
)

// maxPasskeyName is the length of the longest name of a passkey, in characters.
const maxPasskeyName = 100

// What the pages say about passkeys.
const (
	badPasskey     = "The passkey could not be made. Nothing was changed; try again."
	latePasskey    = "That took too long, or you have signed in again since. Try again."
	takenPasskey   = "That passkey is in use already. Make another one."
	fullOfPasskeys = "You have twenty passkeys, which is the most. Remove one first."
	badPasskeyName = "A name has at most 100 characters, all of which can be seen."
	lastWay        = "This passkey is your only way to sign in. Make another one first."
)

func passkeysOf(factors *storage.Factors) []templates.AccountPasskey {
	shown := make([]templates.AccountPasskey, len(factors.Passkeys))
	for i, p := range factors.Passkeys {
		shown[i] = templates.AccountPasskey{ID: p.ID, Name: p.Name, CreatedAt: p.CreatedAt, LastUsed: p.LastUsedAt}
	}
	return shown
}

// EnrolPasskey has the browser make a passkey (GET and HEAD) and keeps it (POST).
func (h *Handler) EnrolPasskey() http.Handler { return h.attend(h.enrolPasskey) }

func (h *Handler) enrolPasskey(v *visit) error {
	if !h.Factors.OffersPasskeys() {
		web.SeeOther(v.w, h.root+"/account/security")
		return nil
	}
	factors, err := h.Factors.Of(v.r.Context(), v.user().ID)
	if err != nil {
		return err
	}
	if v.r.Method == http.MethodPost {
		return h.finishPasskey(v, factors)
	}
	if !h.fresh(v, factors) {
		return nil
	}
	return h.showPasskey(v, http.StatusOK, factors, cmp.Or(Browser(web.UserAgent(v.r)), factor.UnnamedPasskey), "")
}

func (h *Handler) showPasskey(v *visit, status int, factors *storage.Factors, name, problem string) error {
	begun, err := h.Factors.BeginPasskey(v.user(), factors.Passkeys, v.signIn.Session.ID)
	if err != nil {
		return err
	}
	page := templates.PasskeyPage{
		Action: h.root + "/account/security/passkey", Page: v.signIn.Session.ID, Problem: problem, Name: name,
		Account: templates.Account{Name: v.user().Name, Username: v.user().Username}, BackURL: h.root + "/account/security",
		Passkey: templates.PasskeyForm{Options: begun.Options, Challenge: begun.Sealed},
	}
	return h.Pages.Write(v.w, status, web.PasskeyForms, func(out io.Writer) error { return h.Pages.Templates.Passkey(out, page) })
}

// finishPasskey keeps what the browser has made. The sign-in is one with a passkey
// then, and so a new session.
func (h *Handler) finishPasskey(v *visit, factors *storage.Factors) error {
	form, err := v.form()
	if err != nil || !h.fresh(v, factors) {
		return err
	}
	ctx, user := v.r.Context(), v.user()
	name := strings.TrimSpace(form.Get("passkey_name"))
	if !isPasskeyName(name) {
		return h.showPasskey(v, http.StatusBadRequest, factors, name, badPasskeyName)
	}
	p, err := h.Factors.FinishPasskey(user.ID, v.signIn.Session.ID, form.Get(fieldChallenge), form.Get(fieldPasskey), name)
	if err == nil {
		err = h.Store.CreatePasskey(ctx, p, h.event(v, "passkey.created", user.ID).With("passkey_id", p.ID).With("name", p.Name))
	}
	if problem := passkeyProblem(err); problem != "" {
		return h.showPasskey(v, http.StatusBadRequest, factors, name, problem)
	} else if err != nil {
		return err
	}
	how := session.How{
		Method: "passkey set up", Address: h.Addresses.Of(v.r).String(), AuthenticatedAt: v.signIn.Session.AuthenticatedAt,
		Still: h.Factors.Still(user.ID),
		AMR:   storage.WithAMR(v.signIn.Session.AMR, storage.AMRPasskey...),
	}
	if _, err := h.Sessions.Start(v.w, v.r, user, how); err != nil {
		return err
	}
	if !factors.Any() {
		return h.showNewCodes(v)
	}
	web.SeeOther(v.w, h.root+"/account/security?done=passkey_made")
	return nil
}

// passkeyProblem says why a passkey was not made, "" for what is no fault of whoever
// made it.
func passkeyProblem(err error) string {
	switch {
	case errors.Is(err, factor.ErrStale):
		return latePasskey
	case errors.Is(err, factor.ErrWrong):
		return badPasskey
	case errors.Is(err, storage.ErrExists):
		return takenPasskey
	case errors.Is(err, storage.ErrFull):
		return fullOfPasskeys
	}
	return ""
}

func isPasskeyName(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxPasskeyName && !strings.ContainsFunc(name, storage.Invisible)
}

func (h *Handler) renamePasskey(v *visit, form web.Parameters) error {
	id, name := form.Get(fieldPasskey), strings.TrimSpace(form.Get("name"))
	if !isPasskeyName(name) {
		factors, err := h.Factors.Of(v.r.Context(), v.user().ID)
		if err != nil {
			return err
		}
		return h.showSecurity(v, http.StatusBadRequest, factors, badPasskeyName)
	}
	event := h.event(v, "passkey.renamed", v.user().ID).With("passkey_id", id).With("name", name)
	err := h.Store.RenamePasskey(v.r.Context(), v.user().ID, id, name, event)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	web.SeeOther(v.w, h.root+"/account/security?done=passkey_renamed")
	return nil
}

// removePasskey takes a passkey, but not the last one of somebody who could sign in
// with nothing else.
func (h *Handler) removePasskey(v *visit, form web.Parameters, factors *storage.Factors) error {
	ctx, id := v.r.Context(), form.Get(fieldPasskey)
	if len(factors.Passkeys) == 1 && factors.Passkeys[0].ID == id {
		user, err := h.Store.User(ctx, v.user().ID)
		if err != nil {
			return err
		}
		if user.PasswordHash == "" && user.VerifiedUntil.IsZero() {
			return h.showSecurity(v, http.StatusConflict, factors, lastWay)
		}
	}
	err := h.Store.DeletePasskey(ctx, v.user().ID, id, h.event(v, "passkey.deleted", v.user().ID).With("passkey_id", id))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	web.SeeOther(v.w, h.root+"/account/security?done=passkey_removed")
	return nil
}

// passkeysOnly reports whether a password proves nothing.
func (h *Handler) passkeysOnly(ctx context.Context) (bool, error) {
	rule, err := h.Rule(ctx)
	return rule == storage.SecondFactorPasskeysOnly, err
}

// passkeyMade is the query of the page after a link that made a passkey.
const passkeyMade = "passkey"

// passkeyForLink has the browser make a passkey for the link's user. The first
// administrator, who is nobody yet, gets an id here: the passkey keeps it.
func (h *Handler) passkeyForLink(ctx context.Context, link *storage.UserLink, user *storage.User) (templates.PasskeyForm, error) {
	if !h.Factors.OffersPasskeys() {
		return templates.PasskeyForm{}, &web.Error{
			Status: http.StatusConflict, Code: "no-passkeys", Title: "There can be no passkeys here",
			Message: "Your organisation lets people sign in with passkeys alone, and this server has an IP address, where browsers allow none. Tell an administrator.",
		}
	}
	has := new(storage.Factors)
	if user == nil {
		user = &storage.User{ID: storage.NewID(storage.PrefixUser)}
	} else {
		var err error
		if has, err = h.Factors.Of(ctx, user.ID); err != nil {
			return templates.PasskeyForm{}, err
		}
	}
	begun, err := h.Factors.BeginPasskey(user, has.Passkeys, link.ID)
	if err != nil {
		return templates.PasskeyForm{}, err
	}
	return templates.PasskeyForm{Options: begun.Options, Challenge: begun.Sealed}, nil
}

// useLinkForPasskey spends the link for what the browser has made.
func (h *Handler) useLinkForPasskey(w http.ResponseWriter, r *http.Request, form web.Parameters, link *storage.UserLink, user *storage.User, typed templates.Account) error {
	var (
		p   *storage.Passkey
		id  string
		err error
	)
	if user != nil {
		id = user.ID
	} else {
		id, err = h.Factors.PasskeyOwner(link.ID, form.Get(fieldChallenge))
	}
	if err == nil {
		name := cmp.Or(Browser(web.UserAgent(r)), factor.UnnamedPasskey)
		p, err = h.Factors.FinishPasskey(id, link.ID, form.Get(fieldChallenge), form.Get(fieldPasskey), name)
	}
	if err == nil {
		err = h.spend(r, link, user, typed, "", p)
	}
	if problem := passkeyProblem(err); problem != "" {
		return h.showLink(w, r, http.StatusBadRequest, form.Get("token"), link, user, problem, typed)
	} else if err != nil {
		return noSuchLink(err)
	}
	web.SeeOther(w, h.root+LinkPath+"/done?"+passkeyMade)
	return nil
}
