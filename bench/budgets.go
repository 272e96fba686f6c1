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
func (p *place) budgets(ctx context.Context, o options, found results, floor, grantd *target, binary string, size int64) (findings []finding, err error) {
	add := func(what, measured, allowed string, met bool) {
		findings = append(findings, finding{what, measured, allowed, met})
	}
	add("binary", mebibytes(size), "40 MiB", size <= 40<<20)

	progress("looking how often the machine takes a core away")
	perSecond, share, longest := stalls(5 * o.duration)
	add("a core that only spins stands still for over 1 ms", fmt.Sprintf("%.0f times a second, %.1f %% of the time, %.1f ms at the most", perSecond, 100*share, float64(longest)/float64(time.Millisecond)), "", true)

	for _, s := range o.selected() {
		if !slices.Contains([]string{"client_credentials", "refresh", "introspect", "code flow"}, s.name) {
			continue
		}
		if err := halfLoad(ctx, o, s, found, floor, grantd, add); err != nil {
			return findings, err
		}
	}
	if err := p.memory(ctx, o, grantd, add); err != nil {
		return findings, err
	}
	if o.families == 0 {
		return findings, nil
	}
	return findings, p.growth(ctx, o, grantd, binary, add)
}

// halfLoad measures latency at half of what each of the two servers can do, in turns. The
// floor's own shows how much of it is the machine: what waits there waits for a core.
func halfLoad(ctx context.Context, o options, s scenario, found results, floor, grantd *target, add adder) error {
	progress("%s at half of capacity", s.name)
	runs := make(map[*target][]*run)
	for range o.rounds {
		for _, t := range []*target{floor, grantd} {
			if !s.does(t) {
				continue
			}
			rate := medianOf(found[s.name][t.Name], (*run).rate) / 2
			one, err := measure(ctx, t, s, load{connections: 2 * o.connections, rate: rate, duration: o.duration})
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			runs[t] = append(runs[t], one)
		}
	}
	for _, t := range []*target{floor, grantd} {
		if len(runs[t]) == 0 {
			continue
		}
		p50, p99 := medianOf(runs[t], func(r *run) float64 { return r.latency(50) }), medianOf(runs[t], func(r *run) float64 { return r.latency(99) })
		what := fmt.Sprintf("%s at %.0f/s, half of capacity: p99 in p50", s.name, medianOf(runs[t], (*run).rate))
		busy := medianOf(runs[t], func(r *run) float64 { return r.busy })
		measured := fmt.Sprintf("%.1f x (%s ms in %s ms, cores %.0f %% busy)", p99/p50, ms(p99), ms(p50), 100*busy)
		if t == floor {
			add(what+", the floor", measured, "", true)
			continue
		}
		add(what, measured, "5 x", p99 <= 5*p50)
	}
	return nil
}

type adder func(what, measured, allowed string, met bool)

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
