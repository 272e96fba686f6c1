package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"grantd/server/password"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Password asks for a new password (GET and HEAD) and sets it (POST).
func (h *Handler) Password() http.Handler { return h.attend(h.password) }

func (h *Handler) password(v *visit) error {
	user, err := h.Store.User(v.r.Context(), v.user().ID)
	if err != nil {
		return err
	}
	if user.PasswordHash == "" {
		return &web.Error{
			Status: http.StatusNotFound, Code: "no-password", Title: "You have no password here",
			Message: "You sign in to this account with your identity provider.",
		}
	}
	if v.r.Method != http.MethodPost {
		return h.askPassword(v, http.StatusOK, "")
	}
	form, err := v.form()
	if err != nil {
		return err
	}
	if problem := newPasswordProblem(form); problem != "" {
		return h.askPassword(v, http.StatusBadRequest, problem)
	}
	// A guess counts before it is made, so that many at once are no more than others.
	if wait := h.guesses.Take(user.ID); wait > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(wait))
		return h.askPassword(v, http.StatusTooManyRequests, "The current password was wrong too often. Try again in some minutes.")
	}
	return h.changePassword(v, form)
}

func (h *Handler) askPassword(v *visit, status int, problem string) error {
	page := templates.PasswordPage{
		Action: h.root + "/account/password", AccountURL: h.root + "/account", Page: v.signIn.Session.ID, Problem: problem,
		Account: templates.Account{Name: v.user().Name, Username: v.user().Username},
	}
	return h.Pages.Write(v.w, status, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Password(out, page) })
}

// newPasswordProblem says what is wrong with a form's new password, "" for nothing.
func newPasswordProblem(form web.Parameters) string {
	switch chosen := form.Get("password"); {
	case len(chosen) < password.MinBytes:
		return "The new password is too short: it must have 8 characters or more."
	case len(chosen) > password.MaxBytes:
		return "The new password is too long: it must have at most 1024 bytes."
	case chosen != form.Get("again"):
		return "The two new passwords are not the same."
	}
	return ""
}

// changeRetries is how often a change is tried again that met another change of the
// user.
const changeRetries = 3

// changePassword sets the password if the current one is right. All sessions end
// with the old one; this browser gets a new one. It gives back the guess that was taken
// unless it was wrong.
func (h *Handler) changePassword(v *visit, form web.Parameters) error {
	ctx, wrong := v.r.Context(), false
	defer func() {
		if !wrong {
			h.guesses.Give(v.user().ID)
		}
	}()
	hash, err := h.hash(ctx, form.Get("password"))
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		user, err := h.Store.User(ctx, v.user().ID)
		if err != nil {
			return err
		}
		right, err := h.compare(ctx, form.Get("current"), user.PasswordHash)
		if err != nil {
			return err
		}
		if !right {
			wrong = true
			return h.askPassword(v, http.StatusUnauthorized, "The current password is not right. Nothing was changed.")
		}
		h.guesses.Forgive(user.ID)
		event := h.event(v, "user.password_changed", user.ID)
		user.PasswordHash, user.UpdatedAt = hash, event.At
		err = h.Store.UpdateUser(ctx, user, event)
		if errors.Is(err, storage.ErrConflict) && attempt < changeRetries {
			continue
		} else if err != nil {
			return err
		}
		how := session.How{Method: "password", AMR: v.signIn.Session.AMR, Address: h.Addresses.Of(v.r).String(), PasswordHash: hash}
		if v.signIn.Session.ACR() == storage.ACRMultiFactor { // the second factor was not proved anew
			how.AuthenticatedAt = v.signIn.Session.AuthenticatedAt
		}
		if _, err := h.Sessions.Start(v.w, v.r, user, how); err != nil {
			return err
		}
		return h.done(v, "password")
	}
}

// compare reports whether the password is right; one that cannot be is not.
func (h *Handler) compare(ctx context.Context, plain, hash string) (bool, error) {
	if plain == "" || len(plain) > password.MaxBytes || hash == "" {
		return false, nil
	}
	right, err := h.Hasher.Compare(ctx, plain, hash)
	return right, busy(err)
}

func (h *Handler) hash(ctx context.Context, plain string) (string, error) {
	hash, err := h.Hasher.Hash(ctx, plain)
	return hash, busy(err)
}

// busy makes an outage of too many passwords.
func busy(err error) error {
	if errors.Is(err, password.ErrBusy) {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return err
}
