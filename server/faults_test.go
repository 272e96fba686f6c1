package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/internal/pgtest"
	"grantd/server/servertest"
	"grantd/storage"
)

// blame are words on which MCP clients throw credentials or tokens away, or which
// would say of a token what nobody could look up.
var blame = []string{
	"invalid_client", "unauthorized_client", "invalid_grant", "invalid_request", "invalid_token", "invalid_scope", "invalid_target",
	"access_denied", `"active"`, "access_token",
}

// wantOutage checks the one answer to an outage: come again, it was not you.
func wantOutage(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	if answer.Status != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("the answer is %d, Retry-After %q: %s", answer.Status, answer.Header.Get("Retry-After"), answer.Body)
	}
	wantNobodyBlamed(t, answer)
	if answer.JSON != nil && answer.JSON["error"] != nil && answer.JSON["error"] != "temporarily_unavailable" {
		t.Errorf("the error is %v", answer.JSON["error"])
	}
}

func wantNobodyBlamed(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	for _, word := range blame {
		if strings.Contains(answer.Body, word) || strings.Contains(answer.Header.Get("Location"), word) {
			t.Errorf("the answer says %s: %s %s", word, answer.Header.Get("Location"), answer.Body)
		}
	}
	if answer.Header.Get("WWW-Authenticate") != "" || answer.Header.Get("Location") != "" || len(answer.Header.Values("Set-Cookie")) > 0 {
		t.Errorf("the answer has headers that mean more: %v", answer.Header)
	}
}

// deed is one request that a fault may meet, prepared anew each time.
type deed struct {
	name string
	// prepare does what goes before and returns the request itself.
	prepare func(o *office, t *testing.T) func() *servertest.Answer
	// good says whether an answer is that of a server without faults.
	good func(answer *servertest.Answer) bool
}

func isTokens(a *servertest.Answer) bool {
	return a.Status == http.StatusOK && a.JSON.String("access_token") != ""
}

func isInvalidGrant(a *servertest.Answer) bool {
	return a.Status == http.StatusBadRequest && a.JSON["error"] == "invalid_grant"
}
func isOK(a *servertest.Answer) bool       { return a.Status == http.StatusOK }
func isSeeOther(a *servertest.Answer) bool { return a.Status == http.StatusSeeOther }
func hasCode(a *servertest.Answer) bool {
	return isSeeOther(a) && strings.Contains(a.Header.Get("Location"), "code=ac_")
}

