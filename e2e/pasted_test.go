package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"grantd/internal/freeport"
)

// pastedMain is an MCP server without authorization on the official SDK. The
// printed verifier beside it has protect, which the second form uses.
const pastedMain = `package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	server := mcp.NewServer(&mcp.Implementation{Name: "clock", Title: "Clock"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "tell", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, request *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, struct{}, error) {
			text := "nobody"
			if info := request.Extra.TokenInfo; info != nil {
				text = info.UserID
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, struct{}{}, nil
		})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
	log.Fatal(http.ListenAndServe(os.Args[1], PROTECT(handler)))
}
`

// TestPasteAURL adds a real MCP server that has no authorization by its URL, sets
// it up with the code that grantd prints, as printed, and uses it with a token.
func TestPasteAURL(t *testing.T) {
	g := startGrantd(t)
	address := freeport.For(t)
	uri := "http://" + address + "/mcp"
	stop := startPasted(t, address, map[string]string{"main.go": strings.Replace(pastedMain, "PROTECT(handler)", "handler", 1)})

	var made struct {
		Scopes []struct{ Name, Risk string } `json:"scopes"`
		Setup  struct {
			MetadataURL   string `json:"metadata_url"`
			Metadata      any    `json:"metadata"`
			Introspection struct {
				ClientID     string `json:"client_id"`
				ClientSecret string `json:"client_secret"`
			} `json:"introspection"`
			Verifiers map[string]string `json:"verifiers"`
		} `json:"setup"`
	}
	if err := json.Unmarshal(runGrantd(t, g, "resource", "add", uri, "--introspection", "--json"), &made); err != nil {
		t.Fatal(err)
	}
	if len(made.Scopes) != 1 || made.Scopes[0].Name != "read" || made.Scopes[0].Risk != "read" {
		t.Fatalf("added with the scopes %+v", made.Scopes)
	}
	stop()
	startPasted(t, address, map[string]string{
		"main.go": strings.Replace(pastedMain, "PROTECT(", "protect(", 1), "verifier.go": made.Setup.Verifiers["go"],
	})

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	robot := g.create("clients", map[string]any{"client_name": "Robot", "grant_types": []string{"client_credentials"}})
	token, err := (&clientcredentials.Config{
		ClientID: robot["client_id"].(string), ClientSecret: robot["client_secret"].(string), TokenURL: g.issuer + "/token",
		EndpointParams: map[string][]string{"resource": {uri}},
	}).Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := "https://other.example.com/mcp"
	g.create("resources", map[string]any{"uri": elsewhere, "name": "Other", "scopes": []map[string]any{{"name": "read", "risk": "read"}}})
	foreign, err := (&clientcredentials.Config{
		ClientID: robot["client_id"].(string), ClientSecret: robot["client_secret"].(string), TokenURL: g.issuer + "/token",
		EndpointParams: map[string][]string{"resource": {elsewhere}},
	}).Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{"one for another server": foreign.AccessToken, "a changed one": token.AccessToken[:len(token.AccessToken)-8] + "AAAAAAAA", "junk": "junk"}

	t.Run("go", func(t *testing.T) {
		response, err := get(ctx, made.Setup.MetadataURL)
		if err != nil {
			t.Fatal(err)
		}
		var served any
		err = json.NewDecoder(response.Body).Decode(&served)
		_ = response.Body.Close()
		if err != nil || !reflect.DeepEqual(served, made.Setup.Metadata) {
			t.Errorf("the metadata is %v, error %v", served, err)
		}
		session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
			Endpoint: uri, HTTPClient: oauth2.NewClient(ctx, oauth2.StaticTokenSource(token)),
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = session.Close() }()
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "tell", Arguments: map[string]any{}})
		if err != nil || result.IsError || result.Content[0].(*mcp.TextContent).Text != robot["client_id"] {
			t.Errorf("the tool says %+v, error %v", result, err)
		}
		for name, value := range bad {
			if got := statusWith(ctx, t, uri, value); got != http.StatusUnauthorized {
				t.Errorf("it answers %d to %s, want 401", got, name)
			}
		}
		// grantd finds what it printed.
		found := string(runGrantd(t, g, "resource", "inspect", uri, "--json"))
		if !strings.Contains(found, `"access": "protected"`) || !strings.Contains(found, made.Setup.MetadataURL) || strings.Contains(found, "until its owner") {
			t.Errorf("inspect says %s", found)
		}
	})

	t.Run("python", func(t *testing.T) {
		switch _, err := exec.LookPath("python3"); {
		case err != nil && os.Getenv("GRANTD_TEST_REQUIRE_PYTHON") == "1":
			t.Fatal(err)
		case err != nil:
			t.Skip("python3 is not here, so its verifier does not run")
		}
		folder := t.TempDir()
		t.Setenv("GRANTD_CLIENT_SECRET", made.Setup.Introspection.ClientSecret)
		writeFile(t, filepath.Join(folder, "verifier.py"), made.Setup.Verifiers["python"])
		verify := func(token string) string {
			return interpret(ctx, t, folder, "python3", "-c", "import sys, verifier\nanswer = verifier.verify(sys.argv[1])\nprint(answer and answer['subject'] + ' ' + ' '.join(answer['scopes']))", token)
		}
		if got := verify(token.AccessToken); got != robot["client_id"].(string)+" read" {
			t.Errorf("it says %q of a good token", got)
		}
		for name, value := range bad {
			if got := verify(value); got != "None" {
				t.Errorf("it says %q of %s", got, name)
			}
		}
	})

	t.Run("typescript", func(t *testing.T) {
		packages := needTypeScript(t) // jose is there, as the SDKs use it
		folder := filepath.Join(packages, "pasted")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(folder, "verifier.mjs"), made.Setup.Verifiers["typescript"])
		verify := func(token string) string {
			return interpret(ctx, t, folder, "node", "--input-type=module", "-e", `import { verify, InvalidToken } from "./verifier.mjs";
try { const a = await verify(process.argv[1]); console.log(a.subject + " " + a.scopes.join(" ")); }
catch (e) { console.log(e instanceof InvalidToken ? "invalid" : "failed: " + e); }`, token)
		}
		if got := verify(token.AccessToken); got != robot["client_id"].(string)+" read" {
			t.Errorf("it says %q of a good token", got)
		}
		for name, value := range bad {
			if got := verify(value); got != "invalid" {
				t.Errorf("it says %q of %s", got, name)
			}
		}
	})
}

