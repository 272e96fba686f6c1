package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var auditSealContracts = []contract{
	{"a seal and its events come back as they were", auditSealRoundTrip},
	{"a seal follows on the last one or is not made", auditSealConflicts},
	{"what a seal claims is read as one, within the limit", auditSealBatches},
	{"removing takes the events of one seal, once", auditSealRemoves},
	{"erasing changes values of sealed events only", auditSealErases},
	{"of racing sealers each event gets one place, late ones too", auditSealRace},
	{"filters select, and the newest come first when asked", auditEventFilters},
}

// recordEvents writes n events and returns them by id.
func recordEvents(t testing.TB, s storage.Store, n int) []*storage.AuditEvent {
	t.Helper()
	var all []*storage.AuditEvent
	for i := range n {
		e := storage.NewAuditEvent(Now, "user:usr_a", "test.recorded", "target").With("n", fmt.Sprint(i))
		want(t, s.RecordAuditEvent(t.Context(), e), nil)
		all = append(all, &e)
	}
	return all
}

// newSeal returns a seal after the last, with places for the events.
func newSeal(last *storage.AuditSeal, events []*storage.AuditEvent) *storage.AuditSeal {
	seal := &storage.AuditSeal{
		Number: last.Number + 1, Previous: append([]byte{}, last.MAC...), Events: len(events), Digest: []byte("digest"), SealedAt: Now,
		KeyID: []byte("key1"), MAC: fmt.Appendf(nil, "mac %d of %p", last.Number+1, events),
	}
	for i, e := range events {
		e.Seal = storage.EventSeal{Number: seal.Number, Position: i + 1, MAC: fmt.Appendf(nil, "m%d", i), Salt: fmt.Appendf(nil, "s%d", i)}
	}
	return seal
}

// sealed seals n new events.
func sealed(t testing.TB, s storage.Store, last *storage.AuditSeal, n int) (*storage.AuditSeal, []*storage.AuditEvent) {
	t.Helper()
	all := recordEvents(t, s, n)
	seal := newSeal(last, all)
	want(t, s.SealAuditEvents(t.Context(), seal, all), nil)
	return seal, all
}

func unsealed(t testing.TB, s storage.Store) []*storage.AuditEvent {
	t.Helper()
	found, err := s.UnsealedAuditEvents(t.Context(), 1000)
	want(t, err, nil)
	n, err := s.CountUnsealedAuditEvents(t.Context())
	want(t, err, nil)
	if n != len(found) {
		t.Errorf("%d events are counted, %d listed", n, len(found))
	}
	return found
}

