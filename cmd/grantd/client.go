package main

import (
	"context"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

var clients = &noun[api.Client]{
	name: "client", reference: "id or client_id", prefix: storage.PrefixClient,
	fields: []field{
		{"name", "client_name", textField, "the name people see when they are asked to approve"},
		{"redirect-uri", "redirect_uris", listField, "a `URI` that people may be sent back to"},
		{"auth", "token_endpoint_auth_method", textField, "how it proves who it is: client_secret_basic (default), client_secret_post, private_key_jwt, or none for a program that cannot keep a secret"},
		{"grant-type", "grant_types", listField, "how it gets tokens, a `type` of authorization_code, refresh_token (default: these two) or client_credentials"},
		{"scope", "scope", wordsField, "a `scope` it may have at most (default: no ceiling)"},
		{"resource", "resources", listField, "`URI` of a resource its tokens may be for (default: any)"},
		{"type", "application_type", textField, "web (default) or native"},
		{"client-uri", "client_uri", textField, "its home page"},
		{"logo-uri", "logo_uri", textField, "its logo"},
		{"tos-uri", "tos_uri", textField, "its terms of service"},
		{"policy-uri", "policy_uri", textField, "its privacy policy"},
		{"contact", "contacts", listField, "an `address` of those responsible for it"},
		{"jwks-uri", "jwks_uri", textField, "where its public keys are, for private_key_jwt; jwks itself goes into --file"},
		{"admin-access", "admin_access", flagField, "members of the group admins may administer grantd with it; asked every time"},
		{"signing-alg", "token_endpoint_auth_signing_alg", textField, "the one algorithm of its assertions: ES256, EdDSA, PS256 or RS256"},
	},
	example: `  grantd client add --name Desk --redirect-uri http://127.0.0.1/callback --auth none
  grantd client add --name "Nightly import" --grant-type client_credentials --scope files:read`,
	columns: []column[api.Client]{
		{"CLIENT_ID", func(c api.Client) string { return c.ClientID }, whole},
		{"NAME", func(c api.Client) string { return c.ClientName }, short},
		{"SOURCE", func(c api.Client) string { return c.Source }, short},
		{"AUTH", func(c api.Client) string { return c.TokenEndpointAuthMethod }, short},
		{"DISABLED", func(c api.Client) string { return yes(c.Disabled) }, short},
		{"CREATED", func(c api.Client) string { return minute(c.CreatedAt) }, short},
	},
	list: func(ctx context.Context, a *admin, cursor string) ([]api.Client, string, error) {
		got, err := a.api.ListClientsWithResponse(ctx, &api.ListClientsParams{Cursor: cursor, Limit: page(pageSize)})
		if err := a.check(got, err); err != nil {
			return nil, "", err
		}
		return got.JSON200.Items, got.JSON200.NextCursor, nil
	},
	byName: func(ctx context.Context, a *admin, name string) ([]api.Client, error) {
		got, err := a.api.ListClientsWithResponse(ctx, &api.ListClientsParams{ClientID: name})
		if err := a.check(got, err); err != nil {
			return nil, err
		}
		return got.JSON200.Items, nil
	},
	get: func(ctx context.Context, a *admin, id string) (*api.Client, string, answer, error) {
		got, err := a.api.GetClientWithResponse(ctx, id)
		if err != nil || got.JSON200 == nil {
			return nil, "", got, err
		}
		return got.JSON200, got.Headers200.ETag, got, nil
	},
	create: func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error) {
		return a.api.CreateClientWithBodyWithResponse(ctx, &api.CreateClientParams{IdempotencyKey: key}, "application/json", body)
	},
	update: func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error) {
		return a.api.UpdateClientWithBodyWithResponse(ctx, id, &api.UpdateClientParams{IfMatch: etag}, "application/merge-patch+json", body)
	},
	remove: func(ctx context.Context, a *admin, id, etag string) (answer, error) {
		return a.api.DeleteClientWithResponse(ctx, id, &api.DeleteClientParams{IfMatch: etag})
	},
	id:     func(c api.Client) string { return c.ID },
	called: func(c api.Client) string { return c.ClientID },
	title:  func(c api.Client) string { return c.ClientName },
	show: func(c api.Client) []property {
		own := c.ID
		if own == c.ClientID {
			own = ""
		}
		return []property{
			{"id", own},
			{"client_id", c.ClientID},
			{"client_secret", c.ClientSecret},
			{"client_name", c.ClientName},
			{"source", c.Source},
			{"disabled", yes(c.Disabled)},
			{"admin_access", yes(c.AdminAccess)},
			{"token_endpoint_auth_method", c.TokenEndpointAuthMethod},
			{"token_endpoint_auth_signing_alg", c.TokenEndpointAuthSigningAlg},
			{"jwks", string(c.JWKS)},
			{"jwks_uri", c.JWKSURI},
			{"redirect_uris", strings.Join(c.RedirectUris, "\n")},
			{"grant_types", strings.Join(c.GrantTypes, " ")},
			{"application_type", c.ApplicationType},
			{"scope", c.Scope},
			{"resources", strings.Join(c.Resources, "\n")},
			{"client_uri", c.ClientURI},
			{"logo_uri", c.LogoURI},
			{"tos_uri", c.TosURI},
			{"policy_uri", c.PolicyURI},
			{"contacts", strings.Join(c.Contacts, ", ")},
			{"software_id", c.SoftwareID},
			{"software_version", c.SoftwareVersion},
			{"created_at", second(&c.CreatedAt)},
			{"updated_at", second(&c.UpdatedAt)},
		}
	},
	added: func(a *admin, made api.Client) {
		method := made.TokenEndpointAuthMethod
		switch {
		case made.ClientSecret != "":
			a.say("\nThe secret is shown this once: keep it now. \"grantd client secret add\" makes another one.")
		case method == storage.AuthMethodClientSecretBasic || method == storage.AuthMethodClientSecretPost:
			a.say("\nThe client was added before, and its secret was shown then.\nIf it was lost: grantd client secret add %s", made.ClientID)
		}
	},
}

