package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"grantd/migrations"
)

func newMigrateCommand(environ []string) *cobra.Command {
	up := &cobra.Command{
		Use:   "up",
		Short: "Bring the schema up to date",
		Args:  cobra.NoArgs,
	}
	up.RunE = migrateCommand(environ, func(ctx context.Context, database Database) (string, error) {
		if err := migrations.Up(ctx, database.URL.Reveal()); err != nil {
			return "", err
		}
		return schemaStatus(ctx, database)
	})

	var steps int
	down := &cobra.Command{
		Use:   "down",
		Short: "Take the newest migrations back; what only they could store is lost",
		Args:  cobra.NoArgs,
	}
	down.Flags().IntVar(&steps, "steps", 1, "how many migrations to take back")
	down.RunE = migrateCommand(environ, func(ctx context.Context, database Database) (string, error) {
		if steps < 1 {
			return "", Faults{{Where: "--steps", Problem: fmt.Sprintf("is %d", steps), Mend: "give 1 or more"}}
		}
		if err := migrations.Down(ctx, database.URL.Reveal(), steps); err != nil {
			return "", err
		}
		return schemaStatus(ctx, database)
	})

	status := &cobra.Command{
		Use:   "status",
		Short: "Tell the schema's version",
		Args:  cobra.NoArgs,
	}
	status.RunE = migrateCommand(environ, schemaStatus)

	for _, cmd := range []*cobra.Command{up, down, status} {
		addSettings(cmd.Flags(), "database-url")
	}
	return group(&cobra.Command{Use: "migrate", Short: "Manage the database schema"}, up, down, status, newRestoredCommand(environ))
}

// migrateCommand runs act on the configured database and prints what it says.
func migrateCommand(environ []string, act func(context.Context, Database) (string, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		s := loadSettings(cmd.Flags(), environ)
		database := s.database()
		if len(s.faults) > 0 {
			return s.faults
		}
		said, err := act(cmd.Context(), database)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	}
}

// schemaStatus tells the version in one line. A schema that is too new is a
// status to tell, not a failure to tell it.
func schemaStatus(ctx context.Context, database Database) (string, error) {
	state, err := migrations.Status(ctx, database.URL.Reveal())
	if err != nil && !errors.Is(err, migrations.ErrNewerSchema) {
		return "", err
	}
	said := fmt.Sprintf("%s: schema version %d, newest known %d", database, state.Version, state.Latest)
	switch {
	case err != nil:
		said += ": the schema is newer than this program, which must not serve it"
	case state.Dirty:
		said += ": a migration was interrupted; restore the database from a backup, or make the schema whole"
	case state.Pending > 0:
		said += fmt.Sprintf(`, %d to apply with "grantd migrate up"`, state.Pending)
	default:
		said += ", up to date"
	}
	return said, nil
}

// prepareSchema brings the schema up to date when the settings say so, and
// otherwise refuses one that is not.
func prepareSchema(ctx context.Context, c Config) error {
	if c.Migrate {
		return migrations.Up(ctx, c.Database.URL.Reveal())
	}
	state, err := migrations.Status(ctx, c.Database.URL.Reveal())
	switch {
	case err != nil:
		return err
	case state.Dirty:
		return fmt.Errorf(`%w at version %d; "grantd migrate up" tells more`, migrations.ErrDirty, state.Version)
	case state.Pending > 0:
		return fmt.Errorf(`the database schema is at version %d and grantd needs %d: run "grantd migrate up" with the same settings, or start with --migrate`, state.Version, state.Latest)
	}
	return nil
}
