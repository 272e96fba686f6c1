package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

var policies = &noun[api.Policy]{
	name: "policy", reference: "id or name", prefix: storage.PrefixPolicy,
	adds: &field{flag: "name", name: "name", usage: "name, which people see when it lets them approve"},
	fields: []field{
		{"group", "groups", listField, "a `group`, one of which the user is in (default: every user)"},
		{"resource", "resources", listField, "`URI` of a resource (default: every resource)"},
		{"scope", "scopes", listField, "a `scope` of these (default: every scope that is not destructive)"},
		{"client", "clients", listField, "`client_id` of a client (default: every client)"},
		{"trust", "trust", listField, "how far the client is known, a `level` of registered, trusted or unverified (default: all three)"},
		managedBy,
	},
	columns: []column[api.Policy]{
		{"NAME", func(p api.Policy) string { return p.Name }, whole},
		{"GROUPS", func(p api.Policy) string { return strings.Join(p.Groups, ", ") }, short},
		{"RESOURCES", func(p api.Policy) string { return strings.Join(p.Resources, " ") }, short},
		{"SCOPES", func(p api.Policy) string { return strings.Join(p.Scopes, " ") }, short},
	},
	list: func(ctx context.Context, a *admin, cursor string) ([]api.Policy, string, error) {
		got, err := a.api.ListPoliciesWithResponse(ctx, &api.ListPoliciesParams{Cursor: cursor, Limit: page(pageSize)})
		if err := a.check(got, err); err != nil {
			return nil, "", err
		}
		return got.JSON200.Items, got.JSON200.NextCursor, nil
	},
	byName: func(ctx context.Context, a *admin, name string) ([]api.Policy, error) {
		got, err := a.api.ListPoliciesWithResponse(ctx, &api.ListPoliciesParams{Name: name})
		if err := a.check(got, err); err != nil {
			return nil, err
		}
		return got.JSON200.Items, nil
	},
	get: func(ctx context.Context, a *admin, id string) (*api.Policy, string, answer, error) {
		got, err := a.api.GetPolicyWithResponse(ctx, id)
		if err != nil || got.JSON200 == nil {
			return nil, "", got, err
		}
		return got.JSON200, got.Headers200.ETag, got, nil
	},
	create: func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error) {
		return a.api.CreatePolicyWithBodyWithResponse(ctx, &api.CreatePolicyParams{IdempotencyKey: key}, "application/json", body)
	},
	update: func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error) {
		return a.api.UpdatePolicyWithBodyWithResponse(ctx, id, &api.UpdatePolicyParams{IfMatch: etag}, "application/merge-patch+json", body)
	},
	remove: func(ctx context.Context, a *admin, id string) (answer, error) {
		return a.api.DeletePolicyWithResponse(ctx, id)
	},
	id:     func(p api.Policy) string { return p.ID },
	called: func(p api.Policy) string { return p.Name },
	title:  func(api.Policy) string { return "" },
	show: func(p api.Policy) []property {
		return []property{
			{"id", p.ID},
			{"name", p.Name},
			{"groups", strings.Join(p.Groups, ", ")},
			{"resources", strings.Join(p.Resources, "\n")},
			{"scopes", strings.Join(p.Scopes, " ")},
			{"clients", strings.Join(p.Clients, "\n")},
			{"trust", strings.Join(p.Trust, ", ")},
			{"skip_consent", yes(p.SkipConsent)},
			{"managed_by", p.ManagedBy},
			{"created_at", second(&p.CreatedAt)},
			{"updated_at", second(&p.UpdatedAt)},
		}
	},
}

func newPoliciesCommand(environ []string) *cobra.Command {
	return adminGroup("policy", "Manage policies: who may approve what, for which clients", policies.commands(environ)...)
}
