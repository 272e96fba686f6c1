package server_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"grantd/server/servertest"
	"grantd/server/web"
	"grantd/storage"
	"grantd/storage/postgres"
	"grantd/storage/sqlite"
)

// statements notes what requests do in the database. The heartbeat and the sweep
// run beside the requests, in contexts that have no request's id.
type statements struct {
	mu   sync.Mutex
	list []string
}

func (s *statements) note(ctx context.Context, statement string) {
	if web.RequestID(ctx) == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, strings.Join(strings.Fields(statement), " "))
}

// take returns what was noted since the last time.
func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}

// TraceQueryStart implements pgx.QueryTracer.
func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.note(ctx, data.SQL)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

var (
	writing = regexp.MustCompile(`(?i)\b(INSERT INTO|UPDATE|DELETE FROM)\b`)
	// usual is the look-up of a family or a code, which changes it unless there is more
	// to do about it. That it then commits nothing is proved in storage/postgres.
	usual = regexp.MustCompile(`(?i)UPDATE families f SET generation = \$2 \+ 1|UPDATE authorization_codes c SET redeemed_at = \$2 FROM \(`)
	// lookup is the reading of what is cached otherwise.
	lookup = regexp.MustCompile(`(?i)^(SELECT|WITH)\b.*\bFROM (clients|resources|policies|\(SELECT)`)
)

// commits counts the transactions that change something: without BEGIN each
// statement is one.
func commits(list []string) int {
	n, looked := 0, 0
	for _, statement := range list {
		switch {
		case usual.MatchString(statement):
			looked = 1 // that of the first look, or else of the second
		case writing.MatchString(statement):
			n++
		}
	}
	if n == 0 {
		return looked
	}
	return n
}

// budget is what one request may do.
type budget struct {
	name string
	deed string // one of deeds, or a path to get
	// statements and commits on Postgres; on SQLite at most six statements, BEGIN
	// and COMMIT included, and one commit.
	statements, commits int
	// pushed: on SQLite one statement more, which reads the pushed request.
	pushed bool
}

var budgets = []budget{
	{"metadata", "/.well-known/oauth-authorization-server", 0, 0, false},
	{"OpenID metadata", "/.well-known/openid-configuration", 0, 0, false},
	{"JWKS", "/jwks", 0, 0, false},
	{"client credentials", "client credentials", 0, 0, false},
	{"authorize, approval remembered", "authorize under a remembered approval", 2, 1, false},
	{"authorize, page shown", "ask for an approval", 1, 0, false},
	{"approve", "approve", 1, 1, false},
	{"push", "push a request", 1, 1, false},
	{"authorize, pushed, approval remembered", "authorize a pushed request under a remembered approval", 3, 1, true},
	{"authorize, pushed, page shown", "ask for an approval of a pushed request", 2, 0, true},
	{"approve, pushed", "approve a pushed request", 2, 1, true},
	{"deny, pushed", "deny a pushed request", 3, 1, true},
	{"code exchange", "redeem a code", 1, 1, false},
	{"code exchange, wrong verifier", "redeem a code with a wrong verifier", 2, 1, false},
	{"code exchange, replay", "replay a code", 2, 1, false},
	{"code exchange with openid", "redeem a code of a resource with openid", 1, 1, false},
	{"code exchange with openid alone", "redeem a code with openid", 2, 1, false},
	{"refresh with openid", "refresh with openid", 1, 1, false},
	{"userinfo", "userinfo", 1, 0, false},
	{"refresh", "refresh", 1, 1, false},
	{"refresh, reuse", "reuse a refresh token", 2, 1, false},
	{"refresh, resource named", "refresh for a named resource", 1, 1, false},
	{"refresh, resource named, lost answer", "refresh again for a named resource", 2, 1, false},
	// Who presents a stolen token may wait (docs/adr/0016).
	{"refresh, resource named, reuse", "reuse a refresh token for a named resource", 3, 1, false},
	{"introspect", "introspect", 1, 0, false},
	{"revoke a refresh token", "revoke a refresh token", 2, 1, false},
	{"revoke an access token", "revoke an access token", 2, 1, false},
	{"ask for a device code", "ask for a device code", 6, 1, false},
	// The commit of a poll does not wait for the disk on Postgres.
	{"poll for a device", "poll for a device", 2, 1, false},
	{"redeem a device code", "redeem a device code", 2, 1, false},
	{"replay a device code", "replay a device code", 2, 1, false},
	{"enter a user code", "enter a user code", 3, 0, false},
	{"approve a device", "approve a device", 3, 1, false},
}

// measure returns what one deed does in the database while clients and resources
// are cached. On a busy machine the heartbeat may come so late that the cache is
// bypassed; then the deed is done again.
func measure(t *testing.T, o *office, s *statements, b budget) []string {
	t.Helper()
	prepare, good := func(*office, *testing.T) func() *servertest.Answer {
		return func() *servertest.Answer { return o.Get(b.deed) }
	}, isOK
	if i := slices.IndexFunc(deeds, func(d deed) bool { return d.name == b.deed }); i >= 0 {
		prepare, good = deeds[i].prepare, deeds[i].good
	}
	for range 50 {
		// What the deed needs of the cache is in it afterwards.
		if answer := prepare(o, t)(); !good(answer) {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		send := prepare(o, t)
		s.take()
		answer := send()
		if !good(answer) {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		if list := s.take(); !slices.ContainsFunc(list, lookup.MatchString) {
			return list
		}
	}
	t.Fatal("the cache is never warm")
	return nil
}

// TestBudgetPostgres: what a request costs, as the design allows (part 3).
func TestBudgetPostgres(t *testing.T) {
	s := new(statements)
	databaseURL := servertest.MigratedPostgres(t)
	o := newOffice(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL, postgres.WithTracer(s))))
	if len(s.take()) == 0 {
		t.Fatal("nothing is counted")
	}
	for _, b := range budgets {
		t.Run(b.name, func(t *testing.T) {
			list := measure(t, o, s, b)
			if len(list) > b.statements {
				t.Errorf("%d statements, allowed are %d:\n%s", len(list), b.statements, strings.Join(list, "\n"))
			}
			if b.statements > 0 && len(list) == 0 {
				t.Error("nothing was counted")
			}
			if n := commits(list); n > b.commits {
				t.Errorf("%d commits, allowed are %d:\n%s", n, b.commits, strings.Join(list, "\n"))
			}
		})
	}
}

