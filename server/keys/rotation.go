package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"grantd/storage"
)

// Rotate retires the key active, makes next sign and publishes a new next key.
// Whether next has been published for long enough is the caller's question. It
// completes the event and writes it with the act. storage.ErrConflict: the keys
// are no longer in these places, as when another replica was first.
func (s *Signing) Rotate(ctx context.Context, active, next *storage.SigningKey, event storage.AuditEvent) error {
	event.Action, event.Target = "signing_key.rotated", next.KID
	return s.move(ctx, storage.KeyMove{Retire: active.KID, Activate: next.KID}, event.With("retired", active.KID))
}

// Revoke takes a key out of the JWK set for good, so that nothing it signed
// verifies here any more. The place of an active key goes to the next one, however
// young it is; the place of that to a new one. rows are all keys.
// storage.ErrConflict: some key is no longer as it is there.
func (s *Signing) Revoke(ctx context.Context, rows []*storage.SigningKey, key *storage.SigningKey, event storage.AuditEvent) error {
	event.Action, event.Target = "signing_key.revoked", key.KID
	event = event.With("state", string(key.State))
	move := storage.KeyMove{Withdraw: key}
	if key.State == storage.KeyActive {
		next := inState(rows, storage.KeyNext)
		if next == nil { // a replica of an earlier release has made the keys
			return s.replaceActive(ctx, key, event)
		}
		move.Activate = next.KID
		event = event.With("activated", next.KID)
	}
	return s.move(ctx, move, event)
}

// move fills the place of the next key, if the move empties it, and puts the keys
// to use here at once; other replicas learn of it by the version row.
func (s *Signing) move(ctx context.Context, m storage.KeyMove, event storage.AuditEvent) error {
	m.At = s.Now()
	if m.Activate != "" || m.Withdraw != nil && m.Withdraw.State == storage.KeyNext {
		k, err := s.generate(storage.KeyNext)
		if err != nil {
			return err
		}
		m.Insert = k
		event = event.With("published", k.KID)
	}
	return s.commit(ctx, m, event)
}

func (s *Signing) replaceActive(ctx context.Context, key *storage.SigningKey, event storage.AuditEvent) error {
	k, err := s.generate(storage.KeyActive)
	if err != nil {
		return err
	}
	return s.commit(ctx, storage.KeyMove{Withdraw: key, Insert: k, At: s.Now()}, event.With("activated", k.KID))
}

func (s *Signing) commit(ctx context.Context, m storage.KeyMove, event storage.AuditEvent) error {
	if err := s.Store.MoveSigningKeys(ctx, m, event); err != nil {
		return err
	}
	if err := s.Refresh(ctx); err != nil {
		// It has happened. The next heartbeat tries again.
		slog.WarnContext(ctx, "the signing keys were changed, but cannot be read again yet", "error", err.Error())
	}
	return nil
}

// Tend does what is due: it drops retired keys whose tokens have expired from the
// JWK set, and rotates when the active key has signed for RotateEvery or is of
// another algorithm than the configured one. Replicas that tend at once rotate
// once.
func (s *Signing) Tend(ctx context.Context) error {
	rows, err := s.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("tend the signing keys: %w", err)
	}
	active, next := inState(rows, storage.KeyActive), inState(rows, storage.KeyNext)
	switch {
	case active == nil:
		return errors.New("there is no active signing key")
	case next == nil:
		err = s.insert(ctx, storage.KeyNext, nil)
	case s.due(active, next):
		err = s.Rotate(ctx, active, next, storage.NewAuditEvent(s.Now(), "system", "", ""))
		if err == nil {
			slog.InfoContext(ctx, "rotated the signing keys", "active", next.KID, "retired", active.KID)
		}
	}
	if err != nil && !errors.Is(err, storage.ErrConflict) {
		return fmt.Errorf("tend the signing keys: %w", err)
	}
	return s.Refresh(ctx)
}

// due reports whether next is ready to sign and active should no longer do. A
// next key of another algorithm is left alone: a replica with other settings has
// made it, and replicas must not take turns.
func (s *Signing) due(active, next *storage.SigningKey) bool {
	now := s.Now()
	if now.Before(next.ReadyAt()) || next.Algorithm != s.Algorithm {
		return false
	}
	old := s.RotateEvery > 0 && !now.Before(active.ActivatedAt.Add(s.RotateEvery))
	return old || active.Algorithm != s.Algorithm
}
