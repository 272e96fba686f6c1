package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"grantd/api"
	"grantd/server/leaked"
	"grantd/server/profiles"
	"grantd/server/upstream"
	"grantd/server/web"
	"grantd/storage"
)

// Store is what the admin API needs of the database. It can neither approve or
// ask for a person nor change a signing key.
type Store interface {
	storage.ClientStore
	storage.ResourceStore
	storage.UserStore
	CreateUserLink(ctx context.Context, l *storage.UserLink, event storage.AuditEvent) error
	DeleteUserLink(ctx context.Context, userID string, event storage.AuditEvent) error
	storage.InitialAccessTokenStore
	storage.AdminKeyStore
	storage.GroupStore
	storage.IdempotencyKeyStore
	storage.RegistrationPolicyStore
	storage.PolicyStore
	storage.SignInPolicyStore
	Factors(ctx context.Context, userID string) (*storage.Factors, error)
	ResetFactors(ctx context.Context, userID string, event storage.AuditEvent) error
	storage.ProviderStore
	UserIdentities(ctx context.Context, userID string) ([]*storage.UserIdentity, error)
	RegistrationRequest(ctx context.Context, id string) (*storage.RegistrationRequest, error)
	RegistrationRequests(ctx context.Context, state storage.RegistrationRequestState, page storage.Page) ([]*storage.RegistrationRequest, error)
	DecideRegistration(ctx context.Context, id string, d storage.RegistrationDecision, event storage.AuditEvent) error
	DeleteRegistrationRequest(ctx context.Context, id string, event storage.AuditEvent) error
	Grants(ctx context.Context, filter storage.GrantFilter, page storage.Page) ([]*storage.Grant, error)
	Grant(ctx context.Context, id string) (*storage.Grant, error)
	DeleteGrant(ctx context.Context, id string, event storage.AuditEvent) error
	SigningKeys(ctx context.Context) ([]*storage.SigningKey, error)
	storage.AuditEventStore
	SealedAuditEvents(ctx context.Context, number int64, position, limit int) ([]*storage.AuditEvent, error)
}

// SigningKeys moves the signing keys on. Both complete the event and fail with
// storage.ErrConflict when the keys are not as they were read.
type SigningKeys interface {
	// Rotate has next sign instead of active.
	Rotate(ctx context.Context, active, next *storage.SigningKey, event storage.AuditEvent) error
	// Revoke withdraws one of rows, which are all keys.
	Revoke(ctx context.Context, rows []*storage.SigningKey, key *storage.SigningKey, event storage.AuditEvent) error
}

// Trust says how clients stand that introduce themselves. Its errors are outages.
type Trust interface {
	Client(ctx context.Context, c *storage.Client) (storage.RegistrationMode, error)
	// Level returns how far a client is known.
	Level(ctx context.Context, c *storage.Client) (storage.ClientTrust, error)
}

// Tokens knows whose a value is that leaked. storage.ErrNotFound: it is not one of
// this server's.
type Tokens interface {
	InspectValue(ctx context.Context, value string) (*leaked.Value, error)
	// RevokeValue ends the installation of the value, or the value itself where there
	// is none. It completes the event.
	RevokeValue(ctx context.Context, value string, event storage.AuditEvent) (*leaked.Value, error)
}

// Providers knows what is to know of signing in with a provider.
type Providers interface {
	// Seal returns a client secret as storage.Provider keeps it.
	Seal(providerID, secret string) []byte
	// HasSecret reports whether that is the provider's client secret.
	HasSecret(p *storage.Provider, secret string) bool
	// RedirectURI is what the provider must know as grantd's.
	RedirectURI(providerID string) string
	// Test looks whether a provider is set up well, and whom the ID token, unless it
	// is empty, would sign in.
	Test(ctx context.Context, p *storage.Provider, idToken string) upstream.Report
}

// Sealer seals text so that only this server's root keys open it.
type Sealer interface {
	Seal(purpose string, plaintext []byte) string
	Open(purpose, sealed string) ([]byte, error)
}

// MinKeyLength is how long an admin key must be, in bytes. New never accepts a
// shorter one.
const MinKeyLength = 32

