package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/server/audit"
)

func newAuditExportCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Copy the events out as JSON lines, in the order of the audit chain",
		Long: `Copy the events out as JSON lines, in the order of the audit chain. Nothing is ever put
in between there: give --after what the last line of an earlier export says, as
SEAL.POSITION, and you get all that came since. Events of the last seconds, which are not
sealed yet, come with the next export.

"grantd migrate restored --events" takes such a file.

` + exitCodes,
		Args: cobra.NoArgs,
	}
	after := cmd.Flags().String("after", "", "go on after this place, as 12.3")
	output := cmd.Flags().String("output", "", "add to this `file` (made readable by its owner only) instead of printing; it goes on after the file's last line")
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) (err error) {
		params := api.ListAuditEventsParams{Order: "chain", Cursor: *after}
		to := a.cmd.OutOrStdout()
		if *output != "" {
			file, err := os.OpenFile(filepath.Clean(*output), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			if to = file; *after == "" {
				if params.Cursor, err = lastPlace(file); err != nil {
					return err
				}
			}
		}
		n := 0
		for {
			events, next, err := listAuditEvents(ctx, a, params)
			if err != nil {
				return err
			}
			if err := writeLines(to, events); err != nil {
				return err
			}
			if n += len(events); next == "" {
				break
			}
			params.Cursor = next
		}
		if *output != "" {
			a.say("%d events added to %s.", n, *output)
		}
		return nil
	})
}

// lastPlace is the place of the last event in an export; empty: there is none.
func lastPlace(file io.Reader) (string, error) {
	place := ""
	for lines := json.NewDecoder(file); ; {
		var e api.AuditEvent
		switch err := lines.Decode(&e); {
		case errors.Is(err, io.EOF):
			return place, nil
		case err != nil || e.Seal == 0:
			return "", errors.New("the file is not an export of audit events: name another, or move it away")
		}
		place = strconv.FormatInt(e.Seal, 10) + "." + strconv.Itoa(e.Position)
	}
}

func newAuditHeadCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "head",
		Short: "Print the head of the audit chain, to be kept elsewhere",
		Long: `Print the head of the audit chain: one short line. Keep it where nobody can change it
who can change grantd's database, and give it to "grantd audit verify --head" later.

` + exitCodes,
		Args: cobra.NoArgs,
	}
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) error {
		got, err := a.api.GetAuditHeadWithResponse(ctx)
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		_, err = fmt.Fprintln(a.cmd.OutOrStdout(), got.JSON200.Head)
		return err
	})
}

func newAuditVerifyCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that no event was removed, changed, moved or put in",
		Long: `Check the whole audit chain: that no event was removed, changed, moved or put in. The
server does it, with its root key. Only with --head it also shows when the end of the
chain was cut off, or all of it made anew. If anything is wrong the exit code is 1.

` + exitCodes,
		Args: cobra.NoArgs,
	}
	head := cmd.Flags().String("head", "", "a head that \"grantd audit head\" printed, or a `file` that holds one")
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) error {
		var params api.VerifyAuditParams
		if *head != "" {
			text, err := readHead(*head)
			if err != nil {
				return err
			}
			params.Head = text
		}
		sum := api.AuditVerification{Faults: []api.AuditFault{}}
		for {
			got, err := a.api.VerifyAuditWithResponse(ctx, &params)
			if err := a.check(got, err); err != nil {
				return err
			}
			part := got.JSON200
			sum.Seals, sum.Events, sum.Removed, sum.Erased = sum.Seals+part.Seals, sum.Events+part.Events, sum.Removed+part.Removed, sum.Erased+part.Erased
			sum.Unsealed, sum.Head, sum.Faults = part.Unsealed, part.Head, append(sum.Faults, part.Faults...)
			if params.Cursor = part.NextCursor; params.Cursor == "" {
				break
			}
		}
		return a.printVerification(sum)
	})
}

// readHead takes a head, or the name of a file with one: the line or the JSON that
// "audit head" prints.
func readHead(given string) (string, error) {
	if _, err := audit.ParseHead(given); err == nil {
		return given, nil
	}
	raw, err := os.ReadFile(filepath.Clean(given))
	if err != nil {
		return "", wrongUsage("--head %s is neither a head nor a file that can be read", printable(given))
	}
	text := strings.TrimSpace(string(raw))
	var object api.AuditHead
	if json.Unmarshal(raw, &object) == nil && object.Head != "" {
		text = object.Head
	}
	if _, err := audit.ParseHead(text); err != nil {
		return "", wrongUsage("the file %s does not hold what \"grantd audit head\" prints", printable(given))
	}
	return text, nil
}

