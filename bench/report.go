package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// percentile is the smallest latency that p of 100 are not above (nearest rank).
// latencies are sorted.
func percentile(latencies []time.Duration, p float64) time.Duration {
	if len(latencies) == 0 {
		return 0
	}
	rank := int(float64(len(latencies))*p/100+0.999999) - 1
	return latencies[max(0, min(rank, len(latencies)-1))]
}

// median is the middle value, or the mean of the two in the middle; 0 of none.
func median[T cmp.Ordered](values []T, mean func(a, b T) T) T {
	if len(values) == 0 {
		return *new(T)
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return mean(sorted[middle-1], sorted[middle])
}

func medianOf(runs []*run, value func(*run) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = value(r)
	}
	return median(values, func(a, b float64) float64 { return (a + b) / 2 })
}

// What a run says of one operation.

func perOperation(d time.Duration, r *run) float64 {
	return float64(d) / float64(time.Millisecond) / float64(r.operations)
}
func (r *run) serverCPU() float64 { return perOperation(r.server, r) }
func (r *run) dbCPU() float64     { return perOperation(r.db, r) }
func (r *run) cpu() float64       { return perOperation(r.server+r.db, r) }
func (r *run) rate() float64      { return float64(r.operations) / r.took.Seconds() }
func (r *run) latency(p float64) float64 {
	return float64(percentile(r.latencies, p)) / float64(time.Millisecond)
}

// ratio is the median of what each run took in proportion to the floor's run
// beside it.
func ratio(runs, floors []*run) float64 {
	var ratios []float64
	for i := range min(len(runs), len(floors)) {
		if f := floors[i].cpu(); f > 0 {
			ratios = append(ratios, runs[i].cpu()/f)
		}
	}
	return median(ratios, func(a, b float64) float64 { return (a + b) / 2 })
}

// results are the runs of each scenario and target, in order.
type results map[string]map[string][]*run

func (r results) add(scenario, target string, one *run) {
	if r[scenario] == nil {
		r[scenario] = make(map[string][]*run)
	}
	r[scenario][target] = append(r[scenario][target], one)
}

// verdict compares a value with a scenario's limit and aim.
func (s scenario) verdict(value float64) string {
	switch {
	case s.limit == 0:
		return ""
	case value <= s.aim:
		return "aim met"
	case value <= s.limit:
		return "limit met"
	}
	return "MISSED"
}

func (s scenario) allowed() string {
	unit := " x"
	if s.absolute {
		unit = " ms"
	}
	switch {
	case s.limit == 0:
		return ""
	case s.aim == s.limit:
		return fmt.Sprintf("%.1f%s", s.limit, unit)
	}
	return fmt.Sprintf("%.1f (%.1f)%s", s.limit, s.aim, unit)
}

// writeScenarios prints one line for each scenario and target.
func writeScenarios(w io.Writer, r results, targets []*target) {
	line(w, "scenario", "server", "CPU ms/op: server", "database", "both", "x floor", "limit (aim)", "", "op/s", "p50 ms", "p95 ms", "p99 ms", "WAL B/op", "growth B/op")
	line(w, "---", "---", "--:", "--:", "--:", "--:", "--:", "---", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, s := range scenarios {
		for _, t := range targets {
			runs := r[s.name][t.Name]
			if len(runs) == 0 {
				continue
			}
			over, allowed, verdict := "", "", ""
			both := medianOf(runs, (*run).cpu)
			if floors := r[s.name]["floor"]; len(floors) > 0 && t.Name != "floor" {
				x := ratio(runs, floors)
				over, allowed, verdict = fmt.Sprintf("**%.2f**", x), s.allowed(), s.verdict(x)
			} else if s.absolute {
				allowed, verdict = s.allowed(), s.verdict(both)
			}
			per := func(total func(*run) int64) string {
				return fmt.Sprintf("%.0f", medianOf(runs, func(r *run) float64 { return float64(total(r)) / float64(r.operations) }))
			}
			line(w, s.name, t.Name, ms(medianOf(runs, (*run).serverCPU)), ms(medianOf(runs, (*run).dbCPU)), ms(both), over, allowed, verdict,
				fmt.Sprintf("%.0f", medianOf(runs, (*run).rate)),
				ms(medianOf(runs, func(r *run) float64 { return r.latency(50) })), ms(medianOf(runs, func(r *run) float64 { return r.latency(95) })), ms(medianOf(runs, func(r *run) float64 { return r.latency(99) })),
				per(func(r *run) int64 { return r.wal }), per(func(r *run) int64 { return r.grown }))
		}
	}
}

// finding is a line of the second table: something measured, and what is allowed.
type finding struct {
	what, measured, allowed string
	met                     bool
}

func writeFindings(w io.Writer, findings []finding) {
	line(w, "what", "measured", "allowed", "")
	line(w, "---", "--:", "--:", "---")
	for _, f := range findings {
		verdict := map[bool]string{true: "met", false: "MISSED"}[f.met]
		if f.allowed == "" { // for comparison
			verdict = ""
		}
		line(w, f.what, f.measured, f.allowed, verdict)
	}
}

func line(w io.Writer, cells ...string) { _, _ = fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |") }

func ms(v float64) string { return fmt.Sprintf("%.3g", v) }

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
