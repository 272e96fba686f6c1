package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"
)

// MinBytes is the length of the shortest password that may be set, in bytes. There
// are no other rules about what one is made of (NIST SP 800-63B §3.1.1.2).
const MinBytes = 8

// MaxBytes is the length of the longest password, in bytes as sent.
const MaxBytes = 1024

var (
	// ErrBusy: as many passwords as fit are being hashed or waiting. The caller
	// should ask for a retry in a few seconds.
	ErrBusy = errors.New("too many passwords are being hashed")
	// ErrTooLong: the password has more than MaxBytes bytes.
	ErrTooLong = fmt.Errorf("password is longer than %d bytes", MaxBytes)
)

// The cost of a hash: OWASP's first choice for Argon2id.
var params = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// maxMemory is what a hash written by another program may cost, in KiB.
const maxMemory = 128 << 10

var errUnreadable = errors.New("the stored password hash is not a usable Argon2id hash")

// nothing has the form and the cost of every hash this package makes, and
// matches no password anyone could find.
const nothing = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// queuePerSlot is how many callers may wait for each running hash: about one
// second's worth.
const queuePerSlot = 32

// Hasher hashes passwords, a bounded number at once. It is safe for concurrent
// use.
type Hasher struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
}

// NewHasher returns a Hasher that runs at most concurrent hashes at once, or as
// many as there are processors when concurrent is below 1.
func NewHasher(concurrent int) *Hasher {
	if concurrent < 1 {
		concurrent = runtime.NumCPU()
	}
	return &Hasher{slots: make(chan struct{}, concurrent), queue: int64(concurrent) * queuePerSlot}
}

// Hash returns the PHC string of a password. ErrTooLong, ErrBusy.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if len(password) > MaxBytes {
		return "", ErrTooLong
	}
	turn, err := h.Turn(ctx)
	if err != nil {
		return "", err
	}
	defer turn.Done()
	return argon2id.CreateHash(norm.NFC.String(password), params)
}

// Compare reports whether the password is the one that phc was made from.
// ErrTooLong, ErrBusy, or another error when phc is not an Argon2id hash.
func (h *Hasher) Compare(ctx context.Context, password, phc string) (bool, error) {
	if len(password) > MaxBytes {
		return false, ErrTooLong
	}
	turn, err := h.Turn(ctx)
	if err != nil {
		return false, err
	}
	defer turn.Done()
	return turn.Compare(password, phc)
}

// CompareNothing does the work of Compare for a user who does not exist or has
// no password, so that the time tells nobody. ErrTooLong, ErrBusy.
func (h *Hasher) CompareNothing(ctx context.Context, password string) error {
	_, err := h.Compare(ctx, password, nothing)
	return err
}

// Turn waits for a turn to hash. Callers who must decide something between
// getting a turn and using it take one themselves; every turn must be Done.
// ErrBusy when the queue is full, or when ctx ends first (then the error is
// ctx's too).
func (h *Hasher) Turn(ctx context.Context) (*Turn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	select {
	case h.slots <- struct{}{}:
		return &Turn{hasher: h}, nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return nil, ErrBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return &Turn{hasher: h}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

// Turn is the right to run one hash at a time. It belongs to one goroutine.
type Turn struct {
	hasher *Hasher
}

// Compare is Hasher.Compare within the turn. ErrTooLong.
func (t *Turn) Compare(password, phc string) (bool, error) {
	if len(password) > MaxBytes {
		return false, ErrTooLong
	}
	stored, _, _, err := argon2id.DecodeHash(phc)
	if err != nil || stored.Iterations < 1 || stored.Parallelism < 1 || stored.Memory > maxMemory {
		// The library's own errors may quote the hash, and it panics on zeroes.
		return false, errUnreadable
	}
	return argon2id.ComparePasswordAndHash(norm.NFC.String(password), phc)
}

// CompareNothing is Hasher.CompareNothing within the turn. ErrTooLong.
func (t *Turn) CompareNothing(password string) error {
	_, err := t.Compare(password, nothing)
	return err
}

// Done ends the turn. Calling it again does nothing.
func (t *Turn) Done() {
	if t.hasher != nil {
		<-t.hasher.slots
		t.hasher = nil
	}
}
