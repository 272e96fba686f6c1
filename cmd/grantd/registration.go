package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"grantd/api"
)

func newRegistrationCommand(environ []string) *cobra.Command {
	commands := append(newRequestCommands(environ),
		newRegistrationPolicyCommand(environ), newProfilesCommand(environ), newRegistrationTokenCommand(environ))
	return adminGroup("registration", "Decide which clients may introduce themselves", commands...)
}

// newRequestCommands are about the clients that people have asked for.
func newRequestCommands(environ []string) []*cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the clients that people have asked for, oldest first", Args: cobra.NoArgs}
	state := list.Flags().String("state", "", "only those that are pending, allowed or refused")
	adminCommand(environ, list, func(ctx context.Context, a *admin, _ []string) error {
		requests, err := all(0, func(cursor string) ([]api.RegistrationRequest, string, error) {
			return listRequests(ctx, a, *state, cursor)
		})
		if err != nil {
			return err
		}
		return printList(a, requests, []column[api.RegistrationRequest]{
			{"REQUEST", func(r api.RegistrationRequest) string { return r.ID }, whole},
			{"STATE", func(r api.RegistrationRequest) string { return r.State }, short},
			{"NAME", func(r api.RegistrationRequest) string { return r.ClientName }, short},
			{"HOST", func(r api.RegistrationRequest) string { return r.Host }, short},
			{"CLIENT_ID", func(r api.RegistrationRequest) string { return r.ClientID }, short},
			{"ASKED", func(r api.RegistrationRequest) string { return strconv.Itoa(r.Asked) }, short},
			{"SINCE", func(r api.RegistrationRequest) string { return minute(r.CreatedAt) }, short},
		}, "There is no such request.")
	})

	show := requestCommand(environ, &cobra.Command{Use: "show", Short: "Show one request: where the client's answers go, and who asked"},
		func(ctx context.Context, a *admin, id string) error {
			got, err := a.api.GetRegistrationRequestWithResponse(ctx, id)
			if err := a.checkRequest(id, got, err); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(got.Body)
			}
			r := got.JSON200
			people := make([]string, len(r.AskedBy))
			for i, asker := range r.AskedBy {
				people[i] = asker.Username + "  " + minute(asker.At)
			}
			return writeProperties(a.cmd.OutOrStdout(), []property{
				{"id", r.ID},
				{"client_id", r.ClientID},
				{"client_name", r.ClientName},
				{"source", r.Source},
				{"host", r.Host},
				{"redirect_uris", strings.Join(r.RedirectUris, "\n")},
				{"state", r.State},
				{"asked", strconv.Itoa(r.Asked)},
				{"asked_by", strings.Join(people, "\n")},
				{"created_at", second(&r.CreatedAt)},
				{"decided_at", second(r.DecidedAt)},
			})
		})

	remove := &cobra.Command{Use: "delete", Aliases: []string{"remove"}, Short: "Forget a request and the decision on its client; one on its host stays"}
	addYes(remove)
	requestCommand(environ, remove, func(ctx context.Context, a *admin, id string) error {
		if err := a.confirm("Forget request %s? People may ask for the client again.", printable(id)); err != nil {
			return err
		}
		got, err := a.api.DeleteRegistrationRequestWithResponse(ctx, id)
		if err := a.checkRequest(id, got, err); err != nil {
			return err
		}
		a.say("The request is deleted.")
		return nil
	})

	return []*cobra.Command{
		list, show,
		newDecisionCommand(environ, "allow", "Let people approve a client"),
		newDecisionCommand(environ, "refuse", "Turn a client away; what people have approved already stays"),
		remove,
	}
}

// newDecisionCommand makes the command that decides on a request, also anew.
func newDecisionCommand(environ []string, decision, short string) *cobra.Command {
	cmd := &cobra.Command{Use: decision, Short: short}
	host := cmd.Flags().Bool("host", false, "also every other client of its host, from now on")
	return requestCommand(environ, cmd, func(ctx context.Context, a *admin, id string) error {
		a.fields = []field{{flag: "host", name: "for"}}
		body := api.RegistrationDecision{Decision: decision}
		if *host {
			body.For = "host"
		}
		got, err := a.api.DecideRegistrationRequestWithResponse(ctx, id, body)
		if err := a.checkRequest(id, got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		decided := "Client " + printable(got.JSON200.ClientID)
		if *host {
			decided = "Every client of " + printable(got.JSON200.Host)
		}
		a.say("%s is %s.", decided, got.JSON200.State)
		return nil
	})
}

// requestCommand makes a command that takes the id of one request.
func requestCommand(environ []string, cmd *cobra.Command, run func(ctx context.Context, a *admin, id string) error) *cobra.Command {
	cmd.Use += " REQUEST"
	cmd.Args = argument(1, "the id of one request")
	cmd.ValidArgsFunction = completion(environ, func(ctx context.Context, a *admin) ([]string, error) {
		requests, _, err := listRequests(ctx, a, "", "")
		var offers []string
		for _, r := range requests {
			offers = append(offers, r.ID+"\t"+printable(r.State+" "+r.ClientName))
		}
		return offers, err
	})
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error { return run(ctx, a, args[0]) })
}

