package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

func newGrantCommand(environ []string) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List what people have approved", Args: cobra.NoArgs}
	addGrantFilters(environ, list)
	limit := list.Flags().Int("limit", 0, "how many at most (default: all)")
	adminCommand(environ, list, func(ctx context.Context, a *admin, _ []string) error {
		params, _, err := grantFilter(ctx, a)
		if err != nil {
			return err
		}
		grants, err := selectGrants(ctx, a, params, *limit)
		if err != nil {
			return err
		}
		return printGrants(ctx, a, grants, "There is no such grant.")
	})

	revoke := &cobra.Command{
		Use:   "revoke [GRANT...]",
		Short: "Revoke grants, by id or all those of a user, client, resource or time",
		Long: `Revoke grants: by id, or all those that --user, --client, --resource, --since and --until
leave together. The clients' refresh tokens end at once, introspection reports their access
tokens as inactive, and people must approve again.

` + exitCodes,
	}
	addGrantFilters(environ, revoke)
	addYes(revoke)
	adminCommand(environ, revoke, revokeGrants)
	return adminGroup("grant", "See and revoke grants: what people have approved", list, revoke)
}

func addGrantFilters(environ []string, cmd *cobra.Command) {
	addReferences(environ, cmd, map[string]string{
		"user": "only those of this user (id or username)", "client": "only those for this client (id or client_id)",
		"resource": "only those at this resource (id or URI)",
	})
	cmd.Flags().String("since", "", "only those last approved from then on (2026-01-31, or with a time: 2026-01-31T08:00:00Z), or so long ago at most (36h, 7d)")
	cmd.Flags().String("until", "", "only those last approved before then, written as for --since")
}

// addReferences adds the flags that grantFilter reads, with what they are for.
func addReferences(environ []string, cmd *cobra.Command, usage map[string]string) {
	for flag, complete := range map[string]cobra.CompletionFunc{
		"user": users.complete(environ), "client": clients.complete(environ), "resource": resources.complete(environ),
	} {
		cmd.Flags().String(flag, "", usage[flag])
		// It fails for a flag that does not exist.
		_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return complete(cmd, nil, typed)
		})
	}
}

// grantFilter is what the filters that were given name.
func grantFilter(ctx context.Context, a *admin) (params api.ListGrantsParams, given bool, err error) {
	return grantFilterBy(ctx, a, idOf[api.User], idOf[api.Client], idOf[api.Resource])
}

// resolver finds the id that a reference means.
type resolver[T any] func(ctx context.Context, a *admin, n *noun[T], reference string) (string, error)

func grantFilterBy(ctx context.Context, a *admin, user resolver[api.User], client resolver[api.Client], resource resolver[api.Resource]) (params api.ListGrantsParams, given bool, err error) {
	read := func(flag string, resolve func(reference string) (string, error), into *string) {
		reference, _ := a.cmd.Flags().GetString(flag)
		if err != nil || !a.cmd.Flags().Changed(flag) {
			return
		}
		given = true
		*into, err = resolve(reference)
	}
	read("user", func(r string) (string, error) { return user(ctx, a, users, r) }, &params.UserID)
	read("client", func(r string) (string, error) { return client(ctx, a, clients, r) }, &params.ClientID)
	read("resource", func(r string) (string, error) { return resource(ctx, a, resources, r) }, &params.ResourceID)
	for flag, into := range map[string]**time.Time{"since": &params.Since, "until": &params.Until} {
		text, _ := a.cmd.Flags().GetString(flag)
		if err != nil || !a.cmd.Flags().Changed(flag) {
			continue
		}
		at, parseErr := parseSince(text, time.Now())
		if parseErr != nil {
			return params, given, wrongUsage("--%s %s is no time; write it as 36h, 7d, 2026-01-31 or 2026-01-31T08:00:00Z", flag, printable(text))
		}
		given, *into = true, &at
	}
	return params, given, err
}

func idOf[T any](ctx context.Context, a *admin, n *noun[T], reference string) (string, error) {
	thing, _, err := n.resolve(ctx, a, reference)
	if err != nil {
		return "", err
	}
	return n.id(*thing), nil
}

// pastIDOf is idOf for a thing that may be gone: an id stays as it is.
func pastIDOf[T any](ctx context.Context, a *admin, n *noun[T], reference string) (string, error) {
	if _, err := storage.IDBytes(n.prefix, reference); err == nil {
		return reference, nil
	}
	return idOf(ctx, a, n, reference)
}

