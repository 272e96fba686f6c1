package password_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"grantd/server/password"
)

func mustHash(t *testing.T, h *password.Hasher, secret string) string {
	t.Helper()
	phc, err := h.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

// LG-06: every byte counts, and a password is its text, not its encoding.
func TestLG06WhatIsTheSamePassword(t *testing.T) {
	t.Parallel()
	shared := strings.Repeat("x", 72)
	for _, c := range []struct {
		name       string
		set, typed string
		same       bool
	}{
		{"equal", "correct horse", "correct horse", true},
		{"another", "correct horse", "correct horsf", false},
		{"case", "correct horse", "Correct horse", false},
		{"trailing space", "correct horse", "correct horse ", false},
		{"shared 72 bytes", shared + "a", shared + "b", false},
		{"prefix of 72 bytes", shared + "a", shared, false},
		{"NUL inside", "abc\x00def", "abc\x00deg", false},
		{"cut at NUL", "abc\x00def", "abc", false},
		{"NUL kept", "abc\x00def", "abc\x00def", true},
		{"NFC set, NFD typed", "caf\u00e9", "cafe\u0301", true},
		{"NFD set, NFC typed", "cafe\u0301", "caf\u00e9", true},
		{"compatibility forms differ", "\ufb01sh", "fish", false},
		{"not UTF-8", "a\xffb", "a\xfeb", false},
		{"longest", strings.Repeat("é", password.MaxBytes/2), strings.Repeat("é", password.MaxBytes/2), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := password.NewHasher(1)
			same, err := h.Compare(t.Context(), c.typed, mustHash(t, h, c.set))
			if err != nil || same != c.same {
				t.Errorf("Compare = %v, %v; want %v", same, err, c.same)
			}
		})
	}
}

func TestHashIsSaltedArgon2idInPHCForm(t *testing.T) {
	t.Parallel()
	h := password.NewHasher(1)
	one, two := mustHash(t, h, "secret"), mustHash(t, h, "secret")
	if !strings.HasPrefix(one, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash = %s", one)
	}
	if one == two {
		t.Error("two hashes of one password are equal")
	}
}

func TestLG06TooLongIsRefusedUnhashed(t *testing.T) {
	t.Parallel()
	h := password.NewHasher(1)
	phc := mustHash(t, h, "secret")
	turn, err := h.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Done()
	// The only slot is taken: whatever tried to hash would wait for ever.
	long := strings.Repeat("x", password.MaxBytes+1)
	if _, err := h.Hash(t.Context(), long); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("Hash: %v", err)
	}
	if _, err := h.Compare(t.Context(), long, phc); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("Compare: %v", err)
	}
	if err := h.CompareNothing(t.Context(), long); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("CompareNothing: %v", err)
	}
}

func TestUnusableHashIsAnErrorThatDoesNotTell(t *testing.T) {
	t.Parallel()
	h := password.NewHasher(1)
	for name, phc := range map[string]string{
		"empty":        "",
		"bcrypt":       "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"argon2i":      "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"no rounds":    "$argon2id$v=19$m=19456,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"no lanes":     "$argon2id$v=19$m=19456,t=2,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"all memory":   "$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"broken salt":  "$argon2id$v=19$m=19456,t=2,p=1$!!!!$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"not a number": "$argon2id$v=19$m=lots,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same, err := h.Compare(t.Context(), "secret", phc)
			if same || err == nil {
				t.Fatalf("Compare = %v, %v", same, err)
			}
			for part := range strings.SplitSeq(phc, "$") {
				if len(part) > 8 && strings.Contains(err.Error(), part) {
					t.Errorf("the error quotes the hash: %v", err)
				}
			}
		})
	}
}

// Not parallel: it measures what the whole process allocates.
func TestLG03NobodyCostsAsMuchAsSomebody(t *testing.T) {
	h := password.NewHasher(1)
	phc := mustHash(t, h, "secret")
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	somebody := allocated(func() { _, _ = h.Compare(t.Context(), "guess", phc) })
	nobody := allocated(func() { _ = h.CompareNothing(t.Context(), "guess") })
	if least := uint64(19 << 20); somebody < least || nobody < least {
		t.Errorf("allocated %d for somebody and %d for nobody, want at least %d", somebody, nobody, least)
	}
	if difference := max(somebody, nobody) - min(somebody, nobody); difference > 1<<20 {
		t.Errorf("the work differs by %d bytes", difference)
	}
}

func TestFloodIsRefusedAndTheQueueServed(t *testing.T) {
	t.Parallel()
	const callers = 500
	h := password.NewHasher(2)
	one, err := h.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	refused := make(chan error, callers)
	var served, running, most atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			turn, err := h.Turn(t.Context())
			if err != nil {
				refused <- err
				return
			}
			now := running.Add(1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			runtime.Gosched()
			running.Add(-1)
			served.Add(1)
			turn.Done()
		})
	}
	// With both turns taken the queue fills, and all others are refused at once.
	const queue = 64
	for range callers - queue {
		if err := <-refused; !errors.Is(err, password.ErrBusy) {
			t.Errorf("refused with %v", err)
		}
	}
	one.Done()
	one.Done() // counts once
	two.Done()
	all.Wait()
	if served.Load() != queue || most.Load() > 2 || len(refused) > 0 {
		t.Errorf("served %d, at most %d at once, %d more refused; want %d, 2, 0", served.Load(), most.Load(), len(refused), queue)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	h := password.NewHasher(1)
	turn, err := h.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := h.Hash(ctx, "secret")
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, password.ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("Hash: %v", err)
	}
	turn.Done()
	if _, err := h.Hash(ctx, "secret"); !errors.Is(err, context.Canceled) {
		t.Errorf("Hash with an ended context: %v", err)
	}
	mustHash(t, h, "secret")
}
