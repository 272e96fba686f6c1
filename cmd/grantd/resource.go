package main

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

var resources = &noun[api.Resource]{
	name: "resource", reference: "id or URI", prefix: storage.PrefixResource,
	adds: &field{flag: "uri", name: "uri", usage: "URI, that of the MCP server as clients know it"},
	fields: []field{
		{"name", "name", textField, "the name people see"},
		{"scope", "scopes", scopesField, "`NAME=SENTENCE`: a scope, and what people are asked when they approve it"},
		{"introspection-client", "introspection_clients", listField, "`client_id` of a client that may introspect its tokens"},
		{"access-token-lifetime", "access_token_lifetime", numberField, "seconds, 60 to 900 (default 600)"},
		managedBy,
	},
	example: `  grantd resource add https://mcp.example.com/mcp
  grantd resource add https://mcp.example.com/mcp --name Notes \
    --scope "notes:read=Read your notes" --tool notes:read=list_notes,read_note`,
	columns: []column[api.Resource]{
		{"URI", func(r api.Resource) string { return r.URI }, whole},
		{"NAME", func(r api.Resource) string { return r.Name }, short},
		{"SCOPES", func(r api.Resource) string { return scopeNames(r.Scopes) }, short},
		{"ID", func(r api.Resource) string { return r.ID }, short},
	},
	list: func(ctx context.Context, a *admin, cursor string) ([]api.Resource, string, error) {
		got, err := a.api.ListResourcesWithResponse(ctx, &api.ListResourcesParams{Cursor: cursor, Limit: page(pageSize)})
		if err := a.check(got, err); err != nil {
			return nil, "", err
		}
		return got.JSON200.Items, got.JSON200.NextCursor, nil
	},
	byName: func(ctx context.Context, a *admin, name string) ([]api.Resource, error) {
		got, err := a.api.ListResourcesWithResponse(ctx, &api.ListResourcesParams{URI: name})
		if err := a.check(got, err); err != nil {
			return nil, err
		}
		return got.JSON200.Items, nil
	},
	get: func(ctx context.Context, a *admin, id string) (*api.Resource, string, answer, error) {
		got, err := a.api.GetResourceWithResponse(ctx, id)
		if err != nil || got.JSON200 == nil {
			return nil, "", got, err
		}
		return got.JSON200, got.Headers200.ETag, got, nil
	},
	create: func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error) {
		return a.api.CreateResourceWithBodyWithResponse(ctx, &api.CreateResourceParams{IdempotencyKey: key}, "application/json", body)
	},
	update: func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error) {
		return a.api.UpdateResourceWithBodyWithResponse(ctx, id, &api.UpdateResourceParams{IfMatch: etag}, "application/merge-patch+json", body)
	},
	remove: func(ctx context.Context, a *admin, id, etag string) (answer, error) {
		return a.api.DeleteResourceWithResponse(ctx, id, &api.DeleteResourceParams{IfMatch: etag})
	},
	id:     func(r api.Resource) string { return r.ID },
	called: func(r api.Resource) string { return r.URI },
	title:  func(r api.Resource) string { return r.Name },
	show: func(r api.Resource) []property {
		return []property{
			{"id", r.ID},
			{"uri", r.URI},
			{"name", r.Name},
			{"scopes", scopeLines(r.Scopes)},
			{"introspection_clients", strings.Join(r.IntrospectionClients, "\n")},
			{"access_token_lifetime", strconv.Itoa(r.AccessTokenLifetime) + " seconds"},
			{"managed_by", r.ManagedBy},
			{"created_at", second(&r.CreatedAt)},
			{"updated_at", second(&r.UpdatedAt)},
		}
	},
	addFlags: addDiscoverFlags,
}

func init() { // they need resources themselves
	resources.prepare, resources.report = discoverResource, reportResource
}

func newResourceCommand(environ []string) *cobra.Command {
	return adminGroup("resource", "Manage resources: the MCP servers that tokens are for", append(resources.commands(environ),
		newResourceInspectCommand(environ), newResourceSetupCommand(environ))...)
}