// deeds are everything that a request to the protocol's endpoints does in the
// database.
var deeds = []deed{
	{"redeem a code", func(o *office, t *testing.T) func() *servertest.Answer {
		code := o.code(t)
		return func() *servertest.Answer { return o.Redeem(o.clientID, code) }
	}, isTokens},
	{"redeem a code with a wrong verifier", func(o *office, t *testing.T) func() *servertest.Answer {
		form := o.redemption(o.code(t), "code_verifier", otherVerifier)
		return func() *servertest.Answer { return o.Post("/token", form, "") }
	}, isInvalidGrant},
	{"replay a code", func(o *office, t *testing.T) func() *servertest.Answer {
		code := o.code(t)
		wantTokens(t, o.Redeem(o.clientID, code))
		o.Clock.Advance(time.Minute)
		return func() *servertest.Answer { return o.Redeem(o.clientID, code) }
	}, isInvalidGrant},
	{"refresh", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh) }
	}, isTokens},
	{"refresh as another client", func(o *office, t *testing.T) func() *servertest.Answer {
		form := servertest.Form("grant_type", "refresh_token", "refresh_token", o.tokens(t).refresh)
		return func() *servertest.Answer { return o.Post("/token", form, o.web.basic()) }
	}, isInvalidGrant},
	{"reuse a refresh token", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		wantTokens(t, o.Refresh(o.clientID, got.refresh))
		o.Clock.Advance(time.Minute)
		return func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh) }
	}, isInvalidGrant},
	{"client credentials", func(o *office, _ *testing.T) func() *servertest.Answer {
		return func() *servertest.Answer {
			return o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())
		}
	}, isTokens},
	{"introspect", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer { return o.introspect(got.access) }
	}, func(a *servertest.Answer) bool { return a.JSON["active"] == true }},
	{"revoke a refresh token", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer { return o.Post("/revoke", servertest.Form("token", got.refresh), "") }
	}, isOK},
	{"revoke an access token", func(o *office, t *testing.T) func() *servertest.Answer {
		got := o.tokens(t)
		return func() *servertest.Answer {
			return o.Post("/revoke", servertest.Form("token", got.access, "client_id", o.clientID), "")
		}
	}, isOK},
	{"ask for an approval", func(o *office, _ *testing.T) func() *servertest.Answer {
		target := o.URL + "/authorize?" + servertest.AuthorizationRequest(o.clientID, loopback, resourceURI).Encode()
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, target, "", nil) }
	}, isOK},
	{"approve", func(o *office, _ *testing.T) func() *servertest.Answer {
		page := o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))
		form := changed(page.Fields(), "decision", "approve")
		return func() *servertest.Answer {
			return o.alice.Send(http.MethodPost, page.Action(), form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, hasCode},
	{"authorize under a remembered approval", func(o *office, t *testing.T) func() *servertest.Answer {
		o.webCode(t)
		target := o.URL + "/authorize?" + servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI).Encode()
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, target, "", nil) }
	}, hasCode},
	{"sign in", func(o *office, _ *testing.T) func() *servertest.Answer {
		browser := o.Browser()
		form := servertest.Form("username", "alice", "password", servertest.Password)
		return func() *servertest.Answer {
			return browser.Send(http.MethodPost, o.URL+"/login", form.Encode(), http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}, isSeeOther},
	{"account", func(o *office, _ *testing.T) func() *servertest.Answer {
		return func() *servertest.Answer { return o.alice.Send(http.MethodGet, o.URL+"/account", "", nil) }
	}, isOK},
	{"register", func(o *office, _ *testing.T) func() *servertest.Answer {
		return func() *servertest.Answer {
			o.Clock.Advance(time.Hour) // beyond the limit on registrations
			return o.Do(o.Request(http.MethodPost, "/register", `{"redirect_uris":["http://localhost/cb"]}`, http.Header{"Content-Type": {"application/json"}}))
		}
	}, func(a *servertest.Answer) bool { return a.Status == http.StatusCreated }},
}

// TestFaults: TK-29, TK-31, RV-05, HR-8. Each call that a request makes of the
// database goes wrong in each way, with nothing cached; the client is not blamed,
// and the same request works once the fault is over.
func TestFaults(t *testing.T) {
	captureLogs(t)
	store := &unreliable{Store: servertest.SQLite(t)}
	o := newOffice(t, servertest.WithStore(store), servertest.WithDynamicRegistration())
	// A change to any client makes the server forget what it has cached.
	scratch, renamed := o.MachineClient().String("client_id"), 0
	cold := func() {
		renamed++
		o.Must(http.MethodPatch, "/clients/"+scratch, servertest.Object{"client_name": fmt.Sprint("Scratch ", renamed)})
	}
	faults := []struct {
		name   string
		fault  func(call string) error
		status int
	}{
		{"unavailable", func(string) error { return fmt.Errorf("statement 7: %w", storage.ErrUnavailable) }, http.StatusServiceUnavailable},
		{"deadline", func(string) error { return fmt.Errorf("statement 7: %w", context.DeadlineExceeded) }, http.StatusServiceUnavailable},
		{"unexpected", func(string) error { return errors.New("statement 7 has secret-of-the-database") }, http.StatusInternalServerError},
		{"panic", func(string) error { panic("secret-of-the-database") }, http.StatusInternalServerError},
	}
	for _, deed := range deeds {
		send := deed.prepare(o, t)
		cold()
		store.set(nil, nil)
		if answer := send(); !deed.good(answer) {
			t.Fatalf("%s without a fault: %d %s", deed.name, answer.Status, answer.Body)
		}
		calls := store.calls()
		if len(calls) == 0 {
			t.Fatalf("%s makes no call", deed.name)
		}
		for _, call := range calls {
			for _, fault := range faults {
				t.Run(deed.name+"/"+call+"/"+fault.name, func(t *testing.T) {
					send := deed.prepare(o, t)
					cold()
					store.set(func(made string) error {
						if made == call {
							return fault.fault(made)
						}
						return nil
					}, nil)
					answer := send()
					store.set(nil, nil)
					if fault.status == http.StatusServiceUnavailable {
						wantOutage(t, answer)
					} else if answer.Status != fault.status {
						t.Errorf("the answer is %d %s, want %d", answer.Status, answer.Body, fault.status)
					}
					wantNobodyBlamed(t, answer)
					if strings.Contains(answer.Body, "statement 7") || strings.Contains(answer.Body, "secret-of-the-database") || strings.Contains(answer.Body, "goroutine") {
						t.Errorf("the answer says what went wrong: %s", answer.Body)
					}
					if answer := send(); !deed.good(answer) {
						t.Errorf("after the fault: %d %s", answer.Status, answer.Body)
					}
				})
			}
		}
	}
}

// TestUnknownOutcome: ST-03, AC-16, RV-05. The database did what it was told, but
// the answer got lost: nothing is issued twice, and nobody is signed out.
func TestUnknownOutcome(t *testing.T) {
	captureLogs(t)
	store := &unreliable{Store: servertest.SQLite(t)}
	o := newOffice(t, servertest.WithStore(store))
	lost := func(call string, send func() *servertest.Answer) *servertest.Answer {
		store.set(nil, func(made string) error {
			if made == call {
				return storage.ErrUnavailable
			}
			return nil
		})
		defer store.set(nil, nil)
		return send()
	}
	t.Run("AC-16 code", func(t *testing.T) {
		code := o.code(t)
		wantOutage(t, lost("RedeemCode", func() *servertest.Answer { return o.Redeem(o.clientID, code) }))
		wantError(t, o.Redeem(o.clientID, code), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("refresh", func(t *testing.T) {
		got := o.tokens(t)
		wantOutage(t, lost("RotateFamily", func() *servertest.Answer { return o.Refresh(o.clientID, got.refresh) }))
		next := wantTokens(t, o.Refresh(o.clientID, got.refresh))
		if !o.active(t, next.access) {
			t.Error("the access token is not active")
		}
		wantTokens(t, o.Refresh(o.clientID, next.refresh))
	})
	t.Run("RV-05 revoke", func(t *testing.T) {
		got := o.tokens(t)
		send := func() *servertest.Answer { return o.Post("/revoke", servertest.Form("token", got.refresh), "") }
		wantOutage(t, lost("EndFamily", send))
		if answer := send(); answer.Status != http.StatusOK {
			t.Errorf("again: %d %s", answer.Status, answer.Body)
		}
		o.wantGone(t, got.refresh)
	})
	t.Run("approve", func(t *testing.T) {
		page := o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))
		form := changed(page.Fields(), "decision", "approve")
		send := func() *servertest.Answer { return o.alice.Post(page.Action(), form).Answer }
		wantOutage(t, lost("Approve", send))
		if answer := send(); answer.Status != http.StatusConflict {
			t.Errorf("again: %d %s", answer.Status, answer.Body)
		}
	})
}

// outage is what must hold while the database of a server is away, and afterwards.
type outage struct {
	*office
	code         string
	tokens       issued
	page         *servertest.Page // a consent page, not answered
	machineToken string
}

func newOutage(t *testing.T, store storage.Store) *outage {
	t.Helper()
	o := newOffice(t, servertest.WithStore(store), servertest.WithDynamicRegistration())
	return &outage{
		office: o, tokens: o.tokens(t), code: o.code(t),
		page:         o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)),
		machineToken: wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())).access,
	}
}

