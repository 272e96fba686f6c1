// Package account is where people see and change what is theirs: the applications
// that have access in their name, the browsers in which they are signed in, their
// password, and what happened about their account. It is also where the links lead
// with which they set a password.
//
// Whoever asks is known by their session alone, and each act looks for its object
// among theirs: another's is not found, as is what does not exist. Posts from other
// sites are refused by their origin, as at /login. Each form also carries the mark
// of the session it was made for, so that a page left open acts for nobody who
// signed in after it.
package account

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"grantd/server/factor"
	"grantd/server/password"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Store is what the account needs of the database.
type Store interface {
	storage.UserLinkStore
	DeleteTOTP(ctx context.Context, userID string, event storage.AuditEvent) error
	CreatePasskey(ctx context.Context, p *storage.Passkey, event storage.AuditEvent) error
	RenamePasskey(ctx context.Context, userID, id, name string, event storage.AuditEvent) error
	DeletePasskey(ctx context.Context, userID, id string, event storage.AuditEvent) error
	User(ctx context.Context, id string) (*storage.User, error)
	UpdateUser(ctx context.Context, u *storage.User, event storage.AuditEvent) error
	UserSessions(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Session, error)
	DeleteSession(ctx context.Context, id string, event storage.AuditEvent) error
	Grant(ctx context.Context, id string) (*storage.Grant, error)
	Grants(ctx context.Context, filter storage.GrantFilter, page storage.Page) ([]*storage.Grant, error)
	DeleteGrant(ctx context.Context, id string, event storage.AuditEvent) error
	EndFamily(ctx context.Context, id string, event storage.AuditEvent) error
	UserFamilies(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Family, error)
	UserIdentities(ctx context.Context, userID string) ([]*storage.UserIdentity, error)
	UserAuditEvents(ctx context.Context, userID, before string, limit int) ([]*storage.AuditEvent, error)
}

// Catalog finds clients, resources and providers, usually in memory.
type Catalog interface {
	ClientByID(ctx context.Context, id string) (*storage.Client, error)
	Resources(ctx context.Context) ([]*storage.Resource, error)
	Providers(ctx context.Context) ([]*storage.Provider, error)
}

// Config is what a Handler works with. Everything is required.
type Config struct {
	Pages     *web.Pages
	Store     Store
	Catalog   Catalog
	Sessions  *session.Manager
	Hasher    *password.Hasher
	Factors   *factor.Factors
	Addresses web.Addresses
	Now       func() time.Time
	// Describe says who a client is as the consent page does; redirectURI is where
	// access went, "" for a device.
	Describe func(c *storage.Client, redirectURI string) templates.ConsentClient
	// Rule is what the organisation demands of everybody.
	Rule func(ctx context.Context) (storage.SecondFactorRule, error)
	// Administration is the built-in Resource, which the Catalog does not list.
	Administration *storage.Resource
}

// Handler answers /account and what is below it.
type Handler struct {
	Config
	root    string
	guesses *web.FailureLimit // of the current password, by user
}

// How many wrong current passwords are allowed, and in what time.
const (
	passwordFailures = 10
	passwordWindow   = 15 * time.Minute
)

// New returns a Handler with no failures counted.
func New(c Config) *Handler {
	return &Handler{
		Config: c, root: c.Pages.Issuer.Root(),
		guesses: &web.FailureLimit{Failures: passwordFailures, Window: passwordWindow, Now: c.Now},
	}
}

// visit is a request by somebody who is signed in.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	signIn *storage.SignIn
}

// user is who is signed in.
func (v *visit) user() *storage.User { return &v.signIn.User }

// attend answers for whoever is signed in; nobody is sent to /login. A post from
// another site is refused before anything else.
func (h *Handler) attend(answer func(*visit) error) http.Handler {
	return h.Pages.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodPost {
			if err := web.CheckOrigin(r, h.Pages.Issuer); err != nil {
				return err
			}
		}
		signIn, err := h.Sessions.SignIn(r, storage.Look{})
		switch {
		case errors.Is(err, storage.ErrNotFound):
			web.SeeOther(w, h.root+"/login")
			return nil
		case err != nil:
			return err
		}
		return answer(&visit{w, r, signIn})
	})
}

// form reads a form that was made for this session.
func (v *visit) form() (web.Parameters, error) {
	form, err := readForm(v.r)
	if err == nil && form.Get("page") != v.signIn.Session.ID {
		err = &web.Error{
			Status: http.StatusConflict, Code: "stale-page", Title: "This page is out of date",
			Message: "Somebody has signed in in this browser since it was opened. Nothing was changed; open your account again.",
		}
	}
	return form, err
}

