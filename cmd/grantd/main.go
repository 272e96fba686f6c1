// Command grantd is a self-hosted OAuth 2.1 authorization server for MCP.
//
// Each command has a file of its own here; this one only dispatches. The rules
// of the server live in package server and below.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1 // it was tried and did not work
	exitUsage   = 2 // a wrong command, flag or setting: nothing was tried
)

func main() {
	if err := hardenProcess(); err != nil {
		fmt.Fprintln(os.Stderr, "grantd:", err)
		os.Exit(exitFailure)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run executes one command line with the given environment ("NAME=value") until
// it is done or ctx ends, and returns the exit code.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := newRootCommand(environ)
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(separateMigrateValue(args))
	root.SetOut(stdout)
	root.SetErr(stderr)

	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(stderr, "grantd:", err)
	if !started {
		return exitUsage
	}
	return exitCodeOf(err)
}

func newRootCommand(environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "grantd",
		Short: "An OAuth 2.1 authorization server for MCP",
		Long: `grantd is a self-hosted OAuth 2.1 authorization server for MCP servers.

Settings come from flags, else from the environment (--some-name is
GRANTD_SOME_NAME), else from the --config file, else they have defaults.
"grantd config" shows them all and where each came from.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true, // Run prints them, once
	}
	root.SetVersionTemplate("grantd {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nmend: %q lists what it takes", err, cmd.CommandPath()+" --help")
	})
	root.AddCommand(
		newDemoCommand(environ),
		newServeCommand(environ),
		newMigrateCommand(environ),
		newBackupCommand(environ),
		newConfigCommand(environ),
		newClientCommand(environ),
		newResourceCommand(environ),
		newUserCommand(environ),
		newProviderCommand(environ),
		newGroupCommand(environ),
		newPolicyCommand(environ),
		newGrantCommand(environ),
		newTokenCommand(environ),
		newRegistrationCommand(environ),
		newSignInPolicyCommand(environ),
		newApplyCommand(environ),
		newExportCommand(environ),
		newKeyCommand(environ),
		newAuditCommand(environ),
		newAdminKeyCommand(environ),
		newLoginCommand(environ),
		newLogoutCommand(environ),
		newWhoamiCommand(environ),
		newVersionCommand(),
	)
	return root
}

// group makes a command that only holds others refuse to be run without one of
// them; cobra would print help and call it a success.
func group(cmd *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%q has no command %q\nmend: %q lists them", cmd.CommandPath(), args[0], cmd.CommandPath()+" --help")
		}
		return fmt.Errorf("%q needs a command\nmend: %q lists them", cmd.CommandPath(), cmd.CommandPath()+" --help")
	}
	cmd.RunE = func(*cobra.Command, []string) error { return nil } // Args never lets it come here
	cmd.AddCommand(subcommands...)
	return cmd
}
