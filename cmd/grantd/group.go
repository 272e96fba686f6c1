package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"grantd/api"
)

func newGroupCommand(environ []string) *cobra.Command {
	list := adminCommand(environ, &cobra.Command{Use: "list", Short: "List the groups by name", Args: cobra.NoArgs},
		func(ctx context.Context, a *admin, _ []string) error {
			items, err := all(0, func(cursor string) ([]api.Group, string, error) { return listGroups(ctx, a, cursor) })
			if err != nil {
				return err
			}
			return printList(a, items, []column[api.Group]{
				{"GROUP", func(g api.Group) string { return g.Name }, short},
				{"MEMBERS", func(g api.Group) string { return strconv.Itoa(g.Members) }, short},
			}, "There is no group yet; \"grantd group add GROUP USER\" makes one.")
		})

	show := &cobra.Command{Use: "show GROUP", Short: "List the members of a group", Args: argument(1, "the name of one group"), ValidArgsFunction: completeGroups(environ)}
	adminCommand(environ, show, func(ctx context.Context, a *admin, args []string) error {
		members, err := all(0, func(cursor string) ([]api.User, string, error) {
			return listUsers(ctx, a, api.ListUsersParams{Group: args[0], Cursor: cursor})
		})
		if err != nil {
			return err
		}
		return printList(a, members, users.columns, "Nobody is in a group of that name; \"grantd group list\" lists those there are.")
	})

	add := membership(environ, &cobra.Command{Use: "add", Short: "Put users into a group, which is made if there is none of that name"},
		func(groups []string, group string) []string {
			if slices.Contains(groups, group) {
				return groups
			}
			return append(slices.Clone(groups), group)
		}, "is in")
	remove := membership(environ, &cobra.Command{Use: "remove", Short: "Take users out of a group"},
		func(groups []string, group string) []string {
			return slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == group })
		}, "is not in")
	return adminGroup("group", "Manage groups of users", list, show, add, remove)
}

// membership makes a command that changes the groups of users.
func membership(environ []string, cmd *cobra.Command, change func(groups []string, group string) []string, outcome string) *cobra.Command {
	cmd.Use += " GROUP USER..."
	cmd.ValidArgsFunction = completeGroups(environ)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return fmt.Errorf("%q takes a group and one or more users", cmd.CommandPath())
		}
		return nil
	}
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error {
		var changed []api.User
		for _, reference := range args[1:] {
			u, etag, err := users.resolve(ctx, a, reference)
			if err != nil {
				return err
			}
			// The ETag keeps a change of their other groups from being undone.
			now, err := users.patch(ctx, a, u, etag, map[string]any{"groups": change(u.Groups, args[0])})
			if err != nil {
				return err
			}
			changed = append(changed, now)
			a.say("%s %s %s.", printable(now.Username), outcome, printable(args[0]))
		}
		if a.json {
			return printList(a, changed, users.columns, "")
		}
		return nil
	})
}

func listGroups(ctx context.Context, a *admin, cursor string) ([]api.Group, string, error) {
	got, err := a.api.ListGroupsWithResponse(ctx, &api.ListGroupsParams{Cursor: cursor, Limit: page(pageSize)})
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

func completeGroups(environ []string) cobra.CompletionFunc {
	return completion(environ, func(ctx context.Context, a *admin) ([]string, error) {
		groups, _, err := listGroups(ctx, a, "")
		var names []string
		for _, g := range groups {
			names = append(names, printable(g.Name))
		}
		return names, err
	})
}
