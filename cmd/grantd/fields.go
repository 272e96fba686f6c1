package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
)

// field is one field of a noun that a person may set, as a flag. Its name is the
// API's, so that a message about the one is understood as the other.
type field struct {
	flag, name string
	kind       fieldKind
	usage      string
}

type fieldKind int

const (
	textField   fieldKind = iota
	numberField           // a whole number
	flagField             // yes, or with =false no
	wordsField            // given several times, sent as one text with spaces between
	listField             // given several times
	scopesField           // NAME=SENTENCE, given several times
	boolField             // true when given, or =false
)

// managedBy is the field of all nouns that "grantd apply" keeps.
var managedBy = field{"managed-by", "managed_by", textField, "the set of files that keeps it (see \"grantd apply --help\"); \"\" sets it free"}

const fileFlag = "file"

// addFields gives a command a flag for each field, and --file for all the rest.
func addFields(cmd *cobra.Command, fields []field) {
	flags := cmd.Flags()
	for _, f := range fields {
		switch f.kind {
		case textField:
			flags.String(f.flag, "", f.usage)
		case numberField:
			flags.Int(f.flag, 0, f.usage)
		case boolField:
			flags.Bool(f.flag, false, f.usage)
		default:
			flags.StringArray(f.flag, nil, f.usage+" (may be given several times)")
		}
		if f.kind == scopesField {
			flags.StringArray("tool", nil, "`SCOPE=TOOL`: an MCP tool that a --scope unlocks (may be given several times)")
			flags.StringArray("risk", nil, "`SCOPE=RISK`: read, write (the default) or destructive, of a --scope (may be given several times)")
		}
	}
	flags.StringP(fileFlag, "f", "", "JSON `file` with any fields of the API; - is standard input; flags win over it")
}

// body puts what was typed together to the JSON of a request: the fields of
// --file, and over them those of the flags that were given. For a change an empty
// value is null, which is the default.
func (a *admin) body(change bool) (map[string]any, error) {
	body, err := a.bodyFile()
	if err != nil {
		return nil, err
	}
	flags := a.cmd.Flags()
	for _, f := range a.fields {
		if !flags.Changed(f.flag) {
			continue
		}
		var value any
		switch f.kind {
		case textField:
			value, err = flags.GetString(f.flag)
		case numberField:
			value, err = flags.GetInt(f.flag)
		case boolField:
			value, err = flags.GetBool(f.flag)
		case wordsField:
			var words []string
			words, err = flags.GetStringArray(f.flag)
			value = strings.Join(words, " ")
		case listField:
			value, err = a.list(f.flag)
		case scopesField:
			value, err = a.scopes(f.flag)
		}
		if err != nil {
			return nil, err
		}
		if change && value == "" {
			value = nil
		}
		body[f.name] = value
	}
	for _, flag := range []string{"tool", "risk"} {
		if flags.Changed(flag) && !flags.Changed("scope") {
			return nil, wrongUsage("--%s belongs to a --scope, and there is none", flag)
		}
	}
	return body, nil
}

func (a *admin) bodyFile() (map[string]any, error) {
	name, err := a.cmd.Flags().GetString(fileFlag)
	body := map[string]any{}
	if err != nil || name == "" {
		return body, err
	}
	var text []byte
	if name == "-" {
		text, err = io.ReadAll(a.cmd.InOrStdin())
	} else {
		text, err = os.ReadFile(name) //nolint:gosec // the operator names the file
	}
	if err != nil {
		return nil, wrongUsage("--file cannot be read: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil || decoder.More() || body == nil {
		return nil, wrongUsage("--file does not hold one JSON object")
	}
	return body, nil
}

// list is what was given for a list. One empty value is the empty list.
func (a *admin) list(flag string) ([]string, error) {
	values, err := a.cmd.Flags().GetStringArray(flag)
	if len(values) == 1 && values[0] == "" {
		return []string{}, err
	}
	return values, err
}

// scopes reads --scope NAME=SENTENCE with the --tool SCOPE=TOOL and the --risk
// SCOPE=RISK of each.
func (a *admin) scopes(flag string) ([]api.Scope, error) {
	given, err := a.list(flag)
	if err != nil {
		return nil, err
	}
	scopes := make([]api.Scope, len(given))
	for i, text := range given {
		scopes[i].Name, scopes[i].Description, _ = strings.Cut(text, "=")
	}
	err = a.ofScopes(scopes, "tool", "notes:read=list_notes", func(s *api.Scope, names string) {
		s.Tools = append(s.Tools, strings.Split(names, ",")...)
	})
	if err != nil {
		return nil, err
	}
	return scopes, a.ofScopes(scopes, "risk", "notes:delete=destructive", func(s *api.Scope, risk string) { s.Risk = risk })
}

// ofScopes reads a flag that says SCOPE=VALUE, as in the example.
func (a *admin) ofScopes(scopes []api.Scope, flag, example string, set func(s *api.Scope, value string)) error {
	given, err := a.cmd.Flags().GetStringArray(flag)
	if err != nil {
		return err
	}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return wrongUsage("--%s %s: write SCOPE=%s, as %s", flag, text, strings.ToUpper(flag), example)
		}
		i := slices.IndexFunc(scopes, func(s api.Scope) bool { return s.Name == name })
		if i < 0 {
			return wrongUsage("--%s %s: there is no --scope %s", flag, text, name)
		}
		set(&scopes[i], value)
	}
	return nil
}

// encode is body as a request has it.
func encode(body map[string]any) (io.Reader, error) {
	text, err := json.Marshal(body)
	return bytes.NewReader(text), err
}

// errNothing: a change without anything to change.
var errNothing = &exitError{exitUsage, errors.New("there is nothing to change; --help lists what can be set")}

func argument(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%q takes %s\nmend: %q lists what it takes", cmd.CommandPath(), what, cmd.CommandPath()+" --help")
		}
		return nil
	}
}
