package main

import (
	"context"
	"io"
	"strings"
	"time"

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
	prepare: func(_ context.Context, a *admin, body map[string]any) error {
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
	invite := newLinkCommand(environ, "invite", "invitation", "Make a link with which a new user sets a password",
		"The user cannot sign in before. The link works once, for 7 days.")
	reset := newLinkCommand(environ, "reset-password", "password_reset", "Make a link with which a user sets a new password",
		"The old password works until the link is used. The link works once, for a day.")
	return adminGroup("user", "Manage users: the people who can sign in and approve", append(commands, password, invite, reset, newFactorsCommand(environ), newResetFactorsCommand(environ), newEraseCommand(environ),
		users.disableCommand(environ, true, "Stop a user: sessions, grants and tokens end now", "They are signed out, and everything they have approved ends now and stays ended."),
		users.disableCommand(environ, false, "Let a disabled user sign in again; what they had approved is gone", ""))...)
}

// newEraseCommand takes an id of a user who is gone too.
func newEraseCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "erase USER",
		Short: "Delete a user and erase their data from the audit",
		Long: `Delete a user, named by id or username, and make name, email, username and addresses
unreadable in the audit events that tell of them. What is left names nobody: the id.
"grantd audit verify" still finds the chain whole. A user who is deleted already is named
by the id.

` + exitCodes,
		Args:              argument(1, "one user, by its "+users.reference),
		ValidArgsFunction: users.complete(environ),
	}
	addYes(cmd)
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error {
		id := args[0]
		if _, err := storage.IDBytes(storage.PrefixUser, id); err != nil {
			u, _, err := users.resolve(ctx, a, id)
			if err != nil {
				return err
			}
			id = u.ID
		}
		if err := a.confirm("Delete the user %s and erase their data from the audit? This cannot be undone.", printable(args[0])); err != nil {
			return err
		}
		got, err := a.api.EraseUserWithResponse(ctx, id)
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		a.say("The user is deleted, and %d audit events no longer say who it was.", got.JSON200.Events)
		return nil
	})
}

// newLinkCommand makes a command that makes a link for a user.
func newLinkCommand(environ []string, use, purpose, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: short + ".\n\n" + long + "\nIt is shown this once, or mailed with --mail; a link made before no longer works."}
	mail := cmd.Flags().Bool("mail", false, "mail it to the user's address and do not show it; the server needs --smtp-url")
	lifetime := cmd.Flags().String("expires-in", "", "how `long` it is good for, as 12h or 7d")
	return users.one(environ, cmd, func(ctx context.Context, a *admin, u *api.User, _ string) error {
		a.fields = []field{{flag: "mail", name: "mail"}, {flag: "expires-in", name: "expires_in"}}
		fields := api.UserLinkFields{Purpose: purpose, Mail: *mail}
		if *lifetime != "" {
			long, err := parseDays(*lifetime)
			if err != nil {
				return wrongUsage("--expires-in %s is no length of time: write 12h or 7d", printable(*lifetime))
			}
			seconds := int(long / time.Second)
			fields.ExpiresIn = &seconds
		}
		// Sent once: without an answer there may be a link that nobody has seen.
		got, err := a.api.CreateUserLinkWithResponse(ctx, u.ID, fields)
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		made := got.JSON201
		if made.MailedTo != "" {
			a.say("The link is mailed to %s. It works once, until %s.", printable(made.MailedTo), second(&made.ExpiresAt))
			return nil
		}
		err = writeProperties(a.cmd.OutOrStdout(), []property{
			{"username", u.Username},
			{"link", made.URL},
			{"expires_at", second(&made.ExpiresAt)},
		})
		a.say("\nThe link is shown this once, and works once: give it to %s and to nobody else.", printable(u.Username))
		return err
	})
}
