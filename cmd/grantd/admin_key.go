package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"grantd/api"
)

func newAdminKeyCommand(environ []string) *cobra.Command {
	list := adminCommand(environ, &cobra.Command{Use: "list", Short: "List the admin keys, expired ones too", Args: cobra.NoArgs},
		func(ctx context.Context, a *admin, _ []string) error {
			keys, err := all(0, func(cursor string) ([]api.AdminKey, string, error) { return listAdminKeys(ctx, a, cursor) })
			if err != nil {
				return err
			}
			return printList(a, keys, []column[api.AdminKey]{
				{"NAME", func(k api.AdminKey) string { return k.Name }, whole},
				{"SCOPE", func(k api.AdminKey) string { return k.Scope }, short},
				{"EXPIRES", func(k api.AdminKey) string { return minute(k.ExpiresAt) }, short},
				{"LAST USED", func(k api.AdminKey) string { return second(k.LastUsedAt) }, short},
				{"ID", func(k api.AdminKey) string { return k.ID }, whole},
			}, "There is no admin key but those of the server's settings; \"grantd admin-key add NAME\" makes one.")
		})

	show := adminKeyCommand(environ, &cobra.Command{Use: "show", Short: "Show an admin key, named by its id or name; not the key itself"},
		func(_ context.Context, a *admin, k *api.AdminKey) error { return printAdminKey(a, *k, "") })

	remove := &cobra.Command{Use: "delete", Aliases: []string{"remove"}, Short: "Delete an admin key: it stops working within a second"}
	addYes(remove)
	adminKeyCommand(environ, remove, func(ctx context.Context, a *admin, k *api.AdminKey) error {
		if err := a.confirm("Delete admin key %s? Whoever uses it is locked out.", printable(k.Name)); err != nil {
			return err
		}
		if err := a.check(a.api.DeleteAdminKeyWithResponse(ctx, k.ID)); err != nil {
			return err
		}
		a.say("Admin key %s is deleted.", printable(k.Name))
		return nil
	})
	return adminGroup("admin-key", "Manage the keys of the admin API", list, show, addAdminKeyCommand(environ), remove)
}

func addAdminKeyCommand(environ []string) *cobra.Command {
	add := &cobra.Command{
		Use: "add NAME", Short: "Make an admin key", Args: argument(1, "the name of one admin key"),
		Example: `  grantd admin-key add ci --scope write --expires-in 30d
  grantd admin-key add dashboard --scope read --expires-in 365d`,
	}
	scope := add.Flags().String("scope", "read", "what it may do: read, or write for everything")
	lifetime := add.Flags().String("expires-in", "90d", "how `long` it is good for, as 12h or 30d")
	return adminCommand(environ, add, func(ctx context.Context, a *admin, args []string) error {
		a.fields = []field{{flag: "scope", name: "scope"}, {flag: "expires-in", name: "expires_in"}}
		seconds, err := wholeSeconds("--expires-in", *lifetime)
		if err != nil {
			return err
		}
		fields := api.AdminKeyFields{Name: args[0], Scope: *scope, ExpiresIn: &seconds}
		got, err := a.api.CreateAdminKeyWithResponse(ctx, &api.CreateAdminKeyParams{IdempotencyKey: uuid.NewString()}, fields)
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		made := got.JSON201
		k := api.AdminKey{ID: made.ID, Name: made.Name, Scope: made.Scope, CreatedAt: made.CreatedAt, ExpiresAt: made.ExpiresAt}
		err = printAdminKey(a, k, made.Key)
		if made.Key == "" {
			a.say("\nThe answer with the key was lost on its way. Delete this one and make another.")
			return err
		}
		a.say("\nThe key is shown this once: keep it now. Give it to a command with --admin-key-file or GRANTD_ADMIN_KEY_FILE.")
		return err
	})
}

// wholeSeconds reads a length of time that a flag has, as 12h or 30d.
func wholeSeconds(flag, text string) (int, error) {
	long, err := parseDays(text)
	if err != nil {
		return 0, wrongUsage("%s %s is no length of time: write 12h or 30d", flag, printable(text))
	}
	return int(long / time.Second), nil
}

func printAdminKey(a *admin, k api.AdminKey, secret string) error {
	if a.json {
		return (&noun[api.AdminKey]{}).print(a, k)
	}
	return writeProperties(a.cmd.OutOrStdout(), []property{
		{"id", k.ID},
		{"key", secret},
		{"name", k.Name},
		{"scope", k.Scope},
		{"created_at", second(&k.CreatedAt)},
		{"expires_at", second(&k.ExpiresAt)},
		{"last_used_at", second(k.LastUsedAt)},
	})
}

// adminKeyCommand makes a command that takes one admin key.
func adminKeyCommand(environ []string, cmd *cobra.Command, run func(ctx context.Context, a *admin, k *api.AdminKey) error) *cobra.Command {
	cmd.Use += " KEY"
	cmd.Args = argument(1, "the id or name of one admin key")
	cmd.ValidArgsFunction = completion(environ, func(ctx context.Context, a *admin) ([]string, error) {
		keys, _, err := listAdminKeys(ctx, a, "")
		var offers []string
		for _, k := range keys {
			offers = append(offers, printable(k.Name))
		}
		return offers, err
	})
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error {
		keys, err := all(0, func(cursor string) ([]api.AdminKey, string, error) { return listAdminKeys(ctx, a, cursor) })
		if err != nil {
			return err
		}
		for i := range keys {
			if keys[i].ID == args[0] || keys[i].Name == args[0] {
				return run(ctx, a, &keys[i])
			}
		}
		// What was typed may be the key: it is not repeated.
		return &exitError{exitNotFound, fmt.Errorf("there is no admin key with this id or name\nmend: \"grantd admin-key list\" shows them")}
	})
}

func listAdminKeys(ctx context.Context, a *admin, cursor string) ([]api.AdminKey, string, error) {
	got, err := a.api.ListAdminKeysWithResponse(ctx, &api.ListAdminKeysParams{Cursor: cursor, Limit: page(pageSize)})
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}
