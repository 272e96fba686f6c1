package main_test

import "testing"

func TestSignInPolicyCommands(t *testing.T) {
	o := newOffice(t)
	wantText(t, "a new server's policy", o.do(0, "sign-in-policy", "show").stdout, "second_factor       none", "destructive_scopes  none")
	for _, step := range []struct{ flag, value, second, destructive string }{
		{"--second-factor", "required", "required", "none"},
		{"--destructive-scopes", "second_factor", "required", "second_factor"},
		{"--second-factor", "", "none", "second_factor"},
	} {
		p := o.object("sign-in-policy", "set", step.flag, step.value)
		if p["second_factor"] != step.second || p["destructive_scopes"] != step.destructive {
			t.Errorf("after %s %q: %v", step.flag, step.value, p)
		}
	}
	wantText(t, "no rule", o.do(1, "sign-in-policy", "set", "--second-factor", "sometimes").stderr, "--second-factor")
	o.do(2, "sign-in-policy", "set")

	o.do(0, "user", "add", "alice", "--no-password")
	wantText(t, "user reset-factors", o.do(0, "user", "reset-factors", "alice", "--yes").stderr, "alice", "no second factor")
	o.do(3, "user", "reset-factors", "nobody", "--yes")
}
