package main

import (
	"context"
	"fmt"
	"time"
)

// The rows of a grantd that has been in use for long: people, what they approved,
// and their installations. Foreign keys are not checked one by one, since every
// row is made from those it refers to. Ordering families by a hash spreads those
// that are used among all the others, as years would.
var longUse = []string{
	`SET session_replication_role = replica`,
	`INSERT INTO users (id, username, username_key, version, email, name, password_hash, disabled, created_at, updated_at)
SELECT 'us_' || lpad(i::text, 26, '0'), 'old' || i, 'old' || i, 1, '', '', '', false, now(), now() FROM generate_series(1, $1 / 10) i`,
	`INSERT INTO grants (id, user_id, client_id, resource_id, scopes, redirect_uri, client_name, created_at, updated_at)
SELECT 'gr_' || lpad(i::text, 26, '0'), 'us_' || lpad(i::text, 26, '0'), g.client_id, g.resource_id, g.scopes, g.redirect_uri, g.client_name, now(), now()
FROM generate_series(1, $1 / 10) i, (SELECT * FROM grants LIMIT 1) g`,
	`INSERT INTO families (id, grant_id, user_id, client_id, resource_id, scopes, generation, rotation_request, rotated_at, created_at, expires_at)
SELECT 'fa_' || lpad(i::text, 26, '0'), 'gr_' || lpad((i % ($1 / 10) + 1)::text, 26, '0'), 'us_' || lpad((i % ($1 / 10) + 1)::text, 26, '0'),
	f.client_id, f.resource_id, f.scopes, 1 + i % 500, f.rotation_request, now(), now(), now() + interval '80 days'
FROM generate_series(1, $1) i, (SELECT * FROM families LIMIT 1) f`,
	`CREATE INDEX spread ON families (md5(id))`, `CLUSTER families USING spread`, `DROP INDEX spread`, `VACUUM ANALYZE`,
	`SET session_replication_role = origin`,
}

// growth measures grantd on a database that has grown against the one it has, in
// turns; then that refreshes take no room, and that sweeping disturbs nobody.
func (p *place) growth(ctx context.Context, o options, small *target, binary string, add adder) error {
	progress("filling a database with %d families", o.families)
	grown, err := p.startGrantd(ctx, binary, "grown")
	if err != nil {
		return err
	}
	if err := fillGrown(ctx, grown, o.families); err != nil {
		return err
	}
	if err := small.database.exec(ctx, "VACUUM ANALYZE"); err != nil {
		return err
	}
	for _, s := range scenarios {
		if s.name == "refresh" || s.name == "introspect" {
			progress("%s with %d families and with few", s.name, o.families)
			if err := compareGrown(ctx, o, s, small, grown, add); err != nil {
				return err
			}
		}
	}
	if err := refreshesTakeNoRoom(ctx, o, grown, add); err != nil {
		return err
	}
	return sweepDisturbsNobody(ctx, o, grown, add)
}

func fillGrown(ctx context.Context, t *target, families int) error {
	for _, sql := range longUse {
		var args []any
		if len(sql) > 6 && sql[:6] == "INSERT" {
			args = []any{families}
		}
		if _, err := t.database.conn.Exec(ctx, sql, args...); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// compareGrown loads both at half of what the slower can do: the latency of a
// closed loop would be that of the queue alone.
func compareGrown(ctx context.Context, o options, s scenario, small, grown *target, add adder) error {
	runs := make(map[*target][]*run)
	capacity, l := 0.0, load{connections: o.connections, duration: o.duration}
	for round := range o.rounds + 1 {
		for _, t := range []*target{small, grown} {
			one, err := measure(ctx, t, s, l)
			if err != nil {
				return err
			}
			if round > 0 {
				runs[t] = append(runs[t], one)
			} else if r := one.rate(); capacity == 0 || r < capacity {
				capacity = r
			}
		}
		l.connections, l.rate = 2*o.connections, capacity/2
	}
	for _, what := range []struct {
		name  string
		value func(*run) float64
		unit  string
	}{
		{"p50", func(r *run) float64 { return r.latency(50) }, "ms"},
		{"p99", func(r *run) float64 { return r.latency(99) }, "ms"},
		{"CPU", (*run).cpu, "ms/op"},
	} {
		few, many := medianOf(runs[small], what.value), medianOf(runs[grown], what.value)
		add(fmt.Sprintf("%s with %d families: %s against few", s.name, o.families, what.name),
			fmt.Sprintf("%.2f x (%s in %s %s)", many/few, ms(many), ms(few), what.unit), "1.2 x", many <= 1.2*few)
	}
	return nil
}

func refreshesTakeNoRoom(ctx context.Context, o options, t *target, add adder) error {
	progress("refreshing and vacuuming")
	var before, after int64
	size := func(into *int64) error {
		if err := t.database.exec(ctx, "VACUUM families"); err != nil {
			return err
		}
		return t.database.conn.QueryRow(ctx, "SELECT pg_total_relation_size('families')").Scan(into)
	}
	if err := size(&before); err != nil {
		return err
	}
	one, err := measure(ctx, t, scenarioNamed("refresh"), load{connections: o.connections, duration: o.duration})
	if err != nil {
		return err
	}
	if err := size(&after); err != nil {
		return err
	}
	add(fmt.Sprintf("growth by %d refreshes, after vacuum", one.operations), fmt.Sprintf("%d bytes", after-before), "0 bytes", after <= before)
	return nil
}

// sweepWait is how long the next sweep may take to come: they are a minute apart.
const sweepWait = 90 * time.Second

// sweepDisturbsNobody lets a fifth of the families expire and looks at latencies
// while they are swept away, and before.
func sweepDisturbsNobody(ctx context.Context, o options, t *target, add adder) error {
	progress("waiting for a sweep, at most %s", sweepWait)
	s, doomed := scenarioNamed("refresh"), o.families/5
	const expire = `UPDATE families SET expires_at = now() - interval '1 day' WHERE id IN (SELECT id FROM families WHERE id < 'fa_00001' LIMIT $1)`
	capacity, err := measure(ctx, t, s, load{connections: o.connections, duration: o.duration})
	if err != nil {
		return err
	}
	l := load{connections: 2 * o.connections, rate: capacity.rate() / 2, duration: o.duration}
	if _, err := t.database.conn.Exec(ctx, expire, doomed); err != nil {
		return err
	}
	var quiet, sweeping []*run
	left := func() (n int, err error) {
		err = t.database.conn.QueryRow(ctx, `SELECT count(*) FROM families WHERE expires_at <= now()`).Scan(&n)
		return n, err
	}
	for began := time.Now(); time.Since(began) < sweepWait; {
		before, err := left()
		if err != nil {
			return err
		}
		one, err := measure(ctx, t, s, l)
		if err != nil {
			return err
		}
		after, err := left()
		if err != nil {
			return err
		}
		if after < before {
			sweeping = append(sweeping, one)
		} else if before > 0 {
			quiet = append(quiet, one)
		}
		if after == 0 {
			break
		}
	}
	if len(sweeping) == 0 || len(quiet) == 0 {
		return fmt.Errorf("no sweep came within %s", sweepWait)
	}
	p99 := func(r *run) float64 { return r.latency(99) }
	during, before := medianOf(sweeping, p99), medianOf(quiet, p99)
	add(fmt.Sprintf("p99 of refresh at half load while %d families are swept", doomed),
		fmt.Sprintf("%.2f x (%s in %s ms)", during/before, ms(during), ms(before)), "1.5 x", during <= 1.5*before)
	return nil
}
