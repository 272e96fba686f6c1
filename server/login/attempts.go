package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"grantd/server/password"
	"grantd/server/web"
	"grantd/storage"
)

// attempts checks passwords within the limits on failures.
type attempts struct {
	Config
	limits *limits
	// events bounds how many audit rows strangers can cause.
	events *web.FailureLimit
	// markKey hides user names in the log. People type passwords into that field;
	// under a key that dies with the process no log can be searched for them.
	markKey []byte
}

// At most blockedEvents audit events an hour say that a limit was reached: enough
// to raise an alarm. The log has them all.
const blockedEvents = 10

func newAttempts(c Config) *attempts {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: it would end the process
	return &attempts{
		Config: c, limits: newLimits(c.Now), markKey: key,
		events: &web.FailureLimit{Failures: blockedEvents, Window: time.Hour, Now: c.Now},
	}
}

// refusal is the face of an attempt that did not sign in.
type refusal struct {
	status     int
	problem    string
	retryAfter int // seconds, 0 for none
}

// reason is the refusal's in the metrics.
func (r *refusal) reason() string {
	if r.retryAfter > 0 {
		return "too-many-attempts"
	}
	return "wrong-password"
}

// try returns the enabled user whose name and password these are, or why not in
// words that are the same for every reason. An unknown, disabled or
// password-less user costs the same work as a wrong password.
// storage.ErrUnavailable.
func (a *attempts) try(r *http.Request, username, secret string) (*storage.User, *refusal, error) {
	ctx := r.Context()
	user, err := a.find(ctx, username)
	if err != nil {
		return nil, nil, err
	}
	counts := a.counts(r, username, user)
	// A blocked attempt is refused before it takes a place in the queue.
	if refused := a.limits.refusal(counts); refused != nil {
		return nil, refused, nil
	}
	turn, err := a.Hasher.Turn(ctx)
	if err != nil {
		return nil, busy(), nil
	}
	defer turn.Done()
	// Others may have failed while this one waited. Checking within the turn, and
	// counting before it is given on, is what bounds the guesses of a burst.
	if refused := a.limits.refusal(counts); refused != nil {
		return nil, refused, nil
	}
	reason, err := compare(turn, user, secret)
	switch {
	case err != nil:
		return nil, nil, err
	case reason == "":
		a.limits.forgive(counts)
		return user, nil, nil
	}
	reached := a.limits.fail(counts)
	turn.Done()
	a.report(r, username, user, reason, reached)
	return nil, &refusal{status: http.StatusUnauthorized, problem: wrong}, nil
}

// compare returns why the attempt fails, "" when it does not.
func compare(turn *password.Turn, user *storage.User, secret string) (reason string, err error) {
	if user == nil || user.PasswordHash == "" {
		return "no such user or no password", turn.CompareNothing(secret)
	}
	ok, err := turn.Compare(secret, user.PasswordHash)
	switch {
	case err != nil:
		return "", fmt.Errorf("user %s: %w", user.ID, err)
	case !ok:
		return "wrong password", nil
	case user.Disabled:
		return "user is disabled", nil
	}
	return "", nil
}

// maxUsername is the length of the longest name worth looking up, in bytes.
const maxUsername = 256

// find returns nil for a name that nobody has.
func (a *attempts) find(ctx context.Context, username string) (*storage.User, error) {
	username = strings.TrimSpace(username)
	if len(username) > maxUsername || !utf8.ValidString(username) || strings.ContainsFunc(username, unicode.IsControl) {
		return nil, nil // databases refuse some of these, which is no outage
	}
	user, err := a.Store.UserByUsername(ctx, username)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return user, err
}

// counts says which counts a failure of this attempt goes to.
func (a *attempts) counts(r *http.Request, username string, user *storage.User) []count {
	return a.countsIn(a.limits, r, username, user)
}

// countsIn is counts for other limits.
func (a *attempts) countsIn(limits *limits, r *http.Request, username string, user *storage.User) []count {
	if device, ok := a.Sessions.Device(r); ok && user != nil && device.UserID == user.ID {
		return limits.ofDevice(device.ID)
	}
	who := "name:" + a.mark(username)
	if user != nil {
		who = user.ID
	}
	return limits.ofStranger(who, a.Addresses.Key(r))
}

// report logs a failure, and audits the limits that it has used up.
func (a *attempts) report(r *http.Request, username string, user *storage.User, reason string, reached []string) {
	ctx, address := r.Context(), a.Addresses.Of(r).String()
	log := slog.Default().With("username_mark", a.mark(username)[:8], "address", address, "request_id", web.RequestID(ctx))
	log.InfoContext(ctx, "sign-in failed", "reason", reason)
	for _, limit := range reached {
		log.WarnContext(ctx, "sign-in blocked", "limit", limit)
		if a.events.Blocked("all") > 0 {
			continue
		}
		a.events.Fail("all")
		target := ""
		if user != nil {
			target = user.ID
		}
		event := storage.NewAuditEvent(a.Now(), "system", "user.sign_in_blocked", target).With("limit", limit).With("address", address)
		if err := a.Store.RecordAuditEvent(ctx, event); err != nil {
			log.ErrorContext(ctx, "audit event not recorded", "action", event.Action, "error", err.Error())
		}
	}
}

func (a *attempts) mark(username string) string {
	mac := hmac.New(sha256.New, a.markKey)
	_, _ = mac.Write([]byte(strings.ToLower(strings.TrimSpace(username)))) // hashes never fail
	return hex.EncodeToString(mac.Sum(nil))
}

// busyRetry is when to try again while others are being checked, in seconds.
const busyRetry = 3

func busy() *refusal {
	return &refusal{
		status: http.StatusServiceUnavailable, retryAfter: busyRetry,
		problem: "Many people are signing in at the moment. Wait a few seconds and try again.",
	}
}
