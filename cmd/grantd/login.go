package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/cmd/grantd/internal/walk"
	"grantd/storage"
)

func newLoginCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Sign in as an administrator, for the commands that follow",
		Long: `Sign in as an administrator. The commands that follow then act in your name, without an
admin key: audit events name you. A browser opens for it, and asks you each time.

You must be in the group "admins". A sign-in lasts for 12 hours; "grantd logout" ends it.
Somebody with an admin key has to set it up once: grantd login --set-up.

` + exitCodes,
		Args: cobra.NoArgs,
	}
	addSettings(cmd.Flags(), "admin-url", "admin-key", "issuer")
	device := cmd.Flags().Bool("device", false, "show a code to enter on another machine, where this one has no browser")
	readOnly := cmd.Flags().Bool("read-only", false, "ask for the right to look only")
	noBrowser := cmd.Flags().Bool("no-browser", false, "print the address instead of opening it")
	setUp := cmd.Flags().Bool("set-up", false, "let people sign in: make the client that they do it with (with an admin key)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		scope := storage.ScopeAdminRead + " " + storage.ScopeAdminWrite
		if *readOnly {
			scope = storage.ScopeAdminRead
		}
		if *setUp {
			return setUpLogin(cmd, environ)
		}
		l, server, err := newLogin(cmd, environ)
		if err != nil {
			return err
		}
		var tokens *tokenAnswer
		if *device {
			tokens, err = signInByDevice(cmd.Context(), server, l, scope, func(address, userCode string) {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "On any machine with a browser, go to\n\n  %s\n\nand enter the code\n\n  %s\n\nWaiting ...\n", printable(address), printable(userCode))
			})
		} else {
			tokens, err = signInByBrowser(cmd.Context(), server, l, scope, func(address string) {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Sign in with your browser:\n\n  %s\n\nWaiting ...\n", address)
				if !*noBrowser {
					walk.OpenBrowser(cmd.Context(), address)
				}
			})
		}
		var refused *oauthError
		if errors.As(err, &refused) {
			return &exitError{exitUnauthorized, fmt.Errorf("you are not signed in: %w", refused)}
		} else if err != nil {
			return err
		}
		l.take(tokens)
		if err := l.write(loginPath(environ)); err != nil {
			return err
		}
		return sayWho(cmd, environ)
	}
	return cmd
}

// newLogin finds out from the admin API where people sign in for it.
func newLogin(cmd *cobra.Command, environ []string) (*login, *authorizationServer, error) {
	if loginPath(environ) == "" {
		return nil, nil, wrongUsage("there is no folder to keep the sign-in in: set HOME or XDG_CONFIG_HOME")
	}
	s := loadSettings(cmd.Flags(), environ)
	base, transport := s.adminURL()
	if len(s.faults) > 0 {
		return nil, nil, s.faults
	}
	a, err := callAdmin(cmd, base, transport, func(context.Context) (string, error) { return "", nil })
	if err != nil {
		return nil, nil, err
	}
	got, err := a.api.GetSignInWithResponse(cmd.Context())
	if err := a.check(got, err); err != nil {
		return nil, nil, err
	}
	where := got.JSON200
	if issuer, _ := s.get("issuer"); !s.isDefault("issuer") && issuer != where.Issuer {
		return nil, nil, wrongUsage("that admin API belongs to %s, not to the --issuer given", printable(where.Issuer))
	}
	if where.ClientID == "" {
		return nil, nil, &exitError{exitNotFound, errors.New("nobody has let people sign in here yet\nmend: with an admin key, once: grantd login --set-up")}
	}
	server, err := readServer(cmd.Context(), where.Issuer)
	if err != nil {
		return nil, nil, err
	}
	return &login{
		AdminURL: s.adminAddress(), Issuer: where.Issuer, Resource: where.Resource, ClientID: where.ClientID,
		TokenEndpoint: server.TokenEndpoint, RevocationEndpoint: server.RevocationEndpoint,
	}, server, nil
}

// setUpLogin makes the client that people sign in with, unless there is one.
func setUpLogin(cmd *cobra.Command, environ []string) error {
	a, err := newAdmin(environ, cmd)
	if err != nil {
		return err
	}
	got, err := a.api.GetSignInWithResponse(cmd.Context())
	if err := a.check(got, err); err != nil {
		return err
	}
	if id := got.JSON200.ClientID; id != "" {
		a.say("People sign in with client %s already.", printable(id))
		return nil
	}
	// It reaches nothing else: a stolen sign-in of it opens no MCP server.
	made, err := a.api.CreateClientWithResponse(cmd.Context(), &api.CreateClientParams{}, api.ClientFields{
		ClientName: "grantd command line", ApplicationType: "native", TokenEndpointAuthMethod: storage.AuthMethodNone,
		GrantTypes:   []string{storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken, storage.GrantTypeDeviceCode},
		RedirectUris: []string{"http://127.0.0.1" + callbackPath}, Resources: []string{got.JSON200.Resource}, AdminAccess: true,
	})
	if err := a.check(made, err); err != nil {
		return err
	}
	a.say("People may sign in with client %[1]s now. Who is to administer:\n  grantd group add %[2]s\n  grantd group add-member %[2]s USER", made.JSON201.ClientID, storage.AdminGroup)
	return nil
}

