package api_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The generated files are what openapi.yaml generates: `go generate ./api` after
// every change of it.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", "tool", "-modfile=../tools/go.mod", "oapi-codegen", "-version").CombinedOutput(); err != nil {
		t.Skipf("the generator cannot be built here, most likely because its modules cannot be downloaded: %v\n%s", err, out)
	}
	for config, file := range map[string]string{"server.yaml": "api.gen.go", "client.yaml": "client.gen.go"} {
		fresh := filepath.Join(t.TempDir(), file)
		command := exec.CommandContext(ctx, "go", "tool", "-modfile=../tools/go.mod", "oapi-codegen", "-config", config, "-o", fresh, "openapi.yaml")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", config, err, out)
		}
		want, err := os.ReadFile(fresh)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what openapi.yaml generates; run: go generate ./api", file)
		}
	}
}
