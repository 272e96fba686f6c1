package main_test

import (
	"os"
	"strings"
	"testing"

	"grantd/internal/pgtest"
)

const identityProviders = `
providers:
  - name: Okta
    issuer: https://example.okta.com
    preset: okta
    client_id: 0oa1
    client_secret: {file: okta-secret}
    claims: {groups: teams}
    automatic: true
    allowed_groups: [staff]
  - name: Public
    issuer: https://id.example.com
    client_id: grantd
    client_secret: {none: true}
`

// onBothDatabases runs a test in an office on SQLite and in one on Postgres.
func onBothDatabases(t *testing.T, test func(t *testing.T, o *office)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newOffice(t)) })
	t.Run("Postgres", func(t *testing.T) {
		inFolder(t)
		_, line := serve(t, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--database-url="+pgtest.URL(t), "--migrate=on", "--root-key="+goodKey, "--admin-key="+otherKey)
		test(t, &office{t: t, environ: []string{"GRANTD_ADMIN_URL=" + line["admin"].(string), "GRANTD_ADMIN_KEY=" + otherKey}})
	})
}

// providerTrail is every audit event about providers.
func (o *office) providerTrail() string {
	o.t.Helper()
	var about strings.Builder
	for line := range strings.Lines(o.trail()) {
		if strings.Contains(line, " provider.") {
			about.WriteString(line)
		}
	}
	return about.String()
}

// applied writes providers with texts replaced, in pairs, and applies them.
func (o *office) applied(want []string, pairs ...string) {
	o.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(identityProviders, pairs[i]) {
			o.t.Fatalf("the providers do not have %q", pairs[i])
		}
	}
	write(o.t, "providers.yaml", strings.NewReplacer(pairs...).Replace(identityProviders))
	o.wantApply(0, want, "-f", "providers.yaml")
}

// Providers are made what files say. The secret is in a file or the environment, is
// shown nowhere, and one that is the same already is no change.
func TestApplyProviders(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, o *office) {
		write(t, "okta-secret", "first-secret\n")
		write(t, "providers.yaml", identityProviders)
		before := o.providerTrail()
		plan := o.doAny(7, "apply", "-f", "providers.yaml", "--dry-run")
		wantText(t, "the plan", plan.stdout, "+ provider Okta\n", `client_secret: "set"`, `claims: {"groups":"teams"}`, "+ provider Public\n", "2 to create")
		if after := o.providerTrail(); after != before {
			t.Errorf("--dry-run has changed something: %s\nbefore: %s", after, before)
		}
		o.applied([]string{"create provider Okta done", "create provider Public done"})
		wantText(t, "the provider", o.do(0, "provider", "show", "Okta").stdout, "managed_by", "apply", "set at 20")
		if claims := o.object("provider", "show", "Okta")["claims"].(map[string]any); claims["groups"] != "teams" || claims["name"] != "name" {
			t.Errorf("claims = %v", claims)
		}
		before = o.providerTrail()
		o.applied(nil)
		if o.providerTrail() != before {
			t.Error("applying the same again has changed something")
		}

		write(t, "okta-secret", "second-secret\n")
		plan = o.doAny(7, "apply", "-f", "providers.yaml", "--dry-run")
		wantText(t, "another secret", plan.stdout, `client_secret: "set" -> "set anew"`)
		o.applied([]string{"update provider Okta done client_secret"})
		o.applied(nil)
		o.environ = append(o.environ, "OKTA_SECRET=second-secret")
		o.applied(nil, "{file: okta-secret}", "{env: OKTA_SECRET}")
		o.applied(nil, "    client_secret: {file: okta-secret}\n", "") // which is not looked at then
		o.applied([]string{"update provider Okta done client_secret"}, "{file: okta-secret}", "{none: true}")
		o.applied([]string{"update provider Okta done client_secret"})
		if trail := o.do(0, "audit", "list", "--json").stdout; strings.Contains(trail, "-secret\"") || strings.Contains(trail, "first-secret") || strings.Contains(trail, "second-secret") {
			t.Errorf("a secret is in the audit: %s", trail)
		}

		// What is left out has its default, within the claims too; a provider that was
		// switched off stays so.
		o.do(0, "provider", "set", "Okta", "--label", "By hand")
		o.do(0, "provider", "set", "Okta", "--file", disabled(t))
		o.applied([]string{"update provider Okta done allowed_groups automatic claims label"}, "    claims: {groups: teams}\n    automatic: true\n    allowed_groups: [staff]\n", "    claims: {name: nickname}\n")
		if claims := o.object("provider", "show", "Okta")["claims"].(map[string]any); claims["groups"] != "groups" || claims["name"] != "nickname" {
			t.Errorf("claims = %v", claims)
		}
		o.applied([]string{"update provider Okta done allowed_groups automatic claims enabled"}, "    automatic: true\n", "    automatic: true\n    enabled: true\n")

		// Export names no secret, and is applied without a change.
		o.do(0, "provider", "set", "Okta", "--file", disabled(t))
		exported := o.do(0, "export").stdout
		wantText(t, "export", exported, "providers:\n", "- name: Okta # to make it elsewhere: client_secret:", "enabled: false", "client_secret: {none: true}", "claims: {name: name, email: email, groups: teams}")
		write(t, "out.yaml", exported)
		before = o.providerTrail()
		o.wantApply(0, nil, "-f", "out.yaml", "--prune")
		write(t, "out.yaml", o.do(0, "export", "--json").stdout)
		o.wantApply(0, nil, "-f", "out.yaml", "--prune")
		if o.providerTrail() != before {
			t.Error("applying what was exported has changed something")
		}

		write(t, "none.yaml", "providers: []\n")
		o.do(0, "provider", "add", "https://by-hand.example.com", "--name", "By hand", "--client-id", "x")
		o.wantApply(0, []string{"delete provider Okta done", "delete provider Public done"}, "-f", "none.yaml", "--prune", "--yes")
		o.do(0, "provider", "show", "By hand")
	})
}

