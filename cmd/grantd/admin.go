package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
)

// exitCodes is the part of each admin command's help that scripts rely on.
const exitCodes = `Exit codes: 0 done, 1 failed, 2 wrong usage or settings (nothing was tried), 3 there is
no such thing, 4 in conflict with what is there, 5 not authorized, 6 the server does
not answer.`

const (
	exitNotFound     = 3
	exitConflict     = 4
	exitUnauthorized = 5
	exitUnreachable  = 6
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// exitCodeOf is the exit code of a command that was tried.
func exitCodeOf(err error) int {
	var faults Faults
	var coded *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &faults):
		return exitUsage
	case errors.As(err, &coded):
		return coded.code
	}
	return exitFailure
}

// wrongUsage is an error in what was typed that only the command itself can see.
func wrongUsage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// admin is what a command needs to call the admin API and to tell of it.
type admin struct {
	api    *api.ClientWithResponses
	cmd    *cobra.Command
	json   bool
	fields []field // of the command's noun, for messages
	// signedIn: the credential is a person's sign-in, not a key.
	signedIn bool
}

// adminGroup is a command that holds the commands about one noun.
func adminGroup(noun, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := group(&cobra.Command{Use: noun, Short: short, Long: short + ".\n\n" + exitCodes}, commands...)
	addSettings(cmd.PersistentFlags(), "admin-url", "admin-key")
	cmd.PersistentFlags().Bool("json", false, "JSON for machines; asks nothing")
	return cmd
}

// adminCommand gives cmd a body that calls the admin API.
func adminCommand(environ []string, cmd *cobra.Command, run func(ctx context.Context, a *admin, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := newAdmin(environ, cmd)
		if err != nil {
			return err
		}
		return run(cmd.Context(), a, args)
	}
	return cmd
}

// newAdmin finds the server and the credential: a key as grantd serve would find it, or
// the person's sign-in.
func newAdmin(environ []string, cmd *cobra.Command) (*admin, error) {
	s := loadSettings(cmd.Flags(), environ)
	base, transport := s.adminURL()
	credential, signedIn := s.credential(environ)
	if len(s.faults) > 0 {
		return nil, s.faults
	}
	a, err := callAdmin(cmd, base, transport, credential)
	if err != nil {
		return nil, err
	}
	a.signedIn = signedIn
	if cmd.Flags().Lookup("json") != nil {
		a.json, err = cmd.Flags().GetBool("json")
	}
	return a, err
}

type dryRunKey struct{}

// dryRun has the creates and changes that are sent with ctx checked and not done. What
// cannot be tried is refused by the server.
func dryRun(ctx context.Context) context.Context { return context.WithValue(ctx, dryRunKey{}, true) }

// adminURL is the admin API's base URL and how to reach it.
func (s *Settings) adminURL() (string, *http.Transport) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	raw, from := s.get("admin-url")
	if raw == "" {
		if raw, from = s.get("admin-listen"); !strings.HasPrefix(raw, unixScheme) {
			scheme := "http://"
			if host, _, err := net.SplitHostPort(raw); err == nil && !isLoopback(host) {
				scheme = "https://"
			}
			raw = scheme + raw
		}
	}
	if path, ok := strings.CutPrefix(raw, unixScheme); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return "http://localhost", transport
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "":
		s.fault(from.name, "is not the URL of an admin API", "write http://127.0.0.1:8081, https://HOST:PORT or unix:PATH")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		s.fault(from.name, "would send the admin key over the network in the clear", "write https://"+u.Host)
	case isLoopback(u.Hostname()):
		transport.Proxy = nil
	}
	return raw, transport
}

// callingKey is the first admin key: given, or beside the SQLite file.
func (s *Settings) callingKey() Secret {
	file := ""
	if raw, _ := s.get("database-url"); s.isDefault("admin-key") {
		if database, fault := parseDatabase(raw); fault == nil && database.Path != "" {
			file = database.besideFile("admin-key")
			s.keyFile("admin-key", file)
		}
	}
	key, _ := s.get("admin-key")
	if key == "" && len(s.faults) == 0 {
		where := "there is none in the settings"
		if file != "" {
			where = "there is no file " + file + " here"
		}
		s.fault("--admin-key", "is missing: "+where, "run this in the folder of grantd's database, sign in with \"grantd login\", or give --admin-key-file or GRANTD_ADMIN_KEY_FILE")
	}
	return NewSecret(key)
}

