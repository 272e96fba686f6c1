package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newConfigCommand(environ []string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show every setting, where it came from, and what is wrong with it",
		Long: `Show every setting as "grantd serve" would see it with the same flags, environment
and file. Secrets are not shown. Nothing is started or made. The exit code is 2
when serve would refuse to start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := loadSettings(cmd.Flags(), environ)
			config, faults := s.Config()
			shown := s.show(config)
			if asJSON {
				out := json.NewEncoder(cmd.OutOrStdout())
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				if err := out.Encode(map[string]any{"settings": shown, "faults": append(Faults{}, s.faults...)}); err != nil {
					return err
				}
				return faults
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
			for _, line := range shown {
				_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", line.Setting, strings.Join(line.Value, ", "), line.From)
			}
			if err := table.Flush(); err != nil {
				return err
			}
			return faults
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "JSON for machines")
	addSettings(cmd.Flags())
	return cmd
}

// shownSetting is one setting in the output of grantd config.
type shownSetting struct {
	Setting string   `json:"setting"`
	Value   []string `json:"value"` // one, several for a list, or none
	From    string   `json:"from"`
}

// show lists the settings in the order of the table, with secrets redacted and
// with what follows from other settings filled in.
func (s *Settings) show(c Config) []shownSetting {
	var all []shownSetting
	for _, def := range settings {
		v := s.values[def.name]
		line := shownSetting{Setting: def.name, Value: []string{}, From: v.from.String()}
		for _, text := range v.given {
			line.Value = append(line.Value, showable(def, text))
		}
		switch {
		case def.name == "migrate" && s.isDefault(def.name):
			raw, _ := s.get("database-url")
			line.Value = []string{"off"}
			if database, _ := parseDatabase(raw); database.Path != "" {
				line.Value = []string{"on"}
			}
		case v.from.kind == "key file" && len(v.given) == 0:
			line.From += ", made at the first start"
		case def.name == "admin-url" && s.isDefault(def.name):
			line.From += ", as admin-listen says"
		case def.name == "admin-listen" && c.Issuer.String() != "" && c.AdminListen == "":
			line.From += "; not used, there is no admin-key"
		}
		all = append(all, line)
	}
	return all
}

// showable is what may be seen of a setting.
func showable(def setting, text string) string {
	switch {
	case def.name == "database-url":
		return showDatabaseURL(text)
	case def.secret:
		return redacted
	}
	return text
}