func newClientCommand(environ []string) *cobra.Command {
	commands := append(clients.commands(environ),
		clients.disableCommand(environ, true, "Stop a client: everything it was granted ends now", "Everything it was granted ends now, and stays ended."),
		clients.disableCommand(environ, false, "Let a disabled client work again; people must approve it anew", ""),
		newClientSecretCommand(environ))
	return adminGroup("client", "Manage clients: the programs that ask for tokens", commands...)
}

func newClientSecretCommand(environ []string) *cobra.Command {
	list := clients.one(environ, &cobra.Command{Use: "list", Short: "List when a client's secrets were made"},
		func(ctx context.Context, a *admin, c *api.Client, _ string) error {
			got, err := a.api.ListClientSecretsWithResponse(ctx, c.ID)
			if err := a.check(got, err); err != nil {
				return err
			}
			return printList(a, got.JSON200.Items, []column[api.ClientSecret]{
				{"SECRET", func(s api.ClientSecret) string { return s.ID }, whole},
				{"CREATED", func(s api.ClientSecret) string { return minute(s.CreatedAt) }, short},
				{"EXPIRES", func(s api.ClientSecret) string { return second(s.ExpiresAt) }, short},
			}, "The client has no secret.")
		})

	add := clients.one(environ, &cobra.Command{Use: "add", Short: "Make another secret; the ones it has stay valid"},
		func(ctx context.Context, a *admin, c *api.Client, _ string) error {
			got, err := a.api.CreateClientSecretWithResponse(ctx, c.ID, &api.CreateClientSecretParams{IdempotencyKey: uuid.NewString()})
			if err := a.check(got, err); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(got.Body)
			}
			made := got.JSON201
			err = writeProperties(a.cmd.OutOrStdout(), []property{
				{"id", made.ID}, {"client_secret", made.ClientSecret}, {"created_at", second(&made.CreatedAt)},
			})
			a.say("\nThe secret is shown this once: keep it now. When the client uses it, delete the old one:\n"+
				"grantd client secret list %[1]s; grantd client secret delete %[1]s SECRET", c.ClientID)
			return err
		})

	remove := &cobra.Command{
		Use: "delete CLIENT SECRET", Aliases: []string{"remove"}, Short: "Delete a secret: it stops working within a second",
		Args: argument(2, "a client and the id of one of its secrets"), ValidArgsFunction: clients.complete(environ),
	}
	addYes(remove)
	adminCommand(environ, remove, func(ctx context.Context, a *admin, args []string) error {
		c, _, err := clients.resolve(ctx, a, args[0])
		if err != nil {
			return err
		}
		if err := a.confirm("Delete secret %s of client %s? Whoever uses it is locked out.", printable(args[1]), c.ClientID); err != nil {
			return err
		}
		if err := a.check(a.api.DeleteClientSecretWithResponse(ctx, c.ID, args[1])); err != nil {
			return err
		}
		a.say("The secret is deleted.")
		return nil
	})
	return group(&cobra.Command{Use: "secret", Short: "Rotate a client's secret"}, list, add, remove)
}
