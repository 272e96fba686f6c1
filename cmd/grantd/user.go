package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

var users = &noun[api.User]{
	name: "user", reference: "id or username", prefix: storage.PrefixUser,
	adds: &field{flag: "username", name: "username", usage: "username, what they type to sign in"},
	fields: []field{
		{"name", "name", textField, "how grantd addresses them"},
		{"email", "email", textField, "their email address"},
		{"group", "groups", listField, "a `group` they are in; made if there is none of that name"},
	},
	example: `  grantd user add alice --name Alice --email alice@example.com --group staff`,
	columns: []column[api.User]{
		{"USERNAME", func(u api.User) string { return u.Username }, whole},
		{"NAME", func(u api.User) string { return u.Name }, short},
		{"EMAIL", func(u api.User) string { return u.Email }, short},
		{"GROUPS", func(u api.User) string { return strings.Join(u.Groups, ", ") }, short},
		{"DISABLED", func(u api.User) string { return yes(u.Disabled) }, short},
		{"ID", func(u api.User) string { return u.ID }, short},
	},
	list: func(ctx context.Context, a *admin, cursor string) ([]api.User, string, error) {
		return listUsers(ctx, a, api.ListUsersParams{Cursor: cursor})
	},
	byName: func(ctx context.Context, a *admin, name string) ([]api.User, error) {
		found, _, err := listUsers(ctx, a, api.ListUsersParams{Username: name})
		return found, err
	},
	get: func(ctx context.Context, a *admin, id string) (*api.User, string, answer, error) {
		got, err := a.api.GetUserWithResponse(ctx, id)
		if err != nil || got.JSON200 == nil {
			return nil, "", got, err
		}
		return got.JSON200, got.Headers200.ETag, got, nil
	},
	create: func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error) {
		return a.api.CreateUserWithBodyWithResponse(ctx, &api.CreateUserParams{IdempotencyKey: key}, "application/json", body)
	},
	update: func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error) {
		return a.api.UpdateUserWithBodyWithResponse(ctx, id, &api.UpdateUserParams{IfMatch: etag}, "application/merge-patch+json", body)
	},
	remove: func(ctx context.Context, a *admin, id, etag string) (answer, error) {
		return a.api.DeleteUserWithResponse(ctx, id, &api.DeleteUserParams{IfMatch: etag})
	},
	id:     func(u api.User) string { return u.ID },
	called: func(u api.User) string { return u.Username },
	title:  func(u api.User) string { return u.Name },
	show: func(u api.User) []property {
		password := "none"
		if u.HasPassword {
			password = "set"
		}
		return []property{
			{"id", u.ID},
			{"username", u.Username},
			{"name", u.Name},
			{"email", u.Email},
			{"groups", strings.Join(u.Groups, ", ")},
			{"password", password},
			{"disabled", yes(u.Disabled)},
			{"created_at", second(&u.CreatedAt)},
			{"updated_at", second(&u.UpdatedAt)},
		}
	},
	prepare: func(a *admin, body map[string]any) error {
		if none, _ := a.cmd.Flags().GetBool("no-password"); none || body["password"] != nil {
			return nil
		}
		password, err := a.password()
		if err == nil {
			body["password"] = password
		}
		return err
	},
}

func listUsers(ctx context.Context, a *admin, params api.ListUsersParams) ([]api.User, string, error) {
	params.Limit = page(pageSize)
	got, err := a.api.ListUsersWithResponse(ctx, &params)
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

func newUserCommand(environ []string) *cobra.Command {
	commands := users.commands(environ)
	for _, cmd := range commands {
		if cmd.Name() == "add" {
			addPassword(cmd)
			cmd.Flags().Bool("no-password", false, "they cannot sign in with a password")
		}
	}
	password := &cobra.Command{
		Use:   "password",
		Short: "Give a user a new password; they are signed out everywhere",
	}
	addPassword(password)
	users.one(environ, password, func(ctx context.Context, a *admin, u *api.User, _ string) error {
		text, err := a.password()
		if err != nil {
			return err
		}
		changed, err := users.patch(ctx, a, u, "", map[string]any{"password": text})
		if err != nil {
			return err
		}
		if a.json {
			return users.print(a, changed)
		}
		a.say("The user %s has a new password and is signed out everywhere.", printable(changed.Username))
		return nil
	})
	return adminGroup("user", "Manage users: the people who can sign in and approve", append(commands, password,
		users.disableCommand(environ, true, "Stop a user: sessions, grants and tokens end now", "They are signed out, and everything they have approved ends now and stays ended."),
		users.disableCommand(environ, false, "Let a disabled user sign in again; what they had approved is gone", ""))...)
}
