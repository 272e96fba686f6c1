package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/oapi-codegen/nullable"

	"grantd/api"
	"grantd/examples/mcp-server/notes"
)

const (
	demoUsername   = "demo"
	demoClientName = "Notes server of grantd demo"
)

// demoAccount is what the demo prepared: how to sign in, and how the MCP server
// introspects.
type demoAccount struct {
	password     Secret
	clientID     string
	clientSecret Secret
}

// seed prepares the demo through the admin API, as an admin would. On a database
// that has seen a demo before it replaces what that one left.
func (d *demo) seed(ctx context.Context, adminURL, adminKey, mcpURL string) (*demoAccount, error) {
	client, err := api.NewClientWithResponses(adminURL,
		api.WithHTTPClient(&http.Client{Timeout: 30 * time.Second}),
		api.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+adminKey)
			return nil
		}))
	if err != nil {
		return nil, err
	}
	s := &seeder{api: client}
	if err := s.openRegistration(ctx); err != nil {
		return nil, fmt.Errorf("the registration policy: %w", err)
	}
	account := &demoAccount{password: NewSecret(randomPassword())}
	if err := s.user(ctx, account.password.Reveal()); err != nil {
		return nil, fmt.Errorf("the user: %w", err)
	}
	if err := s.introspectionClient(ctx, account); err != nil {
		return nil, fmt.Errorf("the MCP server's client: %w", err)
	}
	if err := s.resource(ctx, mcpURL, account.clientID); err != nil {
		return nil, fmt.Errorf("the resource: %w", err)
	}
	return account, nil
}

type seeder struct{ api *api.ClientWithResponses }

// openRegistration lets every client introduce itself: only this machine reaches
// the demo, and whoever tries it out is the administrator.
func (s *seeder) openRegistration(ctx context.Context) error {
	changed, err := s.api.UpdateRegistrationPolicyWithApplicationMergePatchPlusJSONBodyWithResponse(ctx, nil, api.RegistrationPolicyPatch{
		Dynamic: nullable.NewNullableWithValue("allow"), MetadataDocuments: nullable.NewNullableWithValue("allow"),
	})
	return expect(http.StatusOK, changed, err)
}

// user makes the demo user, or gives the one that is there a new password.
func (s *seeder) user(ctx context.Context, password string) error {
	made, err := s.api.CreateUserWithResponse(ctx, nil, api.UserFields{
		Username: demoUsername, Name: "Demo User", Email: "demo@example.com", Password: &password,
	})
	if err != nil || made.StatusCode() != http.StatusConflict {
		return expect(http.StatusCreated, made, err)
	}
	list, err := s.api.ListUsersWithResponse(ctx, &api.ListUsersParams{Username: demoUsername})
	if err := expect(http.StatusOK, list, err); err != nil {
		return err
	}
	if len(list.JSON200.Items) != 1 {
		return errors.New("it is taken and not there")
	}
	changed, err := s.api.UpdateUserWithApplicationMergePatchPlusJSONBodyWithResponse(ctx, list.JSON200.Items[0].ID, nil, api.UserPatch{
		Password: nullable.NewNullableWithValue(password),
		Disabled: nullable.NewNullableWithValue(false),
	})
	return expect(http.StatusOK, changed, err)
}

// introspectionClient makes the client by which the MCP server asks about
// tokens. Nobody knows the secret of an earlier demo's any more, so that one goes.
func (s *seeder) introspectionClient(ctx context.Context, account *demoAccount) error {
	var old []string
	err := pages(func(cursor string) (string, error) {
		list, err := s.api.ListClientsWithResponse(ctx, &api.ListClientsParams{Cursor: cursor})
		if err := expect(http.StatusOK, list, err); err != nil {
			return "", err
		}
		for _, client := range list.JSON200.Items {
			if client.Source == "registered" && client.ClientName == demoClientName {
				old = append(old, client.ID)
			}
		}
		return list.JSON200.NextCursor, nil
	})
	if err != nil {
		return err
	}
	for _, id := range old {
		gone, err := s.api.DeleteClientWithResponse(ctx, id, nil)
		if err := expect(http.StatusNoContent, gone, err); err != nil {
			return err
		}
	}
	made, err := s.api.CreateClientWithResponse(ctx, nil, api.ClientFields{
		ClientName: demoClientName, GrantTypes: []string{"client_credentials"}, TokenEndpointAuthMethod: "client_secret_basic",
	})
	if err := expect(http.StatusCreated, made, err); err != nil {
		return err
	}
	account.clientID, account.clientSecret = made.JSON201.ClientID, NewSecret(made.JSON201.ClientSecret)
	return nil
}

// resource registers the MCP server with its scopes, anew or over what an
// earlier demo at the same address registered.
func (s *seeder) resource(ctx context.Context, mcpURL, clientID string) error {
	var scopes []api.Scope
	for _, scope := range notes.Scopes() {
		scopes = append(scopes, api.Scope{Name: scope.Name, Description: scope.Description, Tools: scope.Tools})
	}
	made, err := s.api.CreateResourceWithResponse(ctx, nil, api.ResourceFields{
		URI: mcpURL, Name: "Notes", Scopes: scopes, IntrospectionClients: []string{clientID},
	})
	if err != nil || made.StatusCode() != http.StatusConflict {
		return expect(http.StatusCreated, made, err)
	}
	list, err := s.api.ListResourcesWithResponse(ctx, &api.ListResourcesParams{URI: mcpURL})
	if err := expect(http.StatusOK, list, err); err != nil {
		return err
	}
	if len(list.JSON200.Items) != 1 {
		return errors.New("it is taken and not there")
	}
	changed, err := s.api.UpdateResourceWithApplicationMergePatchPlusJSONBodyWithResponse(ctx, list.JSON200.Items[0].ID, nil, api.ResourcePatch{
		Scopes:               nullable.NewNullableWithValue(scopes),
		IntrospectionClients: nullable.NewNullableWithValue([]string{clientID}),
	})
	return expect(http.StatusOK, changed, err)
}

// pages calls read with the cursor of each page until it returns none.
func pages(read func(cursor string) (next string, err error)) error {
	cursor := ""
	for {
		next, err := read(cursor)
		if err != nil || next == "" {
			return err
		}
		cursor = next
	}
}

// expect turns an answer of the admin API with another status into an error.
func expect(status int, answer interface{ Status() string }, err error) error {
	if err != nil {
		return fmt.Errorf("the admin API did not answer: %w", err)
	}
	if !strings.HasPrefix(answer.Status(), fmt.Sprint(status, " ")) {
		return fmt.Errorf("the admin API answered %s", answer.Status())
	}
	return nil
}
