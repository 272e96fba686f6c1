// Command bench measures grantd, and any other OAuth server that a profile file
// describes, against the floor: the least program that does the same HTTP, the
// same signature and the same durable statement. All of them run here, on
// loopback and on one PostgreSQL with its default durability, and take turns, so
// that a result is a ratio to what this machine can do at that moment.
//
//	go run ./bench
//
// prints the tables of README.md, which says what they mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	rounds      int
	duration    time.Duration
	connections int
	only        string
	servers     string
	profiles    string
	quick       bool
	families    int

	floor, floorDatabase string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "runs of each scenario; medians are printed")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "length of a run")
	flag.IntVar(&o.connections, "connections", 16, "connections that ask side by side")
	flag.StringVar(&o.only, "scenarios", "", "these alone, separated by commas")
	flag.StringVar(&o.servers, "servers", "", "profile files of other servers to measure as well, separated by commas")
	flag.StringVar(&o.profiles, "profile", "", "measure nothing: write CPU and allocation profiles of grantd in each scenario to this folder")
	flag.BoolVar(&o.quick, "quick", false, "the scenarios alone: no memory, start, growth or sweep")
	flag.IntVar(&o.families, "families", 1_000_000, "rows to compare an empty database with; 0: do not")
	flag.StringVar(&o.floor, "floor", "", "be the floor, at this address (used by bench itself)")
	flag.StringVar(&o.floorDatabase, "floor-database", "", "the floor's database")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, o options) error {
	switch {
	case o.floor != "":
		return serveFloor(ctx, o.floor, o.floorDatabase)
	case o.rounds < 1 || o.duration <= 0 || o.connections < 1 || o.connections > installations:
		return fmt.Errorf("rounds and duration must be above zero, and connections between 1 and %d", installations)
	}
	// The load keeps nothing alive either, and its collector takes the same cores.
	debug.SetGCPercent(800)
	p, err := newPlace(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	if o.profiles != "" {
		return writeProfiles(ctx, p, o)
	}
	return report(ctx, p, o)
}

// selected are the scenarios to run, all unless some are named.
func (o options) selected() []scenario {
	if o.only == "" {
		return scenarios
	}
	names := strings.Split(o.only, ",")
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !slices.Contains(names, s.name) })
}

// does reports whether a target takes part in a scenario.
func (s scenario) does(t *target) bool {
	return s.offered(t.Profile) && (t.Name != "floor" || !s.noFloor)
}

func report(ctx context.Context, p *place, o options) error {
	progress("building and starting grantd, the floor and PostgreSQL")
	binary, size, err := p.build(ctx, "")
	if err != nil {
		return err
	}
	targets := make([]*target, 2)
	if targets[0], err = p.startFloor(ctx); err != nil {
		return err
	}
	if targets[1], err = p.startGrantd(ctx, binary, "grantd"); err != nil {
		return err
	}
	grantd := targets[1]
	for _, file := range strings.FieldsFunc(o.servers, func(r rune) bool { return r == ',' }) {
		peer, err := p.startPeer(ctx, file)
		if err != nil {
			return err
		}
		targets = append(targets, peer)
	}
	found, err := runScenarios(ctx, targets, o)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n\n%d runs of %s each, taking turns; medians. %d connections in a closed loop.\n\n", machine(ctx, grantd), o.rounds, o.duration, o.connections)
	writeScenarios(os.Stdout, found, targets)
	if o.quick {
		return nil
	}
	findings, err := p.budgets(ctx, o, found, targets[0], grantd, binary, size)
	fmt.Println()
	writeFindings(os.Stdout, findings)
	return err
}

func runScenarios(ctx context.Context, targets []*target, o options) (results, error) {
	found := make(results)
	// The first round warms everything up and is not counted.
	for round := range o.rounds + 1 {
		progress("round %d of %d", round, o.rounds)
		for _, s := range o.selected() {
			for _, t := range targets {
				if !s.does(t) {
					continue
				}
				l := load{connections: o.connections, duration: o.duration}
				if round == 0 {
					l.duration /= 4
				}
				one, err := measure(ctx, t, s, l)
				if err = errors.Join(err, ctx.Err()); err != nil {
					return nil, err
				}
				if round > 0 {
					found.add(s.name, t.Name, one)
				}
			}
		}
	}
	return found, nil
}

// startPeer starts what a profile file describes, on a database of its own.
func (p *place) startPeer(ctx context.Context, file string) (*target, error) {
	profile, err := readProfile(file)
	if err != nil {
		return nil, err
	}
	databaseURL := ""
	if len(profile.Command) > 0 {
		if databaseURL, err = p.newDatabase(ctx, fmt.Sprintf("peer%d", len(p.ending))); err != nil {
			return nil, err
		}
	}
	t, err := p.start(ctx, profile, databaseURL)
	if err != nil {
		return nil, err
	}
	if hasPages(profile) {
		err = t.installAll()
	} else {
		profile.Installed = Public{} // nobody can approve it
	}
	return t, err
}

// writeProfiles runs each scenario once against a grantd that was built to profile
// itself, and keeps what it wrote.
func writeProfiles(ctx context.Context, p *place, o options) error {
	binary, _, err := p.build(ctx, "profile")
	if err != nil {
		return err
	}
	t, err := p.startGrantd(ctx, binary, "grantd")
	if err != nil {
		return err
	}
	for _, s := range o.selected() {
		if !s.does(t) {
			continue
		}
		if _, err := measure(ctx, t, s, load{connections: o.connections, duration: o.duration / 4}); err != nil {
			return err
		}
		if err := p.profiled(t, o.profiles, s.name, func() error {
			_, err := measure(ctx, t, s, load{connections: o.connections, duration: o.duration})
			return err
		}); err != nil {
			return err
		}
		progress("%s: go tool pprof -top %s/%s.cpu", s.name, o.profiles, fileName(s.name))
	}
	return nil
}