func disabled(t *testing.T) string {
	t.Helper()
	write(t, "off.json", `{"enabled": false}`)
	return "off.json"
}

// AD-05: what is wrong with a provider is said with its line, and nothing is changed.
func TestApplyRefusesProviders(t *testing.T) {
	o := newOffice(t)
	write(t, "okta-secret", "hunter2-hunter2")
	write(t, "open", "hunter2-hunter2")
	if err := os.Chmod("open", 0o644); err != nil {
		t.Fatal(err)
	}
	o.applied([]string{"create provider Okta done", "create provider Public done"})
	before := o.providerTrail()
	for name, c := range map[string]struct{ yaml, says string }{
		"no word of a secret":       {"name: New, issuer: https://a.example, client_id: a", "bad.yaml:2: provider New: needs client_secret: {file: PATH} or {env: NAME}, or {none: true}"},
		"the secret itself":         {"name: New, issuer: https://a.example, client_id: a, client_secret: hunter2", "client_secret must be fields"},
		"no such variable":          {"name: New, issuer: https://a.example, client_id: a, client_secret: {env: NOTHING}", "client_secret names an environment variable that is not set"},
		"no such file":              {"name: New, issuer: https://a.example, client_id: a, client_secret: {file: nowhere}", "client_secret cannot be read"},
		"a file for everybody":      {"name: New, issuer: https://a.example, client_id: a, client_secret: {file: open}", "client_secret may be read by other users"},
		"two ways":                  {"name: New, issuer: https://a.example, client_id: a, client_secret: {file: okta-secret, none: true}", "client_secret must have one of file, env and none: true"},
		"none: false":               {"name: New, issuer: https://a.example, client_id: a, client_secret: {none: false}", "client_secret must have one of file, env and none: true"},
		"another issuer":            {"name: Okta, issuer: https://other.okta.com, preset: okta, client_id: 0oa1", `provider Okta: issuer is "https://example.okta.com" on the server, and cannot be changed; choose another name`},
		"another preset":            {"name: Okta, issuer: https://example.okta.com, client_id: 0oa1", `preset is "okta" on the server`},
		"what the server refuses":   {"name: New, issuer: https://a.example, preset: oktaa, client_id: a, client_secret: {none: true}", "preset must be one of: okta, entra, google, keycloak"},
		"Google without domains":    {"name: New, issuer: https://accounts.google.com, preset: google, client_id: a, client_secret: {none: true}", "allowed_domains must name your organisation's domains"},
		"a change that is refused":  {"name: Okta, issuer: https://example.okta.com, preset: okta, client_id: 0oa1, allowed_tenants: [a]", "allowed_tenants goes with the preset entra only"},
		"a claim that there is not": {"name: New, issuer: https://a.example, client_id: a, client_secret: {none: true}, claims: {group: x}", "group is not a field here; there are email, groups, name"},
	} {
		write(t, "bad.yaml", "providers:\n  - {"+c.yaml+"}\n")
		r := o.do(2, "apply", "-f", "bad.yaml")
		wantText(t, name, r.stderr, c.says, "nothing was changed")
		if strings.Contains(r.stderr, "hunter2") {
			t.Errorf("%s: a secret is shown: %s", name, r.stderr)
		}
	}
	if o.providerTrail() != before {
		t.Error("what was refused has changed something")
	}
}
