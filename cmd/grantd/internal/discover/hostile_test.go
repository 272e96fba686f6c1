package discover_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/cmd/grantd/internal/discover"
)

// rpc is an MCP server without any rules: it answers the requests for the tools
// with what list makes of the cursor.
func rpc(serverInfo string, list func(cursor string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Cursor string `json:"cursor"`
			} `json:"params"`
		}
		_ = json.NewDecoder(r.Body).Decode(&request)
		w.Header().Set("Content-Type", "application/json")
		switch request.Method {
		case "initialize":
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":%s}}`, request.ID, serverInfo)
		case "tools/list":
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, request.ID, list(request.Params.Cursor))
		default:
			if len(request.ID) == 0 {
				w.WriteHeader(http.StatusAccepted)
				return
			}
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, request.ID)
		}
	}
}

const plainInfo = `{"name":"x","version":"1"}`

// hang answers nothing until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// endless sends what repeats as an event stream until the client has gone.
func endless(contentType, start, repeats string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		_, err := io.WriteString(w, start)
		block := bytes.Repeat([]byte(repeats), 1+(16<<10)/len(repeats))
		for err == nil {
			_, err = w.Write(block)
		}
	}
}

// Whatever a server does, there is an end, and a plain reason.
func TestHostileServers(t *testing.T) {
	manyTools := func(n int) string {
		return `{"tools":[` + strings.TrimSuffix(strings.Repeat(`{"name":"t","inputSchema":{"type":"object"}},`, n), ",") + `]}`
	}
	for name, c := range map[string]struct {
		serve   http.HandlerFunc
		timeout time.Duration // short only where nothing else ends it
		says    string
	}{
		"never answers":               {hang, 200 * time.Millisecond, "did not answer completely within 200ms"},
		"begins to answer":            {begins("application/json", `{"jsonrpc":`), 200 * time.Millisecond, "did not answer completely"},
		"an event stream of silence":  {begins("text/event-stream", ": hello\n\n"), 200 * time.Millisecond, "did not answer completely"},
		"an endless event stream":     {endless("text/event-stream", "", ": still here\n\n"), patience, "sends more than 4 MiB"},
		"one endless event":           {endless("text/event-stream", "data: ", "aaaaaaaa"), patience, "sends more than 4 MiB"},
		"events that nobody asked":    {endless("text/event-stream", "", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\n"), patience, "sends more than 4 MiB"},
		"answers without end":         {endless("application/json", `{"jsonrpc":"`, "aaaaaaaa"), patience, "sends more than 4 MiB"},
		"an error page without end":   {endless("text/html", "", "<p>"), patience, "does not speak MCP"},
		"deep nesting":                {rpc(plainInfo, func(string) string { return strings.Repeat(`{"a":[`, 400_000) }), patience, "does not speak MCP"},
		"deep nesting at first":       {rpc(strings.Repeat(`[`, 3_000_000), nil), patience, "does not speak MCP"},
		"a huge header":               {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, patience, "cannot be reached"},
		"hangs up":                    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, patience, "cannot be reached"},
		"a redirect to another host":  {redirect(http.StatusTemporaryRedirect, "http://169.254.169.254/latest/\x1b[31m"), patience, "redirect to http://169.254.169.254/latest/"},
		"a redirect to itself":        {redirect(http.StatusPermanentRedirect, "/mcp"), patience, "answers with a redirect to http://127.0.0.1"},
		"a sign-in page":              {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, patience, "does not speak MCP"},
		"404":                         {http.NotFound, patience, "does not speak MCP over Streamable HTTP: it answers 404"},
		"403":                         {status(http.StatusForbidden), patience, "it answers 403"},
		"405":                         {status(http.StatusMethodNotAllowed), patience, "it answers 405"},
		"503":                         {status(http.StatusServiceUnavailable), patience, "it answers 503"},
		"thousands of tools":          {rpc(plainInfo, func(string) string { return manyTools(5000) }), patience, "lists more than 1000 tools"},
		"pages without end":           {rpc(plainInfo, func(string) string { return `{"tools":[],"nextCursor":"again"}` }), patience, "in 100 answers"},
		"tools that are none":         {rpc(plainInfo, func(string) string { return `{"tools":"all"}` }), patience, "does not speak MCP"},
		"tools page by page":          {rpc(plainInfo, func(c string) string { return strings.TrimSuffix(manyTools(90), "}") + `,"nextCursor":"` + c + `x"}` }), patience, "lists more than 1000 tools"},
		"asks back instead":           {asksBack(), patience, "requests to be understood"},
		"another protocol version":    {func(w http.ResponseWriter, r *http.Request) { rpcVersion(w, r, "1999-01-01") }, patience, "does not speak MCP"},
		"an introduction that is not": {func(w http.ResponseWriter, r *http.Request) { rpcResult(w, r, `null`) }, patience, "does not speak MCP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, uri := (&standIn{mcp: c.serve}).start(t)
			e := refusal(t, uri, c.timeout)
			if !strings.Contains(e.Error(), c.says) {
				t.Errorf("the reason is %q, want %q", e, c.says)
			}
			if strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' && r != '\n' }) {
				t.Errorf("the reason can command a terminal: %q", e)
			}
		})
	}
}

