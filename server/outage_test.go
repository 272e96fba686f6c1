package server_test

import (
	"context"
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

// outage is what must hold while the database of a server is away, and afterwards.
type outage struct {
	*office
	code         string
	tokens       issued
	page         *servertest.Page // a consent page, not answered
	machineToken string
	pushed       url.Values
}

func newOutage(t *testing.T, store storage.Store) *outage {
	t.Helper()
	o := newOffice(t, servertest.WithStore(store), servertest.WithDynamicRegistration())
	return &outage{
		office: o, tokens: o.tokens(t), code: o.code(t),
		page:         o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)),
		pushed:       o.pushedByWeb(t),
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
		"push a request": func() *servertest.Answer {
			return o.Post("/par", servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI), o.web.basic())
		},
		"pushed request": alice(http.MethodGet, o.URL+"/authorize?"+o.pushed.Encode(), ""),
		"sign in":        alice(http.MethodPost, o.URL+"/login", servertest.Form("username", "alice", "password", servertest.Password).Encode()),
		"sign out":       alice(http.MethodPost, o.URL+"/logout", ""),
		"account":        alice(http.MethodGet, o.URL+"/account", ""),
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
