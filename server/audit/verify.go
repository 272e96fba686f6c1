package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"grantd/server/keys"
	"grantd/storage"
)

// Kinds of faults.
const (
	SealMissing  = "seal_missing"
	SealChanged  = "seal_changed"
	EventMissing = "event_missing"
	EventChanged = "event_changed"
	EventForeign = "event_foreign"
	HeadMissing  = "head_missing"
	HeadChanged  = "head_changed"
	UnknownKey   = "unknown_key"
)

// Fault is one thing that is wrong with the chain.
type Fault struct {
	Kind     string
	Seal     int64  // 0: of no seal
	Position int    // 0: of the seal as a whole
	EventID  string // empty: of none, or of one that is gone
	Message  string
}

// Report is what verifying a part of the chain has found.
type Report struct {
	Seals    int // that were checked
	Events   int // that were checked
	Removed  int // events that retention removed
	Erased   int // values that were erased
	Unsealed int // events that no seal covers yet; counted with the last part
	Faults   []Fault
	Next     int64 // the seal to go on after; 0: this was the last part
	Head     Head  // of the chain, with the last part
}

// The bounds of a part. They keep the memory small, whatever is in the database.
const (
	partSeals  = 1000
	partEvents = 5000
	maxRows    = 10_000
	maxFaults  = 100
)

func (r *Report) fault(kind string, seal int64, e *storage.AuditEvent, position int, format string, args ...any) {
	if len(r.Faults) >= maxFaults {
		return
	}
	f := Fault{Kind: kind, Seal: seal, Position: position, Message: fmt.Sprintf(format, args...)}
	if e != nil {
		f.EventID = e.ID
	}
	r.Faults = append(r.Faults, f)
}

// Verify checks the part of the chain after a seal (0: the first part). head, if
// not nil, is one that the chain must still hold; it is looked for with the first
// part.
func (c *Chain) Verify(ctx context.Context, after int64, head *Head) (*Report, error) {
	r := &Report{}
	if head != nil && after == 0 {
		if err := c.verifyHead(ctx, r, *head); err != nil {
			return nil, err
		}
	}
	previous, err := c.before(ctx, after)
	if err != nil {
		return nil, err
	}
	batches, more, err := c.part(ctx, after)
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		c.verifyBatch(r, previous, b)
		previous = &b.AuditSeal
	}
	if more {
		r.Next = previous.Number
		return r, nil
	}
	stray, err := c.Store.StrayAuditEvents(ctx, maxFaults)
	if err != nil {
		return nil, err
	}
	for _, e := range stray {
		r.fault(EventForeign, e.Seal.Number, e, e.Seal.Position, "The event claims to be of seal %d, which is not there.", e.Seal.Number)
	}
	r.Head, r.Unsealed, err = c.Head(ctx)
	return r, err
}

// verifyHead looks for a seal that was there once.
func (c *Chain) verifyHead(ctx context.Context, r *Report, head Head) error {
	if head.Seal == 0 {
		return nil
	}
	found, err := c.Store.AuditSeals(ctx, head.Seal-1, 1)
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		r.fault(HeadMissing, head.Seal, nil, 0, "The chain ends before seal %d, which the head names: its end was cut off.", head.Seal)
	case found[0].Number != head.Seal:
		r.fault(HeadMissing, head.Seal, nil, 0, "Seal %d, which the head names, is not there.", head.Seal)
	case !bytes.Equal(found[0].MAC, head.MAC):
		r.fault(HeadChanged, head.Seal, nil, 0, "Seal %d is not the one that the head names: the chain was made anew.", head.Seal)
	}
	return nil
}

// before is the seal that a part follows on; one without a number is before the
// first.
func (c *Chain) before(ctx context.Context, after int64) (*storage.AuditSeal, error) {
	if after == 0 {
		return &storage.AuditSeal{}, nil
	}
	found, err := c.Store.AuditSeals(ctx, after-1, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].Number != after {
		return &storage.AuditSeal{Number: after}, nil // gone meanwhile: its successor shows it
	}
	return found[0], nil
}

