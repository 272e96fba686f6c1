package server_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
)

// archive is a house whose audit chain somebody can get at behind its back.
type archive struct {
	*house
	// tamper runs statements with the append-only triggers out of the way; refused
	// runs one with them.
	tamper  func(t testing.TB, statements ...string)
	refused func(t testing.TB, statement string) error
}

// onEachArchive runs a test on both databases.
func onEachArchive(t *testing.T, test func(t *testing.T, open func(t testing.TB, opts ...servertest.Option) *archive)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB, opts ...servertest.Option) *archive {
			path := t.TempDir() + "/grantd.db"
			h := newHouse(t, append(opts, servertest.WithStore(servertest.SQLiteFile(t, path)))...)
			db, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=5000")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			run := func(statement string) error { _, err := db.ExecContext(t.Context(), statement); return err }
			return newArchive(h, run, "DROP TRIGGER audit_events_update", "DROP TRIGGER audit_events_delete", "DROP TRIGGER audit_seals_update", "DROP TRIGGER audit_seals_delete")
		})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, func(t testing.TB, opts ...servertest.Option) *archive {
			databaseURL := servertest.MigratedPostgres(t)
			h := newHouse(t, append(opts, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)))...)
			conn := connect(t, databaseURL)
			run := func(statement string) error { _, err := conn.Exec(t.Context(), statement); return err }
			return newArchive(h, run, "ALTER TABLE audit_events DISABLE TRIGGER USER", "ALTER TABLE audit_seals DISABLE TRIGGER USER")
		})
	})
}

