package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/cmd/grantd/internal/setup"
	"grantd/storage"
)

func addIntrospection(cmd *cobra.Command) {
	cmd.Flags().Bool("introspection", false, "make a client that may introspect its tokens, and show its secret once")
}

// introspector is the client by which an MCP server asks about tokens. Its secret
// is there only when it was made just now.
type introspector struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
}

// handover is what the owner of an MCP server has to set, for machines.
type handover struct {
	MetadataURL     string            `json:"metadata_url"`
	Metadata        setup.Metadata    `json:"metadata"`
	WWWAuthenticate string            `json:"www_authenticate"`
	Introspection   *introspector     `json:"introspection,omitempty"`
	Verifiers       map[string]string `json:"verifiers"`
}

func newResourceSetupCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "setup", Short: "Print what the owner of the MCP server has to set",
		Long: "Print what the owner of the MCP server has to set: its metadata, the header of its 401,\n" +
			"and code that verifies tokens.",
		Example: `  grantd resource setup https://mcp.example.com/mcp --introspection
  grantd resource setup https://mcp.example.com/mcp --verifier go > verifier.go`,
	}
	addIntrospection(cmd)
	cmd.Flags().String("verifier", "", "print only the code, in this `language`: "+strings.Join(setup.Languages, ", "))
	return resources.one(environ, cmd, func(ctx context.Context, a *admin, r *api.Resource, _ string) error {
		language, err := cmd.Flags().GetString("verifier")
		if err != nil {
			return err
		}
		if language != "" && !slices.Contains(setup.Languages, language) {
			return wrongUsage("--verifier must be one of: %s", strings.Join(setup.Languages, ", "))
		}
		made, err := a.introspector(ctx, r)
		if err != nil {
			return err
		}
		issuer, err := a.issuer(ctx)
		if err != nil {
			return err
		}
		needs := owner(r, issuer, made)
		if language == "" {
			return a.printSetup(needs, made, nil)
		}
		code, err := needs.Verifier(language)
		if err != nil {
			return err
		}
		if made != nil && made.ClientSecret != "" {
			a.say("client_id      %s\nclient_secret  %s\n\nThe secret is shown this once: keep it now.", made.ClientID, made.ClientSecret)
		}
		_, err = fmt.Fprint(a.cmd.OutOrStdout(), code)
		return err
	})
}

// owner is what the owner of r needs to know.
func owner(r *api.Resource, issuer string, client *introspector) setup.Resource {
	needs := setup.Resource{Issuer: issuer, URI: r.URI, Name: r.Name}
	for _, scope := range r.Scopes {
		needs.Scopes = append(needs.Scopes, scope.Name)
		// Little at first: a client can ask for more when a tool needs it.
		if needs.FirstScope == "" && scope.Risk == string(storage.RiskRead) {
			needs.FirstScope = scope.Name
		}
	}
	if client != nil {
		needs.ClientID = client.ClientID
	}
	return needs
}

// introspector is r's client for introspection, nil when there is none. With
// --introspection it is made.
func (a *admin) introspector(ctx context.Context, r *api.Resource) (*introspector, error) {
	if wanted, _ := a.cmd.Flags().GetBool("introspection"); !wanted {
		if len(r.IntrospectionClients) == 0 {
			return nil, nil
		}
		return &introspector{ClientID: r.IntrospectionClients[0]}, nil
	}
	client, err := clients.created(ctx, a, uuid.NewString(), map[string]any{
		"client_name": limited("Introspection for "+r.Name, storage.MaxText),
		"grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": storage.AuthMethodClientSecretBasic,
	})
	if err != nil {
		return nil, err
	}
	made := &introspector{ClientID: client.ClientID, ClientSecret: client.ClientSecret}
	if made.ClientSecret == "" { // the answer that had it was lost on the way
		got, err := a.api.CreateClientSecretWithResponse(ctx, client.ID, &api.CreateClientSecretParams{IdempotencyKey: uuid.NewString()},
			api.ClientSecretFields{})
		if err := a.check(got, err); err != nil {
			return nil, err
		}
		made.ClientSecret = got.JSON201.ClientSecret
	}
	now, etag, err := resources.resolve(ctx, a, r.ID)
	if err == nil {
		*r, err = resources.patch(ctx, a, now, etag, map[string]any{
			"introspection_clients": append([]string{made.ClientID}, now.IntrospectionClients...),
		})
	}
	if err != nil {
		return nil, fmt.Errorf("the client %s was made, but the resource does not name it: %w", made.ClientID, err)
	}
	return made, nil
}

