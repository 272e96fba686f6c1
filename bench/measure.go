package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// clockTick is what /proc counts CPU time in. It is 1/100 s on every Linux that
// Go runs on (USER_HZ); the kernel adds up nanoseconds and rounds only here.
const clockTick = 10 * time.Millisecond

// cpuOf is the CPU time that a process and its descendants have used, including
// that of children which are no more and were waited for.
//
// It is read from /proc/PID/stat. getrusage would count children only once they
// have ended, but PostgreSQL's backends live through a whole run; and a sampling
// tool would cost the very cores it watches. All of PostgreSQL counts, WAL writer
// and checkpointer too: they work for the requests.
func cpuOf(root int) (time.Duration, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	if _, alive := all[root]; !alive {
		return 0, fmt.Errorf("process %d is gone", root)
	}
	total := all[root].ended
	for pid, p := range all {
		if descends(all, pid, root) {
			total += p.used
		}
	}
	return total, nil
}

type process struct {
	parent      int
	used, ended time.Duration // its own CPU time, and that of children it waited for
}

func descends(all map[int]process, pid, root int) bool {
	for range 32 {
		if pid == root {
			return true
		}
		p, known := all[pid]
		if !known {
			return false
		}
		pid = p.parent
	}
	return false
}

func processes() (map[int]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("CPU time is read from /proc, as Linux has it: %w", err)
	}
	all := make(map[int]process, len(files))
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // of /proc
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if p, ok := parseStat(content); ok {
			all[pid] = p
		}
	}
	return all, nil
}

// parseStat reads a line of /proc/PID/stat (proc(5)). The name in parentheses may
// hold anything, so fields are counted from the last parenthesis.
func parseStat(line []byte) (process, bool) {
	i := bytes.LastIndexByte(line, ')')
	fields := bytes.Fields(line[i+1:])
	if i < 0 || len(fields) < 15 {
		return process{}, false
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(string(fields[i]))
		return n
	}
	ticks := func(i int) time.Duration { return time.Duration(number(i)) * clockTick }
	return process{parent: number(1), used: ticks(11) + ticks(12), ended: ticks(13) + ticks(14)}, true
}

// busyOf returns how much of the cores' time was used since they started, by
// whomever (the load and what a hypervisor took among it), and how much there was.
func busyOf() (used, all float64, err error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	// user nice system idle iowait irq softirq steal; the rest is in them (proc(5)).
	for i, field := range bytes.Fields(line)[1:9] {
		ticks, err := strconv.ParseFloat(string(field), 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if all += ticks; i != 3 && i != 4 {
			used += ticks
		}
	}
	return used, all, nil
}

// stall is for how long a thread that only looks at the clock must have stood still to
// count: five times what most requests take.
const stall = time.Millisecond

// stalls spins on every core while nothing else asks for one, and returns how often in a
// second one of them was taken away for longer than stall, for how long at the most,
// and for what share of the time. A hypervisor does that, and no server can answer
// meanwhile.
func stalls(spin time.Duration) (perSecond, share float64, longest time.Duration) {
	var (
		spinning sync.WaitGroup
		mu       sync.Mutex
		n        int
		lost     time.Duration
		cores    = runtime.NumCPU()
	)
	for range cores {
		spinning.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			began := time.Now()
			for last := began; last.Sub(began) < spin; {
				now := time.Now()
				if gap := now.Sub(last); gap > stall {
					mu.Lock()
					n, lost, longest = n+1, lost+gap, max(longest, gap)
					mu.Unlock()
				}
				last = now
			}
		})
	}
	spinning.Wait()
	return float64(n) / spin.Seconds(), lost.Seconds() / (spin.Seconds() * float64(cores)), longest
}

// memoryOf returns a process's resident memory now and at its peak, in bytes.
func memoryOf(pid int) (now, peak int64, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = kilobytes << 10
		case "VmHWM:":
			peak = kilobytes << 10
		}
	}
	return now, peak, nil
}

// database is the measuring connection to a server's database.
type database struct {
	conn *pgx.Conn
	pid  int // the postmaster
}

func openDatabase(ctx context.Context, databaseURL string, pid int) (*database, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	return &database{conn: conn, pid: pid}, nil
}

// reading is what has been used up to now.
type reading struct {
	at            time.Time
	server, db    time.Duration // CPU time
	used, cores   float64       // CPU time of the whole machine, in its own unit
	wal, occupied int64         // bytes
}

// read looks at everything. The database is asked outside the time that is
// measured: first at its beginning, last at its end.
func (t *target) read(ctx context.Context, first bool) (r reading, err error) {
	look := func() error {
		if t.database == nil {
			return nil
		}
		const sql = `
SELECT pg_current_wal_insert_lsn() - '0/0',
	(SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)`
		return t.database.conn.QueryRow(ctx, sql).Scan(&r.wal, &r.occupied)
	}
	if first {
		if err := look(); err != nil {
			return r, err
		}
	}
	if t.pid != 0 {
		if r.server, err = cpuOf(t.pid); err != nil {
			return r, err
		}
	}
	if t.database != nil {
		if r.db, err = cpuOf(t.database.pid); err != nil {
			return r, err
		}
	}
	if r.used, r.cores, err = busyOf(); err != nil {
		return r, err
	}
	r.at = time.Now()
	if !first {
		err = look()
	}
	return r, err
}

// exec runs statements on the database, as CHECKPOINT before a run, so that each
// begins with the same.
func (d *database) exec(ctx context.Context, statements ...string) error {
	if d == nil {
		return nil
	}
	for _, sql := range statements {
		if _, err := d.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}
