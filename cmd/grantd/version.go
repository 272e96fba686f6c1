package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "grantd", version())
			return err
		},
	}
}

// version tells the module's version, the commit and the Go release, as far as
// the build recorded them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of an unknown build"
	}
	recorded := make(map[string]string)
	for _, s := range info.Settings {
		recorded[s.Key] = s.Value
	}
	details := []string{info.GoVersion}
	if commit := recorded["vcs.revision"]; commit != "" {
		if recorded["vcs.modified"] == "true" {
			commit += " with changes"
		}
		details = append(details, "commit "+commit)
	}
	if date := recorded["vcs.time"]; date != "" {
		details = append(details, date)
	}
	return info.Main.Version + " (" + strings.Join(details, ", ") + ")"
}