func (o *outage) during(t *testing.T) {
	t.Helper()
	alice := func(method, target, body string) func() *servertest.Answer {
		return func() *servertest.Answer {
			return o.alice.Send(method, target, body, http.Header{"Content-Type": {formType}, "Origin": {o.Origin}})
		}
	}
	approval := changed(o.page.Fields(), "decision", "approve").Encode()
	for name, send := range map[string]func() *servertest.Answer{
		"code":                 func() *servertest.Answer { return o.Redeem(o.clientID, o.code) },
		"refresh":              func() *servertest.Answer { return o.Refresh(o.clientID, o.tokens.refresh) },
		"introspect":           func() *servertest.Answer { return o.introspect(o.tokens.access) },
		"introspect machine's": func() *servertest.Answer { return o.introspect(o.machineToken) },
		"RV-05 refresh token":  func() *servertest.Answer { return o.Post("/revoke", servertest.Form("token", o.tokens.refresh), "") },
		"RV-05 access token":   func() *servertest.Answer { return o.Post("/revoke", servertest.Form("token", o.tokens.access), "") },
		"authorize":            alice(http.MethodGet, o.page.URL.String(), ""),
		"approve":              alice(http.MethodPost, o.page.Action(), approval),
		"sign in":              alice(http.MethodPost, o.URL+"/login", servertest.Form("username", "alice", "password", servertest.Password).Encode()),
		"sign out":             alice(http.MethodPost, o.URL+"/logout", ""),
		"account":              alice(http.MethodGet, o.URL+"/account", ""),
		"register": func() *servertest.Answer {
			return o.Do(o.Request(http.MethodPost, "/register", `{"redirect_uris":["http://localhost/cb"]}`, http.Header{"Content-Type": {"application/json"}}))
		},
	} {
		t.Run("TK-29 "+name, func(t *testing.T) { wantOutage(t, send()) })
	}
	t.Run("TK-29 client credentials", func(t *testing.T) {
		// They need no database while the client is cached, and no longer.
		answer := o.until(t, func(a *servertest.Answer) bool { return !isTokens(a) }, func() *servertest.Answer {
			return o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())
		})
		wantOutage(t, answer)
	})
	t.Run("TK-29 a client's name that is not cached", func(t *testing.T) {
		wantOutage(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), "cl_somebody:secret"))
		wantOutage(t, o.Post("/revoke", servertest.Form("token", "x", "client_id", "cl_somebody"), ""))
		wantOutage(t, o.Do(o.Request(http.MethodGet, "/authorize?client_id=cl_somebody&redirect_uri=https%3A%2F%2Fa.example%2F", "", nil)))
	})
	t.Run("admin API", func(t *testing.T) {
		if status, problem := o.Call(http.MethodGet, "/clients", nil); status != http.StatusServiceUnavailable {
			t.Errorf("%d %v", status, problem)
		}
	})
	t.Run("metadata and keys go on being served", func(t *testing.T) {
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/jwks", "/healthz"} {
			if answer := o.Get(path); answer.Status != http.StatusOK || answer.JSON == nil {
				t.Errorf("%s: %d %s", path, answer.Status, answer.Body)
			}
		}
		if answer := o.Get("/readyz"); answer.Status != http.StatusServiceUnavailable {
			t.Errorf("/readyz: %d", answer.Status)
		}
	})
}