func newArchive(h *house, run func(string) error, unlock ...string) *archive {
	return &archive{
		house: h,
		tamper: func(t testing.TB, statements ...string) {
			t.Helper()
			for _, statement := range append(unlock, statements...) {
				if err := run(statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
		},
		refused: func(_ testing.TB, statement string) error { return run(statement) },
	}
}

// fill makes three seals of several events each, and one event without a seal.
func (a *archive) fill() {
	for i := range 3 {
		for n := range 4 {
			a.User(fmt.Sprintf("person-%d-%d", i, n))
		}
		a.Seal()
	}
	a.User("latecomer")
}

// verify reads the whole verification.
func (a *archive) verify(t testing.TB, head string) servertest.Object {
	t.Helper()
	return a.Must(http.MethodGet, "/audit-verification?head="+url.QueryEscape(head), nil)
}

func (a *archive) head(t testing.TB) string {
	t.Helper()
	return a.Must(http.MethodGet, "/audit-head", nil).String("head")
}

// faults are what verifying finds, each as "kind seal.position".
func (a *archive) faults(t testing.TB, head string) []string {
	t.Helper()
	found := []string{}
	for _, item := range a.verify(t, head)["faults"].([]any) {
		f := servertest.Object(item.(map[string]any))
		seal, _ := f["seal"].(float64)
		position, _ := f["position"].(float64)
		found = append(found, fmt.Sprintf("%s %.0f.%.0f", f.String("kind"), seal, position))
		if f.String("detail") == "" {
			t.Errorf("a fault says nothing: %v", f)
		}
	}
	return found
}

// TestAuditVerify: whatever is done to the events or the chain in the database
// shows, and where.
func TestAuditVerify(t *testing.T) {
	onEachArchive(t, func(t *testing.T, open func(testing.TB, ...servertest.Option) *archive) {
		whole := open(t)
		empty := whole.head(t)
		if found := whole.faults(t, empty); len(found) != 0 {
			t.Errorf("an empty chain has the faults %v", found)
		}
		whole.fill()
		if v := whole.verify(t, whole.head(t)); len(v["faults"].([]any)) != 0 || v["seals"] != 3.0 || v["unsealed"] != 1.0 || v["events"].(float64) < 12 {
			t.Errorf("a whole chain is %v", v)
		}
		for _, statement := range []string{
			`UPDATE audit_events SET actor = 'system' WHERE seal = 1`, `UPDATE audit_events SET seal = NULL`, `DELETE FROM audit_events`,
			`UPDATE audit_events SET detail = '{}' WHERE seal IS NULL`, `DELETE FROM audit_seals`, `UPDATE audit_seals SET events = 1`,
		} {
			if whole.refused(t, statement) == nil {
				t.Errorf("the database let pass %s", statement)
			}
		}

		for name, test := range map[string]struct {
			statements []string
			withHead   bool
			want       string
		}{
			"a detail was changed":  {[]string{`UPDATE audit_events SET detail = '{"username":"eve"}' WHERE seal = 2 AND position = 3`}, false, "event_changed 2.3"},
			"the actor was changed": {[]string{`UPDATE audit_events SET actor = 'nobody' WHERE seal = 1 AND position = 1`}, false, "event_changed 1.1"},
			"an event was removed":  {[]string{`DELETE FROM audit_events WHERE seal = 2 AND position = 2`}, false, "event_missing 2.2"},
			"the last was removed":  {[]string{`DELETE FROM audit_events WHERE seal = 3 AND position = 4`}, false, "event_missing 3.4"},
			"two were exchanged": {[]string{
				`UPDATE audit_events SET position = 99 WHERE seal = 2 AND position = 1`, `UPDATE audit_events SET position = 1 WHERE seal = 2 AND position = 2`,
				`UPDATE audit_events SET position = 2 WHERE seal = 2 AND position = 99`,
			}, false, "event_changed 2.1, event_changed 2.2"},
			"an event was put into a seal": {[]string{
				`INSERT INTO audit_events SELECT 'evt_put_in', at, actor, action, target, detail, seal, 99, mac, salt, erasure FROM audit_events WHERE seal = 2 AND position = 1`,
			}, false, "event_foreign 2.99"},
			"an event was put in place of another": {[]string{
				`DELETE FROM audit_events WHERE seal = 2 AND position = 1`,
				`INSERT INTO audit_events SELECT 'evt_put_in', at, actor, action, target, detail, seal, 1, mac, salt, erasure FROM audit_events WHERE seal = 2 AND position = 2`,
			}, false, "event_changed 2.1"},
			"an event claims a seal that is not there": {[]string{
				`INSERT INTO audit_events SELECT 'evt_put_in', at, actor, action, target, detail, 77, 1, mac, salt, erasure FROM audit_events WHERE seal = 2 AND position = 2`,
			}, false, "event_foreign 77.1"},
			"a seal was removed with its events": {[]string{`DELETE FROM audit_events WHERE seal = 2`, `DELETE FROM audit_seals WHERE number = 2`}, false, "seal_missing 2.0"},
			"a seal was removed": {[]string{`DELETE FROM audit_seals WHERE number = 2`}, false, strings.Join([]string{
				"seal_missing 2.0", "event_foreign 2.1", "event_foreign 2.2", "event_foreign 2.3", "event_foreign 2.4",
			}, ", ")},
			"a seal was made to fit": {[]string{
				`DELETE FROM audit_events WHERE seal = 3 AND position = 4`, `UPDATE audit_seals SET events = 3 WHERE number = 3`,
			}, false, "seal_changed 3.0"},
			"the end was cut off": {[]string{`DELETE FROM audit_events WHERE seal = 3`, `DELETE FROM audit_seals WHERE number = 3`}, true, "head_missing 3.0"},
			"all is gone":         {[]string{`DELETE FROM audit_events`, `DELETE FROM audit_seals`}, true, "head_missing 3.0"},
			"retention is feigned": {[]string{
				`UPDATE audit_seals SET removed_at = sealed_at, removal = mac WHERE number = 2`, `DELETE FROM audit_events WHERE seal = 2`,
			}, false, "event_missing 2.0"},
			"an erasure is feigned": {[]string{
				`UPDATE audit_events SET detail = '{}', salt = NULL, erasure = '{"commitments":{"username":"AAAA"},"key_id":"AAAAAA==","mac":"AAAA"}' WHERE seal = 2 AND position = 1`,
			}, false, "event_changed 2.1"},
			"what happened is unsealed": {[]string{
				`UPDATE audit_events SET seal = NULL, position = NULL, mac = NULL, salt = NULL WHERE seal = 2 AND position = 4`,
			}, false, "event_missing 2.4"},
		} {
			t.Run(name, func(t *testing.T) {
				a := open(t)
				a.fill()
				head := ""
				if test.withHead {
					head = a.head(t)
				}
				a.tamper(t, test.statements...)
				if found := strings.Join(a.faults(t, head), ", "); found != test.want {
					t.Errorf("found %q, want %q", found, test.want)
				}
			})
		}

		t.Run("the chain was made anew", func(t *testing.T) {
			a := open(t)
			a.fill()
			head := a.head(t)
			a.tamper(t, `UPDATE audit_events SET seal = NULL, position = NULL, mac = NULL, salt = NULL`, `DELETE FROM audit_seals`,
				`DELETE FROM audit_events WHERE action = 'user.created' AND target = 'none'`)
			a.Seal()
			if found := a.faults(t, ""); len(found) != 0 {
				t.Errorf("without a head: %v", found)
			}
			// It has fewer seals now: first its end is missed, then its seal is another.
			for range 2 {
				a.User(fmt.Sprint("later", len(a.list(t, "/users"))))
				a.Seal()
			}
			if found := strings.Join(a.faults(t, head), ", "); found != "head_changed 3.0" {
				t.Errorf("with the head: %s", found)
			}
		})
	})
}

// TestAuditRootKeyRotation: a new root key seals, the old one still verifies; once
// it is gone, what it sealed cannot be verified, and that is said.
func TestAuditRootKeyRotation(t *testing.T) {
	path := t.TempDir() + "/grantd.db"
	store := servertest.SQLiteFile(t, path)
	newKey := []byte("fedcba9876543210fedcba9876543210")
	first := newHouse(t, servertest.WithStore(store))
	first.Seal()
	both := &archive{house: &house{Server: servertest.New(t, servertest.WithStore(store), servertest.WithRootKeys(newKey, servertest.RootKey))}}
	both.User("bob")
	both.Seal()
	if found := both.faults(t, both.head(t)); len(found) != 0 {
		t.Errorf("with both keys: %v", found)
	}
	alone := &archive{house: &house{Server: servertest.New(t, servertest.WithStore(store), servertest.WithRootKeys(newKey))}}
	if found := alone.faults(t, ""); len(found) == 0 || found[0] != "unknown_key 1.0" {
		t.Errorf("with the new key alone: %v", found)
	}
}

// TestAuditErasure: what the audit says personally of somebody is gone, and the
// chain is whole.
func TestAuditErasure(t *testing.T) {
	onEachArchive(t, func(t *testing.T, open func(testing.TB, ...servertest.Option) *archive) {
		a := open(t)
		a.SignedIn("alice")
		a.User("bob")
		a.Seal()
		a.SignedIn("alice") // not sealed when it is erased
		head, alice := a.head(t), a.find(t, "/users", "username", "alice")
		erased := a.Must(http.MethodPost, "/users/"+alice+"/erase", nil)
		if n, _ := erased["events"].(float64); n < 3 {
			t.Errorf("%v events were changed, want those of the user and of both sign-ins", n)
		}
		for _, e := range a.list(t, "/audit-events") {
			detail, _ := e["detail"].(map[string]any)
			mine := e["target"] == alice || e["actor"] == "user:"+alice
			if detail["username"] == "alice" || mine && detail["address"] != nil {
				t.Errorf("the event still says %v", e)
			}
			if e["action"] == "user.created" && !mine && detail["username"] == nil {
				t.Errorf("somebody else's event says no more: %v", e)
			}
		}
		a.Seal()
		v := a.verify(t, head)
		if n, _ := v["erased"].(float64); len(v["faults"].([]any)) != 0 || n < 3 {
			t.Errorf("afterwards the chain is %v", v)
		}
		if again := a.Must(http.MethodPost, "/users/"+alice+"/erase", nil); again["events"] != 0.0 {
			t.Errorf("a second time: %v", again)
		}
		if status, _ := a.Call(http.MethodPost, "/users/usr_06h0q8zexdy5sffq5sy4nf2vyg/erase", nil); status != http.StatusNotFound {
			t.Errorf("somebody who never was: %d", status)
		}
		a.tamper(t, `UPDATE audit_events SET detail = '{"changed":"all"}' WHERE erasure IS NOT NULL AND action = 'user.created'`)
		if found := a.faults(t, ""); len(found) != 1 || !strings.HasPrefix(found[0], "event_changed") {
			t.Errorf("what is left of an erased event was changed, and found is %v", found)
		}
	})
}

// TestAuditRetention: what is older is gone seal by seal, the chain is whole and
// says so.
func TestAuditRetention(t *testing.T) {
	onEachArchive(t, func(t *testing.T, open func(testing.TB, ...servertest.Option) *archive) {
		a := open(t, servertest.WithAuditRetention(48*time.Hour))
		a.Seal()
		head := a.head(t)
		a.Clock.Advance(47 * time.Hour)
		a.User("bob")
		a.Seal()
		a.Expire()
		if v := a.verify(t, head); v["removed"] != 0.0 {
			t.Errorf("an hour too early: %v", v)
		}
		a.Clock.Advance(time.Hour)
		a.Expire()
		a.Expire()
		v := a.verify(t, head)
		if n, _ := v["removed"].(float64); len(v["faults"].([]any)) != 0 || n < 3 || v["events"] != 1.0 {
			t.Errorf("afterwards the chain is %v", v)
		}
		if left := a.list(t, "/audit-events"); len(left) != 1 || left[0]["action"] != "user.created" {
			t.Errorf("left are %v", left)
		}
		at := a.Clock.Now().Format(time.RFC3339)
		if answer := a.Must(http.MethodGet, "/audit-access?at="+at, nil); answer["complete"] != false {
			t.Errorf("access without the old events is %v", answer)
		}
	})
}

// TestAuditAccess: who had which access when, as approvals and their ends went.
func TestAuditAccess(t *testing.T) {
	onEachArchive(t, func(t *testing.T, open func(testing.TB, ...servertest.Option) *archive) {
		a := open(t)
		start := a.Clock.Now()
		access := func(at time.Time, query string) string {
			t.Helper()
			var all []string
			answer := a.Must(http.MethodGet, "/audit-access?limit=200&at="+url.QueryEscape(at.Format(time.RFC3339))+query, nil)
			for _, item := range answer["items"].([]any) {
				x := servertest.Object(item.(map[string]any))
				scopes, _ := json.Marshal(x["scopes"])
				all = append(all, x.String("username")+" "+x.String("resource_uri")+" "+string(scopes))
			}
			return strings.Join(all, "; ")
		}
		resource, alice := a.find(t, "/resources", "uri", resourceURI), a.find(t, "/users", "username", "alice")
		approve := func(scope string) {
			t.Helper()
			request := servertest.AuthorizationRequest(a.clientID, loopback, resourceURI)
			request.Set("scope", scope)
			a.SignedIn("alice").Code(request)
		}
		var want []string
		step := func(act func(), expected string) {
			t.Helper()
			a.Clock.Advance(time.Minute)
			act()
			want = append(want, expected)
		}
		mine := func(scopes string) string { return "alice " + resourceURI + " [" + scopes + "]" }
		step(func() { approve("notes:read") }, mine(`"notes:read"`))
		step(func() { approve("notes:write") }, mine(`"notes:read","notes:write"`))
		step(func() {
			a.Must(http.MethodPatch, "/resources/"+resource, servertest.Object{"scopes": []servertest.Object{{"name": "notes:read"}}})
		}, mine(`"notes:read"`))
		step(func() { a.Must(http.MethodDelete, "/grants/"+a.list(t, "/grants")[0].String("id"), nil) }, "")
		step(func() { approve("notes:read") }, mine(`"notes:read"`))
		step(func() { a.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"disabled": true}) }, "")
		step(func() { a.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"disabled": false}) }, "")
		step(func() { approve("notes:read") }, mine(`"notes:read"`))
		step(func() { a.Must(http.MethodDelete, "/clients/"+a.find(t, "/clients", "client_id", a.clientID), nil) }, "")

		if got := access(start, ""); got != "" {
			t.Errorf("before anything: %q", got)
		}
		for i, expected := range want {
			if got := access(start.Add(time.Duration(i+1)*time.Minute), ""); got != expected {
				t.Errorf("after step %d: %q, want %q", i+1, got, expected)
			}
		}
		first := start.Add(time.Minute)
		for query, expected := range map[string]string{
			"&user_id=" + alice: want[0], "&user_id=usr_none": "", "&resource_id=" + resource: want[0], "&resource_id=res_none": "", "&client_id=nobody": "",
		} {
			if got := access(first, query); got != expected {
				t.Errorf("%s: %q, want %q", query, got, expected)
			}
		}
	})
}