// checkRequest is check for an answer about the request with this id.
func (a *admin) checkRequest(id string, got answer, err error) error {
	err = a.check(got, err)
	if exitCodeOf(err) == exitNotFound {
		return &exitError{exitNotFound, fmt.Errorf("there is no request %s\nmend: \"grantd registration list\" shows them", printable(id))}
	}
	return err
}

func listRequests(ctx context.Context, a *admin, state, cursor string) ([]api.RegistrationRequest, string, error) {
	got, err := a.api.ListRegistrationRequestsWithResponse(ctx, &api.ListRegistrationRequestsParams{State: state, Cursor: cursor, Limit: page(pageSize)})
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}

func newRegistrationPolicyCommand(environ []string) *cobra.Command {
	policy := adminCommand(environ, &cobra.Command{Use: "policy", Short: "Show or change who may introduce themselves", Args: cobra.NoArgs},
		func(ctx context.Context, a *admin, _ []string) error {
			got, err := a.api.GetRegistrationPolicyWithResponse(ctx)
			if err := a.check(got, err); err != nil {
				return err
			}
			return printPolicy(a, got.JSON200, got.Body)
		})

	set := &cobra.Command{
		Use:   "set",
		Short: "Change the policy; it is in force within a second",
		Long: `Change the policy. It is in force within a second, and decides on what comes: to end
what people have approved already, disable the client.

allow leaves a client to each person, ask_admin to an administrator first, off turns it
away; token wants an initial access token ("grantd registration token add"). What is not
given stays as it is; "" sets a mode back to how a new server has it.

` + exitCodes,
		Example: `  grantd registration policy set --dynamic allow --metadata-documents allow
  grantd registration policy set --host '*.tools.example.com=allow' --host app.example.net=off`,
		Args: cobra.NoArgs,
	}
	flags := set.Flags()
	flags.String("dynamic", "", "clients that register themselves: allow, ask_admin, token or off")
	flags.String("metadata-documents", "", "clients that a document describes: allow, ask_admin or off")
	flags.StringArray("host", nil, "`HOST=MODE`: allow, ask_admin or off for a host, or for *.DOMAIN (may be given several times)")
	flags.StringArray("remove-host", nil, "a `host` that nothing is decided on any more (may be given several times)")
	flags.StringArray("enable-profile", nil, "`name` of a client profile that counts again (may be given several times)")
	flags.StringArray("disable-profile", nil, "`name` of a client profile that does not count (may be given several times)")
	adminCommand(environ, set, func(ctx context.Context, a *admin, _ []string) error {
		a.fields = []field{
			{flag: "dynamic", name: "dynamic"},
			{flag: "metadata-documents", name: "metadata_documents"},
			{flag: "host", name: "hosts"},
			{flag: "disable-profile", name: "disabled_profiles"},
		}
		patch, etag, err := policyPatch(ctx, a)
		if err != nil {
			return err
		}
		body, err := encode(patch)
		if err != nil {
			return err
		}
		got, err := a.api.UpdateRegistrationPolicyWithBodyWithResponse(ctx, &api.UpdateRegistrationPolicyParams{IfMatch: etag}, "application/merge-patch+json", body)
		if err := a.check(got, err); err != nil {
			return err
		}
		return printPolicy(a, got.JSON200, got.Body)
	})
	policy.AddCommand(set)
	return policy
}

