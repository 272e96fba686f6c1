package server

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"grantd/server/account"
	"grantd/server/web"
)

// publicRoutes mounts everything that the public listener serves, below the
// issuer's path where it has one.
func (s *Server) publicRoutes(c Config, r *rooms) http.Handler {
	// SkipClean and UseEncodedPath: an odd spelling of a path is not that path,
	// and is not redirected to it either.
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	router.NotFoundHandler = r.pages.Handle(func(http.ResponseWriter, *http.Request) error {
		return &web.Error{Status: http.StatusNotFound, Code: "not-found", Title: "There is no such page", Message: "Check the address, or go back to the application you came from."}
	})
	root := c.Issuer.Root()
	// The router goes through its routes one by one with a regular expression each;
	// paths without a variable in them are found at once.
	plain := plainPaths{next: router, handlers: make(map[string]http.Handler)}
	mount := func(path string, methods byMethod) {
		if h := s.metrics.measure(path, methods); strings.Contains(path, "{") {
			router.Handle(path, h)
		} else {
			plain.handlers[path] = h
		}
	}
	handle := func(path string, methods byMethod) { mount(root+path, methods) }
	oauth := func(h web.Handler) http.Handler { return web.OAuth(c.Issuer, h) }
	get := func(h http.Handler) byMethod { return byMethod{http.MethodGet: h, http.MethodHead: h} }

	// What a browser program of any origin may call. No cookie counts there.
	handle("/token", byMethod{http.MethodPost: oauth(r.oauth.Token)}.fromAnyOrigin())
	handle("/revoke", byMethod{http.MethodPost: oauth(r.oauth.Revoke)}.fromAnyOrigin())
	handle("/register", byMethod{http.MethodPost: oauth(r.registration.Register)}.fromAnyOrigin())
	userInfo := oauth(r.oauth.UserInfo)
	handle("/userinfo", byMethod{http.MethodGet: userInfo, http.MethodHead: userInfo, http.MethodPost: userInfo}.fromAnyOrigin())
	documents := func(path string, h http.HandlerFunc) { mount(path, get(h).fromAnyOrigin()) }
	documents(root+"/jwks", r.metadata.JWKS)
	// RFC 8414 puts the issuer's path behind the well-known name, OpenID Connect
	// before it; clients try all of them.
	documents("/.well-known/oauth-authorization-server"+root, r.metadata.AuthorizationServer)
	documents("/.well-known/openid-configuration"+root, r.metadata.OpenIDConfiguration)
	if root != "" {
		documents(root+"/.well-known/oauth-authorization-server", r.metadata.AuthorizationServer)
		documents(root+"/.well-known/openid-configuration", r.metadata.OpenIDConfiguration)
	}

	// What clients call from where no browser is.
	handle("/par", byMethod{http.MethodPost: oauth(r.oauth.Push)})
	// What devices without a browser call.
	handle("/device_authorization", byMethod{http.MethodPost: oauth(r.oauth.DeviceAuthorization)})
	// What only the client calls that has the token: no client in a browser is given
	// one.
	handle("/register/{client_id}", byMethod{
		http.MethodGet: oauth(r.registration.Read), http.MethodPut: oauth(r.registration.Replace), http.MethodDelete: oauth(r.registration.Delete),
	})

	// What only resource servers call.
	handle("/introspect", byMethod{http.MethodPost: oauth(r.oauth.Introspect)})

	// What people see.
	page := r.pages.Handle
	handle("/authorize", byMethod{http.MethodGet: page(r.oauth.Authorize), http.MethodPost: page(r.oauth.Decide), http.MethodHead: page(nothing)})
	handle("/device", byMethod{http.MethodGet: page(r.oauth.Device), http.MethodPost: page(r.oauth.ConnectDevice), http.MethodHead: page(nothing)})
	handle("/authorize/ask", byMethod{http.MethodPost: page(r.oauth.Ask)})
	getAndPost := func(h http.Handler) byMethod {
		return byMethod{http.MethodGet: h, http.MethodHead: h, http.MethodPost: h}
	}
	handle("/login", getAndPost(r.login.Login()))
	handle("/login/local", get(r.login.Local()))
	handle("/login/upstream/{id}", byMethod{http.MethodGet: r.upstream.Start()})
	handle("/login/upstream/{id}/callback", byMethod{http.MethodGet: r.upstream.Callback()})
	handle("/logout", getAndPost(r.login.Logout()))
	handle("/account", get(r.account.Account()))
	handle("/account/activity", get(r.account.Activity()))
	handle("/account/revoke", getAndPost(r.account.Revoke()))
	handle("/account/security", getAndPost(r.account.Security()))
	handle("/account/security/totp", getAndPost(r.account.EnrolTOTP()))
	handle("/account/security/passkey", getAndPost(r.account.EnrolPasskey()))
	handle("/account/password", getAndPost(r.account.Password()))
	handle("/account/installations", byMethod{http.MethodPost: r.account.EndInstallation()})
	handle("/account/sessions", byMethod{http.MethodPost: r.account.EndSessions()})
	handle(account.LinkPath, getAndPost(r.account.Link()))
	handle(account.LinkPath+"/done", get(r.account.LinkDone()))
	home := get(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { web.SeeOther(w, root+"/account") }))
	handle("/", home)
	if root != "" {
		handle("", home)
	}
	router.PathPrefix(root + "/assets/").Handler(get(http.StripPrefix(root+"/assets/", assets(r.pages.Templates.Assets()))))

	s.mountHealth(router)
	return plain
}