// TestBudgetOfAChangedPerson: what a page says of its person is tried first, so who has
// changed since costs a statement more (docs/adr/0039).
func TestBudgetOfAChangedPerson(t *testing.T) {
	s := new(statements)
	o := newOffice(t, servertest.WithStore(servertest.OpenPostgres(t, servertest.MigratedPostgres(t), postgres.WithTracer(s))))
	for _, person := range []servertest.Object{{"groups": []string{"staff"}}, {"groups": []string{}}} {
		page := o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI))
		o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), person)
		s.take()
		wantCode(t, o.alice.Approve(page))
		list := slices.DeleteFunc(s.take(), lookup.MatchString) // a late heartbeat
		if len(list) != 3 {
			t.Errorf("%d statements, want 3:\n%s", len(list), strings.Join(list, "\n"))
		}
	}
}

// TestBudgetSQLite: one transaction and one commit, at most six statements.
func TestBudgetSQLite(t *testing.T) {
	s := new(statements)
	o := newOffice(t, servertest.WithStore(servertest.SQLiteFile(t, t.TempDir()+"/grantd.db", sqlite.WithObserver(s.note))))
	if len(s.take()) == 0 {
		t.Fatal("nothing is counted")
	}
	for _, b := range budgets {
		t.Run(b.name, func(t *testing.T) {
			list := measure(t, o, s, b)
			allowed := 6
			if b.pushed {
				allowed++
			}
			// An answer about a device looks its code up besides.
			allowed = max(allowed, b.statements+4)
			if b.commits == 0 {
				allowed = b.statements
			}
			if len(list) > allowed {
				t.Errorf("%d statements, allowed are %d:\n%s", len(list), allowed, strings.Join(list, "\n"))
			}
			transactions := 0
			for _, statement := range list {
				if strings.HasPrefix(statement, "COMMIT") {
					transactions++
				}
			}
			if transactions > b.commits {
				t.Errorf("%d commits, allowed are %d:\n%s", transactions, b.commits, strings.Join(list, "\n"))
			}
		})
	}
}

// TestRefreshTakesNoRoom: refreshing updates one row in place. However often, no
// table has more rows.
func TestRefreshTakesNoRoom(t *testing.T) {
	check := func(t *testing.T, o *office, rows func() map[string]int) {
		t.Helper()
		got := o.tokens(t)
		before := rows()
		for range 50 {
			got = wantTokens(t, o.Refresh(o.clientID, got.refresh))
			wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()))
			if !o.active(t, got.access) {
				t.Fatal("the access token is not active")
			}
		}
		for table, n := range rows() {
			if n != before[table] {
				t.Errorf("%s has %d rows, before %d", table, n, before[table])
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		path := t.TempDir() + "/grantd.db"
		o := newOffice(t, servertest.WithStore(servertest.SQLiteFile(t, path)))
		check(t, o, func() map[string]int { return rowsInSQLite(t, path) })
	})
	t.Run("postgres", func(t *testing.T) {
		databaseURL := servertest.MigratedPostgres(t)
		o := newOffice(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)))
		check(t, o, func() map[string]int { return rowsInPostgres(t, databaseURL) })
	})
}

// TestStrangersWriteNothing: law 4. Whatever somebody without a session, a code or
// a token sends, no table has more rows.
func TestStrangersWriteNothing(t *testing.T) {
	path := t.TempDir() + "/grantd.db"
	o := newOffice(t, servertest.WithStore(servertest.SQLiteFile(t, path)), servertest.WithRegistration(storage.RegistrationOff, ""))
	// A session is needed for what follows, but not made by it.
	before := rowsInSQLite(t, path)
	request := servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)
	for i := range 20 {
		o.Browser().Authorize(changed(request, "state", fmt.Sprint(i)))
		o.Browser().Authorize(changed(request, "scope", "unknown"))
		o.Browser().Authorize(changed(request, "prompt", "none"))
		o.alice.Authorize(changed(request, "state", fmt.Sprint(i))) // shown, not answered
		o.Redeem(o.clientID, "ac_"+fmt.Sprint(i))
		o.Refresh(o.clientID, "rt_"+fmt.Sprint(i))
		o.Post("/revoke", servertest.Form("token", fmt.Sprint(i)), "")
		o.Post("/introspect", servertest.Form("token", fmt.Sprint(i)), "")
		o.Post("/token", servertest.Form("grant_type", "client_credentials"), fmt.Sprint("cl_", i, ":x"))
		o.Do(o.Request(http.MethodPost, "/register", `{"redirect_uris":["http://localhost/cb"]}`, http.Header{"Content-Type": {"application/json"}}))
	}
	for table, n := range rowsInSQLite(t, path) {
		if n != before[table] {
			t.Errorf("%s has %d rows, before %d", table, n, before[table])
		}
	}
}
