package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/oauth2"

	"grantd/server/keys"
	"grantd/server/session"
	"grantd/server/web"
	"grantd/storage"
)

// talk is how long one sign-in may talk with its provider in all, so that a page about
// it is there before the request's own time is over.
const talk = 8 * time.Second

// MaxAnswer bounds an answer of a provider's endpoint, in bytes.
const MaxAnswer = 256 << 10

// Store is what signing in needs of the database.
type Store interface {
	storage.UserIdentityStore
	ResealProvider(ctx context.Context, id string, sealed, resealed []byte, event storage.AuditEvent) error
	RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error
}

// Config is what an Upstream works with. Everything is required.
type Config struct {
	Pages     *web.Pages
	Store     Store
	Sessions  *session.Manager
	Root      *keys.Root
	Fetcher   Fetcher
	Client    *http.Client // for exchanges of at most MaxAnswer bytes
	Addresses web.Addresses
	Now       func() time.Time
	// Providers returns all of them, disabled ones too.
	Providers func(ctx context.Context) ([]*storage.Provider, error)
	// Demand returns what the sign-in before /authorize?rawQuery must prove.
	Demand func(ctx context.Context, rawQuery string) (Demand, error)
	// AskSecond shows the second step after a sign-in of the user with the provider,
	// before that query, at that time, that has no second factor in amr, if there must be
	// one.
	// storage.ErrNotFound: the user is gone or disabled.
	AskSecond func(w http.ResponseWriter, r *http.Request, rawQuery string, p *storage.Provider, userID string, amr []string, at time.Time) (asked bool, err error)
	// ReturnTo is the path that a sign-in with this query leads to.
	ReturnTo func(rawQuery string) string
}

// Upstream answers below /login/upstream.
type Upstream struct {
	Config
	failures *web.FailureLimit // exchanges that failed, by address
	events   *web.FailureLimit // audit rows of refused sign-ins, together
}

// How many failed exchanges an address may cause, and how many audit events of refused
// sign-ins are written. The log has them all.
const (
	failuresPerMinute = 20
	refusalsPerHour   = 100
)

// New returns an Upstream.
func New(c Config) *Upstream {
	return &Upstream{
		Config:   c,
		failures: &web.FailureLimit{Failures: failuresPerMinute, Window: time.Minute, Now: c.Now},
		events:   &web.FailureLimit{Failures: refusalsPerHour, Window: time.Hour, Now: c.Now},
	}
}

// Start sends the browser to the provider (GET).
func (u *Upstream) Start() http.Handler {
	return u.Pages.Handle(func(w http.ResponseWriter, r *http.Request) error {
		return u.withPassword(u.start(w, r), r.URL.RawQuery)
	})
}

// Callback takes the provider's answer (GET).
func (u *Upstream) Callback() http.Handler {
	return u.Pages.Handle(func(w http.ResponseWriter, r *http.Request) error {
		s := new(state)
		return u.withPassword(u.callback(w, r, s), s.Query)
	})
}

// withPassword leads from the page of an error to where a local account signs in,
// which is nowhere else linked to when the sign-in page leads to a provider by itself.
func (u *Upstream) withPassword(err error, rawQuery string) error {
	var face *web.Error
	if !errors.As(err, &face) {
		return err
	}
	linked := *face
	linked.Link, linked.LinkText = u.issuer().Root()+"/login/local", "Sign in with a local account"
	if rawQuery != "" {
		linked.Link += "?" + rawQuery
	}
	return &linked
}

// RedirectURI is what a provider must know as grantd's redirect URI.
func RedirectURI(issuer web.Issuer, providerID string) string {
	return issuer.URL("/login/upstream/" + providerID + "/callback")
}

func (u *Upstream) start(w http.ResponseWriter, r *http.Request) error {
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		return &web.Error{Status: http.StatusForbidden, Code: "prefetch", Title: "Not before you ask", Message: "This page is not shown in advance."}
	}
	ctx, cancel := context.WithTimeout(r.Context(), talk)
	defer cancel()
	p, err := u.provider(ctx, mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	secret, err := openSecret(u.Root, p)
	if err != nil {
		return err
	}
	demand, err := u.demand(r, p)
	if err != nil {
		return err
	}
	m, err := discover(ctx, u.Fetcher, p)
	if err != nil {
		return u.outage(ctx, p, err)
	}
	s := newState(p.ID, r.URL.RawQuery, demand, u.Now())
	u.setMarks(w, append(u.marks(r), s.Mark))
	web.SeeOther(w, m.client(p, secret, RedirectURI(u.issuer(), p.ID)).AuthCodeURL(u.seal(s), append(demand.options(), //nolint:contextcheck // it makes a URL only
		oauth2.S256ChallengeOption(s.verifier()), oauth2.SetAuthURLParam("nonce", s.nonce()))...))
	return nil
}

