package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"grantd/server"
	"grantd/server/tracing"
	"grantd/storage"
)

// Bounds on every connection, so that a slow or greedy caller takes nothing
// from the others.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 20 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 32 << 10
	// shutdownTimeout is how long requests under way may take to finish.
	shutdownTimeout = 10 * time.Second
	// tracesTimeout is how long sending the last traces may take after that.
	tracesTimeout = 2 * time.Second
)

func newServeCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server. Without any setting it keeps its database and keys in the current
folder and can be reached from this machine only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadSettings(cmd.Flags(), environ).Config()
			if err != nil {
				return err
			}
			slog.SetDefault(newLogger(cmd.ErrOrStderr(), config.LogLevel))
			running, err := startServer(cmd.Context(), config)
			if err != nil {
				return err
			}
			settleMemory(os.Getenv)
			if err := running.inviteFirstAdmin(cmd.Context(), cmd.OutOrStdout()); err != nil {
				return errors.Join(err, running.Close())
			}
			return running.wait(cmd.Context())
		},
	}
	addSettings(cmd.Flags())
	return cmd
}

// running is a started server.
type running struct {
	// Public and Admin are the addresses really listened on; Admin is nil when
	// there is no admin API.
	Public, Admin net.Addr

	server         *server.Server
	servers        []*http.Server
	store          storage.Store
	tracer         *tracing.Tracer // nil: none
	stopBackground context.CancelFunc
	tasks          sync.WaitGroup
	failed         chan error // the first failure of a listener or the background work
	closing        sync.Once
	closeErr       error
}

// startServer opens the database and the listeners and serves, until Close is
// called. ctx bounds the starting only.
func startServer(ctx context.Context, c Config) (_ *running, err error) {
	log := slog.Default()
	if err := c.makeKeys(log); err != nil {
		return nil, err
	}
	if err := prepareSchema(ctx, c); err != nil {
		return nil, err
	}
	store, err := c.Database.open(ctx)
	if err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{store: store, stopBackground: stop, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()

	public, admin, err := c.listeners(ctx)
	if err != nil {
		return nil, err
	}
	if c.OTLPEndpoint != nil {
		r.tracer = tracing.New(c.OTLPEndpoint, version())
	}
	srv, err := server.New(ctx, c.server(store, r.tracer))
	if err != nil {
		return nil, errors.Join(err, closeAll(public, admin))
	}
	r.server, r.Public = srv, public.Addr()
	r.serve(public, srv.Public(), log)
	if admin != nil {
		r.Admin = admin.Addr()
		r.serve(admin, srv.Admin(), log)
	}
	r.run(func() error {
		err := srv.Run(background)
		if background.Err() != nil {
			return nil
		}
		return fmt.Errorf("the background work has ended: %w", err)
	})
	c.announce(log, r)
	return r, nil
}

// inviteFirstAdmin prints the link of the first administrator when there is no user.
// It is no line of the log, which others read.
func (r *running) inviteFirstAdmin(ctx context.Context, stdout io.Writer) error {
	link, err := r.server.FirstAdminLink(ctx)
	switch {
	case ctx.Err() != nil: // it is to stop already
		return nil
	case err != nil || link == "":
		return err
	}
	_, err = fmt.Fprintf(stdout, "\nThere is no user yet. This link makes the first administrator; it works once, for 24 hours:\n\n  %s\n\n", link)
	return err
}

// wait serves until ctx ends or something fails, then closes.
func (r *running) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		slog.Info("stopping: requests under way may finish", "for", shutdownTimeout.String())
		return r.Close()
	case err := <-r.failed:
		return errors.Join(err, r.Close())
	}
}

// Close stops listening, lets requests under way finish for shutdownTimeout,
// ends the background work and closes the database. It may be called twice.
func (r *running) Close() error {
	r.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		errs := make([]error, len(r.servers))
		var stopping sync.WaitGroup
		for i, s := range r.servers {
			stopping.Go(func() {
				if err := s.Shutdown(ctx); err != nil {
					errs[i] = errors.Join(fmt.Errorf("some requests were cut off: %w", err), s.Close())
				}
			})
		}
		stopping.Wait()
		r.stopBackground()
		r.tasks.Wait()
		r.sendTraces()
		r.closeErr = errors.Join(append(errs, r.store.Close())...)
	})
	return r.closeErr
}

// sendTraces sends what is left. A collector that does not answer keeps nobody from
// stopping; the log has been told.
func (r *running) sendTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), tracesTimeout)
	defer cancel()
	_ = r.tracer.Shutdown(ctx)
}

// serve answers on one listener. The listener belongs to the http.Server, which
// closes it.
func (r *running) serve(listener net.Listener, handler http.Handler, log *slog.Logger) {
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// What strangers do wrong on a connection is no news.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	r.servers = append(r.servers, s)
	r.run(func() error {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("stopped listening on %s: %w", listener.Addr(), err)
		}
		return nil
	})
}

// run starts a task that Close waits for and whose failure ends wait.
func (r *running) run(task func() error) {
	r.tasks.Go(func() {
		if err := task(); err != nil {
			select {
			case r.failed <- err:
			default: // the first one ends the server already
			}
		}
	})
}

