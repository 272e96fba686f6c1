package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// budgets measures what is not a matter of one scenario: size, memory, start,
// latency at half load, and what becomes of a database that grows.
func (p *place) budgets(ctx context.Context, o options, found results, grantd *target, binary string, size int64) (findings []finding, err error) {
	add := func(what, measured, allowed string, met bool) {
		findings = append(findings, finding{what, measured, allowed, met})
	}
	add("binary", mebibytes(size), "40 MiB", size <= 40<<20)

	for _, s := range o.selected() {
		if capacity := medianOf(found[s.name]["grantd"], (*run).rate); slices.Contains([]string{"client_credentials", "refresh", "introspect", "code flow"}, s.name) && capacity > 0 {
			progress("%s at half of its capacity", s.name)
			runs, err := repeat(ctx, o, func() (*run, error) {
				return measure(ctx, grantd, s, load{connections: 2 * o.connections, rate: capacity / 2, duration: o.duration})
			})
			if err != nil {
				return findings, err
			}
			p50, p99 := medianOf(runs, func(r *run) float64 { return r.latency(50) }), medianOf(runs, func(r *run) float64 { return r.latency(99) })
			add(fmt.Sprintf("%s at %.0f/s, half of capacity: p99 in p50", s.name, capacity/2), fmt.Sprintf("%.1f x (%s ms in %s ms)", p99/p50, ms(p99), ms(p50)), "5 x", p99 <= 5*p50)
		}
	}
	if err := p.memory(ctx, o, grantd, add); err != nil {
		return findings, err
	}
	return findings, p.growth(ctx, o, grantd, binary, add)
}

type adder func(what, measured, allowed string, met bool)

func repeat(ctx context.Context, o options, once func() (*run, error)) (runs []*run, err error) {
	for range o.rounds {
		one, err := once()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		runs = append(runs, one)
	}
	return runs, nil
}

// memory starts grantd anew on the database it has, several times, and loads the
// last one.
func (p *place) memory(ctx context.Context, o options, grantd *target, add adder) error {
	progress("starting, idling, and a load of 64 connections")
	var starts []float64
	for range o.rounds {
		grantd.stop()
		if err := p.run(grantd); err != nil {
			return err
		}
		starts = append(starts, float64(grantd.ready)/float64(time.Millisecond))
	}
	start := median(starts, func(a, b float64) float64 { return (a + b) / 2 })
	add("start to first answer, existing database", fmt.Sprintf("%.0f ms", start), "200 ms", start <= 200)

	select {
	case <-time.After(3 * time.Second): // several heartbeats
	case <-ctx.Done():
		return ctx.Err()
	}
	idle, _, err := memoryOf(grantd.pid)
	if err != nil {
		return err
	}
	add("resident memory, idle", mebibytes(idle), "40 MiB", idle <= 40<<20)

	if _, err := measure(ctx, grantd, scenarioNamed("mixed"), load{connections: 64, duration: 3 * o.duration}); err != nil {
		return err
	}
	_, peak, err := memoryOf(grantd.pid)
	if err != nil {
		return err
	}
	add("resident memory, peak under 64 connections of mixed load", mebibytes(peak), "120 MiB", peak <= 120<<20)
	return nil
}

// profiled has a grantd that was built with the profile tag write down what act
// makes it do.
func (p *place) profiled(t *target, folder, name string, act func() error) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := t.child.Process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	if err := act(); err != nil {
		return err
	}
	if err := t.child.Process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	for _, kind := range []string{"cpu", "allocs"} {
		from := filepath.Join(p.folder, kind+".pprof")
		var content []byte
		for deadline := time.Now().Add(5 * time.Second); len(content) == 0; time.Sleep(50 * time.Millisecond) {
			if content, _ = os.ReadFile(from); time.Now().After(deadline) { //nolint:gosec // a file of ours
				return fmt.Errorf("grantd wrote no %s", from)
			}
		}
		to := filepath.Join(folder, fileName(name)+"."+kind)
		if err := errors.Join(os.WriteFile(to, content, 0o600), os.Remove(from)); err != nil { //nolint:gosec // the folder that was named for it
			return err
		}
	}
	return nil
}

func fileName(scenario string) string {
	return strings.NewReplacer(" ", "-", "+", "and").Replace(scenario)
}

// machine names what the figures were taken on.
func machine(ctx context.Context, t *target) string {
	model := "unknown processor"
	if content, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(content)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	average, _, _ := strings.Cut(string(load), " ")
	var postgres string
	_ = t.database.conn.QueryRow(ctx, "SHOW server_version").Scan(&postgres) // "" says enough
	return fmt.Sprintf("%s: %d cores of %s, Linux %s, %s, PostgreSQL %s; load average at the end %s.",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version(), postgres, average)
}
