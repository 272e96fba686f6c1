package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"grantd/storage/sqlite"
)

func newBackupCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the SQLite database to a new file, also while the server runs",
		Long: `Copy the SQLite database to a new file, as it is at one moment; the server may be
running. The file is made readable by its owner only, checked, and never overwrites
another. The root key is not in it: keep a copy of that too, somewhere else.

With Postgres use pg_dump. After putting a backup back, run "grantd migrate restored"
before the server starts.`,
		Args: argument(1, "the name of a new file"),
	}
	addSettings(cmd.Flags(), "database-url")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s := loadSettings(cmd.Flags(), environ)
		database := s.database()
		if len(s.faults) > 0 {
			return s.faults
		}
		if database.Path == "" {
			return wrongUsage("the database is Postgres, which has its own tool\nmend: pg_dump --format=custom --file=%s \"$DATABASE_URL\"", printable(args[0]))
		}
		switch err := sqlite.Backup(cmd.Context(), database.Path, args[0]); {
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("%s is there already, and a backup overwrites nothing", printable(args[0]))
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w\nmend: is %s the database? (--database-url)", err, database.Path)
		case err != nil:
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is backed up to %s; keep the root key too, it is not in there\n", database, printable(args[0]))
		return err
	}
	return cmd
}