// part reads as many whole batches as the bounds allow, at least one if there is
// one; more says that there are others.
func (c *Chain) part(ctx context.Context, after int64) (batches []*storage.AuditBatch, more bool, err error) {
	seals, err := c.Store.AuditSeals(ctx, after, partSeals)
	if err != nil || len(seals) == 0 {
		return nil, false, err
	}
	more = len(seals) == partSeals
	to, events := after, 0
	for i, s := range seals {
		if events += max(0, s.Events); i > 0 && events > partEvents {
			more = true
			break
		}
		to = s.Number
	}
	if batches, err = c.Store.AuditBatches(ctx, after, to, maxRows); err != nil {
		return nil, false, err
	}
	rows := 0
	for _, b := range batches {
		rows += max(1, len(b.Sealed))
	}
	if rows >= maxRows && len(batches) > 1 {
		return batches[:len(batches)-1], true, nil
	}
	if rows >= maxRows {
		more = true // whatever is in this one, it is not what was sealed
	}
	return batches, more, nil
}

func (c *Chain) verifyBatch(r *Report, previous *storage.AuditSeal, b *storage.AuditBatch) {
	r.Seals++
	if b.Number != previous.Number+1 {
		r.fault(SealMissing, previous.Number+1, nil, 0, "Seals are missing: after %d comes %d.", previous.Number, b.Number)
	} else if !bytes.Equal(b.Previous, previous.MAC) {
		r.fault(SealChanged, b.Number, nil, 0, "Seal %d does not follow on seal %d as it is.", b.Number, previous.Number)
	}
	switch err := c.check(sealPurpose, b.KeyID, sealed(&b.AuditSeal), b.MAC); {
	case errors.Is(err, keys.ErrUnknownKey):
		r.fault(UnknownKey, b.Number, nil, 0, "Seal %d was made with a root key that this server does not have. Give it the key too, after the first.", b.Number)
		return
	case err != nil:
		r.fault(SealChanged, b.Number, nil, 0, "Seal %d was changed, or was not made by this server.", b.Number)
		return
	}
	if !b.RemovedAt.IsZero() {
		c.verifyRemoval(r, b)
		return
	}
	before := len(r.Faults)
	expected := 1
	var leaves [][]byte
	for _, e := range b.Sealed {
		if e.Seal.Position > b.Events || e.Seal.Position < expected {
			r.fault(EventForeign, b.Number, e, e.Seal.Position, "Seal %d has no place %d: the event was put in.", b.Number, e.Seal.Position)
			continue
		}
		r.missing(b, expected, e.Seal.Position)
		expected = e.Seal.Position + 1
		leaf := leaf(e)
		c.verifyEvent(r, b, e, leaf)
		leaves = append(leaves, leaf)
	}
	r.missing(b, expected, b.Events+1)
	if len(r.Faults) == before && !bytes.Equal(digest(leaves), b.Digest) {
		r.fault(SealChanged, b.Number, nil, 0, "The events of seal %d are not those that were sealed.", b.Number)
	}
}

// missing tells of the places from one up to before another.
func (r *Report) missing(b *storage.AuditBatch, from, before int) {
	switch {
	case before-from == 1:
		r.fault(EventMissing, b.Number, nil, from, "Event %d of seal %d is gone.", from, b.Number)
	case before > from:
		r.fault(EventMissing, b.Number, nil, from, "Events %d to %d of seal %d are gone.", from, before-1, b.Number)
	}
}

func (c *Chain) verifyEvent(r *Report, b *storage.AuditBatch, e *storage.AuditEvent, leaf []byte) {
	r.Events++
	if err := c.check(eventPurpose, b.KeyID, placed(e, leaf), e.Seal.MAC); err != nil {
		r.fault(EventChanged, b.Number, e, e.Seal.Position, "Event %d of seal %d was changed, moved here or put in.", e.Seal.Position, b.Number)
		return
	}
	if e.Seal.Erasure == "" {
		return
	}
	x := readErasure(e)
	if x == nil || c.check(erasurePurpose, x.KeyID, erased(leaf, x), x.MAC) != nil {
		r.fault(EventChanged, b.Number, e, e.Seal.Position, "Values of event %d of seal %d are gone, and were not erased by this server.", e.Seal.Position, b.Number)
		return
	}
	r.Erased += len(x.Commitments)
}

func (c *Chain) verifyRemoval(r *Report, b *storage.AuditBatch) {
	if n := keys.KeyIDSize; len(b.Removal) <= n || c.check(removalPurpose, b.Removal[:n], removed(&b.AuditSeal), b.Removal[n:]) != nil {
		r.fault(EventMissing, b.Number, nil, 0, "The %d events of seal %d are gone, and were not removed by this server's retention.", b.Events, b.Number)
		return
	}
	r.Removed += b.Events
	for _, e := range b.Sealed {
		r.fault(EventForeign, b.Number, e, e.Seal.Position, "The events of seal %d were removed by retention: this one was put in.", b.Number)
	}
}
