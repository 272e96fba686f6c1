package oauth

import (
	"context"
	"net/http"
	"time"

	"github.com/ory/fosite"

	"grantd/server/clientauth"
	"grantd/server/consent"
	"grantd/server/keys"
	"grantd/server/web"
	"grantd/storage"
)

// Store is what the engine room asks of the database.
type Store interface {
	storage.AuthorizationCodeStore
	storage.PushedRequestStore
	storage.FamilyStore
	storage.DeviceAuthorizationStore
	storage.AccessTokenStore
	Approve(ctx context.Context, a *storage.Approval, event storage.AuditEvent) error
	ClientBySecret(ctx context.Context, hash []byte) (*storage.Client, error)
	DeleteClientSecret(ctx context.Context, id, secretID string, event storage.AuditEvent) error
	AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error)
	DeleteAdminKey(ctx context.Context, id string, event storage.AuditEvent) error
	RecordAuditEvent(ctx context.Context, event storage.AuditEvent) error
	AskRegistration(ctx context.Context, r *storage.RegistrationRequest, userID string, limits storage.RequestLimits, event storage.AuditEvent) error
	RegistrationRequestOf(ctx context.Context, clientID, userID string) (*storage.RegistrationRequest, bool, error)
}

// Catalog finds Clients, Resources and Policies, usually without asking the database.
type Catalog interface {
	Client(ctx context.Context, clientID string) (*storage.Client, error)
	ClientByID(ctx context.Context, id string) (*storage.Client, error)
	RegisteredClients(ctx context.Context) ([]*storage.Client, error)
	Resources(ctx context.Context) ([]*storage.Resource, error)
	Policies(ctx context.Context) ([]*storage.Policy, error)
	SignInPolicy(ctx context.Context) (*storage.SignInPolicy, error)
}

// Clients finds the client that a person is asked about. One that describes itself
// in a document is not Stored before its first approval. storage.ErrNotFound, or a
// *web.Error to show. attended says that somebody has signed in to ask;
// web.ErrUnattended: only then may it be found out who the client is.
type Clients interface {
	Client(ctx context.Context, clientID string, attended bool) (*storage.Client, error)
}

// Sessions finds the person at the browser, and what the Look asks for.
// storage.ErrNotFound: nobody is signed in. TokenHash is what the browser's session would
// be stored under, or nil.
type Sessions interface {
	SignIn(r *http.Request, look storage.Look) (*storage.SignIn, error)
	TokenHash(r *http.Request) []byte
}

// Config is what the engine room is built from. Every field is needed.
type Config struct {
	Issuer     web.Issuer
	Store      Store
	Catalog    Catalog
	Clients    Clients
	Sessions   Sessions
	Admission  Admission
	Consent    *consent.Consent
	Pages      *web.Pages
	ClientAuth *clientauth.Authenticator
	Pushes     *web.FailureLimit // pushed requests of strangers, per address
	Signing    *keys.Signing
	Root       *keys.Root
	// Issued is told of every access token that is handed out.
	Issued func(client *storage.Client, grantType string)
	Now    func() time.Time
}

// OAuth serves the protocol's endpoints.
type OAuth struct {
	Config
	values values
	admin  *storage.Resource // the built-in one
	engine fosite.OAuth2Provider
	// identity is the Resource that userinfo serves.
	identity *storage.Resource

	deviceRequests, wrongCodesOfUser, wrongCodesOfAddress *web.FailureLimit
	// noted bounds the audit events that somebody could cause at will.
	noted *web.FailureLimit
}

// notedPerHour is how many such events of one kind, or of one family, are written.
const notedPerHour = 10

// New builds the engine room.
func New(c Config) *OAuth {
	o := &OAuth{
		Config: c, values: values{root: c.Root}, admin: AdminResource(c.Issuer), identity: newIdentity(c.Issuer),
		noted:               c.failureLimit(notedPerHour, time.Hour),
		deviceRequests:      c.failureLimit(deviceRequests, deviceRequestsWindow),
		wrongCodesOfUser:    c.failureLimit(wrongCodesOfUser, wrongCodesWindow),
		wrongCodesOfAddress: c.failureLimit(wrongCodesOfAddress, wrongCodesWindow),
	}
	o.engine = newEngine(o)
	return o
}
