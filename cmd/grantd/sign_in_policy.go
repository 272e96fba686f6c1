package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"grantd/api"
)

// newSignInPolicyCommand shows and changes how people must sign in.
func newSignInPolicyCommand(environ []string) *cobra.Command {
	show := adminCommand(environ, &cobra.Command{Use: "show", Short: "Show the policy", Args: cobra.NoArgs},
		func(ctx context.Context, a *admin, _ []string) error {
			got, err := a.api.GetSignInPolicyWithResponse(ctx)
			if err := a.check(got, err); err != nil {
				return err
			}
			return printSignInPolicy(a, got.JSON200, got.Body)
		})
	set := &cobra.Command{
		Use:   "set",
		Short: "Change the policy; it is in force within a second",
		Long: `Change the policy. It is in force within a second, for sign-ins that come: whoever is
signed in stays so, for a day at most. What is not given stays as it is; "" sets a rule
back to how a new server has it.

` + exitCodes,
		Example: `  grantd sign-in-policy set --second-factor required
  grantd sign-in-policy set --destructive-scopes second_factor`,
		Args: cobra.NoArgs,
	}
	fields := []field{
		{"second-factor", "second_factor", textField, "none: each person decides; required: everybody needs one; passkeys_only: a password proves nothing"},
		{"destructive-scopes", "destructive_scopes", textField, "none, or second_factor: who allows destructive scopes needs one"},
	}
	addFields(set, fields)
	adminCommand(environ, set, func(ctx context.Context, a *admin, _ []string) error {
		a.fields = fields
		patch, err := a.body(true)
		if err != nil {
			return err
		}
		if len(patch) == 0 {
			return errNothing
		}
		body, err := encode(patch)
		if err != nil {
			return err
		}
		got, err := a.api.UpdateSignInPolicyWithBodyWithResponse(ctx, nil, "application/merge-patch+json", body)
		if err := a.check(got, err); err != nil {
			return err
		}
		return printSignInPolicy(a, got.JSON200, got.Body)
	})
	return adminGroup("sign-in-policy", "Show or change how people must sign in", show, set)
}

func printSignInPolicy(a *admin, p *api.SignInPolicy, body []byte) error {
	if a.json {
		return a.printJSON(body)
	}
	return writeProperties(a.cmd.OutOrStdout(), []property{
		{"second_factor", p.SecondFactor},
		{"destructive_scopes", p.DestructiveScopes},
		{"updated_at", second(p.UpdatedAt)},
	})
}

// newFactorsCommand shows what a user proves besides a password.
func newFactorsCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{Use: "factors", Short: "Show a user's authenticator app, passkeys and recovery codes"}
	return users.one(environ, cmd, func(ctx context.Context, a *admin, u *api.User, _ string) error {
		got, err := a.api.GetUserFactorsWithResponse(ctx, u.ID)
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		properties := []property{{"authenticator_app", "none"}, {"recovery_codes", strconv.Itoa(got.JSON200.RecoveryCodes)}, {"passkeys", strconv.Itoa(len(got.JSON200.Passkeys))}}
		if t := got.JSON200.Totp; t != nil {
			properties[0].text = "made " + second(&t.CreatedAt) + ", used " + second(&t.LastUsedAt)
		}
		for _, p := range got.JSON200.Passkeys {
			used := "never used"
			if p.LastUsedAt != nil {
				used = "used " + second(p.LastUsedAt)
			}
			properties = append(properties, property{p.ID, printable(p.Name) + ", made " + second(&p.CreatedAt) + ", " + used})
		}
		return writeProperties(a.cmd.OutOrStdout(), properties)
	})
}

// newResetFactorsCommand is for somebody who has lost their second factor.
func newResetFactorsCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{Use: "reset-factors", Short: "Remove a user's authenticator app, passkeys and recovery codes; their sessions end"}
	addYes(cmd)
	return users.one(environ, cmd, func(ctx context.Context, a *admin, u *api.User, _ string) error {
		if err := a.confirm("Remove the second factor of %s? Until they set up another, their password alone signs them in, if they have one and the sign-in policy lets it.", printable(u.Username)); err != nil {
			return err
		}
		got, err := a.api.ResetUserFactorsWithResponse(ctx, u.ID)
		if err := a.check(got, err); err != nil {
			return err
		}
		a.say("The user %s has no second factor and is signed out.", printable(u.Username))
		return nil
	})
}
