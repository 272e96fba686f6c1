package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

var policies = &noun[api.Policy]{
	name: "policy", plural: "policies", reference: "id or name", prefix: storage.PrefixPolicy, keepsGrants: true,
	adds: &field{flag: "name", name: "name", usage: "name, which people see when it lets them approve"},
	fields: []field{
		{"group", "groups", listField, "a `group` whose members it is for (default: everybody)"},
		{"resource", "resources", listField, "`URI` of a resource it is for (default: all)"},
		{"scope", "scopes", listField, "a `scope` it allows (default: all that are not destructive)"},
		{"client", "clients", listField, "`client_id` of a client it is for (default: all)"},
		{"trust", "trust", listField, "`registered, trusted or unverified`: how far the client must be known (default: any)"},
		{"skip-consent", "skip_consent", boolField, "approve in advance: nobody is shown a page (needs --client and --resource)"},
		managedBy,
	},
	example: `  grantd policy add "Staff read the notes" --group staff \
    --resource https://mcp.example.com/mcp --scope notes:read --trust registered --trust trusted`,
	columns: []column[api.Policy]{
		{"NAME", func(p api.Policy) string { return p.Name }, whole},
		{"GROUPS", func(p api.Policy) string { return orAll(p.Groups, "everybody") }, short},
		{"RESOURCES", func(p api.Policy) string { return orAll(p.Resources, "all") }, short},
		{"SCOPES", func(p api.Policy) string { return orAll(p.Scopes, "all but destructive") }, short},
		{"CLIENTS", func(p api.Policy) string { return orAll(append(append([]string{}, p.Clients...), p.Trust...), "all") }, short},
		{"ASKS", func(p api.Policy) string { return yes(!p.SkipConsent) }, short},
		{"ID", func(p api.Policy) string { return p.ID }, short},
	},
	list: func(ctx context.Context, a *admin, cursor string) ([]api.Policy, string, error) {
		return listPolicies(ctx, a, api.ListPoliciesParams{Cursor: cursor})
	},
	byName: func(ctx context.Context, a *admin, name string) ([]api.Policy, error) {
		found, _, err := listPolicies(ctx, a, api.ListPoliciesParams{Name: name})
		return found, err
	},
	get: func(ctx context.Context, a *admin, id string) (*api.Policy, string, answer, error) {
		got, err := a.api.GetPolicyWithResponse(ctx, id)
		if err != nil || got.JSON200 == nil {
			return nil, "", got, err
		}
		return got.JSON200, got.Headers200.ETag, got, nil
	},
	create: func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error) {
		return a.api.CreatePolicyWithBodyWithResponse(ctx, &api.CreatePolicyParams{IdempotencyKey: key}, "application/json", body)
	},
	update: func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error) {
		return a.api.UpdatePolicyWithBodyWithResponse(ctx, id, &api.UpdatePolicyParams{IfMatch: etag}, "application/merge-patch+json", body)
	},
	remove: func(ctx context.Context, a *admin, id, etag string) (answer, error) {
		return a.api.DeletePolicyWithResponse(ctx, id, &api.DeletePolicyParams{IfMatch: etag})
	},
	id:     func(p api.Policy) string { return p.ID },
	called: func(p api.Policy) string { return p.Name },
	title:  func(api.Policy) string { return "" },
	show: func(p api.Policy) []property {
		return []property{
			{"id", p.ID},
			{"name", p.Name},
			{"groups", orAll(p.Groups, "everybody")},
			{"resources", orAll(p.Resources, "all")},
			{"scopes", orAll(p.Scopes, "all but destructive")},
			{"clients", orAll(p.Clients, "all")},
			{"trust", orAll(p.Trust, "any")},
			{"skip_consent", yes(p.SkipConsent)},
			{"managed_by", p.ManagedBy},
			{"created_at", second(&p.CreatedAt)},
			{"updated_at", second(&p.UpdatedAt)},
		}
	},
}

