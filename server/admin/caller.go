package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"grantd/server/web"
	"grantd/storage"
)

// AdminKeys finds the keys that admins have made.
type AdminKeys interface {
	// AdminKeyByHash may answer from memory for a second. storage.ErrNotFound.
	AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error)
}

// Person finds whose access token it is, and of which scopes of the built-in
// Resource, all checked in the database now. storage.ErrNotFound: it counts for
// nothing here.
type Person func(ctx context.Context, token string) (userID string, scopes []string, expiresAt time.Time, err error)

// caller is who sent a request.
type caller struct {
	actor     string // as audit events name them
	userID    string // of a person
	keyID     string // of an AdminKey
	scope     storage.AdminScope
	expiresAt time.Time // zero: never
}

type callerKey struct{}

// callerOf is who sent the request.
func callerOf(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{}
}

// actor is who sent the request, as audit events name them.
func actor(ctx context.Context) string { return callerOf(ctx).actor }

// settingKeyDigits is how many hex digits name a key of the settings.
const settingKeyDigits = 8

// doorkeeper lets in who may call the API.
type doorkeeper struct {
	settings [][sha256.Size]byte // hashes of the keys of the settings
	keys     AdminKeys
	touch    func(ctx context.Context, id string, now time.Time) error
	person   Person // nil: no people
	now      func() time.Time

	mu      sync.Mutex
	touched map[string]time.Time // by AdminKey id: what is remembered of a key may be older
}

func newDoorkeeper(cfg Config) *doorkeeper {
	d := &doorkeeper{keys: cfg.AdminKeys, touch: cfg.Store.TouchAdminKey, person: cfg.Person, now: cfg.Now, touched: make(map[string]time.Time)}
	if d.keys == nil {
		d.keys = cfg.Store
	}
	for _, key := range cfg.Keys {
		if len(key) >= MinKeyLength {
			d.settings = append(d.settings, sha256.Sum256([]byte(key)))
		}
	}
	return d
}

// admit lets through what carries a credential of this server as a bearer token in
// the Authorization header, and nothing else. Whatever could change something needs
// one that may write: that is decided here, by the method, so that no operation can
// forget it.
func (d *doorkeeper) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == signInPath {
			next.ServeHTTP(w, r) // for those who have none yet
			return
		}
		c, err := d.identify(r.Context(), bearer(r))
		var shown *web.Error
		switch {
		case errors.As(err, &shown):
			w.Header().Set("WWW-Authenticate", "Bearer")
			web.WriteProblem(w, r, err)
			return
		case err != nil:
			web.WriteProblem(w, r, err)
			return
		}
		if !readsOnly(r) && c.scope != storage.AdminScopeWrite {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+storage.ScopeAdminWrite+`"`)
			web.WriteProblem(w, r, &web.Error{
				Status: http.StatusForbidden, Code: "read-only",
				Message: "This admin key or token may only read. Nothing was done.",
			})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// readsOnly reports whether a request changes nothing, by its method (RFC 9110 §9.2.1),
// or because it is a question whose subject must not stand in a URL.
func readsOnly(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return r.Method == http.MethodPost && r.URL.EscapedPath() == inspectPath
}

// inspectPath is the one POST that only reads.
const inspectPath = "/admin/v1/tokens/inspect"

// identify finds out who sends this token. Its *web.Error is a refusal, any other an
// outage.
func (d *doorkeeper) identify(ctx context.Context, token string) (*caller, error) {
	presented := sha256.Sum256([]byte(token))
	match := 0
	for i := range d.settings {
		match |= subtle.ConstantTimeCompare(d.settings[i][:], presented[:])
	}
	switch {
	case match == 1:
		return &caller{actor: "admin:" + hex.EncodeToString(presented[:settingKeyDigits/2]), scope: storage.AdminScopeWrite}, nil
	case strings.HasPrefix(token, storage.SecretPrefixAdmin):
		return d.key(ctx, presented[:])
	case strings.Count(token, ".") == 2 && d.person != nil:
		return d.personOf(ctx, token)
	}
	return nil, unknownCredential()
}

// key finds an AdminKey by the hash of what was sent, which nobody can choose so that
// the time of the search would tell something.
func (d *doorkeeper) key(ctx context.Context, hash []byte) (*caller, error) {
	k, err := d.keys.AdminKeyByHash(ctx, hash)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, unknownCredential()
	} else if err != nil {
		return nil, err
	}
	now := d.now()
	if !now.Before(k.ExpiresAt) {
		return nil, expired("This admin key has expired. Have another one made.")
	}
	d.used(ctx, k, now)
	return &caller{actor: "admin:" + k.Name, keyID: k.ID, scope: k.Scope, expiresAt: k.ExpiresAt}, nil
}

// used notes that a key is used, once in a while. A request does not fail for it.
func (d *doorkeeper) used(ctx context.Context, k *storage.AdminKey, now time.Time) {
	d.mu.Lock()
	last := k.LastUsedAt
	if touched := d.touched[k.ID]; touched.After(last) {
		last = touched
	}
	due := now.Sub(last) >= storage.AdminKeyTouch
	if due {
		if len(d.touched) >= maxTouched {
			clear(d.touched)
		}
		d.touched[k.ID] = now
	}
	d.mu.Unlock()
	if !due {
		return
	}
	if err := d.touch(ctx, k.ID, now); err != nil {
		slog.WarnContext(ctx, "the use of an admin key could not be written down", "admin_key", k.ID, "error", err.Error())
	}
}

// maxTouched bounds what is remembered of keys that were used.
const maxTouched = 1000

func (d *doorkeeper) personOf(ctx context.Context, token string) (*caller, error) {
	userID, scopes, expiresAt, err := d.person(ctx, token)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, unknownCredential()
	case err != nil:
		return nil, err
	case !d.now().Before(expiresAt):
		return nil, expired("This access token has expired. Refresh it, or sign in again.")
	}
	c := &caller{actor: "user:" + userID, userID: userID, expiresAt: expiresAt}
	switch {
	case slices.Contains(scopes, storage.ScopeAdminWrite):
		c.scope = storage.AdminScopeWrite
	case slices.Contains(scopes, storage.ScopeAdminRead):
		c.scope = storage.AdminScopeRead
	default:
		return nil, unknownCredential()
	}
	return c, nil
}

func unknownCredential() error {
	return &web.Error{
		Status: http.StatusUnauthorized, Code: "unauthorized",
		Message: `Send an admin key of this server, or an administrator's access token, as "Authorization: Bearer KEY".`,
	}
}

func expired(message string) error {
	return &web.Error{Status: http.StatusUnauthorized, Code: "expired", Message: message}
}

// bearer returns the token of the one Authorization header, or "".
func bearer(r *http.Request) string {
	sent := r.Header.Values("Authorization")
	if len(sent) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(sent[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}
