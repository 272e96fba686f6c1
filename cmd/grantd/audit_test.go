package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grantd/internal/pgtest"
)

// restarted ends the server, which then seals what it has not sealed yet, and starts
// it again on the same database.
func (o *office) restarted(s *started) *started {
	o.t.Helper()
	if s != nil {
		s.end(o.t)
	}
	next, line := serve(o.t, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")
	o.environ = []string{"GRANTD_ADMIN_URL=" + line["admin"].(string)}
	return next
}

// openOffice is newOffice for a test that ends the server itself.
func openOffice(t *testing.T) (*office, *started) {
	t.Helper()
	inFolder(t)
	o := &office{t: t}
	return o, o.restarted(nil)
}

func TestAuditChainCommands(t *testing.T) {
	o, s := openOffice(t)
	o.do(0, "user", "add", "alice", "--no-password")
	s = o.restarted(s)
	head := strings.TrimSpace(o.do(0, "audit", "head").stdout)
	write(t, "head", head+"\n")
	write(t, "head.json", o.do(0, "audit", "head", "--json").stdout)
	for _, given := range []string{head, "head", "head.json"} {
		r := o.do(0, "audit", "verify", "--head", given)
		wantText(t, "audit verify", r.stdout, "events in", "seals checked", "head "+head)
		wantText(t, "audit verify", r.stderr, "whole")
	}
	o.do(2, "audit", "verify", "--head", "no-such-file")
	write(t, "other", "hello")
	o.do(2, "audit", "verify", "--head", "other")
	later := "9" + head[strings.Index(head, "."):]
	r := run(t, o.environ, "audit", "verify", "--head", later)
	if r.code != 1 {
		t.Errorf("with the head of a longer chain: code %d", r.code)
	}
	wantText(t, "verify against a longer chain", r.stdout, "head_missing", "cut off")
	if r = run(t, o.environ, "audit", "verify", "--json", "--head", later); r.code != 1 || !strings.Contains(r.stdout, `"kind": "head_missing"`) {
		t.Errorf("the same in JSON: code %d: %s", r.code, r.stdout)
	}

	all := o.do(0, "audit", "export").stdout
	wantText(t, "audit export", all, `"user.created"`, `"seal":1`, `"position":1`)
	wantText(t, "export to a file", o.do(0, "audit", "export", "--output", "events.jsonl").stderr, "events added")
	if read(t, "events.jsonl") != all || mode(t, "events.jsonl") != 0o600 {
		t.Errorf("the file is %s with mode %o", read(t, "events.jsonl"), mode(t, "events.jsonl"))
	}
	o.do(0, "user", "add", "bob", "--no-password")
	s = o.restarted(s)
	o.do(0, "audit", "export", "--output", "events.jsonl")
	grown := o.do(0, "audit", "export").stdout
	if read(t, "events.jsonl") != grown || len(grown) <= len(all) {
		t.Errorf("the file did not grow by what is new:\n%s", read(t, "events.jsonl"))
	}
	if rest := o.do(0, "audit", "export", "--after", "1.1").stdout; rest != grown[strings.Index(grown, "\n")+1:] {
		t.Errorf("after the first event there is %s", rest)
	}
	o.do(1, "audit", "export", "--output", "other")
	o.do(1, "audit", "export", "--after", "one")

	wantText(t, "nobody's access", o.do(0, "audit", "access", "--at", "1h").stderr, "Nobody")
	o.do(2, "audit", "access", "--at", "noon")
	o.do(2, "audit", "access")
	o.do(3, "audit", "access", "--at", "1h", "--user", "nobody")

	wantText(t, "newest first", strings.Split(o.do(0, "audit", "list", "--newest", "--limit", "1").stdout, "\n")[1], "user.created")
	wantText(t, "until before", o.do(0, "audit", "list", "--until", "2020-01-01").stderr, "Nothing")

	alice := o.object("user", "show", "alice")["id"].(string)
	o.do(2, "user", "erase", "alice")
	wantText(t, "user erase", o.do(0, "user", "erase", "alice", "--yes").stderr, "no longer say")
	if text := o.do(0, "audit", "list").stdout; strings.Contains(text, "username=alice") || !strings.Contains(text, "username=bob") {
		t.Errorf("after the erasure the audit says %s", text)
	}
	o.do(0, "user", "erase", alice, "--yes")
	o.do(3, "user", "erase", "alice", "--yes")
	wantText(t, "verify after the erasure", o.do(0, "audit", "verify", "--head", head).stdout, "1 values were erased")
	s.end(t)
}

// ST-08, ST-14: a backup of a running server, what is revoked after it, and the
// backup put back, with and without the events of the lost time.
func TestBackupAndRestore(t *testing.T) {
	o, s := openOffice(t)
	for _, name := range []string{"alice", "bob"} {
		o.do(0, "user", "add", name, "--no-password")
	}
	client := o.object("client", "add", "--grant-type", "client_credentials", "--scope", "a")["client_id"].(string)

	wantText(t, "backup", o.do(0, "backup", "backup.db").stdout, "backed up", "root key")
	if got := mode(t, "backup.db"); got != 0o600 {
		t.Errorf("the backup has mode %o", got)
	}
	saved := read(t, "backup.db")
	wantText(t, "a second backup", o.do(1, "backup", "backup.db").stderr, "overwrites nothing")
	if read(t, "backup.db") != saved {
		t.Error("the backup was overwritten")
	}
	o.do(1, "backup", filepath.Join("no-such-folder", "backup.db"))
	o.do(2, "backup")
	wantText(t, "no database", o.do(1, "backup", "b.db", "--database-url=sqlite:none.db").stderr, "--database-url")
	if _, err := os.Stat("none.db"); err == nil {
		t.Error("backup made a database")
	}
	if _, err := os.Stat("b.db"); err == nil {
		t.Error("a backup that failed left a file")
	}
	wantText(t, "Postgres", o.do(2, "backup", "b.db", "--database-url=postgres://grantd:hunter2@127.0.0.1/grantd").stderr, "pg_dump")
	wantText(t, "restored under a server", o.do(1, "migrate", "restored").stderr, "in use by another grantd")

	o.do(0, "user", "disable", "alice", "--yes")
	o.do(0, "user", "delete", "bob", "--yes")
	o.do(0, "client", "disable", client, "--yes")
	s = o.restarted(s) // it seals when it stops
	o.do(0, "audit", "export", "--output", "events.jsonl")

	putBack := func() {
		t.Helper()
		s.end(t)
		for _, suffix := range []string{"-wal", "-shm"} {
			_ = os.Remove("grantd.db" + suffix)
		}
		write(t, "grantd.db", saved)
	}
	putBack()
	said := o.do(0, "migrate", "restored", "--events", "events.jsonl").stdout
	wantText(t, "migrate restored --events", said, "replayed 3 acts", "1  user.updated", "1  user.deleted", "1  client.updated")
	wantText(t, "a second time", o.do(0, "migrate", "restored", "--events", "events.jsonl").stdout, "replayed 0 acts")
	write(t, "garbage", `{"id":1}`)
	wantText(t, "no events", o.do(1, "migrate", "restored", "--events", "garbage").stderr, "not an export")
	o.do(1, "migrate", "restored", "--events", "none")

	s = o.restarted(nil)
	if o.object("user", "show", "alice")["disabled"] != true || o.object("client", "show", client)["disabled"] != true {
		t.Error("who was disabled after the backup is enabled")
	}
	o.do(3, "user", "show", "bob")
	wantText(t, "the audit", o.do(0, "audit", "list").stdout, "database.restored", "replays=evt_")
	s = o.restarted(s)
	wantText(t, "verify", o.do(0, "audit", "verify").stderr, "whole")
	kid := o.items("key", "list")[0].(map[string]any)["kid"]

	putBack()
	wantText(t, "migrate restored", o.do(0, "migrate", "restored").stdout, "2 signing keys", "look through users and clients")
	s = o.restarted(nil)
	if o.items("key", "list")[0].(map[string]any)["kid"] == kid {
		t.Error("the signing key of the backup still signs")
	}
	o.do(0, "user", "show", "bob")
	s.end(t)
}

func TestRestoredOnPostgres(t *testing.T) {
	inFolder(t)
	databaseURL := pgtest.URL(t)
	o := &office{t: t}
	wantText(t, "no schema", o.do(1, "migrate", "restored", "--database-url", databaseURL).stderr, "migrate up")
	o.do(0, "migrate", "up", "--database-url", databaseURL)
	wantText(t, "migrate restored", o.do(0, "migrate", "restored", "--database-url", databaseURL).stdout, "ended 0 sessions")
}

func TestAuditRetentionSetting(t *testing.T) {
	inFolder(t)
	for given, fault := range map[string]bool{"0": false, "400d": false, "24h": false, "23h": true, "-1h": true, "long": true} {
		if _, r := config(t, nil, "--audit-retention="+given); strings.Contains(r.stdout+r.stderr, `"where": "--audit-retention"`) != fault {
			t.Errorf("%s: %s", given, r.stdout)
		}
	}
}
