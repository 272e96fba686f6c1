package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/migrations"
	"grantd/server/restore"
	"grantd/storage"
)

func newRestoredCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restored",
		Short: "After a backup was put back: end what was ended since",
		Long: `After a backup was put back, and before the server starts: take away again what was taken
away since the backup, so that nothing revoked comes back.

With --events it reads the audit events of the lost time, as "grantd audit export" wrote
them, and does again what they say was disabled, revoked, deleted or signed out. It gives
nobody anything: whoever was enabled since stays disabled, and whoever changed their
password needs a new one. What it cannot do itself it lists.

Without --events nobody knows what was taken away. It ends every session, every code and
every refresh token, withdraws the signing keys and has every approval asked anew. Who was
disabled or deleted since the backup is there again: look through them.

Stop every server first.`,
		Args: cobra.NoArgs,
	}
	addSettings(cmd.Flags(), "database-url")
	events := cmd.Flags().String("events", "", "the exported audit events, as a `file` of JSON lines; those of before the backup may be in it")
	cmd.RunE = migrateCommand(environ, func(ctx context.Context, database Database) (string, error) {
		state, err := migrations.Status(ctx, database.URL.Reveal())
		switch {
		case err != nil:
			return "", err
		case state.Pending > 0 || state.Dirty:
			return "", fmt.Errorf(`the schema of the backup is at version %d and grantd needs %d: run "grantd migrate up" first`, state.Version, state.Latest)
		}
		store, err := database.open(ctx)
		if err != nil {
			return "", err
		}
		report, err := restored(ctx, store, *events)
		return sayRestored(database, report, *events), errors.Join(err, store.Close())
	})
	return cmd
}

func restored(ctx context.Context, store storage.Store, events string) (*restore.Report, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if events == "" {
		return restore.All(ctx, store, now)
	}
	file, err := os.Open(filepath.Clean(events))
	if err != nil {
		return nil, err
	}
	lines := json.NewDecoder(file)
	report, err := restore.Events(ctx, store, now, func() (*storage.AuditEvent, error) {
		var e api.AuditEvent
		switch err := lines.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil || e.ID == "" || e.Action == "" || e.At.IsZero():
			return nil, fmt.Errorf("%s is not an export of audit events; nothing after its byte %d was replayed", events, lines.InputOffset())
		}
		return &storage.AuditEvent{ID: e.ID, At: e.At, Actor: e.Actor, Action: e.Action, Target: e.Target, Detail: e.Detail}, nil
	})
	return report, errors.Join(err, file.Close())
}

// sayRestored tells what was done, and what is left to do.
func sayRestored(database Database, r *restore.Report, events string) string {
	if r == nil {
		return ""
	}
	lines := []string{fmt.Sprintf("%s: ended %s", database, countEnded(r.Ended))}
	if events == "" {
		return strings.Join(append(lines, "who was disabled or deleted, and what secrets were withdrawn since the backup, is not known: look through users and clients"), "\n")
	}
	lines = append(lines, fmt.Sprintf("replayed %d acts of the lost time", r.Replayed))
	for _, action := range slices.Sorted(maps.Keys(r.Done)) {
		lines = append(lines, fmt.Sprintf("  %d  %s", r.Done[action], action))
	}
	if !r.Last.IsZero() {
		lines = append(lines, "the events go on until "+r.Last.UTC().Format(time.RFC3339)+"; what was taken away later is not known")
	}
	if len(r.ByHand) > 0 {
		lines = append(lines, "to look at and do again by hand:")
		for _, line := range r.ByHand {
			lines = append(lines, "  "+printable(line))
		}
	}
	return strings.Join(lines, "\n")
}

func countEnded(e storage.Ended) string {
	return fmt.Sprintf("%d sessions, %d refresh tokens, %d codes, %d pushed requests, %d device authorizations, %d links to set a password, %d signing keys, %d admin keys, %d recovery codes; %d approvals will be asked anew",
		e.Sessions, e.Families, e.Codes, e.PushedRequests, e.DeviceAuthorizations, e.UserLinks, e.SigningKeys, e.AdminKeys, e.RecoveryCodes, e.Approvals)
}
