package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

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
		{"post-logout-redirect-uri", "post_logout_redirect_uris", listField, "a `URI` that people may be sent back to after signing out"},
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
		managedBy,
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
		{"LAST USED", func(c api.Client) string {
			if c.LastUsedAt == nil {
				return ""
			}
			return c.LastUsedAt.UTC().Format(time.DateOnly)
		}, short},
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
			{"post_logout_redirect_uris", strings.Join(c.PostLogoutRedirectUris, "\n")},
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
			{"managed_by", c.ManagedBy},
			{"created_at", second(&c.CreatedAt)},
			{"updated_at", second(&c.UpdatedAt)},
			{"last_used_at", second(c.LastUsedAt)},
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
		newRotateSecretCommand(environ),
		newClientSecretCommand(environ))
	return adminGroup("client", "Manage clients: the programs that ask for tokens", commands...)
}

func newRotateSecretCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate-secret",
		Short: "Make a new secret; the old ones go on working for a while",
		Long: `Make a new secret, shown this once. The client's other secrets go on working for --overlap
and then expire by themselves. If one was stolen, --overlap 0 ends them within a second.

` + exitCodes,
		Example: `  grantd client rotate-secret cl_06h0q8zexdy39fwxc4qda8n39g --overlap 24h`,
	}
	overlap := cmd.Flags().String("overlap", "24h", "how long the other secrets go on working, as 36h or 7d; 0: not at all")
	return clients.one(environ, cmd, func(ctx context.Context, a *admin, c *api.Client, _ string) error {
		until, err := parseDays(*overlap)
		if err != nil || until < 0 {
			return wrongUsage("--overlap %s is no time; write it as 36h, 7d or 0", printable(*overlap))
		}
		seconds := int(until / time.Second)
		got, err := a.api.RotateClientSecretWithResponse(ctx, c.ID, &api.RotateClientSecretParams{IdempotencyKey: uuid.NewString()},
			api.SecretRotation{Overlap: &seconds})
		if err := a.check(got, err); err != nil {
			return err
		}
		err = printSecret(a, got.JSON201)
		a.say("\nThe secret is shown this once: keep it now. The others expire after %s.", *overlap)
		return err
	})
}

// printSecret shows a secret that was just made.
func printSecret(a *admin, made *api.NewClientSecret) error {
	if a.json {
		return printObject(a, made)
	}
	return writeProperties(a.cmd.OutOrStdout(), []property{
		{"id", made.ID}, {"client_secret", made.ClientSecret}, {"fingerprint", made.Fingerprint}, {"created_at", second(&made.CreatedAt)},
	})
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
				{"FINGERPRINT", func(s api.ClientSecret) string { return s.Fingerprint }, whole},
				{"CREATED", func(s api.ClientSecret) string { return minute(s.CreatedAt) }, short},
				{"EXPIRES", func(s api.ClientSecret) string { return second(s.ExpiresAt) }, short},
			}, "The client has no secret.")
		})

	add := clients.one(environ, newClientSecretAdd(),
		func(ctx context.Context, a *admin, c *api.Client, _ string) error {
			chosen, err := a.chosenSecret()
			if err != nil {
				return err
			}
			got, err := a.api.CreateClientSecretWithResponse(ctx, c.ID, &api.CreateClientSecretParams{IdempotencyKey: uuid.NewString()},
				api.ClientSecretFields{ClientSecret: chosen})
			if err := a.check(got, err); err != nil {
				return err
			}
			err = printSecret(a, got.JSON201)
			if got.JSON201.ClientSecret != "" {
				a.say("\nThe secret is shown this once: keep it now.")
			}
			a.say("\nWhen the client uses it, delete the old one:\n"+
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
	generate := &cobra.Command{
		Use: "generate", Short: "Print a secret for a client that \"grantd apply\" or --secret-file will give it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, _ := storage.NewSecret(storage.SecretPrefixClient)
			_, err := fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		},
	}
	return group(&cobra.Command{Use: "secret", Short: "Rotate a client's secret"}, list, add, remove, generate)
}

const secretFileFlag = "secret-file"

func newClientSecretAdd() *cobra.Command {
	cmd := &cobra.Command{Use: "add", Short: "Give a client another secret; the ones it has stay valid"}
	cmd.Flags().String(secretFileFlag, "", "`file` with a secret made by \"grantd client secret generate\" (otherwise the server makes one and shows it)")
	return cmd
}

// chosenSecret is what --secret-file names, or empty.
func (a *admin) chosenSecret() (string, error) {
	file, err := a.cmd.Flags().GetString(secretFileFlag)
	if err != nil || file == "" {
		return "", err
	}
	text, fault := readSecretFile(file)
	if fault != nil {
		return "", Faults{{Where: "--" + secretFileFlag, Problem: fault.Problem, Mend: fault.Mend}}
	}
	return text, nil
}
