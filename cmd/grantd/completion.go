package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// completionTimeout bounds what a person who pressed Tab waits for.
const completionTimeout = 2 * time.Second

// completion offers what list finds for the first argument of a command. Where
// the server does not answer it offers nothing, and says nothing: the terminal
// shows a half-typed line.
func completion(environ []string, list func(ctx context.Context, a *admin) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a, err := newAdmin(environ, cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completionTimeout)
		defer cancel()
		offers, _ := list(ctx, a)
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}
