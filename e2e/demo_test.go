package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"grantd/internal/freeport"
	"grantd/internal/pgtest"
)

// TestDemoWalksHeadless runs the README's first command to its end: 401, discovery,
// registration, approval through the real pages, token, tool call, refresh,
// step-up and revocation, on both databases.
func TestDemoWalksHeadless(t *testing.T) {
	for _, database := range []struct {
		name  string
		flags func(*testing.T) []string
	}{
		{"sqlite", func(*testing.T) []string { return nil }},
		{"postgres", func(t *testing.T) []string { return []string{"--database-url", pgtest.URL(t)} }},
	} {
		t.Run(database.name, func(t *testing.T) {
			path, err := binary()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			args := append([]string{"demo", "--walk", "--headless", "--listen", freeport.For(t), "--mcp-listen", freeport.For(t)}, database.flags(t)...)
			out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("the walk failed: %v\n%s", err, out)
			}
			said := lines(string(out))
			if last := said[len(said)-1]; !strings.HasSuffix(last, "steps passed.") {
				t.Errorf("the last line is %q", last)
			}
		})
	}
}
