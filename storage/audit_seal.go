package storage

import (
	"context"
	"time"
)

// AuditSeal authenticates a batch of AuditEvents and the seal before it, so that
// the seals are a chain. It is made after the acts have committed, in the order in
// which the events are found unsealed; what its bytes mean is not the Store's
// concern.
type AuditSeal struct {
	Number   int64  // from 1, without a gap
	Previous []byte // MAC of the seal before; empty for the first
	Events   int    // how many it seals
	Digest   []byte
	SealedAt time.Time
	KeyID    []byte
	MAC      []byte
	// RemovedAt is when retention removed the events (zero: they are there), and
	// Removal authenticates that it did.
	RemovedAt time.Time
	Removal   []byte
}

// EventSeal is what sealing adds to an AuditEvent.
type EventSeal struct {
	Number   int64 // of the AuditSeal
	Position int   // in its batch, from 1
	MAC      []byte
	Salt     []byte // nil once a value was erased
	Erasure  string // what stands in for values that were erased; empty: none was
}

// AuditBatch is a seal with the events that claim to be of it, by position.
type AuditBatch struct {
	AuditSeal
	Sealed []*AuditEvent
}

// AuditSealStore keeps AuditSeals. Sealing, erasing and removing are the only ways
// in which a written event changes; a trigger refuses all others.
type AuditSealStore interface {
	// UnsealedAuditEvents returns events that no seal covers, by ID.
	UnsealedAuditEvents(ctx context.Context, limit int) ([]*AuditEvent, error)
	// CountUnsealedAuditEvents counts them.
	CountUnsealedAuditEvents(ctx context.Context) (int, error)
	// LastAuditSeal returns the seal with the highest number. ErrNotFound.
	LastAuditSeal(ctx context.Context) (*AuditSeal, error)
	// SealAuditEvents inserts the seal, if it follows on the last one in Number and
	// Previous, and gives each event its Seal, if it has none. ErrConflict, and
	// nothing changed: another sealer was first.
	SealAuditEvents(ctx context.Context, seal *AuditSeal, events []*AuditEvent) error
	// AuditSeals lists those with a greater number.
	AuditSeals(ctx context.Context, after int64, limit int) ([]*AuditSeal, error)
	// AuditBatches returns the seals after one number and up to another with their
	// events, as of one moment, until limit events are read: then the last batch
	// may lack some.
	AuditBatches(ctx context.Context, after, to int64, limit int) ([]*AuditBatch, error)
	// StrayAuditEvents returns events that claim a seal which does not exist, by ID.
	StrayAuditEvents(ctx context.Context, limit int) ([]*AuditEvent, error)
	// SealedAuditEvents lists what is sealed in the order of the chain, after a
	// place in it.
	SealedAuditEvents(ctx context.Context, number int64, position, limit int) ([]*AuditEvent, error)
	// RemoveSealedAuditEvents deletes the events of a seal and notes in it when and
	// by whose authority. ErrConsumed: that was done before.
	RemoveSealedAuditEvents(ctx context.Context, number int64, removedAt time.Time, removal []byte) error
	// OldestKeptAuditSeal returns the first seal whose events were not removed.
	// ErrNotFound.
	OldestKeptAuditSeal(ctx context.Context) (*AuditSeal, error)
	// EraseAuditEvents writes Detail, Salt and Erasure of sealed events. ErrConflict,
	// and nothing changed: one of them is gone.
	EraseAuditEvents(ctx context.Context, events []*AuditEvent) error
}

// AppendToBatches adds a row of seals joined with their events to batches: the
// seal, unless it is that of the last one, and the event, unless it has no ID.
func AppendToBatches(batches []*AuditBatch, seal AuditSeal, e *AuditEvent) []*AuditBatch {
	if n := len(batches); n == 0 || batches[n-1].Number != seal.Number {
		batches = append(batches, &AuditBatch{AuditSeal: seal})
	}
	if e.ID != "" {
		last := batches[len(batches)-1]
		last.Sealed = append(last.Sealed, e)
	}
	return batches
}