// TestAuditAccessFollowsRules: who had which access by which rule, as rules and groups
// came and went after the approval.
func TestAuditAccessFollowsRules(t *testing.T) {
	onEachArchive(t, func(t *testing.T, open func(testing.TB, ...servertest.Option) *archive) {
		a := open(t)
		start := a.Clock.Now()
		resource, alice := a.find(t, "/resources", "uri", resourceURI), a.find(t, "/users", "username", "alice")
		var want []string
		step := func(act func(), expected string) {
			t.Helper()
			a.Clock.Advance(time.Minute)
			act()
			want = append(want, expected)
		}
		const everyone = "Everyone may approve every MCP server"
		var staff, rule servertest.Object
		step(func() { a.SignedIn("alice").Code(servertest.AuthorizationRequest(a.clientID, loopback, resourceURI)) }, "notes:read notes:write by "+everyone)
		step(func() {
			rule = a.Must(http.MethodPost, "/policies", servertest.Object{"name": "Staff read", "groups": []string{"staff"}, "scopes": []string{"notes:read"}})
		}, "notes:read notes:write by "+everyone)
		step(func() { a.Must(http.MethodDelete, "/policies/"+a.find(t, "/policies", "name", everyone), nil) }, "")
		step(func() { staff = a.Must(http.MethodPost, "/groups", servertest.Object{"name": "staff"}) }, "")
		member := "/groups/" + staff.String("id") + "/members/" + alice
		step(func() { a.Must(http.MethodPut, member, nil) }, "notes:read by Staff read")
		step(func() { a.Must(http.MethodDelete, member, nil) }, "")
		step(func() { a.Must(http.MethodPatch, "/users/"+alice, servertest.Object{"groups": []string{"staff"}}) }, "notes:read by Staff read")
		step(func() {
			a.Must(http.MethodPatch, "/policies/"+rule.String("id"), servertest.Object{"name": "Staff write", "scopes": []string{"notes:write"}})
		}, "notes:write by Staff write")
		step(func() {
			a.Must(http.MethodPatch, "/policies/"+rule.String("id"), servertest.Object{"scopes": []string{}})
		}, "notes:read notes:write by Staff write")
		step(func() {
			a.Must(http.MethodPatch, "/resources/"+resource, servertest.Object{"scopes": []servertest.Object{{"name": "notes:read"}, {"name": "notes:write", "risk": "destructive"}}})
		}, "notes:read by Staff write")
		step(func() { a.Must(http.MethodDelete, "/groups/"+staff.String("id"), nil) }, "")

		for i, expected := range want {
			at := start.Add(time.Duration(i+1) * time.Minute)
			answer := a.Must(http.MethodGet, "/audit-access?at="+url.QueryEscape(at.Format(time.RFC3339)), nil)
			var all []string
			for _, item := range answer["items"].([]any) {
				x := servertest.Object(item.(map[string]any))
				all = append(all, strings.Trim(fmt.Sprint(x["scopes"]), "[]")+" by "+strings.Trim(fmt.Sprint(x["policies"]), "[]"))
			}
			if got := strings.Join(all, "; "); got != expected || answer["complete"] != true {
				t.Errorf("after step %d: %q (complete %v), want %q", i+1, got, answer["complete"], expected)
			}
		}
	})
}