// readForm reads a form in which every field is there at most once.
func readForm(r *http.Request) (web.Parameters, error) {
	form, err := web.ReadForm(r)
	switch {
	case errors.Is(err, web.ErrContentType):
		return form, &web.Error{
			Status: http.StatusUnsupportedMediaType, Code: "content-type",
			Message: "The form is sent as application/x-www-form-urlencoded.", Err: err,
		}
	case err != nil || len(form.Repeated) > 0:
		return form, &web.Error{
			Status: http.StatusBadRequest, Code: "malformed", Title: "This request cannot be read",
			Message: "Nothing was changed. Open the page again and repeat.", Err: err,
		}
	}
	return form, nil
}

// event is the audit event of what the visitor does.
func (h *Handler) event(v *visit, action, target string) storage.AuditEvent {
	return storage.NewAuditEvent(h.Now(), "user:"+v.user().ID, action, target).With("address", h.Addresses.Of(v.r).String())
}

// notices are what the account page says about what has just been done.
var notices = map[string]string{
	"revoked":  "The access is removed.",
	"ended":    "It is signed out.",
	"password": "Your password is changed. You are signed out everywhere else.",
}

// done leads back to the account, which says so.
func (h *Handler) done(v *visit, what string) error {
	web.SeeOther(v.w, h.root+"/account?done="+what)
	return nil
}

// Account shows the account (GET and HEAD).
func (h *Handler) Account() http.Handler { return h.attend(h.account) }

func (h *Handler) account(v *visit) error {
	ctx, now := v.r.Context(), h.Now()
	applications, err := h.applications(ctx, v.user().ID)
	if err != nil {
		return err
	}
	sessions, err := everyPage(func(page storage.Page) ([]*storage.Session, error) {
		return h.Store.UserSessions(ctx, v.user().ID, now, page)
	}, func(s *storage.Session) string { return s.ID })
	if err != nil {
		return err
	}
	user, err := h.Store.User(ctx, v.user().ID)
	if err != nil {
		return err
	}
	providers, err := h.providers(ctx, user.ID)
	if err != nil {
		return err
	}
	page := templates.AccountPage{
		LogoutAction: h.root + "/logout", Page: v.signIn.Session.ID, Notice: notices[v.r.URL.Query().Get("done")],
		Account: templates.Account{Name: user.Name, Username: user.Username}, Providers: providers, Applications: applications,
		SessionsAction: h.root + "/account/sessions", InstallationsAction: h.root + "/account/installations", ActivityURL: h.root + "/account/activity",
	}
	only, err := h.passkeysOnly(ctx)
	if err != nil {
		return err
	}
	if user.PasswordHash != "" && !only {
		page.PasswordURL = h.root + "/account/password"
	}
	if user.PasswordHash != "" || user.VerifiedUntil.IsZero() { // whom no provider vouches for
		page.SecurityURL = h.root + "/account/security"
	}
	if len(applications) > 1 {
		page.RevokeAllURL = h.root + "/account/revoke?grant=" + everything
	}
	for _, s := range slices.Backward(sessions) {
		program, values := browserOf(s.UserAgent)
		page.Sessions = append(page.Sessions, templates.AccountSession{
			ID: s.ID, Browser: program, Values: values, Address: s.Address, SignedInAt: s.AuthenticatedAt, LastSeenAt: s.LastSeenAt,
			Current: s.ID == v.signIn.Session.ID,
		})
	}
	return h.Pages.Write(v.w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Account(out, page) })
}

// EndSessions ends a session of the visitor's own, or all but this one (POST).
func (h *Handler) EndSessions() http.Handler { return h.attend(h.endSessions) }

func (h *Handler) endSessions(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	sessions, err := everyPage(func(page storage.Page) ([]*storage.Session, error) {
		return h.Store.UserSessions(v.r.Context(), v.user().ID, h.Now(), page)
	}, func(s *storage.Session) string { return s.ID })
	if err != nil {
		return err
	}
	chosen := form.Get("session")
	for _, s := range sessions {
		if s.ID == v.signIn.Session.ID || s.ID != chosen && chosen != "others" {
			continue
		}
		event := h.event(v, "session.ended", s.ID).With("browser", Browser(s.UserAgent))
		if err := h.Store.DeleteSession(v.r.Context(), s.ID, event); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	// What is not there (any more) is signed out, whoever's it was.
	return h.done(v, "ended")
}

// The bounds of a list on a page: nobody has as much.
const (
	rowsPerRead = 200
	maxRows     = 1000
)

// everyPage reads a list to its end, or to maxRows.
func everyPage[T any](read func(storage.Page) ([]T, error), id func(T) string) ([]T, error) {
	var all []T
	for page := (storage.Page{Limit: rowsPerRead}); len(all) < maxRows; {
		rows, err := read(page)
		if err != nil {
			return nil, err
		}
		if all = append(all, rows...); len(rows) < page.Limit {
			break
		}
		page.After = id(rows[len(rows)-1])
	}
	return all, nil
}