// demand is what the request behind the sign-in page asks, within what the provider
// has to meet anyway. Whoever is signed in and comes here without being asked to wants
// to be somebody else.
func (u *Upstream) demand(r *http.Request, p *storage.Provider) (Demand, error) {
	d := Demand{MaxAge: -1}
	if r.URL.RawQuery != "" {
		var err error
		if d, err = u.Demand(r.Context(), r.URL.RawQuery); err != nil {
			return d, err
		}
	}
	asked := d.ACRValues
	d.ACRValues = p.ACRValues
	if narrower := storage.Intersect(p.ACRValues, asked); len(narrower) > 0 {
		d.ACRValues = narrower
	}
	if d.Login || d.SelectAccount || d.MaxAge >= 0 {
		return d, nil
	}
	switch _, err := u.Sessions.SignIn(r, storage.Look{}); {
	case err == nil:
		d.SelectAccount = true
	case !errors.Is(err, storage.ErrNotFound):
		return d, err
	}
	return d, nil
}

// options are the parameters that ask the provider for it (OpenID Connect Core
// §3.1.2.1).
func (d Demand) options() []oauth2.AuthCodeOption {
	var options []oauth2.AuthCodeOption
	set := func(name, value string) { options = append(options, oauth2.SetAuthURLParam(name, value)) }
	switch {
	case d.Login:
		set("prompt", "login")
	case d.SelectAccount:
		set("prompt", "select_account")
	}
	if d.MaxAge >= 0 {
		set("max_age", strconv.Itoa(int(d.MaxAge/time.Second)))
	}
	if len(d.ACRValues) > 0 {
		set("acr_values", strings.Join(d.ACRValues, " "))
	}
	return options
}

// callback fills in s as soon as it is known.
func (u *Upstream) callback(w http.ResponseWriter, r *http.Request, s *state) error {
	answer, err := web.ParseParameters(r.URL.RawQuery)
	if err != nil || len(answer.Repeated) > 0 {
		return &web.Error{Status: http.StatusBadRequest, Code: "malformed", Title: "This answer cannot be read", Message: "Your identity provider sent something malformed.", Help: startAgain}
	}
	ctx, cancel := context.WithTimeout(r.Context(), talk)
	defer cancel()
	r = r.WithContext(ctx)
	p, err := u.provider(ctx, mux.Vars(r)["id"])
	if err != nil {
		return err
	}
	began, err := u.open(w, r, p.ID, answer.Get("state"))
	switch {
	case errors.Is(err, errState), errors.Is(err, errBrowser):
		return notThisSignIn(err)
	case err != nil:
		return err
	}
	*s = *began
	m, err := discover(ctx, u.Fetcher, p)
	if err != nil {
		return u.outage(ctx, p, err)
	}
	// Whose answer this is comes before what it says (RFC 9207 §2.4).
	if iss := answer.Get("iss"); iss != m.Issuer && (iss != "" || m.NamesIssuer) {
		return u.refuse(r, p, notThisSignIn(errors.New("the answer is of another issuer, or does not say of which")), "answer of another issuer")
	}
	if code := answer.Get("error"); code != "" {
		return providerError(code)
	}
	return u.signIn(w, r, p, m, s, answer.Get("code"))
}

// signIn redeems the code and signs in whom the ID token names.
func (u *Upstream) signIn(w http.ResponseWriter, r *http.Request, p *storage.Provider, m *metadata, s *state, code string) error {
	token, info, err := u.redeem(r, p, m, s, code)
	if err != nil {
		return err
	}
	at, err := token.authenticatedAt(s.Demand, s.At, u.Now())
	if err != nil {
		return u.refuse(r, p, notProven(err), err.Error())
	}
	who, err := person(p, token, info)
	if err == nil {
		err = allow(p, token, who)
	}
	var user *storage.User
	if err == nil {
		user, err = u.account(r.Context(), p, who)
	}
	amr, asked := token.amr(), false
	if err == nil && storage.ACROf(amr) != storage.ACRMultiFactor {
		asked, err = u.AskSecond(w, r, s.Query, p, user.ID, amr, at)
	}
	if err == nil && !asked {
		_, err = u.Sessions.Start(w, r, user, session.How{
			Method: "provider", AMR: amr, Provider: p.ID, Address: u.Addresses.Of(r).String(), AuthenticatedAt: at,
		})
	}
	if errors.Is(err, storage.ErrNotFound) { // disabled since
		err = disabled
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		return u.refuse(r, p, &web.Error{Status: http.StatusForbidden, Code: "sign-in-refused", Title: no.Title, Message: no.Message, Help: no.Help, Err: err}, no.reason)
	case err != nil || asked:
		return err
	}
	web.SeeOther(w, u.issuer().Root()+u.ReturnTo(s.Query))
	return nil
}

