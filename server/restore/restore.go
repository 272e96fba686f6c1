// Package restore makes a database that was put back to a backup safe to serve: what
// was disabled, revoked or deleted since must not come back.
//
// With the audit events of the lost time it takes away again what they say was
// taken away, and nothing else: it gives nobody anything. Without them nobody knows
// what was taken away, and it ends everything that somebody could hold.
package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"grantd/storage"
)

// actor is whom audit events of a restore name.
const actor = "system"

// accessTokensGone is after what time no access token of before is still good: their
// lifetime is bounded below that.
const accessTokensGone = 24 * time.Hour

// Report says what was done.
type Report struct {
	storage.Ended
	Replayed int            // acts of the lost time that were done again
	Done     map[string]int // of them, by action
	// ByHand are acts of the lost time that took something away and cannot be done
	// again by themselves, each as "action target".
	ByHand []string
	Last   time.Time // of the last event of the lost time; zero: there was none
}

// All ends every Session, code and Family, withdraws the signing keys, deletes the admin
// keys and forgets remembered approvals.
func All(ctx context.Context, store storage.Store, now time.Time) (*Report, error) {
	event := storage.NewAuditEvent(now, actor, "database.restored", "").With("events", "none")
	ended, err := store.EndAfterRestore(ctx, true, event)
	return &Report{Ended: ended}, err
}

// replay is a restore with events.
type replay struct {
	store  storage.Store
	now    time.Time
	report *Report
}

// Events does again what events of the lost time took away, and ends codes, pushed
// requests and device authorizations. next gives the events, the oldest first, and
// nil after the last one. What the database has already, or has had replayed, is left
// alone, so that repeating it changes nothing.
func Events(ctx context.Context, store storage.Store, now time.Time, next func() (*storage.AuditEvent, error)) (*Report, error) {
	r := &replay{store: store, now: now, report: &Report{Done: map[string]int{}}}
	for {
		e, err := next()
		if err != nil {
			return r.report, err
		}
		if e == nil {
			break
		}
		if err := r.event(ctx, e); err != nil {
			return r.report, fmt.Errorf("replay %s of %s: %w", e.Action, e.At.UTC().Format(time.RFC3339), err)
		}
	}
	event := storage.NewAuditEvent(now, actor, "database.restored", "").With("replayed", fmt.Sprint(r.report.Replayed))
	if !r.report.Last.IsZero() {
		event = event.With("until", r.report.Last.UTC().Format(time.RFC3339))
	}
	ended, err := store.EndAfterRestore(ctx, false, event)
	r.report.Ended = ended
	return r.report, err
}

func (r *replay) event(ctx context.Context, e *storage.AuditEvent) error {
	known, err := r.known(ctx, e)
	if err != nil || known {
		return err
	}
	if e.At.After(r.report.Last) {
		r.report.Last = e.At
	}
	done, err := r.again(ctx, e)
	switch {
	case errors.Is(err, storage.ErrNotFound): // it was made after the backup, or is gone already
		return nil
	case err != nil:
		return err
	case done:
		r.report.Replayed++
		r.report.Done[e.Action]++
	}
	return nil
}

// known reports whether the database has the event, or one that replays it.
func (r *replay) known(ctx context.Context, e *storage.AuditEvent) (bool, error) {
	page := storage.Page{Limit: 500}
	for {
		events, err := r.store.AuditEvents(ctx, storage.AuditFilter{Target: e.Target, Action: e.Action}, page)
		if err != nil {
			return false, err
		}
		is := func(o *storage.AuditEvent) bool { return o.ID == e.ID || o.Detail["replays"] == e.ID }
		if slices.ContainsFunc(events, is) {
			return true, nil
		}
		if len(events) < page.Limit {
			return false, nil
		}
		page.After = events[len(events)-1].ID
	}
}

