package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"grantd/server/keys"
	"grantd/storage"
)

const (
	// batchSize is how many events a seal covers at most.
	batchSize = 500
	// SealInterval is how long an event waits for its seal, unless the database
	// is in trouble.
	SealInterval = 5 * time.Second
	// lastSealTimeout bounds the sealing that a stopping server does.
	lastSealTimeout = 2 * time.Second
)

// Store is what the chain needs of the database.
type Store interface {
	storage.AuditEventStore
	storage.AuditSealStore
}

// Chain seals, verifies, expires and erases. It is safe for concurrent use, also
// by several servers on one database: of two sealers one gives way.
type Chain struct {
	Store Store
	Root  *keys.Root
	// Retention is how long events are kept, counted from their sealing. Zero: for
	// ever.
	Retention time.Duration
	Now       func() time.Time
	// Sealed is told of the events that this process, and no other, has sealed. It must
	// not wait for anything. Nil: nobody is.
	Sealed func(ctx context.Context, events []*storage.AuditEvent)

	mu   sync.Mutex
	last *storage.AuditSeal // the last one that this process has seen
}

// Run seals every interval, until ctx ends, and then once more.
func (c *Chain) Run(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSealTimeout)
			defer cancel()
			if err := c.Seal(last); err != nil {
				slog.WarnContext(ctx, "the last audit events are not sealed yet; the next start does it", "error", err.Error())
			}
			return
		case <-ticker.C:
		}
		err := c.Seal(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			slog.ErrorContext(ctx, "audit events could not be sealed; it is tried again", "error", err.Error())
		}
		failing = err != nil
	}
}

// Seal seals every event that it finds unsealed. That another sealer was faster is
// no error.
func (c *Chain) Seal(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		events, err := c.Store.UnsealedAuditEvents(ctx, batchSize)
		if err != nil || len(events) == 0 {
			return err
		}
		last, err := c.tail(ctx)
		if err != nil {
			return err
		}
		seal := c.seal(last, events)
		switch err := c.Store.SealAuditEvents(ctx, seal, events); {
		case errors.Is(err, storage.ErrConflict):
			return nil
		case err != nil:
			return err
		}
		c.last = seal
		if c.Sealed != nil {
			c.Sealed(ctx, events)
		}
		if len(events) < batchSize {
			return nil
		}
	}
}

// tail is the seal to go on from. One that is older than what this process has seen
// is told of and followed: the chain must go on, and verify shows the gap to
// whoever kept the head.
func (c *Chain) tail(ctx context.Context) (*storage.AuditSeal, error) {
	last, err := c.Store.LastAuditSeal(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		last, err = &storage.AuditSeal{}, nil
	}
	if err != nil {
		return nil, err
	}
	if c.last != nil && (last.Number < c.last.Number || last.Number == c.last.Number && !bytes.Equal(last.MAC, c.last.MAC)) {
		slog.ErrorContext(ctx, "audit seals that this server knows of are gone from the database", "last_known", headOf(c.last).String(), "last", headOf(last).String())
	}
	return last, nil
}

// seal makes the seal that follows on last, and gives the events their places.
func (c *Chain) seal(last *storage.AuditSeal, events []*storage.AuditEvent) *storage.AuditSeal {
	s := &storage.AuditSeal{Number: last.Number + 1, Previous: last.MAC, Events: len(events), SealedAt: c.Now().UTC().Truncate(time.Microsecond)}
	if s.SealedAt.Before(last.SealedAt) { // a clock was set back
		s.SealedAt = last.SealedAt
	}
	leaves := make([][]byte, len(events))
	for i, e := range events {
		salt := make([]byte, saltSize)
		_, _ = rand.Read(salt) // never fails: it would end the process
		e.Seal = storage.EventSeal{Number: s.Number, Position: i + 1, Salt: salt}
		leaves[i] = leaf(e)
		_, mac := c.Root.MAC(eventPurpose, placed(e, leaves[i]))
		e.Seal.MAC = mac[:]
	}
	s.Digest = digest(leaves)
	id, _ := c.Root.MAC(sealPurpose, nil)
	s.KeyID = id[:]
	_, mac := c.Root.MAC(sealPurpose, sealed(s))
	s.MAC = mac[:]
	return s
}

// Head names the last seal of a chain. Kept elsewhere, it shows later whether the
// chain was cut or made anew.
type Head struct {
	Seal     int64
	MAC      []byte
	SealedAt time.Time
}

func headOf(s *storage.AuditSeal) Head { return Head{s.Number, s.MAC, s.SealedAt} }

// String is the head as text, without its time.
func (h Head) String() string {
	return strconv.FormatInt(h.Seal, 10) + "." + base64.RawURLEncoding.EncodeToString(h.MAC)
}

// ErrHead: a text is not one of Head's.
var ErrHead = errors.New("not the head of an audit chain")

// ParseHead reads what Head.String wrote. ErrHead.
func ParseHead(text string) (Head, error) {
	number, mac, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	raw, macErr := base64.RawURLEncoding.Strict().DecodeString(mac)
	if err != nil || macErr != nil || n < 0 || (n == 0) != (len(raw) == 0) || n > 0 && len(raw) != keys.MACSize {
		return Head{}, ErrHead
	}
	return Head{Seal: n, MAC: raw}, nil
}

// Head returns the head of the chain, and how many events wait for a seal. The
// head of an empty chain is zero.
func (c *Chain) Head(ctx context.Context) (Head, int, error) {
	unsealed, err := c.Store.CountUnsealedAuditEvents(ctx)
	if err != nil {
		return Head{}, 0, err
	}
	last, err := c.Store.LastAuditSeal(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		return Head{}, unsealed, nil
	} else if err != nil {
		return Head{}, 0, err
	}
	return headOf(last), unsealed, nil
}

// expireBatches bounds how many seals Expire empties in one call.
const expireBatches = 20

// Expire removes the events of seals that are older than Retention, the oldest
// first, and leaves the seals. It returns how many seals it emptied.
func (c *Chain) Expire(ctx context.Context) (int, error) {
	if c.Retention <= 0 {
		return 0, nil
	}
	now := c.Now().UTC().Truncate(time.Microsecond)
	for n := range expireBatches {
		s, err := c.Store.OldestKeptAuditSeal(ctx)
		if errors.Is(err, storage.ErrNotFound) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		if s.SealedAt.After(now.Add(-c.Retention)) {
			return n, nil
		}
		s.RemovedAt = now
		id, mac := c.Root.MAC(removalPurpose, removed(s))
		if err := c.Store.RemoveSealedAuditEvents(ctx, s.Number, now, append(id[:], mac[:]...)); err != nil && !errors.Is(err, storage.ErrConsumed) {
			return n, fmt.Errorf("expire audit events: %w", err)
		}
	}
	return expireBatches, nil
}