// plainPaths finds a path by its exact spelling, and leaves all others to the
// router.
type plainPaths struct {
	handlers map[string]http.Handler
	next     http.Handler
}

func (p plainPaths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := p.handlers[r.URL.EscapedPath()]; ok {
		h.ServeHTTP(w, r)
		return
	}
	p.next.ServeHTTP(w, r)
}

// adminRoutes mounts everything that the admin listener serves.
func (s *Server) adminRoutes(c Config, r *rooms) http.Handler {
	inner := mux.NewRouter()
	s.mountHealth(inner)
	inner.Handle("/metrics", byMethod{http.MethodGet: s.metrics.handler()})
	guarded := web.Guard(c.AdminHosts, inner)

	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		router.Handle(path, guarded)
	}
	router.PathPrefix("/").Handler(s.metrics.traced("/admin/v1", r.admin)) // it guards itself
	return router
}

// mountHealth mounts the health endpoints, which have no issuer's path before
// them.
func (s *Server) mountHealth(router *mux.Router) {
	router.Handle("/healthz", byMethod{http.MethodGet: health(func(context.Context) bool { return true })})
	router.Handle("/readyz", byMethod{http.MethodGet: health(s.ready)})
}

func health(good func(context.Context) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !good(r.Context()) {
			w.Header().Set("Retry-After", "2")
			web.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable"})
			return
		}
		web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
}

// nothing answers HEAD /authorize: to look must have no effect.
func nothing(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

// assets serves the pages' files. Their names change with their content.
func assets(all fs.FS) http.Handler {
	files := http.FileServerFS(onlyFiles{all})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("X-Content-Type-Options", "nosniff")
		// A picture that is opened by itself runs nothing and loads nothing.
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		files.ServeHTTP(w, r)
	})
}

// onlyFiles hides directories, so that none is listed.
type onlyFiles struct{ fs.FS }

func (f onlyFiles) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || info.IsDir() {
		_ = file.Close()
		return nil, fs.ErrNotExist
	}
	return file, nil
}

// byMethod is a path's handlers by HTTP method; any other method is answered
// with 405 and what is allowed.
type byMethod map[string]http.Handler

func (m byMethod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := m[r.Method]; ok {
		h.ServeHTTP(w, r)
		return
	}
	allowed := make([]string, 0, len(m))
	for method := range m {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	http.Error(w, "Method not allowed.", http.StatusMethodNotAllowed)
}

// fromAnyOrigin opens the path to browser programs of any origin.
func (m byMethod) fromAnyOrigin() byMethod {
	methods := make([]string, 0, len(m))
	for method := range m {
		methods = append(methods, method)
	}
	slices.Sort(methods)
	open := byMethod{}
	for method, h := range m {
		open[method] = web.AllowAnyOrigin(strings.Join(methods, ", "), h)
	}
	open[http.MethodOptions] = web.AllowAnyOrigin(strings.Join(methods, ", "), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", strings.Join(append(methods, http.MethodOptions), ", "))
		w.WriteHeader(http.StatusNoContent)
	}))
	return open
}

func logSweepError(ctx context.Context, err error) {
	slog.ErrorContext(ctx, "sweeping failed; it is tried again", "error", err.Error())
}