func limited(text string, characters int) string {
	if runes := []rune(text); len(runes) > characters {
		return strings.TrimSpace(string(runes[:characters]))
	}
	return text
}

// reportResource shows the resource that add made and, where the server was read
// or introspection is wanted, what its owner has to set.
func reportResource(ctx context.Context, a *admin, r api.Resource) error {
	wanted, _ := a.cmd.Flags().GetBool("introspection")
	if !a.discovers() && !wanted {
		if err := resources.print(a, r); err != nil {
			return err
		}
		if len(r.Scopes) == 0 {
			a.say("\nNobody can be granted anything here until it has a scope:\n"+
				"grantd resource set %s --scope \"notes:read=Read your notes\"", r.URI)
		}
		a.say("\nWhat the owner of the MCP server has to set: grantd resource setup %s", r.URI)
		return nil
	}
	made, err := a.introspector(ctx, &r)
	if err != nil {
		return err
	}
	issuer, err := a.issuer(ctx)
	if err != nil {
		return err
	}
	if !a.json {
		if err := resources.print(a, r); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(a.cmd.OutOrStdout())
	}
	return a.printSetup(owner(&r, issuer, made), made, &r)
}

// printSetup prints everything the owner has to set. For machines it is an object
// of its own, or with a resource that one's "setup".
func (a *admin) printSetup(needs setup.Resource, client *introspector, r *api.Resource) error {
	verifiers := map[string]string{}
	for _, language := range setup.Languages {
		code, err := needs.Verifier(language)
		if err != nil {
			return err
		}
		verifiers[language] = code
	}
	if a.json {
		var value any = handover{needs.MetadataURL(), needs.Metadata(), needs.Challenge(), client, verifiers}
		if r != nil {
			object, err := asObject(r)
			if err != nil {
				return err
			}
			object["setup"], value = value, object
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return a.printJSON(encoded)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "What the owner of %s has to set\n\n", needs.URI)
	fmt.Fprintf(&b, "1. Serve this as application/json, to anybody, at\n   %s\n\n%s\n\n", needs.MetadataURL(), needs.MetadataJSON())
	fmt.Fprintf(&b, "2. Answer every request without a good token with 401 and this header:\n\nWWW-Authenticate: %s\n\n", needs.Challenge())
	switch {
	case client == nil:
		fmt.Fprintf(&b, "3. Introspection: none. A revoked token is taken until it expires.\n"+
			"   grantd resource setup %s --introspection makes a client for it.\n\n", needs.URI)
	case client.ClientSecret == "":
		fmt.Fprintf(&b, "3. Introspection, to learn of revoked tokens at once: POST to %s/introspect\n   as client %s, whose secret was shown when it was made.\n\n", needs.Issuer, client.ClientID)
	default:
		fmt.Fprintf(&b, "3. Introspection, to learn of revoked tokens at once: POST to %s/introspect as\n\nclient_id      %s\nclient_secret  %s\n\n"+
			"   The secret is shown this once: keep it now.\n\n", needs.Issuer, client.ClientID, client.ClientSecret)
	}
	b.WriteString("4. Verify tokens, by one of these (--verifier LANGUAGE prints one alone).\n")
	for _, language := range setup.Languages {
		fmt.Fprintf(&b, "\n-------- %s --------\n%s", language, verifiers[language])
	}
	_, err := fmt.Fprint(a.cmd.OutOrStdout(), b.String())
	return err
}