// again does what an event tells, if it took something away. ErrNotFound: there is
// nothing to take away.
func (r *replay) again(ctx context.Context, e *storage.AuditEvent) (done bool, err error) {
	event := storage.NewAuditEvent(r.now, actor, e.Action, e.Target).With("replays", e.ID)
	s := r.store
	switch e.Action {
	case "user.updated", "user.password_changed", "user.linked", "user.verified", "user_link.used":
		return r.user(ctx, e, event)
	case "user.factors_reset":
		return r.factors(ctx, e, event)
	case "recovery_code.used", "recovery_codes.created":
		return r.recoveryCodes(ctx, e, event)
	case "passkey.deleted":
		id := e.Detail["passkey_id"]
		return true, s.DeletePasskey(ctx, e.Target, id, event.With("passkey_id", id))
	case "client.updated":
		return r.client(ctx, e, event)
	case "resource.updated":
		return r.resource(ctx, e, event)
	case "user.deleted":
		return true, s.DeleteUser(ctx, e.Target, storage.AnyVersion, event)
	case "client.deleted":
		return true, s.DeleteClient(ctx, e.Target, storage.AnyVersion, event)
	case "client.secret_deleted":
		return true, s.DeleteClientSecret(ctx, e.Target, e.Detail["secret_id"], event.With("secret_id", e.Detail["secret_id"]))
	case "resource.deleted":
		return true, s.DeleteResource(ctx, e.Target, storage.AnyVersion, event)
	case "grant.revoked":
		return true, s.DeleteGrant(ctx, e.Target, event)
	case "family.ended":
		return true, s.EndFamily(ctx, e.Target, event)
	case "user.signed_out", "session.replaced", "session.ended":
		return true, s.DeleteSession(ctx, e.Target, event)
	case "group.deleted":
		return true, s.DeleteGroup(ctx, e.Target, storage.AnyVersion, event.With("name", e.Detail["name"]))
	case "group.member_removed":
		event = event.With("name", e.Detail["name"]).With(storage.DetailUser, e.Detail[storage.DetailUser])
		return true, s.RemoveGroupMember(ctx, e.Target, e.Detail[storage.DetailUser], event)
	case "admin_key.deleted":
		return true, s.DeleteAdminKey(ctx, e.Target, event.With("name", e.Detail["name"]))
	case "registration_token.deleted":
		return true, s.DeleteInitialAccessToken(ctx, e.Target, event)
	case "access_token.revoked":
		if until := e.At.Add(accessTokensGone); r.now.Before(until) {
			return true, s.RevokeAccessToken(ctx, e.Target, until, event)
		}
		return false, nil
	case "signing_key.revoked":
		return r.signingKey(ctx, e, event)
	}
	if takesAway(e) {
		r.byHand(e)
	}
	return false, nil
}

// takesAway reports whether an act that is not known here probably took something
// away.
func takesAway(e *storage.AuditEvent) bool {
	noun, verb, _ := strings.Cut(e.Action, ".")
	switch {
	case noun == "authorization_code", noun == "user_link": // all of them end
		return false
	case e.Action == "client.document_changed", e.Action == "client.secret_rotated", e.Action == "user.erased":
		return true
	}
	return slices.ContainsFunc([]string{"deleted", "revoked", "refused", "disabled", "updated"}, func(end string) bool { return strings.HasSuffix(verb, end) })
}

func (r *replay) byHand(e *storage.AuditEvent) {
	if line := strings.TrimSpace(e.Action + " " + e.Target); !slices.Contains(r.report.ByHand, line) {
		r.report.ByHand = append(r.report.ByHand, line)
	}
}

// user disables, takes away a password that was replaced, and takes out of groups.
func (r *replay) user(ctx context.Context, e *storage.AuditEvent, event storage.AuditEvent) (bool, error) {
	u, err := r.store.User(ctx, e.Target)
	if err != nil {
		return false, err
	}
	changed := strings.Fields(e.Detail["changed"])
	var now []string
	if e.Detail["disabled"] == "true" && !u.Disabled {
		u.Disabled = true
		now, event = append(now, "disabled"), event.With("disabled", "true")
	}
	replaced := []string{"user.password_changed", "user.linked", "user_link.used"}
	if (slices.Contains(changed, "password") || slices.Contains(replaced, e.Action)) && u.PasswordHash != "" {
		u.PasswordHash = ""
		now = append(now, "password")
		r.report.ByHand = append(r.report.ByHand, "user.updated "+u.ID+" (needs a new password)")
	}
	if _, said := e.Detail["groups"]; said || slices.Contains(changed, "groups") {
		var groups []string
		if text := e.Detail["groups"]; text != "" && json.Unmarshal([]byte(text), &groups) != nil {
			r.byHand(e) // the list was too long for the event
		} else if kept := storage.Intersect(u.Groups, groups); len(kept) < len(u.Groups) {
			u.Groups = kept
			now = append(now, "groups")
		}
	}
	if len(now) == 0 {
		return false, nil
	}
	u.UpdatedAt = r.now
	return true, r.store.UpdateUser(ctx, u, event.With("changed", strings.Join(now, " ")))
}

