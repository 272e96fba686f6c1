package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"grantd/api"
)

const tokenValues = `VALUE is an access token, a refresh token (also one that was used already), an
authorization code, a client secret, an admin key that was made with admin-key add, or the
jti of an access token as logs have it. Write - to give it on standard input: shells keep
what is typed as an argument, and other users can see it.

`

func newTokenCommand(environ []string) *cobra.Command {
	inspect := &cobra.Command{
		Use:   "inspect VALUE",
		Short: "Say whose a leaked token, code or secret is, and whether it is live",
		Long: `Say whose a leaked token, code or secret is, and whether it is live. Nothing is changed.

` + tokenValues + `A forged value is not found (exit code 3). Of a jti alone nothing can be checked: it only
names its installation.

` + exitCodes,
		Example: `  grantd token inspect - < leaked.txt`,
		Args:    argument(1, "one value, or - for standard input"),
	}
	adminCommand(environ, inspect, func(ctx context.Context, a *admin, args []string) error {
		value, err := a.leaked(args[0])
		if err != nil {
			return err
		}
		got, err := a.inspectToken(ctx, value)
		if err != nil {
			return err
		}
		if a.json {
			return printObject(a, got)
		}
		return a.writeInspection(ctx, a.cmd.OutOrStdout(), *got)
	})

	revoke := &cobra.Command{
		Use:   "revoke VALUE",
		Short: "End the installation that a leaked token or code belongs to",
		Long: `End the one installation that a leaked token or code belongs to: its refresh token stops
at once, and introspection reports its access tokens as inactive. The person's grant and
other installations stay. A machine's access token, a code that nobody has redeemed, a
client secret and an admin key end by themselves. A server that checks tokens by itself believes an
access token until it expires, 15 minutes at most.

` + tokenValues + exitCodes,
		Args: argument(1, "one value, or - for standard input"),
	}
	addYes(revoke)
	adminCommand(environ, revoke, func(ctx context.Context, a *admin, args []string) error {
		value, err := a.leaked(args[0])
		if err != nil {
			return err
		}
		if yes, _ := a.cmd.Flags().GetBool("yes"); !yes && !a.json {
			found, err := a.inspectToken(ctx, value)
			if err != nil {
				return err
			}
			if err := a.writeInspection(ctx, a.cmd.ErrOrStderr(), *found); err != nil {
				return err
			}
			if err := a.confirm("%s", endQuestion(found)); err != nil {
				return err
			}
		}
		got, err := a.api.RevokeTokenWithResponse(ctx, api.TokenValue{Value: value})
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		a.say("It is worthless now (%s).", got.JSON200.Reason)
		return nil
	})
	return adminGroup("token", "When something leaks: find out whose it is, and end it", inspect, revoke)
}

func endQuestion(found *api.TokenInspection) string {
	switch {
	case found.FamilyID != "":
		return "End this installation? Its person must sign in there again."
	case found.SecretID != "":
		return "Delete this secret? Whoever uses it is locked out."
	case found.AdminKeyID != "":
		return "Delete this admin key? Whoever uses it is locked out."
	}
	return "End this?"
}

// leaked is the value in the argument, or on standard input if that is -.
func (a *admin) leaked(argument string) (string, error) {
	if argument != "-" {
		return argument, nil
	}
	in := a.cmd.InOrStdin()
	if isTerminal(in) {
		_, _ = fmt.Fprint(a.cmd.ErrOrStderr(), "The value (not shown): ")
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		_, _ = fmt.Fprintln(a.cmd.ErrOrStderr())
		return strings.TrimSpace(string(text)), err
	}
	// One line, so that a pipe may go on with the answer to the question.
	line, err := bufio.NewReader(io.LimitReader(in, maxSecretFile)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", wrongUsage("standard input cannot be read: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", wrongUsage("there is nothing on standard input")
	}
	return line, nil
}

func (a *admin) inspectToken(ctx context.Context, value string) (*api.TokenInspection, error) {
	got, err := a.api.InspectTokenWithResponse(ctx, api.TokenValue{Value: value})
	if err := a.check(got, err); err != nil {
		return nil, err
	}
	return got.JSON200, nil
}

// writeInspection shows what is known, with the names that people know.
func (a *admin) writeInspection(ctx context.Context, w io.Writer, v api.TokenInspection) error {
	names := map[string]string{}
	if v.UserID != "" {
		nameOf(ctx, a, users, v.UserID, names)
	}
	if v.ClientID != "" {
		nameOf(ctx, a, clients, v.ClientID, names)
	}
	if v.AdminKeyID != "" {
		if got, err := a.api.GetAdminKeyWithResponse(ctx, v.AdminKeyID); err == nil && got.JSON200 != nil {
			names[v.AdminKeyID] = got.JSON200.Name
		}
	}
	live := "yes"
	if !v.Live {
		live = "no: " + strings.ReplaceAll(v.Reason, "_", " ")
	}
	installation := v.FamilyID
	if v.FamilyLive != nil {
		installation += map[bool]string{true: " (can get tokens)", false: " (has ended)"}[*v.FamilyLive]
	}
	return writeProperties(w, []property{
		{"kind", strings.ReplaceAll(v.Kind, "_", " ")},
		{"live", live},
		{"user", named(names, v.UserID)},
		{"client", named(names, v.ClientID)},
		{"resource", v.Resource},
		{"scopes", strings.Join(v.Scopes, " ")},
		{"installation", installation},
		{"jti", v.TokenID},
		{"secret", v.SecretID},
		{"admin_key", named(names, v.AdminKeyID)},
		{"issued_at", second(v.IssuedAt)},
		{"expires_at", second(v.ExpiresAt)},
		{"last_used_at", second(v.LastUsedAt)},
	})
}

// named is a name with its id.
func named(names map[string]string, id string) string {
	if names[id] == id || names[id] == "" {
		return id
	}
	return names[id] + " (" + id + ")"
}