// listeners opens the public listener and, unless it is off, the admin one.
func (c Config) listeners(ctx context.Context) (public, admin net.Listener, err error) {
	var security, adminSecurity *tls.Config
	if c.TLSCert != "" {
		if security, err = tlsConfig(c.TLSCert, c.TLSKey); err != nil {
			return nil, nil, err
		}
	}
	// On loopback the certificate's name would not match, and nobody listens in.
	if c.adminOnNetwork() {
		if adminSecurity, err = tlsConfig(c.AdminTLSCert, c.AdminTLSKey); err != nil {
			return nil, nil, err
		}
	}
	public = c.Listener
	if public == nil {
		if public, err = listen(ctx, c.Listen, "--listen", 0); err != nil {
			return nil, nil, err
		}
	}
	if security != nil {
		public = tls.NewListener(public, security)
	}
	if c.AdminListen == "" {
		return public, nil, nil
	}
	if admin, err = listen(ctx, c.AdminListen, "--admin-listen", c.AdminSocketMode); err != nil {
		return nil, nil, errors.Join(err, public.Close())
	}
	if adminSecurity != nil {
		admin = tls.NewListener(admin, adminSecurity)
	}
	return public, admin, nil
}

func (c Config) adminOnNetwork() bool { return onNetwork(c.AdminListen) }

// server is the part of the configuration that the server itself needs.
func (c Config) server(store storage.Store, tracer *tracing.Tracer) server.Config {
	keys := make([]string, len(c.AdminKeys))
	for i, key := range c.AdminKeys {
		keys[i] = key.Reveal()
	}
	return server.Config{
		Issuer:           c.Issuer,
		Store:            store,
		Root:             c.Root,
		AdminKeys:        keys,
		AdminHosts:       c.adminHosts(),
		TrustedProxies:   c.TrustedProxies,
		SigningAlgorithm: c.SigningAlgorithm,
		KeyRotation:      c.KeyRotation,
		AuditRetention:   c.AuditRetention,
		Listeners:        []string{c.Listen, c.AdminListen},
		OutboundAllow:    c.OutboundAllow,
		OutboundRoots:    c.OutboundRoots,
		OutboundProxy:    c.OutboundProxy,
		Tracer:           tracer,
		Mail:             c.Mail,
		Templates:        c.Templates,
	}
}

// adminHosts are the Host headers that the admin listener answers to, so that a
// website cannot reach it through a name of its own (DNS rebinding). None means
// any: no website reaches a unix socket.
func (c Config) adminHosts() []string {
	if strings.HasPrefix(c.AdminListen, unixScheme) {
		return nil
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if c.adminOnNetwork() {
		hosts = append(hosts, c.Issuer.Hostname())
		if host, _, err := net.SplitHostPort(c.AdminListen); err == nil && host != "" {
			hosts = append(hosts, host)
		}
		hosts = append(hosts, certificateHosts(c.AdminTLSCert, c.AdminTLSKey)...)
	}
	return hosts
}

// announce says in one line what was started, and warns of what is probably not
// meant.
func (c Config) announce(log *slog.Logger, r *running) {
	admin, next := "off: give --admin-key-file to have it", "clients find everything at "+c.Issuer.URL("/.well-known/oauth-authorization-server")
	if r.Admin != nil {
		admin = c.adminURL(r.Admin)
		next = "register your MCP server: grantd resource add URL --name NAME --scope NAME=SENTENCE"
		if c.AdminKeyFile != "" {
			next += " (the admin key is in " + c.AdminKeyFile + ")"
		}
	}
	log.Info("grantd is serving",
		"issuer", c.Issuer.String(),
		"listen", r.Public.String(),
		"admin", admin,
		"database", c.Database.String(),
		"next", next,
	)
	_, port, _ := net.SplitHostPort(r.Public.String())
	host, _, _ := net.SplitHostPort(c.Listen)
	switch {
	case !c.Issuer.Secure() && len(c.TrustedProxies) == 0 && !strings.HasSuffix(c.Issuer.Origin(), ":"+port):
		log.Warn("the issuer names another port than the listener has: clients can only reach grantd at the issuer",
			"issuer", c.Issuer.String(), "listen", r.Public.String())
	case c.Issuer.Secure() && c.TLSCert == "" && len(c.TrustedProxies) == 0:
		mend := "name its address with --trusted-proxies"
		if isLoopback(host) {
			mend = "if it runs on this machine: --trusted-proxies=127.0.0.1/32,::1/128"
		}
		log.Warn("a proxy must do TLS in front, and grantd does not know it: its limits take all callers for one, so that one stranger can keep everybody from signing in",
			"listen", r.Public.String(), "mend", mend)
	}
}

// adminURL is where the admin API is, as an operator would type it.
func (c Config) adminURL(address net.Addr) string {
	switch {
	case address.Network() == "unix":
		return unixScheme + address.String()
	case c.adminOnNetwork():
		return "https://" + address.String()
	}
	return "http://" + address.String()
}

// closeAll closes listeners that no server has taken over.
func closeAll(listeners ...net.Listener) error {
	var errs []error
	for _, l := range listeners {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// newLogger writes text for people at a terminal and JSON for everything else.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if file, ok := w.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, options))
		}
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
