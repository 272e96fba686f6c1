package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"grantd/examples/mcp-server/notes"
)

const (
	// demoMCPPath is where the demo's MCP server answers.
	demoMCPPath   = "/mcp"
	demoMCPListen = "127.0.0.1:8090"
	anyLocalPort  = "127.0.0.1:0"
)

func newDemoCommand(environ []string) *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try grantd out: a server, a user and a protected MCP server in one",
		Long: `Run grantd with a user and a real MCP server beside it, and tell how to connect an
MCP client to it. Everything is reachable from this machine only, and forgotten
at the end unless you name a database.

Of the settings of "grantd serve" the demo takes the listener, the database, the
root key and the log level. The issuer, the admin API and its key are made up for
the occasion.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.headless && !d.walk {
				return Faults{{Where: "--headless", Problem: "is given without --walk", Mend: "add --walk"}}
			}
			return d.run(cmd.Context(), loadSettings(cmd.Flags(), environ), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	addSettings(flags, "listen", "database-url", "root-key", "log-level")
	d.addFlags(flags)
	return cmd
}

// demo is one run of grantd demo.
type demo struct {
	mcpListen string
	walk      bool
	headless  bool
}

func (d *demo) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&d.mcpListen, "mcp-listen", "", "address of the demo's MCP server (default "+demoMCPListen+", or a free port)")
	flags.BoolVar(&d.walk, "walk", false, "act as an MCP client here in the terminal, show each step, and end")
	flags.BoolVar(&d.headless, "headless", false, "with --walk: sign in and approve by itself, through the real pages")
}

// run starts both servers and keeps them until ctx ends or the walk is over.
func (d *demo) run(ctx context.Context, s *Settings, stdout, stderr io.Writer) (err error) {
	grantdAt, mcpAt, err := d.listen(ctx, s)
	if err != nil {
		return err
	}
	// From here on whoever takes a listener over closes it; closing twice does
	// no harm.
	defer func() { _ = closeAll(grantdAt, mcpAt) }()

	folder, err := os.MkdirTemp("", "grantd-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()

	temporary := s.isDefault("database-url")
	adminKey := base64.RawURLEncoding.EncodeToString(randomKey())
	d.settle(s, grantdAt, folder, adminKey)
	config, err := s.Config()
	if err != nil {
		return err
	}
	config.Listener = grantdAt
	slog.SetDefault(newLogger(stderr, config.LogLevel))

	server, err := startServer(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()

	mcpURL := "http://" + mcpAt.Addr().String() + demoMCPPath
	account, err := d.seed(ctx, config.adminURL(server.Admin), adminKey, mcpURL)
	if err != nil {
		return fmt.Errorf("prepare the demo: %w", err)
	}
	handler, err := notes.New(notes.Config{
		ResourceURI: mcpURL, Issuer: config.Issuer.String(), ClientID: account.clientID, ClientSecret: account.clientSecret.Reveal(),
	})
	if err != nil {
		return fmt.Errorf("start the MCP server: %w", err)
	}
	server.serve(mcpAt, handler, slog.Default())

	if err := d.welcome(stdout, config, mcpURL, account, temporary); err != nil {
		return err
	}
	if d.walk {
		return d.takeWalk(ctx, mcpURL, account, stdout)
	}
	return server.wait(ctx)
}

// settle replaces the settings that the demo makes up.
func (d *demo) settle(s *Settings, public net.Listener, folder, adminKey string) {
	set := func(name string, given ...string) {
		s.values[name] = value{given: given, from: source{kind: "demo", name: "--" + name}}
	}
	if s.isDefault("database-url") {
		set("database-url", sqliteScheme+filepath.Join(folder, "demo.db"))
	}
	address, _ := s.get("listen")
	host, _, _ := net.SplitHostPort(address) // checked by listen
	_, port, _ := net.SplitHostPort(public.Addr().String())
	set("listen", net.JoinHostPort(host, port))
	set("issuer", "http://"+net.JoinHostPort(strings.ToLower(host), port))
	set("admin-listen", anyLocalPort)
	set("admin-key", adminKey)
	set("migrate", "on")
	for _, name := range []string{"tls-cert", "tls-key", "trusted-proxies", "outbound-allow"} {
		set(name)
	}
	set("signing-alg", "ES256")
	if s.isDefault("log-level") {
		set("log-level", "warn") // the demo's own words are what counts
	}
	// A second demo on the same Postgres must understand what the first has
	// sealed there, and there is no file to keep a key in. Who knows the URL can
	// read the database anyway.
	if raw, _ := s.get("database-url"); s.isDefault("root-key") && !strings.HasPrefix(raw, sqliteScheme) {
		key := sha256.Sum256([]byte("grantd demo root key\n" + raw))
		set("root-key", base64.StdEncoding.EncodeToString(key[:]))
	}
}

// listen opens both listeners. A default port that is taken gives way to a free
// one; a port that was asked for does not.
func (d *demo) listen(ctx context.Context, s *Settings) (grantdAt, mcpAt net.Listener, err error) {
	address, from := s.get("listen")
	d.checkAddress(s, address, from)
	if d.mcpListen != "" {
		d.checkAddress(s, d.mcpListen, source{kind: "flag", name: "--mcp-listen"})
	}
	if len(s.faults) > 0 {
		return nil, nil, s.faults
	}
	if grantdAt, err = listenOrElsewhere(ctx, address, "--listen", s.isDefault("listen")); err != nil {
		return nil, nil, err
	}
	mcpAddress, byDefault := d.mcpListen, d.mcpListen == ""
	if byDefault {
		mcpAddress = demoMCPListen
	}
	if mcpAt, err = listenOrElsewhere(ctx, mcpAddress, "--mcp-listen", byDefault); err != nil {
		return nil, nil, errors.Join(err, grantdAt.Close())
	}
	return grantdAt, mcpAt, nil
}

// checkAddress refuses what other machines could reach: the demo speaks http,
// and its password stands on the screen.
func (d *demo) checkAddress(s *Settings, address string, from source) {
	if host, ok := s.hostPort(address, from); ok && !isLoopback(host) {
		s.fault(from.name, "is "+address+", which opens the demo to the network", "listen on 127.0.0.1, or run grantd serve with an https --issuer")
	}
}

func listenOrElsewhere(ctx context.Context, address, setting string, elsewhere bool) (net.Listener, error) {
	listener, err := listen(ctx, address, setting, 0)
	if elsewhere && err != nil {
		return listen(ctx, anyLocalPort, setting, 0)
	}
	return listener, err
}

var demoWelcome = template.Must(template.New("").Parse(`
grantd demo is running. Only this machine can reach it.

  MCP server   {{.MCPURL}}
  Sign in as   {{.Username}}
{{with .Password}}  Password     {{.}}
{{end}}  Issuer       {{.Issuer}}
  Database     {{.Database}}
{{if not .Walk}}
Connect an MCP client to the MCP server above; the browser asks you to sign in
and to approve. For example:

  Claude Code  claude mcp add --transport http notes {{.MCPURL}}
               then start claude, type /mcp and authenticate
  VS Code      code --add-mcp '{"name":"notes","type":"http","url":"{{.MCPURL}}"}'
  Inspector    npx @modelcontextprotocol/inspector
               then choose Streamable HTTP and the URL above
  No client    grantd demo --walk shows every step in a terminal

Press Ctrl-C to stop.
{{end}}`))

func (d *demo) welcome(stdout io.Writer, config Config, mcpURL string, account *demoAccount, temporary bool) error {
	database := config.Database.String()
	if temporary {
		database = "SQLite in a temporary folder, gone when the demo stops"
	}
	password := account.password.Reveal()
	if d.headless {
		password = "" // the walk types it
	}
	return demoWelcome.Execute(stdout, map[string]any{
		"MCPURL": mcpURL, "Username": demoUsername, "Password": password, "Issuer": config.Issuer.String(),
		"Database": database, "Walk": d.walk,
	})
}

// randomPassword is 80 bits that can be typed.
func randomPassword() string {
	text := strings.ToLower(rand.Text()) // base32: no letters that look alike
	return strings.Join([]string{text[0:4], text[4:8], text[8:12], text[12:16]}, "-")
}
