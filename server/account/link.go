package account

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// LinkPath is where links lead to, below the issuer.
const LinkPath = "/account/link"

// LinkURL is the link with that token.
func LinkURL(issuer web.Issuer, token string) string { return issuer.URL(LinkPath) + "?token=" + token }

// Link shows the form that a link leads to (GET and HEAD), which uses nothing up, so
// that programs which look at the links in a mail cannot spend it; and sets the
// password (POST), which does. The token is in the address of the page alone: the
// form carries it in its body.
func (h *Handler) Link() http.Handler {
	return h.Pages.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodPost {
			return h.useLink(w, r)
		}
		token := r.URL.Query().Get("token")
		link, user, err := h.Store.UserLink(r.Context(), storage.HashSecret(token), h.Now())
		if err != nil {
			return noSuchLink(err)
		}
		return h.showLink(w, r, http.StatusOK, token, link, user, "", templates.Account{})
	})
}

func (h *Handler) showLink(w http.ResponseWriter, r *http.Request, status int, token string, link *storage.UserLink, user *storage.User, problem string, typed templates.Account) error {
	page := templates.LinkPage{
		Action: h.root + LinkPath, Token: token, Problem: problem, Account: typed,
		Reset: link.Purpose == storage.LinkPasswordReset, FirstAdmin: user == nil,
	}
	if user != nil {
		page.Account = templates.Account{Name: user.Name, Username: user.Username}
	}
	forms := web.SecretAddress
	if only, err := h.passkeysOnly(r.Context()); err != nil {
		return err
	} else if only {
		forms = web.SecretPasskeyForms
		if page.Passkey, err = h.passkeyForLink(r.Context(), link, user); err != nil {
			return err
		}
	}
	return h.Pages.Write(w, status, forms, func(out io.Writer) error { return h.Pages.Templates.Link(out, page) })
}

func (h *Handler) useLink(w http.ResponseWriter, r *http.Request) error {
	if err := web.CheckOrigin(r, h.Pages.Issuer); err != nil {
		return err
	}
	form, err := readForm(r)
	if err != nil {
		return err
	}
	token := form.Get("token")
	link, user, err := h.Store.UserLink(r.Context(), storage.HashSecret(token), h.Now())
	if err != nil {
		return noSuchLink(err)
	}
	only, err := h.passkeysOnly(r.Context())
	if err != nil {
		return err
	}
	typed := templates.Account{Name: strings.TrimSpace(form.Get("name")), Username: strings.TrimSpace(form.Get("username"))}
	problem := ""
	if !only {
		problem = newPasswordProblem(form)
	}
	if user == nil && problem == "" {
		problem = firstAdminProblem(typed)
	}
	if problem != "" {
		return h.showLink(w, r, http.StatusBadRequest, token, link, user, problem, typed)
	}
	if only {
		return h.useLinkForPasskey(w, r, form, link, user, typed)
	}
	// Only now, so that nobody without a link has us hash.
	hash, err := h.hash(r.Context(), form.Get("password"))
	if err != nil {
		return err
	}
	if err := h.spend(r, link, user, typed, hash, nil); err != nil {
		return noSuchLink(err)
	}
	web.SeeOther(w, h.root+LinkPath+"/done")
	return nil
}

// spend uses the link, for a password's hash or a passkey. ErrConsumed: somebody else
// was faster.
func (h *Handler) spend(r *http.Request, link *storage.UserLink, user *storage.User, typed templates.Account, hash string, p *storage.Passkey) error {
	now := h.Now()
	address := h.Addresses.Of(r).String()
	withPasskey := func(event storage.AuditEvent) storage.AuditEvent {
		if p != nil {
			event = event.With("passkey_id", p.ID)
		}
		return event
	}
	if user != nil {
		event := storage.NewAuditEvent(now, "user:"+user.ID, "user_link.used", user.ID).
			With("purpose", string(link.Purpose)).With("link_id", link.ID).With("address", address)
		use := storage.UserLinkUse{TokenHash: link.TokenHash, UserID: user.ID, PasswordHash: hash, Passkey: p, Now: now}
		return h.Store.UseUserLink(r.Context(), use, withPasskey(event))
	}
	first := &storage.User{
		ID: storage.NewID(storage.PrefixUser), Username: typed.Username, Name: typed.Name, PasswordHash: hash,
		Groups: []string{storage.AdminGroup}, CreatedAt: now, UpdatedAt: now,
	}
	event := storage.NewAuditEvent(now, "system", "user.created", first.ID).
		With("username", first.Username).With("groups", `["`+storage.AdminGroup+`"]`).With("link_id", link.ID).With("address", address)
	if p != nil {
		first.ID = p.UserID
		event.Target = first.ID
	}
	return h.Store.UseFirstAdminLink(r.Context(), link.TokenHash, first, p, withPasskey(event))
}

// The bounds of what the first administrator types, in characters, as in the admin
// API.
const (
	maxUsername = 128
	maxName     = 200
)

func firstAdminProblem(typed templates.Account) string {
	plain := func(s string, limit int) bool {
		return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit && !strings.ContainsFunc(s, storage.Invisible)
	}
	switch {
	case typed.Username == "":
		return "Choose a user name."
	case !plain(typed.Username, maxUsername):
		return "The user name is too long or has characters that nobody can see."
	case !plain(typed.Name, maxName):
		return "The name is too long or has characters that nobody can see."
	}
	return ""
}

// noSuchLink is the same for every reason: it tells a stranger nothing.
func noSuchLink(err error) error {
	if !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrConsumed) {
		return err
	}
	return &web.Error{
		Status: http.StatusNotFound, Code: "no-such-link", Title: "This link is no longer valid",
		Message: "It was used before, has expired, or was replaced by a newer one.",
		Help:    "Ask an administrator for a new link.", Err: err,
	}
}

// LinkDone says that the password is set, or the passkey made, and leads to the sign-in
// (GET and HEAD). Nobody is signed in by a link: whoever has it still has to know the
// password, or have the passkey.
func (h *Handler) LinkDone() http.Handler {
	return h.Pages.Handle(func(w http.ResponseWriter, r *http.Request) error {
		page := templates.ContinuePage{
			Title: "Your password is set", Message: "Sign in with your user name and your new password.", URL: h.root + "/login",
		}
		if r.URL.RawQuery == passkeyMade {
			page.Title, page.Message = "Your passkey is made", "Sign in with your new passkey."
		}
		return h.Pages.Write(w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Continue(out, page) })
	})
}
