package main

import (
	"context"
	"io"

	"grantd/cmd/grantd/internal/walk"
	"grantd/examples/mcp-server/notes"
)

// takeWalk acts as an MCP client of the demo. Its error is the step that failed.
func (d *demo) takeWalk(ctx context.Context, mcpURL string, account *demoAccount, stdout io.Writer) error {
	password := account.password.Reveal()
	var approver walk.Approver = walk.Person{
		SignIn: demoUsername + " with password " + password,
		Open:   walk.OpenBrowser,
	}
	if d.headless {
		approver = walk.NewHeadless(demoUsername, password)
	}
	return walk.Run(ctx, walk.Options{
		MCPURL:   mcpURL,
		ReadTool: walk.Tool{Name: notes.ToolList},
		WriteTool: walk.Tool{Name: notes.ToolAdd, Arguments: map[string]any{
			"title": "First steps", "text": "Written by grantd demo --walk",
		}},
		Approver: approver,
		Out:      stdout,
	})
}
