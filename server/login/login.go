package login

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"grantd/server/factor"
	"grantd/server/password"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// Config is what a Handler works with. Everything but Purpose, Leaving, Factors, Rule,
// StepUp and Providers is required.
type Config struct {
	Pages     *web.Pages
	Store     Store
	Sessions  *session.Manager
	Hasher    *password.Hasher
	Addresses web.Addresses
	Now       func() time.Time
	// Purpose says in words what the /authorize request with this raw query is
	// for, for the line "to continue to"; what it does not know is empty.
	Purpose func(ctx context.Context, rawQuery string) Purpose
	// Providers returns the other ways to sign in before this query, and the one that
	// the page leads to by itself, "" for none. Nil: there are none.
	Providers func(ctx context.Context, rawQuery string) (buttons []templates.LoginProvider, automatic string, err error)
	// Leaving says what the /logout request with this raw query asks for; what is not
	// right is empty.
	Leaving func(ctx context.Context, rawQuery string) (Leaving, error)
	// Factors are what people prove besides a password; nil: nothing. Sealer and Rule
	// go with it.
	Factors *factor.Factors
	Sealer  session.Sealer
	// Rule is what the organisation demands of everybody.
	Rule func(ctx context.Context) (storage.SecondFactorRule, error)
	// Browser says in words which browser a User-Agent is, "" for none that people use.
	// It goes with Factors.
	Browser func(userAgent string) string
	// StepUp reports whether the /authorize request with this raw query needs two
	// factors of somebody in these groups, and whether a factor may be added to the
	// session, which may be nil. Nil: none ever does.
	StepUp func(ctx context.Context, rawQuery string, groups []string, session *storage.Session) (needed, addable bool, err error)
}

// Purpose is what a person signs in for.
type Purpose struct {
	ClientName, ClientHost, RedirectHost, ResourceName string
	Verified                                           bool // an admin registered the client
	Administration                                     bool // the resource is that of grantd itself
}

// Store is what signing in needs of the database.
type Store interface {
	User(ctx context.Context, id string) (*storage.User, error)
	UserByUsername(ctx context.Context, username string) (*storage.User, error)
	RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error
}

// Handler answers /login and /logout.
type Handler struct {
	Config
	issuer   web.Issuer
	attempts *attempts
	codes    *codeLimits
}

// New returns a Handler with no failures counted.
func New(c Config) *Handler {
	return &Handler{Config: c, issuer: c.Pages.Issuer, attempts: newAttempts(c), codes: newCodeLimits(c.Now)}
}

// Login answers /login: GET and HEAD show the form, POST signs in.
func (h *Handler) Login() http.Handler { return h.Pages.Handle(h.login) }

func (h *Handler) login(w http.ResponseWriter, r *http.Request) error {
	if strings.Contains(r.URL.RawQuery, "#") {
		return malformed(nil)
	}
	if carriesPassword(r.URL.RawQuery) {
		w.Header().Set("Allow", http.MethodPost)
		return &web.Error{
			Status: http.StatusMethodNotAllowed, Code: "password-in-url", Title: "A password does not belong in an address",
			Message: "It was not used. As addresses are kept in histories and logs, please change that password.",
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.ask(w, r, true)
	case http.MethodPost:
		return h.signIn(w, r)
	}
	return methodNotAllowed(w)
}

// Local answers /login/local with the form, where /login would lead to a provider.
func (h *Handler) Local() http.Handler {
	return h.Pages.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if strings.Contains(r.URL.RawQuery, "#") || carriesPassword(r.URL.RawQuery) {
			return malformed(nil)
		}
		return h.ask(w, r, false)
	})
}

// ask shows the form, or with automatic leads to the one provider there is if nobody
// is signed in. Whoever comes with a query is asked even when signed in: /authorize
// has its reasons to send them here (prompt=login, another account).
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, automatic bool) error {
	to := ""
	if automatic && h.Providers != nil {
		var err error
		if _, to, err = h.Providers(r.Context(), r.URL.RawQuery); err != nil {
			return err
		}
	}
	if r.URL.RawQuery == "" || to != "" {
		switch _, err := h.Sessions.SignIn(r, storage.Look{}); {
		case err == nil && r.URL.RawQuery == "":
			return h.seeOther(w, "/account")
		case errors.Is(err, storage.ErrNotFound) && to != "":
			web.SeeOther(w, to)
			return nil
		case err != nil && !errors.Is(err, storage.ErrNotFound):
			return err
		}
	}
	if asked, err := h.stepUp(w, r); asked || err != nil {
		return err
	}
	return h.form(w, r, http.StatusOK, "", "")
}

