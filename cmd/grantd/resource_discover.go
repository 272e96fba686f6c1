package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/cmd/grantd/internal/discover"
	"grantd/storage"
)

// addDiscoverFlags gives resource add the flags for reading the server first.
func addDiscoverFlags(cmd *cobra.Command) {
	cmd.Long = "Add a resource.\n\n" +
		"Without --name and --file (or with --discover) the MCP server itself is read first, from\n" +
		"this machine: its 401, its metadata and, where it shows them to everybody, its tools. What\n" +
		"it would be added as is shown, and you are asked; other flags win over what it says. Then\n" +
		"comes what its owner has to set."
	addYes(cmd)
	cmd.Flags().Bool("discover", false, "read the MCP server even if --name or --file is given")
	addTimeout(cmd)
	addIntrospection(cmd)
}

func addTimeout(cmd *cobra.Command) {
	cmd.Flags().Duration("timeout", discover.DefaultTimeout, "how long the MCP server is given for its answers")
}

// discovers reports whether resource add is to read the server.
func (a *admin) discovers() bool {
	flags := a.cmd.Flags()
	asked, _ := flags.GetBool("discover")
	return asked || !flags.Changed("name") && !flags.Changed(fileFlag)
}

// inspection is what was found at a URL, and what grantd makes of it.
type inspection struct {
	Server   *discover.Server   `json:"server"`
	Proposal api.ResourceFields `json:"proposal"`
}

// inspect reads the MCP server at a URL that was typed.
func (a *admin) inspect(ctx context.Context, typed string) (*inspection, error) {
	uri, err := storage.CanonicalResourceURI(typed)
	if err != nil {
		return nil, wrongUsage("the URL %w", err)
	}
	issuer, err := a.issuer(ctx)
	if err != nil {
		return nil, err
	}
	timeout, err := a.cmd.Flags().GetDuration("timeout")
	if err != nil {
		return nil, err
	}
	found, err := discover.Read(ctx, uri, timeout)
	if err != nil {
		return nil, fmt.Errorf("%s %w", uri, err)
	}
	if named := found.AuthorizationServers; len(named) > 0 && !slices.Contains(named, issuer) {
		found.Notes = append(found.Notes, fmt.Sprintf("its metadata sends clients to %s for tokens, not to this grantd (%s), until its owner changes that", strings.Join(named, ", "), issuer))
	}
	there, err := resources.byName(ctx, a, found.URI)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		found.Notes = append(found.Notes, "it is registered here already, as "+there[0].ID)
	}
	proposal := found.Propose()
	return &inspection{Server: found, Proposal: proposal}, nil
}

// issuer is what the server calls itself.
func (a *admin) issuer(ctx context.Context) (string, error) {
	got, err := a.api.GetServerWithResponse(ctx)
	if err := a.check(got, err); err != nil {
		return "", err
	}
	return got.JSON200.Issuer, nil
}

// access says in words what a server does without a token.
var access = map[discover.Access]string{
	discover.AccessOpen:      "open: it lists its tools to anybody without a token. It has no authorization yet,\nor only for calling them; being added here does not protect it",
	discover.AccessTools:     "it introduces itself to anybody, and wants a token for its tools",
	discover.AccessProtected: "protected: it wants a token for everything",
}

// lines shows an inspection to people.
func (i *inspection) lines() []property {
	s := i.Server
	metadata := s.MetadataURL
	if metadata == "" {
		metadata = "none: clients do not find out where to get tokens"
	}
	var notes []string
	for _, note := range s.Notes {
		notes = append(notes, "- "+note)
	}
	return []property{
		{"uri", i.Proposal.URI},
		{"name", i.Proposal.Name},
		{"access", access[s.Access]},
		{"metadata", metadata},
		{"authorization servers", strings.Join(s.AuthorizationServers, "\n")},
		{"scopes", proposedScopes(i.Proposal.Scopes)},
		{"notes", strings.Join(notes, "\n")},
	}
}

// proposedScopes are lines of scopes with their risk.
func proposedScopes(scopes []api.Scope) string {
	lines := make([]string, len(scopes))
	for i, s := range scopes {
		lines[i] = strings.TrimSpace(s.Name + "  " + s.Risk + "  " + s.Description)
		if len(s.Tools) > 0 {
			lines[i] += "  (" + strings.Join(s.Tools, ", ") + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// discoverResource completes the body of resource add by what the MCP server
// says, once a person agrees.
func discoverResource(ctx context.Context, a *admin, body map[string]any) error {
	if !a.discovers() {
		return nil
	}
	typed, _ := body["uri"].(string)
	found, err := a.inspect(ctx, typed)
	var e *discover.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%w\n      \"grantd resource add --name NAME --scope ...\" adds it without reading it", err)
	} else if err != nil {
		return err
	}
	proposed, err := asObject(found.Proposal)
	if err != nil {
		return err
	}
	given := maps.Clone(body)
	delete(given, "uri") // the canonical one is the proposal's
	maps.Copy(proposed, given)
	encoded, err := json.Marshal(proposed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(encoded, &found.Proposal); err != nil {
		return wrongUsage("--file has a field of the wrong type")
	}
	if !a.json {
		if err := writeProperties(a.cmd.ErrOrStderr(), found.lines()); err != nil {
			return err
		}
	}
	if err := a.confirm("\nAdd this resource?"); err != nil {
		return err
	}
	maps.Copy(body, proposed)
	return nil
}

func newResourceInspectCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect URL", Short: "Read an MCP server, and show what it would be added as",
		Long: "Read an MCP server from this machine, and show what \"grantd resource add URL\" would add it as.\n" +
			"Nothing is changed. \"--json\" has the fields of resource add under \"proposal\".",
		Args: argument(1, "one URL, that of the MCP server as clients know it"),
	}
	addTimeout(cmd)
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error {
		found, err := a.inspect(ctx, args[0])
		if err != nil {
			return err
		}
		if !a.json {
			return writeProperties(a.cmd.OutOrStdout(), found.lines())
		}
		encoded, err := json.Marshal(found)
		if err != nil {
			return err
		}
		return a.printJSON(encoded)
	})
}