// policyPatch is what was typed as a merge patch. It has a list whole, the values
// that were typed before the rest: so a message's number is that of the flag. The
// ETag is that of the policy whose lists it changes, or "" if it changes none.
func policyPatch(ctx context.Context, a *admin) (patch map[string]any, etag string, err error) {
	flags := a.cmd.Flags()
	patch = map[string]any{}
	for flag, name := range map[string]string{"dynamic": "dynamic", "metadata-documents": "metadata_documents"} {
		if !flags.Changed(flag) {
			continue
		}
		mode, err := flags.GetString(flag)
		if err != nil {
			return nil, "", err
		}
		if patch[name] = mode; mode == "" {
			patch[name] = nil
		}
	}
	lists := map[string][]string{"host": nil, "remove-host": nil, "enable-profile": nil, "disable-profile": nil}
	given := false
	for flag := range lists {
		values, err := flags.GetStringArray(flag)
		if err != nil {
			return nil, "", err
		}
		lists[flag], given = values, given || len(values) > 0
	}
	hosts := []api.HostDecision{}
	for _, text := range lists["host"] {
		host, mode, ok := strings.Cut(text, "=")
		if !ok {
			return nil, "", wrongUsage("--host %s: write HOST=MODE, as app.example.org=allow", printable(text))
		}
		hosts = append(hosts, api.HostDecision{Host: host, Decision: mode})
	}
	if !given {
		if len(patch) == 0 {
			return nil, "", errNothing
		}
		return patch, "", nil
	}

	got, err := a.api.GetRegistrationPolicyWithResponse(ctx)
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	now := got.JSON200
	for _, host := range lists["remove-host"] {
		if !slices.ContainsFunc(now.Hosts, func(d api.HostDecision) bool { return d.Host == host }) {
			return nil, "", &exitError{exitNotFound, fmt.Errorf("--remove-host %s: the policy has no such host\nmend: \"grantd registration policy\" shows them", printable(host))}
		}
	}
	if len(lists["host"])+len(lists["remove-host"]) > 0 {
		typed := slices.Clone(hosts)
		for _, d := range now.Hosts {
			decided := slices.ContainsFunc(typed, func(t api.HostDecision) bool { return t.Host == d.Host })
			if !decided && !slices.Contains(lists["remove-host"], d.Host) {
				hosts = append(hosts, d)
			}
		}
		patch["hosts"] = hosts
	}
	if len(lists["enable-profile"])+len(lists["disable-profile"]) > 0 {
		if err := knownProfiles(ctx, a, lists["enable-profile"], now.DisabledProfiles); err != nil {
			return nil, "", err
		}
		disabled := slices.Clone(lists["disable-profile"])
		for _, name := range now.DisabledProfiles {
			if !slices.Contains(lists["disable-profile"], name) && !slices.Contains(lists["enable-profile"], name) {
				disabled = append(disabled, name)
			}
		}
		patch["disabled_profiles"] = append([]string{}, disabled...)
	}
	return patch, got.Headers200.ETag, nil
}

// knownProfiles refuses a misspelt name, which would enable nothing and look as if
// it had. One that is disabled may be of another version of grantd.
func knownProfiles(ctx context.Context, a *admin, names, disabled []string) error {
	if len(names) == 0 {
		return nil
	}
	profiles, err := allProfiles(ctx, a)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(disabled, name) && !slices.ContainsFunc(profiles, func(p api.ClientProfile) bool { return p.Name == name }) {
			return &exitError{exitNotFound, fmt.Errorf("--enable-profile %s: there is no such client profile\nmend: \"grantd registration profiles\" lists them", printable(name))}
		}
	}
	return nil
}

// printPolicy shows the policy that the API answered with.
func printPolicy(a *admin, p *api.RegistrationPolicy, body []byte) error {
	if a.json {
		return a.printJSON(body)
	}
	out := a.cmd.OutOrStdout()
	err := writeProperties(out, []property{
		{"dynamic", p.Dynamic},
		{"metadata_documents", p.MetadataDocuments},
		{"disabled_profiles", strings.Join(p.DisabledProfiles, " ")},
		{"updated_at", second(p.UpdatedAt)},
	})
	if err != nil || len(p.Hosts) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return writeTable(out, p.Hosts, []column[api.HostDecision]{
		{"HOST", func(d api.HostDecision) string { return d.Host }, whole},
		{"DECISION", func(d api.HostDecision) string { return d.Decision }, short},
	})
}

func newProfilesCommand(environ []string) *cobra.Command {
	return adminCommand(environ, &cobra.Command{Use: "profiles", Short: "List the client profiles, whose addresses count as allowed", Args: cobra.NoArgs},
		func(ctx context.Context, a *admin, _ []string) error {
			profiles, err := allProfiles(ctx, a)
			if err != nil {
				return err
			}
			return printList(a, profiles, []column[api.ClientProfile]{
				{"PROFILE", func(p api.ClientProfile) string { return p.Name }, whole},
				{"TITLE", func(p api.ClientProfile) string { return p.Title }, short},
				{"COUNTS", func(p api.ClientProfile) string {
					if p.Enabled {
						return "on"
					}
					return "off"
				}, short},
				{"LOOKED AT", func(p api.ClientProfile) string { return p.Date }, short},
			}, "There is no client profile.")
		})
}

func allProfiles(ctx context.Context, a *admin) ([]api.ClientProfile, error) {
	return all(0, func(cursor string) ([]api.ClientProfile, string, error) {
		got, err := a.api.ListClientProfilesWithResponse(ctx, &api.ListClientProfilesParams{Cursor: cursor, Limit: page(pageSize)})
		if err := a.check(got, err); err != nil {
			return nil, "", err
		}
		return got.JSON200.Items, got.JSON200.NextCursor, nil
	})
}

