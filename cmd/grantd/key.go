package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"grantd/api"
)

func newKeyCommand(environ []string) *cobra.Command {
	list := adminCommand(environ, &cobra.Command{Use: "list", Short: "List the keys, oldest first", Args: cobra.NoArgs},
		func(ctx context.Context, a *admin, _ []string) error {
			keys, err := all(0, func(cursor string) ([]api.SigningKey, string, error) { return listKeys(ctx, a, cursor) })
			if err != nil {
				return err
			}
			return printKeys(a, keys)
		})

	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Sign with the next key from now on",
		Long: `Sign with the next key from now on. The active key retires and stays published until
the last token it signed has expired, and a new next key is published. Nobody notices.

The next key must have been published for six minutes, so that every server that checks
tokens by itself can know it. --now does not wait: for up to five minutes such servers
may refuse new tokens.

"grantd serve" rotates by itself, see --key-rotation. If a key was stolen, use
"grantd key revoke".

` + exitCodes,
		Args: cobra.NoArgs,
	}
	early := rotate.Flags().Bool("now", false, "although servers may not know the next key yet and refuse new tokens for up to five minutes")
	adminCommand(environ, rotate, func(ctx context.Context, a *admin, _ []string) error {
		got, err := a.api.RotateKeysWithResponse(ctx, api.KeyRotation{Now: *early})
		if err := a.check(got, err); err != nil {
			return err
		}
		return printKeys(a, got.JSON200.Items)
	})

	revoke := &cobra.Command{
		Use:   "revoke KID --now",
		Short: "Withdraw a stolen key: every token it signed is worthless",
		Long: `Withdraw a stolen key. It leaves the JWKS at once; within a second no grantd accepts a
token it signed; new tokens are signed by the next key. People stay signed in, and
clients get new tokens with their refresh tokens.

A server that checks tokens by itself believes the key until it renews its copy of the
JWKS, at most five minutes later; one that introspects does not.

` + exitCodes,
		Args: argument(1, "the kid of one key"),
		ValidArgsFunction: completion(environ, func(ctx context.Context, a *admin) ([]string, error) {
			keys, _, err := listKeys(ctx, a, "")
			var kids []string
			for _, k := range keys {
				kids = append(kids, k.Kid+"\t"+k.State)
			}
			return kids, err
		}),
	}
	now := revoke.Flags().Bool("now", false, "yes, every token the key has signed is to be refused from now on")
	adminCommand(environ, revoke, func(ctx context.Context, a *admin, args []string) error {
		if !*now {
			return wrongUsage("every token of the key would be refused at once: give --now if that is what you want\nmend: to replace a key that nobody has stolen, use \"grantd key rotate\"")
		}
		err := a.check(a.api.RevokeKeyWithResponse(ctx, args[0]))
		if exitCodeOf(err) == exitNotFound {
			err = &exitError{exitNotFound, fmt.Errorf("there is no key %s\nmend: \"grantd key list\" shows them", printable(args[0]))}
		}
		if err != nil {
			return err
		}
		a.say("The key is revoked. Servers that check tokens by themselves forget it within five minutes.")
		return nil
	})
	return adminGroup("key", "Manage the keys that sign access tokens", list, rotate, revoke)
}

func listKeys(ctx context.Context, a *admin, cursor string) ([]api.SigningKey, string, error) {
	got, err := a.api.ListKeysWithResponse(ctx, &api.ListKeysParams{Cursor: cursor, Limit: page(pageSize)})
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

func printKeys(a *admin, keys []api.SigningKey) error {
	return printList(a, keys, []column[api.SigningKey]{
		{"KID", func(k api.SigningKey) string { return k.Kid }, whole},
		{"STATE", func(k api.SigningKey) string { return k.State }, short},
		{"ALG", func(k api.SigningKey) string { return k.Algorithm }, short},
		{"PUBLISHED", func(k api.SigningKey) string { return minute(k.CreatedAt) }, short},
		{"", func(k api.SigningKey) string {
			switch {
			case k.ReadyAt != nil:
				return "can sign from " + minute(*k.ReadyAt)
			case k.PublishedUntil != nil:
				return "retired " + minute(*k.RetiredAt) + ", published until " + minute(*k.PublishedUntil)
			case k.ActivatedAt != nil:
				return "signs since " + minute(*k.ActivatedAt)
			}
			return ""
		}, short},
	}, "There is no key.")
}
