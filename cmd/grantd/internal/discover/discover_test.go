package discover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"grantd/cmd/grantd/internal/discover"
)

// patience is what a well-behaved server gets, however loaded the machine is.
const patience = time.Minute

// standIn is an MCP server of which everything can be replaced. ORIGIN stands
// for its origin in what it says.
type standIn struct {
	mcp       http.Handler      // nil: answers 401 with challenge
	challenge string            // WWW-Authenticate
	documents map[string]string // by path
	otherwise http.Handler      // for every other path; nil: 404
}

// start returns the URL of the stand-in's MCP endpoint.
func (s *standIn) start(t *testing.T) (origin, uri string) {
	t.Helper()
	var server *httptest.Server
	say := func(text string) string { return strings.ReplaceAll(text, "ORIGIN", server.URL) }
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/mcp" && s.mcp != nil:
			s.mcp.ServeHTTP(w, r)
		case r.URL.Path == "/mcp":
			if s.challenge != "" {
				w.Header().Set("WWW-Authenticate", say(s.challenge))
			}
			http.Error(w, "no token", http.StatusUnauthorized)
		case s.documents[r.URL.Path] != "":
			_, _ = io.WriteString(w, say(s.documents[r.URL.Path]))
		case s.otherwise != nil:
			s.otherwise.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	return server.URL, server.URL + "/mcp"
}

// realServer is an MCP server built with the official SDK.
func realServer(stateless bool, tools ...*mcp.Tool) http.Handler {
	server := mcp.NewServer(&mcp.Implementation{Name: "files", Title: "Files"}, nil)
	for _, tool := range tools {
		mcp.AddTool(server, tool, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, struct{}, error) {
			return nil, struct{}{}, nil
		})
	}
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: stateless})
}

func threeTools() []*mcp.Tool {
	no := false
	return []*mcp.Tool{
		{Name: "list_files", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		{Name: "add_file", Annotations: &mcp.ToolAnnotations{DestructiveHint: &no}},
		{Name: "wipe"},
	}
}

func TestReadOpenServer(t *testing.T) {
	for _, stateless := range []bool{true, false} {
		t.Run(fmt.Sprint("stateless ", stateless), func(t *testing.T) {
			_, uri := (&standIn{mcp: realServer(stateless, threeTools()...)}).start(t)
			got, err := discover.Read(t.Context(), uri, patience)
			if err != nil {
				t.Fatal(err)
			}
			want := []discover.Tool{{"add_file", "write", true}, {"list_files", "read", true}, {"wipe", "destructive", false}}
			if got.Access != discover.AccessOpen || got.Name != "Files" || !reflect.DeepEqual(got.Tools, want) || got.MetadataURL != "" {
				t.Errorf("read %+v", got)
			}
			proposal, _ := json.Marshal(got.Propose().Scopes)
			const scopes = `[{"description":"Look up what is in Files","name":"read","risk":"read","tools":["list_files"]},` +
				`{"description":"Add to what is in Files","name":"write","risk":"write","tools":["add_file"]},` +
				`{"description":"Change, overwrite and delete what is in Files","name":"destructive","risk":"destructive","tools":["wipe"]}]`
			if string(proposal) != scopes {
				t.Errorf("proposed %s", proposal)
			}
			wantNote(t, got, "1 of its tools do not say")
		})
	}
}

func wantNote(t *testing.T, s *discover.Server, part string) {
	t.Helper()
	if !strings.Contains(strings.Join(s.Notes, "\n"), part) {
		t.Errorf("no note says %q: %q", part, s.Notes)
	}
}

// refusal is the *discover.Error that reading uri ends with.
func refusal(t *testing.T, uri string, timeout time.Duration) *discover.Error {
	t.Helper()
	got, err := discover.Read(t.Context(), uri, timeout)
	var e *discover.Error
	if !errors.As(err, &e) {
		t.Fatalf("read %+v, error %v", got, err)
	}
	return e
}
