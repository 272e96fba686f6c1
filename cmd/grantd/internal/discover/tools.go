package discover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"grantd/storage"
)

const (
	maxTools = 1000
	maxPages = 100
	// A name that the admin API takes, and that MCP recommends at most.
	maxToolName = 128
)

// listTools has the official SDK's client introduce itself and ask for the tools.
// It returns the challenge when a token is needed for the one or the other.
func (r *reader) listTools(ctx context.Context) (*challenge, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := newFetcher(r.target, stop)
	talk := &conversation{fetcher: f, endpoint: r.uri}
	// The SDK waits for whatever the server has begun to send. A server that never
	// ends must not keep us.
	heard, closed := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(closed)
		session, err := talk.hold(ctx)
		heard <- err
		if session != nil {
			_ = session.Close() // only says goodbye
		}
	}()
	var err error
	select {
	case err = <-heard:
		defer waitFor(closed)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}

	talk.mu.Lock()
	defer talk.mu.Unlock()
	f.mu.Lock()
	fault, refusal, status := f.fault, f.refusal, f.status
	f.mu.Unlock()
	switch {
	case fault != nil:
		return nil, fault
	case refusal != nil && talk.introduced:
		r.server.Access = AccessTools
	case refusal != nil:
		r.server.Access = AccessProtected
	case err != nil:
		return nil, asError(err, notMCP(status))
	default:
		r.server.Access = AccessOpen
		r.takeTools(talk.tools)
	}
	r.server.Name = clean(talk.name, maxText)
	return refusal, nil
}

// notMCP is what to say of a server that answered status and did not make itself
// understood.
func notMCP(status int) *Error {
	e := &Error{
		Problem: "does not speak MCP over Streamable HTTP",
		Mend:    "give the URL that people put into their MCP client",
	}
	if status != 0 && (status < 200 || status >= 300) {
		e.Problem += fmt.Sprintf(": it answers %d", status)
	}
	return e
}

// conversation is what was learned by talking MCP, so far.
type conversation struct {
	fetcher  *fetcher
	endpoint string

	mu         sync.Mutex
	introduced bool
	name       string
	tools      []*mcp.Tool
}

var errTooManyPages = &Error{Problem: fmt.Sprintf("does not come to the end of its tools in %d answers", maxPages)}

// closeTimeout is what saying goodbye may take.
const closeTimeout = time.Second

func waitFor(closed <-chan struct{}) {
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
}

// hold holds the conversation. Its session, unless nil, is open.
func (c *conversation) hold(ctx context.Context) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "grantd", Version: "1"}, &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{}})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: c.endpoint, HTTPClient: c.fetcher.client(), MaxRetries: -1, DisableStandaloneSSE: true, MaxEventSize: maxAnswer,
	}, nil)
	if err != nil {
		return nil, err
	}
	result := session.InitializeResult()
	if result == nil {
		return session, errors.New("it did not introduce itself")
	}
	c.mu.Lock()
	c.introduced = true
	if info := result.ServerInfo; info != nil {
		if c.name = info.Title; c.name == "" {
			c.name = info.Name
		}
	}
	c.mu.Unlock()
	if capabilities := result.Capabilities; capabilities != nil && capabilities.Tools == nil {
		return session, nil // it has none
	}
	parameters := &mcp.ListToolsParams{}
	for range maxPages {
		page, err := session.ListTools(ctx, parameters)
		if err != nil {
			return session, err
		}
		c.mu.Lock()
		c.tools = append(c.tools, page.Tools...)
		enough := len(c.tools) > maxTools
		c.mu.Unlock()
		if enough {
			return session, &Error{
				Problem: fmt.Sprintf("lists more than %d tools", maxTools),
				Mend:    "add it with --name and --scope, which reads nothing from it",
			}
		}
		if page.NextCursor == "" {
			return session, nil
		}
		parameters.Cursor = page.NextCursor
	}
	return session, errTooManyPages
}

// takeTools keeps the tools whose names can be shown to people as they are.
func (r *reader) takeTools(listed []*mcp.Tool) {
	seen := map[string]bool{}
	strange := 0
	for _, tool := range listed {
		if tool == nil || seen[tool.Name] {
			continue
		}
		seen[tool.Name] = true
		if !isToolName(tool.Name) {
			strange++
			continue
		}
		r.server.Tools = append(r.server.Tools, Tool{Name: tool.Name, Risk: risk(tool.Annotations), Annotated: tool.Annotations != nil})
	}
	if strange > 0 {
		r.note("%d of its tools have names with characters that MCP does not allow, and are left out", strange)
	}
}

// isToolName: 1 to 128 of the characters that MCP names for tools.
func isToolName(name string) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.', c == '/':
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxToolName
}

// risk is what the annotations say of a tool, with MCP's defaults: a tool that
// says nothing may destroy.
func risk(annotations *mcp.ToolAnnotations) storage.ScopeRisk {
	switch {
	case annotations == nil:
		return storage.RiskDestructive
	case annotations.ReadOnlyHint:
		return storage.RiskRead
	case annotations.DestructiveHint != nil && !*annotations.DestructiveHint:
		return storage.RiskWrite
	}
	return storage.RiskDestructive
}