// answer is any answer of the generated client.
type answer interface {
	StatusCode() int
	GetBody() []byte
}

// check turns an answer that is no success into an error with its exit code.
func (a *admin) check(got answer, err error) error {
	if err != nil {
		var (
			urlErr *url.Error
			coded  *exitError
		)
		if errors.As(err, &coded) { // of the sign-in
			return coded
		}
		if errors.As(err, &urlErr) {
			return &exitError{exitUnreachable, fmt.Errorf("the admin API does not answer: %w\nmend: is \"grantd serve\" running, and is it there? (--admin-url)", urlErr.Err)}
		}
		return fmt.Errorf("the admin API's answer is not understood: %w", err)
	}
	status := got.StatusCode()
	if status >= 200 && status < 300 {
		return nil
	}
	code := exitFailure
	switch status {
	case http.StatusNotFound:
		code = exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		code = exitConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		code = exitUnauthorized
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		code = exitUnreachable
	}
	return &exitError{code, a.problem(status, got.GetBody())}
}

// problem says in words what a problem document says (RFC 9457), field by field.
func (a *admin) problem(status int, body []byte) error {
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return fmt.Errorf("the server answered %d %s; is this grantd's admin API? (--admin-url)", status, http.StatusText(status))
	}
	if status == http.StatusUnauthorized {
		switch {
		case a.signedIn:
			return errors.New("the server does not accept your sign-in any more: it was ended, or you may no longer administer\nmend: grantd login")
		case p.Type == "urn:grantd:problem:expired":
			return errors.New("this admin key has expired\nmend: have another one made with \"grantd admin-key add\"")
		}
		return errors.New("the server does not know this admin key\nmend: give one of the server's with --admin-key-file or GRANTD_ADMIN_KEY_FILE")
	}
	if len(p.Errors) == 0 {
		return errors.New(printable(p.Detail))
	}
	var lines []string
	for _, fault := range p.Errors {
		lines = append(lines, a.fieldName(fault.Pointer)+" "+printable(fault.Detail))
	}
	return errors.New(strings.Join(lines, "\n        "))
}

// fieldName is what a person typed for the value at a JSON Pointer, or else the
// pointer as words.
func (a *admin) fieldName(pointer string) string {
	if name, ok := strings.CutPrefix(pointer, "?"); ok {
		return name
	}
	if pointer == "" {
		return "the body"
	}
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	name := parts[0]
	for _, f := range a.fields {
		if f.name == parts[0] {
			name = "--" + f.flag
		}
	}
	for _, part := range parts[1:] {
		if i, err := strconv.Atoi(part); err == nil {
			part = "number " + strconv.Itoa(i+1)
		}
		name += ", " + printable(part)
	}
	if len(parts) > 1 {
		name += ":"
	}
	return name
}

// all reads every page of a list, or the first limit items.
func all[T any](limit int, read func(cursor string) (items []T, next string, err error)) ([]T, error) {
	var list []T
	cursor := ""
	for {
		items, next, err := read(cursor)
		if err != nil {
			return nil, err
		}
		list = append(list, items...)
		if limit > 0 && len(list) >= limit {
			return list[:limit], nil
		}
		if next == "" {
			return list, nil
		}
		cursor = next
	}
}

// printJSON prints what the API answered, indented.
func (a *admin) printJSON(body []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.cmd.OutOrStdout(), strings.TrimSpace(out.String()))
	return err
}

// printList prints a list as JSON or as a table.
func printList[T any](a *admin, items []T, columns []column[T], none string) error {
	if !a.json {
		if len(items) == 0 {
			a.say("%s", none)
			return nil
		}
		return writeTable(a.cmd.OutOrStdout(), items, columns)
	}
	if items == nil {
		items = []T{}
	}
	body, err := json.Marshal(map[string]any{"items": items})
	if err != nil {
		return err
	}
	return a.printJSON(body)
}

// say tells a person something beside the output; with --json nothing.
func (a *admin) say(format string, args ...any) {
	if !a.json {
		_, _ = fmt.Fprintf(a.cmd.ErrOrStderr(), format+"\n", args...)
	}
}
