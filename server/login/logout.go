package login

import (
	"errors"
	"io"
	"net/http"

	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Logout answers /logout: GET and HEAD ask for confirmation, or say that nobody
// is signed in, which is also what follows a POST. It leads nowhere else: no
// parameter is read.
func (h *Handler) Logout() http.Handler { return h.Pages.Handle(h.logout) }

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.confirmLogout(w, r)
	case http.MethodPost:
		if err := web.CheckOrigin(r, h.issuer); err != nil {
			return err
		}
		if err := h.Sessions.End(w, r); err != nil {
			return err
		}
		return h.seeOther(w, "/logout")
	}
	return methodNotAllowed(w)
}

func (h *Handler) confirmLogout(w http.ResponseWriter, r *http.Request) error {
	signIn, err := h.Sessions.SignIn(r, "", "")
	switch {
	case errors.Is(err, storage.ErrNotFound):
		page := templates.ContinuePage{
			Base: h.Pages.Base(), Title: "You are signed out",
			Message: "Nobody is signed in with this browser. To sign in again, continue.", URL: h.issuer.Root() + "/login",
		}
		return h.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Continue(out, page) })
	case err != nil:
		return err
	}
	page := templates.LogoutPage{
		Base: h.Pages.Base(), Action: h.issuer.Root() + "/logout",
		Account: templates.Account{Name: signIn.User.Name, Username: signIn.User.Username},
	}
	return h.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Logout(out, page) })
}
