package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

var providers = &noun[api.Provider]{
	name: "provider", reference: "id or name", prefix: storage.PrefixProvider,
	adds: &field{flag: "issuer", name: "issuer", usage: "issuer, exactly as the provider's metadata has it"},
	fields: []field{
		{"name", "name", textField, "what administrators call it; unique"},
		{"client-id", "client_id", textField, "grantd's client id there"},
		{"label", "label", textField, "what the button on the sign-in page calls it"},
		{"provider-scope", "scopes", listField, "a `scope` to ask for besides openid"},
		{"allowed-tenant", "allowed_tenants", listField, "Entra ID: a `tenant` that may sign in"},
		{"allowed-domain", "allowed_domains", listField, "a `domain` of verified e-mail addresses that may sign in"},
		{"allowed-group", "allowed_groups", listField, "a `group` that may sign in"},
		{"acr-value", "acr_values", listField, "an authentication `context`, of which each sign-in must meet one"},
		{"reverify-after", "reverify_after", numberField, "`seconds` after which people must have signed in there again"},
		{"second-factor", "second_factor", textField, "whose `affair` a second factor is: trusted (the provider's) or required (also asked here)"},
		managedBy,
	},
	example: `  grantd provider add https://example.okta.com --name Okta --client-id 0oa1example --file okta.json
  where okta.json is {"preset": "okta", "client_secret": "...", "automatic": true}`,
	columns: []column[api.Provider]{
		{"NAME", func(p api.Provider) string { return p.Name }, whole},
		{"ISSUER", func(p api.Provider) string { return p.Issuer }, whole},
		{"PRESET", func(p api.Provider) string { return p.Preset }, short},
		{"ENABLED", func(p api.Provider) string { return yes(p.Enabled) }, short},
		{"ID", func(p api.Provider) string { return p.ID }, short},
	},
	list: func(ctx context.Context, a *admin, cursor string) ([]api.Provider, string, error) {
		return listProviders(ctx, a, api.ListProvidersParams{Cursor: cursor})
	},
	byName: func(ctx context.Context, a *admin, name string) ([]api.Provider, error) {
		found, _, err := listProviders(ctx, a, api.ListProvidersParams{Name: name})
		return found, err
	},
	get: func(ctx context.Context, a *admin, id string) (*api.Provider, string, answer, error) {
		got, err := a.api.GetProviderWithResponse(ctx, id)
		if err != nil || got.JSON200 == nil {
			return nil, "", got, err
		}
		return got.JSON200, got.Headers200.ETag, got, nil
	},
	create: func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error) {
		return a.api.CreateProviderWithBodyWithResponse(ctx, &api.CreateProviderParams{IdempotencyKey: key}, "application/json", body)
	},
	update: func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error) {
		return a.api.UpdateProviderWithBodyWithResponse(ctx, id, &api.UpdateProviderParams{IfMatch: etag}, "application/merge-patch+json", body)
	},
	remove: func(ctx context.Context, a *admin, id, etag string) (answer, error) {
		return a.api.DeleteProviderWithResponse(ctx, id, &api.DeleteProviderParams{IfMatch: etag})
	},
	id:     func(p api.Provider) string { return p.ID },
	called: func(p api.Provider) string { return p.Name },
	title:  func(p api.Provider) string { return p.Issuer },
	show: func(p api.Provider) []property {
		secret := "none"
		switch {
		case p.ClientSecretSetAt != nil:
			secret = "set at " + second(p.ClientSecretSetAt)
		case p.HasClientSecret:
			secret = "set"
		}
		return []property{
			{"id", p.ID},
			{"name", p.Name},
			{"issuer", p.Issuer},
			{"preset", p.Preset},
			{"client_id", p.ClientID},
			{"client_secret", secret},
			{"redirect_uri", p.RedirectURI},
			{"scopes", strings.Join(p.Scopes, " ")},
			{"label", p.Label},
			{"automatic", yes(p.Automatic)},
			{"link_by_email", yes(p.LinkByEmail)},
			{"allowed_tenants", strings.Join(p.AllowedTenants, ", ")},
			{"allowed_domains", strings.Join(p.AllowedDomains, ", ")},
			{"allowed_groups", strings.Join(p.AllowedGroups, ", ")},
			{"acr_values", strings.Join(p.AcrValues, ", ")},
			{"reverify_after", (time.Duration(p.ReverifyAfter) * time.Second).String()},
			{"second_factor", p.SecondFactor},
			{"enabled", yes(p.Enabled)},
			{"managed_by", p.ManagedBy},
			{"created_at", second(&p.CreatedAt)},
			{"updated_at", second(&p.UpdatedAt)},
		}
	},
}

func listProviders(ctx context.Context, a *admin, params api.ListProvidersParams) ([]api.Provider, string, error) {
	params.Limit = page(pageSize)
	got, err := a.api.ListProvidersWithResponse(ctx, &params)
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

func newProviderCommand(environ []string) *cobra.Command {
	test := &cobra.Command{Use: "test", Short: "Test a provider, and show whom an ID token would sign in", Long: `Test a provider, and show whom an ID token would sign in.

Nothing is changed. It takes a key that may write, because the server asks the provider.
The exit code is 1 when something is wrong.

` + exitCodes}
	test.Flags().String("id-token-file", "", "`file` with an ID token that it issued to this client")
	providers.one(environ, test, testProvider)
	return adminGroup("provider", "Manage identity providers that people sign in with", append(providers.commands(environ), test)...)
}

func testProvider(ctx context.Context, a *admin, p *api.Provider, _ string) error {
	body := api.ProviderTest{}
	if name, _ := a.cmd.Flags().GetString("id-token-file"); name != "" {
		token, fault := readSecretFile(name)
		if fault != nil {
			return wrongUsage("--id-token-file %s; mend: %s", fault.Problem, fault.Mend)
		}
		body.IDToken = token
	}
	got, err := a.api.TestProviderWithResponse(ctx, p.ID, body)
	if err := a.check(got, err); err != nil {
		return err
	}
	report := got.JSON200
	if err := a.showReport(report); err != nil || report.Ok {
		return err
	}
	return &exitError{exitFailure, errors.New("something is wrong with the provider, or whom the ID token names may not sign in")}
}

func (a *admin) showReport(report *api.ProviderReport) error {
	if a.json {
		text, err := json.Marshal(report)
		if err != nil {
			return err
		}
		return a.printJSON(text)
	}
	var shown []property
	for _, c := range report.Checks {
		outcome := "good: "
		if !c.Ok {
			outcome = "WRONG: "
		}
		shown = append(shown, property{c.Name, outcome + c.Detail})
	}
	shown = append(shown, property{"redirect_uri", report.RedirectURI})
	if who := report.Person; who != nil {
		verified := "not verified"
		if who.EmailVerified {
			verified = "verified"
		}
		shown = append(shown, property{"subject", who.Subject}, property{"name", who.Name},
			property{"email", fmt.Sprintf("%s (%s)", who.Email, verified)}, property{"groups", strings.Join(who.Groups, ", ")})
	}
	return writeProperties(a.cmd.OutOrStdout(), shown)
}
