package main_test

import (
	"strings"
	"testing"
)

func TestPolicyCommands(t *testing.T) {
	o := newOffice(t)
	wantText(t, "a new server", o.do(0, "policy", "list").stdout, "Everyone may approve every MCP server", "everybody", "all but destructive")
	o.do(0, "user", "add", "alice", "--no-password", "--group", "staff")
	o.do(0, "resource", "add", "https://notes.example/mcp", "--name", "Notes", "--scope", "notes:read=Read", "--scope", "notes:delete=Delete",
		"--risk", "notes:read=read", "--risk", "notes:delete=destructive")
	wantText(t, "resource show", o.do(0, "resource", "show", "https://notes.example/mcp").stdout, "[read]", "[destructive]")
	id := o.object("client", "add", "--name", "Portal", "--redirect-uri", "https://portal.example/callback")["client_id"].(string)

	made := o.object("policy", "add", "Admins delete", "--group", "admins", "--resource", "https://notes.example/mcp", "--scope", "notes:delete", "--trust", "registered")
	if made["skip_consent"] != false || made["managed_by"] != "" {
		t.Errorf("added %v", made)
	}
	explain := []string{"policy", "explain", "--user", "alice", "--client", id, "--resource", "https://notes.example/mcp"}
	wantText(t, "policy explain", o.do(0, explain...).stdout,
		"The user is in: staff. The client is registered.",
		`notes:read (read): yes, by the policy "Everyone may approve every MCP server"`,
		"notes:delete (destructive): no, no policy allows it",
		`not by "Everyone may approve every MCP server": the scope is destructive, and the policy does not name it`,
		`not by "Admins delete": the user is in none of its groups (admins)`)
	o.do(0, "group", "add", "admins")
	o.do(0, "group", "add-member", "admins", "alice")
	wantText(t, "policy explain", o.do(0, append(explain, "--scope", "notes:delete")...).stdout, `notes:delete (destructive): yes, by the policy "Admins delete"`)
	scopes := o.object(append(explain, "--scope", "notes:delete")...)["scopes"].([]any)
	if len(scopes) != 1 || scopes[0].(map[string]any)["allowed"] != true {
		t.Errorf("scopes = %v", scopes)
	}

	changed := o.object("policy", "set", "Admins delete", "--skip-consent", "--client", id)
	if changed["skip_consent"] != true {
		t.Errorf("changed to %v", changed)
	}
	wantText(t, "policy explain", o.do(0, append(explain, "--scope", "notes:delete")...).stdout, `yes, in advance by the policy "Admins delete"`)
	wantText(t, "policy set", o.do(1, "policy", "set", "Admins delete", "--client", "").stderr, "--client must name the clients")
	changed = o.object("policy", "set", "Admins delete", "--skip-consent=false", "--client", "", "--group", "")
	if changed["skip_consent"] != false || len(changed["groups"].([]any)) != 0 {
		t.Errorf("changed to %v", changed)
	}
	if out := o.do(0, "policy", "delete", "Admins delete", "--yes"); strings.Contains(out.stderr, "grant for it") {
		t.Errorf("policy delete says %q", out.stderr)
	}
	o.do(3, "policy", "show", "Admins delete")
	o.do(2, "policy", "explain", "--user", "alice")
	o.do(3, append([]string{"policy", "explain", "--user", "nobody"}, explain[4:]...)...)
}