// printVerification says what was found; it fails if that is not good.
func (a *admin) printVerification(v api.AuditVerification) error {
	if a.json {
		body, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := a.printJSON(body); err != nil {
			return err
		}
	} else {
		var b strings.Builder
		for _, f := range v.Faults {
			fmt.Fprintf(&b, "%s: %s", f.Kind, printable(f.Detail))
			if f.EventID != "" {
				fmt.Fprintf(&b, " (%s)", printable(f.EventID))
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%d events in %d seals checked", v.Events, v.Seals)
		for _, part := range []struct {
			n    int
			text string
		}{
			{v.Removed, "%d more were removed by retention"}, {v.Erased, "%d values were erased"}, {v.Unsealed, "%d events wait for their seal and were not checked"},
		} {
			if part.n > 0 {
				fmt.Fprintf(&b, "; "+part.text, part.n)
			}
		}
		fmt.Fprintf(&b, ".\nhead %s\n", v.Head)
		if _, err := io.WriteString(a.cmd.OutOrStdout(), b.String()); err != nil {
			return err
		}
	}
	if n := len(v.Faults); n > 0 {
		return fmt.Errorf("the audit chain is not whole: %d faults", n)
	}
	a.say("The audit chain is whole.")
	return nil
}

func newAuditAccessCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "access --at TIME",
		Short: "Tell who had which access at a time, and through which rule",
		Long: `Tell who had which access at a time, and through which rule: what people had approved
and not lost again, as the audit events say. Name users, clients and resources that are
deleted since by their ids.

` + exitCodes,
		Example: "  grantd audit access --at 2026-01-31T08:00:00Z --user alice",
		Args:    cobra.NoArgs,
	}
	at := cmd.Flags().String("at", "", "the time (2026-01-31, or 2026-01-31T08:00:00Z), or how long ago it is (36h, 7d)")
	addGrantFilters(environ, cmd)
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) error {
		if *at == "" {
			return wrongUsage("which time? give --at, as --at 2026-01-31T08:00:00Z")
		}
		when, err := timeFlag("--at", *at, time.Now())
		if err != nil {
			return err
		}
		filter, _, err := grantFilterBy(ctx, a, pastIDOf[api.User], pastIDOf[api.Client], pastIDOf[api.Resource])
		if err != nil {
			return err
		}
		params := api.ListAuditAccessParams{At: when, UserID: filter.UserID, ClientID: filter.ClientID, ResourceID: filter.ResourceID}
		complete := true
		items, err := all(0, func(cursor string) ([]api.AuditAccess, string, error) {
			params.Cursor, params.Limit = cursor, page(pageSize)
			got, err := a.api.ListAuditAccessWithResponse(ctx, &params)
			if err := a.check(got, err); err != nil {
				return nil, "", err
			}
			complete = got.JSON200.Complete
			return got.JSON200.Items, got.JSON200.NextCursor, nil
		})
		if err != nil {
			return err
		}
		if !complete {
			a.say("Older events were removed by retention: what was approved before them is not in this list.")
		}
		return printAccess(a, items)
	})
}

func printAccess(a *admin, items []api.AuditAccess) error {
	known := func(name, id string) string {
		if name == "" {
			return id
		}
		return name
	}
	return printList(a, items, []column[api.AuditAccess]{
		{"USER", func(x api.AuditAccess) string { return known(x.Username, x.UserID) }, short},
		{"CLIENT", func(x api.AuditAccess) string { return known(x.ClientName, x.ClientID) }, short},
		{"RESOURCE", func(x api.AuditAccess) string { return known(x.ResourceURI, x.ResourceID) }, short},
		{"SCOPES", func(x api.AuditAccess) string { return strings.Join(x.Scopes, " ") }, short},
		{"RULE", func(x api.AuditAccess) string { return strings.Join(x.Policies, ", ") }, short},
		{"APPROVED", func(x api.AuditAccess) string { return minute(x.ApprovedAt) }, short},
		{"EVENT", func(x api.AuditAccess) string { return x.EventID }, whole},
	}, "Nobody had such access then.")
}