// signIn takes the form. It checks where the post comes from before anything
// else, so that a forged one costs nothing and counts for nothing.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request) error {
	if err := web.CheckOrigin(r, h.issuer); err != nil {
		return err
	}
	form, err := web.ReadForm(r)
	switch {
	case errors.Is(err, web.ErrContentType):
		return &web.Error{
			Status: http.StatusUnsupportedMediaType, Code: "content-type",
			Message: "The sign-in form is sent as application/x-www-form-urlencoded.", Err: err,
		}
	case errors.Is(err, web.ErrTooLarge):
		return h.form(w, r, http.StatusBadRequest, "", tooLong)
	case err != nil || len(form.Repeated) > 0:
		return malformed(err)
	}
	switch {
	case form.Has(fieldStep):
		return h.secondStep(w, r, form)
	case form.Has(fieldChallenge):
		return h.signInWithPasskey(w, r, form)
	}
	if only, err := h.passkeysOnly(r.Context()); err != nil {
		return err
	} else if only {
		return h.form(w, r, http.StatusForbidden, "", passwordUnused)
	}
	username, secret := form.Get("username"), form.Get("password")
	switch {
	case username == "" || secret == "":
		return h.form(w, r, http.StatusBadRequest, username, incomplete)
	case len(secret) > password.MaxBytes:
		return h.form(w, r, http.StatusBadRequest, username, tooLong)
	}

	user, refused, err := h.attempts.try(r, username, secret)
	if err == nil && refused == nil {
		var asked bool
		if asked, err = h.askSecond(w, r, user); asked || err != nil {
			return err
		}
		_, err = h.Sessions.Start(w, r, user, session.How{
			Method: "password", AMR: []string{storage.AMRPassword}, Address: h.Addresses.Of(r).String(), PasswordHash: user.PasswordHash,
		})
		if errors.Is(err, storage.ErrNotFound) { // disabled, or another password, since it was checked
			refused, err = &refusal{status: http.StatusUnauthorized, problem: wrong}, nil
		}
	}
	switch {
	case err != nil:
		return err
	case refused != nil:
		web.Refused(w, refused.reason())
		if refused.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(refused.retryAfter))
		}
		return h.form(w, r, refused.status, username, refused.problem)
	}
	return h.seeOther(w, ReturnTo(r.URL.RawQuery))
}

// securityQuery is that of a sign-in which leads to the security page of the account.
const securityQuery = "account=security"

// ReturnTo is where a sign-in with this query leads: /device for a user code alone
// (RFC 8628 §3.3), which no authorization request is, the account without any, else
// /authorize.
func ReturnTo(rawQuery string) string {
	switch rawQuery {
	case "":
		return "/account"
	case securityQuery:
		return "/account/security"
	}
	if strings.HasPrefix(rawQuery, "user_code=") && !strings.Contains(rawQuery, "&") {
		return "/device?" + rawQuery
	}
	return "/authorize?" + rawQuery
}

// What the form says above its fields. The one for failures must not tell why.
const (
	wrong      = "The user name or the password is not right."
	incomplete = "Enter your user name and your password."
	tooLong    = "That password is too long: a password has at most 1024 bytes."
)

func (h *Handler) form(w http.ResponseWriter, r *http.Request, status int, username, problem string) error {
	page := templates.LoginPage{Action: h.issuer.Root() + "/login", Username: username, Problem: problem}
	if query := r.URL.RawQuery; query != "" {
		page.Action += "?" + query
		if h.Purpose != nil {
			p := h.Purpose(r.Context(), query)
			page.Verified, page.ClientName, page.ClientHost = p.Verified, p.ClientName, p.ClientHost
			page.RedirectHost, page.ResourceName, page.Administration = p.RedirectHost, p.ResourceName, p.Administration
		}
	}
	if h.Providers != nil {
		var err error
		if page.Providers, _, err = h.Providers(r.Context(), r.URL.RawQuery); err != nil {
			return err
		}
	}
	var err error
	if page.PasskeysOnly, err = h.passkeysOnly(r.Context()); err != nil {
		return err
	}
	if page.Passkey, err = h.asked(nil, nil); err != nil {
		return err
	}
	return h.Pages.Write(w, status, formsOf(page.Passkey), func(out io.Writer) error { return h.Pages.Templates.Login(out, page) })
}

// seeOther leads to a path of ours.
func (h *Handler) seeOther(w http.ResponseWriter, path string) error {
	web.SeeOther(w, h.issuer.Root()+path)
	return nil
}

// carriesPassword reports whether somebody sent the form as a link. Pairs around
// a malformed one count too.
func carriesPassword(rawQuery string) bool {
	query, _ := url.ParseQuery(rawQuery)
	return query.Has("password")
}

func malformed(err error) error {
	return &web.Error{
		Status: http.StatusBadRequest, Code: "malformed", Title: "This request cannot be read",
		Message: "Go back to the application and start again.", Err: err,
	}
}

func methodNotAllowed(w http.ResponseWriter) error {
	w.Header().Set("Allow", "GET, HEAD, POST")
	return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Message: "This page is read with GET and sent with POST."}
}
