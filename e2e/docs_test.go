package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestClientsDocument: docs/clients.md names the versions that are tested.
func TestClientsDocument(t *testing.T) {
	document, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile("typescript/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var node struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err := json.Unmarshal(manifest, &node); err != nil {
		t.Fatal(err)
	}
	tested := node.Dependencies
	for _, module := range []string{"github.com/modelcontextprotocol/go-sdk", "golang.org/x/oauth2"} {
		version, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", module).Output()
		if err != nil {
			t.Fatal(err)
		}
		tested[module] = strings.TrimSpace(string(version))
	}
	for name, version := range tested {
		if !strings.Contains(string(document), "`"+name+"` | "+version+" |") {
			t.Errorf("docs/clients.md has no row for %s %s", name, version)
		}
	}
}