// until repeats a request until its answer is as wanted. Every answer before must
// be a success or an outage.
func (o *outage) until(t *testing.T, wanted func(*servertest.Answer) bool, send func() *servertest.Answer) *servertest.Answer {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		answer := send()
		switch {
		case wanted(answer):
			return answer
		case time.Now().After(deadline):
			t.Fatalf("still %d %s", answer.Status, answer.Body)
		case answer.Status != http.StatusOK:
			wantOutage(t, answer)
		}
	}
}

// after says that a code and a refresh token from before the outage are good.
func (o *outage) after(t *testing.T) {
	t.Helper()
	fresh := wantTokens(t, o.until(t, isTokens, func() *servertest.Answer { return o.Redeem(o.clientID, o.code) }))
	next := wantTokens(t, o.until(t, isTokens, func() *servertest.Answer { return o.Refresh(o.clientID, o.tokens.refresh) }))
	for _, token := range []string{fresh.access, next.access, o.tokens.access, o.machineToken} {
		o.until(t, func(a *servertest.Answer) bool { return a.JSON["active"] == true }, func() *servertest.Answer { return o.introspect(token) })
	}
	wantError(t, o.Redeem(o.clientID, o.code), http.StatusBadRequest, "invalid_grant")
}

// TestPostgresOutage: TK-29, ST-04. The server is stopped as by a crash, and
// started again; grantd is not.
func TestPostgresOutage(t *testing.T) {
	captureLogs(t)
	database := pgtest.Start(t)
	o := newOutage(t, servertest.OpenPostgres(t, database.URL()))
	for range 2 {
		database.Stop()
		o.during(t)
		database.Start()
		o.after(t)
		o.code, o.tokens = o.office.code(t), o.office.tokens(t)
		o.page = o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))
		if o.page.Status != http.StatusOK || !o.page.IsConsent() {
			t.Fatalf("the person is no longer signed in: %d %s", o.page.Status, o.page.Body)
		}
	}
}