func listPolicies(ctx context.Context, a *admin, params api.ListPoliciesParams) ([]api.Policy, string, error) {
	params.Limit = page(pageSize)
	got, err := a.api.ListPoliciesWithResponse(ctx, &params)
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

// orAll shows a list, or what it means when it is empty.
func orAll(list []string, all string) string {
	if len(list) == 0 {
		return all
	}
	return strings.Join(list, ", ")
}

func newPolicyCommand(environ []string) *cobra.Command {
	explain := &cobra.Command{
		Use:   "explain",
		Short: "Say whether a user may approve something for a client, by which policy, or why not",
		Long: `Say whether a user may approve the scopes of a resource for a client, by which policy,
and why each other policy does not allow it. It says so with exit code 0 whatever the
answer is; with --json, "allowed" is the answer for each scope.

` + exitCodes,
		Example: `  grantd policy explain --user alice --client https://claude.ai/oauth/client.json \
    --resource https://mcp.example.com/mcp --scope notes:delete`,
		Args: cobra.NoArgs,
	}
	addReferences(environ, explain, map[string]string{
		"user": "the user (id or username)", "client": "the client (id or client_id)", "resource": "the resource (id or URI)",
	})
	explain.Flags().String("scope", "", "only this scope of the resource (default: all)")
	adminCommand(environ, explain, explainPolicies)
	return adminGroup("policy", "Manage policies: who may approve what for which client", append(policies.commands(environ), explain)...)
}

func explainPolicies(ctx context.Context, a *admin, _ []string) error {
	for _, flag := range []string{"user", "client", "resource"} {
		if !a.cmd.Flags().Changed(flag) {
			return wrongUsage("--user, --client and --resource say who is asked about, and --%s is missing", flag)
		}
	}
	named, _, err := grantFilterBy(ctx, a, idOf[api.User], idOf[api.Client], idOrAdministration)
	if err != nil {
		return err
	}
	scope, err := a.cmd.Flags().GetString("scope")
	if err != nil {
		return err
	}
	got, err := a.api.ExplainPoliciesWithResponse(ctx, &api.ExplainPoliciesParams{
		UserID: named.UserID, ClientID: named.ClientID, ResourceID: named.ResourceID, Scope: scope,
	})
	if err := a.check(got, err); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(got.Body)
	}
	_, err = io.WriteString(a.cmd.OutOrStdout(), explanation(got.JSON200))
	return err
}

// idOrAdministration is idOf for a resource, which may be the hidden one of the admin API
// by the URI that "grantd login" asks a token for.
func idOrAdministration(ctx context.Context, a *admin, n *noun[api.Resource], reference string) (string, error) {
	id, err := idOf(ctx, a, n, reference)
	var coded *exitError
	if !errors.As(err, &coded) || coded.code != exitNotFound {
		return id, err
	}
	got, callErr := a.api.GetSignInWithResponse(ctx)
	if callErr := a.check(got, callErr); callErr != nil {
		return "", callErr
	}
	if strings.TrimSuffix(reference, "/") == got.JSON200.Resource {
		return storage.AdminResourceID, nil
	}
	return "", err
}

// explanation is an answer for people.
func explanation(e *api.PolicyExplanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The user is in: %s. The client is %s.\n", printable(orAll(e.Groups, "no group")), printable(e.Trust))
	for _, obstacle := range e.Obstacles {
		fmt.Fprintf(&b, "Whatever the policies say: %s.\n", printable(obstacle))
	}
	for _, s := range e.Scopes {
		fmt.Fprintf(&b, "\n%s (%s): ", printable(s.Scope), printable(s.Risk))
		switch {
		case s.SkipConsentPolicy != "":
			fmt.Fprintf(&b, "yes, in advance by the policy %q\n", printable(s.SkipConsentPolicy))
		case s.Allowed:
			fmt.Fprintf(&b, "yes, by the policy %q\n", printable(s.Policy))
		default:
			b.WriteString("no, no policy allows it\n")
		}
		for _, verdict := range s.Policies {
			if !verdict.Allows {
				fmt.Fprintf(&b, "  not by %q: %s\n", printable(verdict.Name), printable(strings.Join(verdict.Reasons, "; ")))
			}
		}
	}
	return b.String()
}