func auditSealRoundTrip(t *testing.T, s storage.Store) {
	ctx := t.Context()
	_, err := s.LastAuditSeal(ctx)
	want(t, err, storage.ErrNotFound)
	_, err = s.OldestKeptAuditSeal(ctx)
	want(t, err, storage.ErrNotFound)
	all := recordEvents(t, s, 3)
	if diff := cmp.Diff(all, unsealed(t, s)); diff != "" {
		t.Errorf("unsealed (-recorded +read):\n%s", diff)
	}
	seal := newSeal(&storage.AuditSeal{}, all)
	want(t, s.SealAuditEvents(ctx, seal, all), nil)
	if left := unsealed(t, s); len(left) != 0 {
		t.Errorf("%d are not sealed", len(left))
	}
	for name, read := range map[string]func() (*storage.AuditSeal, error){
		"last": func() (*storage.AuditSeal, error) { return s.LastAuditSeal(ctx) },
		"kept": func() (*storage.AuditSeal, error) { return s.OldestKeptAuditSeal(ctx) },
	} {
		got, err := read()
		want(t, err, nil)
		if diff := cmp.Diff(seal, got); diff != "" {
			t.Errorf("the %s seal (-made +read):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(all, events(t, s)); diff != "" {
		t.Errorf("events (-sealed +read):\n%s", diff)
	}
	second, more := sealed(t, s, seal, 2)
	got, err := s.AuditSeals(ctx, 1, 10)
	want(t, err, nil)
	if diff := cmp.Diff([]*storage.AuditSeal{second}, got); diff != "" {
		t.Errorf("seals (-made +read):\n%s", diff)
	}
	rest, err := s.SealedAuditEvents(ctx, 1, 2, 2)
	want(t, err, nil)
	if diff := cmp.Diff([]*storage.AuditEvent{all[2], more[0]}, rest); diff != "" {
		t.Errorf("events in the order of the chain (-want +got):\n%s", diff)
	}
}

func auditSealConflicts(t *testing.T, s storage.Store) {
	first, all := sealed(t, s, &storage.AuditSeal{}, 1)
	fresh := recordEvents(t, s, 1)
	for name, try := range map[string]struct {
		last   *storage.AuditSeal
		events []*storage.AuditEvent
	}{
		"the number is taken":            {&storage.AuditSeal{}, fresh},
		"a number is left out":           {&storage.AuditSeal{Number: 2, MAC: first.MAC}, fresh},
		"another MAC before it":          {&storage.AuditSeal{Number: 1, MAC: []byte("other")}, fresh},
		"an event is sealed already":     {first, []*storage.AuditEvent{{ID: all[0].ID}, {ID: fresh[0].ID}}},
		"an event that is not there":     {first, []*storage.AuditEvent{{ID: storage.NewID(storage.PrefixAuditEvent)}}},
		"the same event in two places":   {first, []*storage.AuditEvent{{ID: fresh[0].ID}, {ID: fresh[0].ID}}},
		"an event beside one that isn't": {first, []*storage.AuditEvent{{ID: fresh[0].ID}, {ID: "evt_none"}}},
	} {
		if err := s.SealAuditEvents(t.Context(), newSeal(try.last, try.events), try.events); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left := unsealed(t, s); len(left) != 1 || left[0].ID != fresh[0].ID {
		t.Errorf("unsealed are %v, want the fresh one", left)
	}
	last, err := s.LastAuditSeal(t.Context())
	want(t, err, nil)
	if last.Number != 1 {
		t.Errorf("the last seal is %d", last.Number)
	}
}

func auditSealBatches(t *testing.T, s storage.Store) {
	first, one := sealed(t, s, &storage.AuditSeal{}, 2)
	second, two := sealed(t, s, first, 3)
	batches := func(after, to int64, limit int) []*storage.AuditBatch {
		t.Helper()
		got, err := s.AuditBatches(t.Context(), after, to, limit)
		want(t, err, nil)
		return got
	}
	whole := []*storage.AuditBatch{{AuditSeal: *first, Sealed: one}, {AuditSeal: *second, Sealed: two}}
	if diff := cmp.Diff(whole, batches(0, 2, 10)); diff != "" {
		t.Errorf("batches (-sealed +read):\n%s", diff)
	}
	if diff := cmp.Diff(whole[1:], batches(1, 9, 10)); diff != "" {
		t.Errorf("the second (-sealed +read):\n%s", diff)
	}
	if got := batches(0, 2, 3); len(got) != 2 || len(got[1].Sealed) != 1 {
		t.Errorf("three events are %v", got)
	}
	stray, err := s.StrayAuditEvents(t.Context(), 10)
	want(t, err, nil)
	if len(stray) != 0 {
		t.Errorf("stray are %v", stray)
	}
}

func auditSealRemoves(t *testing.T, s storage.Store) {
	ctx := t.Context()
	first, _ := sealed(t, s, &storage.AuditSeal{}, 2)
	_, kept := sealed(t, s, first, 1)
	want(t, s.RemoveSealedAuditEvents(ctx, 1, Now.Add(time.Hour), []byte("by retention")), nil)
	want(t, s.RemoveSealedAuditEvents(ctx, 1, Now, []byte("again")), storage.ErrConsumed)
	want(t, s.RemoveSealedAuditEvents(ctx, 7, Now, []byte("none")), storage.ErrConsumed)
	if diff := cmp.Diff(kept, events(t, s)); diff != "" {
		t.Errorf("events (-kept +read):\n%s", diff)
	}
	first.RemovedAt, first.Removal = Now.Add(time.Hour), []byte("by retention")
	got, err := s.AuditBatches(ctx, 0, 1, 10)
	want(t, err, nil)
	if diff := cmp.Diff([]*storage.AuditBatch{{AuditSeal: *first}}, got); diff != "" {
		t.Errorf("the seal (-want +got):\n%s", diff)
	}
	oldest, err := s.OldestKeptAuditSeal(ctx)
	want(t, err, nil)
	if oldest.Number != 2 {
		t.Errorf("the oldest kept is %d", oldest.Number)
	}
}

func auditSealErases(t *testing.T, s storage.Store) {
	_, all := sealed(t, s, &storage.AuditSeal{}, 2)
	all[0].Detail, all[0].Seal.Salt, all[0].Seal.Erasure = map[string]string{}, nil, `{"commitments":{}}`
	want(t, s.EraseAuditEvents(t.Context(), all[:1]), nil)
	if diff := cmp.Diff(all, events(t, s)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	fresh := recordEvents(t, s, 1)
	fresh[0].Seal.Erasure, all[1].Seal.Erasure = "x", "x"
	want(t, s.EraseAuditEvents(t.Context(), []*storage.AuditEvent{all[1], fresh[0]}), storage.ErrConflict)
	if len(unsealed(t, s)[0].Detail) != 1 {
		t.Error("an unsealed event was changed")
	}
}

// auditSealRace has acts commit while sealers compete.
func auditSealRace(t *testing.T, s storage.Store) {
	const writers, each, sealers = 8, 12, 4
	ctx := t.Context()
	var writing, sealing sync.WaitGroup
	done := make(chan struct{})
	seal := func() error {
		found, err := s.UnsealedAuditEvents(ctx, 7)
		if err != nil || len(found) == 0 {
			return err
		}
		last, err := s.LastAuditSeal(ctx)
		if errors.Is(err, storage.ErrNotFound) {
			last, err = &storage.AuditSeal{}, nil
		}
		if err != nil {
			return err
		}
		if err := s.SealAuditEvents(ctx, newSeal(last, found), found); !errors.Is(err, storage.ErrConflict) {
			return err
		}
		return nil
	}
	for range sealers {
		sealing.Go(func() {
			for {
				if err := seal(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range writers {
		writing.Go(func() {
			// Ids are made at once and committed one after the other: smaller ones come late.
			var late []storage.AuditEvent
			for range each {
				late = append(late, Event("test.late", "target"))
			}
			for _, e := range slices.Backward(late) {
				if err := s.RecordAuditEvent(ctx, e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	close(done)
	sealing.Wait()
	for len(unsealed(t, s)) > 0 {
		want(t, seal(), nil)
	}
	batches, err := s.AuditBatches(ctx, 0, 1_000_000, 10_000)
	want(t, err, nil)
	total, previous := 0, []byte{}
	for i, b := range batches {
		if b.Number != int64(i+1) || !bytes.Equal(b.Previous, previous) || len(b.Sealed) != b.Events {
			t.Fatalf("seal %d of %d events is in place %d with %d", b.Number, b.Events, i+1, len(b.Sealed))
		}
		previous = b.MAC
		total += len(b.Sealed)
		for n, e := range b.Sealed {
			if e.Seal.Position != n+1 {
				t.Errorf("event %d of seal %d has place %d", n+1, b.Number, e.Seal.Position)
			}
		}
	}
	if total != writers*each {
		t.Errorf("%d events are sealed, want %d", total, writers*each)
	}
}

func auditEventFilters(t *testing.T, s storage.Store) {
	var all []*storage.AuditEvent
	for i, of := range []struct{ actor, action, target string }{
		{"user:a", "user.created", "x"},
		{"user:ab", "user.updated", "y"},
		{"admin:1", "user_code.blocked", "x"},
		{"system", "grant.revoked", "é"},
	} {
		e := storage.NewAuditEvent(Now.Add(time.Duration(i)*time.Minute), of.actor, of.action, of.target)
		e.Detail = map[string]string{}
		want(t, s.RecordAuditEvent(t.Context(), e), nil)
		all = append(all, &e)
	}
	for _, test := range []struct {
		filter storage.AuditFilter
		after  int // the index in all; -1: from the start
		want   []int
	}{
		{storage.AuditFilter{}, -1, []int{0, 1, 2, 3}},
		{storage.AuditFilter{Actor: "user:a"}, -1, []int{0, 1}},
		{storage.AuditFilter{Actor: "user:ab"}, -1, []int{1}},
		{storage.AuditFilter{Action: "user"}, -1, []int{0, 1, 2}},
		{storage.AuditFilter{Action: "user."}, -1, []int{0, 1}},
		{storage.AuditFilter{Target: "x"}, -1, []int{0, 2}},
		{storage.AuditFilter{Target: "x"}, 0, []int{2}},
		{storage.AuditFilter{Target: "é"}, -1, []int{3}},
		{storage.AuditFilter{Since: Now.Add(time.Minute)}, -1, []int{1, 2, 3}},
		{storage.AuditFilter{Until: Now.Add(time.Minute)}, -1, []int{0}},
		{storage.AuditFilter{Since: Now.Add(step), Until: Now.Add(2*time.Minute + step), Actor: "admin", Action: "user", Target: "x"}, -1, []int{2}},
		{storage.AuditFilter{Newest: true}, -1, []int{3, 2, 1, 0}},
		{storage.AuditFilter{Newest: true, Target: "x"}, 2, []int{0}},
		{storage.AuditFilter{Actor: "%"}, -1, nil},
	} {
		page := storage.Page{Limit: 10}
		if test.after >= 0 {
			page.After = all[test.after].ID
		}
		var expected []*storage.AuditEvent
		for _, i := range test.want {
			expected = append(expected, all[i])
		}
		got, err := s.AuditEvents(t.Context(), test.filter, page)
		want(t, err, nil)
		if len(got) == 0 {
			got = nil
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.filter, diff)
		}
	}
}
