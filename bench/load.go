package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// operation does a scenario's work once and checks every answer.
type operation func() error

// run is what one run of a scenario against one server came to.
type run struct {
	operations int
	took       time.Duration
	latencies  []time.Duration // sorted
	server, db time.Duration   // CPU time, in all
	busy       float64         // share of the machine's cores that was used
	wal, grown int64           // bytes, in all
}

// load is how a server is loaded.
type load struct {
	connections int
	// rate is arrivals per second; 0: each connection asks again as soon as it has
	// its answer (a closed loop).
	rate     float64
	duration time.Duration
}

// measure prepares the scenario and runs it under the load. One wrong answer
// spoils the run.
func measure(ctx context.Context, t *target, s scenario, l load) (*run, error) {
	// What is prepared comes after the checkpoint: the first change of a page after
	// one writes the whole page to the WAL, which happens every few minutes and not
	// in every run.
	if err := t.database.exec(ctx, "CHECKPOINT"); err != nil {
		return nil, err
	}
	if s.prepare != nil {
		if err := s.prepare(ctx, t); err != nil {
			return nil, fmt.Errorf("%s, %s: prepare: %w", t.Name, s.name, err)
		}
	}
	operations := make([]operation, l.connections)
	for i := range operations {
		a := newAgent()
		defer a.close()
		var err error
		if operations[i], err = s.start(t, a, i, l.connections); err != nil {
			return nil, fmt.Errorf("%s, %s: start: %w", t.Name, s.name, err)
		}
	}
	before, err := t.read(ctx, true)
	if err != nil {
		return nil, err
	}
	latencies, loadErr := drive(operations, l)
	after, err := t.read(ctx, false)
	if err := errors.Join(loadErr, err); err != nil {
		return nil, fmt.Errorf("%s, %s: %w", t.Name, s.name, err)
	}
	slices.Sort(latencies)
	return &run{
		operations: len(latencies), took: after.at.Sub(before.at), latencies: latencies,
		server: after.server - before.server, db: after.db - before.db, busy: (after.used - before.used) / max(after.cores-before.cores, 1),
		wal: after.wal - before.wal, grown: after.occupied - before.occupied,
	}, nil
}

// drive runs the operations side by side for the load's duration and returns how
// long each of them took.
func drive(operations []operation, l load) ([]time.Duration, error) {
	var (
		working   sync.WaitGroup
		next      atomic.Int64 // arrivals taken so far
		failed    atomic.Bool
		mine      = make([][]time.Duration, len(operations))
		errs      = make([]error, len(operations))
		began     = time.Now()
		deadline  = began.Add(l.duration)
		scheduled = func() time.Time {
			return began.Add(time.Duration(float64(next.Add(1)-1) / l.rate * float64(time.Second)))
		}
	)
	for i, operation := range operations {
		working.Go(func() {
			for !failed.Load() {
				start := time.Now()
				if l.rate > 0 {
					// An arrival that nobody was free for has waited since its time. The
					// tardiness of an idle connection's timer is nobody's latency.
					arrival := scheduled()
					if wait := arrival.Sub(start); wait > 0 && arrival.Before(deadline) {
						time.Sleep(wait)
						start = time.Now()
					} else {
						start = arrival
					}
				}
				if !start.Before(deadline) {
					return
				}
				if err := operation(); err != nil {
					errs[i] = err
					failed.Store(true)
					return
				}
				mine[i] = append(mine[i], time.Since(start))
			}
		})
	}
	working.Wait()
	return slices.Concat(mine...), errors.Join(errs...)
}
