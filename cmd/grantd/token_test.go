package main_test

import "testing"

// A leaked admin key is named by what audit events call it.
func TestTokenCommandsOfAnAdminKey(t *testing.T) {
	o := newOffice(t)
	made := o.object("admin-key", "add", "ci", "--scope", "write")
	key, id := made["key"].(string), made["id"].(string)
	wantText(t, "token inspect", o.do(0, "token", "inspect", key).stdout, "admin key", "live", "yes", "ci ("+id+")", "admin:read admin:write")
	if got := o.object("token", "inspect", key); got["kind"] != "admin_key" || got["admin_key_id"] != id || got["live"] != true {
		t.Errorf("token inspect --json printed %v", got)
	}
	wantText(t, "token revoke", o.do(0, "token", "revoke", key, "--yes").stderr, "worthless")
	o.do(3, "admin-key", "show", "ci")
	wantText(t, "token inspect", o.do(3, "token", "inspect", key).stderr, "not a token")
}
