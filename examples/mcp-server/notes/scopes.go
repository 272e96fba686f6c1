package notes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// errInsufficientScope ends a tool call whose token lacks the tool's scope.
var errInsufficientScope = errors.New("insufficient scope")

// requireToolScopes answers 403 with what is missing when a token may not call a
// tool (RFC 6750 §3.1), so that the client can ask its user for more. The SDK
// has scopes for a whole endpoint, not for a tool, and dispatches only after the
// status is decided: hence this look into the body.
func (h *handler) requireToolScopes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			status := http.StatusBadRequest
			if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, "the request could not be read", status)
			return
		}
		held := auth.TokenInfoFromContext(r.Context()).Scopes
		needed := slices.Clone(held)
		for _, tool := range calledTools(body) {
			if scope := scopeOf(tool); scope != "" && !slices.Contains(needed, scope) {
				needed = append(needed, scope)
			}
		}
		if len(needed) > len(held) {
			// Held and needed together: a client that asks for exactly this loses
			// nothing it had.
			h.refuse(w, http.StatusForbidden, "insufficient_scope", needed)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// guardTools refuses the same again where the call is dispatched. Here the
// message was read by the SDK's own parser, so nothing that two parsers
// understand differently gets past.
func guardTools(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, request mcp.Request) (mcp.Result, error) {
		if call, ok := request.(*mcp.CallToolRequest); ok {
			scope := scopeOf(call.Params.Name)
			if scope != "" && (call.Extra == nil || call.Extra.TokenInfo == nil || !slices.Contains(call.Extra.TokenInfo.Scopes, scope)) {
				return nil, errInsufficientScope
			}
		}
		return next(ctx, method, request)
	}
}

// scopeOf returns the scope a tool needs, "" for a tool that does not exist.
func scopeOf(tool string) string {
	for _, scope := range Scopes() {
		if slices.Contains(scope.Tools, tool) {
			return scope.Name
		}
	}
	return ""
}

// calledTools returns the tools that a JSON-RPC message, or a batch of them,
// calls. What is no such message calls none, and the SDK will say so.
func calledTools(body []byte) []string {
	type message struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	var batch []json.RawMessage
	if json.Unmarshal(body, &batch) != nil {
		batch = []json.RawMessage{body}
	}
	var tools []string
	for _, raw := range batch {
		var m message
		if json.Unmarshal(raw, &m) == nil && m.Method == "tools/call" {
			tools = append(tools, m.Params.Name)
		}
	}
	return tools
}
