package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// openMCPServer is an MCP server without authorization, built with the official
// SDK. It returns its URL.
func openMCPServer(t *testing.T) string {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: "files", Title: "Files\x1b[2J"}, nil)
	for _, tool := range []*mcp.Tool{{Name: "list_files", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, {Name: "wipe"}} {
		mcp.AddTool(server, tool, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, struct{}, error) {
			return nil, struct{}{}, nil
		})
	}
	return served(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})) + "/mcp"
}

func served(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// protectedMCPServer wants a token for everything, and has metadata.
func protectedMCPServer(t *testing.T, metadata string) string {
	t.Helper()
	return served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mcp" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer resource_metadata="http://%s/.well-known/oauth-protected-resource/mcp"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprint(w, strings.ReplaceAll(metadata, "HOST", r.Host))
	})) + "/mcp"
}

func TestResourceAddByURL(t *testing.T) {
	o := newOffice(t)
	uri := openMCPServer(t)
	shown := o.do(0, "resource", "inspect", uri).stdout
	wantText(t, "inspect", shown, "no authorization yet", "list_files", "destructive", "Files")
	if strings.Contains(shown, "\x1b") {
		t.Errorf("a server's name can command the terminal: %q", shown)
	}
	wantText(t, "nobody to ask", o.do(2, "resource", "add", uri).stderr, "--yes")
	o.do(3, "resource", "show", uri)

	upper := "HTTP" + strings.TrimPrefix(uri, "http")
	added := o.do(0, "resource", "add", upper, "--yes")
	wantText(t, "the proposal", added.stderr, "no authorization yet", "read  read  Look up what is in Files")
	wantText(t, "what was added", added.stdout, "res_", uri, `"authorization_servers": [`, "/.well-known/oauth-protected-resource/mcp",
		`WWW-Authenticate: Bearer resource_metadata=`, `scope="read"`, "-------- go --------", "-------- typescript --------", "-------- python --------")
	scopes := o.object("resource", "show", uri)["scopes"].([]any)
	if len(scopes) != 2 || scopes[0].(map[string]any)["risk"] != "read" || scopes[1].(map[string]any)["risk"] != "destructive" {
		t.Errorf("scopes are %v", scopes)
	}
	wantText(t, "adding it again", o.do(4, "resource", "add", uri, "--yes").stderr, "registered here already", "already")
}

// What is typed wins over what the server says.
func TestResourceAddByURLWithFields(t *testing.T) {
	o := newOffice(t)
	uri := protectedMCPServer(t, `{"resource":"http://HOST/mcp","resource_name":"Notes","scopes_supported":["notes:read","notes:delete"],"authorization_servers":["https://elsewhere.example.com"]}`)
	found := o.object("resource", "inspect", uri)
	server := found["server"].(map[string]any)
	wantText(t, "the notes", fmt.Sprint(server["notes"]), "sends clients to https://elsewhere.example.com for tokens, not to this grantd")
	proposal := found["proposal"].(map[string]any)
	if server["access"] != "protected" || proposal["name"] != "Notes" || len(proposal["scopes"].([]any)) != 2 {
		t.Errorf("found %v", found)
	}

	made := o.object("resource", "add", uri, "--discover", "--name", "My notes", "--scope", "all=Everything", "--introspection")
	if made["name"] != "My notes" || made["uri"] != uri || len(made["scopes"].([]any)) != 1 {
		t.Errorf("made %v", made)
	}
	told := made["setup"].(map[string]any)["introspection"].(map[string]any)
	if secret, _ := told["client_secret"].(string); !strings.HasPrefix(secret, "cs_") {
		t.Errorf("introspection is %v", told)
	}
	if named := o.object("resource", "show", uri)["introspection_clients"].([]any); len(named) != 1 || named[0] != told["client_id"] {
		t.Errorf("introspection_clients are %v", named)
	}
	again := o.do(0, "resource", "setup", uri).stdout
	wantText(t, "setup", again, told["client_id"].(string), "whose secret was shown")
	if strings.Contains(again, "cs_") {
		t.Error("the secret is shown again")
	}
	wantText(t, "one verifier", o.do(0, "resource", "setup", uri, "--verifier", "go").stdout, "package main", uri)
	wantText(t, "no such verifier", o.do(2, "resource", "setup", uri, "--verifier", "cobol").stderr, "go, typescript, python")
	if setup := o.object("resource", "setup", uri); setup["metadata_url"] == nil || setup["verifiers"] == nil {
		t.Errorf("setup is %v", setup)
	}
}

// Nothing is added of a server that lies or does not make itself understood.
func TestResourceAddByURLIsRefused(t *testing.T) {
	o := newOffice(t)
	for name, c := range map[string]struct {
		url  string
		code int
		says string
	}{
		"a lying server":   {protectedMCPServer(t, `{"resource":"https://bank.example.com/mcp"}`), 1, "RFC 9728, section 3.3"},
		"a website":        {served(t, http.NotFoundHandler()) + "/mcp", 1, "does not speak MCP over Streamable HTTP: it answers 404"},
		"a redirect":       {served(t, http.RedirectHandler("https://elsewhere.example.com/\u202e", http.StatusFound)) + "/mcp", 1, "redirect to https://elsewhere.example.com/"},
		"nobody":           {"http://127.0.0.1:1/mcp", 1, "cannot be reached"},
		"http elsewhere":   {"http://mcp.example.com/mcp", 2, "https"},
		"no URL":           {"mcp", 2, "https"},
		"an endless waste": {served(t, http.HandlerFunc(waste)) + "/mcp", 1, "sends more than 4 MiB"},
	} {
		r := o.do(c.code, "resource", "add", c.url, "--yes", "--timeout", "1m")
		wantText(t, name, r.stderr, c.says)
	}
	if items := o.items("resource", "list"); len(items) != 0 {
		t.Errorf("there are resources: %v", items)
	}
}

// waste answers with an event stream that never ends.
func waste(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	block := []byte(strings.Repeat(": waste\n\n", 1000))
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}