// TestSQLiteOutage: TK-29, ST-06 for a file that can no longer be read or
// written; then grantd is started again on it.
func TestSQLiteOutage(t *testing.T) {
	captureLogs(t)
	path := t.TempDir() + "/grantd.db"
	store := servertest.SQLiteFile(t, path)
	o := newOutage(t, store)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	o.during(t)
	o.Server = servertest.New(t, servertest.WithStore(servertest.SQLiteFile(t, path)), servertest.ReplicaOf(o.Server))
	o.after(t)
}

// TestStatementTimeout: TK-29, ST-04. Tables are locked, as by a migration.
func TestStatementTimeout(t *testing.T) {
	captureLogs(t)
	databaseURL := servertest.MigratedPostgres(t)
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("lock_timeout", "20ms")
	u.RawQuery = query.Encode()
	o := newOutage(t, servertest.OpenPostgres(t, u.String()))
	unlock := lockTables(t, databaseURL)
	for name, answer := range map[string]*servertest.Answer{
		"code":       o.Redeem(o.clientID, o.code),
		"refresh":    o.Refresh(o.clientID, o.tokens.refresh),
		"introspect": o.introspect(o.tokens.access),
		"revoke":     o.Post("/revoke", servertest.Form("token", o.tokens.refresh), ""),
	} {
		t.Run("TK-29 "+name, func(t *testing.T) { wantOutage(t, answer) })
	}
	unlock()
	o.after(t)
}

