package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

var groups = &noun[api.Group]{
	name: "group", reference: "id or name", prefix: storage.PrefixGroup,
	adds: &field{flag: "name", name: "name", usage: "name, which policies and users say"},
	fields: []field{
		{"description", "description", textField, "who is in it, for people"},
		managedBy,
	},
	example: `  grantd group add accountants --description "Those who may see the payroll"`,
	columns: []column[api.Group]{
		{"GROUP", func(g api.Group) string { return g.Name }, whole},
		{"MEMBERS", func(g api.Group) string { return strconv.Itoa(g.Members) }, short},
		{"DESCRIPTION", func(g api.Group) string { return g.Description }, short},
	},
	list: func(ctx context.Context, a *admin, cursor string) ([]api.Group, string, error) {
		got, err := a.api.ListGroupsWithResponse(ctx, &api.ListGroupsParams{Cursor: cursor, Limit: page(pageSize)})
		if err := a.check(got, err); err != nil {
			return nil, "", err
		}
		return got.JSON200.Items, got.JSON200.NextCursor, nil
	},
	byName: func(ctx context.Context, a *admin, name string) ([]api.Group, error) {
		got, err := a.api.ListGroupsWithResponse(ctx, &api.ListGroupsParams{Name: name})
		if err := a.check(got, err); err != nil {
			return nil, err
		}
		return got.JSON200.Items, nil
	},
	get: func(ctx context.Context, a *admin, id string) (*api.Group, string, answer, error) {
		got, err := a.api.GetGroupWithResponse(ctx, id)
		if err != nil || got.JSON200 == nil {
			return nil, "", got, err
		}
		return got.JSON200, got.Headers200.ETag, got, nil
	},
	create: func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error) {
		return a.api.CreateGroupWithBodyWithResponse(ctx, &api.CreateGroupParams{IdempotencyKey: key}, "application/json", body)
	},
	update: func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error) {
		return a.api.UpdateGroupWithBodyWithResponse(ctx, id, &api.UpdateGroupParams{IfMatch: etag}, "application/merge-patch+json", body)
	},
	remove: func(ctx context.Context, a *admin, id, etag string) (answer, error) {
		return a.api.DeleteGroupWithResponse(ctx, id, &api.DeleteGroupParams{IfMatch: etag})
	},
	id:     func(g api.Group) string { return g.ID },
	called: func(g api.Group) string { return g.Name },
	title:  func(g api.Group) string { return g.Description },
	show: func(g api.Group) []property {
		return []property{
			{"id", g.ID},
			{"name", g.Name},
			{"description", g.Description},
			{"members", strconv.Itoa(g.Members)},
			{"managed_by", g.ManagedBy},
		}
	},
}

func newGroupCommand(environ []string) *cobra.Command {
	members := groups.one(environ, &cobra.Command{Use: "members", Short: "List the members of a group"},
		func(ctx context.Context, a *admin, g *api.Group, _ string) error {
			found, err := membersOf(ctx, a, g.Name)
			if err != nil {
				return err
			}
			return printList(a, found, users.columns, "Nobody is in this group; \"grantd group add-member GROUP USER\" changes that.")
		})
	add := membership(environ, &cobra.Command{Use: "add-member", Short: "Put users into a group"}, joinGroup, "is in")
	remove := membership(environ, &cobra.Command{Use: "remove-member", Short: "Take users out of a group"}, leaveGroup, "is not in")
	commands := groups.commands(environ)
	for _, cmd := range commands {
		if cmd.Name() == "delete" {
			cmd.Short = "Delete a group; its members stay, and have no longer what only it allows"
		}
	}
	return adminGroup("group", "Manage groups of users", append(commands, members, add, remove)...)
}

// membership makes a command that changes who is in a group.
func membership(environ []string, cmd *cobra.Command, change func(ctx context.Context, a *admin, groupID, userID string) error, outcome string) *cobra.Command {
	cmd.Use += " GROUP USER..."
	cmd.ValidArgsFunction = groups.complete(environ)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return fmt.Errorf("%q takes a group and one or more users", cmd.CommandPath())
		}
		return nil
	}
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error {
		g, _, err := groups.resolve(ctx, a, args[0])
		if err != nil {
			return err
		}
		for _, reference := range args[1:] {
			u, _, err := users.resolve(ctx, a, reference)
			if err != nil {
				return err
			}
			if err := change(ctx, a, g.ID, u.ID); err != nil {
				return err
			}
			a.say("%s %s %s.", printable(u.Username), outcome, printable(g.Name))
		}
		if !a.json {
			return nil
		}
		found, err := membersOf(ctx, a, g.Name)
		if err != nil {
			return err
		}
		return printList(a, found, users.columns, "")
	})
}

// joinGroup puts a user into a group, who may be in it.
func joinGroup(ctx context.Context, a *admin, groupID, userID string) error {
	return a.check(a.api.AddGroupMemberWithResponse(ctx, groupID, userID))
}

// leaveGroup takes a user out of a group, who may not be in it.
func leaveGroup(ctx context.Context, a *admin, groupID, userID string) error {
	err := a.check(a.api.RemoveGroupMemberWithResponse(ctx, groupID, userID))
	if exitCodeOf(err) == exitNotFound {
		return nil
	}
	return err
}

// membersOf lists the users in a group.
func membersOf(ctx context.Context, a *admin, group string) ([]api.User, error) {
	return all(0, func(cursor string) ([]api.User, string, error) {
		return listUsers(ctx, a, api.ListUsersParams{Group: group, Cursor: cursor})
	})
}