func selectGrants(ctx context.Context, a *admin, params api.ListGrantsParams, limit int) ([]api.Grant, error) {
	return all(limit, func(cursor string) ([]api.Grant, string, error) {
		params.Cursor, params.Limit = cursor, page(pageSize)
		got, err := a.api.ListGrantsWithResponse(ctx, &params)
		if err := a.check(got, err); err != nil {
			return nil, "", err
		}
		return got.JSON200.Items, got.JSON200.NextCursor, nil
	})
}

// printGrants shows grants with the names that people know; in JSON the ids
// stand alone.
func printGrants(ctx context.Context, a *admin, grants []api.Grant, none string) error {
	names := map[string]string{storage.IdentityResourceID: "identity"}
	if !a.json {
		for _, g := range grants {
			nameOf(ctx, a, users, g.UserID, names)
			nameOf(ctx, a, resources, g.ResourceID, names)
		}
	}
	return printList(a, grants, []column[api.Grant]{
		{"GRANT", func(g api.Grant) string { return g.ID }, whole},
		{"USER", func(g api.Grant) string { return names[g.UserID] }, short},
		{"CLIENT", func(g api.Grant) string { return g.ClientName }, short},
		{"RESOURCE", func(g api.Grant) string { return names[g.ResourceID] }, short},
		{"SCOPES", func(g api.Grant) string { return strings.Join(g.Scopes, " ") }, short},
		{"APPROVED", func(g api.Grant) string { return minute(g.UpdatedAt) }, short},
	}, none)
}

// nameOf remembers what people call the thing with this id; the id itself when it
// is gone already.
func nameOf[T any](ctx context.Context, a *admin, n *noun[T], id string, names map[string]string) {
	if names[id] != "" {
		return
	}
	names[id] = id
	if thing, _, err := n.resolve(ctx, a, id); err == nil {
		names[id] = n.called(*thing)
	}
}

func revokeGrants(ctx context.Context, a *admin, ids []string) error {
	filter, filtered, err := grantFilter(ctx, a)
	switch {
	case err != nil:
		return err
	case filtered == (len(ids) > 0):
		return wrongUsage("give either the ids of grants, or at least one of --user, --client, --resource, --since and --until")
	case filtered:
		return revokeSelected(ctx, a, filter)
	}
	if err := a.confirm("Revoke %s? The clients must ask the people again.", grantCount(len(ids))); err != nil {
		return err
	}
	revoked := []string{}
	for _, id := range ids {
		err := a.check(a.api.RevokeGrantWithResponse(ctx, id))
		if exitCodeOf(err) == exitNotFound {
			err = &exitError{exitNotFound, fmt.Errorf("there is no grant %s (%s revoked before it)", printable(id), grantCount(len(revoked)))}
		}
		if err != nil {
			return err
		}
		revoked = append(revoked, id)
	}
	return sayRevoked(a, revoked)
}

// revokeSelected revokes what the filters leave. Whoever confirms has seen it; with
// --yes nobody looks, and the server finds it.
func revokeSelected(ctx context.Context, a *admin, filter api.ListGrantsParams) error {
	if yes, _ := a.cmd.Flags().GetBool("yes"); !yes && !a.json {
		grants, err := selectGrants(ctx, a, filter, 0)
		if err != nil {
			return err
		}
		if len(grants) > 0 {
			if err := printGrants(ctx, a, grants, ""); err != nil {
				return err
			}
			if err := a.confirm("Revoke %s? The clients must ask the people again.", grantCount(len(grants))); err != nil {
				return err
			}
		}
	}
	body := api.GrantSelection{UserID: filter.UserID, ClientID: filter.ClientID, ResourceID: filter.ResourceID, Since: filter.Since, Until: filter.Until}
	revoked := []string{}
	for more := true; more; {
		got, err := a.api.RevokeGrantsWithResponse(ctx, body)
		if err := a.check(got, err); err != nil {
			return err
		}
		revoked, more = append(revoked, got.JSON200.Revoked...), got.JSON200.More
	}
	if len(revoked) == 0 {
		return &exitError{exitNotFound, fmt.Errorf("there is no such grant; nothing was revoked")}
	}
	return sayRevoked(a, revoked)
}

func sayRevoked(a *admin, revoked []string) error {
	if a.json {
		return printList(a, revoked, nil, "")
	}
	a.say("%s revoked.", grantCount(len(revoked)))
	return nil
}

func grantCount(n int) string {
	if n == 1 {
		return "1 grant"
	}
	return fmt.Sprintf("%d grants", n)
}