func begins(contentType, start string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, start)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

func redirect(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{strings.ReplaceAll(to, "\x1b", "%1B")}
		w.WriteHeader(status)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "\x1b[2Jgo away", code) }
}

// asksBack answers each request with requests of its own, which a client answers.
func asksBack() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 1000 {
			_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":\"p%d\",\"method\":\"ping\"}\n\n", i)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

func rpcResult(w http.ResponseWriter, r *http.Request, result string) {
	var request struct {
		ID json.RawMessage `json:"id"`
	}
	_ = json.NewDecoder(r.Body).Decode(&request)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, request.ID, result)
}

// rpcUntil is next, but answers the method with 401 and this challenge.
func rpcUntil(method, challenge string, next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte(`"`+method+`"`)) {
			w.Header().Set("WWW-Authenticate", strings.ReplaceAll(challenge, "ORIGIN", "http://"+r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	}
}

func rpcVersion(w http.ResponseWriter, r *http.Request, version string) {
	rpcResult(w, r, `{"protocolVersion":"`+version+`","capabilities":{"tools":{}},"serverInfo":`+plainInfo+`}`)
}

// What a server writes about itself reaches nobody as a command, an invisible
// sign or a text without end.
func TestHostileTexts(t *testing.T) {
	tools := `{"tools":[null,{"name":"ok","inputSchema":{"type":"object"}},{"name":"ok","inputSchema":{"type":"object"}},` +
		`{"name":"\u001b[31mred","inputSchema":{"type":"object"}},{"name":"a b","inputSchema":{"type":"object"}},{"name":"` + strings.Repeat("n", 200) + `","inputSchema":{"type":"object"}}]}`
	_, uri := (&standIn{
		mcp: rpc(`{"name":"x","title":"\u001b]0;owned\u0007No\u202etes\n`+strings.Repeat("!", 1000)+`","version":"1"}`, func(string) string { return tools }),
	}).start(t)
	got, err := discover.Read(t.Context(), uri, patience)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.Name, "]0;ownedNotes !!") || len([]rune(got.Name)) != 200 {
		t.Errorf("the name is %q", got.Name)
	}
	if len(got.Tools) != 1 || got.Tools[0].Name != "ok" {
		t.Errorf("the tools are %+v", got.Tools)
	}
	wantNote(t, got, "3 of its tools have names")
}

// More tools than a scope can name are not named.
func TestManyToolsOfOneKind(t *testing.T) {
	var list []string
	for i := range 300 {
		list = append(list, fmt.Sprintf(`{"name":"t%d","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}`, i))
	}
	_, uri := (&standIn{mcp: rpc(plainInfo, func(string) string { return `{"tools":[` + strings.Join(list, ",") + `]}` })}).start(t)
	got, err := discover.Read(t.Context(), uri, patience)
	if err != nil {
		t.Fatal(err)
	}
	if scopes := got.Propose().Scopes; len(scopes) != 1 || scopes[0].Name != "read" || scopes[0].Tools != nil {
		t.Errorf("proposed %+v", scopes)
	}
	wantNote(t, got, "300 tools are more than")
}
