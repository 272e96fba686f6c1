// Package account is the page on which people see who they are signed in as, and
// from which they sign out.
package account

import (
	"errors"
	"io"
	"net/http"

	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Handler answers /account.
type Handler struct {
	Pages    *web.Pages
	Sessions *session.Manager
}

// Account shows who is signed in (GET and HEAD); nobody is sent to /login.
func (h *Handler) Account() http.Handler { return h.Pages.Handle(h.account) }

func (h *Handler) account(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Message: "This page is read with GET."}
	}
	root := h.Pages.Issuer.Root()
	signIn, err := h.Sessions.SignIn(r, "", "")
	switch {
	case errors.Is(err, storage.ErrNotFound):
		web.SeeOther(w, root+"/login")
		return nil
	case err != nil:
		return err
	}
	page := templates.AccountPage{
		Base: h.Pages.Base(), LogoutAction: root + "/logout",
		Account: templates.Account{Name: signIn.User.Name, Username: signIn.User.Username},
	}
	return h.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Account(out, page) })
}