// Config is what New needs. All fields but AdminKeys, Person, Hosts, CheckURL, Profiles
// and Mail are required.
type Config struct {
	Store Store
	// Issuer is what the server calls itself in tokens and metadata.
	Issuer string
	// HashPassword turns a password into what storage.User.PasswordHash holds.
	// It may fail when the server is too busy.
	HashPassword func(ctx context.Context, password string) (string, error)
	// Keys are the admin keys of the settings, each at least MinKeyLength long.
	Keys []string
	// AdminKeys finds the keys that admins have made; nil: in the Store.
	AdminKeys AdminKeys
	// Person finds whose access token of grantd's own it is; nil refuses them all.
	Person Person
	// Resource is the built-in one as the issuer has it.
	Resource *storage.Resource
	// Hosts are the names (without port) the listener answers to; none: any.
	Hosts []string
	// CheckURL refuses a URL that documents may not be fetched from; nil refuses
	// all.
	CheckURL    func(url string) error
	SigningKeys SigningKeys
	Trust       Trust
	Chain       Chain
	Tokens      Tokens
	Providers   Providers
	// Sealer keeps what a request with an Idempotency-Key was from whoever reads
	// the database.
	Sealer Sealer
	// Profiles are the client profiles, whether they are on or off.
	Profiles profiles.Set
	// LinkURL is the link with that token.
	LinkURL func(token string) string
	// OffersPasskeys: the issuer has a host that there can be passkeys for.
	OffersPasskeys bool
	// Mail sends a link to a User; nil: there is no mail server.
	Mail func(ctx context.Context, to *storage.User, link *storage.UserLink, url string) error
	Now  func() time.Time
}

// New returns the handler for everything under /admin/v1. It wraps itself in
// web.Guard and answers every error but a foreign host's as problem+json.
func New(cfg Config) http.Handler {
	h := &handlers{
		store: cfg.Store, issuer: cfg.Issuer, hashPassword: cfg.HashPassword, checkURL: cfg.CheckURL, signingKeys: cfg.SigningKeys,
		tokens: cfg.Tokens, trust: cfg.Trust, chain: cfg.Chain, providers: cfg.Providers, sealer: cfg.Sealer, profiles: cfg.Profiles,
		linkURL: cfg.LinkURL, mail: cfg.Mail, clock: cfg.Now, resourceOfAdmin: cfg.Resource, offersPasskeys: cfg.OffersPasskeys,
	}
	if h.checkURL == nil {
		h.checkURL = func(string) error { return errors.New("no documents are fetched") }
	}

	// SkipClean and UseEncodedPath: an id with a slash or dots in it, encoded or
	// not, is not found; it never becomes another path.
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	api.HandlerWithOptions(
		api.NewStrictHandlerWithOptions(h, []api.StrictMiddlewareFunc{refuseUnknownParameters}, api.StrictHTTPServerOptions{
			RequestErrorHandlerFunc:  writeUndecodable,
			ResponseErrorHandlerFunc: writeError,
		}),
		api.GorillaServerOptions{BaseRouter: router, Middlewares: []api.MiddlewareFunc{readBodyStrictly}, ErrorHandlerFunc: writeBadParameter},
	)
	router.NotFoundHandler = web.Problem(func(http.ResponseWriter, *http.Request) error {
		return &web.Error{Status: http.StatusNotFound, Code: "not-found", Message: "The admin API has no such path."}
	})
	router.MethodNotAllowedHandler = methodNotAllowed(router)

	return web.Guard(cfg.Hosts, plainHeaders(refuseForeignOrigins(newDoorkeeper(cfg).admit(router))))
}

// handlers implements api.StrictServerInterface.
type handlers struct {
	store        Store
	issuer       string
	hashPassword func(context.Context, string) (string, error)
	checkURL     func(string) error
	signingKeys  SigningKeys
	trust        Trust
	chain        Chain
	tokens       Tokens
	providers    Providers
	sealer       Sealer
	profiles     profiles.Set
	linkURL      func(token string) string
	mail         func(context.Context, *storage.User, *storage.UserLink, string) error
	clock        func() time.Time
	// offersPasskeys: there can be passkeys here.
	offersPasskeys bool
	// resourceOfAdmin is the built-in Resource.
	resourceOfAdmin *storage.Resource
}

var _ api.StrictServerInterface = (*handlers)(nil)

// now is the time in the precision that both databases keep, so that what a
// create answers is what a read answers later.
func (h *handlers) now() time.Time { return h.clock().UTC().Truncate(time.Microsecond) }

// updateRetries is how often a change that lost a race is read, merged and
// written again before the caller is told.
const updateRetries = 3

// retryConflicts runs attempt until it does not lose a race: ErrConflict after
// updateRetries.
func retryConflicts(attempt func() error) error {
	var err error
	for range 1 + updateRetries {
		if err = attempt(); !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return err
}

// taken gives ErrExists a sentence of its own; other errors stay as they are.
func taken(err error, message string) error {
	if errors.Is(err, storage.ErrExists) {
		return &web.Error{Status: http.StatusConflict, Code: "already-exists", Message: message, Err: err}
	}
	return err
}

// stillFree is the end of a dry run of a create: found is what looking for a thing of
// that name returned.
func stillFree(found error, message string) error {
	if errors.Is(found, storage.ErrNotFound) {
		return nil
	}
	if found == nil {
		found = storage.ErrExists
	}
	return taken(found, message)
}

// checkID refuses with ErrNotFound what cannot be an id, so that nothing strange
// reaches the database.
func checkID(prefix, id string) error {
	if _, err := storage.IDBytes(prefix, id); err != nil {
		return storage.ErrNotFound
	}
	return nil
}

// list is s, never nil: lists are in every answer, as [] when empty.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