func newRegistrationTokenCommand(environ []string) *cobra.Command {
	list := adminCommand(environ, &cobra.Command{Use: "list", Short: "List the tokens, used up and expired ones too", Args: cobra.NoArgs},
		func(ctx context.Context, a *admin, _ []string) error {
			tokens, err := all(0, func(cursor string) ([]api.RegistrationToken, string, error) {
				return listRegistrationTokens(ctx, a, cursor)
			})
			if err != nil {
				return err
			}
			return printList(a, tokens, []column[api.RegistrationToken]{
				{"ID", func(t api.RegistrationToken) string { return t.ID }, whole},
				{"NAME", func(t api.RegistrationToken) string { return t.Name }, short},
				{"USES", func(t api.RegistrationToken) string { return fmt.Sprintf("%d of %d", t.Uses, t.MaxUses) }, short},
				{"EXPIRES", func(t api.RegistrationToken) string { return minute(t.ExpiresAt) }, short},
			}, "There is no registration token.")
		})

	add := &cobra.Command{
		Use: "add", Short: "Make a token that lets somebody register clients", Args: cobra.NoArgs,
		Example: `  grantd registration token add --name "Platform team" --max-uses 5 --expires-in 1d`,
	}
	name := add.Flags().String("name", "", "whom it is for")
	uses := add.Flags().Int("max-uses", 1, "how many registrations it is good for")
	lifetime := add.Flags().String("expires-in", "30d", "how `long` it is good for, as 12h or 30d")
	adminCommand(environ, add, func(ctx context.Context, a *admin, _ []string) error {
		a.fields = []field{{flag: "name", name: "name"}, {flag: "max-uses", name: "max_uses"}, {flag: "expires-in", name: "expires_in"}}
		seconds, err := wholeSeconds("--expires-in", *lifetime)
		if err != nil {
			return err
		}
		// Sent once: a second answer has no token, which was shown in the first.
		got, err := a.api.CreateRegistrationTokenWithResponse(ctx, &api.CreateRegistrationTokenParams{IdempotencyKey: uuid.NewString()}, api.RegistrationTokenFields{Name: *name, MaxUses: uses, ExpiresIn: &seconds})
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		made := got.JSON201
		err = writeProperties(a.cmd.OutOrStdout(), []property{
			{"id", made.ID},
			{"token", made.Token},
			{"name", made.Name},
			{"max_uses", strconv.Itoa(made.MaxUses)},
			{"expires_at", second(&made.ExpiresAt)},
		})
		if made.Token == "" {
			a.say("\nThe answer with the token was lost on its way. Delete this one and make another.")
			return err
		}
		a.say("\nThe token is shown this once: keep it now. It is sent to /register as \"Authorization: Bearer\".")
		return err
	})

	remove := &cobra.Command{
		Use: "delete ID", Aliases: []string{"remove"}, Short: "Delete a token; clients that registered with it stay",
		Args: argument(1, "the id of one registration token"),
		ValidArgsFunction: completion(environ, func(ctx context.Context, a *admin) ([]string, error) {
			tokens, _, err := listRegistrationTokens(ctx, a, "")
			var offers []string
			for _, t := range tokens {
				offers = append(offers, t.ID+"\t"+printable(t.Name))
			}
			return offers, err
		}),
	}
	addYes(remove)
	adminCommand(environ, remove, func(ctx context.Context, a *admin, args []string) error {
		if err := a.confirm("Delete this registration token? Nobody can register with it any more."); err != nil {
			return err
		}
		err := a.check(a.api.DeleteRegistrationTokenWithResponse(ctx, args[0]))
		if exitCodeOf(err) == exitNotFound {
			// What was typed may be the token: it is not repeated.
			err = &exitError{exitNotFound, fmt.Errorf("there is no registration token with this id\nmend: \"grantd registration token list\" shows them")}
		}
		if err != nil {
			return err
		}
		a.say("The token is deleted.")
		return nil
	})
	return group(&cobra.Command{Use: "token", Short: "Let somebody register clients with a token"}, list, add, remove)
}

func listRegistrationTokens(ctx context.Context, a *admin, cursor string) ([]api.RegistrationToken, string, error) {
	got, err := a.api.ListRegistrationTokensWithResponse(ctx, &api.ListRegistrationTokensParams{Cursor: cursor, Limit: page(pageSize)})
	if err := a.check(got, err); err != nil {
		return nil, "", err
	}
	return got.JSON200.Items, got.JSON200.NextCursor, nil
}
