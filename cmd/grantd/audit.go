package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grantd/api"
)

// followInterval is how often --follow looks for new events.
const followInterval = time.Second

func newAuditCommand(environ []string) *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List what happened, oldest first",
		Long: `List what happened, oldest first: of the last day, unless --since says otherwise.
With --json each event is one line.

` + exitCodes,
		Args: cobra.NoArgs,
	}
	flags := list.Flags()
	f := &auditFilter{}
	flags.StringVar(&f.since, "since", "1d", "how far to look back (36h, 7d) or from when on (2026-01-31, or with a time: 2026-01-31T08:00:00Z)")
	flags.StringVar(&f.until, "until", "", "until when, written as for --since (default: now)")
	flags.StringVar(&f.actor, "actor", "", "only acts of this actor, as user:ID, client:CLIENT_ID, admin:KEY or system, or of all that begin so")
	flags.StringVar(&f.action, "action", "", "only this kind of act, as grant.revoked, or all that begin so, as grant")
	flags.StringVar(&f.target, "target", "", "only acts on the thing with this id")
	flags.BoolVar(&f.newest, "newest", false, "the newest first")
	flags.IntVar(&f.limit, "limit", 0, "how many at most (default: all)")
	flags.BoolVar(&f.follow, "follow", false, "go on with new events until interrupted")
	list.MarkFlagsMutuallyExclusive("newest", "follow")
	list.MarkFlagsMutuallyExclusive("limit", "follow")
	adminCommand(environ, list, f.run)
	return adminGroup("audit", "See what happened", list,
		newAuditExportCommand(environ), newAuditHeadCommand(environ), newAuditVerifyCommand(environ), newAuditAccessCommand(environ))
}

type auditFilter struct {
	since, until, actor, action, target string
	newest, follow                      bool
	limit                               int
}

func (f *auditFilter) run(ctx context.Context, a *admin, _ []string) error {
	now := time.Now()
	from, err := timeFlag("--since", f.since, now)
	if err != nil {
		return err
	}
	params := api.ListAuditEventsParams{Actor: f.actor, Action: f.action, Target: f.target, Since: &from}
	if f.until != "" {
		until, err := timeFlag("--until", f.until, now)
		if err != nil {
			return err
		}
		params.Until = &until
	}
	if f.newest {
		params.Order = "newest"
	}
	cursor := ""
	for first := true; ; first = false {
		events, err := all(f.limit, func(page string) ([]api.AuditEvent, string, error) {
			if params.Cursor = page; page == "" {
				params.Cursor = cursor
			}
			return listAuditEvents(ctx, a, params)
		})
		if ctx.Err() != nil && f.follow {
			return nil // interrupted, which is how it ends
		}
		if err != nil {
			return err
		}
		if len(events) > 0 {
			cursor = events[len(events)-1].ID
		}
		if err := printEvents(a, events, first); err != nil {
			return err
		}
		if !f.follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followInterval):
		}
	}
}

// timeFlag reads a flag that is a time, or how long ago it was.
func timeFlag(flag, text string, now time.Time) (time.Time, error) {
	at, err := parseSince(text, now)
	if err != nil {
		return at, wrongUsage("%s %s is no time; write it as 36h, 7d, 2026-01-31 or 2026-01-31T08:00:00Z", flag, printable(text))
	}
	return at, nil
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := parseDays(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, text)
}

func listAuditEvents(ctx context.Context, a *admin, params api.ListAuditEventsParams) ([]api.AuditEvent, string, error) {
	params.Limit = page(pageSize)
	got, err := a.api.ListAuditEventsWithResponse(ctx, &params)
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

// writeLines writes each event as a line of JSON.
func writeLines(w io.Writer, events []api.AuditEvent) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for _, e := range events {
		if err := lines.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

func printEvents(a *admin, events []api.AuditEvent, first bool) error {
	if a.json {
		return writeLines(a.cmd.OutOrStdout(), events)
	}
	if len(events) == 0 {
		if first {
			a.say("Nothing of the kind has happened since then.")
		}
		return nil
	}
	return writeTable(a.cmd.OutOrStdout(), events, []column[api.AuditEvent]{
		{"TIME", func(e api.AuditEvent) string { return e.At.UTC().Format(time.RFC3339) }, whole},
		{"ACTOR", func(e api.AuditEvent) string { return e.Actor }, short},
		{"ACTION", func(e api.AuditEvent) string { return e.Action }, whole},
		{"TARGET", func(e api.AuditEvent) string { return e.Target }, short},
		{"DETAIL", func(e api.AuditEvent) string {
			var parts []string
			for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
				value := e.Detail[name]
				if strings.ContainsAny(value, " \"") && !strings.HasPrefix(value, "[") {
					value = strconv.Quote(value)
				}
				parts = append(parts, name+"="+value)
			}
			return strings.Join(parts, " ")
		}, short},
	})
}