// TestTokensAreLogged: tokens have no rows; each leaves one line with its jti.
func TestTokensAreLogged(t *testing.T) {
	log := captureLogs(t)
	o := newOffice(t)
	code := o.tokens(t)
	refreshed := wantTokens(t, o.Refresh(o.clientID, code.refresh))
	machine := wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()))
	issuedOf := map[string]map[string]any{}
	for line := range strings.SplitSeq(log.String(), "\n") {
		var said map[string]any
		if json.Unmarshal([]byte(line), &said) == nil && said["msg"] == "token issued" {
			issuedOf[said["jti"].(string)] = said
		}
	}
	for grantType, token := range map[string]issued{"authorization_code": code, "refresh_token": refreshed, "client_credentials": machine} {
		claims := servertest.Claims(token.access)
		said := issuedOf[claims["jti"].(string)]
		if said == nil {
			t.Errorf("%s: no line has the jti of its token", grantType)
			continue
		}
		for name, want := range map[string]any{"grant_type": grantType, "sub": claims["sub"], "client_id": claims["client_id"], "resource": resourceURI, "scope": token.scope} {
			if said[name] != want {
				t.Errorf("%s: the line says %s %v, want %v", grantType, name, said[name], want)
			}
		}
	}
	if len(issuedOf) != 3 {
		t.Errorf("%d lines for 3 tokens", len(issuedOf))
	}
}