// startPasted builds the files, as a command of this module that is nowhere in the
// tree, and runs it at address until the test ends or stop is called.
func startPasted(t *testing.T, address string, sources map[string]string) (stop func()) {
	t.Helper()
	folder := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	for name, source := range sources {
		writeFile(t, filepath.Join(folder, name), source)
		overlay[filepath.Join(root, "e2e", "pasted", name)] = filepath.Join(folder, name)
	}
	encoded, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, "overlay.json"), string(encoded))
	path := filepath.Join(folder, "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(folder, "overlay.json"), "-o", path, "grantd/e2e/pasted")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	output := new(lockedBuffer)
	server := exec.CommandContext(context.Background(), path, address)
	server.Stdout, server.Stderr = output, output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	t.Cleanup(stop)
	deadline := time.Now().Add(30 * time.Second)
	for {
		response, err := get(t.Context(), "http://"+address+"/")
		if err == nil {
			_ = response.Body.Close()
			return stop
		}
		if time.Now().After(deadline) {
			t.Fatalf("the MCP server does not start: %v\n%s", err, output.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// runGrantd runs a command that calls g's admin API, and returns what it prints.
func runGrantd(t *testing.T, g *grantd, args ...string) []byte {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), path, args...)
	command.Env = append(os.Environ(), "GRANTD_ADMIN_URL="+g.admin, "GRANTD_ADMIN_KEY="+adminKey)
	said := new(lockedBuffer)
	command.Stderr = said
	out, err := command.Output()
	if err != nil {
		t.Fatalf("grantd %q: %v\n%s", args, err, said.String())
	}
	return out
}

// interpret runs a program in folder and returns its one line.
func interpret(ctx context.Context, t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = folder
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// statusWith is the status of an MCP request that carries the token.
func statusWith(ctx context.Context, t *testing.T, uri, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
