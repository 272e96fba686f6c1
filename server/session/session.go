package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"grantd/server/web"
	"grantd/storage"
)

// The names of the cookies; with an https issuer they begin with __Host-.
const (
	Cookie       = "grantd_session"
	DeviceCookie = "grantd_device"
)

// Manager begins, finds and ends the Sessions of browsers.
type Manager struct {
	Store  storage.SessionStore
	Issuer web.Issuer
	Sealer Sealer
	Now    func() time.Time
}

// Sealer encrypts and authenticates values that a browser keeps for us.
type Sealer interface {
	Seal(purpose string, plaintext []byte) string
	Open(purpose, sealed string) ([]byte, error)
}

// How says how a person signed in, for the audit and for the list of sessions.
type How struct {
	Method  string   // "password", "provider", or all of them: "password and TOTP"
	AMR     []string // the same for programs (RFC 8176); none: unknown
	Address string   // where from
	// PasswordHash, if not empty, is what the password was compared with: the sign-in
	// fails when the user has another by now.
	PasswordHash string
	// Provider is the id of the Provider that they signed in with, if they did.
	Provider string
	// AuthenticatedAt is when they proved who they are; zero: now.
	AuthenticatedAt time.Time
	// Still, if not nil, is asked once the session is there whether what it rests on
	// still is: what takes that away either waits for the session, or is seen now.
	Still func(ctx context.Context) (bool, error)
}

// SignIn returns who is signed in with this browser, and what look asks for.
// storage.ErrNotFound when nobody is; storage.ErrUnavailable.
func (m *Manager) SignIn(r *http.Request, look storage.Look) (*storage.SignIn, error) {
	hash := m.TokenHash(r)
	if hash == nil {
		return nil, storage.ErrNotFound
	}
	return m.Store.SignIn(r.Context(), hash, look, m.Now())
}

// Start signs the user in with this browser: a new Session with a new token, and
// a new mark of the device. The Session that the browser had before ends, whoever
// it belonged to. It writes cookies only when it succeeds. storage.ErrNotFound
// when the user is disabled or gone or has another password, or what the sign-in rests
// on has gone; storage.ErrUnavailable.
func (m *Manager) Start(w http.ResponseWriter, r *http.Request, user *storage.User, how How) (*storage.Session, error) {
	previous, err := m.SignIn(r, storage.Look{})
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	now := m.Now()
	token := newToken()
	s := &storage.Session{
		ID: storage.NewID(storage.PrefixSession), TokenHash: hashOf(token), UserID: user.ID,
		AuthenticatedAt: now, AMR: how.AMR, CreatedAt: now, LastSeenAt: now,
		UserAgent: web.UserAgent(r), Address: how.Address, PasswordHash: how.PasswordHash,
	}
	if !how.AuthenticatedAt.IsZero() {
		s.AuthenticatedAt = how.AuthenticatedAt
	}
	event := storage.NewAuditEvent(now, "user:"+user.ID, "user.signed_in", s.ID).
		With("method", how.Method).With("address", how.Address)
	if how.Provider != "" {
		event = event.With("provider", how.Provider)
	}
	if err := m.Store.CreateSession(r.Context(), s, event); err != nil {
		return nil, err
	}
	if err := m.stillStands(r, s, how.Still); err != nil {
		return nil, err
	}
	if previous != nil {
		event := storage.NewAuditEvent(now, "user:"+user.ID, "session.replaced", previous.Session.ID).With("by", s.ID)
		if err := m.delete(r, previous, event); err != nil {
			return nil, err
		}
	}
	m.Issuer.SetCookie(w, Cookie, token, 0)
	m.markDevice(w, user.ID, now)
	return s, nil
}

// stillStands ends a session again, which nobody has the token of yet, if what it rests
// on has gone. storage.ErrNotFound; storage.ErrUnavailable.
func (m *Manager) stillStands(r *http.Request, s *storage.Session, still func(context.Context) (bool, error)) error {
	if still == nil {
		return nil
	}
	stands, err := still(r.Context())
	if err == nil && stands {
		return nil
	} else if err == nil {
		err = storage.ErrNotFound
	}
	event := storage.NewAuditEvent(m.Now(), "system", "session.ended", s.ID).With(storage.DetailUser, s.UserID)
	return errors.Join(err, m.delete(r, &storage.SignIn{Session: *s}, event))
}

// End signs the browser out and takes its session cookie; the mark of the device
// stays. That nobody was signed in is no error. storage.ErrUnavailable: then the
// cookie stays too, for the session is still alive.
func (m *Manager) End(w http.ResponseWriter, r *http.Request) error {
	signIn, err := m.SignIn(r, storage.Look{})
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if signIn != nil {
		event := storage.NewAuditEvent(m.Now(), "user:"+signIn.User.ID, "user.signed_out", signIn.Session.ID)
		if err := m.delete(r, signIn, event); err != nil {
			return err
		}
	}
	m.Issuer.SetCookie(w, Cookie, "", -1)
	return nil
}

// delete ends a session; somebody else may have done so in the meantime.
func (m *Manager) delete(r *http.Request, signIn *storage.SignIn, event storage.AuditEvent) error {
	if err := m.Store.DeleteSession(r.Context(), signIn.Session.ID, event); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return nil
}

const tokenBytes = 32

func newToken() string {
	token := make([]byte, tokenBytes)
	_, _ = rand.Read(token) // never fails: it would end the process
	return base64.RawURLEncoding.EncodeToString(token)
}

// TokenHash returns what the browser's session is stored under, if there is one, or nil
// when its cookie is absent, doubled or not of our making.
func (m *Manager) TokenHash(r *http.Request) []byte {
	token := m.Issuer.Cookie(r, Cookie)
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(token); err != nil || len(raw) != tokenBytes {
		return nil
	}
	return hashOf(token)
}

func hashOf(token string) []byte {
	hash := sha256.Sum256([]byte(token))
	return hash[:]
}