func newLogoutCommand(environ []string) *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the sign-in of grantd login", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := loginPath(environ)
			l, err := readLogin(path)
			if err != nil {
				return err
			}
			if l == nil {
				_, err := fmt.Fprintln(cmd.ErrOrStderr(), "Nobody is signed in here.")
				return err
			}
			token := l.RefreshToken
			if token == "" {
				token = l.AccessToken
			}
			revoked := post(cmd.Context(), l.RevocationEndpoint, form{"token": token, "client_id": l.ClientID}, nil)
			// What is on this machine goes, whatever the server says.
			if err := forgetLogin(path); err != nil {
				return err
			}
			if revoked != nil {
				return fmt.Errorf("the sign-in is forgotten here, but the server was not told; it ends there by itself within 12 hours: %w", revoked)
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "You are signed out.")
			return err
		},
	}
}

func newWhoamiCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{Use: "whoami", Short: "Say who the admin commands act as here", Long: "Say who the admin commands act as here.\n\n" + exitCodes, Args: cobra.NoArgs}
	addSettings(cmd.Flags(), "admin-url", "admin-key")
	cmd.Flags().Bool("json", false, "JSON for machines")
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) error {
		got, err := a.api.GetWhoamiWithResponse(ctx)
		if err := a.check(got, err); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(got.Body)
		}
		who := got.JSON200
		return writeProperties(a.cmd.OutOrStdout(), []property{
			{"actor", who.Actor},
			{"username", who.Username},
			{"scope", who.Scope},
			{"expires_at", second(who.ExpiresAt)},
		})
	})
}

// sayWho tells a person who has just signed in as whom.
func sayWho(cmd *cobra.Command, environ []string) error {
	s := loadSettings(cmd.Flags(), environ)
	base, transport := s.adminURL()
	l, err := readLogin(loginPath(environ))
	if err != nil || l == nil {
		return err
	}
	a, err := callAdmin(cmd, base, transport, func(context.Context) (string, error) { return l.AccessToken, nil })
	if err != nil {
		return err
	}
	got, err := a.api.GetWhoamiWithResponse(cmd.Context())
	if err := a.check(got, err); err != nil {
		return err
	}
	may := "look and change"
	if got.JSON200.Scope == string(storage.AdminScopeRead) {
		may = "only look"
	}
	a.say("You are signed in as %s and may %s. \"grantd logout\" ends it.", printable(got.JSON200.Username), may)
	return nil
}

// adminAddress names the admin API, so that a sign-in is used for no other.
func (s *Settings) adminAddress() string {
	if raw, _ := s.get("admin-url"); raw != "" {
		return strings.TrimSuffix(raw, "/")
	}
	raw, _ := s.get("admin-listen")
	return raw
}

// credential is what a command sends: an admin key that was given, else the sign-in for
// this admin API, else the key beside the SQLite file.
func (s *Settings) credential(environ []string) (find func(context.Context) (string, error), signedIn bool) {
	if s.isDefault("admin-key") {
		path := loginPath(environ)
		l, err := readLogin(path)
		var faults Faults
		if errors.As(err, &faults) {
			s.faults = append(s.faults, faults...)
		}
		if l != nil && l.AdminURL == s.adminAddress() {
			return func(ctx context.Context) (string, error) { return l.token(ctx, path) }, true
		}
	}
	key := s.callingKey()
	return func(context.Context) (string, error) { return key.Reveal(), nil }, false
}

// callAdmin makes what a command calls the admin API with.
func callAdmin(cmd *cobra.Command, base string, transport *http.Transport, credential func(context.Context) (string, error)) (*admin, error) {
	client := &http.Client{
		Transport: transport, Timeout: flowTimeout,
		// The key goes where the operator said, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	caller, err := api.NewClientWithResponses(base, api.WithHTTPClient(client), api.WithRequestEditorFn(func(ctx context.Context, r *http.Request) error {
		token, err := credential(ctx)
		if err == nil && token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		if ctx.Value(dryRunKey{}) != nil {
			r.URL.RawQuery = "dry_run=true"
		}
		return err
	}))
	return &admin{api: caller, cmd: cmd}, err
}
