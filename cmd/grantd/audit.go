package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
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
	flags.StringVar(&f.actor, "actor", "", "only acts of this actor, as user:ID, client:CLIENT_ID, admin:KEY or system, or of all that begin so")
	flags.StringVar(&f.action, "action", "", "only this kind of act, as grant.revoked, or all that begin so, as grant")
	flags.StringVar(&f.target, "target", "", "only acts on the thing with this id")
	flags.BoolVar(&f.follow, "follow", false, "go on with new events until interrupted")
	adminCommand(environ, list, f.run)
	return adminGroup("audit", "See what happened", list)
}

type auditFilter struct {
	since, actor, action, target string
	follow                       bool
}

func (f *auditFilter) run(ctx context.Context, a *admin, _ []string) error {
	from, err := parseSince(f.since, time.Now())
	if err != nil {
		return wrongUsage("--since %s is no time; write it as 36h, 7d, 2026-01-31 or 2026-01-31T08:00:00Z", printable(f.since))
	}
	cursor := firstEventID(from)
	for first := true; ; first = false {
		events, err := all(0, func(page string) ([]api.AuditEvent, string, error) {
			if page == "" {
				page = cursor
			}
			return listAuditEvents(ctx, a, page)
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
		events = slices.DeleteFunc(events, func(e api.AuditEvent) bool { return !f.wants(e) })
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

func (f *auditFilter) wants(e api.AuditEvent) bool {
	return strings.HasPrefix(e.Actor, f.actor) && strings.HasPrefix(e.Action, f.action) && (f.target == "" || e.Target == f.target)
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

// firstEventID is smaller than the id of any event from that time on: ids begin
// with the milliseconds of their making (RFC 9562 §5.7).
func firstEventID(at time.Time) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(max(0, at.UnixMilli()))<<16)
	return storage.IDFromBytes(storage.PrefixAuditEvent, id)
}

func listAuditEvents(ctx context.Context, a *admin, cursor string) ([]api.AuditEvent, string, error) {
	got, err := a.api.ListAuditEventsWithResponse(ctx, &api.ListAuditEventsParams{Cursor: cursor, Limit: page(pageSize)})
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

func printEvents(a *admin, events []api.AuditEvent, first bool) error {
	if a.json {
		lines := json.NewEncoder(a.cmd.OutOrStdout())
		lines.SetEscapeHTML(false)
		for _, e := range events {
			if err := lines.Encode(e); err != nil {
				return err
			}
		}
		return nil
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
