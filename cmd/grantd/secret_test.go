package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	grantd "grantd/cmd/grantd"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	const canary = "canary-5f1d"
	secret := grantd.NewSecret(canary)
	if secret.Reveal() != canary {
		t.Fatal("Reveal does not return the text")
	}
	around := struct {
		Shown  grantd.Secret
		hidden grantd.Secret
	}{secret, secret}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
		_, _ = fmt.Fprintf(&out, verb+verb+verb+"\n", secret, &secret, around)
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"secret": secret, "around": around}); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret, "around", around)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", secret, "around", around)
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the secret shows in\n%s", out.String())
	}
}

func TestConfigRedacts(t *testing.T) {
	// Each is wrong in its own way as well, so that the faults are searched too.
	const canary = "canary-5f1d"
	for _, args := range [][]string{
		{"--admin-key", canary},
		{"--admin-key", canary + goodKey},
		{"--root-key", canary},
		{"--database-url", "postgres://grantd:" + canary + "@db/grantd"},
		{"--database-url", "postgres://db/grantd?password=" + canary},
		{"--database-url", "postgres://grantd:" + canary + "@db:notaport/grantd"},
		{"--database-url", "postgres:grantd:" + canary + "@db/grantd"},
		{"--database-url", "mysql://grantd:" + canary + "@db/grantd"},
		{"--config", "grantd.yaml"},
		{"--config", "broken.yaml"},
	} {
		t.Run(strings.ReplaceAll(args[1], "/", "_"), func(t *testing.T) {
			inFolder(t)
			write(t, "grantd.yaml", "root-key: "+canary+"\nadmin-key: {a: "+canary+"}\n")
			write(t, "broken.yaml", "root-key: "+canary+"\nroot-key: "+canary+": x\n  - y\n")
			for _, command := range [][]string{{"config"}, {"config", "--json"}, {"serve", "--listen=x"}, {"migrate", "status"}} {
				if command[0] == "migrate" && args[0] != "--database-url" && args[0] != "--config" {
					continue
				}
				if r := run(t, nil, append(command, args...)...); strings.Contains(r.stdout+r.stderr, canary) {
					t.Errorf("%s shows the secret:\n%s%s", command, r.stdout, r.stderr)
				}
			}
		})
	}
}