// redeem exchanges the code (OpenID Connect Core §3.1.3) and returns the verified ID
// token and, if claims are missing in it, those of the userinfo endpoint.
func (u *Upstream) redeem(r *http.Request, p *storage.Provider, m *metadata, s *state, code string) (*idToken, claims, error) {
	ctx := context.WithValue(r.Context(), oauth2.HTTPClient, u.Client)
	address := u.Addresses.Key(r)
	if wait := u.failures.Blocked(address); wait > 0 {
		return nil, nil, &web.Error{
			Status: http.StatusTooManyRequests, Code: "too-many-failures", Title: "Please wait a moment",
			Message: "Too many sign-ins have failed. Wait a minute and try again.", RetryAfter: wait,
		}
	}
	secret, err := openSecret(u.Root, p)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := m.client(p, secret, RedirectURI(u.issuer(), p.ID)).Exchange(ctx, code, oauth2.VerifierOption(s.verifier()))
	if err != nil {
		u.failures.Fail(address)
		return nil, nil, u.exchangeFailed(ctx, p, err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return nil, nil, u.badToken(r, p, badToken("there is none"))
	}
	token, err := u.verify(ctx, p, m, raw, s.nonce(), tokens)
	var bad *tokenError
	switch {
	case errors.As(err, &bad):
		u.failures.Fail(address)
		return nil, nil, u.badToken(r, p, bad)
	case err != nil:
		return nil, nil, u.outage(ctx, p, err)
	}
	info, err := u.userinfo(ctx, p, m, token, tokens)
	if err != nil {
		return nil, nil, u.outage(ctx, p, err)
	}
	return token, info, nil
}

// provider returns an enabled provider.
func (u *Upstream) provider(ctx context.Context, id string) (*storage.Provider, error) {
	all, err := u.Providers(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.ID == id && p.Enabled {
			return p, nil
		}
	}
	return nil, errUnknownProvider()
}

// Button is a way to sign in with a provider.
type Button struct {
	Label string
	URL   string // path with the query
}

// Buttons returns those of the sign-in page with this query, and the one that it leads
// to by itself, if there is one: it needs a single automatic provider.
func (u *Upstream) Buttons(ctx context.Context, rawQuery string) (buttons []Button, automatic *Button, err error) {
	all, err := u.Providers(ctx)
	if err != nil {
		return nil, nil, err
	}
	count := 0
	for _, p := range all {
		if !p.Enabled {
			continue
		}
		b := Button{Label: p.ButtonLabel(), URL: u.issuer().Root() + "/login/upstream/" + url.PathEscape(p.ID)}
		if rawQuery != "" {
			b.URL += "?" + rawQuery
		}
		buttons = append(buttons, b)
		if p.Automatic {
			count++
			automatic = &b
		}
	}
	if count != 1 {
		automatic = nil
	}
	return buttons, automatic, nil
}

// refuse audits a sign-in that the provider gave and grantd did not take, and returns
// its face.
func (u *Upstream) refuse(r *http.Request, p *storage.Provider, face *web.Error, reason string) error {
	ctx, address := r.Context(), u.Addresses.Of(r).String()
	slog.Default().InfoContext(ctx, "sign-in with a provider refused", "provider", p.ID, "reason", reason, "address", address, "request_id", web.RequestID(ctx))
	if u.events.Blocked("all") > 0 {
		return face
	}
	u.events.Fail("all")
	event := storage.NewAuditEvent(u.Now(), "system", "provider.sign_in_refused", p.ID).With("reason", reason).With("address", address)
	if err := u.Store.RecordAuditEvent(ctx, event); err != nil {
		return err
	}
	return face
}
