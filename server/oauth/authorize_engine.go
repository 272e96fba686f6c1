package oauth

import (
	"context"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"grantd/server/policy"
	"grantd/storage"
)

// authorizeSession carries an approved request through fosite's authorize
// pipeline to the row it becomes.
type authorizeSession struct {
	fosite.DefaultSession
	now       time.Time
	code      *storage.AuthorizationCode
	sessionID string
	approval  *storage.Approval // nil: an earlier approval is remembered
	decision  policy.Decision   // that allowed it
}

// Clone returns the session itself: it belongs to one request.
func (s *authorizeSession) Clone() fosite.Session { return s }

// codeStrategy makes the code's value from the id of its row.
type codeStrategy struct{ *OAuth }

func (s codeStrategy) GenerateAuthorizeCode(_ context.Context, r fosite.Requester) (value, signature string, err error) {
	id := r.GetSession().(*authorizeSession).code.ID
	value, err = s.values.code(id)
	return value, id, err
}

// AuthorizeCodeSignature and ValidateAuthorizeCode belong to fosite's own code
// grant, which codeGrant stands in for.
func (codeStrategy) AuthorizeCodeSignature(context.Context, string) string { return "" }

func (codeStrategy) ValidateAuthorizeCode(context.Context, fosite.Requester, string) error {
	return fosite.ErrServerError
}

// codeStorage is the one part of fosite's storage that its authorize handler
// uses; the rest belongs to handlers that ours stand in for.
type codeStorage struct {
	oauth2.CoreStorage
	store Store
}

// CreateAuthorizeCodeSession writes the code, and with a fresh approval the Grant
// in the same statement.
func (s codeStorage) CreateAuthorizeCodeSession(ctx context.Context, _ string, r fosite.Requester) error {
	session := r.GetSession().(*authorizeSession)
	if session.approval == nil {
		return s.store.CreateCode(ctx, session.code, session.sessionID)
	}
	event := storage.NewAuditEvent(session.now, "user:"+session.code.UserID, "grant.approved", session.code.ID).
		With("client_id", session.code.ClientID).With("resource_id", session.code.ResourceID).
		With("scope", strings.Join(session.code.Scopes, " ")).With("shown", strings.Join(session.approval.Shown, " ")).
		With("redirect_uri", session.code.RedirectURI)
	event = withPolicies(event, session.decision, session.code.Scopes)
	if session.approval.InAdvance {
		event = event.With("consent", "policy")
	}
	return s.store.Approve(ctx, session.approval, event)
}
