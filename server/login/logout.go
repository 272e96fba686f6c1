package login

import (
	"errors"
	"io"
	"net/http"
	"net/url"

	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Leaving is what an application asks that sends a person to sign out (OpenID Connect
// RP-Initiated Logout §2).
type Leaving struct {
	// Knows reports whether it has an ID token of this session. Nil: it has none.
	Knows     func(sessionID string) bool
	Target    string // where the person goes then: an address of the application's, or empty
	Host      string // of Target
	Automatic bool   // the browser may go there by itself
}

// Logout answers /logout: GET and HEAD ask for confirmation, or say that nobody
// is signed in, which is also what follows a POST. An application that shows an ID
// token of this very session signs out by GET. It leads nowhere but to an address
// that an application has registered.
func (h *Handler) Logout() http.Handler { return h.Pages.Handle(h.logout) }

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.confirmLogout(w, r)
	case http.MethodPost:
		if err := web.CheckOrigin(r, h.issuer); err != nil {
			return h.byGet(w, r, err)
		}
		leaving, err := h.leaving(r)
		if err != nil {
			return err
		}
		return h.leave(w, r, leaving)
	}
	return methodNotAllowed(w)
}

// byGet lets an application of another site that posts its request send it by GET,
// where the browser's cookie comes along (§2). That alone signs nobody out.
func (h *Handler) byGet(w http.ResponseWriter, r *http.Request, refused error) error {
	form, err := web.ReadForm(r)
	if err != nil || len(form.Repeated) > 0 {
		return refused
	}
	query := url.Values{}
	for _, name := range []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"} {
		if form.Has(name) {
			query.Set(name, form.Get(name))
		}
	}
	if !query.Has("id_token_hint") && !query.Has("client_id") {
		return refused
	}
	return h.seeOther(w, "/logout?"+query.Encode())
}

func (h *Handler) leaving(r *http.Request) (Leaving, error) {
	if h.Leaving == nil || r.URL.RawQuery == "" {
		return Leaving{}, nil
	}
	return h.Leaving(r.Context(), r.URL.RawQuery)
}

func (h *Handler) confirmLogout(w http.ResponseWriter, r *http.Request) error {
	leaving, err := h.leaving(r)
	if err != nil {
		return err
	}
	signIn, err := h.Sessions.SignIn(r, storage.Look{})
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return h.left(w, leaving)
	case err != nil:
		return err
	case leaving.Knows != nil && leaving.Knows(signIn.Session.ID) && r.Method == http.MethodGet && !web.Prefetch(r):
		return h.leave(w, r, leaving)
	}
	page := templates.LogoutPage{
		Action:  h.issuer.Root() + "/logout",
		Account: templates.Account{Name: signIn.User.Name, Username: signIn.User.Username},
	}
	forms := web.OwnForms
	if leaving.Target != "" { // where the answer to the form may lead
		page.Action, forms = page.Action+"?"+r.URL.RawQuery, web.AnyForm
	}
	return h.Pages.Write(w, http.StatusOK, forms, func(out io.Writer) error { return h.Pages.Templates.Logout(out, page) })
}

// leave signs the browser out and sends it on.
func (h *Handler) leave(w http.ResponseWriter, r *http.Request, leaving Leaving) error {
	if err := h.Sessions.End(w, r); err != nil {
		return err
	}
	if leaving.Target == "" {
		return h.seeOther(w, "/logout")
	}
	return h.left(w, leaving)
}

// left answers a browser with which nobody is signed in.
func (h *Handler) left(w http.ResponseWriter, leaving Leaving) error {
	if leaving.Target != "" && leaving.Automatic {
		w.Header().Set("Referrer-Policy", "no-referrer")
		web.SeeOther(w, leaving.Target)
		return nil
	}
	page := templates.ContinuePage{
		Title:   "You are signed out",
		Message: "Nobody is signed in with this browser. To sign in again, continue.", URL: h.issuer.Root() + "/login",
	}
	if leaving.Target != "" {
		page.Message, page.URL, page.Host = "Nobody is signed in with this browser. You can return to the application:", leaving.Target, leaving.Host
	}
	return h.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Continue(out, page) })
}
