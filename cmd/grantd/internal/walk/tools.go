package walk

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func (w *walker) callReadTool(ctx context.Context) error  { return w.callTool(ctx, w.ReadTool) }
func (w *walker) callWriteTool(ctx context.Context) error { return w.callTool(ctx, w.WriteTool) }

// callTool connects with the official SDK's client, as an agent would, and calls
// one tool.
func (w *walker) callTool(ctx context.Context, tool Tool) error {
	transport := &bearerTransport{token: w.tokens.AccessToken, base: http.DefaultTransport}
	text, err := w.callThrough(ctx, transport, tool)
	if err != nil {
		return failed("a result of "+tool.Name, "%s", describe(transport, err))
	}
	w.say("tools/call %s → %s", tool.Name, text)
	return nil
}

// provokeStepUp calls the write tool with too little, and learns what to ask for.
func (w *walker) provokeStepUp(ctx context.Context) error {
	transport := &bearerTransport{token: w.tokens.AccessToken, base: http.DefaultTransport}
	if _, err := w.callThrough(ctx, transport, w.WriteTool); err == nil {
		return failed("403 Forbidden", "the tool was run")
	}
	refusal := transport.refused()
	if refusal == nil {
		return failed("403 Forbidden", "no answer was a refusal")
	}
	w.say("tools/call %s → %s", w.WriteTool.Name, refusal.status())
	challenge, err := refusal.challenge(http.StatusForbidden)
	if err != nil {
		return err
	}
	if challenge["error"] != "insufficient_scope" {
		return failed("the challenge error insufficient_scope", "it was %q", challenge["error"])
	}
	more := false
	for _, scope := range strings.Fields(challenge["scope"]) {
		if !slices.Contains(w.wanted, scope) {
			w.wanted, more = append(slices.Clone(w.wanted), scope), true
		}
	}
	if !more {
		return failed("a scope that was not approved yet", "it was %q", challenge["scope"])
	}
	w.say("%s needs %s", w.WriteTool.Name, challenge["scope"])
	return nil
}

func (w *walker) callThrough(ctx context.Context, transport *bearerTransport, tool Tool) (string, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "grantd-walk", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:             w.MCPURL,
		HTTPClient:           &http.Client{Transport: transport, CheckRedirect: w.http.CheckRedirect, Timeout: w.http.Timeout},
		MaxRetries:           -1,
		DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close() }() // only says goodbye
	arguments := tool.Arguments
	if arguments == nil {
		arguments = map[string]any{}
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool.Name, Arguments: arguments})
	if err != nil {
		return "", err
	}
	text := resultText(result)
	if result.IsError {
		return "", failed("a result", "the tool said %q", text)
	}
	return text, nil
}

// resultText is the start of what a tool answered.
func resultText(result *mcp.CallToolResult) string {
	text := ""
	for _, content := range result.Content {
		if part, ok := content.(*mcp.TextContent); ok {
			text += part.Text
		}
	}
	if text == "" {
		if raw, err := json.Marshal(result.StructuredContent); err == nil {
			text = string(raw)
		}
	}
	const most = 160
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' ' // no escape sequences into the terminal
		}
		return r
	}, text)
}

// describe tells why a call did not work: the server's refusal where there was
// one, since the SDK's errors repeat whole requests.
func describe(transport *bearerTransport, err error) string {
	if refusal := transport.refused(); refusal != nil {
		return "the answer was " + refusal.status()
	}
	return err.Error()
}

// bearerTransport sends the access token and remembers the last refusal, of
// which the SDK's errors show only the text.
type bearerTransport struct {
	token string
	base  http.RoundTripper

	mu   sync.Mutex
	last *answer
}

func (t *bearerTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+t.token)
	response, err := t.base.RoundTrip(request)
	if err == nil && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden) {
		t.mu.Lock()
		t.last = &answer{code: response.StatusCode, header: response.Header}
		t.mu.Unlock()
	}
	return response, err
}

func (t *bearerTransport) refused() *answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}
