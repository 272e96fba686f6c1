package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
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
)

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
		case flagField:
			flags.Bool(f.flag, false, f.usage)
		default:
			flags.StringArray(f.flag, nil, f.usage+" (may be given several times)")
		}
		if f.kind == scopesField {
			flags.StringArray("tool", nil, "`SCOPE=TOOL`: an MCP tool that a --scope unlocks (may be given several times)")
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
		case flagField:
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
	if flags.Changed("tool") && !flags.Changed("scope") {
		return nil, wrongUsage("--tool belongs to a --scope, and there is none")
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

// scopes reads --scope NAME=SENTENCE with the --tool SCOPE=TOOL of each.
func (a *admin) scopes(flag string) ([]api.Scope, error) {
	given, err := a.list(flag)
	if err != nil {
		return nil, err
	}
	tools, err := a.cmd.Flags().GetStringArray("tool")
	if err != nil {
		return nil, err
	}
	scopes := make([]api.Scope, len(given))
	for i, text := range given {
		scopes[i].Name, scopes[i].Description, _ = strings.Cut(text, "=")
	}
	for _, text := range tools {
		name, names, ok := strings.Cut(text, "=")
		if !ok {
			return nil, wrongUsage("--tool %s: write SCOPE=TOOL, as notes:read=list_notes", text)
		}
		found := false
		for i := range scopes {
			if scopes[i].Name == name {
				scopes[i].Tools, found = append(scopes[i].Tools, strings.Split(names, ",")...), true
			}
		}
		if !found {
			return nil, wrongUsage("--tool %s: there is no --scope %s", text, name)
		}
	}
	return scopes, nil
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