// lockTables keeps everybody else away from the tables of codes and families.
func lockTables(t *testing.T, databaseURL string) (unlock func()) {
	t.Helper()
	tx, err := connect(t, databaseURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE authorization_codes, families IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPoolExhausted: TK-29, ST-04. The only connection is waiting for a lock, and
// whoever comes next has no time to wait for it.
func TestPoolExhausted(t *testing.T) {
	captureLogs(t)
	databaseURL := servertest.MigratedPostgres(t)
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("pool_max_conns", "1")
	query.Set("application_name", "grantd-test")
	u.RawQuery = query.Encode()
	o := newOutage(t, servertest.OpenPostgres(t, u.String()))
	unlock := lockTables(t, databaseURL)
	waiting := make(chan *servertest.Answer)
	go func() { waiting <- o.Redeem(o.clientID, o.code) }()
	watcher := connect(t, databaseURL)
	for blocked := false; !blocked; {
		const sql = `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = 'grantd-test' AND wait_event_type = 'Lock')`
		if err := watcher.QueryRow(t.Context(), sql).Scan(&blocked); err != nil {
			t.Fatal(err)
		}
	}
	for name, form := range map[string]url.Values{
		"code":    o.redemption(o.code),
		"refresh": servertest.Form("grant_type", "refresh_token", "client_id", o.clientID, "refresh_token", o.tokens.refresh),
	} {
		t.Run("TK-29 "+name, func(t *testing.T) { wantOutage(t, o.hurried(t, 50*time.Millisecond, "/token", form)) })
	}
	unlock()
	wantTokens(t, <-waiting)
	o.code = o.office.code(t)
	o.after(t)
}

// hurried posts a form with a deadline on the server's side.
func (o *office) hurried(t *testing.T, within time.Duration, path string, form url.Values) *servertest.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, o.URL+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	o.Public.ServeHTTP(w, r)
	return &servertest.Answer{Status: w.Code, Header: w.Header(), Body: w.Body.String()}
}

// TestDeadline: TK-29. The request's time is over before it has begun.
func TestDeadline(t *testing.T) {
	captureLogs(t)
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOutage(t, open(t))
		for name, form := range map[string]url.Values{
			"/token, code":    o.redemption(o.code),
			"/token, refresh": servertest.Form("grant_type", "refresh_token", "client_id", o.clientID, "refresh_token", o.tokens.refresh),
			"/revoke":         servertest.Form("token", o.tokens.refresh),
		} {
			path, _, _ := strings.Cut(name, ",")
			t.Run("TK-29 "+name, func(t *testing.T) { wantOutage(t, o.hurried(t, 0, path, form)) })
		}
		o.after(t)
	})
}

// TestUnknownRootKey: what was made by a root key that this replica was not given
// is the operator's mistake, and no reason for a client to throw anything away.
func TestUnknownRootKey(t *testing.T) {
	captureLogs(t)
	store := servertest.SQLite(t)
	newer := []byte("another root key of thirty-two b")
	older := newOffice(t, servertest.WithStore(store))
	ahead := servertest.New(t, servertest.WithStore(store), servertest.WithRootKeys(newer, servertest.RootKey), servertest.ReplicaOf(older.Server))
	rotated := &office{house: &house{Server: ahead, clientID: older.clientID}, alice: ahead.SignedIn("alice"), guard: older.guard}
	// What the old key made, both know.
	wantTokens(t, ahead.Redeem(older.clientID, older.code(t)))
	code, got := rotated.code(t), rotated.tokens(t)
	for name, answer := range map[string]*servertest.Answer{
		"code":    older.Redeem(older.clientID, code),
		"refresh": older.Refresh(older.clientID, got.refresh),
		"revoke":  older.Post("/revoke", servertest.Form("token", got.refresh), ""),
	} {
		t.Run(name, func(t *testing.T) { wantOutage(t, answer) })
	}
	t.Run("consent page", func(t *testing.T) {
		page := rotated.alice.Authorize(servertest.AuthorizationRequest(older.clientID, loopback, resourceURI))
		form := changed(page.Fields(), "decision", "approve")
		answer := rotated.alice.Send(http.MethodPost, older.URL+"/authorize?"+page.URL.RawQuery, form.Encode(),
			http.Header{"Content-Type": {formType}, "Origin": {older.Origin}})
		wantOutage(t, answer)
		if approved := rotated.alice.Approve(page); approved.Left == nil {
			t.Errorf("where the key is known: %d %s", approved.Status, approved.Body)
		}
	})
	wantTokens(t, ahead.Redeem(older.clientID, code))
	wantTokens(t, ahead.Refresh(older.clientID, got.refresh))
}