// factors takes the second factor that an administrator took, and ends the sessions.
func (r *replay) factors(ctx context.Context, e *storage.AuditEvent, event storage.AuditEvent) (bool, error) {
	err := r.store.ResetFactors(ctx, e.Target, event)
	if err == nil {
		r.report.ByHand = append(r.report.ByHand, e.Action+" "+e.Target+" (has no second factor)")
	}
	return err == nil, err
}

// recoveryCodes takes all that a user has where one was spent, or all were replaced:
// which one it was, the event does not say.
func (r *replay) recoveryCodes(ctx context.Context, e *storage.AuditEvent, event storage.AuditEvent) (bool, error) {
	factors, err := r.store.Factors(ctx, e.Target)
	if err != nil || factors.RecoveryCodes == 0 {
		return false, err
	}
	r.report.ByHand = append(r.report.ByHand, "recovery_codes.created "+e.Target+" (needs new recovery codes)")
	return true, r.store.ReplaceRecoveryCodes(ctx, e.Target, nil, event)
}

// client disables and takes away the admin access; other changes are for the administrator to make again.
func (r *replay) client(ctx context.Context, e *storage.AuditEvent, event storage.AuditEvent) (bool, error) {
	c, err := r.store.Client(ctx, e.Target)
	if err != nil {
		return false, err
	}
	disabled := e.Detail["disabled"] == "true"
	stripped := slices.Contains(strings.Fields(e.Detail["changed"]), "admin_access") && e.Detail["admin_access"] != "true"
	if !disabled && !stripped {
		r.byHand(e)
		return false, nil
	}
	var now []string
	if stripped && c.AdminAccess {
		c.AdminAccess = false
		now = append(now, "admin_access")
	}
	if disabled && !c.Disabled {
		c.Disabled = true
		now, event = append(now, "disabled"), event.With("disabled", "true")
	}
	if len(now) == 0 {
		return false, nil
	}
	c.UpdatedAt = r.now
	return true, r.store.UpdateClient(ctx, c, event.With("changed", strings.Join(now, " ")))
}

// resource removes scopes; other changes are for the administrator to make again.
func (r *replay) resource(ctx context.Context, e *storage.AuditEvent, event storage.AuditEvent) (bool, error) {
	resource, err := r.store.Resource(ctx, e.Target)
	if err != nil {
		return false, err
	}
	gone := strings.Fields(e.Detail["scopes_removed"])
	before := len(resource.Scopes)
	resource.Scopes = slices.DeleteFunc(resource.Scopes, func(s storage.Scope) bool { return slices.Contains(gone, s.Name) })
	if len(gone) == 0 || len(resource.Scopes) == before {
		r.byHand(e)
		return false, nil
	}
	resource.UpdatedAt = r.now
	return true, r.store.UpdateResource(ctx, resource, event.With("changed", "scopes").With("scopes_removed", strings.Join(gone, " ")))
}

// signingKey withdraws all keys when one that was revoked is back: which of the
// others had taken its place is not in this database.
func (r *replay) signingKey(ctx context.Context, e *storage.AuditEvent, event storage.AuditEvent) (bool, error) {
	keys, err := r.store.SigningKeys(ctx)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(keys, func(k *storage.SigningKey) bool { return k.KID == e.Target }) {
		return false, nil
	}
	return true, r.store.WithdrawSigningKeys(ctx, event.With("withdrawn", fmt.Sprint(len(keys))))
}
